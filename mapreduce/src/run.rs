//! A run: the pairs that one attempt emitted, sorted by partition and key, in one file with an index.
//!
//! Layout, integers little-endian:
//!
//! ```text
//! magic "MRRUN" 0 0 1
//! for each partition, its pairs:  key length u32 | value length u32 | key | value
//! for each partition, its place:  offset u64 | length u64 | pairs u64 | CRC-32 u32
//! partitions u32 | CRC-32 of the places u32 | magic
//! ```
//!
//! The bytes follow from the pairs alone. A file that was cut short or changed is an error, never fewer pairs.

use bytes::Bytes;
use std::ops::Range;
use thiserror::Error;

const MAGIC: [u8; 8] = *b"MRRUN\0\0\x01";
const PLACE: usize = 28;
const TAIL: usize = 16;
/// The lengths in front of a pair.
pub const PAIR_HEAD: usize = 8;

const SHORT: &str = "it is too short";
const ENDS: &str = "its ends are not a run's";

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pair {
    pub key: Bytes,
    pub value: Bytes,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum RunError {
    #[error("this is no run: {0}")]
    Malformed(&'static str),
    #[error("a run's partition {0} does not have its checksum")]
    Checksum(u32),
    #[error("a key or value is larger than 4 GiB")]
    TooLarge,
}

/// Which partition a key belongs to: 64-bit FNV-1a (Fowler, Noll, Vo) modulo their number. It is part of the format,
/// since a pair must meet the others of its key whoever emitted them.
pub fn partition_of(key: &[u8], partitions: u32) -> u32 {
    let hash = key
        .iter()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, &byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3));
    (hash % u64::from(partitions.max(1))) as u32
}

/// Writes pairs that come sorted by partition, then key.
pub struct RunWriter {
    bytes: Vec<u8>,
    places: Vec<u8>,
    start: usize,
    pairs: u64,
    finished: u32,
}

impl RunWriter {
    pub fn new(capacity: usize) -> Self {
        let mut bytes = Vec::with_capacity(capacity + 64);
        bytes.extend_from_slice(&MAGIC);
        Self { start: bytes.len(), bytes, places: Vec::new(), pairs: 0, finished: 0 }
    }

    /// # Errors
    /// When the key or value is larger than the format can say.
    pub fn push(&mut self, key: &[u8], value: &[u8]) -> Result<(), RunError> {
        let length = |bytes: &[u8]| u32::try_from(bytes.len()).map_err(|_| RunError::TooLarge);
        let (key_length, value_length) = (length(key)?, length(value)?);
        self.bytes.extend_from_slice(&key_length.to_le_bytes());
        self.bytes.extend_from_slice(&value_length.to_le_bytes());
        self.bytes.extend_from_slice(key);
        self.bytes.extend_from_slice(value);
        self.pairs += 1;
        Ok(())
    }

    /// Ends a partition, an empty one too.
    pub fn end_partition(&mut self) {
        let length = self.bytes.len() - self.start;
        self.places.extend_from_slice(&(self.start as u64).to_le_bytes());
        self.places.extend_from_slice(&(length as u64).to_le_bytes());
        self.places.extend_from_slice(&self.pairs.to_le_bytes());
        self.places.extend_from_slice(&crc32fast::hash(&self.bytes[self.start..]).to_le_bytes());
        self.start = self.bytes.len();
        self.pairs = 0;
        self.finished += 1;
    }

    pub fn finish(mut self) -> Bytes {
        let checksum = crc32fast::hash(&self.places);
        self.bytes.append(&mut self.places);
        self.bytes.extend_from_slice(&self.finished.to_le_bytes());
        self.bytes.extend_from_slice(&checksum.to_le_bytes());
        self.bytes.extend_from_slice(&MAGIC);
        self.bytes.into()
    }
}

/// Where the partitions of a run lie, so that one of them can be read without the others.
pub struct RunIndex {
    places: Vec<Place>,
}

struct Place {
    offset: u64,
    length: u64,
    pairs: u64,
    checksum: u32,
}

