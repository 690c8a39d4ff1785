//! What can be seen of a job while it runs and after.

use crate::{Books, Counters, Failure, JobId, OutputFormat, Quarantined};
use serde::{Deserialize, Serialize};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum JobPhase {
    Listing,
    Running,
    Committing,
    Committed,
    Failed,
    Cancelled,
}

impl JobPhase {
    pub fn ended(self) -> bool {
        match self {
            Self::Listing | Self::Running | Self::Committing => false,
            Self::Committed | Self::Failed | Self::Cancelled => true,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct JobStatus {
    pub id: JobId,
    pub job: String,
    pub input: String,
    /// Where the list of its objects was, if there is one.
    pub input_list: Option<String>,
    pub output: String,
    /// Of the rows there.
    pub format: OutputFormat,
    pub phase: JobPhase,
    /// Since the epoch, by the coordinator's clock.
    pub submitted_ms: u64,
    /// From submission to now, or to the end.
    pub elapsed_ms: u64,
    pub books: Books,
    /// Of the job's own code, in tasks that are done.
    pub counters: Counters,
    pub stages: Vec<StageStatus>,
    /// Workers that are in touch, and their slots.
    pub workers: u32,
    pub slots: u32,
    /// The first few reasons, for whoever watches.
    pub quarantined_first: Vec<Quarantined>,
    pub failure: Option<Failure>,
    /// A sentence for whoever waits, when there is something to say, such as that no worker is in touch.
    pub note: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StageStatus {
    pub name: String,
    pub tasks: u32,
    pub tasks_done: u32,
    pub tasks_running: u32,
    /// Records done by finished attempts, and by running ones where it is known how many there are in all.
    pub records: u64,
    pub records_total: Option<u64>,
}
