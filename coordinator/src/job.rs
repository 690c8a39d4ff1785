//! What the shell knows of a job beside the scheduler's state: its plan, its frozen listing, and what it measured.

use crate::idle_time::IdleTime;
use crate::troubles::Troubles;
use mr_core::{
    FRAMEWORK_VERSION, FileRef, JobPlan, Listing, QuarantineSource, Split, StageIndex, TaskGraph, TaskId, TaskKey,
    TaskKind, TaskOutput,
};
use mr_storage::Meter;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

pub struct Job {
    pub plan: Arc<JobPlan>,
    /// Before the submission, at the submitter's.
    pub prior_ms: u64,
    /// Outputs with a quarantine are made again rather than taken over from other jobs.
    pub renews_quarantined: bool,
    /// Of the coordinator that it was submitted to.
    pub framework_version: String,
    /// Once the input is listed, until the job has ended.
    pub input: Option<Arc<Input>>,
    pub skipped: u64,
    pub measured: Measured,
    pub troubles: Troubles,
    /// Tasks whose outputs follow from what happened to this job, themselves or by what they were made of. Another job may
    /// not take them for its own.
    pub own: BTreeSet<(StageIndex, u32)>,
    /// How many tasks were done again, for what they wrote was lost.
    pub undone: u32,
    /// Counts what its attempts have asked of stores, and this coordinator for it.
    pub meter: Meter,
    /// Of the fleet's machines that are there for it and not at work.
    pub idle: IdleTime,
}

/// The input as it was when the job began, and the work that follows from it.
pub struct Input {
    pub listing: Listing,
    pub splits: Vec<Split>,
    pub graph: Arc<TaskGraph>,
    /// What each task computes, stage after stage.
    pub keys: Vec<Vec<TaskKey>>,
    /// Where the listing is written down.
    pub file: FileRef,
    /// Work files of other jobs, with their sizes, that lay in the state store when the job began; `None`: nobody looked.
    pub there: Option<BTreeMap<String, u64>>,
}

impl Job {
    pub fn new(plan: Arc<JobPlan>, prior_ms: u64) -> Self {
        let (input, measured, troubles, own, meter, idle) = Default::default();
        Self {
            plan,
            prior_ms,
            renews_quarantined: false,
            framework_version: FRAMEWORK_VERSION.to_owned(),
            input,
            skipped: 0,
            measured,
            troubles,
            own,
            undone: 0,
            meter,
            idle,
        }
    }

    /// A task is done: notes whether other jobs over the same input may take its output over.
    pub fn note_done(&mut self, task: &TaskId, output: &TaskOutput) {
        let Some(input) = &self.input else { return };
        let node = input.graph.stages.get(task.stage as usize).and_then(|stage| stage.tasks.get(task.index as usize));
        let verdicts = output.quarantined.iter().any(|verdict| verdict.source == QuarantineSource::Environment);
        let place = (task.stage, task.index);
        if verdicts || node.is_some_and(|node| node.waits_for().any(|read| self.own.contains(&read))) {
            self.own.insert(place);
        } else {
            self.own.remove(&place);
        }
    }

    /// The key under which other jobs find the output of a task that is done, if they may.
    pub fn shared_key(&self, task: &TaskId) -> Option<TaskKey> {
        self.task_key(task).filter(|_| !self.own.contains(&(task.stage, task.index)))
    }

    pub fn task_key(&self, task: &TaskId) -> Option<TaskKey> {
        self.input.as_ref()?.keys.get(task.stage as usize)?.get(task.index as usize).copied()
    }

    /// Empty as long as the input is not listed.
    pub fn stage_name(&self, stage: StageIndex) -> String {
        let stage = self.input.as_ref().and_then(|input| input.graph.stages.get(stage as usize));
        stage.map(|stage| stage.name.clone()).unwrap_or_default()
    }

    pub fn kind(&self, task: &TaskId) -> Option<TaskKind> {
        let stage = self.input.as_ref()?.graph.stages.get(task.stage as usize)?;
        Some(stage.tasks.get(task.index as usize)?.kind)
    }
}

