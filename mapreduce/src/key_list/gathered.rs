//! What has been read of a list so far.

use crate::key_list::root::Root;
use mr_core::{KeyList, ListedKey, ListedVersion};
use mr_storage::stands_for_folder;
use percent_encoding::percent_decode_str;

pub(super) struct Gathered {
    pub root: Root,
    objects: Vec<ListedKey>,
    skipped: u64,
}

/// A row of a list, as far as it says something.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Row<'a> {
    pub key: &'a str,
    /// `None`: the list does not say in which bucket objects are, and its keys are relative to the input.
    pub bucket: Option<&'a str>,
    pub bytes: Option<u64>,
    pub etag: Option<&'a str>,
    /// `None`: there is one version of each object.
    pub is_latest: Option<bool>,
    pub is_delete_marker: Option<bool>,
}

impl Gathered {
    pub fn under(input: &str) -> Self {
        Self { root: Root::of(input), objects: Vec::new(), skipped: 0 }
    }

    pub fn into_list(self) -> KeyList {
        KeyList::new(self.objects, self.skipped)
    }

    /// An entry that stands for itself.
    pub fn entry(&mut self, entry: &str) -> Result<(), String> {
        self.objects.push(ListedKey { key: self.root.key(entry)?, version: None });
        Ok(())
    }

    pub fn row(&mut self, row: Row<'_>) -> Result<(), String> {
        let of_no_object = row.is_latest == Some(false)
            || row.is_delete_marker == Some(true)
            || row.bytes.is_some_and(|bytes| stands_for_folder(row.key, bytes));
        if of_no_object {
            self.skipped += 1;
            return Ok(());
        }
        let Some(bucket) = row.bucket else { return self.entry(row.key) };
        if row.key.is_empty() {
            return Err("an entry is empty".to_owned());
        }
        match self.root.key_in_bucket(bucket, row.key) {
            None => self.skipped += 1,
            Some(key) => {
                let etag = row.etag.map(|etag| etag.trim_matches('"')).filter(|etag| !etag.is_empty());
                let version = row.bytes.zip(etag).map(|(bytes, etag)| ListedVersion { bytes, etag: etag.to_owned() });
                self.objects.push(ListedKey { key, version });
            }
        }
        Ok(())
    }

    /// Where a column says in which bucket objects are, the input has to be in one.
    pub fn wants_bucket(&self) -> Result<(), String> {
        match self.root.bucket {
            Some(_) => Ok(()),
            None => Err("it has a column `bucket`, and the input is in none: leave that column out".to_owned()),
        }
    }
}

/// A key as S3 writes it into an inventory in CSV: as in a form, where a space is a plus.
pub(super) fn decoded(key: &str) -> Result<String, String> {
    let spaced = key.replace('+', " ");
    let decoded = percent_decode_str(&spaced).decode_utf8();
    decoded.map(String::from).map_err(|_| format!("the key {key:?} is not UTF-8 when it is decoded"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_of_other_objects_are_counted_and_not_taken() {
        let mut gathered = Gathered::under("s3://b/p/");
        let whole = Row { key: "p/a", bucket: Some("b"), bytes: Some(3), etag: Some("\"e\""), ..Row::default() };
        for row in [
            whole,
            Row { key: "p/odd//key", etag: Some(""), is_latest: Some(true), is_delete_marker: Some(false), ..whole },
            Row { key: "p/c", bytes: None, ..whole },
            Row { key: "p/kept/", ..whole },
            // And those that are passed over:
            Row { key: "p/folder/", bytes: Some(0), ..whole },
            Row { key: "q/a", ..whole },
            Row { key: "p/", ..whole },
            Row { bucket: Some("c"), ..whole },
            Row { is_latest: Some(false), ..whole },
            Row { is_delete_marker: Some(true), bytes: None, ..whole },
        ] {
            gathered.row(row).unwrap();
        }
        assert!(gathered.row(Row { key: "", ..whole }).is_err());
        let list = gathered.into_list();
        let said: Vec<_> = list
            .objects()
            .iter()
            .map(|o| (o.key.as_str(), o.version.as_ref().map(|v| (v.bytes, v.etag.as_str()))))
            .collect();
        assert_eq!(said, [("a", Some((3, "e"))), ("c", None), ("kept/", Some((3, "e"))), ("odd//key", None)]);
        assert_eq!(list.skipped, 6);
    }

    #[test]
    fn a_size_and_an_etag_without_a_bucket_are_nobodys_word() {
        let mut gathered = Gathered::under("s3://b/p/");
        gathered.row(Row { key: "s3://b/p/a", bytes: Some(3), etag: Some("e"), ..Row::default() }).unwrap();
        assert_eq!(gathered.into_list().objects(), [ListedKey { key: "a".into(), version: None }]);
    }

    #[test]
    fn keys_of_an_inventory_are_decoded_as_in_a_form() {
        assert_eq!(decoded("a/b+c%2Bd%C3%BC%2541.jpg").as_deref(), Ok("a/b c+dü%41.jpg"));
        assert!(decoded("%ff").unwrap_err().contains("is not UTF-8"));
    }
}
