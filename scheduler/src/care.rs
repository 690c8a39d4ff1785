//! Tasks that need care: records that are blamed, condemned, or sought since they seem to kill their worker.
//!
//! A record that takes down the process that works on it says nothing, so it is found by halving: parts of its split are
//! run as *probes*, which show nothing for themselves but that the worker lives through them. A probe has its worker for
//! itself, or the death could be another's. What a worker can still say of a record that made it fail, by panicking or
//! taking too long, it says. Either way two workers have to come to the same, and then that record is condemned, alone.

use crate::fact::Condemned;
use crate::fleet::WorkerNo;
use mr_core::{AttemptId, Epoch, QuarantineSource, Quarantined, TaskOutput};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

/// How many workers a task over a split may lose before a record of it is suspected.
pub(crate) const LOSSES_SUSPECT: u32 = 2;

#[derive(Clone, Debug, Default)]
pub(crate) struct Care {
    pub condemned: Vec<Condemned>,
    /// Who has come to which verdict, by the record's key and the verdict's class.
    blamed: BTreeMap<(String, String), Opinions>,
    /// Who has missed what the task wrote.
    pub missed: Opinions,
    /// The files of all that it wrote before it was undone.
    pub spoiled: BTreeSet<String>,
    /// Losses that have been looked into.
    pub cleared_losses: u32,
    pub probing: Option<Probing>,
    /// Attempts that were probes.
    pub probes: BTreeSet<(Epoch, u32)>,
}

/// Who says so, in which attempt.
#[derive(Clone, Debug, Default)]
pub(crate) struct Opinions(BTreeSet<(WorkerNo, AttemptId)>);

impl Opinions {
    /// `alone`: there is no other worker to ask, so another attempt of the same one will do. The same attempt that is told
    /// again does not.
    pub fn say(&mut self, by: WorkerNo, attempt: &AttemptId, alone: bool) -> Opinion {
        let this = (by, attempt.clone());
        let others = self.0.iter().any(|(worker, _)| *worker != by);
        let own = self.0.iter().any(|opinion| opinion.0 == by && *opinion != this);
        self.0.insert(this);
        match (others, own) {
            (true, _) => Opinion::Second,
            (false, true) if alone => Opinion::Second,
            (false, true) => Opinion::Again,
            (false, false) => Opinion::First,
        }
    }
}

/// What came of a verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Opinion {
    /// Nobody else has come to it yet.
    First,
    /// Another worker had come to it before.
    Second,
    /// The same worker says so again, and there are others to ask.
    Again,
}

impl Care {
    pub fn blame(&mut self, verdict: &Quarantined, by: WorkerNo, attempt: &AttemptId, alone: bool) -> Opinion {
        self.blamed.entry((verdict.key.clone(), verdict.class.clone())).or_default().say(by, attempt, alone)
    }

    /// Whether every verdict of an output that follows from what happened meanwhile is a second opinion. `None`: it has
    /// none such.
    pub fn agrees(&mut self, output: &TaskOutput, by: WorkerNo, attempt: &AttemptId, alone: bool) -> Option<bool> {
        let known = |key: &str| {
            self.condemned.iter().any(|condemned| match condemned {
                Condemned::Verdict(verdict) => verdict.key == key,
                Condemned::Kills(_) => false,
            })
        };
        let kills = self.condemned.iter().any(|condemned| matches!(condemned, Condemned::Kills(_)));
        let new = |verdict: &&Quarantined| {
            // That it kills is said in our own words, so it is no opinion of the worker's.
            let ours = kills && verdict.class == KILLS;
            verdict.source == QuarantineSource::Environment && !ours && !known(&verdict.key)
        };
        let new: Vec<_> = output.quarantined.iter().filter(new).cloned().collect();
        if new.is_empty() {
            return None;
        }
        // Each is noted, also after one that is new.
        let second: Vec<_> =
            new.iter().map(|verdict| self.blame(verdict, by, attempt, alone) == Opinion::Second).collect();
        Some(second.into_iter().all(|second| second))
    }
}

/// The class of the verdict on a record that kills its worker.
pub const KILLS: &str = "kills-worker";

/// The search for the one record that kills.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Probing {
    /// It is in here, if it is anywhere.
    within: Range<u32>,
    pub trying: Range<u32>,
    /// Attempts whose workers were lost while they tried the last single record.
    deaths: BTreeSet<(Epoch, u32)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    NotYet,
    Culprit(u32),
    /// It was not the records: workers die of other things too.
    Nothing,
}

impl Probing {
    pub fn new(objects: u32) -> Self {
        Self { within: 0..objects, trying: front(&(0..objects)), deaths: BTreeSet::new() }
    }

    pub fn died(&mut self, attempt: &AttemptId) -> Found {
        if self.trying.len() == 1 {
            self.deaths.insert((attempt.epoch, attempt.number));
            if self.deaths.len() >= 2 {
                return Found::Culprit(self.trying.start);
            }
        } else {
            self.within = self.trying.clone();
            self.trying = front(&self.within);
        }
        Found::NotYet
    }

    /// The worker of an attempt that was taken for dead lives. A range that was narrowed for it stays so: if nothing in it
    /// kills, nothing is found.
    pub fn came_back(&mut self, attempt: &AttemptId) {
        self.deaths.remove(&(attempt.epoch, attempt.number));
    }

    pub fn lived(&mut self) -> Found {
        if self.trying == self.within {
            return Found::Nothing;
        }
        self.within.start = self.trying.end;
        self.trying = front(&self.within);
        self.deaths.clear();
        Found::NotYet
    }
}

