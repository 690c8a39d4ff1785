//! Settings of the long-running programs: a flag wins over the environment, and that over the TOML file.

use anyhow::Context;
use serde::de::DeserializeOwned;
use std::path::Path;

/// Reads the file that `--config` names. A key that is not known is an error, since it would otherwise be without
/// effect and nobody would notice.
pub fn read<T: DeserializeOwned + Default>(path: Option<&Path>) -> anyhow::Result<T> {
    let Some(path) = path else { return Ok(T::default()) };
    let text = std::fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?;
    toml::from_str(&text).with_context(|| format!("reading {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Default, PartialEq, serde::Deserialize)]
    #[serde(deny_unknown_fields, default)]
    struct Sample {
        slots: Option<u32>,
    }

    #[test]
    fn no_file_means_nothing_is_set_and_an_unknown_key_is_an_error() {
        assert_eq!(read::<Sample>(None).unwrap(), Sample::default());
        let path = std::env::temp_dir().join(format!("mr-settings-{}.toml", std::process::id()));
        std::fs::write(&path, "slots = 3\n").unwrap();
        assert_eq!(read::<Sample>(Some(&path)).unwrap(), Sample { slots: Some(3) });
        std::fs::write(&path, "slot = 3\n").unwrap();
        let error = format!("{:#}", read::<Sample>(Some(&path)).unwrap_err());
        std::fs::remove_file(&path).unwrap();
        assert!(error.contains("slot") && error.contains("slots"), "{error}");
    }
}
