//! Workers: who is in touch, what each has, and who has room.
//!
//! Workers of one program that have a kernel family make a pool, and a worker may be in several. A pool knows its workers
//! with a free slot and those that would fetch ahead, most room first, so that finding one takes no walk over the fleet.
//! Programs are told apart by the jobs that they have; a fleet has one, or two while it is renewed.

mod eligible;
mod pool;
mod registry;

pub(crate) use eligible::Eligible;
pub(crate) use pool::Room;

use crate::event::{Millis, Poll};
use mr_core::{AttemptId, JobCode, WorkerId};
use pool::Pool;
use registry::Registry;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// A worker, by the order in which they came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct WorkerNo(u64);

/// For how many leases' time a worker that is gone is remembered, so that its old messages are known as old.
const REMEMBERED_LEASES: Millis = 20;

#[derive(Clone, Debug)]
pub(crate) struct Worker {
    pub id: WorkerId,
    pub seq: u64,
    pub slots: u32,
    pub capacity: u32,
    pub families: Arc<[Arc<str>]>,
    registry: Registry,
    pub draining: bool,
    pub presence: Presence,
    /// It fails much: until then it is given nothing, if there are others.
    aside_until: Option<Millis>,
    /// Failures since its last success.
    failed_in_a_row: u32,
    /// How often it has been set aside since then, so that each time is longer.
    asides: u32,
    pace: Pace,
    /// What it has it has for itself.
    probes: bool,
    /// It may be at work on what is not, or no longer, leased to it.
    strays: bool,
    leases: BTreeMap<AttemptId, Granted>,
    /// How many of them have begun.
    at_work: u32,
    /// What it had when it was lost, while it is gone.
    lost: Vec<AttemptId>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Granted {
    /// The place in the order in which they were given, in which a worker begins them.
    pub order: u64,
    /// Whether it is in a slot, if the worker does as it should.
    begun: bool,
}

/// How long its tasks have taken of late, and how long their siblings took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Pace {
    spent_ms: Millis,
    usual_ms: Millis,
}

impl Pace {
    /// What is older counts less and less.
    fn note(&mut self, spent_ms: Millis, usual_ms: Millis) {
        let faded = |sum: Millis| sum - sum / 4;
        self.spent_ms = faded(self.spent_ms).saturating_add(spent_ms);
        self.usual_ms = faded(self.usual_ms).saturating_add(usual_ms);
    }

    fn slow(self) -> bool {
        self.spent_ms > self.usual_ms.saturating_mul(2)
    }

