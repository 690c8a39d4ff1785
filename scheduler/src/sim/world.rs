//! The world around the scheduler: a clock that jumps from happening to happening, a network, workers, a store, and the
//! coordinator's shell.

use super::job::{Bad, Nature, SimJob, verdict};
use super::laws::{File, Laws, books_are_right};
use super::random::Random;
use super::weather::Weather;
use super::worker::{Fate, Kind, Order, SimWorker};
use super::{Broken, Sights};
use crate::care::KILLS;
use crate::event::{Command, Event, Millis, Poll, Step};
use crate::fact::{Condemned, Fact, What};
use crate::flaw::Flaw;
use crate::scheduler::Scheduler;
use crate::write_ahead::WriteAhead;
use mr_core::{
    AttemptId, AttemptResult, Epoch, Failure, FailureClass, JobCode, JobId, JobPhase, QuarantineSource, TaskId,
    WorkerId,
};
use std::collections::{BTreeMap, BTreeSet};
use std::mem;
use std::sync::Arc;

/// How long the shell lets a poll wait when there is nothing to say.
const POLL_WAIT_MS: Millis = 5000;
/// How long a worker waits for an answer before it polls again.
const ANSWER_WAIT_MS: Millis = 8000;
/// When the weather has cleared, everything must be over by then: enough for a task that takes down twenty workers.
const CALM_MS: Millis = 3_600_000;
/// A walk over everything is dear: only so often.
const AUDIT_STEPS: u64 = 16;

/// Makes a scheduler for an epoch out of what was written before it.
pub type Recover<'a> = &'a dyn Fn(Epoch, &[Fact]) -> Result<Scheduler, String>;

/// A coordinator that has lost its store, and does not know that another has taken over.
struct Replaced {
    scheduler: Scheduler,
    ahead: WriteAhead<Command>,
    waiting: BTreeMap<WorkerId, Poll>,
}

pub struct World<'a> {
    seed: u64,
    random: Random,
    weather: Weather,
    now: Millis,
    queue: BTreeMap<(Millis, u64), Happening>,
    queued: u64,
    steps: u64,
    scheduler: Scheduler,
    /// A scheduler in the state that facts lead to, and for a number of which no other is.
    recover: Recover<'a>,
    /// The coordinator is dead or cut off from the store, and its successor has not come yet.
    down: bool,
    /// It still hears workers.
    replaced: Option<Replaced>,
    ahead: WriteAhead<Command>,
    /// The batch that is being written.
    writing: Option<Vec<Fact>>,
    journal: Vec<Fact>,
    tick_at: Option<Millis>,
    stalled_until: Millis,
    /// Polls that are not answered yet, as the shell has them.
    waiting: BTreeMap<WorkerId, Poll>,
    workers: BTreeMap<WorkerId, SimWorker>,
    /// Kinds of workers that there are, and code that jobs are submitted with.
    kinds: Vec<Kind>,
    codes: Vec<JobCode>,
    jobs: BTreeMap<JobId, SimJob>,
    files: BTreeMap<String, File>,
    /// Jobs whose files a commit has read: what vanishes now it does not miss.
    read: BTreeSet<JobId>,
    laws: Laws,
    sights: Sights,
    story: Option<Vec<String>>,
}

#[derive(Clone, Debug)]
enum Happening {
    /// By a user, who says it again to a new coordinator.
    Asked(Event),
    /// By something that the coordinator of that epoch has set going.
    Told(Epoch, Event),
    /// The batch is in the journal.
    Written(Epoch),
    CoordinatorDies,
    CoordinatorComes,
    /// One that was replaced finds that out.
    Fenced(Epoch),
    PollArrives(Poll),
    /// The shell has let a poll wait for long enough.
    PollWaits {
        worker: WorkerId,
        seq: u64,
    },
    At(WorkerId, AtWorker),
    WorkerComes {
        kind: Kind,
    },
    /// All workers of a kind are cut off at once.
    Outage {
        kind: Kind,
        until: Millis,
    },
    /// The coordinator stands still: what comes meanwhile is heard later.
    Stalls {
        until: Millis,
    },
    EntryWritten {
        job: JobId,
    },
    /// The store has lost a file.
    Vanishes,
    Clears,
}

/// It happens later at a worker that hangs, and never at a dead one.
#[derive(Clone, Debug)]
enum AtWorker {
    Answer {
        seq: u64,
        orders: Vec<Order>,
        stop: Vec<AttemptId>,
    },
    /// It has waited for an answer for long enough.
    NoAnswer {
        seq: u64,
    },
    Polls,
    Finishes(AttemptId),
    Meets(Fate),
}

