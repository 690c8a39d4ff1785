//! Who may be given a job's tasks: workers of one kernel family whose programs have the job.

use super::pool::{Pool, Room};
use super::registry::Registry;
use super::{Fleet, WorkerNo};
use mr_core::JobCode;
use std::collections::BTreeMap;

/// A view over their pools, of which there are as many as programs.
#[derive(Clone, Copy)]
pub(crate) struct Eligible<'a> {
    fleet: &'a Fleet,
    /// Of the family.
    pools: Option<&'a BTreeMap<Registry, Pool>>,
    /// `None`: any job.
    code: Option<&'a JobCode>,
}

impl<'a> Eligible<'a> {
    pub(super) fn new(fleet: &'a Fleet, family: &str, code: Option<&'a JobCode>) -> Self {
        Self { fleet, pools: fleet.pools.get(family), code }
    }

    fn pools(self) -> impl Iterator<Item = &'a Pool> {
        let has = move |registry: &Registry| self.code.is_none_or(|code| registry.jobs().contains(code));
        self.pools.into_iter().flatten().filter(move |(registry, _)| has(registry)).map(|(_, pool)| pool)
    }

    /// The worker with most room that may have a task which `avoids` another: any but that one, if there is any.
    pub fn roomiest(self, room: Room, avoids: Option<WorkerNo>) -> Option<WorkerNo> {
        let others = avoids.is_some_and(|worker| self.has_others(worker));
        self.first(room, |worker| !others || Some(worker) != avoids)
    }

    /// The same, of those that are not among the slow ones.
    pub fn quick(self, avoids: WorkerNo) -> Option<WorkerNo> {
        self.first(Room::Slot, |worker| worker != avoids && !self.fleet.slow.contains(&worker))
    }

    /// One that has nothing, for what wants a worker for itself.
    pub fn idle(self) -> Option<WorkerNo> {
        self.first(Room::Slot, |worker| self.fleet.workers[&worker].is_idle())
    }

    fn first(self, room: Room, may: impl Fn(WorkerNo) -> bool) -> Option<WorkerNo> {
        self.pools().filter_map(|pool| pool.first(room, &may)).min().map(|(_, worker)| worker)
    }

    /// Whether another worker than that one takes work.
    pub fn has_others(self, worker: WorkerNo) -> bool {
        self.pools().any(|pool| pool.has_others(worker))
    }

    pub fn takes_work(self) -> bool {
        self.pools().any(Pool::takes_work)
    }

    pub fn has(self, room: Room) -> bool {
        self.pools().any(|pool| pool.has(room))
    }

    pub fn live(self) -> u32 {
        self.pools().map(|pool| pool.live).sum()
    }

    /// Slots of those that take work.
    pub fn slots(self) -> u64 {
        self.pools().map(|pool| pool.slots).sum()
    }

    /// Whether one would use this family by itself.
    pub fn is_first(self) -> bool {
        self.pools().any(|pool| pool.firsts > 0)
    }
}
