//! The objects that a list names, in the one form in which they travel: whoever read the list (the submitter) ships it as a
//! blob, and whoever lists the input (the coordinator) takes them from there.
//!
//! The form is canonical, so the same list is the same blob however it was written down: objects in the byte order of
//! their keys, each once. It is a line for each, JSON: `["key"]`, or `["key",bytes,"etag"]` where the list says which
//! version it means; in front of them stands a line with the number of rows that were passed over.

use serde::{Deserialize, Serialize};
use std::fmt::Write;

/// What a job is to work on, instead of all that is under its input.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyList {
    objects: Vec<ListedKey>,
    /// Rows of the list that the job does not work on.
    pub skipped: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ListedKey {
    /// Relative to the input's root, never empty.
    pub key: String,
    /// As the list has it, which may be taken at its word; `None`: the store has to be asked.
    pub version: Option<ListedVersion>,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ListedVersion {
    pub bytes: u64,
    /// Without quotes, as in a listing.
    pub etag: String,
}

/// A line of the form.
#[derive(Deserialize, Serialize)]
#[serde(untagged)]
enum Line {
    Version(String, u64, String),
    Key((String,)),
}

impl KeyList {
    /// In any order; what comes twice is one object. If that is in two versions, neither is taken at its word.
    pub fn new(mut objects: Vec<ListedKey>, skipped: u64) -> Self {
        objects.sort_unstable();
        objects.dedup_by(|next, kept| {
            let same = next.key == kept.key;
            if same && next.version != kept.version {
                kept.version = None;
            }
            same
        });
        Self { objects, skipped }
    }

    /// In the byte order of their keys, each once.
    pub fn objects(&self) -> &[ListedKey] {
        &self.objects
    }

    /// Keeps the objects that are wanted, and counts the others as passed over.
    pub fn retain(&mut self, wants: impl Fn(&str) -> bool) {
        let all = self.objects.len();
        self.objects.retain(|object| wants(&object.key));
        self.skipped += (all - self.objects.len()) as u64;
    }

    pub fn encode(&self) -> Vec<u8> {
        let mut text = String::new();
        writeln!(text, "{}", self.skipped).expect("it is a text");
        for ListedKey { key, version } in &self.objects {
            let line = match version {
                None => serde_json::to_string(&(key,)),
                Some(ListedVersion { bytes, etag }) => serde_json::to_string(&(key, bytes, etag)),
            };
            text.push_str(&line.expect("texts and a number are JSON"));
            text.push('\n');
        }
        text.into_bytes()
    }

    /// What takes no more memory than a few times the bytes.
    ///
    /// # Errors
    /// A sentence with the number of the line that is not as [`encode`](Self::encode) writes it.
    pub fn decode(bytes: &[u8]) -> Result<Self, String> {
        let text = std::str::from_utf8(bytes).map_err(|error| format!("a list of keys is not UTF-8: {error}"))?;
        let text = text.strip_suffix('\n').ok_or("a list of keys has no end")?;
        let mut lines = text.split('\n');
        let skipped = lines.next().and_then(|line| line.parse().ok());
        let skipped = skipped.ok_or("a list of keys does not say how many rows were passed over")?;
        let mut objects: Vec<ListedKey> = Vec::new();
        for (index, line) in lines.enumerate() {
            let wrong = |why: &str| format!("line {} of a list of keys {why}", index + 2);
            let object = match serde_json::from_str(line).map_err(|_| wrong("is no object"))? {
                Line::Key((key,)) => ListedKey { key, version: None },
                Line::Version(key, bytes, etag) => ListedKey { key, version: Some(ListedVersion { bytes, etag }) },
            };
            if object.key.is_empty() {
                return Err(wrong("has an empty key"));
            }
            if objects.last().is_some_and(|last| last.key >= object.key) {
                return Err(wrong("is not in its place"));
            }
            objects.push(object);
        }
        Ok(Self { objects, skipped })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listed(key: &str, version: Option<(u64, &str)>) -> ListedKey {
        let version = version.map(|(bytes, etag)| ListedVersion { bytes, etag: etag.into() });
        ListedKey { key: key.into(), version }
    }

    #[test]
    fn a_list_is_the_same_bytes_in_whatever_order_it_came() {
        let objects = [listed("b", Some((3, "e"))), listed("a b/ü\"\\\n", None), listed("b", Some((3, "e")))];
        let list = KeyList::new(objects.to_vec(), 7);
        assert_eq!(list.encode(), "7\n[\"a b/ü\\\"\\\\\\n\"]\n[\"b\",3,\"e\"]\n".as_bytes());
        assert_eq!(KeyList::new(objects.into_iter().rev().collect(), 7), list);
        assert_eq!(KeyList::decode(&list.encode()), Ok(list));
    }

    #[test]
    fn of_two_versions_none_is_taken_at_its_word() {
        let (one, two, none) = (listed("a", Some((1, "x"))), listed("a", Some((1, "y"))), listed("a", None));
        for objects in [[&one, &two, &one], [&two, &one, &two], [&none, &one, &one], [&one, &one, &none]] {
            let list = KeyList::new(objects.map(Clone::clone).to_vec(), 0);
            assert_eq!(list.objects(), std::slice::from_ref(&none), "{objects:?}");
        }
        assert_eq!(KeyList::new(vec![one.clone(), one.clone()], 0).objects(), [one]);
    }

    #[test]
    fn what_is_not_wanted_is_counted() {
        let mut list = KeyList::new(["a.jpg", "b.txt", "c.jpg"].map(|key| listed(key, None)).to_vec(), 2);
        list.retain(|key| key.ends_with(".jpg"));
        assert_eq!(list, KeyList::new(vec![listed("a.jpg", None), listed("c.jpg", None)], 3));
    }

    #[test]
    fn what_is_no_list_is_an_error_with_its_line() {
        for (bytes, expected) in [
            (&b""[..], "has no end"),
            (b"0", "has no end"),
            (b"\n", "how many rows"),
            (b"-1\n", "how many rows"),
            (b"[\"a\"]\n", "how many rows"),
            (b"0\n[\"a\"]", "has no end"),
            (b"0\n\n", "line 2 of a list of keys is no object"),
            (b"0\n[\"a\"]\n[\"b\",1]\n", "line 3 of a list of keys is no object"),
            (b"0\n[\"a\",-1,\"e\"]\n", "line 2 of a list of keys is no object"),
            (b"0\n[\"a\",1,\"e\",1]\n", "line 2 of a list of keys is no object"),
            (b"0\n[\"\"]\n", "line 2 of a list of keys has an empty key"),
            (b"0\n[\"b\"]\n[\"a\"]\n", "line 3 of a list of keys is not in its place"),
            (b"0\n[\"a\"]\n[\"a\",1,\"e\"]\n", "line 3 of a list of keys is not in its place"),
            (b"0\n[\"\xff\"]\n", "is not UTF-8"),
        ] {
            let said = KeyList::decode(bytes).unwrap_err();
            assert!(said.contains(expected), "{}: {said}", String::from_utf8_lossy(bytes));
        }
        assert_eq!(KeyList::decode(b"12\n"), Ok(KeyList::new(Vec::new(), 12)));
    }

    /// Keys of whatever characters there are, from a seed.
    #[test]
    fn whatever_is_encoded_is_decoded() {
        let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
        let mut random = |below: u64| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (seed >> 33) % below
        };
        for round in 0..500 {
            let text = |random: &mut dyn FnMut(u64) -> u64, most| -> String {
                let length = 1 + random(most);
                (0..length)
                    .filter_map(|_| char::from_u32(random(if round % 2 == 0 { 0x80 } else { 0x11_0000 }) as u32))
                    .collect()
            };
            let mut objects = Vec::new();
            for _ in 0..random(20) {
                let key = text(&mut random, 6);
                let version = (random(2) == 0)
                    .then(|| ListedVersion { bytes: u64::MAX >> random(64), etag: text(&mut random, 3) });
                if !key.is_empty() {
                    objects.push(ListedKey { key, version });
                }
            }
            let list = KeyList::new(objects, random(1 << 30));
            assert_eq!(KeyList::decode(&list.encode()), Ok(list));
        }
    }
}
