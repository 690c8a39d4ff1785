//! The sort of the MapReduce paper, in simulated time: Dean and Ghemawat, OSDI 2004, section 5.3.
//!
//! Its numbers are taken over: 1,746 machines, 15,000 map tasks, 4,000 reduce tasks one at a time on a machine, 891 s when
//! all goes well. How long a task takes follows from them. All network is free, and reduces begin when the last map is
//! done; they wait for one task of no length, rather than each for all maps, which would be sixty million edges.

use crate::event::{Command, Config, Event, Millis, Poll};
use crate::scheduler::Scheduler;
use crate::sim::random::{Random, mix};
use mr_core::{
    AttemptId, AttemptResult, JobCode, JobId, KernelWish, Limits, TaskGraph, TaskKind, TaskNode, TaskOutput, TaskStage,
    WorkerId,
};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, VecDeque};
use std::sync::Arc;

/// What happens to the machines.
#[derive(Clone, Copy, Debug)]
pub struct Sort {
    /// Which machines are bad, and how long each task takes exactly.
    pub seed: u64,
    pub machines: u32,
    /// So many of them take longer for everything: bad disks and caches that are switched off, says the paper.
    pub slow: u32,
    /// By that many thousandths of the usual time.
    pub slow_mille: u64,
    /// Whether a second attempt is made of what is late.
    pub backups: bool,
    /// So many machines die at once, and don't come back.
    pub killed: u32,
    pub killed_at_ms: Millis,
}

impl Sort {
    /// Nothing is wrong. Whoever is killed dies in the first round of reduces.
    pub const WELL: Self =
        Self { seed: 1, machines: 1746, slow: 0, slow_mille: 1000, backups: true, killed: 0, killed_at_ms: 300_000 };
    /// One machine in a hundred is slow, so much that without backups it all takes 44 % longer, as it did in the paper.
    pub const SLOW: Self = Self { slow: 17, slow_mille: 2230, ..Self::WELL };
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Took {
    /// From the first order to the last result.
    pub millis: Millis,
    /// Attempts that were given, one for each task at least.
    pub attempts: u64,
}

const MAPS: u32 = 15_000;
const REDUCES: u32 = 4_000;
/// Nine rounds of maps and three of reduces make 891 s.
const MAP_MS: u64 = 22_000;
const REDUCE_MS: u64 = 225_000;
/// By how many thousandths a task's time is off from these, either way: they are not all of one size.
const SPREAD_MILLE: u64 = 100;
const FAMILY: &str = "paper";

fn code() -> JobCode {
    JobCode::new("sort", 1)
}

#[derive(Debug)]
struct Machine {
    id: WorkerId,
    seq: u64,
    mille: u64,
    alive: bool,
    /// The first is at work, and has been begun so often that old ends are told from new ones.
    queue: VecDeque<AttemptId>,
    begun: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum What {
    Done { machine: usize, begun: u64 },
    Heartbeat { machine: usize },
    Kill,
}

struct World {
    sort: Sort,
    scheduler: Scheduler,
    machines: Vec<Machine>,
    numbers: BTreeMap<WorkerId, usize>,
    /// With a number, so that what comes first was planned first.
    coming: BinaryHeap<Reverse<(Millis, u64, What)>>,
    planned: u64,
    attempts: u64,
    now: Millis,
    over: bool,
}

/// Runs it to its end.
pub fn run(sort: Sort) -> Took {
    let config = Config::default();
    let backup_after_ms = if sort.backups { config.backup_after_ms } else { Millis::MAX };
    let mut chance = Random::new(sort.seed);
    let mut machines: Vec<_> = (0..sort.machines)
        .map(|number| {
            let id = WorkerId(format!("machine-{number:04}"));
            Machine { id, seq: 0, mille: 1000, alive: true, queue: VecDeque::new(), begun: 0 }
        })
        .collect();
    let mut left = sort.slow;
    while left > 0 {
        let machine = chance.between(0, machines.len() as u64 - 1) as usize;
        left -= u32::from(machines[machine].mille == 1000);
        machines[machine].mille = sort.slow_mille.max(1001);
    }
    let numbers = machines.iter().enumerate().map(|(number, machine)| (machine.id.clone(), number)).collect();
    let mut world = World {
        sort,
        scheduler: Scheduler::new(Config { backup_after_ms, ..config }, 1),
        machines,
        numbers,
        coming: BinaryHeap::new(),
        planned: 0,
        attempts: 0,
        now: 0,
        over: false,
    };
    world.run(config.lease_ms / 3)
}

impl World {
    fn run(&mut self, heartbeat_ms: Millis) -> Took {
        let job = JobId::parse("sort").expect("a fine name");
        let (limits, kernels) = (Limits::default(), KernelWish::default());
        self.handle(Event::Submit { job: job.clone(), code: code(), limits, kernels });
        self.handle(Event::Prepared { job, graph: graph(), split_objects: vec![1; MAPS as usize].into() });
        for machine in 0..self.machines.len() {
            // Not all at the same moment.
            let first = heartbeat_ms * machine as u64 / self.machines.len() as u64;
            self.plan(first, What::Heartbeat { machine });
        }
        if self.sort.killed > 0 {
            self.plan(self.sort.killed_at_ms, What::Kill);
        }
        while !self.over {
            let next = self.coming.peek().map(|Reverse((at, _, _))| *at).expect("somebody lives");
            if let Some(tick) = self.scheduler.next_deadline().filter(|tick| *tick < next) {
                self.now = self.now.max(tick);
                self.handle(Event::Tick);
                continue;
            }
            let Reverse((at, _, what)) = self.coming.pop().expect("looked at above");
            self.now = self.now.max(at);
            match what {
                What::Done { machine, begun } => self.done(machine, begun),
                What::Heartbeat { machine } if self.machines[machine].alive => {
                    self.poll(machine, Vec::new());
                    self.plan(self.now + heartbeat_ms, What::Heartbeat { machine });
                }
                What::Heartbeat { .. } => {}
                What::Kill => self.kill(),
            }
        }
        Took { millis: self.now, attempts: self.attempts }
    }