/// In some stories machines run programs of their own, and jobs come that not all of them have, or none.
fn kinds(offers: &[&[&str]], random: &mut Random) -> (Vec<Kind>, Vec<JobCode>) {
    let (old, new, other) = (JobCode::new("x", 1), JobCode::new("x", 2), JobCode::new("y", 1));
    let (programs, codes): (&[&[&JobCode]], _) = match random.between(0, 9) {
        0..6 => (&[&[&old, &other]], vec![&old, &other]),
        6..8 => (&[&[&old, &other], &[&new, &other]], vec![&old, &new, &other]),
        8 => (&[&[&old], &[&other]], vec![&old, &other]),
        _ => (&[&[&old]], vec![&old, &old, &new]),
    };
    let kind = |families: &&[&str], program: &&[&JobCode]| Kind {
        families: families.iter().map(|family| (*family).to_owned()).collect(),
        jobs: program.iter().copied().cloned().collect(),
    };
    // Each machine has one of them, and there are as many as programs at least.
    let count = offers.len().max(programs.len());
    let pairs = offers.iter().cycle().zip(programs.iter().cycle()).take(count);
    (pairs.map(|(families, program)| kind(families, program)).collect(), codes.into_iter().cloned().collect())
}

impl<'a> World<'a> {
    pub fn new(seed: u64, recover: Recover<'a>, tells: bool) -> Self {
        let mut random = Random::new(seed);
        let weather = Weather::storm(&mut random);
        let offers: &[&[&str]] = match random.between(0, 9) {
            0..6 => &[&["avx"]],
            6..8 => &[&["avx"], &["neon"]],
            _ => &[&["avx"], &["neon", "avx"], &["avx", "neon"]],
        };
        let (kinds, codes) = kinds(offers, &mut random);
        let mut world = Self {
            seed,
            random,
            weather,
            now: 0,
            queue: BTreeMap::new(),
            queued: 0,
            steps: 0,
            scheduler: recover(1, &[]).expect("nothing to recover from is nothing that could be wrong"),
            recover,
            down: false,
            replaced: None,
            ahead: WriteAhead::default(),
            writing: None,
            journal: Vec::new(),
            tick_at: None,
            stalled_until: 0,
            waiting: BTreeMap::new(),
            workers: BTreeMap::new(),
            kinds,
            codes,
            jobs: BTreeMap::new(),
            files: BTreeMap::new(),
            read: BTreeSet::new(),
            laws: Laws::default(),
            sights: Sights::default(),
            story: tells.then(Vec::new),
        };
        world.set_out();
        world
    }

    /// Jobs, workers that come in the storm, and when it ends.
    fn set_out(&mut self) {
        let storm_ms = self.random.between(5_000, 90_000);
        for number in 0..self.random.between(1, 3) {
            let id = JobId::parse(&format!("job-{number}")).expect("a fine name");
            let code = self.random.pick(&self.codes).clone();
            let mut job = SimJob::draw(id.clone(), code, &mut self.random, storm_ms);
            if let Some(other) = self.jobs.values().next().filter(|_| self.random.per_mille(300)).cloned() {
                job = job.like(&other);
            }
            let serves = |kind: &Kind| {
                kind.jobs.contains(&job.code) && kind.families.iter().any(|family| job.kernels.takes(family))
            };
            job.servable = self.kinds.iter().any(serves);
            let event = job.submit();
            self.queue_perhaps_twice(job.submit_at, Happening::Asked(event));
            if let Some(at) = job.cancel_at {
                self.queue_perhaps_twice(at, Happening::Asked(Event::Cancel { job: id.clone() }));
            }
            self.laws.change(&id, job.changing());
            self.jobs.insert(id, job);
        }
        for _ in 0..self.weather.vanishing {
            let at = self.random.between(0, storm_ms);
            self.queue(at, Happening::Vanishes);
        }
        for _ in 0..self.weather.coordinator_deaths {
            let at = self.random.between(0, storm_ms);
            self.queue(at, Happening::CoordinatorDies);
        }
        for _ in 0..self.random.between(1, 6) {
            let at = if self.random.per_mille(500) { 0 } else { self.random.between(0, storm_ms) };
            let kind = self.random.pick(&self.kinds).clone();
            self.queue(at, Happening::WorkerComes { kind });
        }
        if self.random.per_mille(self.weather.outage) {
            // Soon after a job has begun, when the least is certain.
            let submits: Vec<_> = self.jobs.values().map(|job| job.submit_at).collect();
            let at = self.random.pick(&submits) + self.random.between(0, 5000);
            let until = at + self.random.between(1000, 60_000);
            let kind = self.random.pick(&self.kinds).clone();
            self.queue(at, Happening::Outage { kind, until });
        }
        if self.random.per_mille(self.weather.stall) {
            let at = self.random.between(0, storm_ms);
            let until = at + self.random.between(1000, 40_000);
            self.queue(at, Happening::Stalls { until });
        }
        self.queue(storm_ms, Happening::Clears);
    }

    pub fn run(mut self) -> Result<Sights, Broken> {
        let outcome = self.run_until_over();
        let (seed, story) = (self.seed, self.story.unwrap_or_default());
        outcome.map(|()| self.sights).map_err(|law| Broken { seed, law, story })
    }

