//! What a worker has done since it began, and what it is at, for metrics.

use crate::peak_rss_bytes;
use mr_core::AttemptResult;
use mr_metrics::Page;
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard};

/// Shared between who counts and who tells.
#[derive(Debug, Default)]
pub struct Tally(Mutex<Sums>);

#[derive(Debug, Default)]
struct Sums {
    slots: u32,
    held: usize,
    attempts: BTreeMap<&'static str, u64>,
    records: u64,
    quarantined: u64,
    busy_us: u64,
    polls: u64,
    polls_failed: u64,
}

impl Tally {
    /// A poll is made, with so many slots and attempts.
    pub fn polls(&self, slots: u32, held: usize) {
        let mut sums = self.sums();
        (sums.slots, sums.held, sums.polls) = (slots, held, sums.polls + 1);
    }

    /// A coordinator could not be asked, or did not answer.
    pub fn poll_failed(&self) {
        self.sums().polls_failed += 1;
    }

    pub fn attempt(&self, result: &AttemptResult) {
        let mut sums = self.sums();
        if let Ok(output) = &result.outcome {
            sums.records += output.records;
            sums.quarantined += output.quarantined.len() as u64;
            sums.busy_us += output.times.busy_us;
        }
        *sums.attempts.entry(result.ending()).or_default() += 1;
    }

    pub fn page(&self) -> Page {
        let mut page = Page::default();
        let sums = self.sums();
        page.gauge("mr_worker_slots", "Slots that the worker offers", &[], sums.slots.into());
        page.gauge("mr_worker_leases", "Attempts that it has", &[], sums.held as f64);
        for outcome in AttemptResult::endings() {
            let count = sums.attempts.get(outcome).copied().unwrap_or_default();
            page.counter("mr_worker_attempts", "Attempts that ended here", &[("outcome", outcome)], count as f64);
        }
        page.counter("mr_worker_records", "Records of attempts that were done", &[], sums.records as f64);
        page.counter("mr_worker_quarantined", "Records among them that were set aside", &[], sums.quarantined as f64);
        page.counter("mr_worker_busy_seconds", "Slot time of attempts that were done", &[], sums.busy_us as f64 / 1e6);
        page.counter("mr_worker_polls", "Questions to the coordinator", &[], sums.polls as f64);
        page.counter("mr_worker_polls_failed", "Those that were not answered", &[], sums.polls_failed as f64);
        page.gauge("mr_worker_peak_rss_bytes", "Memory of the process at its peak", &[], peak_rss_bytes() as f64);
        drop(sums);
        mr_metrics::stores(&mut page);
        page
    }

    fn sums(&self) -> MutexGuard<'_, Sums> {
        self.0.lock().expect("nothing panics while it is held")
    }
}
