//! From the pairs that a map task emits to its run, and from several runs to one.

use crate::buffer::{Mark, PairBuffer, SortedPairs, ValuesOf};
use crate::job::{StageCode, ValueSource};
use crate::merge::Merge;
use crate::run::{Block, Blocks, HEAD, Head, RunCursor, RunIndex, RunWriter};
use crate::spool::{Scratch, Spool, Spooled};
use mr_core::Failure;
use std::io::{self, Read, Write};
use std::sync::Arc;

/// More runs than this of one task are made one before there are more: each takes some memory while they are merged.
const SPILLS_MAX: usize = 64;

/// What a map task has emitted: in memory as long as there is room for it, and then in sorted runs on this host.
///
/// When there is no more room follows from the pairs alone and from `memory_max`, which is part of the plan: so does what is
/// combined with what.
pub struct Pairs {
    code: Arc<dyn StageCode>,
    to: PairsTo,
    buffer: PairBuffer,
    spills: Vec<Spill>,
    /// What is of records that were accepted: so many spills, and so much of the buffer.
    accepted: (usize, Mark),
    /// Why a spill could not be written. Whoever emits has no use for it.
    failed: Option<Failure>,
}

#[derive(Clone, Debug)]
pub struct PairsTo {
    pub partitions: u32,
    /// Bytes that pairs may take in memory.
    pub memory_max: u64,
    pub scratch: Scratch,
}

/// A run that no other host reads.
struct Spill {
    run: Spooled,
    index: RunIndex,
}

impl Pairs {
    pub fn new(code: Arc<dyn StageCode>, to: PairsTo) -> Self {
        let buffer = PairBuffer::default();
        Self { code, to, buffer, spills: Vec::new(), accepted: (0, Mark::default()), failed: None }
    }

    pub fn push(&mut self, key: &[u8], value: &[u8]) {
        if self.failed.is_some() {
            return;
        }
        self.buffer.push(key, value);
        // The other half is for what a combiner keeps in front of it, and for a run on its way.
        while self.buffer.memory() >= self.to.memory_max / 2 && !self.buffer.is_empty() {
            if let Err(failure) = self.spill() {
                self.failed = Some(failure);
                return;
            }
        }
    }

    /// Why something could not be put aside, if that is so: then there is no use in going on.
    pub fn failed(&mut self) -> Option<Failure> {
        self.failed.take()
    }

    /// Whether nothing was emitted.
    pub fn is_empty(&self) -> bool {
        self.spills.is_empty() && self.buffer.is_empty() && self.failed.is_none()
    }

    pub fn memory_max(&self) -> u64 {
        self.to.memory_max
    }

    /// Takes what was emitted so far for good.
    pub fn accept(&mut self) {
        self.accepted = (self.spills.len(), self.buffer.mark());
    }

    /// Drops what was emitted since.
    pub fn refuse(&mut self) {
        let (spills, mark) = self.accepted;
        self.spills.truncate(spills);
        self.buffer.truncate(mark);
    }

    /// Writes pairs to a run of their own: those that were accepted, and if there are none, those of the record at hand, whose
    /// runs go if it is refused.
    fn spill(&mut self) -> Result<(), Failure> {
        let (accepted, mark) = self.accepted;
        let rest = (mark != Mark::default()).then(|| self.buffer.split_off(mark));
        let spill = self.written(Spool::aside(self.to.scratch.clone()));
        self.buffer.clear();
        let accepted = if let Some(rest) = rest {
            self.buffer.append(rest);
            accepted + 1
        } else {
            accepted
        };
        self.accepted = (accepted, Mark::default());
        self.spills.push(spill?);
        // Those that stay and those that may go are never made one.
        let both = if self.spills.len() > accepted { accepted..self.spills.len() } else { 0..accepted };
        if both.len() >= SPILLS_MAX {
            let all = merged(self.code.as_ref(), cursors(&self.spills[both.clone()])?, &self.to, || Ok(()))?;
            if both.start == 0 {
                self.accepted.0 = usize::from(accepted > 0);
            }
            self.spills.splice(both, [all]);
        }
        Ok(())
    }

