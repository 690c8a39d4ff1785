//! Making room before the system ends the process for want of memory.
//!
//! What waits for a slot is given up first, then what was begun last; both are tried again elsewhere and later. The last one
//! at work goes on whatever happens: if it kills this process, that is how the record is found which does.

use crate::gauge::Gauge;
use std::future;
use std::time::Duration;
use tokio::time::{Instant, sleep_until};

const LOOK_EVERY: Duration = Duration::from_millis(250);
/// After room was made, so that it shows.
const SETTLES: Duration = Duration::from_secs(2);
/// After such a time without want one slot more is offered.
const RECOVERS: Duration = Duration::from_secs(60);

/// How near the limit this process is, and how many attempts it can do with.
pub struct Memory {
    gauge: Gauge,
    look_at: Instant,
    /// 0: as many as ever; 1: none that wait for a slot; beyond that so many slots are closed.
    narrowed: u32,
    widens_at: Instant,
}

impl Memory {
    pub fn new(gauge: Gauge) -> Self {
        let now = Instant::now();
        Self { gauge, look_at: now + LOOK_EVERY, narrowed: 0, widens_at: now }
    }

    /// Returns when memory is short, with what there is to say of that.
    pub async fn is_short(&mut self) -> String {
        if !self.gauge.knows() {
            return future::pending().await;
        }
        loop {
            sleep_until(self.look_at).await;
            self.look_at = Instant::now() + LOOK_EVERY;
            if let Some(story) = self.gauge.short() {
                return story;
            }
        }
    }

    /// Room was made, or none could be. `slots_left`: those that are to be used from now on; `None`: all of them.
    pub fn narrow(&mut self, slots: u32, slots_left: Option<u32>, now: Instant) {
        let closed = slots - slots_left.unwrap_or(slots).clamp(1, slots);
        self.narrowed = self.narrowed.max(1 + closed);
        (self.look_at, self.widens_at) = (now + SETTLES, now + RECOVERS);
    }

    /// How many slots the worker should offer now, and how many attempts it should fetch ahead for.
    pub fn room(&mut self, slots: u32, ahead: u32, now: Instant) -> (u32, u32) {
        if self.narrowed > 0 && self.widens_at <= now {
            self.narrowed -= 1;
            self.widens_at = now + RECOVERS;
        }
        match self.narrowed {
            0 => (slots, ahead),
            narrowed => ((slots + 1).saturating_sub(narrowed).max(1), 0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_fetched_ahead_goes_first_then_slots_and_both_come_back_one_by_one() {
        let mut memory = Memory::new(Gauge::new(Some(1)));
        let mut now = Instant::now();
        assert_eq!(memory.room(4, 4, now), (4, 4));
        memory.narrow(4, None, now);
        assert_eq!(memory.room(4, 4, now), (4, 0));
        memory.narrow(4, Some(2), now);
        memory.narrow(4, None, now);
        assert_eq!(memory.room(4, 4, now), (2, 0), "no room is won by being short again");
        memory.narrow(4, Some(0), now);
        assert_eq!(memory.room(4, 4, now), (1, 0), "one is always left");
        for room in [(1, 0), (2, 0), (3, 0), (4, 0), (4, 4), (4, 4)] {
            assert_eq!(memory.room(4, 4, now), room);
            now += RECOVERS;
        }
    }

    #[tokio::test]
    async fn a_process_that_may_use_nothing_is_short_at_once() {
        let mut memory = Memory::new(Gauge::new(Some(1)));
        let story = tokio::time::timeout(Duration::from_secs(5), memory.is_short()).await.unwrap();
        assert!(story.ends_with("of 0 MB are in use"), "{story}");
    }
}