    pub fn story(mut self) -> (Vec<String>, Result<Sights, String>) {
        let outcome = self.run_until_over();
        (self.story.unwrap_or_default(), outcome.map(|()| self.sights))
    }

    fn run_until_over(&mut self) -> Result<(), String> {
        let mut over_at = None;
        loop {
            let tick = self.tick_at.unwrap_or(Millis::MAX);
            let next = self.queue.first_key_value().map(|(key, _)| *key);
            match next {
                Some((at, _)) if at < tick || self.down => {
                    let (_, happening) = self.queue.pop_first().expect("it has a first");
                    self.now = at;
                    if let Happening::Clears = happening {
                        over_at = Some(at + CALM_MS);
                    }
                    self.tell_story(|| format!("{happening:?}"));
                    self.happen(happening)?;
                }
                Some(_) | None if tick < Millis::MAX && !self.down => {
                    self.now = tick;
                    self.tick_at = None;
                    if self.stalled_until > tick {
                        self.tick_at = Some(self.stalled_until);
                    } else {
                        self.tell(Event::Tick)?;
                    }
                }
                Some(_) | None => return Err("nothing more happens".to_owned()),
            }
            self.steps += 1;
            if self.steps.is_multiple_of(AUDIT_STEPS) && !self.down {
                self.scheduler.audit()?;
            }
            let written = !self.down && self.writing.is_none();
            let ended =
                written && self.jobs.keys().all(|job| self.scheduler.find(job).is_some_and(|job| job.phase().ended()));
            if over_at.is_some() && ended {
                return self.end();
            }
            if over_at.is_some_and(|over_at| self.now > over_at) {
                return Err(self.what_hangs());
            }
        }
    }

    fn end(&mut self) -> Result<(), String> {
        self.scheduler.audit()?;
        self.sights.steps = self.steps;
        self.sights.backups = self.laws.backups;
        (self.sights.condemned, self.sights.unlucky) = self.laws.condemned_count();
        for view in self.scheduler.jobs() {
            match view.phase {
                JobPhase::Committed => self.sights.committed += 1,
                JobPhase::Cancelled => self.sights.cancelled += 1,
                JobPhase::Failed => {
                    let class = view.failure.map_or(FailureClass::Cancelled, |failure| failure.class);
                    *self.sights.failed.entry(class).or_default() += 1;
                }
                JobPhase::Listing | JobPhase::Running | JobPhase::Committing => {}
            }
        }
        Ok(())
    }

    fn what_hangs(&self) -> String {
        let stuck = self.scheduler.jobs().filter(|view| !view.phase.ended());
        let stuck: Vec<_> = stuck.map(|view| format!("{} is {:?}: {:?}", view.id, view.phase, view.stages)).collect();
        format!("the weather has cleared and it does not end: {}", stuck.join("; "))
    }

    fn happen(&mut self, happening: Happening) -> Result<(), String> {
        match happening {
            Happening::Asked(_)
            | Happening::Told(..)
            | Happening::Written(_)
            | Happening::PollArrives(_)
            | Happening::PollWaits { .. }
                if self.stalled_until > self.now =>
            {
                self.queue(self.stalled_until, happening);
            }
            Happening::Asked(event) if self.down => self.queue(self.now + 500, Happening::Asked(event)),
            Happening::Asked(event) => self.tell(event)?,
            Happening::Told(epoch, _) | Happening::Written(epoch) if self.down || epoch != self.scheduler.epoch => {}
            Happening::Told(_, event) => self.tell(event)?,
            Happening::Written(_) => self.written()?,
            Happening::CoordinatorDies => self.coordinator_dies(),
            Happening::CoordinatorComes => self.coordinator_comes()?,
            Happening::Fenced(epoch) => _ = self.replaced.take_if(|replaced| replaced.scheduler.epoch == epoch),
            // Workers turn to whom they reach.
            Happening::PollArrives(poll) if self.replaced.is_some() && (self.down || self.random.per_mille(500)) => {
                self.replaced_hears(poll)?;
            }
            Happening::PollArrives(_) | Happening::PollWaits { .. } if self.down => self.sights.messages_lost += 1,
            Happening::PollArrives(poll) => self.poll_arrives(poll)?,
            Happening::PollWaits { worker, seq } => {
                if self.waiting.get(&worker).is_some_and(|poll| poll.seq == seq) {
                    self.answer(&worker)?;
                }
            }
            Happening::At(worker, what) => match &self.workers[&worker] {
                at if !at.alive => {}
                at if at.hangs_until > self.now => self.queue(at.hangs_until, Happening::At(worker, what)),
                _ => self.happen_at(&worker, what),
            },
            Happening::WorkerComes { kind } => self.worker_comes(kind),
            Happening::Outage { kind, until } => {
                for worker in self.workers.values_mut().filter(|worker| worker.kind == kind) {
                    worker.cut_off_until = until;
                }
            }
            Happening::Stalls { until } => self.stalled_until = until,
            Happening::EntryWritten { job } => {
                self.laws.entries.insert(job);
            }
            Happening::Vanishes => self.vanishes(),
            Happening::Clears => self.clears(),
        }
        Ok(())
    }

