//! Reading runs of other tasks as they are needed: each a chunk ahead, so that many large ones take little memory.

use crate::fetch::{file, in_flight};
use crate::lost::{self, Unread};
use crate::run::{BLOCK, Block, Blocks, Counted, HEAD, Head, RAW_MAX, RunCursor, RunError, RunIndex, WholeBlocks};
use bytes::Bytes;
use futures::TryStreamExt;
use mr_core::{Failure, FileRef};
use mr_storage::DynStore;
use std::ops::Range;
use std::sync::Arc;
use tokio::sync::{Semaphore, mpsc};
use tokio_util::task::AbortOnDropHandle;

/// A run up to this is read whole: a second request costs more than the bytes of other partitions.
const WHOLE_RUN: u64 = 256 << 10;
/// The end of a larger one, where its index is if it has up to a hundred partitions or so.
const RUN_END: u64 = 4 << 10;
/// Read at a time of a run.
const CHUNK_MIN: u64 = 64 << 10;
const CHUNK_MAX: u64 = 4 << 20;
/// Chunks of a run that are in memory: the one at hand, one that waits, and one on its way.
const CHUNKS: u64 = 3;
/// Requests in flight for one attempt. Bounded, since many parallel GETs time out inside the SDK.
const IN_FLIGHT: usize = 16;
/// No block is larger.
const BLOCK_MAX: u64 = HEAD as u64 + RAW_MAX;

/// What reading runs may take of the memory of an attempt: as many attempts as there are slots read ahead while they wait for
/// one, and the job's code needs some as well.
pub fn share(memory_bytes_max: u64) -> u64 {
    memory_bytes_max / 4
}

/// How many runs can be read at a time in so many bytes.
pub fn runs_within(memory: u64) -> u64 {
    memory / (CHUNKS * CHUNK_MIN).max(WHOLE_RUN)
}

/// What of a run is read.
#[derive(Clone, Copy, Debug)]
pub enum Part {
    Partition(u32),
    /// All of so many partitions.
    Whole(u32),
}

/// Begins to read that part of each run, with about `memory` bytes of them all in memory, and counts the pairs to come.
///
/// # Errors
/// When an index can't be read, or does not have that part.
pub async fn open(
    store: &DynStore,
    runs: &[FileRef],
    part: Part,
    memory: u64,
) -> Result<(Vec<RunCursor<'static>>, u64), Failure> {
    let indexed = in_flight(store, runs.to_vec(), |store, run| async move { Indexed::read(&store, run).await });
    let indexed: Vec<Indexed> = indexed.try_collect().await?;
    // Beside its chunks each run has a block that is unpacked.
    let each = memory / runs.len().max(1) as u64;
    let chunk = (each.saturating_sub(BLOCK as u64) / CHUNKS).clamp(CHUNK_MIN, CHUNK_MAX);
    let gate = Arc::new(Semaphore::new(IN_FLIGHT));
    let (mut cursors, mut all) = (Vec::with_capacity(runs.len()), 0);
    for Indexed { run, index, whole } in indexed {
        let (range, pairs, partitions) = match part {
            Part::Partition(partition) => {
                let place = index.place(partition)?;
                (place.range(), place.pairs, partition..partition + 1)
            }
            Part::Whole(partitions) => {
                index.is_for(partitions)?;
                (index.range(), index.pairs(), 0..partitions)
            }
        };
        all = pairs.saturating_add(all);
        cursors.push(match whole {
            Some(whole) => {
                let blocks = WholeBlocks(whole.slice(range.start as usize..range.end as usize));
                RunCursor::new(Counted::new(blocks, partitions, pairs))
            }
            None if range.is_empty() => RunCursor::new(Counted::new(WholeBlocks(Bytes::new()), partitions, pairs)),
            None => {
                let reading = Reading::new(store.clone(), run, range, chunk, gate.clone());
                RunCursor::new(Counted::new(reading.begin(), partitions, pairs))
            }
        });
    }
    Ok((cursors, all))
}

struct Indexed {
    run: FileRef,
    index: RunIndex,
    /// All of its bytes, if they are few.
    whole: Option<Bytes>,
}

impl Indexed {
    async fn read(store: &DynStore, run: FileRef) -> Result<Self, Failure> {
        if run.bytes <= WHOLE_RUN {
            let whole = file(store, &run).await?;
            let index = RunIndex::read(&whole, run.bytes)?;
            return Ok(Self { run, index, whole: Some(whole) });
        }
        let index = lost::read(&run.key, || index(store, &run)).await?;
        Ok(Self { run, index, whole: None })
    }
}

