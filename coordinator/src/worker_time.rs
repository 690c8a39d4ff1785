//! For how long workers had attempts of which job, for bills.

use mr_core::{AttemptId, JobId};
use mr_scheduler::Millis;
use std::collections::BTreeMap;

/// Since when a worker has had what it has.
#[derive(Clone, Copy, Debug, Default)]
pub struct Since(Option<Millis>);

impl Since {
    /// The worker had these attempts until now, and has some of them still, perhaps: what of the time since the last word goes
    /// to which job, in milliseconds. A silence counts for no longer than `most`, since then it had no lease any more.
    pub fn until<'a>(
        &mut self,
        now: Millis,
        most: Millis,
        had: impl Iterator<Item = &'a AttemptId>,
    ) -> BTreeMap<JobId, f64> {
        let since = self.0.replace(now).unwrap_or(now);
        shares(now.saturating_sub(since).min(most), had)
    }

    /// It had nothing until now.
    pub fn begins(&mut self, now: Millis) {
        self.0 = Some(now);
    }
}

/// A time, divided among the jobs of these attempts by how many each has.
fn shares<'a>(time: Millis, attempts: impl Iterator<Item = &'a AttemptId>) -> BTreeMap<JobId, f64> {
    let mut counts: BTreeMap<JobId, u64> = BTreeMap::new();
    attempts.for_each(|attempt| *counts.entry(attempt.task.job.clone()).or_default() += 1);
    let all: u64 = counts.values().sum();
    counts.into_iter().map(|(job, count)| (job, time as f64 * count as f64 / all as f64)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use mr_core::TaskId;

    fn attempt(job: &str, index: u32) -> AttemptId {
        AttemptId { task: TaskId { job: JobId::parse(job).unwrap(), stage: 0, index }, epoch: 1, number: 1 }
    }

    fn told(since: &mut Since, now: Millis, had: &[AttemptId]) -> Vec<(String, f64)> {
        since.until(now, 6_000, had.iter()).into_iter().map(|(job, ms)| (job.to_string(), ms)).collect()
    }

    #[test]
    fn time_goes_to_the_jobs_that_a_worker_had_attempts_of() {
        let mut since = Since::default();
        assert_eq!(told(&mut since, 5_000, &[attempt("a", 0)]), [("a".to_owned(), 0.0)], "nobody knows since when");
        let both = [attempt("a", 0), attempt("b", 0), attempt("b", 1), attempt("b", 2)];
        assert_eq!(told(&mut since, 6_000, &both), [("a".to_owned(), 250.0), ("b".to_owned(), 750.0)]);
        assert_eq!(told(&mut since, 7_000, &[]), [], "it had nothing to do");
        since.begins(7_400);
        assert_eq!(told(&mut since, 7_500, &[attempt("a", 0)]), [("a".to_owned(), 100.0)]);
    }

    #[test]
    fn a_long_silence_counts_for_a_lease() {
        let mut since = Since::default();
        since.begins(0);
        assert_eq!(told(&mut since, 60_000, &[attempt("a", 0)]), [("a".to_owned(), 6_000.0)]);
        // Clocks that stand still are nobody's time.
        assert_eq!(told(&mut since, 60_000, &[attempt("a", 0)]), [("a".to_owned(), 0.0)]);
    }
}
