//! From what a user typed as a place to a URL that is true anywhere: absolute, with a scheme, not percent-encoded.
//!
//! Symbolic links stay as they were typed, since rows hold these paths; only a `..` behind a link is resolved, as the
//! system would. Where it matters whether two places are the same, [`mr_storage::overlap`] looks behind links.

use std::path::{Component, Path, PathBuf};

/// What relative paths and `~` mean.
#[derive(Clone, Debug)]
pub struct Place {
    pub here: PathBuf,
    pub home: Option<PathBuf>,
}

impl Place {
    /// # Errors
    /// When the folder that the program was called in is gone.
    pub fn now() -> std::io::Result<Self> {
        let home = std::env::var_os("HOME").filter(|home| !home.is_empty()).map(PathBuf::from);
        Ok(Self { here: std::env::current_dir()?, home })
    }
}

/// The URL of a folder, ending in `/`.
///
/// # Errors
/// A sentence.
pub fn root_url(typed: &str, place: &Place) -> Result<String, String> {
    match Typed::parse(typed)? {
        Typed::Path(path) => Ok(match file_url(&absolute(path, place)?)? {
            root if root.ends_with('/') => root,
            folder => format!("{folder}/"),
        }),
        Typed::S3 { bucket, key } => {
            let prefix = key.trim_end_matches('/');
            check_key(prefix)?;
            Ok(if prefix.is_empty() { format!("s3://{bucket}/") } else { format!("s3://{bucket}/{prefix}/") })
        }
        Typed::Http(_) => Err("a web address can't be listed; use a folder or s3://bucket/prefix/".to_owned()),
    }
}

/// The URL of one object.
///
/// # Errors
/// A sentence.
pub fn object_url(typed: &str, place: &Place) -> Result<String, String> {
    match Typed::parse(typed)? {
        Typed::Path(path) if path.ends_with('/') => Err("this is a folder; a file is needed".to_owned()),
        Typed::Path(path) => file_url(&absolute(path, place)?),
        Typed::S3 { bucket, key } => {
            check_key(key)?;
            if key.is_empty() {
                return Err(format!("there is no key after the bucket; write s3://{bucket}/path/of/the/file"));
            }
            Ok(format!("s3://{bucket}/{key}"))
        }
        Typed::Http(url) => Ok(url),
    }
}

/// A folder on this machine.
///
/// # Errors
/// A sentence.
pub fn local_folder(typed: &str, place: &Place) -> Result<PathBuf, String> {
    match Typed::parse(typed)? {
        Typed::Path(path) => absolute(path, place),
        Typed::S3 { .. } | Typed::Http(_) => Err("this has to be a folder on this machine".to_owned()),
    }
}

/// The path of a `file://` URL.
pub fn path_of(url: &str) -> Option<&Path> {
    url.strip_prefix("file://").map(Path::new)
}

pub fn file_url(path: &Path) -> Result<String, String> {
    let text = path.to_str().ok_or_else(|| {
        format!("{} is not UTF-8; rename the folder, or go in by a link whose name is", path.to_string_lossy())
    })?;
    Ok(format!("file://{text}"))
}

const FILE_URL: &str = "a file URL has three slashes and then a whole path: file:///home/me/photos";

enum Typed<'a> {
    Path(&'a str),
    S3 { bucket: &'a str, key: &'a str },
    Http(String),
}

impl<'a> Typed<'a> {
    fn parse(typed: &'a str) -> Result<Self, String> {
        if typed.trim().is_empty() {
            return Err("this is empty; name a place".to_owned());
        }
        if typed.chars().any(char::is_control) {
            return Err("there is a control character in this name".to_owned());
        }
        let Some((scheme, rest)) = typed.split_once("://") else {
            // What follows may be a password: it is not repeated.
            return match typed.split_once(":/").map(|(scheme, _)| scheme.to_ascii_lowercase()).as_deref() {
                Some("file") => Err(FILE_URL.to_owned()),
                Some(scheme @ ("s3" | "http" | "https")) => Err(format!("write {scheme}:// with two slashes")),
                _ => Ok(Self::Path(typed)),
            };
        };
        let scheme = scheme.to_ascii_lowercase();
        match scheme.as_str() {
            "file" if rest.starts_with('/') => Ok(Self::Path(rest)),
            "file" => Err(FILE_URL.to_owned()),
            "s3" => {
                let (bucket, key) = rest.split_once('/').unwrap_or((rest, ""));
                if bucket.is_empty() {
                    return Err("there is no bucket; write s3://bucket/prefix/".to_owned());
                }
                if bucket.contains(['@', ':']) {
                    return Err(
                        "keys have no place in a URL: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY".to_owned()
                    );
                }
                Ok(Self::S3 { bucket, key })
            }
            "http" | "https" if rest.trim_matches('/').is_empty() => Err(format!("there is no host after {scheme}://")),
            "http" | "https" => Ok(Self::Http(format!("{scheme}://{rest}"))),
            _ => Err(format!("`{scheme}://` is not known; use a path, file:// or s3://")),
        }
    }
}

/// Keys are taken as they are, spaces too, as long as they mean one thing in every store.
fn check_key(key: &str) -> Result<(), String> {
    match key.split('/').find(|segment| matches!(*segment, "" | "." | "..")) {
        Some("") if key.is_empty() => Ok(()),
        Some("") => Err("there are two slashes in a row".to_owned()),
        Some(dots) => Err(format!("`{dots}` has no meaning in a bucket; write the whole key")),
        None => Ok(()),
    }
}