    /// How long it would take for what others do in `usual_ms`.
    fn takes(self, usual_ms: Millis) -> Millis {
        let takes = u128::from(usual_ms) * u128::from(self.spent_ms) / u128::from(self.usual_ms.max(1));
        Millis::try_from(takes).unwrap_or(Millis::MAX)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Presence {
    Live { until: Millis },
    Gone { remembered_until: Millis },
}

impl Worker {
    pub fn live(&self) -> bool {
        match self.presence {
            Presence::Live { .. } => true,
            Presence::Gone { .. } => false,
        }
    }

    /// What its program has.
    pub fn jobs(&self) -> &BTreeSet<JobCode> {
        self.registry.jobs()
    }

    pub fn leases(&self) -> &BTreeMap<AttemptId, Granted> {
        &self.leases
    }

    /// What was given first goes into free slots first.
    fn begin(&mut self, begun: &mut Vec<AttemptId>) {
        while self.at_work < self.slots && (self.at_work as usize) < self.leases.len() {
            let queue = self.leases.iter_mut().filter(|(_, granted)| !granted.begun);
            let (attempt, granted) =
                queue.min_by_key(|(_, granted)| granted.order).expect("fewer have begun than there are");
            granted.begun = true;
            begun.push(attempt.clone());
            self.at_work += 1;
        }
    }

    /// How long it takes for what others do in `usual_ms`, as it has gone of late.
    pub fn takes(&self, usual_ms: Millis) -> Millis {
        self.pace.takes(usual_ms)
    }

    /// Whether it is given anything at all.
    pub fn takes_work(&self) -> bool {
        self.could_work() && self.aside_until.is_none()
    }

    fn could_work(&self) -> bool {
        self.live() && !self.draining && self.slots > 0
    }

    /// Whether it has nothing to do, as far as anyone can know: what it still does unbidden might kill it too.
    pub fn is_idle(&self) -> bool {
        self.leases.is_empty() && !self.strays
    }

    pub fn has_slot(&self) -> bool {
        self.room(Room::Slot) > 0
    }

    fn room(&self, room: Room) -> u32 {
        let most = match room {
            Room::Slot => self.slots,
            Room::Ahead => self.capacity,
        };
        if self.takes_work() && !self.probes { most.saturating_sub(self.leases.len() as u32) } else { 0 }
    }
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Fleet {
    workers: BTreeMap<WorkerNo, Worker>,
    numbers: BTreeMap<WorkerId, WorkerNo>,
    pools: BTreeMap<Arc<str>, BTreeMap<Registry, Pool>>,
    live: u32,
    /// How many in touch are of each program.
    programs: BTreeMap<Registry, u32>,
    /// When each is to be lost or forgotten.
    deadlines: BTreeSet<(Millis, WorkerNo)>,
    /// When each that is set aside comes back.
    asides: BTreeSet<(Millis, WorkerNo)>,
    /// Those that take more than twice as long as others.
    slow: BTreeSet<WorkerNo>,
    /// Attempts that have begun since somebody last asked.
    begun: Vec<AttemptId>,
    next_worker: u64,
    next_lease: u64,
}

/// Failures in a row that set a worker aside, for how long the first time, and at most.
const FAILURES_ASIDE: u32 = 3;
const ASIDE_MS: Millis = 30_000;
const ASIDE_MAX_MS: Millis = 600_000;

impl Fleet {
    pub fn find(&self, id: &WorkerId) -> Option<WorkerNo> {
        self.numbers.get(id).copied()
    }

    pub fn worker(&self, number: WorkerNo) -> &Worker {
        &self.workers[&number]
    }

    pub fn live(&self) -> impl Iterator<Item = (WorkerNo, &Worker)> {
        self.workers.iter().map(|(number, worker)| (*number, worker)).filter(|(_, worker)| worker.live())
    }

    /// Those that somebody in touch has.
    pub fn families(&self) -> impl Iterator<Item = &Arc<str>> {
        self.pools.keys()
    }

    /// Who of that family has the job; `None`: any job.
    pub fn eligible<'a>(&'a self, family: &str, code: Option<&'a JobCode>) -> Eligible<'a> {
        Eligible::new(self, family, code)
    }

    pub fn live_count(&self) -> u32 {
        self.live
    }

    /// Workers in touch whose program does not have that job.
    pub fn live_without(&self, code: &JobCode) -> u32 {
        self.programs.iter().filter(|(registry, _)| !registry.jobs().contains(code)).map(|(_, live)| live).sum()
    }

    pub fn takes_work(&self) -> bool {
        self.pools.values().flat_map(BTreeMap::values).any(Pool::takes_work)
    }

    pub fn next_deadline(&self) -> Option<Millis> {
        let aside = self.asides.first().map(|(at, _)| *at);
        self.deadlines.first().map(|(at, _)| *at).into_iter().chain(aside).min()
    }

    /// An attempt of this worker has failed by its own fault or its task's. One that fails again and again is set aside for
    /// a while, if another does not: its disk may be full, or its memory bad.
    pub fn failed(&mut self, number: WorkerNo, now: Millis) {
        let worker = self.workers.get_mut(&number).expect("numbers are of workers");
        worker.failed_in_a_row += 1;
        let worker = &self.workers[&number];
        if worker.failed_in_a_row < FAILURES_ASIDE || worker.aside_until.is_some() || !self.can_be_spared(number) {
            return;
        }
        let until = now.saturating_add(ASIDE_MS.saturating_mul(1 << worker.asides.min(10)).min(ASIDE_MAX_MS));
        self.change(number, |worker| {
            worker.aside_until = Some(until);
            worker.asides += 1;
            worker.failed_in_a_row = 0;
        });
        self.asides.insert((until, number));
    }

    /// One that has done something right is as good as any.
    pub fn succeeded(&mut self, number: WorkerNo) {
        let worker = self.workers.get_mut(&number).expect("numbers are of workers");
        (worker.failed_in_a_row, worker.asides) = (0, 0);
    }

    /// It has taken that long for what others do in `usual_ms`.
    pub fn timed(&mut self, number: WorkerNo, spent_ms: Millis, usual_ms: Millis) {
        let Some(worker) = self.workers.get_mut(&number) else { return };
        worker.pace.note(spent_ms, usual_ms);
        if worker.pace.slow() {
            self.slow.insert(number);
        } else {
            self.slow.remove(&number);
        }
    }

    /// Workers that take more than twice as long as others.
    pub fn slow(&self) -> impl Iterator<Item = (WorkerNo, &Worker)> {
        self.slow.iter().map(|number| (*number, &self.workers[number]))
    }

    /// Takes those back whose time is over.
    pub fn end_asides(&mut self, now: Millis) {
        while let Some(&(at, number)) = self.asides.first().filter(|(at, _)| *at <= now) {
            self.asides.remove(&(at, number));
            if self.workers.get(&number).is_some_and(|worker| worker.aside_until == Some(at)) {
                self.change(number, |worker| worker.aside_until = None);
            }
        }
    }

    /// Whether there is another for each of its families and jobs.
    fn can_be_spared(&self, number: WorkerNo) -> bool {
        let worker = &self.workers[&number];
        let has_other = |family: &str, code| self.eligible(family, Some(code)).has_others(number);
        worker.families.iter().all(|family| worker.jobs().iter().all(|code| has_other(family, code)))
    }

    /// Takes those back that are the only ones left for something: better a bad worker than none.
    pub fn recall(&mut self) {
        let aside: Vec<_> = self.asides.iter().copied().collect();
        for (at, number) in aside {
            let is = self.workers.get(&number).is_some_and(|worker| worker.aside_until == Some(at));
            if is && self.can_be_spared(number) {
                continue;
            }
            self.asides.remove(&(at, number));
            if is {
                self.change(number, |worker| worker.aside_until = None);
            }
        }
    }

    /// What it said it holds and what it said it could not yet let go of, at the end of its poll.
    pub fn note_held(&mut self, number: WorkerNo, held: &[AttemptId], lingers: bool) {
        let worker = self.workers.get_mut(&number).expect("numbers are of workers");
        worker.strays = lingers || held.iter().any(|attempt| !worker.leases.contains_key(attempt));
    }

    /// Takes a lease away from a worker that does not know of it yet. Whether it had it.
    pub fn revoke(&mut self, number: WorkerNo, attempt: &AttemptId) -> bool {
        let had = self.release(number, attempt);
        if had {
            self.workers.get_mut(&number).expect("it had a lease").strays = true;
        }
        had
    }

    /// Whether a poll is an old message that comes late.
    pub fn stale(&self, poll: &Poll) -> bool {
        self.find(&poll.worker).is_some_and(|number| poll.seq <= self.workers[&number].seq)
    }

    /// Registers a worker, or renews what it has.
    pub fn renew(&mut self, poll: &Poll, until: Millis) -> WorkerNo {
        let presence = Presence::Live { until };
        let capacity = poll.capacity.max(poll.slots);
        let (seq, slots, draining) = (poll.seq, poll.slots, poll.draining);
        let known = |family: &String| self.pools.get_key_value(family.as_str()).map(|(family, _)| family.clone());
        let families = poll.families.iter().map(|family| known(family).unwrap_or_else(|| Arc::from(family.as_str())));
        let families: Arc<[_]> = families.collect();
        let program = self.programs.get_key_value(&poll.jobs).map(|(registry, _)| registry.clone());
        let registry = program.unwrap_or_else(|| Registry::new(&poll.jobs));
        match self.find(&poll.worker) {
            Some(number) => {
                self.change(number, |worker| {
                    (worker.seq, worker.slots, worker.capacity) = (seq, slots, capacity);
                    (worker.families, worker.registry) = (families, registry);
                    (worker.draining, worker.presence) = (draining, presence);
                });
                number
            }
            None => {
                self.next_worker += 1;
                let number = WorkerNo(self.next_worker);
                let (id, leases) = (poll.worker.clone(), BTreeMap::new());
                self.numbers.insert(id.clone(), number);
                self.workers.insert(
                    number,
                    Worker {
                        id,
                        seq,
                        slots,
                        capacity,
                        families,
                        registry,
                        draining,
                        presence,
                        aside_until: None,
                        failed_in_a_row: 0,
                        asides: 0,
                        pace: Pace::default(),
                        probes: false,
                        strays: false,
                        leases,
                        at_work: 0,
                        lost: Vec::new(),
                    },
                );
                self.enter(number);
                number
            }
        }
    }

    /// Takes a worker out and returns what it had.
    pub fn lose(&mut self, number: WorkerNo, now: Millis, lease_ms: Millis) -> Vec<AttemptId> {
        let remembered_until = now.saturating_add(lease_ms.saturating_mul(REMEMBERED_LEASES));
        self.change(number, |worker| {
            worker.presence = Presence::Gone { remembered_until };
            worker.probes = false;
            worker.at_work = 0;
            worker.lost = std::mem::take(&mut worker.leases).into_keys().collect();
            worker.lost.clone()
        })
    }

    /// What a worker had when it was lost that now shows that it lives.
    pub fn take_lost(&mut self, number: WorkerNo) -> Vec<AttemptId> {
        let worker = self.workers.get_mut(&number).expect("numbers are of workers");
        std::mem::take(&mut worker.lost)
    }

    /// Forgets a worker that has been gone for long.
    pub fn forget(&mut self, number: WorkerNo) {
        self.leave(number);
        self.slow.remove(&number);
        let worker = self.workers.remove(&number).expect("it has a deadline");
        self.numbers.remove(&worker.id);
    }

    /// Those whose time is over, lost or remembered.
    pub fn overdue(&self, now: Millis) -> Vec<(Millis, WorkerNo)> {
        self.deadlines.iter().take_while(|(at, _)| *at <= now).copied().collect()
    }

    pub fn extend(&mut self, number: WorkerNo, until: Millis) {
        self.change(number, |worker| worker.presence = Presence::Live { until });
    }

    /// `probe`: the worker has it for itself.
    pub fn grant(&mut self, number: WorkerNo, attempt: AttemptId, probe: bool) {
        self.next_lease += 1;
        let order = self.next_lease;
        self.change(number, |worker| {
            worker.leases.insert(attempt, Granted { order, begun: false });
            worker.probes |= probe;
        });
    }

    /// Whether the worker had that lease.
    pub fn release(&mut self, number: WorkerNo, attempt: &AttemptId) -> bool {
        self.workers[&number].leases.contains_key(attempt)
            && self.change(number, |worker| {
                let had = worker.leases.remove(attempt);
                worker.at_work -= u32::from(had.is_some_and(|granted| granted.begun));
                worker.probes &= !worker.leases.is_empty();
                had.is_some()
            })
    }

    fn change<T>(&mut self, number: WorkerNo, change: impl FnOnce(&mut Worker) -> T) -> T {
        self.leave(number);
        let worker = self.workers.get_mut(&number).expect("numbers are of workers");
        let result = change(worker);
        worker.begin(&mut self.begun);
        self.enter(number);
        result
    }

    /// Attempts that have come into a slot since this was called last.
    pub fn take_begun(&mut self) -> Vec<AttemptId> {
        std::mem::take(&mut self.begun)
    }

    /// Into the indexes.
    fn enter(&mut self, number: WorkerNo) {
        let worker = &self.workers[&number];
        let at = match worker.presence {
            Presence::Live { until } => until,
            Presence::Gone { remembered_until } => remembered_until,
        };
        self.deadlines.insert((at, number));
        if !worker.live() {
            return;
        }
        self.live += 1;
        *self.programs.entry(worker.registry.clone()).or_default() += 1;
        for (position, family) in worker.families.iter().enumerate() {
            let pools = self.pools.entry(family.clone()).or_default();
            pools.entry(worker.registry.clone()).or_default().enter(number, worker, position == 0);
        }
    }

    /// Out of the indexes.
    fn leave(&mut self, number: WorkerNo) {
        let worker = &self.workers[&number];
        let at = match worker.presence {
            Presence::Live { until } => until,
            Presence::Gone { remembered_until } => remembered_until,
        };
        self.deadlines.remove(&(at, number));
        if !worker.live() {
            return;
        }
        self.live -= 1;
        let registry = &worker.registry;
        let live = self.programs.get_mut(registry).expect("a live worker's program is known");
        *live -= 1;
        if *live == 0 {
            self.programs.remove(registry);
        }
        for (position, family) in worker.families.iter().enumerate() {
            let pools = self.pools.get_mut(family).expect("a live worker's families are known");
            let pool = pools.get_mut(registry).expect("a live worker is in its pools");
            pool.leave(number, worker, position == 0);
            if pool.live == 0 {
                pools.remove(registry);
            }
            if pools.is_empty() {
                self.pools.remove(family);
            }
        }
    }

    /// What the indexes say against what the workers say.
    pub fn audit(&self) -> Result<(), String> {
        let mut fresh = Self { asides: self.asides.clone(), ..Self::default() };
        let aside = |worker: &Worker, number| worker.aside_until.is_none_or(|at| self.asides.contains(&(at, number)));
        if let Some((number, _)) = self.workers.iter().find(|(number, worker)| !aside(worker, **number)) {
            return Err(format!("{number:?} is set aside for ever"));
        }
        for (number, worker) in &self.workers {
            let at_work = worker.leases.values().filter(|granted| granted.begun).count();
            if at_work != worker.at_work as usize || at_work < worker.leases.len().min(worker.slots as usize) {
                return Err(format!("{number:?} is at {at_work} of {:?}, in {} slots", worker.leases, worker.slots));
            }
            fresh.workers.insert(*number, worker.clone());
            fresh.numbers.insert(worker.id.clone(), *number);
            fresh.enter(*number);
        }
        fn indexes(fleet: &Fleet) -> impl PartialEq + std::fmt::Debug + '_ {
            (&fleet.pools, &fleet.programs, &fleet.numbers, &fleet.deadlines, fleet.live)
        }
        let (is, ought) = (indexes(self), indexes(&fresh));
        if is == ought { Ok(()) } else { Err(format!("the fleet's indexes are {is:?}, but its workers say {ought:?}")) }
    }
}

#[cfg(test)]
mod tests;
