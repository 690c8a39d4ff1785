//! A run: emitted pairs, sorted by partition and key, in one file of blocks with an index.
//!
//! Layout, integers little-endian:
//!
//! ```text
//! magic "MRRUN" 0 0 2
//! blocks, each of pairs of one partition:
//!     stored u32 | raw u32 | pairs u32 | partition u32 | CRC-32 u32 of these four and of what is stored | what is stored
//! for each partition, its place:  offset u64 | length u64 | pairs u64
//! partitions u32 | CRC-32 of the places u32 | magic
//! ```
//!
//! What is stored is the pairs, as an LZ4 block if that is shorter than they are (`stored` < `raw`):
//! `key length u32 | value length u32 | key | value` for each.
//!
//! The bytes follow from the pairs alone. A file that was cut short or changed is an error, never fewer pairs. A block can
//! be checked and unpacked without the others, so a run is written and read with little of it in memory.

mod block;
mod cursor;
mod index;
mod reader;
mod writer;

pub use block::{Block, Blocks, HEAD, Head, RAW_MAX, WholeBlocks};
pub use cursor::RunCursor;
pub use index::RunIndex;
pub use reader::{Counted, Pair, RunReader};
pub use writer::RunWriter;

use mr_core::Failure;
use thiserror::Error;

const MAGIC: [u8; 8] = *b"MRRUN\0\0\x02";
/// The lengths in front of a pair.
pub const PAIR_HEAD: usize = 8;
/// Pairs are gathered to blocks of about this; a larger pair is a block of its own.
pub const BLOCK: usize = 64 << 10;
/// A key is in memory several times over, wherever it is sorted or merged.
pub const KEY_MAX: usize = 16 << 20;
/// A value is in memory as a whole.
pub const VALUE_MAX: usize = 1 << 30;

/// Why something is no run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum RunError {
    #[error("this is no run: {0}")]
    Malformed(&'static str),
    #[error("a block of a run does not have its checksum")]
    Checksum,
}

/// It is as it was written, by its checksum, and no run: to make it again would bring the same.
impl From<RunError> for Failure {
    fn from(error: RunError) -> Self {
        Failure::permanent(error.to_string())
    }
}

/// Which partition a key belongs to: 64-bit FNV-1a (Fowler, Noll, Vo) modulo their number. It is part of the format,
/// since a pair must meet the others of its key whoever emitted them.
pub fn partition_of(key: &[u8], partitions: u32) -> u32 {
    let hash = key
        .iter()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, &byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3));
    (hash % u64::from(partitions.max(1))) as u32
}

