//! The world that decisions are carried out in.

use super::{Outcome, Random, Spoil};
use crate::course::Had;
use crate::demand::{Demand, Known, workers};
use crate::facts::{Facts, Instance, InstanceId, JobFacts, JobId, StageFacts, Worker};
use crate::policy::{Aim, Policy};
use crate::{Autoscaler, Decision, Millis};
use std::collections::{BTreeMap, BTreeSet};

/// Between two looks.
const STEP: Millis = 1000;
/// How long the weather lasts, and how long all may take to end after that beside what the jobs themselves take.
const WEATHER: Millis = 4 * 3600 * 1000;
/// How long a job may be without a worker that has kernels for it while there is room for one: the longest pause between two
/// tries, and something for who is in the way to go.
const ALONE: Millis = 2 * 900_000;

/// Of machines: which kernel families their workers have.
type Families = BTreeSet<u32>;

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
    /// Any of them comes when a machine is asked for.
    kinds: Vec<Families>,
    /// By how much, in a hundred, tasks and starts take longer or shorter than they usually do.
    spread: u64,
    /// Time of machines that was paid for.
    paid_ms: Millis,
    /// When a worker was last let go, and when something last came that may make the fleet grow.
    let_go_at: Option<Millis>,
    changed_at: Millis,
    /// By the world's own book.
    idle_since: BTreeMap<InstanceId, Millis>,
    away_since: BTreeMap<InstanceId, Millis>,
    /// There is room for a worker that it could be given to, and none.
    alone_since: BTreeMap<JobId, Millis>,
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
    id: JobId,
    submitted_at: Millis,
    listed_at: Millis,
    stages: Vec<Stage>,
    spent_ms: Millis,
    ended_at: Option<Millis>,
    /// Kernel families that will do, of which its first task chooses one.
    families: Families,
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
    families: Families,
    /// It has been given something at some time.
    worked: bool,
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
        let kinds = kinds(&mut random);
        Self { kinds, ..Self::with(random, policy, weather) }
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
            kinds: vec![[0].into()],
            spread: 50,
            paid_ms: 0,
            let_go_at: None,
            changed_at: 0,
            idle_since: BTreeMap::new(),
            away_since: BTreeMap::new(),
            alone_since: BTreeMap::new(),
            outcome: Outcome::default(),
        }
    }

    /// A job that has the fleet to itself and a budget, where all is as it is known beforehand.
    pub fn with_a_budget(mut random: Random) -> Self {
        let aim = match random.between(0, 2) {
            0 => Aim::Cheapest { usd_per_hour_waited: random.between(0, 100) as f64 / 10.0 },
            _ => Aim::Within(random.between(0, 40) * 60_000),
        };
        let policy = Policy {
            aim,
            workers_max: 200,
            slots: random.between(1, 8) as u32,
            start_ms: random.between(1, 120) * STEP,
            task_ms: random.between(1, 60) * STEP,
            idle_ms: random.between(5, 400) * STEP,
            billed_min_ms: 0,
            usd_per_worker_hour: 0.1,
            budget_usd_per_job: Some(random.between(1, 200) as f64 / 100.0),
            ..Policy::default()
        };
        Self { spread: 0, ..Self::with(random, policy, Weather::default()) }
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

    /// Until the only job has ended and the fleet is empty: whether that has cost more than the job's budget. A worker may be
    /// paid for until somebody looks, when it comes, when its job ends and when it goes.
    pub fn keeps_to_its_budget(mut self, spoil: &Spoil) -> Result<Outcome, String> {
        self.submit();
        for stage in &mut self.jobs[0].stages {
            stage.task_ms = self.policy.task_ms;
        }
        while self.jobs[0].ended_at.is_none() || !self.machines.is_empty() {
            self.step(spoil)?;
        }
        let hour = |ms: Millis| ms as f64 / 3_600_000.0 * self.policy.usd_per_worker_hour;
        let looks = hour(5 * STEP * u64::from(self.outcome.started));
        let budget = self.policy.budget_usd_per_job.expect("it has one");
        let within = hour(self.paid_ms) <= budget + looks;
        self.holds(within || self.outcome.largest == 1, "a job costs more than its budget")?;
        Ok(self.outcome)
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
        // Some machine of the fleet has each of them.
        let known: Vec<_> = self.kinds.iter().flatten().copied().collect::<Families>().into_iter().collect();
        let one = known[self.random.between(0, known.len() as u64 - 1) as usize];
        let families = if self.random.per_mille(500) { known.into_iter().collect() } else { [one].into() };
        let id = JobId(format!("job-{:04}", self.jobs.len()).into());
        self.jobs.push(Job { id, submitted_at: self.now, listed_at, stages, spent_ms: 0, ended_at: None, families });
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
        self.paid_ms += STEP * self.machines.len() as u64;
        self.work();
        self.start();
        let facts = self.facts();
        self.note_idle(&facts);
        let mut decision = match spoil.facts {
            None => self.autoscaler.decide(self.now, &facts),
            Some(mistake) => {
                let mut told = facts.clone();
                mistake(&mut told);
                self.autoscaler.decide(self.now, &told)
            }
        };
        (spoil.decision)(&mut decision, &facts);
        self.laws(&facts, &decision)?;
        // A worker may be given something between the look and what follows from it.
        self.work();
        self.carry_out(&decision);
        self.outcome.largest = self.outcome.largest.max(self.machines.len() as u32);
        Ok(())
    }

    fn facts(&self) -> Facts {
        let open = || self.jobs.iter().filter(|job| job.ended_at.is_none());
        let jobs = open().map(|job| JobFacts {
            id: job.id.clone(),
            submitted_at: job.submitted_at,
            stages: if job.listed_at <= self.now { job.stages.iter().map(Stage::facts).collect() } else { Vec::new() },
            books_open: job.books_open(),
            spent_ms: job.spent_ms,
        });
        let instances = self.machines.iter().map(|(id, machine)| {
            let serves = open().filter(|job| !job.families.is_disjoint(&machine.families));
            let serves = serves.map(|job| job.id.clone()).collect();
            let worker = Worker { slots: machine.slots, serves, busy: !machine.tasks.is_empty() };
            let worker = machine.in_touch(self.now).then_some(worker);
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
            if is_busy(instance) {
                self.idle_since.remove(&instance.id);
            } else {
                self.idle_since.entry(instance.id.clone()).or_insert(self.now);
            }
        }
    }

    fn laws(&mut self, facts: &Facts, decision: &Decision) -> Result<(), String> {
        self.laws_of_leaving(facts, decision)?;
        for id in &decision.ended {
            let out_of_touch = facts.instances.iter().any(|i| i.id == *id && i.worker.is_none());
            self.holds(out_of_touch, "one that is in touch is to be ended")?;
            let away = self.now - self.away_since.get(id).copied().unwrap_or(self.now);
            self.holds(away > 60_000, "one is to be ended that was not away for long")?;
        }
        let stay = staying(facts, decision).count() as u32;
        let most = self.policy.most();
        self.holds(decision.size <= most.max(stay), "the fleet is larger than it may be")?;
        let least = if self.autoscaler.holds_back() { stay } else { self.policy.workers_min };
        self.holds(decision.size >= least, "the fleet is smaller than it may be")?;
        self.holds(decision.size >= stay, "more leave than are said to")?;
        if !decision.leave.is_empty() {
            self.let_go_at = Some(self.now);
        }
        let calm = self.let_go_at.is_some_and(|at| at > self.changed_at && self.now - at < self.policy.idle_ms);
        let grows = decision.size > stay && decision.ended.is_empty() && stay + decision.leave.len() as u32 > 0;
        // In a mixed fleet some go so that others can come.
        let again = calm && grows && decision.size > self.size && self.kinds.len() == 1;
        self.holds(!again, "the fleet grows again just after it has shrunk")?;
        self.law_of_families(facts)
    }

    fn laws_of_leaving(&self, facts: &Facts, decision: &Decision) -> Result<(), String> {
        let before = facts.instances.iter().filter(|i| !i.leaves && !decision.ended.contains(&i.id)).count() as u32;
        let most = self.policy.most();
        for id in &decision.leave {
            let Some(instance) = facts.instances.iter().find(|instance| instance.id == *id) else {
                return self.holds(false, "one that is not there is to leave");
            };
            let Some(worker) = instance.worker.as_ref().filter(|worker| !worker.busy) else {
                return self.holds(false, "one that is not idle is to leave");
            };
            let idle = self.now - self.idle_since[id];
            // Another is wanted in its place, or it was never of use.
            let useless = !facts.jobs.is_empty() && worker.serves.is_empty() && !self.machines[id].worked;
            let in_the_way = decision.size >= most && worker.serves.len() < facts.jobs.len();
            let may = idle >= self.policy.idle_ms || useless || in_the_way;
            self.holds(may, "one is to leave that has not been idle for long")?;
            // Whoever could have left before a job came may still do so.
            let listed = self.jobs.iter().filter(|job| job.ended_at.is_none() && job.listed_at > self.now);
            let mut listed = listed.filter(|job| job.submitted_at < self.idle_since[id] + self.policy.idle_ms);
            let needed = listed.any(|job| worker.serves.contains(&job.id));
            self.holds(!needed || in_the_way, "one leaves that a job which is being listed may need")?;
        }
        let stay = staying(facts, decision).count() as u32;
        if decision.leave.is_empty() || before > most {
            return Ok(());
        }
        let known = Known { slots: self.policy.slots, start_ms: 0 };
        let usable = |job: &JobFacts| Demand::of(job, Had::default(), &self.policy, known, self.now).usable;
        if self.kinds.len() == 1 {
            let usable = workers(facts.jobs.iter().map(usable).sum(), known.slots).min(most);
            self.holds(stay >= usable, "workers leave though there are tasks left for them")?;
            let kept = facts.jobs.iter().map(|job| self.kept(job)).sum();
            let kept = workers(kept, known.slots).min(before);
            self.holds(stay >= kept, "workers leave while books are open")?;
        }
        for job in &facts.jobs {
            let serves = |i: &&Instance| i.worker.as_ref().is_some_and(|worker| worker.serves.contains(&job.id));
            if facts.instances.iter().filter(|i| decision.leave.contains(&i.id)).any(|i| serves(&i)) {
                let stays = || staying(facts, decision).filter(serves).filter_map(|i| i.worker.as_ref());
                self.holds(stays().next().is_some(), "the last worker that an open job has is to leave")?;
                let slots: u64 = stays().map(|worker| u64::from(worker.slots)).sum();
                self.holds(slots >= usable(job), "workers leave though an open job has tasks for their kernels")?;
                let others_come = decision.size >= most;
                let kept = slots >= self.kept(job) || others_come;
                self.holds(kept, "workers with kernels for a job leave while its books are open")?;
            }
        }
        Ok(())
    }

    /// Slots that a job has had tasks for, if its books are open.
    fn kept(&self, facts: &JobFacts) -> u64 {
        let job = self.jobs.iter().find(|job| job.id == facts.id).expect("it was submitted");
        let open = job.books_open() && job.listed_at <= self.now;
        let stages = job.stages.iter().filter(|_| open);
        stages.map(Stage::tasks).max().unwrap_or(0).into()
    }

    fn law_of_families(&mut self, facts: &Facts) -> Result<(), String> {
        let stays = || facts.instances.iter().filter(|instance| !instance.leaves);
        let comes = stays().any(|instance| !self.machines[&instance.id].came(self.now));
        let (away, others) = (stays().any(|i| i.worker.is_none()), stays().next().is_some());
        let idle = |i: &Instance| i.worker.as_ref().is_some_and(|worker| !worker.busy && worker.serves.is_empty());
        let room = (stays().count() as u32) < self.policy.most() || stays().any(idle);
        let mut alone = BTreeMap::new();
        for job in &facts.jobs {
            let served = stays().any(|i| i.worker.as_ref().is_some_and(|worker| worker.serves.contains(&job.id)));
            // Of one without any workers it is seen that it does not end.
            if !served && room && others && !comes && !away {
                let since = self.alone_since.get(&job.id).copied().unwrap_or(self.now);
                let long = self.now - since > ALONE + self.policy.idle_ms;
                self.holds(!long, "a job is left without a worker that the fleet could have")?;
                alone.insert(job.id.clone(), since);
            }
        }
        self.alone_since = alone;
        Ok(())
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
            let takes = self.policy.start_ms * self.random.between(100 - self.spread, 100 + self.spread) / 100;
            let comes_at = (!self.random.per_mille(self.weather.never_comes)).then_some(self.now + takes);
            let kind = self.random.between(0, self.kinds.len() as u64 - 1) as usize;
            let machine = Machine {
                comes_at,
                silent_until: 0,
                leaves: false,
                slots: self.policy.slots,
                families: self.kinds[kind].clone(),
                worked: false,
                tasks: Vec::new(),
            };
            self.machines.insert(id, machine);
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
                let Some((number, stage)) = next(&self.jobs, &machine.families, now) else { break };
                let job = &mut self.jobs[number];
                job.families = job.families.intersection(&machine.families).take(1).copied().collect();
                let of = &mut job.stages[stage];
                (of.waiting, of.running) = (of.waiting - 1, of.running + 1);
                let takes = of.task_ms * self.random.between(100 - self.spread, 100 + self.spread) / 100;
                machine.worked = true;
                machine.tasks.push(Task { job: number, stage, began: now, ends: now + takes });
            }
        }
    }
}

