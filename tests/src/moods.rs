//! A store in a mood: by chance, and a bounded number of times, it refuses, keeps whoever asks waiting, does what it is
//! asked and says it has not, or sends half of a body. Behind it are the points where processes are killed.

use crate::chance::Chance;
use crate::meddle::{After, Answer, Before, Meddler, Operation, Seen};
use crate::points::Points;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Whatever it does, a test's own requests and those of the dead are spared.
#[derive(Debug)]
pub struct Moods {
    pub points: Arc<Points>,
    temper: Mutex<Temper>,
}

#[derive(Debug)]
struct Temper {
    chance: Chance,
    /// One request in so many meets something.
    one_in: u64,
    left: u32,
    met: BTreeMap<String, u32>,
}

impl Moods {
    pub fn new(points: Arc<Points>) -> Self {
        let temper = Temper { chance: Chance(0), one_in: u64::MAX, left: 0, met: BTreeMap::new() };
        Self { points, temper: temper.into() }
    }

    /// From now on, by this chance: one request in `one_in` meets something, `budget` at most.
    pub fn begin(&self, seed: u64, one_in: u64, budget: u32) {
        let temper = Temper { chance: Chance(seed), one_in, left: budget, met: BTreeMap::new() };
        *self.temper.lock().expect("nobody panics while it is held") = temper;
    }

    /// What was met since then, and how often.
    pub fn end(&self) -> BTreeMap<String, u32> {
        let mut temper = self.temper.lock().expect("nobody panics while it is held");
        temper.left = 0;
        std::mem::take(&mut temper.met)
    }

    /// Draws for a request of somebody who is known, of what could happen to it.
    fn meets<T: Clone + std::fmt::Debug>(&self, seen: &Seen, things: &[T]) -> Option<T> {
        if things.is_empty() || !self.points.knows(&seen.client) {
            return None;
        }
        let mut temper = self.temper.lock().expect("nobody panics while it is held");
        let one_in = temper.one_in;
        if temper.left == 0 || temper.chance.below(one_in) > 0 {
            return None;
        }
        let thing = things[temper.chance.below(things.len() as u64) as usize].clone();
        temper.left -= 1;
        *temper.met.entry(format!("{thing:?}")).or_default() += 1;
        Some(thing)
    }
}

impl Meddler for Moods {
    fn before(&self, seen: &Seen) -> Before {
        let reached = self.points.before(seen);
        if reached != Before::Apply {
            return reached;
        }
        let (wait, refuse) = (Before::Wait(Duration::from_millis(300)), Before::Refuse);
        let mut things = vec![wait, refuse(Answer::SlowDown), refuse(Answer::InternalError)];
        if seen.conditional {
            things.push(refuse(Answer::Conflict));
        }
        // These may begin to answer before they know.
        if matches!(seen.operation, Operation::Copy | Operation::Complete) {
            things.extend([Before::RefuseInside(Answer::SlowDown), Before::RefuseInside(Answer::InternalError)]);
        }
        self.meets(seen, &things).unwrap_or(Before::Apply)
    }

    fn after(&self, seen: &Seen) -> After {
        let reached = self.points.after(seen);
        if reached != After::Answer {
            return reached;
        }
        let things = if seen.operation == Operation::Get { &[After::CutBody, After::Lose][..] } else { &[After::Lose] };
        self.meets(seen, things).unwrap_or(After::Answer)
    }
}