    /// What is in the buffer as a run.
    fn written(&mut self, to: Spool) -> Result<Spill, Failure> {
        let (code, partitions) = (self.code.as_ref(), self.to.partitions);
        let spread = (partitions > 1).then_some(|key: &[u8]| code.partition(key, partitions));
        let writer = RunWriter::new(to)?;
        Spill::finish(write_sorted(code, &self.buffer.sort(spread), writer, partitions)?, partitions)
    }

    /// Calls `each` with what is in memory, as it was emitted.
    pub fn into_each(self, each: impl FnMut(&[u8], &[u8])) {
        self.buffer.each(each);
    }

    /// All of it as one run.
    ///
    /// # Errors
    /// When it can't be written, or was not.
    pub fn finish(mut self) -> Result<Spooled, Failure> {
        self.accept();
        if !self.spills.is_empty() && !self.buffer.is_empty() {
            self.spill()?;
        }
        if let Some(failure) = self.failed {
            return Err(failure);
        }
        match self.spills.len() {
            0 => Ok(self.written(Spool::new(self.to.scratch.clone()))?.run),
            1 => Ok(self.spills.remove(0).run),
            _ => Ok(merged(self.code.as_ref(), cursors(&self.spills)?, &self.to, || Ok(()))?.run),
        }
    }
}

impl Spill {
    fn finish(writer: RunWriter<Spool>, partitions: u32) -> Result<Self, Failure> {
        let (spool, index) = writer.finish(partitions)?;
        Ok(Self { run: spool.finish()?, index })
    }
}

fn write_sorted<W: Write>(
    code: &dyn StageCode,
    pairs: &SortedPairs<'_>,
    mut writer: RunWriter<W>,
    partitions: u32,
) -> Result<RunWriter<W>, Failure> {
    let (combiner, mut combined) = (code.combiner(), Vec::new());
    for group in pairs.groups() {
        let (partition, key) = (group.partition(), group.key());
        if partition >= partitions {
            return Err(Failure::permanent(format!(
                "the job sends a key to partition {partition}, where there are {partitions}"
            )));
        }
        match combiner.filter(|_| group.count() > 1) {
            None => group.values().try_for_each(|value| writer.push(partition, key, value))?,
            Some(combiner) => {
                combined.clear();
                combiner.combine(key, &mut ValuesOf::new(group.values()), &mut combined)?;
                writer.push(partition, key, &combined)?;
            }
        }
    }
    Ok(writer)
}

/// Merges runs of so many partitions, and combines each key's values.
///
/// # Errors
/// The first of `check`, of reading or of writing.
pub fn merge_runs(
    code: &dyn StageCode,
    runs: Vec<RunCursor<'_>>,
    to: &PairsTo,
    check: impl Fn() -> Result<(), Failure>,
) -> Result<Spooled, Failure> {
    Ok(merged(code, runs, to, check)?.run)
}

fn merged(
    code: &dyn StageCode,
    runs: Vec<RunCursor<'_>>,
    to: &PairsTo,
    check: impl Fn() -> Result<(), Failure>,
) -> Result<Spill, Failure> {
    let mut writer = RunWriter::new(Spool::new(to.scratch.clone()))?;
    let (combiner, mut first, mut combined) = (code.combiner(), Vec::new(), Vec::new());
    Merge::new(runs)?.each(|partition, key, values| {
        check()?;
        let Some(combiner) = combiner else {
            while let Some(value) = values.next()? {
                writer.push(partition, key, value)?;
            }
            return Ok(());
        };
        first.clear();
        first.extend_from_slice(values.next()?.unwrap_or_default());
        if !values.more()? {
            return writer.push(partition, key, &first);
        }
        combined.clear();
        combiner.combine(key, &mut Behind { first: Some(&first), rest: values }, &mut combined)?;
        writer.push(partition, key, &combined)
    })?;
    Spill::finish(writer, to.partitions)
}

/// A value, and then the others.
struct Behind<'a> {
    first: Option<&'a [u8]>,
    rest: &'a mut dyn ValueSource,
}

