//! A checksum of a whole log entry, which the entry itself says: Delta has none, and a bit that flips in a size or a time
//! is valid JSON.

use crate::action::{self, Action};
use serde_json::Map;

/// In our commit info, before whatever a job puts there.
const NAME: &str = "entryCrc32";
/// What stands there while the checksum is taken.
const OPEN: &str = "00000000";

/// The entry's bytes, sealed.
pub(crate) fn sealed(mut actions: Vec<Action>) -> Vec<u8> {
    if let Some(Action::CommitInfo(info)) = actions.first_mut() {
        let mut first = Map::from_iter([(NAME.to_owned(), OPEN.into())]);
        first.append(info);
        *info = first;
    }
    let mut bytes = action::write(&actions);
    if let Some(at) = seal(&bytes) {
        let crc32 = format!("{:08x}", crc32fast::hash(&bytes));
        bytes[at..at + OPEN.len()].copy_from_slice(crc32.as_bytes());
    }
    bytes
}

/// Whether these are not the bytes that were sealed. An entry without a seal is of another program, or of one of ours
/// before there were seals.
pub(crate) fn is_broken(entry: &[u8]) -> bool {
    let Some(at) = seal(entry) else { return false };
    let mut open = entry.to_vec();
    open[at..at + OPEN.len()].copy_from_slice(OPEN.as_bytes());
    format!("{:08x}", crc32fast::hash(&open)).as_bytes() != &entry[at..at + OPEN.len()]
}

/// Where the checksum stands.
fn seal(entry: &[u8]) -> Option<usize> {
    let name = format!("\"{NAME}\":\"");
    let at = entry.windows(name.len()).position(|window| window == name.as_bytes())? + name.len();
    (at + OPEN.len() <= entry.len()).then_some(at)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn no_bit_flips_unseen_but_in_the_name_of_the_seal() {
        let info = json!({ "timestamp": 5, "info": { NAME: "ffffffff" } });
        let info = info.as_object().unwrap().clone();
        let removed = action::Remove { path: "a".into(), deletion_timestamp: Some(7), data_change: true };
        let entry = sealed(vec![Action::CommitInfo(info), Action::Remove(removed)]);
        assert!(!is_broken(&entry) && entry.starts_with(br#"{"commitInfo":{"entryCrc32":""#));
        let at = seal(&entry).unwrap();
        let name = at - NAME.len() - 4..at;
        for bit in (0..entry.len() * 8).filter(|bit| !name.contains(&(bit / 8))) {
            let mut flipped = entry.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(is_broken(&flipped), "bit {bit}");
        }
        assert!(is_broken(&entry[..entry.len() - 1]));
        assert!(!is_broken(b"{\"commitInfo\":{}}") && !is_broken(b"\"entryCrc32\":\"000"));
    }
}
