//! The scheduler's body: gRPC, the clock, the listing, the commit.
//!
//! What happens is decided in `mr-scheduler`; here it is carried out. One task owns the scheduler and everything that
//! is known of jobs ([`shell`]): whoever wants something sends it a message, and what takes time (listing, committing,
//! cleaning up) runs beside it and comes back as a message too. The coordinator reads no input object and computes
//! nothing of a job.

mod ask;
mod blobs;
mod clean;
mod commit;
mod door;
mod effects;
mod fleet;
mod heed;
mod idle_time;
mod job;
mod jobs_service;
mod journal;
mod key_list;
mod lead;
mod listing;
mod memo;
mod orders;
mod pace;
mod prepare;
mod process;
mod serve;
mod shell;
mod shortfall;
mod status;
mod tally;
mod terms;
mod troubles;
mod worker_time;
mod workers_service;

pub use blobs::BLOB_BYTES_MAX;
pub use door::{Connection, Door};
pub use fleet::{FleetSettings, ProviderSettings};
pub use journal::Fenced;
#[doc(hidden)]
pub use journal::replayed;
pub use listing::{cut, listing};
pub use prepare::refusal;
pub use serve::{Coordinator, in_process, serve};
pub use terms::workers_alone;

use mr_cost::Rates;

#[derive(Clone, Debug)]
pub struct Settings {
    /// Root of the state store, a path or URL.
    pub state: String,
    /// Without a poll for this long a worker's leases go to others.
    pub lease_ms: u64,
    /// How long a job waits for workers that have it, and kernels that it can use, while only others are in touch; then it
    /// fails.
    pub unserved_ms: u64,
    /// How long outputs of tasks are kept for jobs that could use them, after they were last of use; 0: no longer than
    /// their own job.
    pub work_age_ms: u64,
    /// How many entries the journal may have before it is shortened to what they come to: reading it takes a request for
    /// each.
    pub journal_entries_max: u64,
    /// How long the one at work may be silent before one that stands by takes over.
    pub silence_ms: u64,
    /// Jobs that the coordinator before was at end with it: whoever submitted them is gone as well. For a coordinator
    /// inside the process that submits.
    pub abandons: bool,
    /// Of this program. What another has begun of a job is not gone on with.
    pub framework_version: String,
    /// `None`: workers come and go as others see fit.
    pub fleet: Option<FleetSettings>,
    /// What a job's requests and workers cost, for its bill and for whoever plans one.
    pub rates: Rates,
}

/// Three days: a weekend and a day.
pub const WORK_AGE_MS: u64 = 3 * 24 * 3600 * 1000;

/// A few beats, and well within the fifteen seconds that a takeover may take.
pub const SILENCE_MS: u64 = 9_000;

impl Settings {
    pub fn new(state: impl Into<String>) -> Self {
        let mr_scheduler::Config { lease_ms, unserved_ms, .. } = mr_scheduler::Config::default();
        Self {
            state: state.into(),
            lease_ms,
            unserved_ms,
            work_age_ms: WORK_AGE_MS,
            silence_ms: SILENCE_MS,
            journal_entries_max: 256,
            abandons: false,
            framework_version: mr_core::FRAMEWORK_VERSION.to_owned(),
            fleet: None,
            rates: Rates::default(),
        }
    }
}
