//! The scheduler in bad weather: one seed is one story, always the same.
//!
//! Workers poll over a network that loses, doubles, delays and reorders; they crash, hang, crawl and drain; attempts
//! fail in every way; the store answers late; jobs are cancelled at any moment, too late ones among them. After every
//! step the laws in [`laws`] must hold. Then the weather clears, and every job must end.
//!
//! [`sort`] is apart from that: how long a large job takes on machines that are slow or die.

pub mod graphs;
mod job;
mod laws;
mod random;
pub mod sort;
mod weather;
mod worker;
mod world;

use crate::event::Config;
use crate::flaw::Flaw;
use crate::scheduler::Scheduler;
use mr_core::FailureClass;
use std::collections::BTreeMap;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use world::{Recover, World};

/// What a run has seen: a simulation in which nothing goes wrong shows nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sights {
    pub steps: u64,
    pub attempts: u64,
    pub committed: u64,
    pub cancelled: u64,
    pub failed: BTreeMap<FailureClass, u64>,
    pub messages_lost: u64,
    pub crashed: u64,
    pub drained: u64,
    pub wrong_books: u64,
    /// Of an attempt whose lease had been taken away.
    pub late_successes: u64,
    /// Cancelled while the commit was under way.
    pub cancelled_too_late: u64,
    /// Attempts that went on after the end of their job.
    pub orphans: u64,
    pub coordinator_deaths: u64,
    /// Given by one that had been replaced.
    pub replaced_answers: u64,
    /// Outputs that one job took over from another.
    pub found: u64,
    pub backups: u64,
    /// Tasks that had to be done again, and commits that missed a part.
    pub undone: u64,
    pub missed_by_commit: u64,
    /// Records that were condemned.
    pub condemned: u64,
    /// Of them, those that only had the bad luck of two workers that died of other things.
    pub unlucky: u64,
}

/// A law that did not hold.
#[derive(Clone, Debug)]
pub struct Broken {
    pub seed: u64,
    pub law: String,
    /// What happened, step by step, when it was asked for.
    pub story: Vec<String>,
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let last = &self.story[self.story.len().saturating_sub(60)..];
        write!(f, "seed {}: {}\n{}", self.seed, self.law, last.join("\n"))
    }
}

/// Runs one seed.
///
/// # Errors
/// The law that was broken, with the story up to then.
pub fn run(seed: u64) -> Result<Sights, Broken> {
    run_with(seed, &|epoch, facts| Scheduler::recover(config(seed), epoch, facts))
}

/// In some stories jobs give up while the storm lasts.
fn config(seed: u64) -> Config {
    let default = Config::default();
    Config { unserved_ms: if seed.is_multiple_of(3) { 20_000 } else { default.unserved_ms }, ..default }
}

/// The same with a bug in the scheduler.
///
/// # Errors
/// The law by which the bug is found.
pub fn run_planted(seed: u64, flaw: Flaw) -> Result<Sights, Broken> {
    run_with(seed, &|epoch, facts| {
        let mut scheduler = Scheduler::new(config(seed), epoch);
        scheduler.flaw = Some(flaw);
        scheduler.after(facts)
    })
}

/// One seed's story, from its beginning to its end or to the law that did not hold.
pub fn story(seed: u64, flaw: Option<Flaw>) -> (Vec<String>, Result<Sights, String>) {
    let recover = |epoch, facts: &[crate::Fact]| {
        let mut scheduler = Scheduler::new(config(seed), epoch);
        scheduler.flaw = flaw;
        scheduler.after(facts)
    };
    World::new(seed, &recover, true).story()
}

fn run_with(seed: u64, recover: Recover<'_>) -> Result<Sights, Broken> {
    // Told only when there is something to tell: telling takes longer than running.
    let silent = catch_unwind(AssertUnwindSafe(|| World::new(seed, recover, false).run()));
    match silent {
        Ok(Ok(sights)) => Ok(sights),
        Ok(Err(_)) => World::new(seed, recover, true).run(),
        Err(_) => Err(Broken { seed, law: "it panicked".to_owned(), story: Vec::new() }),
    }
}

impl Sights {
    pub fn add(&mut self, other: &Self) {
        self.steps += other.steps;
        self.attempts += other.attempts;
        self.committed += other.committed;
        self.cancelled += other.cancelled;
        for (class, count) in &other.failed {
            *self.failed.entry(*class).or_default() += count;
        }
        self.messages_lost += other.messages_lost;
        self.crashed += other.crashed;
        self.drained += other.drained;
        self.wrong_books += other.wrong_books;
        self.late_successes += other.late_successes;
        self.cancelled_too_late += other.cancelled_too_late;
        self.orphans += other.orphans;
        self.coordinator_deaths += other.coordinator_deaths;
        self.replaced_answers += other.replaced_answers;
        self.found += other.found;
        self.backups += other.backups;
        self.undone += other.undone;
        self.missed_by_commit += other.missed_by_commit;
        self.condemned += other.condemned;
        self.unlucky += other.unlucky;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(name: &str) -> Option<u64> {
        std::env::var(name).ok().map(|value| value.parse().expect("a number"))
    }

    /// `MR_SIM_SEEDS` says how many, `MR_SIM_SEED` which one.
    #[test]
    fn the_laws_hold_whatever_the_weather() {
        let seeds = match number("MR_SIM_SEED") {
            Some(seed) => seed..seed + 1,
            None => 0..number("MR_SIM_SEEDS").unwrap_or(20_000),
        };
        let all = seeds.end - seeds.start;
        let mut sights = Sights::default();
        for seed in seeds {
            match run(seed) {
                Ok(seen) => sights.add(&seen),
                Err(broken) => panic!("{broken}"),
            }
        }
        println!("{all} seeds: {sights:?}");
        if all >= 5_000 {
            let Sights { committed, cancelled, failed, messages_lost, crashed, drained, .. } = &sights;
            let Sights { wrong_books, late_successes, cancelled_too_late, orphans, .. } = &sights;
            let Sights {
                coordinator_deaths,
                replaced_answers,
                found,
                backups,
                condemned,
                undone,
                missed_by_commit,
                ..
            } = &sights;
            let seen = [committed, cancelled, messages_lost, crashed, drained, found, backups, condemned, wrong_books];
            let seen = seen.into_iter().chain([late_successes, cancelled_too_late, orphans]);
            let seen = seen.chain([coordinator_deaths, replaced_answers, undone, missed_by_commit]);
            assert!(seen.chain(failed.values()).all(|count| *count > 0), "not everything has been seen");
            assert_eq!(failed.len(), 6, "jobs fail in every way but one");
        }
    }

    #[test]
    fn a_seed_is_always_the_same_story() {
        assert_eq!(run(7).unwrap(), run(7).unwrap());
    }

    /// A simulation that finds nothing might look at nothing.
    #[test]
    fn every_planted_bug_is_found() {
        for flaw in Flaw::ALL {
            let found = (0..30_000).find_map(|seed| run_planted(seed, *flaw).err());
            let found = found.unwrap_or_else(|| panic!("{flaw:?} was not found"));
            println!("{flaw:?}: seed {}: {}", found.seed, found.law);
        }
    }
}
