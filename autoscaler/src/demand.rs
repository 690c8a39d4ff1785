//! What jobs need: from the tasks that are left and how long they take to a number of workers.

use crate::Millis;
use crate::facts::{JobFacts, StageFacts};
use crate::policy::{Aim, Policy};

/// What is known of a worker of this fleet, measured or configured.
#[derive(Clone, Copy, Debug)]
pub struct Known {
    pub slots: u32,
    pub start_ms: Millis,
}

/// For all jobs together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Demand {
    /// That the aim is met with.
    pub workers: u32,
    /// That could have something to do, now or in a stage to come.
    pub usable: u32,
}

impl Demand {
    pub fn of(jobs: &[JobFacts], policy: &Policy, known: Known, now: Millis) -> Self {
        let (mut slots, mut usable) = (0u64, 0u64);
        for job in jobs {
            let width = width(job);
            usable += width;
            slots += wanted(job, policy, known, now).min(width);
        }
        let workers = |slots: u64| u32::try_from(slots.div_ceil(known.slots.into())).unwrap_or(u32::MAX);
        Self { workers: workers(slots), usable: workers(usable) }
    }
}

/// Slots that its widest stage has tasks for. A job that is being listed or committed has one, so that it is not left alone.
fn width(job: &JobFacts) -> u64 {
    job.stages.iter().map(|stage| u64::from(stage.waiting) + u64::from(stage.running)).max().unwrap_or(0).max(1)
}

/// Slots that it should have.
fn wanted(job: &JobFacts, policy: &Policy, known: Known, now: Millis) -> u64 {
    let left_ms: u64 = job.stages.iter().map(|stage| left(stage, policy)).sum();
    let wanted = match policy.aim {
        Aim::Within(time) => {
            let rest = (job.submitted_at.saturating_add(time)).saturating_sub(now.saturating_add(known.start_ms));
            // There is no time left: as wide as it gets.
            if rest == 0 { u64::MAX } else { left_ms.div_ceil(rest) }
        }
        Aim::Cheapest { usd_per_hour_waited } => {
            // n workers take S + w/n and cost p n S + p w; waiting costs h (S + w/n). The least of n p S + h w/n is at
            // n = sqrt(h w / (p S)).
            let work = left_ms as f64 / f64::from(known.slots);
            let start = known.start_ms.max(1) as f64;
            let workers = (usd_per_hour_waited * work / (policy.usd_per_worker_hour * start)).sqrt();
            // Where workers cost nothing, or nothing is left to do.
            let workers = if workers.is_nan() { 1.0 } else { workers.round().max(1.0) };
            (workers as u64).saturating_mul(known.slots.into())
        }
    };
    wanted.min(affordable(job, left_ms, policy, known)).max(1)
}

/// Slots of as many workers as can be started for what its budget leaves beside its tasks.
fn affordable(job: &JobFacts, left_ms: u64, policy: &Policy, known: Known) -> u64 {
    let Some(budget) = policy.budget_usd_per_job else { return u64::MAX };
    const HOUR: f64 = 3_600_000.0;
    let tasks = (job.spent_ms as f64 + left_ms as f64) / f64::from(known.slots) / HOUR * policy.usd_per_worker_hour;
    let start = known.start_ms.max(1) as f64 / HOUR * policy.usd_per_worker_hour;
    let workers = ((budget - tasks) / start).floor().max(1.0);
    (workers as u64).saturating_mul(known.slots.into())
}

/// Slot time that a stage still needs. What runs is taken to be half-way.
fn left(stage: &StageFacts, policy: &Policy) -> u64 {
    let task_ms = stage.task_ms.unwrap_or(policy.task_ms).max(1);
    let halves = 2 * u64::from(stage.waiting) + u64::from(stage.running);
    halves.saturating_mul(task_ms).div_ceil(2)
}

#[cfg(test)]
mod tests {
    use super::*;

    const KNOWN: Known = Known { slots: 4, start_ms: 60_000 };

    fn job(stages: &[(u32, u32, Option<Millis>)]) -> JobFacts {
        let stages = stages.iter().map(|&(waiting, running, task_ms)| StageFacts { waiting, running, task_ms });
        JobFacts { submitted_at: 0, stages: stages.collect(), spent_ms: 0 }
    }