impl ValueSource for Behind<'_> {
    fn next(&mut self) -> Result<Option<&[u8]>, Failure> {
        match self.first.take() {
            Some(first) => Ok(Some(first)),
            None => self.rest.next(),
        }
    }
}

fn cursors(spills: &[Spill]) -> Result<Vec<RunCursor<'_>>, Failure> {
    spills.iter().map(|spill| Ok(RunCursor::new(SpillBlocks::open(spill)?))).collect()
}

/// The blocks of a spill, which this process wrote itself.
struct SpillBlocks<'a> {
    from: Box<dyn Read + Send + 'a>,
    left: u64,
}

impl<'a> SpillBlocks<'a> {
    fn open(spill: &'a Spill) -> Result<Self, Failure> {
        let range = spill.index.range();
        let mut from = spill.run.open().map_err(unread)?;
        let magic = io::copy(&mut from.by_ref().take(range.start), &mut io::sink()).map_err(unread)?;
        debug_assert_eq!(magic, range.start);
        Ok(Self { from, left: range.end - range.start })
    }
}

impl Blocks for SpillBlocks<'_> {
    fn next(&mut self) -> Result<Option<Block>, Failure> {
        if self.left == 0 {
            return Ok(None);
        }
        let mut bytes = vec![0; HEAD];
        self.from.read_exact(&mut bytes).map_err(unread)?;
        let head = Head::read(&bytes);
        self.left =
            self.left.checked_sub(head.block_bytes()).ok_or_else(|| unread(io::ErrorKind::InvalidData.into()))?;
        bytes.resize(HEAD + head.stored as usize, 0);
        self.from.read_exact(&mut bytes[HEAD..]).map_err(unread)?;
        Block::checked(bytes.into()).map(Some).map_err(|error| unread(io::Error::other(error)))
    }
}

