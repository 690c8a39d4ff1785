//! Reading a list that names the objects of an input: text, CSV, Parquet, or an inventory that S3 has made of a bucket.
//!
//! Bytes come in and a [`KeyList`] goes out: fetching them is the submitter's. Whatever is wrong with a list is an error
//! that says where; nothing is left out but rows that are of other objects, and those are counted.

mod columns;
mod csv;
mod gathered;
mod manifest;
mod parquet;
mod quotes;
mod root;
mod text;

pub use manifest::{Inventory, InventoryFile};

use bytes::Bytes;
use gathered::Gathered;
use mr_core::{KeyList, Packing};
use mr_storage::unpacked;
use std::io::Read;

/// How a list is written down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListFormat {
    /// An entry a line.
    Text(Option<Packing>),
    Csv(Option<Packing>),
    Parquet,
    /// Names the files of an inventory, which are the list: [`Inventory::parse`].
    Manifest,
}

impl ListFormat {
    /// By how a list's name ends.
    ///
    /// # Errors
    /// A sentence with the endings that are known.
    pub fn of(name: &str) -> Result<Self, String> {
        let lower = name.to_ascii_lowercase();
        let packing = Packing::of(&lower);
        let plain = packing.map_or(lower.as_str(), |packing| &lower[..lower.len() - 1 - packing.extension().len()]);
        match (plain.rsplit_once('.').map(|(_, extension)| extension), packing) {
            (Some("txt"), packing) => Ok(Self::Text(packing)),
            (Some("csv"), packing) => Ok(Self::Csv(packing)),
            (Some("parquet"), None) => Ok(Self::Parquet),
            (Some("json"), None) => Ok(Self::Manifest),
            _ => Err(
                "a list of keys is a .txt or .csv (also with .gz or .zst after it), a .parquet, or the manifest.json \
                      of an S3 Inventory"
                    .to_owned(),
            ),
        }
    }
}

/// What a list of that format names of the objects under `input`, a root's URL that ends in `/`. An object is worked on
/// once, however often it is named.
///
/// # Errors
/// A sentence with the place of what is wrong. A [`ListFormat::Manifest`] is none of these.
pub fn read_list(format: ListFormat, bytes: Bytes, input: &str) -> Result<KeyList, String> {
    let mut gathered = Gathered::under(input);
    match format {
        ListFormat::Text(packing) => text::read(plain(packing, &bytes)?, &mut gathered)?,
        ListFormat::Csv(packing) => csv::read(plain(packing, &bytes)?, &mut gathered)?,
        ListFormat::Parquet => parquet::read(bytes, &mut gathered)?,
        ListFormat::Manifest => return Err("a manifest only names the files that are the list".to_owned()),
    }
    Ok(gathered.into_list())
}

fn plain<'a>(packing: Option<Packing>, bytes: &'a [u8]) -> Result<Box<dyn Read + 'a>, String> {
    match packing {
        None => Ok(Box::new(bytes)),
        Some(packing) => unpacked(packing, bytes).map_err(|error| format!("it can't be unpacked: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_format_is_told_by_how_a_name_ends() {
        use ListFormat::{Csv, Manifest, Parquet, Text};
        for (name, format) in [
            ("keys.txt", Text(None)),
            ("a.b/Keys.TXT.GZ", Text(Some(Packing::Gzip))),
            ("s3://b/keys.csv", Csv(None)),
            ("keys.csv.zst", Csv(Some(Packing::Zstd))),
            ("keys.Parquet", Parquet),
            ("s3://b/inventory/2026-11-01T01-00Z/manifest.json", Manifest),
        ] {
            assert_eq!(ListFormat::of(name), Ok(format), "{name}");
        }
        for name in
            ["", "keys", "txt", "keys.tsv", "keys.gz", "keys.parquet.gz", "keys.json.zst", "keys.txt.gz.gz", "a.txt/b"]
        {
            let said = ListFormat::of(name).expect_err(name);
            assert!(said.contains(".txt or .csv (also with .gz or .zst after it), a .parquet, or the manifest.json"));
        }
    }
}
