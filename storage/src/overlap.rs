//! Whether two roots share a place, looked at behind links.

use std::path::{Path, PathBuf};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Overlap {
    Same,
    /// The first lies in the second.
    Inside,
    /// The second lies in the first.
    Around,
}

/// How two roots lie to each other, by their URLs.
pub fn overlap(one: &str, other: &str) -> Option<Overlap> {
    let (one, other) = (real(one), real(other));
    match (one.starts_with(&other), other.starts_with(&one)) {
        (true, true) => Some(Overlap::Same),
        (true, false) => Some(Overlap::Inside),
        (false, true) => Some(Overlap::Around),
        (false, false) => None,
    }
}

/// A URL with every link in what exists of it resolved, ending in `/`.
fn real(url: &str) -> String {
    let Some(path) = url.strip_prefix("file://").map(Path::new) else { return with_slash(url) };
    let mut exists = path;
    let mut rest = Vec::new();
    loop {
        if let Ok(behind) = exists.canonicalize() {
            let whole = rest.iter().rev().fold(behind, |path: PathBuf, name| path.join(name));
            return with_slash(&format!("file://{}", whole.to_string_lossy()));
        }
        match (exists.parent(), exists.file_name()) {
            (Some(parent), Some(name)) => {
                rest.push(name);
                exists = parent;
            }
            _ => return with_slash(url),
        }
    }
}

fn with_slash(url: &str) -> String {
    if url.ends_with('/') { url.to_owned() } else { format!("{url}/") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(unix)]
    #[test]
    fn links_are_looked_behind() {
        let folder = tempfile::tempdir().unwrap();
        let here = folder.path().canonicalize().unwrap();
        std::fs::create_dir_all(here.join("deep/photos")).unwrap();
        std::os::unix::fs::symlink("deep/photos", here.join("link")).unwrap();
        let url = |name: &str| format!("file://{}/", here.join(name).display());
        assert_eq!(overlap(&url("link"), &url("deep/photos")), Some(Overlap::Same));
        assert_eq!(overlap(&url("link/not/there"), &url("deep")), Some(Overlap::Inside));
        assert_eq!(overlap(&url("deep"), &url("link/out")), Some(Overlap::Around));
        assert_eq!(overlap(&url("deep"), &url("link/../../deep")), Some(Overlap::Same));
        assert_eq!(overlap(&url("deep"), &url("deeper")), None);
    }

    #[test]
    fn prefixes_of_a_bucket_are_compared_by_whole_names() {
        assert_eq!(overlap("s3://b/a/", "s3://b/ab/"), None);
        assert_eq!(overlap("s3://b/a/", "s3://b/"), Some(Overlap::Inside));
    }
}