    fn happen_at(&mut self, id: &WorkerId, what: AtWorker) {
        match what {
            AtWorker::Answer { seq, orders, stop } => self.answer_arrives(id, seq, orders, &stop),
            AtWorker::NoAnswer { seq } => {
                if self.workers[id].waits_for(seq) {
                    self.poll(id);
                }
            }
            AtWorker::Polls => self.poll(id),
            AtWorker::Finishes(attempt) => self.finishes(id, &attempt),
            AtWorker::Meets(Fate::Lives) => {}
            AtWorker::Meets(Fate::Crashes) => self.crash(id),
            AtWorker::Meets(Fate::Hangs { until }) => self.worker(id).hangs_until = until,
            AtWorker::Meets(Fate::CutOff { until }) => self.worker(id).cut_off_until = until,
            AtWorker::Meets(Fate::Drains) => {
                self.sights.drained += 1;
                self.worker(id).drain();
                self.poll(id);
            }
        }
    }

    // The shell.

    fn tell(&mut self, event: Event) -> Result<(), String> {
        if let Event::Cancel { job } = &event {
            self.laws.cancels.insert(job.clone());
        }
        let ticked = matches!(event, Event::Tick);
        let back = if self.random.per_mille(self.weather.clock_back) { 40 } else { 0 };
        let step = self.scheduler.handle(self.now.saturating_sub(back), event);
        let ticked_at = self.now.saturating_sub(back);
        self.decided(step, ticked_at, ticked)
    }

    /// A step's facts are on their way into the journal, and what it brings about waits for them.
    fn decided(&mut self, step: Step, at: Millis, ticked: bool) -> Result<(), String> {
        self.tell_story(|| format!("    {step:?}"));
        self.sights.undone += self.laws.undone(&step, &self.jobs, &self.files)?;
        self.laws.always(&self.scheduler, &self.jobs, at, ticked)?;
        self.laws.condemned(&step, &self.jobs)?;
        if self.scheduler.flawed(Flaw::SpeaksTooSoon) {
            let commands = step.commands.clone();
            self.ahead.step(Step { commands: Vec::new(), ..step }, |command| command);
            self.write();
            for command in commands {
                self.carry_out(command)?;
            }
        } else {
            let due = self.ahead.step(step, |command| command);
            self.write();
            for command in due {
                self.carry_out(command)?;
            }
        }
        if let Some(deadline) = self.scheduler.next_deadline() {
            let late = self.random.between(0, 5) * self.random.between(0, 1 + self.weather.late);
            let at = deadline.max(self.now + 1) + late;
            self.tick_at = Some(self.tick_at.map_or(at, |tick| tick.min(at)));
        }
        Ok(())
    }

    fn write(&mut self) {
        if let Some(batch) = self.ahead.batch() {
            self.writing = Some(batch);
            let at = self.now + self.weather.journal_delay(&mut self.random);
            self.queue(at, Happening::Written(self.scheduler.epoch));
        }
    }

    fn written(&mut self) -> Result<(), String> {
        self.journal.extend(self.writing.take().into_iter().flatten());
        let due = self.ahead.written();
        self.write();
        for command in due {
            self.carry_out(command)?;
        }
        Ok(())
    }

    /// What was decided and not written is lost, and so is whatever it had set going, as far as that has had no effect.
    fn coordinator_dies(&mut self) {
        if self.down {
            return;
        }
        self.sights.coordinator_deaths += 1;
        // The batch may have arrived although nobody lives to hear it.
        if let Some(batch) = self.writing.take()
            && self.random.per_mille(500)
        {
            self.journal.extend(batch);
        }
        self.down = true;
        let (ahead, waiting) = (mem::take(&mut self.ahead), mem::take(&mut self.waiting));
        if self.random.per_mille(self.weather.replaced) {
            let scheduler = self.scheduler.clone();
            self.replaced = Some(Replaced { scheduler, ahead, waiting });
            let at = self.now + self.random.between(1000, 60_000);
            self.queue(at, Happening::Fenced(self.scheduler.epoch));
        }
        self.tick_at = None;
        let at = self.now + self.random.between(50, 25_000);
        self.queue(at, Happening::CoordinatorComes);
    }

    fn coordinator_comes(&mut self) -> Result<(), String> {
        let epoch = self.scheduler.epoch + 1;
        self.scheduler = (self.recover)(epoch, &self.journal)?;
        self.down = false;
        self.laws.recovered(&self.scheduler)?;
        // A journal may be shortened to what it comes to, and must then come to the same.
        if self.random.per_mille(300) {
            self.journal = self.scheduler.facts();
            self.scheduler = (self.recover)(epoch, &self.journal)?;
            self.laws.recovered(&self.scheduler)?;
        }
        // Whoever had no answer asks again.
        let unheard: Vec<_> = self.jobs.values().filter(|job| job.submit_at <= self.now).collect();
        let unheard = unheard.into_iter().filter(|job| self.scheduler.job(&job.id).is_none());
        let submits: Vec<_> = unheard.map(SimJob::submit).collect();
        for event in submits {
            self.queue(self.now + 1, Happening::Asked(event));
        }
        let step = self.scheduler.resume(self.now);
        self.decided(step, self.now, false)
    }

