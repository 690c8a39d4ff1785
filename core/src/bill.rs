//! What a job has cost, as its report has it.

use crate::StoreCounts;
use serde::{Deserialize, Serialize};

/// Up to the moment when the report is written, which is just before the commit's entry: what comes after it (the entry, copies
/// of the report and the like, the sweep) is not in it. Nor is what an attempt asked that nobody heard of again.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Bill {
    /// Time of machines that is this job's to pay: `worker_seconds`, and its share of the time in which machines of a fleet
    /// were starting or idle while it was open, by the slots that each open job wanted. 0 in reports from before it was told.
    #[serde(default)]
    pub instance_seconds: f64,
    /// Time in which workers had attempts of this job; of a worker with attempts of several jobs, this one's share by their
    /// number.
    pub worker_seconds: f64,
    /// The same times each worker's slots.
    pub slot_seconds: f64,
    /// Records of the input (objects, or pieces of them) that attempts of this job were done with. Fewer than it has where an
    /// earlier job's outputs were taken over, and more where something was done again.
    pub records: u64,
    /// Of attempts and of the coordinator for this job, with the bytes that came and went: to S3, since folders are asked
    /// nothing.
    #[serde(flatten)]
    pub asked: StoreCounts,
    pub usd: Usd,
    /// Whether all of the job is in it. Not so when a coordinator has taken over while it ran: then what was before is not.
    pub whole: bool,
    /// Where the prices come from, one sentence each.
    pub prices: Vec<String>,
}

/// US dollars.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Usd {
    pub requests: f64,
    /// `None`: nobody said what a worker costs, or how long they are at it.
    pub workers: Option<f64>,
    /// Of what is known.
    pub total: f64,
    /// The same for a million input objects; `None` without any.
    pub per_million_objects: Option<f64>,
}

impl Usd {
    /// What so many objects have cost.
    pub fn of(requests: f64, workers: Option<f64>, objects: u64) -> Self {
        let total = requests + workers.unwrap_or(0.0);
        let per_million_objects = (objects > 0).then(|| total * 1e6 / objects as f64);
        Self { requests, workers, total, per_million_objects }
    }
}
