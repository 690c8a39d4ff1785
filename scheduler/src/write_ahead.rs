//! Nothing is said before what it rests on is written.
//!
//! Facts are written in batches, one write at a time, each with all that has come up since the last (a group commit).
//! What a step brings about is held until its facts, and all before them, are durable. Pure: whoever does the writing
//! asks for a batch, and says when it is written.

use crate::event::{Command, Step};
use crate::fact::Fact;
use mr_core::WorkerId;
use std::collections::{BTreeMap, VecDeque};

/// `T` is whatever has to wait: commands, and answers to those who asked for something.
#[derive(Debug)]
pub struct WriteAhead<T> {
    /// Facts that have come up, have been given out to be written, and are written.
    emitted: u64,
    writing: u64,
    durable: u64,
    unwritten: Vec<Fact>,
    held: VecDeque<(u64, T)>,
    /// What has to be written before a worker is told anything.
    answers: BTreeMap<WorkerId, u64>,
}

impl<T> Default for WriteAhead<T> {
    fn default() -> Self {
        let (held, answers) = Default::default();
        Self { emitted: 0, writing: 0, durable: 0, unwritten: Vec::new(), held, answers }
    }
}

impl<T> WriteAhead<T> {
    /// Takes a step in. Returns what may be carried out at once.
    pub fn step(&mut self, step: Step, wrap: impl Fn(Command) -> T) -> Vec<T> {
        self.emitted += step.facts.len() as u64 + u64::from(step.doubted);
        self.unwritten.extend(step.facts);
        for command in step.commands {
            if let Command::Answer { worker } = &command {
                self.answers.insert(worker.clone(), self.emitted);
            }
            self.held.push_back((self.emitted, wrap(command)));
        }
        self.due()
    }

    /// Something else that waits for all that has been decided so far. Returns what may be carried out at once.
    pub fn hold(&mut self, item: T) -> Vec<T> {
        self.held.push_back((self.emitted, item));
        self.due()
    }

    /// Something that waits for a write which begins after this moment, though there may be nothing to write: when that has
    /// succeeded, nobody else had taken over when this was asked for.
    pub fn hold_for_proof(&mut self, item: T) {
        self.emitted += 1;
        self.held.push_back((self.emitted, item));
    }

    /// Whether all is written that the worker's answer rests on, so that it may be told now.
    pub fn may_answer(&self, worker: &WorkerId) -> bool {
        self.answers.get(worker).is_none_or(|after| *after <= self.durable)
    }

    /// A worker that is gone needs no answer.
    pub fn forget(&mut self, is_known: impl Fn(&WorkerId) -> bool) {
        self.answers.retain(|worker, _| is_known(worker));
    }

    /// The next batch, if there is one and none is being written.
    pub fn batch(&mut self) -> Option<Vec<Fact>> {
        if self.writing > self.durable || self.emitted == self.writing {
            return None;
        }
        self.writing = self.emitted;
        Some(std::mem::take(&mut self.unwritten))
    }

    /// The batch is durable. Returns what may be carried out now.
    pub fn written(&mut self) -> Vec<T> {
        self.durable = self.writing;
        self.due()
    }

    fn due(&mut self) -> Vec<T> {
        let due = self.held.partition_point(|(after, _)| *after <= self.durable);
        self.held.drain(..due).map(|(_, item)| item).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fact::What;
    use mr_core::JobId;

    fn step(facts: usize, worker: &str) -> Step {
        let job = JobId::parse("a").unwrap();
        let fact = Fact { at: 0, job, what: What::Committing };
        let commands = vec![Command::Answer { worker: WorkerId(worker.into()) }];
        Step { facts: vec![fact; facts], commands, doubted: false }
    }

    fn told(items: Vec<Command>) -> Vec<String> {
        let name = |command| match command {
            Command::Answer { worker } => worker.0,
            other => panic!("{other:?}"),
        };
        items.into_iter().map(name).collect()
    }

    #[test]
    fn what_rests_on_nothing_new_is_said_at_once_and_the_rest_in_order_after_its_facts() {
        let mut ahead = WriteAhead::default();
        assert_eq!(told(ahead.step(step(0, "a"), |command| command)), ["a"]);
        assert!(ahead.batch().is_none());
        assert!(ahead.step(step(2, "b"), |command| command).is_empty());
        assert_eq!(ahead.batch().unwrap().len(), 2);
        // These come while the first batch is on its way: the second waits behind the first, though it brings no fact.
        assert!(ahead.step(step(1, "c"), |command| command).is_empty());
        assert!(ahead.step(step(0, "d"), |command| command).is_empty());
        assert!(ahead.batch().is_none(), "one at a time");
        assert!(!ahead.may_answer(&WorkerId("b".into())));
        assert_eq!(told(ahead.written()), ["b"]);
        assert!(ahead.may_answer(&WorkerId("b".into())) && !ahead.may_answer(&WorkerId("d".into())));
        assert_eq!(ahead.batch().unwrap().len(), 1);
        ahead.hold_for_proof(Command::Answer { worker: WorkerId("e".into()) });
        assert!(ahead.batch().is_none(), "one at a time");
        assert_eq!(told(ahead.written()), ["c", "d"]);
        assert!(ahead.batch().unwrap().is_empty(), "nothing but the proof");
        assert_eq!(told(ahead.written()), ["e"]);
        assert!(ahead.may_answer(&WorkerId("d".into())) && ahead.may_answer(&WorkerId("nobody".into())));
    }

    #[test]
    fn what_is_held_waits_for_what_was_decided_before_it_and_for_nothing_else() {
        let mut ahead = WriteAhead::default();
        let item = |name: &str| Command::Answer { worker: WorkerId(name.into()) };
        assert_eq!(told(ahead.hold(item("a"))), ["a"]);
        assert!(ahead.step(step(1, "b"), |command| command).is_empty());
        assert!(ahead.hold(item("c")).is_empty());
        assert_eq!(ahead.batch().unwrap().len(), 1);
        assert_eq!(told(ahead.written()), ["b", "c"]);
        ahead.step(step(1, "d"), |command| command);
        let gone = WorkerId("d".into());
        assert!(!ahead.may_answer(&gone));
        ahead.forget(|worker| *worker != gone);
        assert!(ahead.may_answer(&gone));
    }

    #[test]
    fn one_who_is_doubted_says_nothing_before_a_write_though_there_is_nothing_to_write() {
        let mut ahead = WriteAhead::default();
        assert!(ahead.step(Step { doubted: true, ..step(0, "a") }, |command| command).is_empty());
        assert!(!ahead.may_answer(&WorkerId("a".into())));
        assert_eq!(ahead.batch(), Some(Vec::new()));
        assert_eq!(told(ahead.written()), ["a"]);
        assert!(ahead.may_answer(&WorkerId("a".into())) && ahead.batch().is_none());
    }
}