    /// It goes on as if nothing had happened. What it decides it can't write, so all that it can do is what rests on nothing
    /// new: to give orders.
    fn replaced_hears(&mut self, poll: Poll) -> Result<(), String> {
        let Some(mut replaced) = self.replaced.take() else { return Ok(()) };
        replaced.waiting.insert(poll.worker.clone(), poll.clone());
        let mut due = Vec::new();
        if replaced.scheduler.next_deadline().is_some_and(|at| at <= self.now) {
            due.extend(replaced.ahead.step(replaced.scheduler.handle(self.now, Event::Tick), |command| command));
        }
        let step = replaced.scheduler.handle(self.now, Event::Poll(poll));
        self.tell_story(|| format!("    the one that was replaced: {step:?}"));
        due.extend(replaced.ahead.step(step, |command| command));
        let epoch = replaced.scheduler.epoch;
        self.exchange(&mut replaced);
        let answered = due.into_iter().try_for_each(|command| match command {
            Command::Answer { worker } => {
                self.sights.replaced_answers += u64::from(!self.down);
                self.answer(&worker)
            }
            // Its successor does that too.
            Command::CleanUp { .. } => Ok(()),
            other => Err(format!("one that was replaced would carry out {other:?}")),
        });
        self.exchange(&mut replaced);
        if replaced.ahead.batch().is_some() {
            // As soon as it reaches the store, it meets its successor's entry.
            let at = self.now + self.weather.journal_delay(&mut self.random);
            self.queue(at, Happening::Fenced(epoch));
        }
        self.replaced = Some(replaced);
        answered
    }

    fn exchange(&mut self, replaced: &mut Replaced) {
        mem::swap(&mut self.scheduler, &mut replaced.scheduler);
        mem::swap(&mut self.ahead, &mut replaced.ahead);
        mem::swap(&mut self.waiting, &mut replaced.waiting);
    }

    fn carry_out(&mut self, command: Command) -> Result<(), String> {
        let delay = self.weather.store_delay(&mut self.random);
        match command {
            Command::Prepare { job } => {
                let sim = &self.jobs[&job];
                let event = match sim.nature {
                    Nature::Unlistable => {
                        Event::PrepareFailed { job, failure: Failure::refused("there is no such folder") }
                    }
                    Nature::Fine | Nature::Doomed(..) | Nature::Hopeless(..) | Nature::Deadly(..) | Nature::Empty => {
                        Event::Prepared { job, graph: sim.graph.clone(), split_objects: sim.splits.clone().into() }
                    }
                };
                self.tell_later(self.now + delay, event);
            }
            Command::Look { job } => self.look(&job),
            Command::Answer { worker } => self.answer(&worker)?,
            Command::Commit { job, round } => self.commit(job, round, delay)?,
            Command::CleanUp { job } => {
                self.laws.cleans_up(&self.scheduler, &job)?;
                // Outputs of tasks are kept for jobs that could use them; all else goes.
                let prefix = format!("{job}/");
                let kept = self.kept_outputs();
                self.files.retain(|key, _| !key.starts_with(&prefix) || kept.contains(key));
            }
        }
        Ok(())
    }

    /// Files of tasks that are done, in the order of what was written.
    fn kept_outputs(&self) -> BTreeSet<String> {
        let outputs = self.journal.iter().filter_map(|fact| match &fact.what {
            What::Done { output, .. } => output.kept.as_ref(),
            _ => None,
        });
        outputs.map(|file| file.key.clone()).collect()
    }

    /// What other jobs over the same input have done with the same kernels, stage after stage.
    fn look(&mut self, id: &JobId) {
        let (job, view) = (&self.jobs[id], self.scheduler.job(id));
        let Some(family) = view.and_then(|view| view.family.map(Arc::from)) else { return };
        let (mut found, mut of_one_job) = (BTreeMap::new(), BTreeSet::new());
        for fact in self.journal.iter().filter(|fact| fact.job != *id && self.jobs[&fact.job].is_like(job)) {
            let What::Done { attempt, family: of, output } = &fact.what else { continue };
            let TaskId { job: by, stage, index } = &attempt.task;
            // What was so for one job need not be so for another, nor what was made of it.
            let reads = &job.graph.stages[*stage as usize].tasks[*index as usize];
            let mut reads = reads.waits_for().map(|(stage, index)| (by.clone(), stage, index));
            let verdicts = output.quarantined.iter().any(|verdict| verdict.source == QuarantineSource::Environment);
            if verdicts || reads.any(|read| of_one_job.contains(&read)) {
                of_one_job.insert((by.clone(), *stage, *index));
                continue;
            }
            of_one_job.remove(&(by.clone(), *stage, *index));
            if *of == family && output.kept.as_ref().is_some_and(|file| self.files.contains_key(&file.key)) {
                found.insert((*stage, *index), output.clone());
            }
        }
        if !found.is_empty() {
            self.sights.found += found.len() as u64;
            let outputs = found.into_iter().map(|((stage, index), output)| (stage, index, output)).collect();
            self.tell_later(self.now, Event::Found { job: id.clone(), family, outputs });
        }
    }

