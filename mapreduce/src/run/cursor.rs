//! Going through the pairs of a run, with one block of them in memory.

use super::block::{Block, Blocks};
use super::{PAIR_HEAD, RunError, prefix, u32_at};
use mr_core::Failure;
use std::cmp::Ordering;
use std::ops::Range;

pub struct RunCursor<'a> {
    blocks: Box<dyn Blocks + 'a>,
    raw: Vec<u8>,
    /// Pairs of the block that are still to come, and where the next one begins.
    left: u32,
    next: usize,
    /// The pair at hand.
    partition: u32,
    prefix: u64,
    key: Range<usize>,
    value: Range<usize>,
    /// The last key of the block before.
    before: Vec<u8>,
}

impl<'a> RunCursor<'a> {
    /// In front of the first pair.
    pub fn new(blocks: impl Blocks + 'a) -> Self {
        Self {
            blocks: Box::new(blocks),
            raw: Vec::new(),
            left: 0,
            next: 0,
            partition: 0,
            prefix: 0,
            key: 0..0,
            value: 0..0,
            before: Vec::new(),
        }
    }

    /// Goes to the next pair. `false`: there is none.
    ///
    /// # Errors
    /// When it can't be read, or comes before the one at hand.
    pub fn advance(&mut self) -> Result<bool, Failure> {
        if self.left == 0 {
            return self.turn();
        }
        let (prefix, key) = (self.prefix, self.key.clone());
        self.take()?;
        let order = prefix.cmp(&self.prefix).then_with(|| self.raw[key].cmp(self.key()));
        self.in_order(order)
    }

    /// Goes to the first pair of the next block.
    fn turn(&mut self) -> Result<bool, Failure> {
        if self.next != self.raw.len() {
            return Err(RunError::Malformed("a block has another number of pairs").into());
        }
        self.before.clear();
        self.before.extend_from_slice(&self.raw[self.key.clone()]);
        let Some(block) = self.blocks.next()? else {
            (self.raw, self.next, self.key, self.value) = (Vec::new(), 0, 0..0, 0..0);
            return Ok(false);
        };
        self.enter(&block)?;
        let order = match self.partition.cmp(&block.head.partition) {
            Ordering::Equal => self.before.as_slice().cmp(self.key()),
            other => other,
        };
        self.partition = block.head.partition;
        self.in_order(order)
    }

    fn enter(&mut self, block: &Block) -> Result<(), Failure> {
        block.unpack(&mut self.raw)?;
        (self.left, self.next) = (block.head.pairs, 0);
        if self.left == 0 {
            return Err(RunError::Malformed("a block is empty").into());
        }
        self.take()
    }

    fn take(&mut self) -> Result<(), Failure> {
        let cut = RunError::Malformed("a pair is cut short");
        let at = self.next + PAIR_HEAD;
        if self.raw.len() < at {
            return Err(cut.into());
        }
        let (key, value) = (u32_at(&self.raw, self.next) as usize, u32_at(&self.raw, self.next + 4) as usize);
        let end = at + key + value;
        if self.raw.len() < end {
            return Err(cut.into());
        }
        (self.key, self.value, self.next) = (at..at + key, at + key..end, end);
        self.prefix = prefix(&self.raw[self.key.clone()]);
        self.left -= 1;
        Ok(())
    }

    /// A merge takes the same key twice for two keys unless they come together.
    fn in_order(&self, order: Ordering) -> Result<bool, Failure> {
        match order {
            Ordering::Greater => Err(RunError::Malformed("its keys are out of order").into()),
            Ordering::Less | Ordering::Equal => Ok(true),
        }
    }

    pub fn partition(&self) -> u32 {
        self.partition
    }

    pub fn prefix(&self) -> u64 {
        self.prefix
    }

    pub fn key(&self) -> &[u8] {
        &self.raw[self.key.clone()]
    }

    pub fn value(&self) -> &[u8] {
        &self.raw[self.value.clone()]
    }
}
