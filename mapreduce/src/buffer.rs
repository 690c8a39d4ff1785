//! The pairs that a map task has emitted: in one piece of memory, and sorted without moving them.

use crate::run::{PAIR_HEAD, partition_of};
use bytes::Bytes;
use std::ops::Range;

/// Keys and values as they came, one after another.
#[derive(Default)]
pub struct PairBuffer {
    bytes: Vec<u8>,
    entries: Vec<Entry>,
}

#[derive(Clone, Copy)]
pub struct Mark {
    bytes: usize,
    entries: usize,
}

/// Where a pair is, and enough of its key to tell it from most others.
#[derive(Clone, Copy)]
struct Entry {
    /// The first bytes of the key, as a number that compares as they do.
    prefix: u64,
    at: usize,
    key: usize,
    value: usize,
    partition: u32,
}

/// Sorted pairs. Those of one key are in the order in which they were emitted.
pub struct SortedPairs {
    bytes: Bytes,
    entries: Vec<Entry>,
}

impl PairBuffer {
    pub fn push(&mut self, key: &[u8], value: &[u8]) {
        let at = self.bytes.len();
        let more = key.len() + value.len();
        // Twice the memory for a few pairs of megabytes is more than the slots of a machine have to spare.
        if more > LARGE && self.bytes.capacity() - at < more {
            self.bytes.reserve_exact(more);
        }
        self.bytes.extend_from_slice(key);
        self.bytes.extend_from_slice(value);
        self.entries.push(Entry { prefix: prefix(key), at, key: key.len(), value: value.len(), partition: 0 });
    }

    /// How much of it there is, for [`truncate`](Self::truncate).
    pub fn mark(&self) -> Mark {
        Mark { bytes: self.bytes.len(), entries: self.entries.len() }
    }

    /// Takes back what was pushed since.
    pub fn truncate(&mut self, mark: Mark) {
        self.bytes.truncate(mark.bytes);
        self.entries.truncate(mark.entries);
    }

    pub fn sort(self, partitions: u32) -> SortedPairs {
        let Self { bytes, mut entries } = self;
        if partitions > 1 {
            for entry in &mut entries {
                entry.partition = partition_of(&bytes[entry.key()], partitions);
            }
        }
        entries.sort_unstable_by(|a, b| {
            let first = a.partition.cmp(&b.partition).then(a.prefix.cmp(&b.prefix));
            let key = first.then_with(|| bytes[a.rest()].cmp(&bytes[b.rest()])).then(a.key.cmp(&b.key));
            // Pairs without a byte are where the next one is, which alone may have a value.
            key.then(a.at.cmp(&b.at)).then(a.value.cmp(&b.value))
        });
        SortedPairs { bytes: bytes.into(), entries }
    }
}

const LARGE: usize = 1 << 20;
const PREFIX: usize = size_of::<u64>();

/// A shorter key is filled up with zeros, so it may have the prefix of a longer one and is then told apart by its length.
fn prefix(key: &[u8]) -> u64 {
    let mut first = [0; PREFIX];
    let length = key.len().min(PREFIX);
    first[..length].copy_from_slice(&key[..length]);
    u64::from_be_bytes(first)
}

impl Entry {
    fn key(&self) -> Range<usize> {
        self.at..self.at + self.key
    }

    /// What of the key is not in the prefix.
    fn rest(&self) -> Range<usize> {
        self.at + self.key.min(PREFIX)..self.at + self.key
    }

    fn value(&self) -> Range<usize> {
        self.at + self.key..self.at + self.key + self.value
    }
}

impl SortedPairs {
    /// Bytes that they take in a run.
    pub fn size(&self) -> usize {
        self.bytes.len() + PAIR_HEAD * self.entries.len()
    }

    /// The pairs, those of one partition and key together.
    pub fn groups(&self) -> impl Iterator<Item = Group<'_>> {
        let same = |a: &Entry, b: &Entry| a.partition == b.partition && self.bytes[a.key()] == self.bytes[b.key()];
        self.entries.chunk_by(same).map(|entries| Group { pairs: self, entries })
    }
}

pub struct Group<'a> {
    pairs: &'a SortedPairs,
    entries: &'a [Entry],
}

impl Group<'_> {
    pub fn partition(&self) -> u32 {
        self.entries[0].partition
    }

    pub fn key(&self) -> &[u8] {
        &self.pairs.bytes[self.entries[0].key()]
    }

    pub fn count(&self) -> usize {
        self.entries.len()
    }

    pub fn values(&self) -> impl Iterator<Item = &[u8]> {
        self.entries.iter().map(|entry| &self.pairs.bytes[entry.value()])
    }

    /// The values as parts of the memory that they share.
    pub fn shared_values(&self) -> Vec<Bytes> {
        self.entries.iter().map(|entry| self.pairs.bytes.slice(entry.value())).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn pairs_come_as_a_stable_sort_has_them(
            pairs in prop::collection::vec(
                (prop::collection::vec(0u8..2, 0..12), prop::collection::vec(any::<u8>(), 0..3)),
                0..400,
            ),
            taken_back in 0usize..20,
            partitions in 1u32..4,
        ) {
            let mut buffer = PairBuffer::default();
            for (number, (key, value)) in pairs.iter().enumerate() {
                buffer.push(key, value);
                if number == taken_back {
                    let mark = buffer.mark();
                    pairs.iter().for_each(|(key, value)| buffer.push(value, key));
                    buffer.truncate(mark);
                }
            }
            let mut model: Vec<_> = pairs
                .iter()
                .map(|(key, value)| (partition_of(key, partitions), key.clone(), value.clone()))
                .collect();
            model.sort_by(|a, b| (a.0, &a.1).cmp(&(b.0, &b.1)));
            let sorted = buffer.sort(partitions);
            let mut found = Vec::new();
            for group in sorted.groups() {
                prop_assert_eq!(group.values().map(<[u8]>::to_vec).collect::<Vec<_>>(), group.shared_values());
                prop_assert_eq!(group.count(), group.values().count());
                let of_group = group.values().map(|value| (group.partition(), group.key().to_vec(), value.to_vec()));
                found.extend(of_group);
            }
            prop_assert_eq!(&found, &model);
            // Each key of a partition is one group.
            model.dedup_by(|a, b| (a.0, &a.1) == (b.0, &b.1));
            prop_assert_eq!(sorted.groups().count(), model.len());
        }
    }

    #[test]
    fn pairs_without_a_byte_stay_in_their_order() {
        let mut buffer = PairBuffer::default();
        for n in 0..1000u32 {
            buffer.push(b"", if n % 3 == 0 { &[] } else { b"x" });
        }
        let sorted = buffer.sort(1);
        let lengths: Vec<_> =
            sorted.groups().flat_map(|group| group.values().map(<[u8]>::len).collect::<Vec<_>>()).collect();
        assert_eq!(lengths, (0..1000).map(|n| usize::from(n % 3 != 0)).collect::<Vec<_>>());
    }

    #[test]
    fn a_key_and_the_same_with_zeros_are_two() {
        let keys: [&[u8]; 6] = [b"a\0\0", b"a", b"", b"a\0", b"\0\0\0\0\0\0\0\0\0", b"\0\0\0\0\0\0\0\0"];
        let mut buffer = PairBuffer::default();
        keys.iter().for_each(|key| buffer.push(key, b""));
        let sorted = buffer.sort(1);
        let found: Vec<_> = sorted.groups().map(|group| group.key().to_vec()).collect();
        let mut expected = keys.map(<[u8]>::to_vec);
        expected.sort();
        assert_eq!(found, expected);
    }
}
