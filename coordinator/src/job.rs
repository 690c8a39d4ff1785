//! What the shell knows of a job beside the scheduler's state: its plan, its frozen listing, and what it measured.

use crate::troubles::Troubles;
use mr_core::{FileRef, JobPlan, Listing, Split, TaskGraph, TaskId, TaskKey, TaskKind};
use std::collections::BTreeMap;
use std::sync::Arc;

pub struct Job {
    pub plan: Arc<JobPlan>,
    /// Before the submission, at the submitter's.
    pub prior_ms: u64,
    /// Outputs with a quarantine are made again rather than taken over from other jobs.
    pub renews_quarantined: bool,
    /// Once the input is listed, until the job has ended.
    pub input: Option<Arc<Input>>,
    pub skipped: u64,
    pub measured: Measured,
    pub troubles: Troubles,
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
        let (input, measured, troubles) = Default::default();
        Self { plan, prior_ms, renews_quarantined: false, input, skipped: 0, measured, troubles }
    }

    pub fn task_key(&self, task: &TaskId) -> Option<TaskKey> {
        self.input.as_ref()?.keys.get(task.stage as usize)?.get(task.index as usize).copied()
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
}
