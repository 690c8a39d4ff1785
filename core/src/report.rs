//! What is said of a job when it is over.

use crate::{Bill, Counters, JobId, JobSpec};
use serde::{Deserialize, Serialize};

/// Every listed object is in exactly one of `embedded` and `quarantined`, or the job has not succeeded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Books {
    pub listed: u64,
    /// Objects of which nothing was set aside: their rows are in the result.
    pub embedded: u64,
    /// Objects that were set aside, whole or, of those in pieces, in part.
    pub quarantined: u64,
    /// Objects under the input's root that the job's filter does not want.
    pub skipped: u64,
}

impl Books {
    pub fn balanced(&self) -> bool {
        self.embedded.checked_add(self.quarantined) == Some(self.listed)
    }
}

/// Becomes `report.json`. Times and hosts vary from run to run, which is why they are here and nowhere else.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    pub job_id: JobId,
    #[serde(flatten)]
    pub books: Books,
    /// Of the job's own code.
    #[serde(default)]
    pub counters: Counters,
    /// Phase after phase: `list`, the plan's stages, `commit`; and their `total`.
    pub seconds: std::collections::BTreeMap<String, f64>,
    /// From the start of the job to the end of its first record.
    pub first_image_s: Option<f64>,
    /// The largest resident set of any process that took part.
    pub peak_rss_bytes: u64,
    /// Slots' seconds in the job's code for records (decode and embed).
    pub busy_s: f64,
    pub slots: u32,
    pub workers: u32,
    pub kernel_family: String,
    pub framework_version: String,
    /// What it has cost; none in reports from before there were any.
    #[serde(default)]
    pub bill: Option<Bill>,
    pub settings: JobSpec,
}
