//! What a worker has done since it began, and what it is at, for metrics.

use crate::peak_rss_bytes;
use crate::poll::{CUT_OFF_LEASES, LEASE};
use mr_core::AttemptResult;
use mr_metrics::{Health, Page};
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

/// Shared between who counts and who tells.
#[derive(Debug, Default)]
pub struct Tally(Mutex<Sums>);

#[derive(Clone, Copy, Debug)]
struct Heard {
    at: Instant,
    /// Until then the worker has only begun.
    lease: Option<Duration>,
}

impl Default for Heard {
    fn default() -> Self {
        Self { at: Instant::now(), lease: None }
    }
}

#[derive(Debug, Default)]
struct Sums {
    heard: Heard,
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

    /// A coordinator has answered, and leases are so long.
    pub fn heard(&self, lease: Duration) {
        self.sums().heard = Heard { at: Instant::now(), lease: Some(lease) };
    }

    /// Whether it hears of a coordinator, or has only begun.
    pub fn health(&self) -> Health {
        self.health_at(Instant::now())
    }

    fn health_at(&self, now: Instant) -> Health {
        let Heard { at, lease } = self.sums().heard;
        let silence = now.saturating_duration_since(at);
        let (near, seconds) = (silence <= lease.unwrap_or(LEASE) * CUT_OFF_LEASES, silence.as_secs());
        match (lease, near) {
            (Some(_), true) => Ok("it hears of a coordinator".to_owned()),
            (None, true) => Ok("it is starting".to_owned()),
            (Some(_), false) => Err(format!("it has heard of no coordinator for {seconds} s")),
            (None, false) => Err(format!("it began {seconds} s ago, and has heard of no coordinator yet")),
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_is_well_while_it_starts_and_while_a_coordinator_is_heard() {
        let tally = Tally::default();
        let after = |seconds| tally.health_at(Instant::now() + Duration::from_secs(seconds));
        assert_eq!(after(55), Ok("it is starting".into()));
        assert_eq!(after(61), Err("it began 61 s ago, and has heard of no coordinator yet".into()));
        tally.heard(Duration::from_secs(2));
        assert_eq!(after(7), Ok("it hears of a coordinator".into()));
        assert_eq!(after(9), Err("it has heard of no coordinator for 9 s".into()));
        // Polls that nobody answers say nothing of one.
        tally.polls(2, 0);
        tally.poll_failed();
        assert!(after(9).is_err());
    }
}
