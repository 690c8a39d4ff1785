//! The pairs that a map task has emitted: in one piece of memory, and sorted without moving them.

use crate::job::ValueSource;
use crate::run::prefix;
use mr_core::Failure;
use std::marker::PhantomData;
use std::ops::Range;

/// Keys and values as they came, one after another.
#[derive(Default)]
pub struct PairBuffer {
    bytes: Vec<u8>,
    entries: Vec<Entry>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
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
pub struct SortedPairs<'a> {
    bytes: &'a [u8],
    entries: &'a [Entry],
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

    /// Bytes that the pairs take, as they follow from the pairs alone.
    pub fn memory(&self) -> u64 {
        self.bytes.len() as u64 + (self.entries.len() * ENTRY) as u64
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

    /// Takes back what was pushed since, and gives it.
    pub fn split_off(&mut self, mark: Mark) -> Self {
        let (bytes, mut entries) = (self.bytes.split_off(mark.bytes), self.entries.split_off(mark.entries));
        entries.iter_mut().for_each(|entry| entry.at -= mark.bytes);
        Self { bytes, entries }
    }

    /// Calls `each` with keys and values as they were pushed.
    pub fn each(&self, mut each: impl FnMut(&[u8], &[u8])) {
        self.entries.iter().for_each(|entry| each(&self.bytes[entry.key()], &self.bytes[entry.value()]));
    }

    /// Pushes all of another, after what is here.
    pub fn append(&mut self, other: Self) {
        let begins = self.bytes.len();
        self.bytes.extend_from_slice(&other.bytes);
        self.entries.extend(other.entries.into_iter().map(|entry| Entry { at: entry.at + begins, ..entry }));
    }

    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Takes all back, and keeps the memory.
    pub fn clear(&mut self) {
        self.truncate(Mark::default());
    }

    /// Sorts by partition, then key; by what partition a key goes to, if it does not go to the only one.
    pub fn sort(&mut self, partition: Option<impl Fn(&[u8]) -> u32>) -> SortedPairs<'_> {
        let Self { bytes, entries } = self;
        let bytes = bytes.as_slice();
        if let Some(partition) = partition {
            for entry in entries.iter_mut() {
                entry.partition = partition(&bytes[entry.key()]);
            }
        }
        entries.sort_unstable_by(|a, b| {
            let first = a.partition.cmp(&b.partition).then(a.prefix.cmp(&b.prefix));
            let key = first.then_with(|| bytes[a.rest()].cmp(&bytes[b.rest()])).then(a.key.cmp(&b.key));
            // Pairs without a byte are where the next one is, which alone may have a value.
            key.then(a.at.cmp(&b.at)).then(a.value.cmp(&b.value))
        });
        SortedPairs { bytes, entries }
    }
}

const LARGE: usize = 1 << 20;
const PREFIX: usize = size_of::<u64>();
/// Bytes of an entry: said, since results follow from when a buffer is full.
const ENTRY: usize = 40;
const _: () = assert!(size_of::<Entry>() == ENTRY);

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

impl<'a> SortedPairs<'a> {
    /// The pairs, those of one partition and key together.
    pub fn groups(&self) -> impl Iterator<Item = Group<'a>> + use<'a> {
        let (bytes, entries) = (self.bytes, self.entries);
        let same = move |a: &Entry, b: &Entry| a.partition == b.partition && bytes[a.key()] == bytes[b.key()];
        entries.chunk_by(same).map(move |entries| Group { bytes, entries })
    }
}

pub struct Group<'a> {
    bytes: &'a [u8],
    entries: &'a [Entry],
}

impl<'a> Group<'a> {
    pub fn partition(&self) -> u32 {
        self.entries[0].partition
    }

    pub fn key(&self) -> &'a [u8] {
        &self.bytes[self.entries[0].key()]
    }

    pub fn count(&self) -> usize {
        self.entries.len()
    }

    pub fn values(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        let bytes = self.bytes;
        self.entries.iter().map(move |entry| &bytes[entry.value()])
    }
}

/// Values that are in memory.
pub struct ValuesOf<'a, I> {
    values: I,
    of: PhantomData<&'a [u8]>,
}

impl<'a, I: Iterator<Item = &'a [u8]>> ValuesOf<'a, I> {
    pub fn new(values: I) -> Self {
        Self { values, of: PhantomData }
    }
}

impl<'a, I: Iterator<Item = &'a [u8]>> ValueSource for ValuesOf<'a, I> {
    fn next(&mut self) -> Result<Option<&[u8]>, Failure> {
        Ok(self.values.next())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::partition_of;
    use proptest::prelude::*;

    fn everywhere() -> Option<fn(&[u8]) -> u32> {
        None
    }

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
            // What is pushed before and what after a mark stay apart, and are the same together.
            let mut rest = PairBuffer::default();
            for (number, (key, value)) in pairs.iter().enumerate() {
                rest.push(key, value);
                if number == taken_back {
                    let mark = rest.mark();
                    pairs.iter().for_each(|(key, value)| rest.push(key, value));
                    let twice = rest.split_off(mark);
                    prop_assert_eq!(twice.mark().entries, pairs.len());
                    rest.append(twice);
                    rest.truncate(mark);
                }
            }
            prop_assert_eq!(rest.memory(), buffer.memory());
            buffer.append(rest.split_off(buffer.mark()));
            let sorted = buffer.sort((partitions > 1).then_some(|key: &[u8]| partition_of(key, partitions)));
            let mut found = Vec::new();
            for group in sorted.groups() {
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
        let sorted = buffer.sort(everywhere());
        let lengths: Vec<_> =
            sorted.groups().flat_map(|group| group.values().map(<[u8]>::len).collect::<Vec<_>>()).collect();
        assert_eq!(lengths, (0..1000).map(|n| usize::from(n % 3 != 0)).collect::<Vec<_>>());
    }

    #[test]
    fn a_key_and_the_same_with_zeros_are_two() {
        let keys: [&[u8]; 6] = [b"a\0\0", b"a", b"", b"a\0", b"\0\0\0\0\0\0\0\0\0", b"\0\0\0\0\0\0\0\0"];
        let mut buffer = PairBuffer::default();
        keys.iter().for_each(|key| buffer.push(key, b""));
        let sorted = buffer.sort(everywhere());
        let found: Vec<_> = sorted.groups().map(|group| group.key().to_vec()).collect();
        let mut expected = keys.map(<[u8]>::to_vec);
        expected.sort();
        assert_eq!(found, expected);
    }
}
