//! An order: all that a worker needs to run one attempt, and what it says back while and after it runs.

use crate::{
    AttemptId, BlobRef, Failure, FailureClass, FileRef, Object, OutputFormat, Params, Piece, Quarantined, StoreCounts,
    TaskOutput,
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Order {
    pub attempt: AttemptId,
    /// Name in the registry, and the version that the plan was made with.
    pub job: String,
    pub job_version: u32,
    /// The kernel family that the job is bound to: one that the worker said it has.
    pub kernel_family: String,
    pub params: Params,
    /// Name of the planned stage.
    pub stage: String,
    /// Root of the input; objects of a split are relative to it.
    pub input: String,
    /// Root of the state store.
    pub state: String,
    /// Key of an object that is there. Who does not see it looks elsewhere than its coordinator. Empty: nothing is known to be.
    pub landmark: String,
    pub broadcasts: Vec<BroadcastRef>,
    pub footer: BTreeMap<String, String>,
    /// Rows are the job's result rather than rows for a later stage.
    pub writes_output: bool,
    /// How they are written down then.
    pub format: OutputFormat,
    /// A record that is not quarantined must give exactly one row.
    pub one_row_per_record: bool,
    /// How many partitions the pairs that are emitted go to.
    pub partitions: u32,
    /// Bytes of memory that its pairs may take on their way.
    pub memory_bytes_max: u64,
    /// How long a record may take before it is given up.
    pub record_seconds_max: u32,
    /// What it has of the only object of its work; `None`: all of all.
    pub piece: Option<Piece>,
    pub work: Work,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BroadcastRef {
    pub name: String,
    pub blob: BlobRef,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "kind")]
pub enum Work {
    /// Map the objects of a split, but for those that are condemned: for them the verdict is there already.
    MapObjects { objects: Vec<Object>, condemned: Vec<Quarantined> },
    /// Map some objects of a split, to see whether the process lives through it, and show nothing for it.
    Probe { objects: Vec<Object> },
    /// Map the rows that some earlier tasks kept, in order.
    MapKept { rows: Vec<FileRef> },
    /// Merge runs into one, combining the values of each key.
    Combine { runs: Vec<FileRef> },
    /// Merge one partition of runs and reduce each key.
    Reduce { runs: Vec<FileRef>, partition: u32 },
}

/// How far a running attempt is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttemptProgress {
    pub attempt: AttemptId,
    pub records: u64,
}

/// How an attempt ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AttemptResult {
    pub attempt: AttemptId,
    /// Of the order, and so of the bytes.
    pub kernel_family: String,
    pub outcome: Result<TaskOutput, Failure>,
    /// What it asked of stores on the way, done or not.
    pub asked: StoreCounts,
}

impl AttemptResult {
    /// Of an attempt that did not fail.
    const DONE: &str = "done";

    /// How it ended, in one word: `done`, or its failure's class.
    pub fn ending(&self) -> &'static str {
        self.outcome.as_ref().map_or_else(|failure| failure.class.name(), |_| Self::DONE)
    }

    /// All that [`ending`](Self::ending) may say.
    pub fn endings() -> impl Iterator<Item = &'static str> {
        [Self::DONE].into_iter().chain(FailureClass::ALL.map(FailureClass::name))
    }
}
