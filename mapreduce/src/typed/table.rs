//! One value for each key, kept while a map emits: what a job's combiner makes of all that came with that key so far.
//!
//! Most of what a large vocabulary costs is waiting for memory, so keys are looked up many at a time: their places are read
//! one after another with nothing between that depends on them, and the processor waits for all of them at once. The order
//! of the values of a key is kept. The order of keys is not, and nothing may depend on it: the hash is seeded by chance.

use std::hash::{BuildHasher, RandomState};

/// Keys that are looked up at a time.
const BATCH: usize = 32;
/// Slots, to begin with.
const SLOTS: usize = 1 << 10;
const EMPTY: u32 = u32::MAX;

pub(super) struct Table<V> {
    /// Indices of entries, found by hash and then one after another; less than two of three are taken.
    slots: Vec<u32>,
    entries: Vec<Entry<V>>,
    /// Keys that are longer than their digest tells, one after another.
    long: Vec<u8>,
    seeds: [u64; 2],
    pending: Vec<Pending<V>>,
    /// The keys of those pending that are long.
    pending_long: Vec<u8>,
}

struct Entry<V> {
    digest: Digest,
    hash: u32,
    /// A long key's place in `long`.
    at: usize,
    value: V,
}

/// The same on its way into the table, with its long key in `pending_long`.
type Pending<V> = Entry<V>;

/// A key of up to sixteen bytes is known by its length and two numbers: read from its two ends, they hold all of its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Digest {
    ends: [u64; 2],
    length: u32,
}

const SHORT: usize = 16;

impl Digest {
    fn of(key: &[u8]) -> Self {
        let length = key.len();
        let ends = if let (Some(first), Some(last)) = (key.first_chunk(), key.last_chunk()) {
            [u64::from_le_bytes(*first), u64::from_le_bytes(*last)]
        } else if let (Some(first), Some(last)) = (key.first_chunk(), key.last_chunk()) {
            [u32::from_le_bytes(*first).into(), u32::from_le_bytes(*last).into()]
        } else if let (Some(first), Some(last)) = (key.first(), key.last()) {
            // Of three bytes the one in the middle is missing.
            [u64::from(*first) | u64::from(key[length / 2]) << 8, (*last).into()]
        } else {
            [0, 0]
        };
        let length = u32::try_from(length).expect("a key is shorter than 4 GiB");
        Self { ends, length }
    }

    fn length(self) -> usize {
        self.length as usize
    }

    fn is_short(self) -> bool {
        self.length() <= SHORT
    }

    /// The bytes of a short key.
    fn bytes(self) -> [u8; SHORT] {
        let mut bytes = [0; SHORT];
        let [first, last] = self.ends.map(u64::to_le_bytes);
        let length = self.length();
        match length {
            0 => {}
            1..4 => {
                bytes[0] = first[0];
                bytes[length / 2] = first[1];
                bytes[length - 1] = last[0];
            }
            4..8 => {
                bytes[..4].copy_from_slice(&first[..4]);
                bytes[length - 4..length].copy_from_slice(&last[..4]);
            }
            _ => {
                bytes[..8].copy_from_slice(&first);
                bytes[length - 8..length].copy_from_slice(&last);
            }
        }
        bytes
    }
}

/// Two numbers into one, so that every bit of them counts: the two halves of their product.
fn fold(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    product as u64 ^ (product >> 64) as u64
}

/// Whoever calls says how values are combined, the same way every time.
impl<V> Table<V> {
    pub fn new() -> Self {
        let random = RandomState::new();
        Self {
            slots: vec![EMPTY; SLOTS],
            entries: Vec::new(),
            long: Vec::new(),
            // The second multiplies, and is to have bits in all places.
            seeds: [random.hash_one(0u8), random.hash_one(1u8) | 1],
            pending: Vec::with_capacity(BATCH),
            pending_long: Vec::new(),
        }
    }

    /// Whether it may take more memory now than before.
    pub fn add(&mut self, key: &[u8], value: V, combine: impl Fn(&mut V, V)) -> bool {
        let digest = Digest::of(key);
        let hash = self.hash(digest, key);
        let at = self.pending_long.len();
        if !digest.is_short() {
            self.pending_long.extend_from_slice(key);
        }
        self.pending.push(Pending { digest, hash, at, value });
        if self.pending.len() < BATCH {
            return false;
        }
        self.settle(combine);
        true
    }

    /// Bytes that it takes, as they follow from the keys alone.
    pub fn memory(&self) -> u64 {
        (self.slots.len() * size_of::<u32>() + self.entries.len() * size_of::<Entry<V>>() + self.long.len()) as u64
    }

    pub fn is_empty(&self) -> bool {
        self.entries.is_empty() && self.pending.is_empty()
    }

    /// Calls `each` with every key and its value.
    pub fn drain(mut self, combine: impl Fn(&mut V, V), mut each: impl FnMut(&[u8], V)) {
        self.settle(combine);
        for Entry { digest, at, value, .. } in self.entries {
            if digest.is_short() {
                each(&digest.bytes()[..digest.length()], value);
            } else {
                each(&self.long[at..at + digest.length()], value);
            }
        }
    }

