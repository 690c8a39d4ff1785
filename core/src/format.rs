//! How the rows of a result are written down.

use crate::Packing;
use serde::{Deserialize, Serialize};

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub enum OutputFormat {
    #[default]
    Parquet,
    /// A line a row: its columns, with tabs between them.
    Text(Option<Packing>),
    /// A line a row: an object with its columns by their names.
    Json(Option<Packing>),
}

impl OutputFormat {
    pub const ALL: [Self; 7] = [
        Self::Parquet,
        Self::Text(None),
        Self::Text(Some(Packing::Gzip)),
        Self::Text(Some(Packing::Zstd)),
        Self::Json(None),
        Self::Json(Some(Packing::Gzip)),
        Self::Json(Some(Packing::Zstd)),
    ];

    /// What the names of its files end in, without the first dot. It names the format as well.
    pub fn extension(self) -> &'static str {
        match self {
            Self::Parquet => "parquet",
            Self::Text(None) => "txt",
            Self::Text(Some(Packing::Gzip)) => "txt.gz",
            Self::Text(Some(Packing::Zstd)) => "txt.zst",
            Self::Json(None) => "jsonl",
            Self::Json(Some(Packing::Gzip)) => "jsonl.gz",
            Self::Json(Some(Packing::Zstd)) => "jsonl.zst",
        }
    }

    pub fn of_extension(extension: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|format| format.extension() == extension)
    }

    /// `None` as well for Parquet, which is packed inside.
    pub fn packing(self) -> Option<Packing> {
        match self {
            Self::Parquet => None,
            Self::Text(packing) | Self::Json(packing) => packing,
        }
    }

    /// In words.
    pub fn word(self) -> &'static str {
        match self {
            Self::Parquet => "Parquet",
            Self::Text(_) => "text",
            Self::Json(_) => "JSON lines",
        }
    }
}

impl From<OutputFormat> for String {
    fn from(format: OutputFormat) -> Self {
        format.extension().to_owned()
    }
}

impl TryFrom<String> for OutputFormat {
    type Error = String;

    fn try_from(extension: String) -> Result<Self, String> {
        Self::of_extension(&extension).ok_or_else(|| format!("`{extension}` is no format of rows"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_tells_the_format_and_how_it_is_packed() {
        for format in OutputFormat::ALL {
            assert_eq!(OutputFormat::of_extension(format.extension()), Some(format));
            assert_eq!(Packing::of(&format!("part.{}", format.extension())), format.packing());
        }
        assert_eq!(OutputFormat::of_extension("gz"), None);
    }
}
