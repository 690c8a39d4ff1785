//! Writing a run as its pairs come.

use super::block::Head;
use super::index::{Place, RunIndex};
use super::{BLOCK, KEY_MAX, MAGIC, PAIR_HEAD, VALUE_MAX};
use mr_core::Failure;
use std::io::{self, Write};

/// Takes pairs sorted by partition, then key, and holds no more than a block of them.
pub struct RunWriter<W> {
    to: W,
    /// Bytes written.
    at: u64,
    index: RunIndex,
    /// The partition at hand: where it begins, and its pairs in whole blocks.
    start: u64,
    pairs: u64,
    block: Vec<u8>,
    block_pairs: u32,
    packed: Vec<u8>,
}

impl<W: Write> RunWriter<W> {
    /// # Errors
    /// When it can't be written to.
    pub fn new(mut to: W) -> Result<Self, Failure> {
        to.write_all(&MAGIC).map_err(unwritten)?;
        let start = MAGIC.len() as u64;
        Ok(Self {
            to,
            at: start,
            index: RunIndex::default(),
            start,
            pairs: 0,
            block: Vec::new(),
            block_pairs: 0,
            packed: Vec::new(),
        })
    }

    /// # Errors
    /// When the key or value is larger than they may be, or it can't be written.
    pub fn push(&mut self, partition: u32, key: &[u8], value: &[u8]) -> Result<(), Failure> {
        for (what, bytes, most) in [("key", key, KEY_MAX), ("value", value, VALUE_MAX)] {
            if bytes.len() > most {
                let length = bytes.len();
                return Err(Failure::permanent(format!(
                    "the job emitted a {what} of {length} bytes; {most} is the most"
                )));
            }
        }
        while self.index.partitions() < partition {
            self.end_partition()?;
        }
        let more = PAIR_HEAD + key.len() + value.len();
        if !self.block.is_empty() && self.block.len() + more > BLOCK {
            self.end_block()?;
        }
        self.block.extend_from_slice(&(key.len() as u32).to_le_bytes());
        self.block.extend_from_slice(&(value.len() as u32).to_le_bytes());
        self.block.extend_from_slice(key);
        self.block.extend_from_slice(value);
        self.block_pairs += 1;
        Ok(())
    }

    fn end_block(&mut self) -> Result<(), Failure> {
        if self.block.is_empty() {
            return Ok(());
        }
        let most = lz4_flex::block::get_maximum_output_size(self.block.len());
        if self.packed.len() < most {
            self.packed.resize(most, 0);
        }
        let packed = lz4_flex::block::compress_into(&self.block, &mut self.packed).unwrap_or(usize::MAX);
        let stored = if packed < self.block.len() { &self.packed[..packed] } else { &self.block[..] };
        let head = Head::of(stored, self.block.len() as u32, self.block_pairs, self.index.partitions());
        self.to.write_all(&head).and_then(|()| self.to.write_all(stored)).map_err(unwritten)?;
        self.at += (head.len() + stored.len()) as u64;
        self.pairs += u64::from(self.block_pairs);
        self.block_pairs = 0;
        self.block.clear();
        // A pair of many megabytes was the exception.
        if self.block.capacity() > 4 * BLOCK {
            (self.block, self.packed) = (Vec::new(), Vec::new());
        }
        Ok(())
    }

    /// Ends a partition, an empty one too.
    fn end_partition(&mut self) -> Result<(), Failure> {
        self.end_block()?;
        self.index.push(Place { offset: self.start, length: self.at - self.start, pairs: self.pairs });
        self.start = self.at;
        self.pairs = 0;
        Ok(())
    }

    /// Ends the run, which is to have so many partitions.
    ///
    /// # Errors
    /// When it can't be written.
    pub fn finish(mut self, partitions: u32) -> Result<(W, RunIndex), Failure> {
        while self.index.partitions() < partitions {
            self.end_partition()?;
        }
        self.to.write_all(&self.index.to_bytes()).map_err(unwritten)?;
        Ok((self.to, self.index))
    }
}

/// Another attempt may find more room.
fn unwritten(error: io::Error) -> Failure {
    Failure::transient(error.to_string())
}