    fn workers(job: JobFacts, policy: &Policy, now: Millis) -> u32 {
        Demand::of(&[job], policy, KNOWN, now).workers
    }

    #[test]
    fn a_target_is_met_with_as_few_workers_as_that_takes() {
        let policy = Policy { aim: Aim::Within(660_000), ..Policy::default() };
        // Ten minutes are left when they have started: 1,200 tasks of 10 s are 12,000 s of 600.
        assert_eq!(workers(job(&[(1200, 0, Some(10_000))]), &policy, 0), 5);
        // What runs is half done.
        assert_eq!(workers(job(&[(0, 1200, Some(20_000))]), &policy, 0), 5);
        // Half the time is gone, and all of it.
        assert_eq!(workers(job(&[(1200, 0, Some(10_000))]), &policy, 300_000), 10);
        assert_eq!(workers(job(&[(1200, 0, Some(10_000))]), &policy, 900_000), 300);
        // Nothing is known yet of how long its tasks take.
        assert_eq!(workers(job(&[(1200, 0, None)]), &policy, 0), 1);
    }

    #[test]
    fn no_job_gets_more_than_it_has_tasks_for_at_a_time_and_none_is_left_alone() {
        let late = Policy { aim: Aim::Within(0), ..Policy::default() };
        assert_eq!(workers(job(&[(5, 3, Some(1000)), (0, 1, None)]), &late, 0), 2);
        assert_eq!(workers(job(&[]), &late, 0), 1, "it is being listed");
        let both = [job(&[(5, 0, None)]), job(&[(1, 0, None), (30, 0, None)])];
        assert_eq!(Demand::of(&both, &late, KNOWN, 0), Demand { workers: 9, usable: 9 });
        assert_eq!(Demand::of(&[], &late, KNOWN, 0), Demand::default());
    }

    #[test]
    fn the_cheapest_fleet_is_larger_the_dearer_it_is_to_wait() {
        let at = |usd_per_hour_waited| {
            let aim = Aim::Cheapest { usd_per_hour_waited };
            Policy { aim, usd_per_worker_hour: 0.2, ..Policy::default() }
        };
        // Two hours of one worker, which takes a minute to start: n = sqrt(h / 0.2 * 120).
        let two_hours = || job(&[(2880, 0, Some(10_000))]);
        let found: Vec<_> = [0.0, 0.2, 1.0, 20.0].map(|h| workers(two_hours(), &at(h), 0)).into();
        assert_eq!(found, [1, 11, 24, 110]);
        // It is the least there is.
        let cost = |n: f64| (0.2 * n + 1.0) * (1.0 / 60.0 + 2.0 / n);
        assert!([23.0, 25.0].iter().all(|n| (cost(24.0) - cost(*n)).abs() < 1e-3));
        assert!([12.0, 48.0].iter().all(|n| cost(24.0) < cost(*n) - 0.01));
        // Free machines, and free waiting.
        let free = Policy { usd_per_worker_hour: 0.0, ..at(1.0) };
        assert_eq!((workers(two_hours(), &free, 0), workers(job(&[]), &free, 0)), (720, 1));
        assert_eq!(workers(two_hours(), &Policy { usd_per_worker_hour: 0.0, ..at(0.0) }, 0), 1);
    }

    #[test]
    fn a_jobs_budget_bounds_how_many_workers_are_started_for_it() {
        let policy = Policy { aim: Aim::Within(0), usd_per_worker_hour: 0.6, ..Policy::default() };
        let hour = || job(&[(1440, 0, Some(10_000))]);
        let with = |usd| workers(hour(), &Policy { budget_usd_per_job: Some(usd), ..policy.clone() }, 0);
        // The tasks are 0.6, and to start a worker is 0.01.
        assert_eq!([0.0, 0.6, 0.655, 0.7005, 100.0].map(with), [1, 1, 5, 10, 360]);
        let spent = JobFacts { spent_ms: 4 * 180_000, ..hour() };
        assert_eq!(workers(spent, &Policy { budget_usd_per_job: Some(0.7005), ..policy }, 0), 7);
    }
}
