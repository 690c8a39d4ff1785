//! What has happened since this coordinator began to lead, and what is so now, for metrics.

use mr_core::{AttemptResult, JobPhase};
use mr_metrics::Page;
use mr_scheduler::{Ending, Scheduler};
use std::collections::BTreeMap;

/// Counted as it happens.
#[derive(Debug, Default)]
pub struct Tally {
    /// By how they ended.
    attempts: BTreeMap<&'static str, u64>,
    jobs: BTreeMap<&'static str, u64>,
    records: u64,
    quarantined: u64,
    rows: u64,
    output_bytes: u64,
    journal_entries: u64,
}

/// How large the fleet is to be, and is, where this coordinator makes it so.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FleetSize {
    pub wanted: u32,
    pub there: u32,
}

impl Tally {
    /// An attempt has ended, and that was not told before.
    pub fn attempt(&mut self, result: &AttemptResult) {
        if let Ok(output) = &result.outcome {
            self.records += output.records;
            self.quarantined += output.quarantined.len() as u64;
            self.rows += output.rows;
            self.output_bytes += output.files().map(|(_, bytes)| bytes).sum::<u64>();
        }
        *self.attempts.entry(result.ending()).or_default() += 1;
    }

    pub fn job(&mut self, ending: &Ending) {
        let ended = match ending {
            Ending::Committed => "committed",
            Ending::Failed(_) => "failed",
            Ending::Cancelled => "cancelled",
        };
        *self.jobs.entry(ended).or_default() += 1;
    }

    pub fn journal_entry(&mut self) {
        self.journal_entries += 1;
    }

    pub fn page(&self, scheduler: &Scheduler, fleet: Option<FleetSize>) -> Page {
        let mut page = Page::default();
        self.jobs_and_tasks(scheduler, &mut page);
        workers(scheduler, &mut page);
        if let Some(FleetSize { wanted, there }) = fleet {
            page.gauge("mr_fleet_wanted", "Workers that the fleet is to have", &[], wanted.into());
            page.gauge("mr_fleet_there", "Workers of the fleet, those that are starting included", &[], there.into());
        }
        for outcome in AttemptResult::endings() {
            let count = self.attempts.get(outcome).copied().unwrap_or_default();
            page.counter("mr_attempts", "Attempts at tasks that ended", &[("outcome", outcome)], count as f64);
        }
        page.counter("mr_records", "Records of attempts that were done", &[], self.records as f64);
        page.counter("mr_quarantined", "Records among them that were set aside", &[], self.quarantined as f64);
        page.counter("mr_rows", "Rows that attempts made", &[], self.rows as f64);
        page.counter("mr_task_output_bytes", "Bytes of the files that attempts made", &[], self.output_bytes as f64);
        page.counter("mr_journal_entries", "Entries written to the journal", &[], self.journal_entries as f64);
        mr_metrics::stores(&mut page);
        page
    }

    fn jobs_and_tasks(&self, scheduler: &Scheduler, page: &mut Page) {
        let mut open: BTreeMap<&str, u32> = ["listing", "running", "committing"].map(|phase| (phase, 0)).into();
        for job in scheduler.jobs() {
            let phase = match job.phase {
                JobPhase::Listing => "listing",
                JobPhase::Running => "running",
                JobPhase::Committing => "committing",
                JobPhase::Committed | JobPhase::Failed | JobPhase::Cancelled => continue,
            };
            *open.get_mut(phase).expect("it is one of them") += 1;
        }
        for (phase, count) in open {
            page.gauge("mr_jobs", "Jobs that have not ended", &[("phase", phase)], count.into());
        }
        for ended in ["committed", "failed", "cancelled"] {
            let count = self.jobs.get(ended).copied().unwrap_or_default();
            page.counter("mr_jobs_ended", "Jobs that ended", &[("outcome", ended)], count as f64);
        }
        let (mut waiting, mut running) = (0u64, 0u64);
        for stage in scheduler.loads().flat_map(|load| load.stages) {
            (waiting, running) = (waiting + u64::from(stage.waiting), running + u64::from(stage.running));
        }
        for (state, count) in [("waiting", waiting), ("running", running)] {
            page.gauge("mr_tasks", "Tasks of open jobs that are not done", &[("state", state)], count as f64);
        }
    }
}

fn workers(scheduler: &Scheduler, page: &mut Page) {
    let (mut idle, mut busy, mut draining, mut slots, mut leases) = (0, 0, 0, 0u32, 0);
    for worker in scheduler.workers() {
        let state = match (worker.draining, worker.idle) {
            (true, _) => &mut draining,
            (false, true) => &mut idle,
            (false, false) => &mut busy,
        };
        *state += 1;
        slots += worker.slots;
        leases += worker.leases.len();
    }
    for (state, count) in [("idle", idle), ("busy", busy), ("draining", draining)] {
        page.gauge("mr_workers", "Workers in touch", &[("state", state)], count.into());
    }
    page.gauge("mr_slots", "Slots of workers in touch", &[], slots.into());
    page.gauge("mr_leases", "Attempts that workers have, those that fetch ahead included", &[], leases as f64);
}

#[cfg(test)]
mod tests {
    use super::*;
    use mr_core::{AttemptId, Failure, FailureClass, JobId, TaskId};

    #[test]
    fn every_outcome_has_a_sample_from_the_start() {
        let scheduler = Scheduler::new(mr_scheduler::Config::default(), 1);
        let mut tally = Tally::default();
        let task = TaskId { job: JobId::parse("a").unwrap(), stage: 0, index: 0 };
        let attempt = AttemptId { task, epoch: 1, number: 1 };
        let outcome = Err(Failure::new(FailureClass::OutOfMemory, "too large"));
        tally.attempt(&AttemptResult { attempt, kernel_family: String::new(), outcome, asked: Default::default() });
        tally.job(&Ending::Cancelled);
        let text = tally.page(&scheduler, Some(FleetSize { wanted: 3, there: 2 })).text();
        for line in [
            "mr_attempts_total{outcome=\"out-of-memory\"} 1.0",
            "mr_attempts_total{outcome=\"done\"} 0.0",
            "mr_jobs_ended_total{outcome=\"cancelled\"} 1.0",
            "mr_jobs{phase=\"running\"} 0.0",
            "mr_workers{state=\"busy\"} 0.0",
            "mr_fleet_wanted 3.0",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
        }
        assert_eq!(text.lines().filter(|line| line.starts_with("mr_attempts_total{")).count(), 8);
    }
}