fn absolute(typed: &str, place: &Place) -> Result<PathBuf, String> {
    let path = match typed.strip_prefix('~') {
        Some(rest) if rest.is_empty() || rest.starts_with('/') => match &place.home {
            Some(home) => home.join(rest.trim_start_matches('/')),
            None => return Err("`~` has no meaning here: HOME is not set".to_owned()),
        },
        _ => place.here.join(typed),
    };
    let mut plain = PathBuf::new();
    for component in path.components() {
        match component {
            Component::CurDir => {}
            Component::ParentDir => {
                if plain.is_symlink()
                    && let Ok(behind) = plain.canonicalize()
                {
                    plain = behind;
                }
                plain.pop();
            }
            Component::Prefix(_) | Component::RootDir | Component::Normal(_) => plain.push(component),
        }
    }
    Ok(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place() -> Place {
        Place { here: "/home/me/work".into(), home: Some("/home/me".into()) }
    }

    #[test]
    fn a_root_is_absolute_and_ends_in_a_slash() {
        for (typed, expected) in [
            ("photos", "file:///home/me/work/photos/"),
            ("photos/", "file:///home/me/work/photos/"),
            ("./a//b/./c", "file:///home/me/work/a/b/c/"),
            ("../shared/data", "file:///home/me/shared/data/"),
            ("../../../../..", "file:///"),
            ("/", "file:///"),
            ("~", "file:///home/me/"),
            ("~/Pictures 2026", "file:///home/me/Pictures 2026/"),
            ("~other/x", "file:///home/me/work/~other/x/"),
            ("file:///data/ü %41", "file:///data/ü %41/"),
            ("s3://bucket", "s3://bucket/"),
            ("s3://bucket/", "s3://bucket/"),
            ("s3://bucket/a b/c", "s3://bucket/a b/c/"),
            ("s3://bucket/a/", "s3://bucket/a/"),
            ("S3://Bucket/A", "s3://Bucket/A/"),
            ("a:/b", "file:///home/me/work/a:/b/"),
        ] {
            assert_eq!(root_url(typed, &place()).as_deref(), Ok(expected), "{typed}");
        }
    }

    #[test]
    fn a_root_that_cannot_be_is_refused_with_a_sentence() {
        for (typed, expected) in [
            ("", "empty"),
            ("  ", "empty"),
            ("a\nb", "control character"),
            ("gs://bucket/x", "`gs://` is not known"),
            ("memory://x/", "`memory://` is not known"),
            ("https://host/x", "can't be listed"),
            ("s3://", "no bucket"),
            ("s3:///key", "no bucket"),
            ("s3://AKIA:hunter2@bucket/a", "keys have no place in a URL"),
            ("s3://AKIA:hun/ter2@bucket/a", "keys have no place in a URL"),
            ("s3:/bucket/key", "write s3:// with two slashes"),
            ("file:/data/x", "three slashes"),
            ("https:/user:hunter2@host/x", "write https:// with two slashes"),
            ("s3://bucket/a//b", "two slashes"),
            ("s3://bucket//a", "two slashes"),
            ("s3://bucket/../a", "`..` has no meaning"),
            ("file://data/x", "three slashes"),
        ] {
            let message = root_url(typed, &place()).unwrap_err();
            assert!(message.contains(expected), "{typed:?}: {message}");
        }
        assert!(root_url("~/x", &Place { home: None, ..place() }).unwrap_err().contains("HOME"));
    }

    #[test]
    fn an_object_is_one_file() {
        for (typed, expected) in [
            ("w.onnx", "file:///home/me/work/w.onnx"),
            ("s3://b/w 1.onnx", "s3://b/w 1.onnx"),
            ("https://host/w.onnx?x=1", "https://host/w.onnx?x=1"),
            ("HTTPS://Host/w.onnx?X=1", "https://Host/w.onnx?X=1"),
        ] {
            assert_eq!(object_url(typed, &place()).as_deref(), Ok(expected));
        }
        for typed in ["w/", "s3://b", "s3://b/", "https://", "ftp://x/y"] {
            assert!(object_url(typed, &place()).is_err(), "{typed}");
        }
    }

    #[test]
    fn a_state_folder_is_on_this_machine() {
        assert_eq!(local_folder("x/../y", &place()), Ok("/home/me/work/y".into()));
        assert!(local_folder("s3://b/x", &place()).is_err());
    }

    #[cfg(unix)]
    #[test]
    fn a_name_that_is_not_utf8_is_refused() {
        use std::os::unix::ffi::OsStrExt;
        let here = PathBuf::from(std::ffi::OsStr::from_bytes(b"/caf\xe9"));
        assert!(root_url("x", &Place { here, home: None }).unwrap_err().contains("not UTF-8"));
    }

    #[cfg(unix)]
    #[test]
    fn links_stay_in_a_url() {
        let folder = tempfile::tempdir().unwrap();
        let here = folder.path().canonicalize().unwrap();
        std::fs::create_dir_all(here.join("deep/photos")).unwrap();
        std::os::unix::fs::symlink("deep/photos", here.join("link")).unwrap();
        let place = Place { here: here.clone(), home: None };
        let url = |typed| root_url(typed, &place).unwrap();
        assert!(url("link").ends_with("/link/"));
        assert_eq!(url("link/../x"), url("deep/x"));
    }
}
