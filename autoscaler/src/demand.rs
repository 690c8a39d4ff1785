//! What jobs need: from the tasks that are left and how long they take to a number of slots.

use crate::Millis;
use crate::course::{Course, Had};
use crate::facts::{JobFacts, StageFacts};
use crate::policy::{Aim, Policy};

/// What is known of a worker of this fleet, measured or configured.
#[derive(Clone, Copy, Debug)]
pub struct Known {
    pub slots: u32,
    pub start_ms: Millis,
}

/// In slots.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Demand {
    /// That the aim is met with.
    pub wanted: u64,
    /// That could have something to do, now or in a stage to come.
    pub usable: u64,
    /// Whose workers stay: while its books are open all that it ever had a use for, so that whatever is lost or late finds
    /// them there; before and after that those that it could use.
    pub kept: u64,
}

impl Demand {
    pub fn of(job: &JobFacts, had: Had, policy: &Policy, known: Known, now: Millis) -> Self {
        let course = Course::of(job, policy, known.slots, known.start_ms);
        let usable = course.width();
        let wanted = match policy.aim {
            Aim::Within(time) => {
                let end = job.submitted_at.saturating_add(time);
                in_time(&course, end.saturating_sub(now.saturating_add(known.start_ms)))
            }
            Aim::Cheapest { usd_per_hour_waited } => {
                let cost = |workers: u64| {
                    let waited_ms = course.likely_ms(workers.saturating_mul(known.slots.into()));
                    policy.usd_per_worker_hour * course.likely_paid_ms(workers) + usd_per_hour_waited * waited_ms
                };
                // The cost falls up to its least and then rises, since it is a sum of such functions.
                let rises = |workers: u64| cost(workers + 1) >= cost(workers);
                first(course.workers(), rises).saturating_mul(known.slots.into())
            }
        };
        let wanted = wanted.min(affordable(&course, had, policy, wanted, known)).clamp(1, usable);
        let kept = if job.books_open { usable.max(widest(job)) } else { usable };
        Self { wanted, usable, kept }
    }
}

/// Tasks that its widest stage has in all.
fn widest(job: &JobFacts) -> u64 {
    let tasks = |stage: &StageFacts| u64::from(stage.waiting) + u64::from(stage.running) + u64::from(stage.done);
    job.stages.iter().map(tasks).max().unwrap_or(0)
}

/// How many workers a fleet that has none would have for a job that nothing is done of, if it is the only one.
pub fn workers_alone(policy: &Policy, slots: u32, stages: Vec<StageFacts>) -> u32 {
    let job = JobFacts { stages, ..JobFacts::default() };
    let known = Known { slots: slots.max(1), start_ms: policy.start_ms };
    let Demand { wanted, .. } = Demand::of(&job, Had::default(), policy, known, 0);
    policy.bounded(workers(wanted, known.slots))
}

/// That have so many slots.
pub fn workers(wanted: u64, slots: u32) -> u32 {
    u32::try_from(wanted.div_ceil(slots.into())).unwrap_or(u32::MAX)
}

/// The fewest slots with which it is done in time; as many as it can use when no number will do.
fn in_time(course: &Course, rest_ms: Millis) -> u64 {
    first(course.width(), |slots| course.likely_ms(slots) <= rest_ms as f64)
}

/// Slots of as many workers, of those that are wanted, as its budget pays for.
fn affordable(course: &Course, had: Had, policy: &Policy, wanted: u64, known: Known) -> u64 {
    let Some(budget) = policy.budget_usd_per_job else { return u64::MAX };
    const HOUR: f64 = 3_600_000.0;
    // What is paid for to the millisecond is not too dear for the last digit of a float.
    let pays_for = |workers: &u64| {
        policy.usd_per_worker_hour * course.paid_at_most_ms(*workers, had) / HOUR <= budget * (1.0 + 1e-9)
    };
    let most = wanted.min(course.width()).div_ceil(known.slots.into()).min(policy.most().into());
    // More workers may cost less, when fewer would leave slots idle at the end.
    let workers = (1..=most).rev().find(pays_for).unwrap_or(1);
    workers.saturating_mul(known.slots.into())
}

