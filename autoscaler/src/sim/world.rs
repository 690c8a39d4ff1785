//! The world that decisions are carried out in.

use super::{Outcome, Random, Spoil};
use crate::demand::{Demand, Known};
use crate::facts::{Facts, Instance, InstanceId, JobFacts, StageFacts, Worker};
use crate::policy::{Aim, Policy};
use crate::{Autoscaler, Decision, Millis};
use std::collections::BTreeMap;

/// Between two looks.
const STEP: Millis = 1000;
/// How long the weather lasts, and how long all may take to end after that beside what the jobs themselves take.
const WEATHER: Millis = 4 * 3600 * 1000;

pub struct World {
    now: Millis,
    random: Random,
    policy: Policy,
    autoscaler: Autoscaler,
    jobs: Vec<Job>,
    machines: BTreeMap<InstanceId, Machine>,
    next: u64,
    /// What the provider was last asked for, and may not have begun to start.
    size: u32,
    /// It answers nothing until then.
    provider_away_until: Millis,
    /// How likely what is, in a thousand of seconds.
    weather: Weather,
    /// When a worker was last let go, and when something last came that may make the fleet grow.
    let_go_at: Option<Millis>,
    changed_at: Millis,
    /// By the world's own book.
    idle_since: BTreeMap<InstanceId, Millis>,
    away_since: BTreeMap<InstanceId, Millis>,
    outcome: Outcome,
}

#[derive(Clone, Copy, Default)]
struct Weather {
    new_job: u64,
    lost: u64,
    never_comes: u64,
    out_of_touch: u64,
    provider_fails: u64,
    by_hand: u64,
    replaced: u64,
}

struct Job {
    submitted_at: Millis,
    listed_at: Millis,
    stages: Vec<Stage>,
    spent_ms: Millis,
    ended_at: Option<Millis>,
}

#[derive(Clone, Copy)]
struct Stage {
    waiting: u32,
    running: u32,
    done: u32,
    done_ms: Millis,
    /// What its tasks take, about.
    task_ms: Millis,
}

struct Machine {
    /// `None`: never.
    comes_at: Option<Millis>,
    silent_until: Millis,
    leaves: bool,
    slots: u32,
    tasks: Vec<Task>,
}

struct Task {
    job: usize,
    stage: usize,
    began: Millis,
    ends: Millis,
}

impl World {
    pub fn new(mut random: Random, policy: Policy) -> Self {
        let weather = Weather {
            new_job: random.between(1, 3),
            lost: random.between(0, 2),
            never_comes: random.between(0, 100),
            out_of_touch: random.between(0, 2),
            provider_fails: random.between(0, 5),
            by_hand: random.between(0, 1),
            replaced: random.between(0, 2),
        };
        Self::with(random, policy, weather)
    }

    /// Where nothing goes wrong.
    pub fn calm(mut random: Random) -> Self {
        let policy = Policy {
            aim: Aim::Within(random.between(10, 40) * 60_000),
            workers_max: 1000,
            slots: random.between(1, 8) as u32,
            start_ms: random.between(1, 120) * 1000,
            ..Policy::default()
        };
        Self::with(random, policy, Weather::default())
    }

    fn with(random: Random, policy: Policy, weather: Weather) -> Self {
        Self {
            now: 0,
            random,
            autoscaler: Autoscaler::new(policy.clone()),
            size: policy.workers_min,
            policy,
            jobs: Vec::new(),
            machines: BTreeMap::new(),
            next: 0,
            provider_away_until: 0,
            weather,
            let_go_at: None,
            changed_at: 0,
            idle_since: BTreeMap::new(),
            away_since: BTreeMap::new(),
            outcome: Outcome::default(),
        }
    }

