//! A run that is in memory as a whole.

use super::block::{Block, Blocks, WholeBlocks};
use super::cursor::RunCursor;
use super::index::{ENDS, RunIndex, SHORT, TAIL};
use super::{MAGIC, RunError};
use bytes::Bytes;
use mr_core::Failure;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pair {
    pub key: Bytes,
    pub value: Bytes,
}

pub struct RunReader {
    bytes: Bytes,
    index: RunIndex,
}

impl RunReader {
    /// # Errors
    /// When the bytes are not a whole run.
    pub fn open(bytes: Bytes) -> Result<Self, RunError> {
        if bytes.len() < MAGIC.len() + TAIL {
            return Err(SHORT);
        }
        if bytes[..MAGIC.len()] != MAGIC {
            return Err(ENDS);
        }
        let index = RunIndex::read(&bytes, bytes.len() as u64)?;
        Ok(Self { bytes, index })
    }

    pub fn partitions(&self) -> u32 {
        self.index.partitions()
    }

    /// The pairs of one partition in key order.
    ///
    /// # Errors
    /// When the partition is not there or not whole.
    pub fn partition(&self, partition: u32) -> Result<Vec<Pair>, Failure> {
        let place = self.index.place(partition)?;
        let range = place.range();
        let blocks = WholeBlocks(self.bytes.slice(range.start as usize..range.end as usize));
        let mut cursor = RunCursor::new(Counted::new(blocks, partition..partition + 1, place.pairs));
        let mut pairs = Vec::new();
        while cursor.advance()? {
            let of = Bytes::copy_from_slice;
            pairs.push(Pair { key: of(cursor.key()), value: of(cursor.value()) });
        }
        Ok(pairs)
    }
}

/// Blocks that have to be of these partitions, and to hold so many pairs together.
pub struct Counted<B> {
    blocks: B,
    partitions: std::ops::Range<u32>,
    left: u64,
}

impl<B> Counted<B> {
    pub fn new(blocks: B, partitions: std::ops::Range<u32>, pairs: u64) -> Self {
        Self { blocks, partitions, left: pairs }
    }
}

impl<B: Blocks> Blocks for Counted<B> {
    fn next(&mut self) -> Result<Option<Block>, Failure> {
        let block = self.blocks.next()?;
        let pairs = block.as_ref().map_or(0, |block| u64::from(block.head.pairs));
        let left = self.left.checked_sub(pairs).filter(|&left| block.is_some() || left == 0);
        self.left = left.ok_or(RunError::Malformed("a partition has another number of pairs"))?;
        if block.as_ref().is_some_and(|block| !self.partitions.contains(&block.head.partition)) {
            return Err(RunError::Malformed("a block is of another partition").into());
        }
        Ok(block)
    }
}
