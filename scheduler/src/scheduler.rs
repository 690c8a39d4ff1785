//! The scheduler's state, one arm for each event, and what can be asked of it.

use crate::event::{Answer, Command, Config, Event, Millis, Poll, Step};
use crate::fact::{Condemned, Ending, Fact, Remains, What};
use crate::flaw::Flaw;
use crate::fleet::{Fleet, Granted, WorkerNo};
use crate::job::{Job, JobNo, Phase};
use crate::tasks::{Lease, Place, Task, TaskState, Tasks};
use crate::view::{JobView, WorkerView};
use mr_core::{
    AttemptId, Epoch, Failure, FailureClass, JobCode, JobId, KernelWish, Limits, SplitObjects, StageIndex, TaskGraph,
    TaskId, TaskOutput, WorkerId,
};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::mem;
use std::sync::Arc;

#[derive(Clone, Debug)]
pub struct Scheduler {
    pub(crate) config: Config,
    /// Whose attempts these are.
    pub(crate) epoch: Epoch,
    pub(crate) now: Millis,
    pub(crate) jobs: BTreeMap<JobNo, Job>,
    pub(crate) job_numbers: BTreeMap<JobId, JobNo>,
    /// Those with tasks to give.
    pub(crate) running: BTreeSet<JobNo>,
    /// The one that ended first in front.
    pub(crate) ended: VecDeque<JobNo>,
    pub(crate) fleet: Fleet,
    /// When paused tasks are ready again. A task that has gone another way meanwhile is left alone then.
    pub(crate) pauses: BTreeSet<(Millis, JobNo, Place)>,
    pub(crate) next_job: u64,
    pub(crate) flaw: Option<Flaw>,
}

/// A step as it comes about. Workers are told once, however much is new for them.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    pub facts: Vec<Fact>,
    pub commands: Vec<Command>,
    pub news: BTreeSet<WorkerNo>,
    pub doubted: bool,
}

impl Scheduler {
    pub fn new(config: Config, epoch: Epoch) -> Self {
        Self {
            config,
            epoch,
            now: 0,
            jobs: BTreeMap::new(),
            job_numbers: BTreeMap::new(),
            running: BTreeSet::new(),
            ended: VecDeque::new(),
            fleet: Fleet::default(),
            pauses: BTreeSet::new(),
            next_job: 0,
            flaw: None,
        }
    }

    /// The only way in. A time before the last one is taken for the last one.
    pub fn handle(&mut self, now: Millis, event: Event) -> Step {
        self.now = self.now.max(now);
        let mut out = Outbox::default();
        match event {
            Event::Submit { job, code, limits, kernels } => self.submit(job, code, limits, kernels, &mut out),
            Event::Prepared { job, graph, split_objects } => self.prepared(&job, graph, split_objects, &mut out),
            Event::PrepareFailed { job, failure } => self.prepare_failed(&job, failure, &mut out),
            Event::Poll(poll) => self.poll(poll, &mut out),
            Event::Found { job, family, outputs } => self.found(&job, &family, outputs, &mut out),
            Event::CommitEnded { job, round, outcome } => self.commit_ended(&job, round, outcome, &mut out),
            Event::Cancel { job } => self.cancel(&job, &mut out),
            Event::Broken { job, failure } => self.broken(&job, failure, &mut out),
            Event::Tick => self.tick(&mut out),
        }
        self.step(out)
    }

    /// Gives out what there is to give, after whatever has happened.
    pub(crate) fn step(&mut self, mut out: Outbox) -> Step {
        self.fleet.recall();
        self.assign(&mut out);
        self.watch_unserved();
        for attempt in self.fleet.take_begun() {
            let now = self.now;
            if let Some(tasks) = self.running_tasks(&attempt.task.job) {
                tasks.began(Place::of(&attempt.task), &attempt, now);
            }
        }
        let Outbox { facts, mut commands, news, doubted } = out;
        commands
            .extend(news.into_iter().map(|number| Command::Answer { worker: self.fleet.worker(number).id.clone() }));
        Step { facts, commands, doubted }
    }