/// The first stage with something to do of the first job that has some for these kernels: a stage begins when those before it
/// are done.
fn next(jobs: &[Job], families: &Families, now: Millis) -> Option<(usize, usize)> {
    let open = jobs.iter().enumerate().filter(|(_, job)| job.ended_at.is_none() && job.listed_at <= now);
    let open = open.filter(|(_, job)| !job.families.is_disjoint(families));
    open.filter_map(|(number, job)| {
        let stage = job.stages.iter().position(|stage| stage.waiting + stage.running > 0)?;
        (job.stages[stage].waiting > 0).then_some((number, stage))
    })
    .next()
}

/// Half of the fleets have machines of one kind.
fn kinds(random: &mut Random) -> Vec<Families> {
    if random.per_mille(500) {
        return vec![[0].into()];
    }
    let kind = |random: &mut Random| [random.between(0, 2) as u32, random.between(0, 2) as u32].into();
    (0..random.between(2, 3)).map(|_| kind(random)).collect()
}

fn is_busy(instance: &Instance) -> bool {
    instance.worker.as_ref().is_some_and(|worker| worker.busy)
}

/// Those that are there and not about to go.
fn staying<'a>(facts: &'a Facts, decision: &'a Decision) -> impl Iterator<Item = &'a Instance> {
    let goes = |i: &&Instance| i.leaves || decision.ended.contains(&i.id) || decision.leave.contains(&i.id);
    facts.instances.iter().filter(move |instance| !goes(instance))
}

impl Job {
    /// Its first stage reads what was listed.
    fn books_open(&self) -> bool {
        self.stages.first().is_some_and(|stage| stage.done < stage.tasks())
    }
}

impl Stage {
    fn tasks(&self) -> u32 {
        self.waiting + self.running + self.done
    }

    fn facts(&self) -> StageFacts {
        let task_ms = self.done_ms.checked_div(self.done.into());
        StageFacts { waiting: self.waiting, running: self.running, done: self.done, task_ms }
    }

    fn left_ms(&self) -> Millis {
        u64::from(self.waiting + self.running) * (2 * self.task_ms + STEP)
    }
}

impl Machine {
    fn came(&self, now: Millis) -> bool {
        self.comes_at.is_some_and(|at| at <= now)
    }

    fn in_touch(&self, now: Millis) -> bool {
        self.came(now) && self.silent_until <= now
    }
}
