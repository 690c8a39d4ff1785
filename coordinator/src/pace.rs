//! One rate for the whole cluster: what all processes together may ask of a store that throttles, and each one's share.
//!
//! Pure: what processes counted comes in with the time, shares go out. Nothing here is worth a journal, since a coordinator
//! that starts anew learns it again within seconds, and until then each process keeps to what it found out by itself.

use mr_core::{StoreAnswers, StoreShare, StoreUsage};
use mr_storage::pace::{FLOOR, Governor};
use std::collections::BTreeMap;
use std::time::Duration;

/// How long a cut is given to show: processes hear of it with their next poll, and the coordinator of how it went with the
/// one after, 400 ms each.
const WINDOW: Duration = Duration::from_secs(1);
/// Who has asked nothing of a place for so long leaves its share to the others.
const IDLE: Duration = Duration::from_secs(5);
/// How often it is counted who asks.
const COUNT_EVERY: Duration = Duration::from_millis(250);

/// Time is given to it as the time since some fixed start.
#[derive(Debug)]
pub struct Pace {
    /// A process that is silent for so long is gone.
    silent_max: Duration,
    processes: BTreeMap<String, Process>,
    places: BTreeMap<String, Place>,
    counted_at: Duration,
}

#[derive(Debug)]
struct Process {
    slots: u32,
    heard_at: Duration,
}

#[derive(Debug)]
struct Place {
    governor: Governor,
    asking: BTreeMap<String, Asking>,
    /// Of those that asked lately.
    slots: u64,
}

/// What a process said last of a place.
#[derive(Debug)]
struct Asking {
    answers: StoreAnswers,
    asked_at: Duration,
}

impl Pace {
    pub fn new(silent_max: Duration) -> Self {
        Self { silent_max, processes: BTreeMap::new(), places: BTreeMap::new(), counted_at: Duration::ZERO }
    }

    /// Takes in how stores have answered a process since it started. What is said twice, or late, changes nothing.
    pub fn hear(&mut self, now: Duration, process: &str, slots: u32, usage: &[StoreUsage]) {
        // When the first counts of a process happened is not known.
        let new = !self.processes.contains_key(process);
        let known = self.processes.entry(process.to_owned()).or_insert(Process { slots, heard_at: now });
        // A coordinator and a worker may be one process.
        (known.slots, known.heard_at) = (known.slots.max(slots), now);
        for StoreUsage { place, answers } in usage {
            let place = self.places.entry(place.clone()).or_insert_with(Place::new);
            place.hear(now, process, *answers, new);
        }
        if now >= self.counted_at + COUNT_EVERY {
            self.count(now);
        }
    }

    /// What a process may ask of each place that has a limit.
    pub fn shares(&self, now: Duration, process: &str) -> Vec<StoreShare> {
        let Some(Process { slots, .. }) = self.processes.get(process) else { return Vec::new() };
        let slots = u64::from(*slots);
        let share = |(name, place): (&String, &Place)| {
            let rate = place.governor.rate(now)?;
            // Who does not ask yet gets what it would get if it did.
            let asks = place.asking.get(process).is_some_and(|asking| asking.lately(now));
            let all = if asks { place.slots.max(slots) } else { place.slots + slots };
            let requests_per_second = (rate * slots as f64 / all as f64).max(FLOOR);
            Some(StoreShare { place: name.clone(), requests_per_second })
        };
        self.places.iter().filter_map(share).collect()
    }

    fn count(&mut self, now: Duration) {
        self.counted_at = now;
        let silent_max = self.silent_max;
        self.processes.retain(|_, process| now.saturating_sub(process.heard_at) < silent_max);
        let processes = &self.processes;
        for place in self.places.values_mut() {
            place.asking.retain(|process, _| processes.contains_key(process));
            let asking = place.asking.iter().filter(|(_, asking)| asking.lately(now));
            place.slots = asking.map(|(process, _)| u64::from(processes[process].slots)).sum();
        }
        self.places.retain(|_, place| !place.asking.is_empty());
    }
}

impl Place {
    fn new() -> Self {
        Self { governor: Governor::new(WINDOW), asking: BTreeMap::new(), slots: 0 }
    }

