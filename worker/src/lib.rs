//! Hands: polls the coordinator, runs attempts, reports how they ended, and drains when told to leave.
//!
//! A library over a [`Registry`]: the process that holds it decides which jobs there are. A worker never retries an
//! attempt and never decides what runs next; it does what it was ordered and says how it went, again and again until
//! it was heard.

mod attempts;
mod connect;
mod gauge;
mod heap;
mod leave;
mod memory;
mod poll;
mod rss;
mod tally;

pub use connect::{Coordinators, Trust, connect, reason};
pub use leave::Leave;
pub use poll::{Stopped, run};
pub use rss::peak_rss_bytes;
pub use tally::Tally;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

#[derive(Clone, Debug)]
pub struct Settings {
    /// Attempts that compute at the same time.
    pub slots: u32,
    /// Attempts beyond the slots that fetch what they need or store what they made. One for each slot, so that none waits
    /// for a disk when several end at once.
    pub ahead: u32,
    /// Where broadcasts are kept.
    pub scratch: PathBuf,
    /// What all slots together may use for decoding; `None`: [`decode_budget_bytes`] of what the process may use.
    pub decode_budget_bytes: Option<u64>,
    /// What the process may use; `None`: what its control groups or the machine allow. Near that, attempts are given up.
    pub memory_bytes: Option<u64>,
    /// False where the whole cluster is this process: then nobody needs its work files after a power failure.
    pub work_outlives: bool,
    /// Goes into the worker's name, for people who read logs.
    pub host: String,
    /// What the provider of this machine calls it, so that the coordinator knows whom it asked for.
    pub instance: Option<String>,
    /// A worker that has heard from no coordinator for so long ends: nobody is there who would end its machine. `None`: it
    /// waits for ever.
    pub alone_max: Option<Duration>,
    /// How long what runs has to come to its end when the coordinator has the worker leave, because its machine goes.
    pub drain: Duration,
    /// Counts what the worker does, for whoever asks.
    pub tally: Arc<Tally>,
}

impl Settings {
    pub fn new(slots: u32, scratch: PathBuf) -> Self {
        Self {
            slots,
            ahead: slots,
            scratch,
            decode_budget_bytes: None,
            memory_bytes: None,
            work_outlives: true,
            host: host(),
            instance: None,
            alone_max: None,
            drain: Duration::ZERO,
            tally: Arc::default(),
        }
    }
}

/// What all slots of a process together may use for decoding, unless told otherwise: a quarter of what the process may use
/// (`None`: what its control groups or the machine allow), and at most half a gigabyte. Several large photos that are begun
/// at once fill a small container faster than anyone can look.
pub fn decode_budget_bytes(memory_bytes: Option<u64>) -> u64 {
    const MOST: u64 = 512 << 20;
    gauge::Gauge::new(memory_bytes).limit().map_or(MOST, |limit| (limit / 4).clamp(1, MOST))
}

fn host() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let name = name.trim();
    if name.is_empty() { "host".to_owned() } else { name.to_owned() }
}
