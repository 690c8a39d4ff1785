//! A simulated job: what it works on, what is wrong with it, and what its attempts bring back.

use super::graphs;
use super::random::{Random, mix};
use super::worker::Order;
use crate::event::{Event, Millis};
use mr_core::{
    Failure, FileRef, JobCode, JobId, KernelWish, Limits, QuarantineSource, Quarantined, StageIndex, TaskGraph, TaskId,
    TaskKind, TaskOutput,
};
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

#[derive(Clone, Debug)]
pub struct SimJob {
    pub id: JobId,
    pub code: JobCode,
    pub limits: Limits,
    pub graph: Arc<TaskGraph>,
    /// Objects of each split.
    pub splits: Vec<u32>,
    pub nature: Nature,
    /// Chance in a thousand of an object being no good; the verdict is the same whoever looks.
    refused: u64,
    /// Objects that are bad in other ways.
    bad: BTreeMap<u32, Bad>,
    pub submit_at: Millis,
    pub cancel_at: Option<Millis>,
    /// Cancelled just after it was asked to commit, which is too late.
    pub cancel_at_commit: bool,
    pub commit_fails: bool,
    pub kernels: KernelWish,
    /// Whether there is a kind of worker with its code and such kernels.
    pub servable: bool,
    salt: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bad {
    /// It takes the worker's process down.
    Kills,
    /// It makes the job's code panic, or takes too long.
    Panics,
    /// It is not any more what was listed.
    Changed,
    /// From that time on.
    ChangesAt(Millis),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Nature {
    Fine,
    /// One task fails each time.
    Doomed(StageIndex, u32),
    /// One task fails for good.
    Hopeless(StageIndex, u32),
    /// One task takes its worker down.
    Deadly(StageIndex, u32),
    Empty,
    Unlistable,
}

impl SimJob {
    pub fn draw(id: JobId, code: JobCode, random: &mut Random, storm_ms: Millis) -> Self {
        let splits: Vec<_> = (0..random.between(1, 24)).map(|_| random.between(1, 4) as u32).collect();
        let count = splits.len() as u32;
        let (fan_in, other) = (random.between(2, 4) as u32, random.between(1, 3) as u32);
        let graph = match random.between(0, 4) {
            0 => graphs::plain(count),
            1 => graphs::groups(count, fan_in, other),
            2 => graphs::chain(count, fan_in, other),
            _ => graphs::features(count, fan_in, other),
        };
        let stage = random.between(0, graph.stages.len() as u64 - 1) as StageIndex;
        let index = random.between(0, graph.stages[stage as usize].tasks.len() as u64 - 1) as u32;
        let nature = match random.between(0, 19) {
            0 => Nature::Doomed(stage, index),
            1 => Nature::Hopeless(stage, index),
            2 => Nature::Deadly(stage, index),
            3 => Nature::Empty,
            4 => Nature::Unlistable,
            _ => Nature::Fine,
        };
        let objects: u32 = splits.iter().sum();
        let mut bad = BTreeMap::new();
        if random.per_mille(250) {
            for _ in 0..random.between(1, 2) {
                let object = random.between(0, u64::from(objects) - 1) as u32;
                bad.insert(object, *random.pick(&[Bad::Kills, Bad::Panics, Bad::Changed]));
            }
        }
        if random.per_mille(250) {
            for _ in 0..random.between(1, 6) {
                let object = random.between(0, u64::from(objects) - 1) as u32;
                bad.insert(object, Bad::ChangesAt(random.between(0, storm_ms)));
            }
        }
        let limits = Limits {
            attempts_max: random.between(1, 6) as u32,
            quarantine_share_max: *random.pick(&[0.0, 0.1, 0.5, 1.0]),
            ..Limits::default()
        };
        let cancels = random.per_mille(150);
        let wish: &[&str] = match random.between(0, 19) {
            0..2 => &["neon"],
            2..4 => &["neon", "avx"],
            4..6 => &["avx"],
            6 => &["sve"],
            _ => &[],
        };
        let arithmetics = wish.iter().map(|arithmetic| (*arithmetic).to_owned()).collect();
        Self {
            id,
            code,
            limits,
            graph,
            splits: if nature == Nature::Empty { Vec::new() } else { splits },
            nature,
            refused: *random.pick(&[0, 0, 0, 50, 300]),
            bad,
            submit_at: random.between(0, storm_ms / 2),
            cancel_at: cancels.then(|| random.between(0, storm_ms)),
            cancel_at_commit: random.per_mille(200),
            commit_fails: random.per_mille(50),
            kernels: KernelWish { arithmetics, why: "it wishes so".to_owned() },
            servable: true,
            salt: random.next(),
        }
    }

    pub fn submit(&self) -> Event {
        Event::Submit {
            job: self.id.clone(),
            code: self.code.clone(),
            limits: self.limits,
            kernels: self.kernels.clone(),
        }
    }

    /// The same work over the same input as another job's.
    pub fn like(self, other: &Self) -> Self {
        let Self { id, submit_at, cancel_at, cancel_at_commit, commit_fails, .. } = self;
        let other = other.clone();
        Self { id, submit_at, cancel_at, cancel_at_commit, commit_fails, ..other }
    }

    pub fn is_like(&self, other: &Self) -> bool {
        self.salt == other.salt
    }

    pub fn listed(&self) -> u64 {
        self.splits.iter().map(|&objects| u64::from(objects)).sum()
    }

    pub fn refuses(&self, object: u32) -> bool {
        mix(self.salt ^ u64::from(object)) % 1000 < self.refused
    }

    /// Which may be in the result or not, for they change under way.
    pub fn changing(&self) -> impl Iterator<Item = u32> {
        self.bad.iter().filter(|(_, bad)| matches!(bad, Bad::ChangesAt(_))).map(|(object, _)| *object)
    }

    pub fn bad(&self, object: u32) -> Option<Bad> {
        self.bad.get(&object).copied()
    }

    /// What must be in the result, in order, and what [may be](Self::changing).
    pub fn good_objects(&self) -> Vec<u32> {
        let deadly = match self.nature {
            Nature::Deadly(stage, index) if self.maps_split(stage, index) => self.split(index),
            _ => 0..0,
        };
        let fine = |object| matches!(self.bad(object), None | Some(Bad::ChangesAt(_)));
        let good = |object: &u32| !self.refuses(*object) && fine(*object) && !deadly.contains(object);
        (0..self.listed() as u32).filter(good).collect()
    }

    /// Whether it may be committed at all.
    pub fn can_succeed(&self) -> bool {
        let refused = self.listed() - self.good_objects().len() as u64;
        let lives = match self.nature {
            Nature::Fine => true,
            Nature::Deadly(stage, index) => self.maps_split(stage, index),
            Nature::Doomed(..) | Nature::Hopeless(..) | Nature::Empty | Nature::Unlistable => false,
        };
        lives
            && self.servable
            && !self.commit_fails
            && refused as f64 <= self.limits.quarantine_share_max * self.listed() as f64
    }

    /// Whether parts lie in the order of the listing rather than by key.
    pub fn keeps_order(&self) -> bool {
        !self.graph.stages.iter().any(|stage| stage.partitions > 1)
    }

    /// Whether that task is over a split, which can be tried in part.
    pub fn maps_split(&self, stage: StageIndex, index: u32) -> bool {
        self.graph.stages[stage as usize].tasks[index as usize].kind == TaskKind::MapSplit
    }

    pub fn is_at(&self, task: &TaskId, nature: fn(StageIndex, u32) -> Nature) -> bool {
        self.nature == nature(task.stage, task.index)
    }

    /// The objects of its split that an attempt maps.
    pub fn maps(&self, order: &Order) -> Vec<u32> {
        let TaskId { stage, index, .. } = order.attempt.task;
        if self.graph.stages[stage as usize].tasks[index as usize].kind != TaskKind::MapSplit {
            return Vec::new();
        }
        let split = self.split(index);
        let part =
            order.probe.as_ref().map_or(split.clone(), |probe| split.start + probe.start..split.start + probe.end);
        part.filter(|object| !order.condemned.contains_key(object)).collect()
    }

    /// Position of an object in the listing.
    pub fn object(&self, task: &TaskId, position: u32) -> u32 {
        self.split(task.index).start + position
    }

    /// Does the task's work on what it reads, and returns what it says of it and which objects are in what it writes.
    pub fn work(
        &self,
        order: &Order,
        file: &str,
        reads: &[Vec<u32>],
        now: Millis,
    ) -> Result<(TaskOutput, Vec<u32>), Failure> {
        let task = &order.attempt.task;
        if self.is_at(task, Nature::Doomed) {
            return Err(Failure::application("it always fails"));
        }
        if self.is_at(task, Nature::Hopeless) {
            return Err(Failure::permanent("it can't be done"));
        }
        let stage = &self.graph.stages[task.stage as usize];
        let node = &stage.tasks[task.index as usize];
        let all: Vec<u32> = match node.kind {
            TaskKind::MapSplit => self.split(task.index).collect(),
            TaskKind::MapKept | TaskKind::Combine => reads.concat(),
            TaskKind::Reduce { partition } => {
                let partitions = self.graph.stages[node.reads[0].0 as usize].partitions;
                reads.concat().into_iter().filter(|object| object % partitions == partition).collect()
            }
        };
        let maps = node.kind == TaskKind::MapSplit;
        let panics = |object: &u32| self.bad(*object) == Some(Bad::Panics) && !order.condemned.contains_key(object);
        if let Some(object) = self.maps(order).into_iter().find(panics) {
            let blames = Some(Box::new(verdict(object, &stage.name, "panicked", QuarantineSource::Environment)));
            return Err(Failure { blames, ..Failure::application("it panicked") });
        }
        if order.probe.is_some() {
            return Ok((TaskOutput { probed: true, ..TaskOutput::default() }, Vec::new()));
        }
        let judged = |object: u32| match order.condemned.get(&object) {
            _ if !maps => None,
            Some(condemned) => Some(condemned.clone()),
            None => match self.bad(object) {
                Some(Bad::ChangesAt(at)) if now < at => None,
                Some(Bad::Changed | Bad::ChangesAt(_)) => {
                    Some(verdict(object, &stage.name, "changed", QuarantineSource::Environment))
                }
                Some(Bad::Kills | Bad::Panics) | None => None,
            },
        };
        let mut quarantined = Vec::new();
        let mut good = Vec::new();
        for object in &all {
            match judged(*object) {
                Some(verdict) => quarantined.push(verdict),
                None if self.refuses(*object) => {
                    quarantined.push(verdict(*object, &stage.name, "undecodable", QuarantineSource::Content));
                }
                None => good.push(*object),
            }
        }
        let checksum = good.iter().fold(0, |sum, object| mix(sum ^ u64::from(*object)));
        let wrote = FileRef { key: file.to_owned(), bytes: good.len() as u64, crc32: checksum as u32 };
        let output = TaskOutput {
            records: all.len() as u64,
            rows: good.len() as u64,
            kept: Some(wrote.clone()),
            part: stage.writes_output.then_some(wrote),
            quarantined,
            counters: BTreeMap::from([("objects".to_owned(), good.len() as u64)]).into(),
            ..TaskOutput::default()
        };
        Ok((output, good))
    }

    fn split(&self, index: u32) -> Range<u32> {
        let first = self.splits[..index as usize].iter().sum();
        first..first + self.splits[index as usize]
    }
}

pub fn verdict(object: u32, stage: &str, class: &str, source: QuarantineSource) -> Quarantined {
    Quarantined {
        key: format!("{object:06}"),
        etag: String::new(),
        bytes: 1,
        stage: stage.to_owned(),
        class: class.to_owned(),
        message: "drawn so".to_owned(),
        source,
        attempts: 1,
    }
}