    pub fn run(mut self, spoil: &Spoil) -> Result<Outcome, String> {
        while self.now < WEATHER {
            self.bad_weather();
            self.step(spoil)?;
        }
        self.weather = Weather::default();
        // What is left is done, at the worst, by one worker after another.
        let left: Millis = self.jobs.iter().flat_map(|job| &job.stages).map(Stage::left_ms).sum();
        let patience = WEATHER + 2 * left + 40 * self.policy.start_ms + 10 * self.policy.idle_ms + 3 * 3_600_000;
        while self.jobs.iter().any(|job| job.ended_at.is_none()) {
            self.step(spoil)?;
            self.holds(self.now < patience, "a job does not end")?;
        }
        let patience = self.now + 20 * self.policy.start_ms + 4 * self.policy.idle_ms + 3_600_000;
        while self.now < patience {
            self.step(spoil)?;
        }
        let rests = self.machines.len() as u32 == self.policy.workers_min;
        self.holds(rests, "the fleet does not shrink when there is nothing to do")?;
        Ok(self.outcome)
    }

    /// How long after its target the only job has ended.
    pub fn lateness_of_one_job(mut self) -> Millis {
        let Aim::Within(target) = self.policy.aim else { unreachable!("calm worlds have a target") };
        self.submit();
        while self.jobs[0].ended_at.is_none() {
            self.step(&Spoil::NOTHING).expect("the laws hold");
        }
        // No fleet does it faster than its stages' tasks one after another, and a start.
        let least: Millis = self.jobs[0].stages.iter().map(|stage| 2 * stage.task_ms + STEP).sum();
        self.now.saturating_sub(target.max(least + 2 * self.policy.start_ms))
    }

    fn holds(&self, law: bool, said: &str) -> Result<(), String> {
        if law { Ok(()) } else { Err(format!("{} s: {said}", self.now / 1000)) }
    }

    fn submit(&mut self) {
        let stages = (0..self.random.between(1, 4)).map(|_| {
            let waiting = self.random.between(0, 9).pow(self.random.between(0, 3) as u32) as u32 + 1;
            let task_ms = self.random.between(1, 90) * 400;
            Stage { waiting, running: 0, done: 0, done_ms: 0, task_ms }
        });
        let stages = stages.collect();
        let listed_at = self.now + self.random.between(0, 20_000);
        self.jobs.push(Job { submitted_at: self.now, listed_at, stages, spent_ms: 0, ended_at: None });
        // Nobody knows before that how wide it is.
        self.changed_at = self.changed_at.max(listed_at + STEP);
        self.outcome.jobs += 1;
    }

    fn bad_weather(&mut self) {
        let weather = self.weather;
        if self.random.per_mille(weather.new_job) {
            self.submit();
        }
        for id in self.machines.keys().cloned().collect::<Vec<_>>() {
            if self.random.per_mille(weather.lost) {
                self.gone(&id);
                self.outcome.lost += 1;
                self.changed_at = self.changed_at.max(self.now);
            } else if self.random.per_mille(weather.out_of_touch) {
                let until = self.now + self.random.between(1, 400) * 1000;
                self.machines.get_mut(&id).expect("it is there").silent_until = until;
                self.give_back(&id);
                self.changed_at = self.changed_at.max(until);
            }
        }
        if self.random.per_mille(weather.provider_fails) {
            self.provider_away_until = self.now + self.random.between(1, 300) * 1000;
        }
        if self.random.per_mille(weather.by_hand) {
            self.size = self.random.between(0, 20) as u32;
            self.changed_at = self.changed_at.max(self.now);
        }
        if self.random.per_mille(weather.replaced) {
            self.autoscaler = Autoscaler::new(self.policy.clone());
            self.changed_at = self.changed_at.max(self.now);
        }
    }

    fn step(&mut self, spoil: &Spoil) -> Result<(), String> {
        self.now += STEP;
        self.work();
        self.start();
        let facts = self.facts();
        self.note_idle(&facts);
        let mut told = facts.clone();
        (spoil.facts)(&mut told);
        let mut decision = self.autoscaler.decide(self.now, &told);
        (spoil.decision)(&mut decision, &facts);
        self.laws(&facts, &decision)?;
        // A worker may be given something between the look and what follows from it.
        self.work();
        self.carry_out(&decision);
        self.outcome.largest = self.outcome.largest.max(self.machines.len() as u32);
        Ok(())
    }