impl RunIndex {
    /// How many of its last bytes tell a run's partitions, by the last ones of them.
    ///
    /// # Errors
    /// When they are not the end of a run.
    pub fn bytes(end: &[u8]) -> Result<u64, RunError> {
        let tail = end.len().checked_sub(TAIL).map(|start| &end[start..]).ok_or(RunError::Malformed(SHORT))?;
        if tail[8..] != MAGIC {
            return Err(RunError::Malformed(ENDS));
        }
        Ok(TAIL as u64 + PLACE as u64 * u64::from(u32_at(tail, 0)))
    }

    /// From the last bytes of a run of `length` bytes.
    ///
    /// # Errors
    /// When they are too few, or not the end of such a run.
    pub fn read(end: &[u8], length: u64) -> Result<Self, RunError> {
        let bytes = Self::bytes(end)?;
        let misfit = RunError::Malformed("its index does not fit");
        let index = length.checked_sub(bytes).filter(|&index| index >= MAGIC.len() as u64).ok_or(misfit)?;
        let end = end.len().checked_sub(bytes as usize).map(|start| &end[start..]).ok_or(misfit)?;
        let (places, tail) = end.split_at(end.len() - TAIL);
        if crc32fast::hash(places) != u32_at(tail, 4) {
            return Err(RunError::Malformed("its index does not have its checksum"));
        }
        // Each begins where the one before ends, so that no byte is read twice and none is nobody's.
        let mut next = MAGIC.len() as u64;
        let mut found = Vec::with_capacity(places.len() / PLACE);
        for place in places.chunks_exact(PLACE) {
            let (offset, length) = (u64_at(place, 0), u64_at(place, 8));
            let end = offset.checked_add(length).filter(|&end| offset == next && end <= index);
            next = end.ok_or(RunError::Malformed("a partition lies elsewhere"))?;
            found.push(Place { offset, length, pairs: u64_at(place, 16), checksum: u32_at(place, 24) });
        }
        if next != index {
            return Err(RunError::Malformed("some of its bytes are of no partition"));
        }
        Ok(Self { places: found })
    }

    pub fn partitions(&self) -> u32 {
        self.places.len() as u32
    }

    /// Which of the run's bytes are the partition's.
    ///
    /// # Errors
    /// When there is no such partition.
    pub fn range(&self, partition: u32) -> Result<Range<u64>, RunError> {
        let place = self.place(partition)?;
        Ok(place.offset..place.offset + place.length)
    }

    /// Whether these are the partition's bytes.
    ///
    /// # Errors
    /// When they are not, or there is no such partition.
    pub fn check(&self, partition: u32, bytes: &[u8]) -> Result<(), RunError> {
        let place = self.place(partition)?;
        if bytes.len() as u64 != place.length || crc32fast::hash(bytes) != place.checksum {
            return Err(RunError::Checksum(partition));
        }
        Ok(())
    }

    /// The pairs in a partition's bytes, which are those that were [checked](Self::check), in key order, sharing their memory.
    ///
    /// # Errors
    /// When the partition is not there or they make no sense.
    pub fn pairs(&self, partition: u32, bytes: &Bytes) -> Result<Vec<Pair>, RunError> {
        let place = self.place(partition)?;
        let mut pairs: Vec<Pair> = Vec::new();
        let mut at = 0;
        while at < bytes.len() {
            let cut = RunError::Malformed("a pair is cut short");
            if bytes.len() - at < 8 {
                return Err(cut);
            }
            let (key, value) = (u32_at(bytes, at) as usize, u32_at(bytes, at + 4) as usize);
            at += 8;
            let end = key.checked_add(value).and_then(|both| at.checked_add(both)).filter(|&end| end <= bytes.len());
            let end = end.ok_or(cut)?;
            let pair = Pair { key: bytes.slice(at..at + key), value: bytes.slice(at + key..end) };
            // A merge takes the same key twice for two keys unless they come together.
            if pairs.last().is_some_and(|last| last.key > pair.key) {
                return Err(RunError::Malformed("its keys are out of order"));
            }
            pairs.push(pair);
            at = end;
        }
        if pairs.len() as u64 != place.pairs {
            return Err(RunError::Malformed("a partition has another number of pairs"));
        }
        Ok(pairs)
    }

    fn place(&self, partition: u32) -> Result<&Place, RunError> {
        self.places.get(partition as usize).ok_or(RunError::Malformed("it has fewer partitions"))
    }
}

/// A run that is here as a whole.
pub struct RunReader {
    bytes: Bytes,
    index: RunIndex,
}