/// The first bytes of a key, as a number that compares as they do. A shorter key is filled up with zeros, so it may have the
/// prefix of a longer one and is then told apart by its length.
pub fn prefix(key: &[u8]) -> u64 {
    match key.first_chunk() {
        Some(first) => u64::from_be_bytes(*first),
        None => key.iter().fold(0, |prefix, &byte| prefix << 8 | u64::from(byte)) << (8 * (8 - key.len()) as u32 % 64),
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
    use bytes::Bytes;

    fn sample() -> Bytes {
        let mut run = RunWriter::new(Vec::new()).unwrap();
        run.push(0, b"a", b"1").unwrap();
        run.push(0, b"b", b"").unwrap();
        run.push(2, b"", b"xyz").unwrap();
        run.push(2, b"z", &[b'z'; 100]).unwrap();
        run.finish(4).unwrap().0.into()
    }

    fn read_all(bytes: Bytes) -> Result<Vec<Vec<Pair>>, Failure> {
        let run = RunReader::open(bytes)?;
        (0..run.partitions()).map(|partition| run.partition(partition)).collect()
    }

    #[test]
    fn what_was_written_is_read() {
        let pair = |key: &str, value: &str| Pair { key: key.to_owned().into(), value: value.to_owned().into() };
        let z = "z".repeat(100);
        let expected = [vec![pair("a", "1"), pair("b", "")], vec![], vec![pair("", "xyz"), pair("z", &z)], vec![]];
        assert_eq!(read_all(sample()).unwrap(), expected);
        assert!(RunReader::open(sample()).unwrap().partition(4).is_err());
    }

    #[test]
    fn blocks_hold_some_pairs_each_and_large_pairs_are_their_own() {
        let mut run = RunWriter::new(Vec::new()).unwrap();
        let pairs: Vec<(Vec<u8>, Vec<u8>)> = (0..20_000u32)
            .map(|n| (format!("{n:08}").into_bytes(), vec![n as u8; if n % 5000 == 7 { 200_000 } else { 20 }]))
            .collect();
        pairs.iter().for_each(|(key, value)| run.push(0, key, value).unwrap());
        let bytes: Bytes = run.finish(1).unwrap().0.into();
        assert!(bytes.len() < 300_000, "{} bytes are not packed", bytes.len());
        let found: Vec<_> = read_all(bytes).unwrap().remove(0);
        let found: Vec<_> = found.into_iter().map(|pair| (pair.key.to_vec(), pair.value.to_vec())).collect();
        assert!(found == pairs);
    }

    #[test]
    fn no_cut_and_no_flipped_bit_goes_unseen() {
        let whole = sample();
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
        let refused = |pairs: &[(u32, &str)]| {
            let mut run = RunWriter::new(Vec::new()).unwrap();
            pairs.iter().for_each(|(partition, key)| run.push(*partition, key.as_bytes(), &[0; BLOCK]).unwrap());
            read_all(run.finish(3).unwrap().0.into()).expect_err("it is no run").message
        };
        // In one block, and in two.
        assert_eq!(refused(&[(0, "b"), (0, "a")]), "this is no run: its keys are out of order");
        let mut run = RunWriter::new(Vec::new()).unwrap();
        ["b", "a"].iter().for_each(|key| run.push(0, key.as_bytes(), b"").unwrap());
        let short = read_all(run.finish(1).unwrap().0.into()).unwrap_err();
        assert_eq!(short.message, "this is no run: its keys are out of order");
        // A place that is another's.
        let whole = sample();
        let end = RunIndex::bytes(&whole).unwrap() as usize;
        let index = RunIndex::read(&whole, whole.len() as u64).unwrap();
        let with = |change: fn(&mut Vec<index::Place>)| {
            let mut places: Vec<_> = (0..4).map(|partition| index.place(partition).unwrap().clone()).collect();
            change(&mut places);
            let mut other = RunIndex::default();
            places.into_iter().for_each(|place| other.push(place));
            let bytes = [&whole[..whole.len() - end], &other.to_bytes()].concat();
            read_all(bytes.into()).expect_err("it is no run").message
        };
        assert_eq!(with(|places| places[0].offset += 1), "this is no run: a partition lies elsewhere");
        assert_eq!(with(|places| drop(places.drain(2..))), "this is no run: some of its bytes are of no partition");
        assert_eq!(with(|places| places.swap(0, 2)), "this is no run: a partition lies elsewhere");
        assert_eq!(with(|places| places[2].pairs += 1), "this is no run: a partition has another number of pairs");
        assert_eq!(
            with(|places| {
                places[1] = index::Place { offset: places[0].range().end, ..places[2].clone() };
                places[2] = index::Place { offset: places[1].range().end, length: 0, pairs: 0 };
            }),
            "this is no run: a block is of another partition"
        );
    }

    #[test]
    fn a_pair_that_no_memory_holds_is_refused_with_its_size() {
        let mut run = RunWriter::new(Vec::new()).unwrap();
        let refused = run.push(0, &vec![0; KEY_MAX + 1], b"").unwrap_err();
        assert_eq!(refused, Failure::permanent("the job emitted a key of 16777217 bytes; 16777216 is the most"));
        assert!(run.push(0, &vec![0; KEY_MAX], b"").is_ok());
    }

    #[test]
    fn a_run_of_other_partitions_is_none() {
        let whole = sample();
        let index = RunIndex::read(&whole, whole.len() as u64).unwrap();
        let read_as = |partitions| index.is_for(partitions).map_err(|error| error.to_string());
        assert_eq!(read_as(4), Ok(()));
        assert_eq!(read_as(5), Err("this is no run: it has fewer partitions".to_owned()));
        assert_eq!(read_as(3), Err("this is no run: it has more partitions".to_owned()));
    }

    #[test]
    fn partitions_are_pinned() {
        let of = |key: &str| partition_of(key.as_bytes(), 1000);
        assert_eq!([of(""), of("a"), of("apple"), of("Äpfel")], [37, 996, 135, 985]);
        assert_eq!(partition_of(b"anything", 1), 0);
    }

    #[test]
    fn prefixes_compare_as_the_first_bytes() {
        let keys: [&[u8]; 7] = [b"", b"\0", b"a", b"a\0\0b", b"abcdefg", b"abcdefgh", b"abcdefghi"];
        let prefixes = keys.map(prefix);
        assert!(prefixes.is_sorted());
        assert_eq!(prefixes[..3], [0, 0, u64::from(b'a') << 56]);
    }
}