    fn hear(&mut self, now: Duration, process: &str, answers: StoreAnswers, new: bool) {
        let before = match self.asking.get(process) {
            Some(asking) => asking.answers,
            None if new => answers,
            None => StoreAnswers::default(),
        };
        let news = StoreAnswers {
            accepted: answers.accepted.saturating_sub(before.accepted),
            throttled: answers.throttled.saturating_sub(before.throttled),
        };
        if news != StoreAnswers::default() || new {
            self.asking.insert(process.to_owned(), Asking { answers, asked_at: now });
            self.governor.note(now, news);
        }
    }
}

impl Asking {
    fn lately(&self, now: Duration) -> bool {
        now.saturating_sub(self.asked_at) < IDLE
    }
}

#[cfg(test)]
mod sim;

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: f64) -> Duration {
        Duration::from_secs_f64(seconds)
    }

    fn usage(accepted: u64, throttled: u64) -> [StoreUsage; 1] {
        [StoreUsage { place: "bucket".into(), answers: StoreAnswers { accepted, throttled } }]
    }

    fn share(pace: &Pace, now: f64, process: &str) -> f64 {
        let shares = pace.shares(at(now), process);
        assert!(shares.iter().all(|share| share.place == "bucket"));
        shares.first().map_or(f64::INFINITY, |share| share.requests_per_second)
    }

    /// Two processes with one and three slots, each a hundred a second, until one is throttled at 10 s.
    fn throttled() -> Pace {
        let mut pace = Pace::new(at(15.0));
        for tenth in 0..=100_u32 {
            let (now, accepted) = (f64::from(tenth) / 10.0, u64::from(tenth) * 10);
            pace.hear(at(now), "small", 1, &usage(accepted, 0));
            pace.hear(at(now), "large", 3, &usage(accepted, 0));
            assert_eq!(share(&pace, now, "small"), f64::INFINITY);
        }
        pace.hear(at(10.3), "small", 1, &usage(1030, 1));
        pace
    }

    #[test]
    fn one_that_is_throttled_slows_all_by_their_slots() {
        let pace = throttled();
        let (small, large) = (share(&pace, 10.3, "small"), share(&pace, 10.3, "large"));
        assert!((small + large - 140.0).abs() < 5.0, "{small} and {large} a second");
        assert!((large / small - 3.0).abs() < 0.01);
        assert_eq!(share(&pace, 80.0, "small"), f64::INFINITY, "it is forgotten by and by");
        assert_eq!(share(&pace, 10.3, "stranger"), f64::INFINITY);
    }

    #[test]
    fn what_was_said_is_not_counted_again() {
        let mut pace = throttled();
        let before = share(&pace, 12.0, "large");
        for _ in 0..100 {
            pace.hear(at(12.0), "small", 1, &usage(1030, 1));
            pace.hear(at(12.0), "small", 1, &usage(900, 0));
        }
        assert_eq!(share(&pace, 12.0, "large"), before);
        // What happened before a process was first heard, another coordinator has dealt with.
        pace.hear(at(12.0), "new", 1, &usage(5000, 70));
        assert!(share(&pace, 12.0, "large") > before * 0.7);
    }

    #[test]
    fn who_asks_nothing_leaves_its_share_and_has_it_when_it_asks() {
        let mut pace = throttled();
        for tenth in 103..200_u32 {
            let now = f64::from(tenth) / 10.0;
            pace.hear(at(now), "small", 1, &usage(1030, 1));
            pace.hear(at(now), "large", 3, &usage(1000 + u64::from(tenth), 0));
        }
        let (rate, large) =
            (pace.places["bucket"].governor.rate(at(19.9)).expect("limited"), share(&pace, 19.9, "large"));
        assert!((large / rate - 1.0).abs() < 0.01, "{large} of {rate}");
        assert!((share(&pace, 19.9, "small") / rate - 0.25).abs() < 0.01);
    }

    #[test]
    fn who_is_silent_is_gone() {
        let mut pace = throttled();
        for second in 11..40_u32 {
            pace.hear(at(f64::from(second)), "large", 3, &usage(1000 + u64::from(second), 0));
        }
        assert_eq!(pace.processes.len(), 1);
        assert_eq!(pace.places["bucket"].asking.len(), 1);
        pace.hear(at(80.0), "other", 1, &[]);
        pace.hear(at(96.0), "other", 1, &[]);
        assert_eq!(pace.places.len(), 0);
    }
}
