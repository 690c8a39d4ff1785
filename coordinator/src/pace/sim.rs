//! Workers against a store that bears so many requests a second, with the pacers and the governor that really decide.
//! Time goes by in milliseconds and a seed decides everything.

use super::*;
use mr_storage::pace::{Pacer, Ticket};
use std::collections::VecDeque;

const LATENCY_MS: u64 = 20;
const POLL_MS: u64 = 400;
/// Requests in flight of one worker.
const IN_FLIGHT: u64 = 64;

/// Takes `bears` requests a second, and a tenth of a second's or a handful at once.
struct Store {
    bears: f64,
    tokens: f64,
}

impl Store {
    fn millisecond(&mut self) {
        self.tokens = (self.tokens + self.bears / 1000.0).min((self.bears / 10.0).max(5.0));
    }

    fn takes(&mut self) -> bool {
        let takes = self.tokens >= 1.0;
        self.tokens -= if takes { 1.0 } else { 0.0 };
        takes
    }
}

struct Worker {
    name: String,
    slots: u32,
    /// Requests a second that it would like to make.
    wants: f64,
    wanting: f64,
    pacer: Pacer,
    waiting: Option<Ticket>,
    /// When each answer comes, and whether the request was taken.
    answers: VecDeque<(u64, bool)>,
    /// On its way with an answer to a poll.
    allotted: Option<(u64, Option<f64>)>,
    polls_at: u64,
    done: u64,
}

struct World {
    ms: u64,
    chance: u64,
    store: Store,
    pace: Pace,
    workers: Vec<Worker>,
    /// Workers that reach their coordinator.
    connected: bool,
    taken: u64,
    throttled: u64,
}