async fn index(store: &DynStore, run: &FileRef) -> Result<RunIndex, Unread> {
    let mut end = lost::get(store.as_ref(), run, Some(run.bytes - RUN_END..run.bytes)).await?;
    let index_bytes = RunIndex::bytes(&end).map_err(damaged)?;
    if index_bytes > run.bytes {
        return Err(Unread::Damaged("its index is longer than it is".to_owned()));
    }
    if index_bytes > RUN_END {
        end = lost::get(store.as_ref(), run, Some(run.bytes.saturating_sub(index_bytes)..run.bytes)).await?;
    }
    RunIndex::read(&end, run.bytes).map_err(damaged)
}

fn damaged(error: RunError) -> Unread {
    Unread::Damaged(error.to_string())
}

/// Some blocks of a run that follow each other.
struct Reading {
    store: DynStore,
    run: FileRef,
    /// Where the next block begins, and where the last one ends.
    left: Range<u64>,
    /// What is here already, from the next block on.
    here: Bytes,
    chunk: u64,
    gate: Arc<Semaphore>,
}

impl Reading {
    fn new(store: DynStore, run: FileRef, left: Range<u64>, chunk: u64, gate: Arc<Semaphore>) -> Self {
        Self { store, run, left, here: Bytes::new(), chunk, gate }
    }

    /// Reads while nobody looks at it, a chunk ahead, until it is dropped.
    fn begin(mut self) -> Arriving {
        let (to, arriving) = mpsc::channel(1);
        let task = tokio::spawn(async move {
            while !self.left.is_empty() {
                let blocks = self.more().await;
                let failed = blocks.is_err();
                if to.send(blocks).await.is_err() || failed {
                    return;
                }
            }
            // An empty one says that it is done, where a closed channel could be anything.
            _ = to.send(Ok(Vec::new())).await;
        });
        Arriving { arriving, here: Vec::new().into_iter(), ended: false, _task: AbortOnDropHandle::new(task) }
    }

    async fn more(&mut self) -> Result<Vec<Block>, Failure> {
        let mut blocks = self.blocks().await;
        if let Err(Unread::Damaged(_)) = blocks {
            self.here = Bytes::new();
            blocks = self.blocks().await;
        }
        blocks.map_err(|unread| unread.of(&self.run.key))
    }

    /// The next blocks, one at least.
    async fn blocks(&mut self) -> Result<Vec<Block>, Unread> {
        loop {
            let blocks = self.chunk().await?;
            if !blocks.is_empty() {
                return Ok(blocks);
            }
        }
    }

    /// The blocks that the next chunk completes.
    async fn chunk(&mut self) -> Result<Vec<Block>, Unread> {
        let here = self.here.len() as u64;
        let block = if self.here.len() >= HEAD { Head::read(&self.here).block_bytes() } else { 0 };
        if block > BLOCK_MAX {
            return Err(Unread::Damaged("a block is larger than any".to_owned()));
        }
        // A chunk more than is here, or all of a block that is larger.
        let wanted = block.max(here + self.chunk);
        let range = self.left.start + here..(self.left.start + wanted).min(self.left.end);
        if range.is_empty() {
            return Err(Unread::Damaged("a block is cut short".to_owned()));
        }
        let gate = self.gate.acquire().await.expect("never closed");
        let bytes = lost::get(self.store.as_ref(), &self.run, Some(range)).await?;
        drop(gate);
        let mut here = if self.here.is_empty() { bytes } else { [&self.here[..], &bytes].concat().into() };
        let mut blocks = Vec::new();
        while here.len() >= HEAD {
            let length = Head::read(&here).block_bytes();
            if length > here.len() as u64 {
                break;
            }
            blocks.push(Block::checked(here.split_to(length as usize)).map_err(damaged)?);
        }
        let read: u64 = blocks.iter().map(|block| block.head.block_bytes()).sum();
        self.left.start += read;
        self.here = here;
        Ok(blocks)
    }
}

/// Blocks on their way.
struct Arriving {
    arriving: mpsc::Receiver<Result<Vec<Block>, Failure>>,
    here: std::vec::IntoIter<Block>,
    ended: bool,
    _task: AbortOnDropHandle<()>,
}

impl Blocks for Arriving {
    fn next(&mut self) -> Result<Option<Block>, Failure> {
        loop {
            if let Some(block) = self.here.next() {
                return Ok(Some(block));
            }
            if self.ended {
                return Ok(None);
            }
            let stopped = || Err(Failure::transient("the process is stopping"));
            let blocks = self.arriving.blocking_recv().unwrap_or_else(stopped)?;
            self.ended = blocks.is_empty();
            self.here = blocks.into_iter();
        }
    }
}