    fn commit(&mut self, id: JobId, round: u32, delay: Millis) -> Result<(), String> {
        let job = &self.jobs[&id];
        let lost = self.laws.commits(&self.scheduler, job, round, &self.files)?;
        // Unless a coordinator before has read them: its entry is there, or comes, and a commit looks for that first.
        if !lost.is_empty() && !self.read.contains(&id) {
            self.sights.missed_by_commit += 1;
            let outcome = Err(Failure { lost, ..Failure::application("parts are gone") });
            self.tell_later(self.now + delay, Event::CommitEnded { job: id, round, outcome });
            return Ok(());
        }
        self.read.insert(id.clone());
        let (fails, cancelled) = (job.commit_fails, job.cancel_at_commit);
        if cancelled {
            self.sights.cancelled_too_late += 1;
            let at = self.now + self.random.between(0, delay);
            self.queue_perhaps_twice(at, Happening::Asked(Event::Cancel { job: id.clone() }));
        }
        let outcome = if fails { Err(Failure::permanent("the table has changed")) } else { Ok(()) };
        if !fails {
            // The entry is there long before the store says so.
            let at = self.now + self.random.between(0, delay);
            self.queue(at, Happening::EntryWritten { job: id.clone() });
        }
        self.tell_later(self.now + delay, Event::CommitEnded { job: id, round, outcome });
        Ok(())
    }

    fn poll_arrives(&mut self, poll: Poll) -> Result<(), String> {
        if self.waiting.get(&poll.worker).is_none_or(|waiting| waiting.seq < poll.seq) {
            self.waiting.insert(poll.worker.clone(), poll.clone());
            let (worker, seq) = (poll.worker.clone(), poll.seq);
            self.queue(self.now + POLL_WAIT_MS, Happening::PollWaits { worker, seq });
        }
        self.laws.hear(&self.scheduler, &poll);
        let lost = self.lost_and_undone(&poll);
        self.tell(Event::Poll(poll.clone()))?;
        self.laws.heard(&self.scheduler, &poll)?;
        self.sights.late_successes += lost.iter().filter(|task| self.scheduler.output(task).is_some()).count() as u64;
        Ok(())
    }

    /// Tasks of results whose lease the worker has no more.
    fn lost_and_undone(&self, poll: &Poll) -> Vec<TaskId> {
        let view = self.scheduler.workers().find(|worker| *worker.id == poll.worker);
        let leases = view.map(|worker| worker.leases).unwrap_or_default();
        let lost = poll.results.iter().map(|result| &result.attempt).filter(|attempt| !leases.contains(attempt));
        lost.map(|attempt| attempt.task.clone()).filter(|task| self.scheduler.output(task).is_none()).collect()
    }

    fn answer(&mut self, worker: &WorkerId) -> Result<(), String> {
        if !self.ahead.may_answer(worker) && !self.scheduler.flawed(Flaw::SpeaksTooSoon) {
            return Ok(());
        }
        let Some(poll) = self.waiting.remove(worker) else { return Ok(()) };
        let right = |output: &_, task: &TaskId| books_are_right(&self.jobs[&task.job], output, task);
        self.laws.acknowledged(&self.scheduler, &poll, &self.jobs, right)?;
        let answer = self.scheduler.answer(worker, &poll.held);
        let mut orders = Vec::new();
        for attempt in answer.orders {
            let family = self.scheduler.job(&attempt.task.job).and_then(|view| view.family);
            let family = family.ok_or_else(|| format!("{attempt} was given with no family"))?.to_owned();
            if !self.workers[worker].kind.families.contains(&family) {
                return Err(format!("{attempt} for {family} was given to {worker}, which does not have it"));
            }
            orders.push(self.order(attempt, family)?);
        }
        let what = AtWorker::Answer { seq: poll.seq, orders, stop: answer.stop };
        self.send(worker, Happening::At(worker.clone(), what));
        Ok(())
    }

    fn order(&self, attempt: AttemptId, family: String) -> Result<Order, String> {
        let job = &self.jobs[&attempt.task.job];
        let stage = &job.graph.stages[attempt.task.stage as usize].name;
        let condemned = self.scheduler.condemned(&attempt.task).iter().map(|condemned| match condemned {
            Condemned::Verdict(found) => (found.key.parse().expect("objects are numbers"), (**found).clone()),
            Condemned::Kills(position) => {
                let object = job.object(&attempt.task, *position);
                (object, verdict(object, stage, KILLS, QuarantineSource::Environment))
            }
        });
        let (condemned, probe) = (condemned.collect(), self.scheduler.probe(&attempt));
        Ok(Order { reads: self.reads(&attempt)?, attempt, family, probe, condemned })
    }