fn now(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

impl World {
    /// Workers of these slots, which together want so many times what the store bears.
    fn new(seed: u64, bears: f64, slots: &[u32], times: f64) -> Self {
        let all: u32 = slots.iter().sum();
        let worker = |(index, &slots): (usize, &u32)| Worker {
            name: index.to_string(),
            slots,
            wants: bears * times * f64::from(slots) / f64::from(all),
            wanting: 0.0,
            pacer: Pacer::default(),
            waiting: None,
            answers: VecDeque::new(),
            allotted: None,
            polls_at: (index as u64 * 67) % POLL_MS,
            done: 0,
        };
        Self {
            ms: 0,
            chance: seed,
            store: Store { bears, tokens: bears / 10.0 },
            pace: Pace::new(Duration::from_secs(15)),
            workers: slots.iter().enumerate().map(worker).collect(),
            connected: true,
            taken: 0,
            throttled: 0,
        }
    }

    /// Lets time go by, and says how many requests a second were taken and throttled in it.
    fn run(&mut self, seconds: u64) -> (f64, f64) {
        (self.taken, self.throttled) = (0, 0);
        self.workers.iter_mut().for_each(|worker| worker.done = 0);
        for _ in 0..seconds * 1000 {
            self.millisecond();
        }
        (self.taken as f64 / seconds as f64, self.throttled as f64 / seconds as f64)
    }

    fn millisecond(&mut self) {
        self.ms += 1;
        self.store.millisecond();
        // Nobody is always first.
        self.chance = self.chance.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let (first, count) = ((self.chance >> 33) as usize, self.workers.len());
        for index in 0..count {
            self.work((first + index) % count);
        }
    }

    fn work(&mut self, index: usize) {
        let (ms, worker) = (self.ms, &mut self.workers[index]);
        while worker.answers.front().is_some_and(|(at, _)| *at <= ms) {
            let (_, taken) = worker.answers.pop_front().expect("looked at");
            let answers = StoreAnswers { accepted: u64::from(taken), throttled: u64::from(!taken) };
            worker.pacer.note(now(ms), answers);
            worker.done += answers.accepted;
            // What was refused is wanted still.
            worker.wanting += answers.throttled as f64;
        }
        if let Some((at, rate)) = worker.allotted.filter(|(at, _)| *at <= ms) {
            worker.pacer.allot(now(at), rate);
            worker.allotted = None;
        }
        worker.wanting = (worker.wanting + worker.wants / 1000.0).min(10_000.0);
        while worker.wanting >= 1.0 && (worker.answers.len() as u64) < IN_FLIGHT {
            let ticket = *worker.waiting.get_or_insert_with(|| worker.pacer.queue(now(ms)));
            if worker.pacer.ready(now(ms), ticket).is_err() {
                break;
            }
            worker.waiting = None;
            worker.wanting -= 1.0;
            let taken = self.store.takes();
            self.taken += u64::from(taken);
            self.throttled += u64::from(!taken);
            worker.answers.push_back((ms + LATENCY_MS, taken));
        }
        if self.connected && worker.polls_at <= ms {
            // Answered when the next is due, as polls wait at the coordinator.
            worker.polls_at = ms + POLL_MS;
            let usage = [StoreUsage { place: "bucket".into(), answers: worker.pacer.answers() }];
            self.pace.hear(now(ms), &worker.name, worker.slots, &usage);
            let share = self.pace.shares(now(ms), &worker.name).first().map(|share| share.requests_per_second);
            worker.allotted = Some((ms + LATENCY_MS, share));
        }
    }

    fn unlimited(&self) -> usize {
        self.workers.iter().filter(|worker| worker.pacer.rate(now(self.ms)).is_none()).count()
    }

    /// The least and the most that a slot got done, as parts of the average.
    fn spread(&self) -> (f64, f64) {
        let each: Vec<_> = self.workers.iter().map(|worker| worker.done as f64 / f64::from(worker.slots)).collect();
        let average = each.iter().sum::<f64>() / each.len() as f64;
        let least = each.iter().copied().fold(f64::INFINITY, f64::min);
        (least / average, each.iter().copied().fold(0.0, f64::max) / average)
    }
}

#[test]
fn all_together_come_near_to_what_the_store_bears() {
    for (seed, bears, workers) in [(1, 100.0, 3), (2, 500.0, 20), (3, 3500.0, 10), (4, 3500.0, 40), (5, 5500.0, 100)] {
        let mut world = World::new(seed, bears, &vec![2; workers], 5.0);
        let (taken, _) = world.run(10);
        assert!(taken > 0.7 * bears, "{workers} workers begin with {taken} of {bears} a second");
        let (taken, throttled) = world.run(120);
        let (least, most) = world.spread();
        println!(
            "{workers} workers: {taken:.0} of {bears} a second, {throttled:.2} throttled, {least:.3} to {most:.3}"
        );
        assert!(taken > 0.9 * bears, "{workers} workers get {taken} of {bears} a second");
        assert!(throttled < 0.01 * bears, "{workers} workers are throttled {throttled} times a second at {bears}");
        assert!(least > 0.95 && most < 1.05, "a slot gets {least} to {most} of the average");
    }
}

#[test]
fn few_requests_are_enough_for_a_store_that_bears_few() {
    let mut world = World::new(6, 15.0, &[4, 4], 3.0);
    world.run(20);
    let (taken, throttled) = world.run(120);
    assert!(taken > 10.0, "{taken} a second");
    assert!(throttled < 1.5, "{throttled} a second");
}

#[test]
fn shares_go_by_slots() {
    let mut world = World::new(7, 1000.0, &[1, 2, 4, 8, 16], 4.0);
    world.run(20);
    let (taken, _) = world.run(60);
    let (least, most) = world.spread();
    assert!(taken > 800.0 && least > 0.8 && most < 1.25, "{taken} a second; a slot gets {least} to {most}");
}

#[test]
fn what_some_do_not_ask_for_others_get() {
    let mut world = World::new(8, 1000.0, &[2; 10], 5.0);
    world.workers[3..].iter_mut().for_each(|worker| worker.wants = 0.0);
    world.run(30);
    let (taken, _) = world.run(60);
    assert!(taken > 800.0, "{taken} a second");
    // And who begins late gets its part.
    world.workers[9].wants = 2000.0;
    world.run(20);
    world.run(30);
    let parts = world.workers[9].done as f64 / world.taken as f64;
    assert!((0.15..0.35).contains(&parts), "one of four gets {parts}");
}

#[test]
fn who_asks_for_less_than_the_store_bears_is_left_alone() {
    let mut world = World::new(9, 1000.0, &[2; 10], 0.5);
    let (taken, throttled) = world.run(60);
    assert!((taken - 500.0).abs() < 5.0 && throttled == 0.0, "{taken} and {throttled}");
    assert_eq!(world.unlimited(), 10);
}

#[test]
fn a_limit_that_is_lifted_is_forgotten_within_a_calm_minute() {
    let mut world = World::new(10, 200.0, &[2; 10], 5.0);
    world.run(30);
    assert_eq!(world.unlimited(), 0);
    // The store has spread the load, as S3 does, and bears more than anyone wants.
    world.store.bears = 100_000.0;
    let (taken, _) = world.run(15);
    assert!(taken > 400.0, "{taken} a second: it takes no minute to notice");
    let (taken, throttled) = world.run(50);
    assert!(taken > 950.0 && throttled == 0.0, "{taken} and {throttled}");
    assert_eq!(world.unlimited(), 10);
}

#[test]
fn a_store_that_bears_less_than_before_is_soon_asked_less() {
    let mut world = World::new(11, 2000.0, &[2; 20], 5.0);
    world.run(30);
    world.store.bears = 200.0;
    world.run(5);
    let (taken, throttled) = world.run(60);
    assert!(taken > 150.0 && throttled < 20.0, "{taken} and {throttled}");
}

#[test]
fn without_a_coordinator_each_finds_its_own_way() {
    let mut world = World::new(12, 500.0, &[2; 10], 5.0);
    world.run(20);
    world.connected = false;
    world.run(30);
    let (taken, throttled) = world.run(60);
    assert!(taken > 350.0 && throttled < 100.0, "{taken} and {throttled}");
    world.connected = true;
    world.run(20);
    let (taken, throttled) = world.run(60);
    assert!(taken > 400.0 && throttled < 25.0, "{taken} and {throttled}");
}