    fn facts(&self) -> Facts {
        let open = self.jobs.iter().filter(|job| job.ended_at.is_none());
        let jobs = open.map(|job| JobFacts {
            submitted_at: job.submitted_at,
            stages: if job.listed_at <= self.now { job.stages.iter().map(Stage::facts).collect() } else { Vec::new() },
            spent_ms: job.spent_ms,
        });
        let instances = self.machines.iter().map(|(id, machine)| {
            let worker =
                machine.in_touch(self.now).then_some(Worker { slots: machine.slots, busy: !machine.tasks.is_empty() });
            Instance { id: id.clone(), worker, leaves: machine.leaves }
        });
        Facts { jobs: jobs.collect(), instances: instances.collect() }
    }

    fn note_idle(&mut self, facts: &Facts) {
        self.idle_since.retain(|id, _| self.machines.contains_key(id));
        self.away_since.retain(|id, _| self.machines.contains_key(id));
        for instance in &facts.instances {
            if instance.worker.is_some() {
                self.away_since.remove(&instance.id);
            } else {
                self.away_since.entry(instance.id.clone()).or_insert(self.now);
            }
            if instance.worker.is_some_and(|worker| worker.busy) {
                self.idle_since.remove(&instance.id);
            } else {
                self.idle_since.entry(instance.id.clone()).or_insert(self.now);
            }
        }
    }

    fn laws(&mut self, facts: &Facts, decision: &Decision) -> Result<(), String> {
        let instance = |id: &InstanceId| facts.instances.iter().find(|instance| instance.id == *id);
        for id in &decision.leave {
            let Some(instance) = instance(id) else {
                return self.holds(false, "one that is not there is to leave");
            };
            self.holds(instance.worker.is_some_and(|worker| !worker.busy), "one that is not idle is to leave")?;
            let idle = self.now - self.idle_since[id];
            self.holds(idle >= self.policy.idle_ms, "one is to leave that has not been idle for long")?;
        }
        for id in &decision.ended {
            let out_of_touch = instance(id).is_some_and(|instance| instance.worker.is_none());
            self.holds(out_of_touch, "one that is in touch is to be ended")?;
            let away = self.now - self.away_since.get(id).copied().unwrap_or(self.now);
            self.holds(away > 60_000, "one is to be ended that was not away for long")?;
        }
        let stay = facts.instances.iter().filter(|i| !i.leaves && !decision.ended.contains(&i.id)).count() as u32;
        let stay = stay - decision.leave.len() as u32;
        let most = self.policy.most();
        self.holds(decision.size <= most.max(stay), "the fleet is larger than it may be")?;
        let least = if self.autoscaler.holds_back() { stay } else { self.policy.workers_min };
        self.holds(decision.size >= least, "the fleet is smaller than it may be")?;
        self.holds(decision.size >= stay, "more leave than are said to")?;
        if !decision.leave.is_empty() {
            // By what a worker has at the least, since measured and configured slots may differ.
            let known = Known { slots: 8, start_ms: 0 };
            let usable = Demand::of(&facts.jobs, &self.policy, known, self.now).usable.min(most);
            self.holds(stay >= usable, "workers leave though there are tasks left for them")?;
            self.let_go_at = Some(self.now);
        }
        let calm = self.let_go_at.is_some_and(|at| at > self.changed_at && self.now - at < self.policy.idle_ms);
        let grows = decision.size > stay && decision.ended.is_empty() && stay + decision.leave.len() as u32 > 0;
        self.holds(!(calm && grows && decision.size > self.size), "the fleet grows again just after it has shrunk")
    }

