//! Blocks of a run: their heads, their checks, and how they are unpacked.

use super::{KEY_MAX, PAIR_HEAD, RunError, VALUE_MAX, u32_at};
use bytes::Bytes;
use mr_core::Failure;

/// Bytes of a block's head.
pub const HEAD: usize = 20;
const CHECKED: usize = 16;

/// No block is longer when it is unpacked: the largest pair is one of its own.
pub const RAW_MAX: u64 = (PAIR_HEAD + KEY_MAX + VALUE_MAX) as u64;

/// LZ4 makes no more than this of a byte.
const RATIO_MAX: u64 = 255;

#[derive(Clone, Copy, Debug)]
pub struct Head {
    pub stored: u32,
    pub raw: u32,
    pub pairs: u32,
    pub partition: u32,
    checksum: u32,
}

impl Head {
    /// From the first bytes of `bytes`, of which there are enough.
    pub fn read(bytes: &[u8]) -> Self {
        Self {
            stored: u32_at(bytes, 0),
            raw: u32_at(bytes, 4),
            pairs: u32_at(bytes, 8),
            partition: u32_at(bytes, 12),
            checksum: u32_at(bytes, CHECKED),
        }
    }

    /// The head of such a block, with its checksum.
    pub fn of(stored: &[u8], raw: u32, pairs: u32, partition: u32) -> [u8; HEAD] {
        let mut head = [0; HEAD];
        for (place, number) in head.chunks_exact_mut(4).zip([stored.len() as u32, raw, pairs, partition]) {
            place.copy_from_slice(&number.to_le_bytes());
        }
        let checksum = checksum(&head, stored);
        head[CHECKED..].copy_from_slice(&checksum.to_le_bytes());
        head
    }

    /// Bytes of the whole block.
    pub fn block_bytes(&self) -> u64 {
        HEAD as u64 + u64::from(self.stored)
    }
}

fn checksum(head: &[u8], stored: &[u8]) -> u32 {
    let mut checksum = crc32fast::Hasher::new();
    checksum.update(&head[..CHECKED]);
    checksum.update(stored);
    checksum.finalize()
}

/// A block that has its checksum.
#[derive(Debug)]
pub struct Block {
    pub head: Head,
    stored: Bytes,
}

impl Block {
    /// The whole of a block.
    ///
    /// # Errors
    /// When it is not as it was written.
    pub fn checked(bytes: Bytes) -> Result<Self, RunError> {
        let head = Head::read(&bytes);
        let stored = bytes.slice(HEAD..);
        if checksum(&bytes, &stored) != head.checksum || stored.len() != head.stored as usize {
            return Err(RunError::Checksum);
        }
        Ok(Self { head, stored })
    }

    /// Its pairs as they were pushed, into memory that was used before.
    ///
    /// # Errors
    /// When they are not of the length that the head says.
    pub fn unpack(&self, into: &mut Vec<u8>) -> Result<(), RunError> {
        let raw = self.head.raw as usize;
        into.clear();
        if self.head.stored == self.head.raw {
            into.extend_from_slice(&self.stored);
            return Ok(());
        }
        // No memory is taken for what is only said.
        let packed = RunError::Malformed("a block can't be unpacked");
        let most = (u64::from(self.head.stored) * RATIO_MAX).min(RAW_MAX);
        if self.head.stored > self.head.raw || u64::from(self.head.raw) > most {
            return Err(packed);
        }
        into.resize(raw, 0);
        match lz4_flex::block::decompress_into(&self.stored, into) {
            Ok(length) if length == raw => Ok(()),
            Ok(_) | Err(_) => Err(packed),
        }
    }
}

/// The blocks of a run, or of a part of it, in their order.
pub trait Blocks: Send {
    /// `None` when there are no more and those that came were all.
    ///
    /// # Errors
    /// When the next can't be read.
    fn next(&mut self) -> Result<Option<Block>, Failure>;
}

/// Blocks that are in memory.
pub struct WholeBlocks(pub Bytes);

impl WholeBlocks {
    /// The block in front.
    ///
    /// # Errors
    /// When it is not whole.
    pub fn take(&mut self) -> Result<Option<Block>, RunError> {
        if self.0.is_empty() {
            return Ok(None);
        }
        let cut = RunError::Malformed("a block is cut short");
        if self.0.len() < HEAD {
            return Err(cut);
        }
        let bytes = usize::try_from(Head::read(&self.0).block_bytes()).map_err(|_| cut)?;
        if self.0.len() < bytes {
            return Err(cut);
        }
        Block::checked(self.0.split_to(bytes)).map(Some)
    }
}

impl Blocks for WholeBlocks {
    fn next(&mut self) -> Result<Option<Block>, Failure> {
        Ok(self.take()?)
    }
}
