//! A whole job in one thread and in memory: what the engine's results are compared with.
//!
//! It has the engine's plan, splits and order of additions, and none of its machinery: pairs are plain vectors that are sorted,
//! nothing is spilled, stored or sent, and no attempt is made twice. So a job whose combiner does not care how often it is
//! called comes to the same here, byte for byte.

use crate::attempt::Control;
use crate::broadcast::Broadcast;
use crate::buffer::ValuesOf;
use crate::emit::{Attempt, MapOutput, ReduceOutput};
use crate::job::{Context, Job, ObjectRecord, RecordError, StageCode};
use crate::pairs::{Pairs, PairsTo};
use crate::rows::RowsWriter;
use crate::spool::{Scratch, Spool};
use arrow::array::RecordBatch;
use bytes::Bytes;
use mr_core::{
    AttemptId, BlobRef, Counters, Failure, JobId, JobPlan, KERNEL_FAMILY, Object, Piece, PieceHas, Split, StageIndex,
    TaskGraph, TaskId, TaskKind, TaskNode, expand, plan_splits, select, sha256_hex,
};
use std::collections::BTreeMap;
use std::io::Read;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

/// A job that is to be run here.
pub struct Oracle<'a> {
    pub job: &'a dyn Job,
    pub plan: &'a JobPlan,
    /// The plan's.
    pub broadcasts: &'a [Broadcast],
    /// One of the registry's.
    pub kernel_family: &'a str,
    /// A folder for files that nobody else reads.
    pub scratch: &'a Path,
}

/// What a job comes to.
#[derive(Debug, Default)]
pub struct Told {
    /// The rows of the result, task after task.
    pub parts: Vec<Vec<RecordBatch>>,
    /// Files beside the result, by their paths.
    pub side: BTreeMap<String, Bytes>,
    /// Objects that were set aside, as often as they were, with the class and why.
    pub set_aside: Vec<(String, &'static str, String)>,
    pub counters: Counters,
}

/// What a task leaves for others.
#[derive(Default)]
struct Left {
    kept: Vec<RecordBatch>,
    /// In the order of partitions and keys, and of each key as they were emitted.
    pairs: Vec<Pair>,
    broadcast: Option<Bytes>,
}

#[derive(Clone)]
struct Pair {
    partition: u32,
    key: Vec<u8>,
    value: Vec<u8>,
}

/// Decoded at a time, by all of it.
const DECODE_BYTES: u64 = 1 << 30;

impl Oracle<'_> {
    /// Runs it over these objects, each by its key relative to the input's root.
    ///
    /// # Errors
    /// What the job fails with.
    pub fn run(&self, objects: &[(String, Bytes)]) -> Result<Told, Failure> {
        let of = |(key, bytes): &(String, Bytes)| Object {
            key: key.clone(),
            bytes: bytes.len() as u64,
            etag: String::new(),
        };
        let listing = select(objects.iter().map(of).collect(), &self.plan.filter);
        let contents: BTreeMap<_, _> = objects.iter().map(|(key, bytes)| (key.as_str(), bytes)).collect();
        let read = |object: &Object| (object.key.clone(), contents[object.key.as_str()].clone());
        let objects: Vec<_> = listing.objects.iter().map(read).collect();
        let splits = plan_splits(&listing.objects, &self.plan.spec.split, self.plan.cut).map_err(Failure::refused)?;
        let graph = expand(self.plan, splits.len() as u32).map_err(Failure::refused)?;
        let mut running = Running { oracle: self, graph: &graph, done: Vec::new(), told: Told::default() };
        for stage in 0..graph.stages.len() {
            running.done.push(Vec::new());
            for index in 0..graph.stages[stage].tasks.len() {
                let split = splits.get(index).map(|split| (split, &objects[split.range()]));
                let left = running.task(stage, index, split)?;
                running.done[stage].push(left);
            }
        }
        Ok(running.told)
    }

    /// The files of the result's parts, as the engine writes them; `None`: it has not even an empty batch of rows.
    ///
    /// # Errors
    /// When rows can't be encoded.
    pub fn files(&self, told: &Told) -> Result<Vec<Option<Bytes>>, Failure> {
        let mut footer = self.plan.footer.clone();
        footer.entry(KERNEL_FAMILY.into()).or_insert_with(|| self.kernel_family.to_owned());
        let file = |batches: &Vec<RecordBatch>| {
            let to = Spool::new(Scratch::new(self.scratch.to_owned()));
            let mut writer = RowsWriter::part(self.plan.spec.format, footer.clone(), to)?;
            writer.push_all(batches.iter().cloned())?;
            let Some(spooled) = writer.finish()? else { return Ok(None) };
            let mut bytes = Vec::new();
            let read = spooled.open().and_then(|mut file| file.read_to_end(&mut bytes));
            read.map_err(|error| Failure::transient(error.to_string()))?;
            Ok(Some(bytes.into()))
        };
        told.parts.iter().map(file).collect()
    }
}

