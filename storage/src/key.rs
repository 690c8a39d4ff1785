//! Which keys there may be, and how a key and a root make a URI.

use crate::StoreError;

/// Files that a directory store is still writing begin with this; no key has such a segment, and no listing shows one.
pub(crate) const UNFINISHED: &str = ".~mr-put-";

/// S3's limit, held everywhere so that a job that works on a directory works on a bucket.
const KEY_BYTES_MAX: usize = 1024;

/// The whole URI of an object as users write it: not percent-encoded.
pub fn object_url(root: &str, key: &str) -> String {
    format!("{root}{key}")
}

/// Whether an object only stands for a folder: consoles show folders by means of empty objects, which are nobody's data.
pub fn stands_for_folder(key: &str, bytes: u64) -> bool {
    key.ends_with('/') && bytes == 0
}

/// Refuses a key that could leave the root or mean different things in different stores.
pub fn check_key(key: &str) -> Result<(), StoreError> {
    let reason = if key.len() > KEY_BYTES_MAX {
        Some("a key has at most 1024 bytes")
    } else {
        key.split('/').find_map(segment_fault)
    };
    refuse_for(key, reason)
}

/// A prefix ends anywhere, in the middle of a name too; the segments before its last `/` are whole.
pub(crate) fn check_prefix(prefix: &str) -> Result<(), StoreError> {
    let reason = match prefix.rsplit_once('/') {
        Some((folders, _)) => folders.split('/').find_map(segment_fault),
        None => None,
    };
    refuse_for(prefix, reason)
}

fn refuse_for(key: &str, reason: Option<&'static str>) -> Result<(), StoreError> {
    match reason {
        Some(reason) => Err(StoreError::fatal(format!("using the key {key:?}"), reason)),
        None => Ok(()),
    }
}

fn segment_fault(segment: &str) -> Option<&'static str> {
    match segment {
        "" => Some("a key has no empty segment: no / at its start or end, no two in a row"),
        "." | ".." => Some("a key has no segment . or .."),
        s if s.contains('\0') => Some("a key holds no NUL"),
        s if s.starts_with(UNFINISHED) => Some("names that begin so are for unfinished files"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_stay_inside_the_root() {
        for good in ["a", "a/b", "a b/ü", ".hidden", "a..b", "%41"] {
            assert!(check_key(good).is_ok(), "{good:?}");
        }
        let long = "x".repeat(1025);
        for bad in ["", "/", "/a", "a/", "a//b", "..", "a/../b", "./a", "a\0", &long, ".~mr-put-1"] {
            assert!(check_key(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_prefix_may_end_anywhere() {
        for good in ["", "a", "a/", "a/b", "a/.", "."] {
            assert!(check_prefix(good).is_ok(), "{good:?}");
        }
        for bad in ["/", "a//b", "../a", "a/../"] {
            assert!(check_prefix(bad).is_err(), "{bad:?}");
        }
    }
}
