//! A simulated worker: it does as it is told, as long as it lives.

use super::random::Random;
use super::weather::Weather;
use crate::event::{Millis, Poll};
use mr_core::{AttemptId, AttemptResult, Failure, FailureClass, JobCode, Quarantined, WorkerId};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

/// What workers of one kind come with: a machine, and a program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kind {
    pub families: Vec<String>,
    pub jobs: BTreeSet<JobCode>,
}

#[derive(Clone, Debug)]
pub struct SimWorker {
    pub id: WorkerId,
    pub kind: Kind,
    slots: u32,
    capacity: u32,
    /// Slots that it does not offer, since it is short of memory.
    closed: u32,
    /// How many times slower than the fastest.
    slowness: u64,
    /// And when it comes.
    pub fate: (Millis, Fate),
    pub alive: bool,
    pub hangs_until: Millis,
    pub cut_off_until: Millis,
    pub draining: bool,
    /// A drain lets what runs come to its end.
    finishes: bool,
    pub held: Vec<Held>,
    /// Stopped in the middle: it comes to their end all the same.
    pub lingering: Vec<Order>,
    pub results: Vec<AttemptResult>,
    /// Whatever it does fails, by its own fault.
    pub sick: bool,
    seq: u64,
    in_flight: Option<InFlight>,
}

/// An order, with the files that it says to read.
#[derive(Clone, Debug)]
pub struct Order {
    pub attempt: AttemptId,
    pub family: String,
    pub reads: Vec<String>,
    /// Positions in the split, if it is only to try these.
    pub probe: Option<Range<u32>>,
    /// By object.
    pub condemned: BTreeMap<u32, Quarantined>,
}

#[derive(Clone, Debug)]
pub struct Held {
    pub order: Order,
    pub running: bool,
}

#[derive(Clone, Debug)]
struct InFlight {
    seq: u64,
    carried: Vec<AttemptId>,
}

/// What becomes of a worker.
#[derive(Clone, Copy, Debug)]
pub enum Fate {
    Lives,
    Crashes,
    Hangs {
        until: Millis,
    },
    /// It goes on working, and nobody hears of it.
    CutOff {
        until: Millis,
    },
    Drains,
}

impl SimWorker {
    pub fn draw(id: WorkerId, kind: Kind, random: &mut Random, weather: &Weather, now: Millis) -> Self {
        let slots = random.between(1, 3) as u32;
        let comes_at = now + random.between(0, 40_000);
        let until = comes_at + random.between(1000, 60_000);
        let fate = match random.between(0, 3) {
            _ if !random.per_mille(weather.fate) => Fate::Lives,
            0 => Fate::Crashes,
            1 => Fate::Hangs { until },
            2 => Fate::CutOff { until },
            _ => Fate::Drains,
        };
        Self {
            id,
            kind,
            slots,
            capacity: slots + random.between(0, 3) as u32,
            closed: 0,
            slowness: *random.pick(&[1, 1, 1, 3, 20]),
            fate: (comes_at, fate),
            alive: true,
            hangs_until: 0,
            cut_off_until: 0,
            draining: false,
            finishes: comes_at.is_multiple_of(2),
            held: Vec::new(),
            lingering: Vec::new(),
            results: Vec::new(),
            sick: random.per_mille(weather.sick),
            seq: 0,
            in_flight: None,
        }
    }

    /// Says everything it has to say, again if need be. A poll that is under way is given up.
    pub fn poll(&mut self) -> Poll {
        self.seq += 1;
        let carried = self.results.iter().map(|result| result.attempt.clone()).collect();
        self.in_flight = Some(InFlight { seq: self.seq, carried });
        Poll {
            worker: self.id.clone(),
            seq: self.seq,
            slots: self.slots - self.closed,
            capacity: if self.closed == 0 { self.capacity } else { self.slots - self.closed },
            families: self.kind.families.clone(),
            jobs: self.kind.jobs.clone(),
            draining: self.draining,
            held: self.held.iter().map(|held| held.order.attempt.clone()).collect(),
            lingers: !self.lingering.is_empty(),
            results: self.results.clone(),
        }
    }

    /// Whether that poll is still without its answer.
    pub fn waits_for(&self, seq: u64) -> bool {
        self.in_flight.as_ref().is_some_and(|poll| poll.seq == seq)
    }

    /// Takes an answer, unless it is one that it has given up on.
    pub fn take(&mut self, seq: u64, orders: Vec<Order>, stop: &[AttemptId]) -> bool {
        if !self.waits_for(seq) {
            return false;
        }
        let carried = self.in_flight.take().expect("it waits").carried;
        self.results.retain(|result| !carried.contains(&result.attempt));
        let stopped = self.held.extract_if(.., |held| stop.contains(&held.order.attempt));
        self.lingering.extend(stopped.filter(|held| held.running).map(|held| held.order));
        self.held.extend(orders.into_iter().map(|order| Held { order, running: false }));
        true
    }

    /// Starts what its slots have room for and returns it, with how long each takes.
    pub fn start(&mut self, random: &mut Random) -> Vec<(AttemptId, Millis)> {
        let running = self.held.iter().filter(|held| held.running).count();
        let free = ((self.slots - self.closed) as usize).saturating_sub(running + self.lingering.len());
        let mut started = Vec::new();
        for held in self.held.iter_mut().filter(|held| !held.running).take(free) {
            held.running = true;
            started.push((held.order.attempt.clone(), random.between(20, 1500) * self.slowness));
        }
        started
    }

    /// Lets go of an attempt that is over, with whether anybody still wants to know.
    pub fn finish(&mut self, attempt: &AttemptId) -> Option<(Order, bool)> {
        if let Some(position) = self.lingering.iter().position(|order| order.attempt == *attempt) {
            return Some((self.lingering.remove(position), false));
        }
        let position = self.held.iter().position(|held| held.running && held.order.attempt == *attempt)?;
        Some((self.held.remove(position).order, true))
    }

    /// It is short of memory: what waits for a slot is given up, and it offers a slot less; or it no longer is.
    pub fn runs_short(&mut self, short: bool) -> Vec<AttemptId> {
        if !short {
            self.closed = self.closed.saturating_sub(1);
            return Vec::new();
        }
        self.closed = (self.closed + 1).min(self.slots - 1);
        let mut given_up = Vec::new();
        for Held { order, .. } in self.held.extract_if(.., |held| !held.running) {
            given_up.push(order.attempt.clone());
            let outcome = Err(Failure::new(FailureClass::OutOfMemory, "there is no room"));
            self.results.push(AttemptResult {
                attempt: order.attempt,
                kernel_family: order.family,
                outcome,
                asked: Default::default(),
            });
        }
        given_up
    }

    pub fn drain(&mut self) {
        self.draining = true;
        let finishes = self.finishes;
        for held in self.held.extract_if(.., |held| !(finishes && held.running)) {
            if held.running {
                self.lingering.push(held.order.clone());
            }
            let outcome = Err(Failure::new(FailureClass::WorkerLost, "handed back"));
            let Order { attempt, family: kernel_family, .. } = held.order;
            self.results.push(AttemptResult { attempt, kernel_family, outcome, asked: Default::default() });
        }
    }

    /// Whether nothing keeps a draining worker.
    pub fn may_leave(&self) -> bool {
        self.draining && self.held.is_empty() && self.results.is_empty() && self.in_flight.is_none()
    }
}