struct Running<'a> {
    oracle: &'a Oracle<'a>,
    graph: &'a TaskGraph,
    /// Stage after stage, task after task.
    done: Vec<Vec<Left>>,
    told: Told,
}

impl Running<'_> {
    fn task(
        &mut self,
        stage: usize,
        index: usize,
        split: Option<(&Split, &[(String, Bytes)])>,
    ) -> Result<Left, Failure> {
        let of = &self.graph.stages[stage];
        let node = &of.tasks[index];
        let code = self.open(&of.name, node)?;
        let attempt = attempt(stage, index);
        let left = match node.kind {
            TaskKind::MapSplit => {
                let (split, objects) = split.ok_or_else(|| Failure::permanent("there is no such split"))?;
                let mut out = MapOutput::new(attempt, in_memory(&code, of.partitions));
                self.map(code.as_ref(), split.piece, objects, &mut out)?;
                self.mapped(code.as_ref(), out, of.partitions)?
            }
            TaskKind::MapKept => {
                let mut out = MapOutput::new(attempt, in_memory(&code, of.partitions));
                let mut mapper = code.row_mapper()?;
                let kept = node.reads.iter().flat_map(|&(stage, index)| &self.left(stage, index).kept);
                kept.into_iter().try_for_each(|rows| mapper.map(rows, &mut out))?;
                mapper.finish(&mut out)?;
                drop(mapper);
                self.mapped(code.as_ref(), out, of.partitions)?
            }
            TaskKind::Combine => Left { pairs: combined(code.as_ref(), self.read(node, |_| true))?, ..Left::default() },
            TaskKind::Reduce { partition } => {
                let pairs = self.read(node, |pair| pair.partition == partition);
                let mut out = ReduceOutput::new(attempt);
                let mut reducer = code.reducer()?;
                for group in groups(&pairs) {
                    let values = group.iter().map(|pair| pair.value.as_slice());
                    reducer.reduce(&group[0].key, &mut ValuesOf::new(values), &mut out)?;
                }
                reducer.finish(&mut out)?;
                drop(reducer);
                let ReduceOutput { attempt, rows, side, broadcast } = out;
                self.told.counters.merge(&attempt.counting.finish()?);
                for (path, bytes) in side {
                    mr_storage::check_key(&path).map_err(|error| {
                        Failure::permanent(format!("the job's side file {path:?}: {}", mr_storage::story(&error)))
                    })?;
                    if self.told.side.insert(path.clone(), bytes).is_some() {
                        return Err(Failure::permanent(format!("the job's side file {path:?}: it is there twice")));
                    }
                }
                Left { kept: rows, broadcast, pairs: Vec::new() }
            }
        };
        if of.writes_output {
            self.told.parts.push(left.kept.clone());
        }
        Ok(left)
    }

    fn left(&self, stage: StageIndex, index: u32) -> &Left {
        &self.done[stage as usize][index as usize]
    }

    fn open(&self, stage: &str, node: &TaskNode) -> Result<Arc<dyn StageCode>, Failure> {
        let Oracle { job, plan, broadcasts, kernel_family, scratch } = self.oracle;
        let mut broadcasts = broadcasts.to_vec();
        for (name, of, index) in &node.broadcasts {
            let nothing = || Failure::permanent("the stage gave nothing to broadcast, and later ones wait for it");
            let bytes = self.left(*of, *index).broadcast.clone().ok_or_else(nothing)?;
            let blob = BlobRef::shared(sha256_hex(&bytes), bytes.len() as u64);
            broadcasts.push(Broadcast { name: name.clone(), blob, bytes });
        }
        job.open(&Context {
            stage,
            params: &plan.spec.params,
            kernel_family,
            broadcasts: &broadcasts,
            decode_budget_bytes: DECODE_BYTES,
            scratch,
        })
    }

    fn map(
        &mut self,
        code: &dyn StageCode,
        piece: Option<Piece>,
        objects: &[(String, Bytes)],
        out: &mut MapOutput,
    ) -> Result<(), Failure> {
        let mut mapper = code.mapper()?;
        for (key, bytes) in objects {
            let record = record(code, &self.oracle.plan.spec.input, piece, (key, bytes));
            let verdict = match record.bytes.len() as u64 > code.object_bytes_max() {
                true => Some(("too-large", format!("{} bytes", record.bytes.len()))),
                false => match mapper.map(&record, out) {
                    Ok(()) => None,
                    Err(RecordError::Quarantine { class, message }) => Some((class, message)),
                    Err(RecordError::Fail(failure)) => return Err(failure),
                },
            };
            match verdict {
                None => {
                    out.pairs.accept();
                    out.attempt.counting.accept();
                }
                Some((class, message)) => {
                    out.pairs.refuse();
                    out.attempt.counting.refuse();
                    self.told.set_aside.push((key.clone(), class, message));
                }
            }
        }
        mapper.finish(out)
    }

    /// What a map left.
    fn mapped(&mut self, code: &dyn StageCode, out: MapOutput, partitions: u32) -> Result<Left, Failure> {
        let MapOutput { attempt, pairs, rows } = out;
        self.told.counters.merge(&attempt.counting.finish()?);
        let mut emitted = Vec::new();
        pairs.into_each(|key, value| {
            let partition = if partitions > 1 { code.partition(key, partitions) } else { 0 };
            emitted.push(Pair { partition, key: key.to_vec(), value: value.to_vec() });
        });
        if let Some(Pair { partition, .. }) = emitted.iter().find(|pair| pair.partition >= partitions) {
            return Err(Failure::permanent(format!(
                "the job sends a key to partition {partition}, where there are {partitions}"
            )));
        }
        Ok(Left { kept: rows, pairs: combined(code, emitted)?, broadcast: None })
    }

    /// Pairs of the tasks that a node reads, in their order and then in that of their keys.
    fn read(&self, node: &TaskNode, wanted: impl Fn(&Pair) -> bool) -> Vec<Pair> {
        let all = node.reads.iter().flat_map(|&(stage, index)| &self.left(stage, index).pairs);
        sorted(all.filter(|pair| wanted(pair)).cloned().collect())
    }
}