/// For the report; nothing is decided by it.
#[derive(Clone, Debug, Default)]
pub struct Measured {
    pub busy_us: u64,
    /// From the job's start to the end of its first record.
    pub first_record_ms: Option<u64>,
    /// By worker: its slots, and the most memory it has needed.
    pub workers: BTreeMap<String, (u32, u64)>,
    /// In which workers had attempts of it, and the same times the slots that were busy.
    pub worker_ms: f64,
    pub slot_ms: f64,
    /// Of the input, in attempts that were done.
    pub records: u64,
    /// It was submitted to another coordinator, and what that measured is lost.
    pub taken_over: bool,
}

#[cfg(test)]
pub mod tests {
    use super::*;
    use mr_core::{
        InputFilter, JobId, JobSpec, Limits, Mode, Object, Params, Quarantined, Source, SplitSettings, StagePlan,
        expand,
    };

    fn stage(name: &str, source: Source, broadcasts_of: &[&str]) -> StagePlan {
        let broadcasts_of = broadcasts_of.iter().map(|name| (*name).to_owned()).collect();
        StagePlan {
            name: name.into(),
            source,
            broadcasts_of,
            writes_output: false,
            one_row_per_record: false,
            params: None,
        }
    }

    /// Two splits of two objects, a reduce that is broadcast, and a stage over kept rows that is given it.
    pub fn sample() -> (Arc<TaskGraph>, Job) {
        let plan = JobPlan {
            spec: JobSpec {
                job: "test".into(),
                input: "file:///in/".into(),
                output: "file:///out/".into(),
                mode: Mode::Fail,
                format: Default::default(),
                input_list: None,
                adopt: false,
                params: Params::new(),
                limits: Limits::default(),
                split: SplitSettings::default(),
                shuffle: Default::default(),
            },
            job_version: 1,
            filter: InputFilter::default(),
            cut: Default::default(),
            objects_min: None,
            keys: None,
            kernels: Default::default(),
            broadcasts: Vec::new(),
            stages: vec![
                stage("map", Source::Input, &[]),
                stage("sum", Source::Emitted { stage: "map".into(), partitions: 1, fan_in: 8 }, &[]),
                stage("rows", Source::Kept { stage: "map".into(), group_min: 1, group_max: 1 }, &["sum"]),
            ],
            footer: Default::default(),
        };
        let graph = expand(&plan, 2).unwrap();
        let objects = ["a", "b", "c", "d"].map(|key| Object { key: key.into(), bytes: 1, etag: format!("{key}1") });
        let splits = [0, 2].map(|first| Split { first, count: 2, bytes: 2, piece: None });
        let (file, listing) =
            (FileRef { key: String::new(), bytes: 0, crc32: 0 }, Listing { objects: objects.into(), skipped: 0 });
        let graph = Arc::new(graph);
        let keys = vec![vec![[0; 32], [1; 32]], vec![[2; 32]], vec![[3; 32], [4; 32]]];
        let input = Input { listing, splits: splits.into(), graph: graph.clone(), keys, file, there: None };
        let job = Job { input: Some(Arc::new(input)), ..Job::new(Arc::new(plan), 0) };
        (graph, job)
    }

    #[test]
    fn what_was_made_of_a_verdict_on_what_happened_is_for_no_other_job() {
        let (_, mut job) = sample();
        let task = |stage, index| TaskId { job: JobId::parse("job").unwrap(), stage, index };
        let verdict = |source| Quarantined {
            key: "a".into(),
            etag: "e".into(),
            bytes: 1,
            stage: "map".into(),
            class: "deadline".into(),
            message: String::new(),
            source,
            attempts: 1,
        };
        let output = |source: Option<QuarantineSource>| TaskOutput {
            quarantined: source.map(verdict).into_iter().collect(),
            ..TaskOutput::default()
        };
        let all = [task(0, 0), task(0, 1), task(1, 0), task(2, 0), task(2, 1)];
        let mut shared = |first: Option<QuarantineSource>| {
            job.note_done(&all[0], &output(first));
            all[1..].iter().for_each(|task| job.note_done(task, &output(None)));
            all.iter().map(|task| job.shared_key(task).is_some()).collect::<Vec<_>>()
        };
        assert_eq!(shared(Some(QuarantineSource::Content)), [true; 5]);
        assert_eq!(shared(Some(QuarantineSource::Environment)), [false, true, false, false, false]);
        // Done again, it may be otherwise.
        assert_eq!(shared(None), [true; 5]);
    }
}
