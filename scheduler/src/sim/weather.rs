//! How bad things are: chances in a thousand and delays in milliseconds, drawn for each seed.

use super::random::Random;
use crate::event::Millis;

#[derive(Clone, Debug)]
pub struct Weather {
    /// Of messages between workers and the coordinator.
    pub lost: u64,
    pub doubled: u64,
    pub late: u64,
    pub late_max_ms: Millis,
    /// Of attempts.
    pub application: u64,
    pub transient: u64,
    pub out_of_memory: u64,
    pub wrong_books: u64,
    /// Of the store's answers to the coordinator.
    pub store_late: u64,
    /// Of events being told at a time before the last one's.
    pub clock_back: u64,
    /// Of a worker having a bad fate.
    pub fate: u64,
    /// Of all workers of one family being cut off at once, and of the coordinator standing still.
    pub outage: u64,
    pub stall: u64,
    /// How often the coordinator dies.
    pub coordinator_deaths: u64,
    /// Of one that does not die but is cut off from its store, and goes on talking to workers when it has been replaced.
    pub replaced: u64,
    /// Of an attempt saying that an object has changed which has not.
    pub mistaken: u64,
    /// Of a worker being sick.
    pub sick: u64,
    /// How many files the store loses.
    pub vanishing: u64,
    /// Of a worker not finding a file that is there.
    pub blind: u64,
}

impl Weather {
    /// Some seeds have one kind of trouble and some have many.
    pub fn storm(random: &mut Random) -> Self {
        let mut up_to = |most: u64| if random.per_mille(500) { random.between(0, most) } else { 0 };
        Self {
            lost: up_to(200),
            doubled: up_to(200),
            late: up_to(200),
            late_max_ms: 100 + up_to(25_000),
            application: up_to(100),
            transient: up_to(300),
            out_of_memory: up_to(300),
            wrong_books: up_to(60),
            store_late: up_to(500),
            clock_back: up_to(100),
            fate: up_to(900),
            outage: up_to(1000),
            stall: up_to(1000),
            coordinator_deaths: up_to(4),
            replaced: up_to(1000),
            mistaken: up_to(30),
            sick: up_to(150),
            vanishing: up_to(8),
            blind: up_to(100),
        }
    }

    pub fn calm() -> Self {
        Self {
            lost: 0,
            doubled: 0,
            late: 0,
            late_max_ms: 0,
            application: 0,
            transient: 0,
            out_of_memory: 0,
            wrong_books: 0,
            store_late: 0,
            clock_back: 0,
            fate: 0,
            outage: 0,
            stall: 0,
            coordinator_deaths: 0,
            replaced: 0,
            mistaken: 0,
            sick: 0,
            vanishing: 0,
            blind: 0,
        }
    }

    pub fn delay(&self, random: &mut Random) -> Millis {
        if random.per_mille(self.late) { random.between(1, self.late_max_ms) } else { random.between(1, 20) }
    }

    pub fn journal_delay(&self, random: &mut Random) -> Millis {
        if random.per_mille(self.store_late) { random.between(1, 5_000) } else { random.between(0, 60) }
    }

    pub fn store_delay(&self, random: &mut Random) -> Millis {
        if random.per_mille(self.store_late) { random.between(1, 30_000) } else { random.between(5, 200) }
    }
}