fn unread(error: io::Error) -> Failure {
    Failure::transient(format!("reading back what was put aside: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::Combiner;
    use crate::run::{RunReader, partition_of};
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    /// Concatenates, so that the order of values shows in the result.
    struct Appends;

    impl StageCode for Appends {
        fn combiner(&self) -> Option<&dyn Combiner> {
            Some(self)
        }
    }

    impl Combiner for Appends {
        fn combine(&self, _: &[u8], values: &mut dyn ValueSource, into: &mut Vec<u8>) -> Result<(), Failure> {
            let mut count = 0;
            while let Some(value) = values.next()? {
                into.extend_from_slice(value);
                count += 1;
            }
            assert!(count > 1, "there is nothing to combine");
            Ok(())
        }
    }

    struct Keeps;

    impl StageCode for Keeps {}

    /// By the last byte of the key, wherever that leads.
    struct ByLast;

    impl StageCode for ByLast {
        fn partition(&self, key: &[u8], _: u32) -> u32 {
            key.last().copied().unwrap_or_default().into()
        }
    }

    type Model = Vec<(Vec<u8>, Vec<u8>)>;

    fn to(partitions: u32, memory_max: u64) -> PairsTo {
        PairsTo { partitions, memory_max, scratch: Scratch::new(std::env::temp_dir()) }
    }

    fn bytes_of(run: &Spooled) -> Vec<u8> {
        let mut bytes = Vec::new();
        run.open().unwrap().read_to_end(&mut bytes).unwrap();
        assert_eq!((bytes.len() as u64, crc32fast::hash(&bytes)), (run.bytes, run.crc32));
        bytes
    }

    fn run(code: impl StageCode + 'static, pairs: &Model, to: PairsTo) -> Spooled {
        let mut emitted = Pairs::new(Arc::new(code), to);
        pairs.iter().for_each(|(key, value)| emitted.push(key, value));
        emitted.finish().unwrap()
    }

    /// What is in a run's partitions.
    fn read(run: &Spooled) -> Vec<Model> {
        let run = RunReader::open(bytes_of(run).into()).unwrap();
        let pairs = |partition| run.partition(partition).unwrap().into_iter().map(|p| (p.key.into(), p.value.into()));
        (0..run.partitions()).map(|partition| pairs(partition).collect()).collect()
    }

    /// The same by a sorted vector: stable, so values of a key stay in the order they were emitted in.
    fn model(tasks: &[Model], partitions: u32) -> Vec<Model> {
        let mut parts: Vec<Model> = vec![Vec::new(); partitions as usize];
        for (key, value) in tasks.iter().flatten() {
            parts[partition_of(key, partitions) as usize].push((key.clone(), value.clone()));
        }
        for part in &mut parts {
            part.sort_by(|a, b| a.0.cmp(&b.0));
        }
        parts
    }

    fn appended(parts: Vec<Model>) -> Vec<Model> {
        let append = |part: Model| {
            let mut whole: BTreeMap<Vec<u8>, Vec<u8>> = BTreeMap::new();
            for (key, value) in part {
                whole.entry(key).or_default().extend(value);
            }
            whole.into_iter().collect()
        };
        parts.into_iter().map(append).collect()
    }

    fn merge(code: &dyn StageCode, runs: &[Spooled], partitions: u32) -> Spooled {
        let spills: Vec<_> = runs
            .iter()
            .map(|run| {
                let bytes = bytes_of(run);
                let index = RunIndex::read(&bytes, run.bytes).unwrap();
                Spill { run: Spooled::of(bytes), index }
            })
            .collect();
        merge_runs(code, cursors(&spills).unwrap(), &to(partitions, u64::MAX), || Ok(())).unwrap()
    }

    fn tasks() -> impl Strategy<Value = Vec<Model>> {
        let pair = (prop::collection::vec(0u8..4, 0..3), prop::collection::vec(any::<u8>(), 0..5));
        prop::collection::vec(prop::collection::vec(pair, 0..30), 1..8)
    }

    proptest! {
        #[test]
        fn runs_and_their_merge_are_what_a_sorted_vector_says(
            tasks in tasks(),
            partitions in 1u32..6,
            memory_max in prop_oneof![Just(u64::MAX), 0u64..500],
        ) {
            let runs: Vec<_> = tasks.iter().map(|pairs| run(Keeps, pairs, to(partitions, memory_max))).collect();
            for (one, pairs) in runs.iter().zip(&tasks) {
                prop_assert_eq!(read(one), model(std::slice::from_ref(pairs), partitions));
            }
            prop_assert_eq!(read(&merge(&Keeps, &runs, partitions)), model(&tasks, partitions));
        }

        #[test]
        fn every_tree_of_consecutive_runs_and_every_spill_gives_the_same_bytes(
            tasks in tasks(),
            partitions in 1u32..6,
            fan_ins in prop::collection::vec(2usize..5, 4),
            memory_max in 0u64..500,
        ) {
            let mut runs: Vec<_> = tasks.iter().map(|pairs| run(Appends, pairs, to(partitions, memory_max))).collect();
            let flat = merge(&Appends, &runs, partitions);
            let all: Model = tasks.iter().flatten().cloned().collect();
            prop_assert_eq!(bytes_of(&flat), bytes_of(&run(Appends, &all, to(partitions, u64::MAX))));
            for fan_in in fan_ins {
                runs = runs.chunks(fan_in).map(|group| merge(&Appends, group, partitions)).collect();
            }
            prop_assert_eq!(runs.len(), 1);
            prop_assert_eq!(bytes_of(&runs[0]), bytes_of(&flat));
            prop_assert_eq!(read(&flat), appended(model(&tasks, partitions)));
        }

        /// However much of what a refused record emitted was put aside meanwhile.
        #[test]
        fn what_a_refused_record_emitted_is_nowhere(tasks in tasks(), refused in any::<u8>(), memory_max in 0u64..500) {
            let mut emitted = Pairs::new(Arc::new(Keeps), to(3, memory_max));
            let mut accepted = Vec::new();
            for (number, pairs) in tasks.iter().enumerate() {
                pairs.iter().for_each(|(key, value)| emitted.push(key, value));
                if refused >> number & 1 == 1 {
                    emitted.refuse();
                } else {
                    emitted.accept();
                    accepted.push(pairs.clone());
                }
            }
            prop_assert_eq!(read(&emitted.finish().unwrap()), model(&accepted, 3));
        }
    }

    #[test]
    fn spills_of_one_record_become_one_too_and_go_with_it() {
        let mut emitted = Pairs::new(Arc::new(Keeps), to(2, 1000));
        let pairs = |from: u32| -> Model {
            (from..from + 3000).map(|n| ((n % 97).to_be_bytes().to_vec(), n.to_be_bytes().to_vec())).collect()
        };
        let push = |emitted: &mut Pairs, pairs: &Model| {
            for (key, value) in pairs {
                emitted.push(key, value);
                assert!(emitted.spills.len() <= 2 * SPILLS_MAX, "{}", emitted.spills.len());
            }
        };
        push(&mut emitted, &pairs(0));
        emitted.accept();
        push(&mut emitted, &pairs(10_000));
        emitted.refuse();
        push(&mut emitted, &pairs(5000));
        assert!(read(&emitted.finish().unwrap()) == model(&[pairs(0), pairs(5000)], 2));
    }

    #[test]
    fn more_spills_than_are_merged_at_a_time_become_one_and_memory_stays_small() {
        let mut emitted = Pairs::new(Arc::new(Keeps), to(2, 1000));
        let pairs: Model =
            (0..20_000u32).map(|n| ((n % 977).to_be_bytes().to_vec(), n.to_be_bytes().to_vec())).collect();
        for (key, value) in &pairs {
            emitted.push(key, value);
            emitted.accept();
            // Half of a thousand bytes, and a merge once there are many of those.
            assert!(emitted.spills.len() <= SPILLS_MAX && emitted.buffer.memory() < 1000);
        }
        assert!(read(&emitted.finish().unwrap()) == model(&[pairs], 2));
    }

    #[test]
    fn a_stop_is_heard_between_keys() {
        let two = run(Keeps, &vec![(b"a".to_vec(), b"1".to_vec())], to(2, u64::MAX));
        let index = RunIndex::read(&bytes_of(&two), two.bytes).unwrap();
        let spill = [Spill { run: two, index }];
        let stop = || Err(Failure::permanent("stop"));
        let stopped = merge_runs(&Keeps, cursors(&spill).unwrap(), &to(2, 0), stop).unwrap_err();
        assert_eq!(stopped, Failure::permanent("stop"));
    }

    #[test]
    fn a_job_says_where_a_key_goes_and_is_told_when_there_is_no_such_place() {
        let pairs = |last: u8| vec![(vec![9, last], vec![1]), (vec![5, 0], vec![2])];
        let run = run(ByLast, &pairs(2), to(3, u64::MAX));
        let keys: Vec<Vec<_>> =
            read(&run).into_iter().map(|part| part.into_iter().map(|pair| pair.0).collect()).collect();
        assert_eq!(keys, [vec![vec![5, 0]], vec![], vec![vec![9, 2]]]);
        let mut emitted = Pairs::new(Arc::new(ByLast), to(3, u64::MAX));
        pairs(3).iter().for_each(|(key, value)| emitted.push(key, value));
        let refused = emitted.finish().unwrap_err();
        assert_eq!(refused, Failure::permanent("the job sends a key to partition 3, where there are 3"));
    }

    #[test]
    fn a_spill_that_could_not_be_written_is_told_at_the_end() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let nowhere = PairsTo { scratch: Scratch::new(file.path().join("in")), ..to(1, 1 << 20) };
        let mut emitted = Pairs::new(Arc::new(Keeps), nowhere);
        // Large ones that were accepted, and then small ones.
        (0..8).for_each(|_| emitted.push(b"large", &[7; 50_000]));
        emitted.accept();
        for n in 0..100_000u32 {
            let random = n.wrapping_mul(0x9e37_79b9).to_be_bytes();
            emitted.push(&random, &[random, random, random].concat());
        }
        assert!(emitted.buffer.memory() <= 1 << 20, "what comes afterwards is not kept");
        let failed = emitted.finish().expect_err("there is no such folder");
        assert!(failed.message.contains("ot a directory"), "{failed}");
    }
}