/// What a stage is given of an object.
fn record(code: &dyn StageCode, root: &str, piece: Option<Piece>, (key, bytes): (&str, &Bytes)) -> ObjectRecord {
    let size = bytes.len() as u64;
    let asked = piece.map_or(0..size, |piece| piece.start..piece.end.min(size));
    let within = |part: Range<u64>| part.start.max(asked.start)..part.end.min(asked.end);
    let (range, from) = match (code.reads(asked.clone()), piece.map(|piece| piece.has)) {
        (Some(parts), _) => {
            let parts = parts.into_iter().map(within).filter(|part| part.start < part.end).collect();
            (asked, parts)
        }
        (None, Some(PieceHas::Lines)) => {
            let lines = lines_of(bytes, &asked);
            (lines.clone(), vec![lines])
        }
        // What of the file is another piece's is of no use here, and does no harm.
        (None, Some(PieceHas::RowGroups)) => (asked, std::iter::once(0..size).collect()),
        (None, Some(PieceHas::Bytes) | None) => (asked.clone(), vec![asked]),
    };
    let parts: Vec<_> = from.iter().map(|part| &bytes[part.start as usize..part.end as usize]).collect();
    let uri = mr_storage::object_url(root, key);
    ObjectRecord { uri, key: key.to_owned(), size, range, bytes: parts.concat().into(), from }
}

/// Where the lines lie that begin in that range.
fn lines_of(bytes: &[u8], range: &Range<u64>) -> Range<u64> {
    // The first byte at or after that one at which a line begins.
    let begins = |at: u64| match at {
        0 => 0,
        _ => {
            let before = at as usize - 1;
            bytes[before..].iter().position(|byte| *byte == b'\n').map_or(bytes.len(), |end| before + end + 1) as u64
        }
    };
    let (first, behind) = (begins(range.start), begins(range.end));
    if first < range.end { first..behind } else { range.end..range.end }
}

fn sorted(mut pairs: Vec<Pair>) -> Vec<Pair> {
    // Pairs of one key stay in their order.
    pairs.sort_by(|a, b| (a.partition, &a.key).cmp(&(b.partition, &b.key)));
    pairs
}

/// Pairs of one key, of pairs in order.
fn groups(pairs: &[Pair]) -> impl Iterator<Item = &[Pair]> {
    pairs.chunk_by(|a, b| (a.partition, &a.key) == (b.partition, &b.key))
}

/// One value of each key, if the stage has a combiner.
fn combined(code: &dyn StageCode, pairs: Vec<Pair>) -> Result<Vec<Pair>, Failure> {
    let pairs = sorted(pairs);
    let Some(combiner) = code.combiner() else { return Ok(pairs) };
    let mut all = Vec::new();
    for group in groups(&pairs) {
        let mut pair = group[0].clone();
        if group.len() > 1 {
            pair.value.clear();
            let values = group.iter().map(|pair| pair.value.as_slice());
            combiner.combine(&group[0].key, &mut ValuesOf::new(values), &mut pair.value)?;
        }
        all.push(pair);
    }
    Ok(all)
}

pub(crate) fn attempt(stage: usize, index: usize) -> Attempt {
    let job = JobId::parse("local").expect("it is one");
    let task = TaskId { job, stage: stage as StageIndex, index: index as u32 };
    Attempt::new(AttemptId { task, epoch: 0, number: 1 }, &Control::default())
}

/// What is emitted there stays in memory.
pub(crate) fn in_memory(code: &Arc<dyn StageCode>, partitions: u32) -> Pairs {
    let scratch = Scratch::new(std::path::PathBuf::new());
    Pairs::new(code.clone(), PairsTo { partitions, memory_max: u64::MAX, scratch })
}