    /// The files that an order names: what it waits for must be done.
    fn reads(&self, attempt: &AttemptId) -> Result<Vec<String>, String> {
        let TaskId { job, stage, index } = &attempt.task;
        let node = &self.jobs[job].graph.stages[*stage as usize].tasks[*index as usize];
        for (stage, index) in node.waits_for() {
            let task = TaskId { job: job.clone(), stage, index };
            self.scheduler.output(&task).ok_or_else(|| format!("{attempt} was given before {task} was done"))?;
        }
        let file = |&(stage, index): &(u32, u32)| {
            let output = self.scheduler.output(&TaskId { job: job.clone(), stage, index });
            output.and_then(|output| output.kept.as_ref()).map(|file| file.key.clone())
        };
        node.reads.iter().map(|read| file(read).ok_or_else(|| format!("{attempt} has nothing to read"))).collect()
    }

    // Workers.

    fn worker(&mut self, id: &WorkerId) -> &mut SimWorker {
        self.workers.get_mut(id).expect("workers are never forgotten here")
    }

    fn worker_comes(&mut self, kind: Kind) {
        let id = WorkerId(format!("w{}", self.workers.len()));
        let worker = SimWorker::draw(id.clone(), kind, &mut self.random, &self.weather, self.now);
        let (at, fate) = worker.fate;
        self.queue(at, Happening::At(id.clone(), AtWorker::Meets(fate)));
        self.workers.insert(id.clone(), worker);
        self.poll(&id);
    }

    fn poll(&mut self, id: &WorkerId) {
        let poll = self.worker(id).poll();
        let seq = poll.seq;
        self.send(id, Happening::PollArrives(poll));
        self.queue(self.now + ANSWER_WAIT_MS, Happening::At(id.clone(), AtWorker::NoAnswer { seq }));
    }

    fn answer_arrives(&mut self, id: &WorkerId, seq: u64, orders: Vec<Order>, stop: &[AttemptId]) {
        if !self.worker(id).take(seq, orders, stop) {
            return;
        }
        if self.workers[id].draining {
            // What came too late is handed back at once.
            self.worker(id).drain();
            if self.workers[id].may_leave() {
                self.worker(id).alive = false;
                return self.replace(id);
            }
        }
        self.start(id);
        let again = self.now + self.random.between(1, 30);
        self.queue(again, Happening::At(id.clone(), AtWorker::Polls));
    }

    fn start(&mut self, id: &WorkerId) {
        let worker = self.workers.get_mut(id).expect("workers are never forgotten here");
        for (attempt, takes) in worker.start(&mut self.random) {
            self.queue(self.now + takes, Happening::At(id.clone(), AtWorker::Finishes(attempt)));
        }
    }

    fn finishes(&mut self, id: &WorkerId, attempt: &AttemptId) {
        let Some((order, wanted)) = self.worker(id).finish(attempt) else { return };
        let job = &self.jobs[&attempt.task.job];
        let maps = job.maps(&order);
        let deadly = job.is_at(&attempt.task, Nature::Deadly)
            && job.maps_split(attempt.task.stage, attempt.task.index) != maps.is_empty();
        if deadly || maps.iter().any(|object| job.bad(*object) == Some(Bad::Kills)) {
            self.laws.killed.insert(id.clone());
            return self.crash(id);
        }
        if !wanted {
            return self.start(id);
        }
        if self.random.per_mille(self.weather.out_of_memory) {
            let short = self.random.per_mille(500);
            for given_up in self.worker(id).runs_short(short) {
                self.laws.failed(&given_up, FailureClass::OutOfMemory);
            }
        }
        let outcome = self.outcome(id, &order);
        if let Err(failure) = &outcome {
            self.laws.failed(attempt, failure.class);
        }
        self.worker(id).results.push(AttemptResult {
            attempt: attempt.clone(),
            kernel_family: order.family,
            outcome,
            asked: Default::default(),
        });
        self.start(id);
        self.poll(id);
    }

