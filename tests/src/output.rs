//! What a job wrote: opened, checked for what must be true of every output, and compared.

use mr_core::Report;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// An output folder as its newest job left it.
#[derive(Debug)]
pub struct Output {
    pub folder: PathBuf,
    pub report: Report,
    /// In the order of their names.
    pub parts: Vec<PathBuf>,
}

impl Output {
    /// Opens it and checks that it is whole: a mark of success, parts of one job numbered from zero and no others, a
    /// run folder, and copies that are copies.
    #[track_caller]
    pub fn open(folder: &Path) -> Self {
        let read = |name: &str| {
            let path = folder.join(name);
            fs::read(&path).unwrap_or_else(|error| panic!("reading {}: {error}", path.display()))
        };
        let report: Report = serde_json::from_slice(&read("_report.json")).expect("a report is what it says");
        assert!(report.books.balanced(), "{:?}", report.books);
        assert!(String::from_utf8_lossy(&read("_SUCCESS")).contains(report.job_id.as_str()));
        let mut parts = Vec::new();
        for entry in fs::read_dir(folder).expect("it has a report in it") {
            let name = entry.expect("it is there").file_name().into_string().expect("we write UTF-8");
            if !name.starts_with('_') {
                parts.push(name);
            }
        }
        parts.sort();
        let (job, extension) = (&report.job_id, report.settings.format.extension());
        let expected: Vec<_> = (0..parts.len()).map(|number| format!("part-{number:05}-{job}.{extension}")).collect();
        assert_eq!(parts, expected, "what lies beside the folders with `_` is parts of the newest job");
        let run = folder.join("_runs").join(report.job_id.as_str());
        let files = tree(&run);
        for (name, bytes) in files.iter().filter(|(name, _)| *name != "job.json") {
            let copy = match name.ends_with(".parquet") {
                true => format!("_{name}/{name}"),
                false => format!("_{name}"),
            };
            assert!(read(&copy) == *bytes, "{copy} is a copy of {name}");
        }
        let own: &[_] = match report.settings.job.as_str() {
            "image-features" => &["pca/summary.json", "pca/mean.npy", "pca/components.npy"],
            _ => &[],
        };
        for name in ["quarantine.parquet", "report.json"].iter().chain(own) {
            assert!(files.contains_key(*name), "{name} is in {}", run.display());
        }
        let parts = parts.iter().map(|name| folder.join(name)).collect();
        Self { folder: folder.to_owned(), report, parts }
    }

    /// Whatever must not depend on how the job was run: parts by their number, and the PCA.
    pub fn contents(&self) -> BTreeMap<String, Vec<u8>> {
        let mut contents = BTreeMap::new();
        for (number, path) in self.parts.iter().enumerate() {
            contents.insert(format!("part {number}"), fs::read(path).expect("it is there"));
        }
        for (name, bytes) in tree(&self.folder.join("_pca")) {
            contents.insert(format!("pca/{name}"), bytes);
        }
        if self.report.settings.job == "image-features" {
            assert!(contents.len() >= self.parts.len() + 6, "parts, five arrays and a summary: {:?}", contents.keys());
        }
        contents
    }

    /// Listed, embedded, quarantined and skipped.
    pub fn books(&self) -> [u64; 4] {
        let books = &self.report.books;
        [books.listed, books.embedded, books.quarantined, books.skipped]
    }
}

/// Both outputs hold the same rows in the same bytes, and the same PCA.
#[track_caller]
pub fn assert_same_bytes(one: &Output, other: &Output) {
    let (left, right) = (one.contents(), other.contents());
    let names = |contents: &BTreeMap<String, Vec<u8>>| contents.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&left), names(&right));
    let differing: Vec<_> = left
        .iter()
        .filter(|(name, bytes)| right[*name] != **bytes)
        .map(|(name, bytes)| {
            let at = bytes.iter().zip(&right[name]).position(|(a, b)| a != b);
            format!("{name}: {} and {} bytes, the first difference at {at:?}", bytes.len(), right[name].len())
        })
        .collect();
    assert!(differing.is_empty(), "{} and {} differ: {differing:#?}", one.folder.display(), other.folder.display());
}

/// Every file below a folder, by its path in it. Nothing of what is not there.
pub fn tree(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut files = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        let Ok(entries) = fs::read_dir(next) else { continue };
        for entry in entries {
            let path = entry.expect("nobody else is at it").path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let name = path.strip_prefix(folder).expect("it lies below").to_str().expect("we write UTF-8").to_owned();
            files.insert(name, fs::read(&path).expect("nobody else is at it"));
        }
    }
    files
}