    fn carry_out(&mut self, decision: &Decision) {
        // What workers are told does not go by the provider.
        for id in &decision.leave {
            if let Some(machine) = self.machines.get_mut(id) {
                machine.leaves = true;
                self.give_back(id);
                self.outcome.let_go += 1;
            }
        }
        if self.now < self.provider_away_until {
            return;
        }
        for id in &decision.ended {
            self.gone(id);
            self.changed_at = self.changed_at.max(self.now);
        }
        self.size = decision.size;
    }

    /// The provider starts what is missing, and takes away what has left.
    fn start(&mut self) {
        let left: Vec<_> = self.machines.iter().filter(|(_, m)| m.leaves).map(|(id, _)| id.clone()).collect();
        left.iter().for_each(|id| self.gone(id));
        while (self.machines.len() as u32) < self.size && self.now >= self.provider_away_until {
            let id = InstanceId(format!("i-{:04}", self.next));
            self.next += 1;
            self.outcome.started += 1;
            let takes = self.policy.start_ms * self.random.between(50, 150) / 100;
            let comes_at = (!self.random.per_mille(self.weather.never_comes)).then_some(self.now + takes);
            let slots = self.policy.slots;
            self.machines.insert(id, Machine { comes_at, silent_until: 0, leaves: false, slots, tasks: Vec::new() });
        }
    }

    fn gone(&mut self, id: &InstanceId) {
        self.give_back(id);
        self.machines.remove(id);
    }

    /// What it had is others' to do.
    fn give_back(&mut self, id: &InstanceId) {
        let Some(machine) = self.machines.get_mut(id) else { return };
        for task in machine.tasks.drain(..) {
            let stage = &mut self.jobs[task.job].stages[task.stage];
            (stage.waiting, stage.running) = (stage.waiting + 1, stage.running - 1);
        }
    }

    /// Tasks end, and idle slots take the first that can begin.
    fn work(&mut self) {
        let now = self.now;
        for machine in self.machines.values_mut() {
            machine.tasks.retain(|task| {
                if task.ends > now {
                    return true;
                }
                let job = &mut self.jobs[task.job];
                let stage = &mut job.stages[task.stage];
                (stage.running, stage.done, stage.done_ms) =
                    (stage.running - 1, stage.done + 1, stage.done_ms + task.ends - task.began);
                job.spent_ms += task.ends - task.began;
                false
            });
        }
        for job in self.jobs.iter_mut().filter(|job| job.ended_at.is_none() && job.listed_at <= now) {
            if job.stages.iter().all(|stage| stage.waiting + stage.running == 0) {
                job.ended_at = Some(now);
            }
        }
        for machine in self.machines.values_mut().filter(|machine| machine.in_touch(now) && !machine.leaves) {
            while (machine.tasks.len() as u32) < machine.slots {
                let Some((job, stage)) = next(&self.jobs, now) else { return };
                let of = &mut self.jobs[job].stages[stage];
                (of.waiting, of.running) = (of.waiting - 1, of.running + 1);
                let takes = of.task_ms * self.random.between(50, 150) / 100;
                machine.tasks.push(Task { job, stage, began: now, ends: now + takes });
            }
        }
    }
}

/// The first job's first stage with something to do: a stage begins when those before it are done.
fn next(jobs: &[Job], now: Millis) -> Option<(usize, usize)> {
    let open = jobs.iter().enumerate().filter(|(_, job)| job.ended_at.is_none() && job.listed_at <= now);
    open.filter_map(|(number, job)| {
        let stage = job.stages.iter().position(|stage| stage.waiting + stage.running > 0)?;
        (job.stages[stage].waiting > 0).then_some((number, stage))
    })
    .next()
}

impl Stage {
    fn facts(&self) -> StageFacts {
        let task_ms = self.done_ms.checked_div(self.done.into());
        StageFacts { waiting: self.waiting, running: self.running, task_ms }
    }

    fn left_ms(&self) -> Millis {
        u64::from(self.waiting + self.running) * (2 * self.task_ms + STEP)
    }
}

impl Machine {
    fn in_touch(&self, now: Millis) -> bool {
        self.comes_at.is_some_and(|at| at <= now) && self.silent_until <= now
    }
}
