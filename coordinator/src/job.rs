//! What the shell knows of a job beside the scheduler's state: its plan, its frozen listing, and what it measured.

use mr_core::{JobPlan, Listing, Split};
use std::collections::BTreeMap;
use std::sync::Arc;

pub struct Job {
    pub plan: Arc<JobPlan>,
    /// Since the epoch, by this machine's clock: for people.
    pub submitted_epoch_ms: u64,
    /// Before the submission, at the submitter's.
    pub prior_ms: u64,
    /// Once the input is listed, until the job has ended.
    pub input: Option<Arc<Input>>,
    pub skipped: u64,
    pub measured: Measured,
}

/// The input as it was when the job began.
pub struct Input {
    pub listing: Listing,
    pub splits: Vec<Split>,
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
