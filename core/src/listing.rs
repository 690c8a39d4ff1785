//! The input as it was when the job began: objects in the byte order of their whole keys.
//!
//! A listing is frozen once and everything after it (splits, rows, books) refers to it, so the same input gives the
//! same rows in the same order wherever it lies.

use crate::InputFilter;
use serde::{Deserialize, Serialize};

/// One object of the input. `etag` is the store's token for this content: a different one means a different object.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Object {
    /// Relative to the input's root, segments divided by `/`.
    pub key: String,
    pub bytes: u64,
    pub etag: String,
}

/// What a job works on, and how many objects under its prefix it does not.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listing {
    pub objects: Vec<Object>,
    pub skipped: u64,
}

/// Keeps the objects that the filter wants and counts the others. The order is made sure of here, since splits and row
/// order follow from it.
pub fn select(mut objects: Vec<Object>, filter: &InputFilter) -> Listing {
    let all = objects.len();
    objects.retain(|object| filter.wants(&object.key));
    objects.sort_unstable_by(|a, b| a.key.as_bytes().cmp(b.key.as_bytes()));
    let skipped = (all - objects.len()) as u64;
    Listing { objects, skipped }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(key: &str) -> Object {
        Object { key: key.into(), bytes: 1, etag: "e".into() }
    }

    #[test]
    fn order_is_that_of_whole_keys_and_the_rest_is_counted() {
        let filter = InputFilter { extensions: vec!["jpg".into()] };
        let listing = select(["a/x.JPG", "a b/x.jpg", "a-b/x.jpg", "a/notes.txt", "a"].map(object).into(), &filter);
        let keys: Vec<_> = listing.objects.iter().map(|o| o.key.as_str()).collect();
        assert_eq!(keys, ["a b/x.jpg", "a-b/x.jpg", "a/x.JPG"]);
        assert_eq!(listing.skipped, 2);
    }
}