impl RunReader {
    /// # Errors
    /// When the bytes are not a whole run.
    pub fn open(bytes: Bytes) -> Result<Self, RunError> {
        if bytes.len() < MAGIC.len() + TAIL {
            return Err(RunError::Malformed(SHORT));
        }
        if bytes[..MAGIC.len()] != MAGIC {
            return Err(RunError::Malformed(ENDS));
        }
        let index = RunIndex::read(&bytes, bytes.len() as u64)?;
        Ok(Self { bytes, index })
    }

    pub fn partitions(&self) -> u32 {
        self.index.partitions()
    }

    /// The pairs of one partition in key order, sharing the run's memory.
    ///
    /// # Errors
    /// When the partition is not there or not whole.
    pub fn partition(&self, partition: u32) -> Result<Vec<Pair>, RunError> {
        let range = self.index.range(partition)?;
        let bytes = self.bytes.slice(range.start as usize..range.end as usize);
        self.index.check(partition, &bytes)?;
        self.index.pairs(partition, &bytes)
    }
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Bytes {
        let mut run = RunWriter::new(0);
        run.push(b"a", b"1").unwrap();
        run.push(b"b", b"").unwrap();
        run.end_partition();
        run.end_partition();
        run.push(b"", b"xyz").unwrap();
        run.end_partition();
        run.finish()
    }

    #[test]
    fn what_was_written_is_read() {
        let run = RunReader::open(sample()).unwrap();
        let read: Vec<Vec<_>> = (0..run.partitions())
            .map(|p| run.partition(p).unwrap().iter().map(|pair| (pair.key.to_vec(), pair.value.to_vec())).collect())
            .collect();
        let pair = |k: &[u8], v: &[u8]| (k.to_vec(), v.to_vec());
        assert_eq!(read, [vec![pair(b"a", b"1"), pair(b"b", b"")], vec![], vec![pair(b"", b"xyz")]]);
        assert!(run.partition(3).is_err());
    }

    #[test]
    fn no_cut_and_no_flipped_bit_goes_unseen() {
        let whole = sample();
        let read_all = |bytes: Bytes| {
            let run = RunReader::open(bytes)?;
            (0..run.partitions()).map(|p| run.partition(p)).collect::<Result<Vec<_>, _>>()
        };
        for length in 0..whole.len() {
            assert!(read_all(whole.slice(..length)).is_err(), "cut to {length}");
        }
        // The end alone tells as much: of less than its index it says so, and a changed one it does not take.
        let end = RunIndex::bytes(&whole).unwrap() as usize;
        for kept in 0..=end {
            let read = RunIndex::read(&whole[whole.len() - kept..], whole.len() as u64);
            assert_eq!(read.is_ok(), kept == end, "the last {kept}");
        }
        for bit in 0..whole.len() * 8 {
            let mut bytes = whole.to_vec();
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert!(read_all(bytes.into()).is_err(), "bit {bit}");
        }
    }

    #[test]
    fn a_run_whose_checksums_are_right_and_whose_layout_is_not_is_refused() {
        let refused = |bytes: Bytes| {
            let read = RunReader::open(bytes).and_then(|run| run.partition(0).map(drop));
            read.expect_err("it is no run").to_string()
        };
        let mut run = RunWriter::new(0);
        run.push(b"b", b"1").unwrap();
        run.push(b"a", b"1").unwrap();
        run.end_partition();
        assert_eq!(refused(run.finish()), "this is no run: its keys are out of order");

        let mut run = RunWriter::new(0);
        run.push(b"a", b"1").unwrap();
        run.end_partition();
        run.push(b"b", b"1").unwrap();
        assert_eq!(refused(run.finish()), "this is no run: some of its bytes are of no partition");

        let mut run = RunWriter::new(0);
        run.push(b"a", b"1").unwrap();
        run.end_partition();
        run.start = MAGIC.len();
        run.pairs = 1;
        run.end_partition();
        assert_eq!(refused(run.finish()), "this is no run: a partition lies elsewhere");
    }

    #[test]
    fn partitions_are_pinned() {
        let of = |key: &str| partition_of(key.as_bytes(), 1000);
        assert_eq!([of(""), of("a"), of("apple"), of("Äpfel")], [37, 996, 135, 985]);
        assert_eq!(partition_of(b"anything", 1), 0);
    }
}