/// The first from 1 on for which it holds, if it holds for all that follow as well; `most` if it holds for none before.
fn first(most: u64, holds: impl Fn(u64) -> bool) -> u64 {
    let (mut low, mut high) = (1, most.max(1));
    while low < high {
        let middle = low + (high - low) / 2;
        if holds(middle) { high = middle } else { low = middle + 1 }
    }
    low
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::Random;

    const KNOWN: Known = Known { slots: 4, start_ms: 60_000 };

    fn job(stages: &[(u32, u32, Option<Millis>)]) -> JobFacts {
        let stage = |&(waiting, running, task_ms)| StageFacts { waiting, running, done: 0, task_ms };
        JobFacts { stages: stages.iter().map(stage).collect(), books_open: true, ..JobFacts::default() }
    }

    fn demand(job: &JobFacts, policy: &Policy, now: Millis) -> Demand {
        Demand::of(job, Had::default(), policy, KNOWN, now)
    }

    fn wanted(job: &JobFacts, policy: &Policy, now: Millis) -> u32 {
        workers(demand(job, policy, now).wanted, KNOWN.slots)
    }

    #[test]
    fn a_target_is_met_with_as_few_workers_as_that_takes() {
        let policy = Policy { aim: Aim::Within(660_000), ..Policy::default() };
        // Ten minutes are left when they have started: 1,200 tasks of 10 s are 12,000 s of 600.
        assert_eq!(wanted(&job(&[(1200, 0, Some(10_000))]), &policy, 0), 5);
        // What runs is half done.
        assert_eq!(wanted(&job(&[(0, 1200, Some(20_000))]), &policy, 0), 5);
        // Half the time is gone, and all of it.
        assert_eq!(wanted(&job(&[(1200, 0, Some(10_000))]), &policy, 300_000), 10);
        assert_eq!(wanted(&job(&[(1200, 0, Some(10_000))]), &policy, 900_000), 300);
        // Nothing is known yet of how long its tasks take.
        assert_eq!(wanted(&job(&[(1200, 0, None)]), &policy, 0), 1);
        // A single task in between takes half of the time, whoever waits for it.
        assert_eq!(wanted(&job(&[(600, 0, Some(10_000)), (1, 0, Some(300_000))]), &policy, 0), 5);
    }

    #[test]
    fn no_job_gets_more_than_it_has_tasks_for_at_a_time_and_none_is_left_alone() {
        let late = Policy { aim: Aim::Within(0), ..Policy::default() };
        let needs = |job: &JobFacts, policy: &Policy| {
            let Demand { wanted, usable, .. } = demand(job, policy, 0);
            (wanted, usable)
        };
        assert_eq!(needs(&job(&[(5, 3, Some(1000)), (0, 1, None)]), &late), (8, 8));
        assert_eq!(needs(&job(&[(5, 3, Some(1000))]), &Policy::default()), (1, 8));
        assert_eq!(needs(&job(&[]), &late), (1, 1), "it is being listed");
    }

    #[test]
    fn workers_stay_for_all_that_was_ever_of_use_until_the_books_are_closed() {
        let kept = |books_open, stages: &[StageFacts]| {
            let job = JobFacts { stages: stages.to_vec(), books_open, ..JobFacts::default() };
            demand(&job, &Policy::default(), 0).kept
        };
        let map = StageFacts { running: 1, done: 99, ..StageFacts::default() };
        let reduce = StageFacts { waiting: 4, ..StageFacts::default() };
        assert_eq!(kept(true, &[map, reduce]), 100);
        assert_eq!(kept(false, &[StageFacts { running: 0, done: 100, ..map }, reduce]), 4);
        assert_eq!((kept(true, &[]), kept(false, &[])), (1, 1), "it is being listed, or committed");
    }

    fn paid(usd_per_hour_waited: f64, usd_per_worker_hour: f64) -> Policy {
        Policy { aim: Aim::Cheapest { usd_per_hour_waited }, usd_per_worker_hour, ..Policy::default() }
    }

    #[test]
    fn the_cheapest_fleet_is_larger_the_dearer_it_is_to_wait() {
        // Two hours of one worker, which takes a minute to start and is idle for five before it goes: n = sqrt(h / 0.2 * 20).
        let two_hours = job(&[(2880, 0, Some(10_000))]);
        let found: Vec<_> = [0.0, 0.2, 1.0, 20.0].map(|h| wanted(&two_hours, &paid(h, 0.2), 0)).into();
        assert_eq!(found, [1, 4, 10, 45]);
        // Free machines, and free waiting.
        assert_eq!((wanted(&two_hours, &paid(1.0, 0.0), 0), wanted(&job(&[]), &paid(1.0, 0.0), 0)), (720, 1));
        assert_eq!(wanted(&two_hours, &paid(0.0, 0.0), 0), 1);
        // Who is there for a moment is paid for a minute.
        let at_once = Policy { idle_ms: 0, billed_min_ms: 600_000, ..paid(1.0, 0.2) };
        assert!(wanted(&two_hours, &at_once, 0) < wanted(&two_hours, &Policy { billed_min_ms: 0, ..at_once }, 0));
    }

    #[test]
    fn no_other_number_of_workers_would_be_cheaper() {
        let mut random = Random::new(11);
        for case in 0..500 {
            let stages = (0..random.between(1, 4)).map(|_| {
                let tasks = random.between(1, 400) as u32;
                (tasks, 0, Some(random.between(1, 300) * 1000))
            });
            let job = job(&stages.collect::<Vec<_>>());
            let policy = paid(random.between(0, 50) as f64 / 10.0, random.between(1, 50) as f64 / 100.0);
            let policy = Policy { idle_ms: random.between(0, 600) * 1000, ..policy };
            // As whoever pays would reckon it: each stage after the other, with machines from their order to their end.
            let cost = |workers: u32| {
                let took = |s: &StageFacts| {
                    let slots = (workers * KNOWN.slots).min(s.waiting);
                    f64::from(s.waiting) * s.task_ms.unwrap() as f64 / f64::from(slots)
                };
                let took: f64 = job.stages.iter().map(took).sum::<f64>() + KNOWN.start_ms as f64;
                let Aim::Cheapest { usd_per_hour_waited } = policy.aim else { unreachable!("it is") };
                let machine = (took + policy.idle_ms as f64).max(policy.billed_min_ms as f64);
                policy.usd_per_worker_hour * f64::from(workers) * machine + usd_per_hour_waited * took
            };
            let (chosen, widest) =
                (cost(wanted(&job, &policy, 0)), workers(demand(&job, &policy, 0).usable, KNOWN.slots));
            let least = (1..=widest).map(cost).fold(f64::INFINITY, f64::min);
            assert!(chosen <= least * (1.0 + 1e-9), "case {case}: {chosen} and not {least}");
        }
    }

    #[test]
    fn a_jobs_budget_pays_for_its_workers_from_their_order_to_their_end() {
        let policy = Policy { aim: Aim::Within(0), usd_per_worker_hour: 0.6, workers_max: 500, ..Policy::default() };
        let hour = job(&[(1440, 0, Some(10_000))]);
        let with = |usd, had| {
            let policy = Policy { budget_usd_per_job: Some(usd), ..policy.clone() };
            workers(Demand::of(&hour, had, &policy, KNOWN, 0).wanted, KNOWN.slots)
        };
        // The tasks are 0.6, and a worker is 0.06 beside them: a minute until it is there and five before it goes.
        let none = Had::default();
        assert_eq!([0.0, 0.6, 0.9, 1.2, 100.0].map(|usd| with(usd, none)), [1, 1, 5, 10, 360]);
        // Half an hour was paid for, be it for tasks that were lost.
        assert_eq!(with(1.2, Had { paid_ms: 1_800_000.0, ..none }), 5);
        // Those that are there need not be started.
        assert_eq!(with(1.1, none), 8);
        assert_eq!(with(1.1, Had { workers: 10.0, ..none }), 10);
        assert_eq!(with(1.1, Had { workers: 10.0, starting_ms: 30_000.0, ..none }), 9);
        // A dollar, and six hours of workers at a tenth.
        let six = job(&[(21_600, 0, Some(4_000))]);
        let policy = Policy { usd_per_worker_hour: 0.1, budget_usd_per_job: Some(1.0), ..policy };
        let n = f64::from(wanted(&six, &policy, 0));
        assert!((30.0..=40.0).contains(&n) && 0.1 * (6.0 + n * 0.1) <= 1.0, "{n}");
    }

    #[test]
    fn more_workers_may_be_within_a_budget_that_fewer_are_not() {
        // Five tasks of an hour on one slot each: four workers take two hours, and five take one.
        let policy = Policy {
            aim: Aim::Within(0),
            usd_per_worker_hour: 1.0,
            budget_usd_per_job: Some(5.6),
            ..Policy::default()
        };
        let known = Known { slots: 1, ..KNOWN };
        let five = job(&[(5, 0, Some(3_600_000))]);
        assert_eq!(Demand::of(&five, Had::default(), &policy, known, 0).wanted, 5);
    }
}