    fn outcome(&mut self, id: &WorkerId, order: &Order) -> Result<mr_core::TaskOutput, Failure> {
        self.sights.attempts += 1;
        if self.workers[id].sick || self.random.per_mille(self.weather.application) {
            return Err(Failure::application("bad luck"));
        }
        if self.random.per_mille(self.weather.transient) {
            return Err(Failure::transient("the store is away"));
        }
        if self.random.per_mille(self.weather.out_of_memory) {
            return Err(Failure::new(FailureClass::OutOfMemory, "there is no room"));
        }
        let over = self.scheduler.job(&order.attempt.task.job).is_some_and(|view| view.phase.ended());
        self.sights.orphans += u64::from(over);
        let mut lost: Vec<_> = order.reads.iter().filter(|key| !self.files.contains_key(*key)).cloned().collect();
        if self.random.per_mille(self.weather.blind) {
            lost.extend(order.reads.first().cloned());
        }
        if !lost.is_empty() {
            self.laws.missed(&order.attempt, &lost);
            return Err(Failure { lost, ..Failure::application("files are gone") });
        }
        let reads: Vec<_> = order.reads.iter().map(|key| self.files[key].objects.clone()).collect();
        let job = &self.jobs[&order.attempt.task.job];
        let key = order.attempt.to_string();
        let (mut output, mut objects) = job.work(order, &key, &reads, self.now)?;
        if order.probe.is_some() {
            return Ok(output);
        }
        let one_row = job.graph.stages[order.attempt.task.stage as usize].one_row_per_record;
        if one_row && !objects.is_empty() && self.random.per_mille(self.weather.wrong_books) {
            objects.pop();
            output.rows -= 1;
            // The scheduler must find that out and charge it.
            self.laws.failed(&order.attempt, FailureClass::Application);
            self.sights.wrong_books += 1;
        }
        if one_row && job.maps_split(order.attempt.task.stage, order.attempt.task.index) && !objects.is_empty() {
            let at = self.random.between(0, objects.len() as u64 - 1) as usize;
            if self.random.per_mille(self.weather.mistaken) {
                let (object, task) = (objects.remove(at), &order.attempt.task);
                let stage = &job.graph.stages[task.stage as usize].name;
                output.quarantined.push(verdict(object, stage, "changed", QuarantineSource::Environment));
                output.rows -= 1;
                self.laws.mistaken(&task.job, object);
            }
        }
        self.files.insert(key, File { objects, family: order.family.clone() });
        Ok(output)
    }

    /// One of the files of tasks that are done, or of attempts that did not win.
    fn vanishes(&mut self) {
        let own = |key: &String| key.split('/').next().and_then(|job| JobId::parse(job).ok());
        let kept = |key: &&String| own(key).is_some_and(|job| !self.read.contains(&job));
        let keys: Vec<_> = self.files.keys().filter(kept).cloned().collect();
        if !keys.is_empty() {
            self.files.remove(self.random.pick(&keys));
        }
    }

    fn crash(&mut self, id: &WorkerId) {
        self.sights.crashed += 1;
        self.worker(id).alive = false;
        self.replace(id);
    }

    /// Another one comes, sooner or later.
    fn replace(&mut self, id: &WorkerId) {
        let (at, kind) = (self.now + self.random.between(100, 20_000), self.workers[id].kind.clone());
        self.queue(at, Happening::WorkerComes { kind });
    }

    /// From now on everything works, and there is somebody to do it.
    fn clears(&mut self) {
        self.weather = Weather::calm();
        for worker in self.workers.values_mut() {
            worker.sick = false;
        }
        self.queue.retain(|_, happening| match happening {
            Happening::At(_, AtWorker::Meets(_))
            | Happening::Outage { .. }
            | Happening::Stalls { .. }
            | Happening::Vanishes
            | Happening::CoordinatorDies => false,
            Happening::Asked(_)
            | Happening::Told(..)
            | Happening::Written(_)
            | Happening::CoordinatorComes
            | Happening::Fenced(_)
            | Happening::PollArrives(_)
            | Happening::PollWaits { .. }
            | Happening::At(..)
            | Happening::WorkerComes { .. }
            | Happening::EntryWritten { .. }
            | Happening::Clears => true,
        });
        for kind in self.kinds.clone() {
            self.worker_comes(kind);
        }
    }

    // Time and the network.

    fn queue(&mut self, at: Millis, happening: Happening) {
        if at < Millis::MAX {
            self.queued += 1;
            self.queue.insert((at, self.queued), happening);
        }
    }

    /// The shell's own events are never lost, but some come twice.
    fn tell_later(&mut self, at: Millis, event: Event) {
        self.queue_perhaps_twice(at, Happening::Told(self.scheduler.epoch, event));
    }

    fn queue_perhaps_twice(&mut self, at: Millis, happening: Happening) {
        if self.random.per_mille(self.weather.doubled) {
            let again = at + self.random.between(0, 5000);
            self.queue(again, happening.clone());
        }
        self.queue(at, happening);
    }

    /// A message from or to a worker.
    fn send(&mut self, worker: &WorkerId, message: Happening) {
        let cut_off = self.workers[worker].cut_off_until > self.now;
        if cut_off || self.random.per_mille(self.weather.lost) {
            self.sights.messages_lost += 1;
            return;
        }
        if self.random.per_mille(self.weather.doubled) {
            let at = self.now + self.weather.delay(&mut self.random);
            self.queue(at, message.clone());
        }
        let at = self.now + self.weather.delay(&mut self.random);
        self.queue(at, message);
    }

    fn tell_story(&mut self, line: impl FnOnce() -> String) {
        if let Some(story) = &mut self.story {
            story.push(format!("{:>7} {}", self.now, line()));
        }
    }
}
