//! An input's root, and what a list's entries are to it.

use mr_storage::{check_key, story};

/// The root that entries are under.
pub(super) struct Root {
    /// Ends in `/`.
    pub url: String,
    /// Of an input in S3: its bucket, and what keys in that begin with.
    pub bucket: Option<(String, String)>,
}

impl Root {
    pub fn of(url: &str) -> Self {
        let bucket = url.strip_prefix("s3://").and_then(|rest| rest.split_once('/'));
        let owned = |(bucket, prefix): (&str, &str)| (bucket.to_owned(), prefix.to_owned());
        Self { url: url.to_owned(), bucket: bucket.map(owned) }
    }

    /// The key of an entry as people write them: a URL or, where the input is a folder, a whole path under the root; or a
    /// key relative to it.
    pub fn key(&self, entry: &str) -> Result<String, String> {
        let folder = self.url.strip_prefix("file://");
        let under = match (entry.contains("://"), folder) {
            (true, _) => Some(self.url.as_str()),
            (false, Some(folder)) if entry.starts_with('/') => Some(folder),
            (false, _) => None,
        };
        let key = match under {
            // As `find .` prints them.
            None => entry.strip_prefix("./").unwrap_or(entry),
            Some(root) => entry
                .strip_prefix(root)
                .ok_or_else(|| format!("{entry:?} does not lie under the input, which is {}", self.url))?,
        };
        if key.is_empty() {
            return Err("an entry is empty".to_owned());
        }
        check_key(key).map_err(|error| story(&error))?;
        Ok(key.to_owned())
    }

    /// The key of an object by its bucket and its whole key there, such as S3 gives them, so it may be one that nobody would
    /// choose; `None`: it is not under the root.
    pub fn key_in_bucket(&self, bucket: &str, key: &str) -> Option<String> {
        let (own, prefix) = self.bucket.as_ref()?;
        let key = key.strip_prefix(prefix.as_str()).filter(|key| bucket == own && !key.is_empty())?;
        Some(key.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_relative_or_lies_under_the_input() {
        let (folder, bucket) = (Root::of("file:///in put/"), Root::of("s3://b/p q/"));
        for (root, entry, key) in [
            (&folder, "a/b c.jpg", "a/b c.jpg"),
            (&folder, "/in put/a.jpg", "a.jpg"),
            (&folder, "file:///in put/ü/%41", "ü/%41"),
            (&folder, "in put/a.jpg", "in put/a.jpg"),
            (&folder, "./a/b.jpg", "a/b.jpg"),
            (&bucket, "a.jpg", "a.jpg"),
            (&bucket, "s3://b/p q/a.jpg", "a.jpg"),
            (&bucket, " a ", " a "),
        ] {
            assert_eq!(root.key(entry).as_deref(), Ok(key), "{entry}");
        }
        for (root, entry, said) in [
            (&folder, "", "an entry is empty"),
            (&folder, "/in put/", "an entry is empty"),
            (&folder, "/in/a.jpg", "\"/in/a.jpg\" does not lie under the input, which is file:///in put/"),
            (&folder, "s3://b/a.jpg", "does not lie under the input"),
            (&folder, "../a.jpg", "no segment . or .."),
            (&folder, "/in put/../a.jpg", "no segment . or .."),
            (&folder, "a//b", "no empty segment"),
            (&bucket, "/a.jpg", "no empty segment"),
            (&bucket, "a/", "no empty segment"),
            (&bucket, "s3://b/p/a.jpg", "does not lie under the input, which is s3://b/p q/"),
            (&bucket, "s3://other/p q/a.jpg", "does not lie under the input"),
            (&bucket, "https://b.s3.amazonaws.com/a.jpg", "does not lie under the input"),
            (&bucket, "a\0", "holds no NUL"),
        ] {
            let error = root.key(entry).unwrap_err();
            assert!(error.contains(said), "{entry:?}: {error}");
        }
    }

    #[test]
    fn a_whole_key_is_under_the_root_or_not_of_this_job() {
        let root = Root::of("s3://b/p/");
        for (bucket, key, expected) in [
            ("b", "p/a", Some("a")),
            ("b", "p//a/../b", Some("/a/../b")),
            ("b", "p/", None),
            ("b", "q/a", None),
            ("c", "p/a", None),
        ] {
            assert_eq!(root.key_in_bucket(bucket, key).as_deref(), expected, "{key}");
        }
        assert_eq!(Root::of("s3://b/").key_in_bucket("b", "a").as_deref(), Some("a"));
        assert_eq!(Root::of("file:///b/").key_in_bucket("b", "a"), None);
    }
}