/// The first half, or all of a single one.
fn front(range: &Range<u32>) -> Range<u32> {
    range.start..range.start + (range.end - range.start).div_ceil(2)
}

#[cfg(test)]
mod tests {
    use super::*;
    use mr_core::{JobId, TaskId};

    fn attempt(number: u32) -> AttemptId {
        AttemptId { task: TaskId { job: JobId::parse("job").unwrap(), stage: 0, index: 0 }, epoch: 1, number }
    }

    fn verdict(key: &str, class: &str, source: QuarantineSource) -> Quarantined {
        let [etag, stage, message] = [String::new(), String::new(), String::new()];
        Quarantined { key: key.into(), etag, bytes: 1, stage, class: class.into(), message, source, attempts: 1 }
    }

    fn output(verdicts: &[Quarantined]) -> TaskOutput {
        TaskOutput { quarantined: verdicts.to_vec(), ..TaskOutput::default() }
    }

    /// Two workers.
    fn workers() -> [WorkerNo; 2] {
        let mut fleet = crate::fleet::Fleet::default();
        let poll = |worker: &str| crate::Poll {
            worker: mr_core::WorkerId(worker.into()),
            seq: 1,
            slots: 1,
            capacity: 1,
            families: vec!["avx".into()],
            jobs: Default::default(),
            draining: false,
            held: Vec::new(),
            lingers: false,
            results: Vec::new(),
        };
        ["one", "two"].map(|worker| fleet.renew(&poll(worker), 1))
    }

    #[test]
    fn a_second_opinion_is_another_workers_or_another_attempts_where_there_is_no_other() {
        let ([one, two], changed) = (workers(), verdict("a", "changed", QuarantineSource::Environment));
        let mut care = Care::default();
        assert_eq!(care.blame(&changed, one, &attempt(1), false), Opinion::First);
        assert_eq!(care.blame(&changed, one, &attempt(1), true), Opinion::First, "it is told again");
        assert_eq!(care.blame(&changed, one, &attempt(2), false), Opinion::Again);
        assert_eq!(care.blame(&changed, one, &attempt(3), true), Opinion::Second);
        assert_eq!(care.blame(&changed, two, &attempt(4), false), Opinion::Second);
        let gone = verdict("a", "gone", QuarantineSource::Environment);
        assert_eq!(care.blame(&gone, two, &attempt(4), false), Opinion::First, "it is another verdict");
    }

    #[test]
    fn only_what_follows_from_what_happened_needs_a_second_opinion_and_only_once() {
        use QuarantineSource::{Content, Environment};
        let [one, two] = workers();
        let mut care = Care::default();
        let content = verdict("a", "undecodable", Content);
        assert_eq!(care.agrees(&output(std::slice::from_ref(&content)), one, &attempt(1), false), None);
        let changed = |key| verdict(key, "changed", Environment);
        assert_eq!(care.agrees(&output(&[content, changed("b")]), one, &attempt(1), false), Some(false));
        assert_eq!(care.agrees(&output(&[changed("b"), changed("c")]), two, &attempt(2), false), Some(false));
        assert_eq!(care.agrees(&output(&[changed("b"), changed("c")]), one, &attempt(3), false), Some(true));
        // What was condemned is known, and nothing else.
        let mut care = Care { condemned: vec![Condemned::Verdict(Box::new(changed("b")))], ..Care::default() };
        assert_eq!(care.agrees(&output(&[changed("b")]), one, &attempt(1), false), None);
        assert_eq!(care.agrees(&output(&[changed("b"), changed("c")]), one, &attempt(1), false), Some(false));
        // That a record kills is for us to say.
        let kills = verdict("d", KILLS, Environment);
        assert_eq!(care.agrees(&output(std::slice::from_ref(&kills)), one, &attempt(1), false), Some(false));
        care.condemned.push(Condemned::Kills(3));
        assert_eq!(care.agrees(&output(std::slice::from_ref(&kills)), one, &attempt(2), false), None);
        assert_eq!(care.agrees(&output(&[kills, changed("e")]), one, &attempt(2), false), Some(false));
    }

    #[test]
    fn a_worker_that_comes_back_was_not_killed() {
        let mut probing = Probing::new(1);
        assert_eq!(probing.died(&attempt(1)), Found::NotYet);
        probing.came_back(&attempt(1));
        assert_eq!(probing.died(&attempt(2)), Found::NotYet);
        assert_eq!(probing.died(&attempt(3)), Found::Culprit(0));
    }

    #[test]
    fn the_one_that_kills_is_found_wherever_it_is_with_few_deaths() {
        for objects in [1u32, 2, 3, 5, 8, 64, 100] {
            for culprit in 0..objects {
                let (mut probing, mut deaths, mut probes) = (Probing::new(objects), 0, 0);
                let found = loop {
                    probes += 1;
                    assert!(probes < 40 && !probing.trying.is_empty());
                    let found = if probing.trying.contains(&culprit) {
                        deaths += 1;
                        probing.died(&attempt(probes))
                    } else {
                        probing.lived()
                    };
                    if found != Found::NotYet {
                        break found;
                    }
                };
                assert_eq!(found, Found::Culprit(culprit), "of {objects}");
                let halvings = u32::BITS - objects.leading_zeros();
                assert!(deaths <= halvings + 2, "{deaths} deaths for {culprit} of {objects}");
            }
        }
    }

    #[test]
    fn where_nothing_kills_nothing_is_found() {
        let mut probing = Probing::new(64);
        let found = (0..20).map(|_| probing.lived()).find(|found| *found != Found::NotYet);
        assert_eq!(found, Some(Found::Nothing));
    }
}
