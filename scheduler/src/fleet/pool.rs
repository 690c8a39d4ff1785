//! A pool: workers that are the same to a job, indexed by how much room they have.

use super::{Worker, WorkerNo};
use std::cmp::Reverse;
use std::collections::BTreeSet;

/// What a lease would take: a slot that is free now, or a place in the queue behind the slots.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Room {
    Slot,
    Ahead,
}

/// Workers of one program that have one family and are in touch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Pool {
    with_slot: BTreeSet<(Reverse<u32>, WorkerNo)>,
    with_ahead: BTreeSet<(Reverse<u32>, WorkerNo)>,
    takers: BTreeSet<WorkerNo>,
    pub live: u32,
    /// Slots of those that take work.
    pub slots: u64,
    /// Those of them that would use this family by themselves.
    pub firsts: u32,
}

impl Pool {
    fn with(&self, room: Room) -> &BTreeSet<(Reverse<u32>, WorkerNo)> {
        match room {
            Room::Slot => &self.with_slot,
            Room::Ahead => &self.with_ahead,
        }
    }

    /// Of those that may, the one with most room, with how much that is.
    pub fn first(&self, room: Room, may: impl Fn(WorkerNo) -> bool) -> Option<(Reverse<u32>, WorkerNo)> {
        self.with(room).iter().copied().find(|(_, worker)| may(*worker))
    }

    /// Whether another worker than that one takes work.
    pub fn has_others(&self, worker: WorkerNo) -> bool {
        self.takers.len() > usize::from(self.takers.contains(&worker))
    }

    pub fn takes_work(&self) -> bool {
        !self.takers.is_empty()
    }

    pub fn has(&self, room: Room) -> bool {
        !self.with(room).is_empty()
    }

    /// `first`: it would use this family by itself.
    pub(super) fn enter(&mut self, number: WorkerNo, worker: &Worker, first: bool) {
        self.live += 1;
        if worker.takes_work() {
            self.takers.insert(number);
            self.slots += u64::from(worker.slots);
            self.firsts += u32::from(first);
        }
        let (slot, ahead) = (worker.room(Room::Slot), worker.room(Room::Ahead));
        if slot > 0 {
            self.with_slot.insert((Reverse(slot), number));
        }
        if ahead > 0 {
            self.with_ahead.insert((Reverse(ahead), number));
        }
    }

    /// What [`enter`](Self::enter) has done, undone: the worker is as it was then.
    pub(super) fn leave(&mut self, number: WorkerNo, worker: &Worker, first: bool) {
        self.live -= 1;
        if self.takers.remove(&number) {
            self.slots -= u64::from(worker.slots);
            self.firsts -= u32::from(first);
        }
        self.with_slot.remove(&(Reverse(worker.room(Room::Slot)), number));
        self.with_ahead.remove(&(Reverse(worker.room(Room::Ahead)), number));
    }
}
