//! Any bytes as a run: an error, or pairs that are read again from what is written of them.

use bytes::Bytes;
use mr_core::Failure;
use mr_mapreduce::{Pair, RunReader, RunWriter};

const MAGIC: &[u8] = b"MRRUN\0\0\x02";
const HEAD: usize = 20;
const CHECKED: usize = 16;
const PLACE: usize = 24;
const TAIL: usize = 16;

/// The first byte says what the others are: a run, one whose checksums are put right first since no fuzzer guesses them, or
/// pairs to write.
pub fn run_file(data: &[u8]) {
    let Some((kind, rest)) = data.split_first() else { return };
    match kind % 3 {
        0 => read_back(Bytes::copy_from_slice(rest)),
        1 => read_back(with_checksums(rest.to_vec()).into()),
        _ => written(rest),
    }
}

fn read_back(bytes: Bytes) {
    if let Ok(partitions) = read(bytes) {
        for pairs in &partitions {
            assert!(
                pairs.is_sorted_by_key(|pair| &pair.key),
                "keys are out of order, so a merge would take one for two"
            );
        }
        // Its blocks may be cut and packed as no writer does it.
        assert_eq!(read(write(&partitions)).as_ref(), Ok(&partitions), "the same pairs are others");
    }
}

fn read(bytes: Bytes) -> Result<Vec<Vec<Pair>>, Failure> {
    let run = RunReader::open(bytes)?;
    (0..run.partitions()).map(|partition| run.partition(partition)).collect()
}

fn write(partitions: &[Vec<Pair>]) -> Bytes {
    let mut writer = RunWriter::new(Vec::new()).expect("it is memory");
    for (partition, pairs) in (0..).zip(partitions) {
        for pair in pairs {
            writer.push(partition, &pair.key, &pair.value).expect("it is small");
        }
    }
    writer.finish(partitions.len() as u32).expect("it is memory").0.into()
}

/// Cuts the bytes into pairs: two lengths, a byte each, and then key and value; 255 ends a partition. What was written is
/// read, and with any one byte changed or the end cut off it is not.
fn written(mut rest: &[u8]) {
    let (mut partitions, mut open) = (Vec::new(), Vec::new());
    while let [key, value, others @ ..] = rest {
        rest = others;
        if *key == u8::MAX {
            partitions.push(std::mem::take(&mut open));
            continue;
        }
        let (key, others) = rest.split_at(usize::from(*key).min(rest.len()));
        let (value, others) = others.split_at(usize::from(*value).min(others.len()));
        open.push(Pair { key: Bytes::copy_from_slice(key), value: Bytes::copy_from_slice(value) });
        rest = others;
    }
    partitions.push(open);
    partitions.iter_mut().for_each(|pairs| pairs.sort_by(|a, b| a.key.cmp(&b.key)));
    let bytes = write(&partitions);
    assert_eq!(read(bytes.clone()).as_ref(), Ok(&partitions));
    let at = crc_like(&bytes) % bytes.len();
    let mut changed = bytes.to_vec();
    changed[at] ^= 1 << (at % 8);
    assert!(read(changed.into()).is_err(), "the change at {at} went unseen");
    assert!(read(bytes.slice(..at)).is_err(), "the cut at {at} went unseen");
}

/// Some number that follows from the bytes.
fn crc_like(bytes: &[u8]) -> usize {
    bytes.iter().fold(7, |sum: usize, byte| sum.wrapping_mul(31).wrapping_add(usize::from(*byte)))
}

/// Puts right what can be: both magics, the number of partitions if it can't be, and every checksum.
fn with_checksums(mut bytes: Vec<u8>) -> Vec<u8> {
    let Some(tail) = bytes.len().checked_sub(TAIL).filter(|tail| *tail >= MAGIC.len()) else { return bytes };
    bytes[..MAGIC.len()].copy_from_slice(MAGIC);
    bytes[tail + 8..].copy_from_slice(MAGIC);
    let room = (tail - MAGIC.len()) / PLACE;
    let said = u32::from_le_bytes(bytes[tail..tail + 4].try_into().expect("four bytes")) as usize;
    let count = if said <= room { said } else { said % (room + 1) };
    bytes[tail..tail + 4].copy_from_slice(&(count as u32).to_le_bytes());
    let index = tail - count * PLACE;
    let mut block = MAGIC.len();
    while block + HEAD <= index {
        let stored = u32::from_le_bytes(bytes[block..block + 4].try_into().expect("four bytes")) as usize;
        let Some(end) = (block + HEAD).checked_add(stored).filter(|end| *end <= index) else { break };
        let mut checksum = crc32fast::Hasher::new();
        checksum.update(&bytes[block..block + CHECKED]);
        checksum.update(&bytes[block + HEAD..end]);
        let checksum = checksum.finalize().to_le_bytes();
        bytes[block + CHECKED..block + HEAD].copy_from_slice(&checksum);
        block = end;
    }
    let checksum = crc32fast::hash(&bytes[index..tail]);
    bytes[tail + 4..tail + 8].copy_from_slice(&checksum.to_le_bytes());
    bytes
}