    fn hash(&self, digest: Digest, key: &[u8]) -> u32 {
        let [seed, odd] = self.seeds;
        let mut hash = fold(digest.ends[0] ^ seed, digest.ends[1] ^ odd ^ u64::from(digest.length) << 32);
        if !digest.is_short() {
            for chunk in key.chunks(8) {
                let mut bytes = [0; 8];
                bytes[..chunk.len()].copy_from_slice(chunk);
                hash = fold(hash ^ u64::from_le_bytes(bytes), odd);
            }
        }
        hash as u32
    }

    /// Adds what is pending to what is there.
    fn settle(&mut self, combine: impl Fn(&mut V, V)) {
        if (self.entries.len() + BATCH) * 3 > self.slots.len() * 2 {
            self.grow();
        }
        let mask = self.slots.len() - 1;
        let mut at = [EMPTY; BATCH];
        for (at, pending) in at.iter_mut().zip(&self.pending) {
            *at = self.slots[pending.hash as usize & mask];
        }
        let mut met = [false; BATCH];
        for ((met, at), pending) in met.iter_mut().zip(at).zip(&self.pending) {
            *met = self.entries.get(at as usize).is_some_and(|entry| {
                // A long key is looked at in full, and then too.
                entry.digest == pending.digest && pending.digest.is_short()
            });
        }
        let mut pending = std::mem::take(&mut self.pending);
        for (number, pending) in pending.drain(..).enumerate() {
            if met[number] {
                combine(&mut self.entries[at[number] as usize].value, pending.value);
            } else {
                self.put(pending, mask, &combine);
            }
        }
        self.pending = pending;
        self.pending_long.clear();
    }

    fn put(&mut self, pending: Pending<V>, mask: usize, combine: impl Fn(&mut V, V)) {
        let Pending { digest, hash, at, value } = pending;
        let mut slot = hash as usize & mask;
        loop {
            let index = self.slots[slot];
            if index == EMPTY {
                break;
            }
            let entry = &mut self.entries[index as usize];
            let same = entry.digest == digest
                && (digest.is_short()
                    || self.long[entry.at..entry.at + digest.length()] == self.pending_long[at..at + digest.length()]);
            if same {
                return combine(&mut entry.value, value);
            }
            slot = (slot + 1) & mask;
        }
        self.slots[slot] = self.entries.len() as u32;
        let kept = self.long.len();
        if !digest.is_short() {
            self.long.extend_from_slice(&self.pending_long[at..at + digest.length()]);
        }
        self.entries.push(Entry { digest, hash, at: kept, value });
    }

    fn grow(&mut self) {
        // An index has 32 bits, of which one says that there is none: far more than a task has memory for.
        assert!(self.entries.len() + BATCH < EMPTY as usize, "a task has emitted four billion different keys");
        let mask = self.slots.len() * 4 - 1;
        self.slots.clear();
        self.slots.resize(mask + 1, EMPTY);
        for (index, entry) in self.entries.iter().enumerate() {
            let mut slot = entry.hash as usize & mask;
            while self.slots[slot] != EMPTY {
                slot = (slot + 1) & mask;
            }
            self.slots[slot] = index as u32;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    fn drained<V>(table: Table<V>, combine: impl Fn(&mut V, V)) -> BTreeMap<Vec<u8>, V> {
        let mut found = BTreeMap::new();
        let once = |key: &[u8], value| assert!(found.insert(key.to_vec(), value).is_none(), "{key:?} is there twice");
        table.drain(combine, once);
        found
    }

    fn append(all: &mut Vec<usize>, more: Vec<usize>) {
        all.extend(more);
    }

    proptest! {
        #[test]
        fn values_of_a_key_are_combined_in_their_order(
            keys in prop::collection::vec(prop_oneof![
                prop::collection::vec(0u8..2, 0..20),
                prop::collection::vec(any::<u8>(), 0..20),
                (0u8..3, 0usize..40).prop_map(|(byte, length)| vec![byte; length]),
            ], 0..200),
        ) {
            let mut table = Table::new();
            let mut model: BTreeMap<Vec<u8>, Vec<usize>> = BTreeMap::new();
            for (number, key) in keys.into_iter().enumerate() {
                table.add(&key, vec![number], append);
                model.entry(key).or_default().push(number);
            }
            prop_assert_eq!(drained(table, append), model);
        }
    }

    #[test]
    fn many_keys_of_every_length_find_their_places() {
        const KEYS: usize = 100_000;
        let key = |n: usize| format!("{n:0length$}", length = n % 40).into_bytes();
        let mut table = Table::new();
        let mut model: BTreeMap<Vec<u8>, Vec<usize>> = BTreeMap::new();
        for n in 0..3 * KEYS {
            let key = key(n * 7 % KEYS);
            table.add(&key, vec![n], append);
            model.entry(key).or_default().push(n);
        }
        assert!(drained(table, append) == model);
    }

    #[test]
    fn a_digest_holds_all_of_a_short_key() {
        for length in 0..=SHORT as u8 {
            let key: Vec<u8> = (1..=length).collect();
            assert_eq!(Digest::of(&key).bytes()[..key.len()], key);
        }
    }
}