    fn plan(&mut self, at: Millis, what: What) {
        self.planned += 1;
        self.coming.push(Reverse((at, self.planned, what)));
    }

    fn kill(&mut self) {
        let mut chance = Random::new(self.sort.seed ^ 2);
        let mut left = self.sort.killed.min(self.sort.machines - 1);
        while left > 0 {
            let machine = &mut self.machines[chance.between(0, u64::from(self.sort.machines) - 1) as usize];
            left -= u32::from(machine.alive);
            machine.alive = false;
        }
    }

    fn done(&mut self, machine: usize, begun: u64) {
        let there = &mut self.machines[machine];
        if !there.alive || there.begun != begun {
            return;
        }
        let attempt = there.queue.pop_front().expect("it was begun");
        self.begin(machine);
        self.poll(machine, vec![result(attempt)]);
    }

    /// Begins with the first of its queue.
    fn begin(&mut self, machine: usize) {
        let there = &mut self.machines[machine];
        there.begun += 1;
        let Some(attempt) = there.queue.front() else { return };
        let task = &attempt.task;
        let usual = match task.stage {
            0 => MAP_MS,
            1 => 0,
            _ => REDUCE_MS,
        };
        // Of the task and not of the attempt: a second one has as much to do.
        let drawn =
            mix(self.sort.seed ^ (u64::from(task.stage) << 32 | u64::from(task.index)).wrapping_mul(0x9e37_79b9));
        let mille = 1000 - SPREAD_MILLE + drawn % (2 * SPREAD_MILLE + 1);
        let takes = usual * mille / 1000 * there.mille / 1000;
        let done = What::Done { machine, begun: there.begun };
        self.plan(self.now + takes, done);
    }

    fn poll(&mut self, machine: usize, results: Vec<AttemptResult>) {
        let there = &mut self.machines[machine];
        there.seq += 1;
        let poll = Poll {
            worker: there.id.clone(),
            seq: there.seq,
            slots: 1,
            capacity: 2,
            families: vec![FAMILY.to_owned()],
            jobs: [code()].into(),
            draining: false,
            lingers: false,
            held: there.queue.iter().cloned().collect(),
            results,
        };
        self.handle(Event::Poll(poll));
    }

    fn handle(&mut self, event: Event) {
        for command in self.scheduler.handle(self.now, event).commands {
            match command {
                Command::Answer { worker } => self.answer(self.numbers[&worker]),
                Command::Commit { .. } => self.over = true,
                Command::Prepare { .. } | Command::Look { .. } | Command::CleanUp { .. } => {}
            }
        }
    }

    fn answer(&mut self, machine: usize) {
        let there = &mut self.machines[machine];
        if !there.alive {
            return;
        }
        let held: Vec<_> = there.queue.iter().cloned().collect();
        let answer = self.scheduler.answer(&there.id, &held);
        let first = there.queue.front().cloned();
        there.queue.retain(|attempt| !answer.stop.contains(attempt));
        self.attempts += answer.orders.len() as u64;
        there.queue.extend(answer.orders);
        if there.queue.front() != first.as_ref() {
            self.begin(machine);
        }
    }
}

fn result(attempt: AttemptId) -> AttemptResult {
    let records = u64::from(attempt.task.stage == 0);
    let rows = u64::from(attempt.task.stage == 2);
    let output = TaskOutput { records, rows, ..TaskOutput::default() };
    AttemptResult { attempt, kernel_family: FAMILY.to_owned(), outcome: Ok(output), asked: Default::default() }
}

fn graph() -> Arc<TaskGraph> {
    let node = |kind, reads| TaskNode { kind, reads, broadcasts: Vec::new() };
    let stage = |name: &str, tasks, writes_output| TaskStage {
        name: name.to_owned(),
        tasks,
        partitions: 1,
        writes_output,
        one_row_per_record: false,
    };
    let maps = (0..MAPS).map(|_| node(TaskKind::MapSplit, Vec::new())).collect();
    let meet = vec![node(TaskKind::Reduce { partition: 0 }, (0..MAPS).map(|map| (0, map)).collect())];
    let reduce = |partition| TaskNode {
        broadcasts: vec![("all maps".to_owned(), 1, 0)],
        ..node(TaskKind::Reduce { partition }, vec![(0, partition)])
    };
    let reduces = (0..REDUCES).map(reduce).collect();
    Arc::new(TaskGraph {
        stages: vec![stage("map", maps, false), stage("meet", meet, false), stage("sort", reduces, true)],
    })
}
