//! What machines were paid for, job by job: from their order to their end, whether or not they had something to do.
//!
//! Time is the open jobs' in the shares in which they wanted slots. What a coordinator before has paid is known from tasks alone.

use crate::Millis;
use crate::course::Had;
use crate::demand::Demand;
use crate::facts::{Facts, JobFacts, JobId};
use std::collections::BTreeMap;

#[derive(Clone, Debug, Default)]
pub struct Accounts {
    open: BTreeMap<JobId, Entry>,
    seen_at: Option<Millis>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Entry {
    paid_ms: f64,
    /// Slots that it wanted at the last look.
    wanted: u64,
}

impl Accounts {
    /// What was there since the last look is paid for. Workers have so many slots, which says what a job has cost that is new
    /// here.
    pub fn pay(&mut self, now: Millis, facts: &Facts, slots: u32) {
        let took = self.seen_at.map_or(0, |at| now.saturating_sub(at)) as f64 * facts.instances.len() as f64;
        self.seen_at = Some(now);
        let shares: Vec<_> = facts.jobs.iter().map(|job| self.share(&job.id)).collect();
        let mut before = std::mem::take(&mut self.open);
        for (job, share) in facts.jobs.iter().zip(shares) {
            let spent = || Entry { paid_ms: job.spent_ms as f64 / f64::from(slots.max(1)), wanted: 0 };
            let mut entry = before.remove(&job.id).unwrap_or_else(spent);
            entry.paid_ms += took * share;
            self.open.insert(job.id.clone(), entry);
        }
    }

    pub fn note(&mut self, job: &JobId, demand: Demand) {
        self.open.entry(job.clone()).or_default().wanted = demand.wanted;
    }

    /// There are so many workers, and all of them together need so long until all have come.
    pub fn had(&self, job: &JobFacts, (there, starting_ms): (u32, Millis)) -> Had {
        let workers = f64::from(there) * self.share(&job.id);
        Had {
            paid_ms: self.open.get(&job.id).map_or(0.0, |entry| entry.paid_ms),
            workers,
            starting_ms: starting_ms as f64 / f64::from(there.max(1)),
        }
    }

    /// Which part of the machines each has to pay for.
    pub fn shares(&self) -> impl Iterator<Item = (&JobId, f64)> {
        self.open.keys().map(|job| (job, self.share(job)))
    }

    fn share(&self, job: &JobId) -> f64 {
        let all: u64 = self.open.values().map(|entry| entry.wanted).fold(0, u64::saturating_add);
        self.open.get(job).map_or(0.0, |entry| entry.wanted as f64 / all.max(1) as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::{Instance, InstanceId};

    fn job(id: &str) -> JobFacts {
        JobFacts { id: JobId(id.into()), ..JobFacts::default() }
    }

    fn facts(jobs: &[&str], machines: u32) -> Facts {
        let instance = |n| Instance { id: InstanceId(format!("i-{n}")), worker: None, leaves: false };
        Facts { jobs: jobs.iter().map(|id| job(id)).collect(), instances: (0..machines).map(instance).collect() }
    }

    #[test]
    fn machines_are_paid_for_by_the_jobs_that_are_open_as_they_want_slots() {
        let mut accounts = Accounts::default();
        let paid = |accounts: &Accounts, id: &str| accounts.had(&job(id), (8, 0)).paid_ms;
        accounts.pay(1000, &facts(&[], 3), 4);
        accounts.pay(2000, &facts(&["a", "b"], 3), 4);
        assert_eq!((paid(&accounts, "a"), paid(&accounts, "b")), (0.0, 0.0), "they were not there before");
        accounts.note(&JobId("a".into()), Demand { wanted: 6, ..Demand::default() });
        accounts.note(&JobId("b".into()), Demand { wanted: 2, ..Demand::default() });
        accounts.pay(4000, &facts(&["a", "b"], 8), 4);
        assert_eq!((paid(&accounts, "a"), paid(&accounts, "b")), (12_000.0, 4_000.0));
        assert_eq!(accounts.had(&job("a"), (8, 8_000)), Had { paid_ms: 12_000.0, workers: 6.0, starting_ms: 1000.0 });
        accounts.pay(5000, &facts(&["b"], 8), 4);
        assert_eq!((paid(&accounts, "a"), paid(&accounts, "b")), (0.0, 6_000.0), "what has ended is forgotten");
        // What a coordinator before has had done is paid for, and what comes is paid beside it.
        let spent = JobFacts { spent_ms: 40_000, ..job("c") };
        accounts.pay(6000, &Facts { jobs: vec![spent.clone()], ..facts(&[], 2) }, 4);
        accounts.note(&spent.id, Demand { wanted: 2, ..Demand::default() });
        accounts.pay(9000, &Facts { jobs: vec![spent.clone()], ..facts(&[], 2) }, 4);
        assert_eq!(accounts.had(&spent, (2, 0)).paid_ms, 16_000.0);
    }
}