    /// When a [`Tick`](Event::Tick) has something to do.
    pub fn next_deadline(&self) -> Option<Millis> {
        let pause = self.pauses.first().map(|(at, _, _)| *at);
        let straggler = self.next_straggler_at();
        let unserved = self.running.iter().filter_map(|number| self.gives_up_at(&self.jobs[number])).min();
        [pause, straggler, unserved, self.fleet.next_deadline()].into_iter().flatten().min()
    }

    pub fn answer(&self, worker: &WorkerId, held: &[AttemptId]) -> Answer {
        let worker = self.fleet.find(worker).map(|number| self.fleet.worker(number)).filter(|worker| worker.live());
        let Some(worker) = worker else {
            return Answer { orders: Vec::new(), stop: held.to_vec(), known: false };
        };
        let holds: BTreeSet<_> = held.iter().collect();
        let new = |(attempt, granted): (&AttemptId, &Granted)| {
            (!holds.contains(attempt)).then(|| (granted.order, attempt.clone()))
        };
        let mut orders: Vec<_> = worker.leases().iter().filter_map(new).collect();
        orders.sort_unstable_by_key(|(order, _)| *order);
        Answer {
            orders: orders.into_iter().map(|(_, attempt)| attempt).collect(),
            stop: held.iter().filter(|attempt| !worker.leases().contains_key(attempt)).cloned().collect(),
            known: true,
        }
    }

    /// Of the attempt that won, while the job runs and commits.
    pub fn output(&self, task: &TaskId) -> Option<&Arc<TaskOutput>> {
        self.find(&task.job)?.tasks()?.find(Place::of(task))?.state.output()
    }

    /// Of a stage's tasks that are done, in the order of tasks, while the job runs and commits.
    pub fn outputs(&self, job: &JobId, stage: StageIndex) -> Vec<Arc<TaskOutput>> {
        let tasks = self.find(job).and_then(Job::tasks).map_or(&[][..], |tasks| tasks.stage_tasks(stage));
        tasks.iter().filter_map(|task| task.state.output().cloned()).collect()
    }

    pub fn job(&self, job: &JobId) -> Option<JobView<'_>> {
        self.find(job).map(|job| self.view(job))
    }

    /// In order of submission.
    pub fn jobs(&self) -> impl Iterator<Item = JobView<'_>> {
        self.jobs.values().map(|job| self.view(job))
    }

    fn view<'a>(&'a self, job: &'a Job) -> JobView<'a> {
        JobView::of(job, &self.fleet, self.lack(job), self.gives_up_at(job))
    }

    /// Those that are in touch, in the order in which they came.
    pub fn workers(&self) -> impl Iterator<Item = WorkerView<'_>> {
        self.fleet.live().filter_map(|(_, worker)| WorkerView::of(worker))
    }

    pub(crate) fn find(&self, job: &JobId) -> Option<&Job> {
        self.job_numbers.get(job).map(|number| &self.jobs[number])
    }

    fn submit(&mut self, id: JobId, code: JobCode, limits: Limits, kernels: KernelWish, out: &mut Outbox) {
        if self.job_numbers.contains_key(&id) {
            return;
        }
        self.record(&id, What::Submitted { code, limits, kernels }, out);
        out.commands.push(Command::Prepare { job: id });
    }

    fn prepared(&mut self, id: &JobId, graph: Arc<TaskGraph>, split_objects: SplitObjects, out: &mut Outbox) {
        let Some(&number) = self.job_numbers.get(id) else { return };
        match &self.jobs[&number].phase {
            Phase::Listing => match Tasks::check(&graph, &split_objects) {
                Ok(()) => self.record(id, What::Prepared { graph, split_objects }, out),
                Err(failure) => self.end(number, Ending::Failed(failure), out),
            },
            Phase::Failed { listing: true, .. } | Phase::Cancelled { listing: true, .. } => {
                out.commands.push(Command::CleanUp { job: id.clone() });
            }
            Phase::Running(_)
            | Phase::Committing(_)
            | Phase::Committed(_)
            | Phase::Failed { listing: false, .. }
            | Phase::Cancelled { listing: false, .. } => {}
        }
    }

    fn prepare_failed(&mut self, id: &JobId, failure: Failure, out: &mut Outbox) {
        let Some(&number) = self.job_numbers.get(id) else { return };
        match &self.jobs[&number].phase {
            Phase::Listing => self.end(number, Ending::Failed(failure), out),
            Phase::Failed { listing: true, .. } | Phase::Cancelled { listing: true, .. } => {
                out.commands.push(Command::CleanUp { job: id.clone() });
            }
            Phase::Running(_)
            | Phase::Committing(_)
            | Phase::Committed(_)
            | Phase::Failed { listing: false, .. }
            | Phase::Cancelled { listing: false, .. } => {}
        }
    }

    fn poll(&mut self, mut poll: Poll, out: &mut Outbox) {
        poll.draining &= !self.flawed(Flaw::ServesDraining);
        if self.fleet.stale(&poll) && !self.flawed(Flaw::HearsOldPolls) {
            return;
        }
        out.doubted = !self.flawed(Flaw::NeverDoubts) && self.is_doubted_by(&poll);
        // What it was given it can't be relied upon to make any more.
        let known = self.fleet.find(&poll.worker);
        if let Some(number) = known.filter(|number| {
            let worker = self.fleet.worker(*number);
            let families = worker.families.iter().map(|family| &**family);
            !families.eq(poll.families.iter().map(String::as_str)) || *worker.jobs() != poll.jobs
        }) {
            self.lose(number, out);
        }
        if let Some(number) = known.filter(|_| !self.flawed(Flaw::BlamesTheLiving)) {
            for attempt in self.fleet.take_lost(number) {
                if let Some(tasks) = self.running_tasks(&attempt.task.job) {
                    tasks.came_back(Place::of(&attempt.task), &attempt);
                }
            }
        }
        let number = self.fleet.renew(&poll, self.now.saturating_add(self.config.lease_ms));
        let acknowledges = !poll.results.is_empty();
        self.adopt(number, &poll);
        for result in mem::take(&mut poll.results) {
            self.result(number, result, out);
        }
        self.fleet.note_held(number, &poll.held, poll.lingers);
        self.take_back(number, &poll, out);
        // A worker that drains is never kept waiting: it wants to leave.
        if acknowledges || poll.draining || out.doubted || !self.answer(&poll.worker, &poll.held).is_empty() {
            out.news.insert(number);
        }
        // With nothing left to it, a draining worker has said its last: nobody should count on its slots.
        if poll.draining && poll.held.is_empty() {
            self.lose(number, out);
        }
    }

    /// Whether a worker has attempts of a coordinator that came after this one: with these state and epoch somebody else
    /// decides, or the worker has been with another cluster. Its results were not heard, and must not be taken for heard.
    fn is_doubted_by(&self, poll: &Poll) -> bool {
        let mut attempts = poll.held.iter().chain(poll.results.iter().map(|result| &result.attempt));
        attempts.any(|attempt| attempt.epoch > self.epoch)
    }

    /// What a draining worker was given and did not get; and what was taken up from a coordinator before this one and is no
    /// longer held: its end was told to that one, and the same attempt must not be two things.
    fn take_back(&mut self, number: WorkerNo, poll: &Poll, out: &mut Outbox) {
        let epoch = self.epoch;
        let gone = |attempt: &&AttemptId| (poll.draining || attempt.epoch < epoch) && !poll.held.contains(attempt);
        let leases: Vec<_> = self.fleet.worker(number).leases().keys().filter(gone).cloned().collect();
        for attempt in leases {
            self.fleet.release(number, &attempt);
            if let Some(tasks) = self.running_tasks(&attempt.task.job) {
                tasks.give_back(Place::of(&attempt.task), &attempt);
            }
            out.news.insert(number);
        }
    }

    fn commit_ended(&mut self, id: &JobId, round: u32, outcome: Result<(), Failure>, out: &mut Outbox) {
        let Some(&number) = self.job_numbers.get(id) else { return };
        match &self.jobs[&number].phase {
            Phase::Committing(_) if round == self.jobs[&number].rounds => match outcome {
                Ok(()) => self.end(number, Ending::Committed, out),
                Err(failure) => {
                    if !self.missed_by_commit(number, &failure, out) {
                        self.end(number, Ending::Failed(failure), out);
                    }
                }
            },
            // Told twice, or of a commit that was never asked for.
            Phase::Listing | Phase::Running(_) | Phase::Committing(_) => {}
            Phase::Committed(_) | Phase::Failed { .. } | Phase::Cancelled { .. } => {}
        }
    }

    fn cancel(&mut self, id: &JobId, out: &mut Outbox) {
        let Some(&number) = self.job_numbers.get(id) else { return };
        match &self.jobs[&number].phase {
            Phase::Listing | Phase::Running(_) => self.end(number, Ending::Cancelled, out),
            Phase::Committing(_) if self.flawed(Flaw::CancelsWhileCommitting) => {
                self.end(number, Ending::Cancelled, out)
            }
            Phase::Committing(_) => {} // the log entry may be there already
            Phase::Committed(_) | Phase::Failed { .. } | Phase::Cancelled { .. } => {}
        }
    }

    fn broken(&mut self, id: &JobId, failure: Failure, out: &mut Outbox) {
        let Some(&number) = self.job_numbers.get(id) else { return };
        match &self.jobs[&number].phase {
            Phase::Listing | Phase::Running(_) => self.end(number, Ending::Failed(failure), out),
            Phase::Committing(_) => {} // its end is told by the commit
            Phase::Committed(_) | Phase::Failed { .. } | Phase::Cancelled { .. } => {}
        }
    }

    fn tick(&mut self, out: &mut Outbox) {
        let grace = self.config.lease_ms / 3;
        for (at, number) in self.fleet.overdue(self.now) {
            if !self.fleet.worker(number).live() {
                self.fleet.forget(number);
            } else if self.now - at > grace {
                // It is we who were away: what it said meanwhile may be waiting to be heard.
                self.fleet.extend(number, self.now.saturating_add(grace.max(1)));
            } else {
                self.lose(number, out);
            }
        }
        while let Some(&(at, job, place)) = self.pauses.first().filter(|(at, _, _)| *at <= self.now) {
            self.pauses.remove(&(at, job, place));
            if let Some(tasks) = self.jobs.get_mut(&job).and_then(Job::running_mut) {
                tasks.wake(place, self.now);
            }
        }
        self.fleet.end_asides(self.now);
        self.give_up(grace, out);
    }

    /// A worker is gone: what it had goes to others.
    fn lose(&mut self, number: WorkerNo, out: &mut Outbox) {
        let leases = self.fleet.lose(number, self.now, self.config.lease_ms);
        out.news.insert(number);
        for attempt in leases {
            if self.flawed(Flaw::KeepsLostLeases) {
                continue;
            }
            let Some(tasks) = self.running_tasks(&attempt.task.job) else { continue };
            let place = Place::of(&attempt.task);
            let probe = tasks.is_probe(place, &attempt);
            let lost = tasks.lose(place, &attempt);
            if probe {
                let first = tasks.care(place).probing.as_ref().map(|probing| probing.trying.start);
                if let Some(first) = first.filter(|_| self.flawed(Flaw::CondemnsAtOnce)) {
                    self.condemn(&attempt.task, Condemned::Kills(first), out);
                    continue;
                }
                let Some(tasks) = self.running_tasks(&attempt.task.job) else { continue };
                if let Some(culprit) = tasks.probed(place, &attempt, false) {
                    self.condemn(&attempt.task, Condemned::Kills(culprit), out);
                    continue;
                }
            } else {
                tasks.suspect(place);
            }
            self.judge_losses(&attempt.task, lost, number, out);
        }
        self.unbind(out);
    }

    /// A record is not to be mapped any more: two workers have found it beyond them.
    pub(crate) fn condemn(&mut self, task: &TaskId, condemned: Condemned, out: &mut Outbox) {
        let what = What::Condemned { stage: task.stage, index: task.index, condemned };
        self.record(&task.job, what, out);
    }

    /// The part of its split that an attempt is to try, if it is a probe: it shows only whether its worker lives.
    pub fn probe(&self, attempt: &AttemptId) -> Option<std::ops::Range<u32>> {
        self.find(&attempt.task.job)?.tasks()?.probe(Place::of(&attempt.task), attempt)
    }

    /// Records that an attempt of this task is not to map.
    pub fn condemned(&self, task: &TaskId) -> &[Condemned] {
        self.find(&task.job).and_then(Job::tasks).map_or(&[], |tasks| tasks.condemned(Place::of(task)))
    }

    pub(crate) fn judge_losses(&mut self, task: &TaskId, lost: u32, last: WorkerNo, out: &mut Outbox) {
        if lost < self.config.losses_max {
            return;
        }
        let what = self.name(task);
        let last = &self.fleet.worker(last).id;
        let message = format!("{what} has lost its worker {lost} times, the last one {last}");
        let job = self.job_numbers[&task.job];
        self.end(job, Ending::Failed(Failure::new(FailureClass::WorkerLost, message)), out);
    }

    /// Attempts that a worker holds from a coordinator before this one go on, unless their tasks have gone on without them.
    fn adopt(&mut self, number: WorkerNo, poll: &Poll) {
        for attempt in &poll.held {
            let (epoch, since) = (self.epoch, self.now);
            if attempt.epoch >= epoch {
                continue;
            }
            let worker = self.fleet.worker(number);
            if worker.leases().contains_key(attempt) {
                continue;
            }
            let Some(job) = self.job_numbers.get(&attempt.task.job).and_then(|job| self.jobs.get_mut(job)) else {
                continue;
            };
            let has_kernels = job.family.as_ref().is_some_and(|bound| worker.families.contains(bound));
            if !has_kernels || !worker.jobs().contains(&job.code) {
                continue;
            }
            let place = Place::of(&attempt.task);
            let Some(tasks) = job.running_mut() else { continue };
            let waits = |task: &Task| matches!(task.state, TaskState::Ready | TaskState::Paused { .. });
            if tasks.find(place).is_some_and(waits) && !tasks.may_be_outdated(place) {
                let (epoch, worker) = (attempt.epoch, number);
                tasks.adopt(place, Lease { epoch, number: attempt.number, worker, since, begun: false, probe: false });
                self.fleet.grant(number, attempt.clone(), false);
            }
        }
    }

    pub(crate) fn running_tasks(&mut self, job: &JobId) -> Option<&mut Tasks> {
        self.jobs.get_mut(self.job_numbers.get(job)?)?.running_mut()
    }

    /// "task 3 of stage `embed`"
    pub(crate) fn name(&self, task: &TaskId) -> String {
        let graph = self.find(&task.job).and_then(Job::tasks).map(Tasks::graph);
        let stage = graph.and_then(|graph| graph.stages.get(task.stage as usize)).map_or("", |stage| &stage.name);
        format!("task {} of stage `{stage}`", task.index)
    }

    /// Ends a job in any way and takes back what its tasks have.
    pub(crate) fn end(&mut self, number: JobNo, mut ending: Ending, out: &mut Outbox) {
        if let Ending::Failed(failure) = &mut ending {
            failure.lost.clear(); // there is nobody left to make them again
        }
        let job = &self.jobs[&number];
        let tasks = job.running().filter(|_| !self.flawed(Flaw::LetsThemRun));
        let busy = tasks.into_iter().flat_map(|tasks| {
            let leased = tasks.iter().filter(|(_, task)| matches!(task.state, TaskState::Leased { .. }));
            leased.flat_map(|(place, _)| tasks.attempts(place, &job.id))
        });
        let (busy, id) = (busy.collect(), job.id.clone());
        let remains = Remains::of(&job.phase, self.now);
        self.revoke(busy, out);
        self.record(&id, What::Ended { ending, remains }, out);
        out.commands.push(Command::CleanUp { job: id });
    }

    /// Attempts that are not to go on, and whose workers are told so. One whose result has just come is released already.
    pub(crate) fn revoke(&mut self, attempts: Vec<(WorkerNo, AttemptId)>, out: &mut Outbox) {
        for (worker, attempt) in attempts {
            if self.fleet.revoke(worker, &attempt) {
                out.news.insert(worker);
            }
        }
    }
}
