//! The one task that owns the scheduler: messages and effects' results in, decisions carried out.
//!
//! `receive, handle, carry out`, and nothing is awaited in between, so what is told of a job is always one state of it.

use crate::clean::{clean_up, remove};
use crate::commit::{Finished, commit};
use crate::job::{Job, Measured};
use crate::orders::{order, wire_bytes};
use crate::prepare::{Prepared, prepare};
use crate::status::status;
use futures::FutureExt;
use mr_core::{
    AttemptId, AttemptProgress, AttemptResult, Failure, JobId, JobPhase, JobPlan, JobStatus, Order, TaskKind, WorkerId,
};
use mr_scheduler::{Command, Config, Event, Millis, Poll, Scheduler};
use mr_storage::{DynStore, Object};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;

/// A poll that brings nothing and gets nothing is answered after this long: workers tell then how far they are.
const PARKED_MAX: Duration = Duration::from_millis(400);

/// Of the ten seconds that a stop may take.
const FINISH_MAX: Duration = Duration::from_secs(8);

/// Bytes of orders in one answer, well below what a message may have. The others come with the next poll.
const ORDERS_BYTES_MAX: usize = 8 << 20;

/// By then an attempt that was stopped has ended and its files are complete.
const STRAGGLERS_AFTER: Duration = Duration::from_secs(60);

pub enum Message {
    Poll {
        poll: Poll,
        progress: Vec<AttemptProgress>,
        peak_rss_bytes: u64,
        reply: oneshot::Sender<PollAnswer>,
    },
    Submit {
        id: JobId,
        plan: Box<JobPlan>,
        prior_ms: u64,
        reply: oneshot::Sender<()>,
    },
    List {
        reply: oneshot::Sender<Vec<JobStatus>>,
    },
    Status {
        id: JobId,
        reply: oneshot::Sender<Option<JobStatus>>,
    },
    Cancel {
        id: JobId,
        reply: oneshot::Sender<Option<bool>>,
    },
    /// Waits for effects that are under way and ends.
    Stop {
        reply: oneshot::Sender<()>,
    },
}

pub struct PollAnswer {
    pub orders: Vec<Order>,
    pub stop: Vec<AttemptId>,
    pub lease_ms: u64,
}

/// What runs beside the shell, when it is done.
enum Effect {
    Prepared(JobId, Result<Prepared, Failure>),
    Committed(JobId, Result<(), Failure>),
    CleanedUp,
}

struct Parked {
    seq: u64,
    held: Vec<AttemptId>,
    until: Instant,
    reply: oneshot::Sender<PollAnswer>,
}

pub struct Shell {
    scheduler: Scheduler,
    lease_ms: u64,
    state: DynStore,
    started: Instant,
    jobs: BTreeMap<JobId, Job>,
    parked: BTreeMap<WorkerId, Parked>,
    progress: BTreeMap<AttemptId, AttemptProgress>,
    /// When an attempt's order first went out.
    sent: BTreeMap<AttemptId, Millis>,
    effects: JoinSet<Effect>,
    /// Ended jobs whose work files are removed once more: an attempt may have been writing when it was stopped.
    stragglers: VecDeque<(Instant, JobId)>,
    /// Counts up whenever a job's phase may have changed.
    news: watch::Sender<u64>,
}

impl Shell {
    pub fn new(state: DynStore, lease_ms: u64, news: watch::Sender<u64>) -> Self {
        Self {
            scheduler: Scheduler::new(Config { lease_ms, ..Config::default() }),
            lease_ms,
            state,
            started: Instant::now(),
            jobs: BTreeMap::new(),
            parked: BTreeMap::new(),
            progress: BTreeMap::new(),
            sent: BTreeMap::new(),
            effects: JoinSet::new(),
            stragglers: VecDeque::new(),
            news,
        }
    }

    pub async fn run(mut self, mut messages: mpsc::Receiver<Message>, left_behind: Vec<Object>) {
        let state = self.state.clone();
        self.effects.spawn(async move {
            remove(&state, left_behind).await;
            Effect::CleanedUp
        });
        let reply = loop {
            let wake = self.next_wake();
            tokio::select! {
                message = messages.recv() => match message {
                    Some(Message::Stop { reply }) => break Some(reply),
                    Some(message) => self.receive(message),
                    None => break None,
                },
                Some(effect) = self.effects.join_next() => self.effect(effect),
                () = tokio::time::sleep_until(wake.into()) => {
                    // Polls that are here already are heard before anyone's lease is found to be over.
                    let mut stop = None;
                    while let Ok(message) = messages.try_recv() {
                        match message {
                            Message::Stop { reply } => stop = Some(reply),
                            message => self.receive(message),
                        }
                    }
                    if stop.is_some() {
                        break stop;
                    }
                    self.wake();
                }
            }
        };
        self.finish().await;
        if let Some(reply) = reply {
            _ = reply.send(());
        }
    }

    /// Lets clean-ups and commits end, for a bounded time: what is cut short here is repaired by the next run.
    async fn finish(&mut self) {
        self.parked.clear();
        let all = async { while self.effects.join_next().await.is_some() {} };
        _ = tokio::time::timeout(FINISH_MAX, all).await;
    }

    fn now(&self) -> Millis {
        self.started.elapsed().as_millis() as Millis
    }

    fn next_wake(&self) -> Instant {
        let deadline = self.scheduler.next_deadline().map(|at| self.started + Duration::from_millis(at));
        let parked = self.parked.values().map(|parked| parked.until).min();
        let idle = Instant::now() + Duration::from_secs(3600);
        let stragglers = self.stragglers.front().map(|(at, _)| *at);
        [deadline, parked, stragglers].into_iter().flatten().min().unwrap_or(idle)
    }

    fn wake(&mut self) {
        let now = Instant::now();
        let due: Vec<_> = self.parked.iter().filter(|(_, p)| p.until <= now).map(|(w, _)| w.clone()).collect();
        for worker in due {
            self.answer(&worker);
        }
        while self.stragglers.front().is_some_and(|(at, _)| *at <= now) {
            let (_, job) = self.stragglers.pop_front().expect("looked at above");
            self.clean_up(job);
        }
        if self.scheduler.next_deadline().is_some_and(|at| at <= self.now()) {
            self.handle(Event::Tick);
        }
    }

    fn receive(&mut self, message: Message) {
        match message {
            Message::Poll { poll, progress, peak_rss_bytes, reply } => self.poll(poll, progress, peak_rss_bytes, reply),
            Message::Submit { id, plan, prior_ms, reply } => {
                self.submit(id, *plan, prior_ms);
                _ = reply.send(());
            }
            Message::List { reply } => {
                let ids: Vec<_> = self.scheduler.jobs().map(|job| job.id.clone()).collect();
                _ = reply.send(ids.iter().filter_map(|id| self.status(id)).collect());
            }
            Message::Status { id, reply } => _ = reply.send(self.status(&id)),
            Message::Cancel { id, reply } => {
                let phase = self.scheduler.job(&id).map(|job| job.phase);
                let taken = phase.map(|phase| matches!(phase, JobPhase::Listing | JobPhase::Running));
                self.handle(Event::Cancel { job: id });
                _ = reply.send(taken);
            }
            Message::Stop { .. } => unreachable!("taken in `run`"),
        }
    }

    fn submit(&mut self, id: JobId, plan: JobPlan, prior_ms: u64) {
        let limits = plan.spec.limits;
        self.jobs.entry(id.clone()).or_insert_with(|| Job {
            plan: Arc::new(plan),
            submitted_epoch_ms: epoch_ms(),
            prior_ms,
            input: None,
            skipped: 0,
            measured: Measured::default(),
        });
        self.handle(Event::Submit { job: id, limits });
        // The scheduler forgets jobs that ended long ago, and so do we.
        let known: BTreeSet<_> = self.scheduler.jobs().map(|job| job.id.clone()).collect();
        self.jobs.retain(|id, _| known.contains(id));
    }

    fn poll(
        &mut self,
        mut poll: Poll,
        progress: Vec<AttemptProgress>,
        peak_rss_bytes: u64,
        reply: oneshot::Sender<PollAnswer>,
    ) {
        let now = self.now();
        for result in &mut poll.results {
            self.take(result, now);
        }
        for progress in progress {
            let id = &progress.attempt.task.job;
            if !self.scheduler.job(id).is_some_and(|job| !job.phase.ended()) {
                continue; // it is about to be stopped
            }
            if let Some(job) = self.jobs.get_mut(id) {
                job.measured.workers.insert(poll.worker.0.clone(), (poll.slots, peak_rss_bytes));
            }
            self.progress.insert(progress.attempt.clone(), progress);
        }
        let worker = poll.worker.clone();
        if self.parked.get(&worker).is_some_and(|parked| parked.seq >= poll.seq) {
            return; // it comes late, and whoever sent it has asked anew
        }
        let parked = Parked { seq: poll.seq, held: poll.held.clone(), until: Instant::now() + PARKED_MAX, reply };
        let says_something = !poll.results.is_empty() || poll.draining;
        // A newer poll takes the place of an older one, whose caller has gone.
        self.parked.insert(worker.clone(), parked);
        self.handle(Event::Poll(poll));
        let answer = self.parked.get(&worker).map(|parked| self.scheduler.answer(&worker, &parked.held));
        if answer.is_some_and(|answer| says_something || !answer.is_empty()) {
            self.answer(&worker);
        }
    }

    /// Measures what a result says, and holds its verdicts against what the task was given.
    fn take(&mut self, result: &mut AttemptResult, now: Millis) {
        let attempt = &result.attempt;
        self.progress.remove(attempt);
        let sent = self.sent.remove(attempt);
        let Some(job) = self.jobs.get_mut(&attempt.task.job) else { return };
        let Ok(output) = &result.outcome else { return };
        let fits = match verdicts_fit(&self.scheduler, job, attempt, output) {
            Some(fits) => fits,
            None => return, // the job has ended
        };
        if !fits {
            let story = "the worker quarantined objects that the task does not have, or one twice";
            result.outcome = Err(Failure::application(story));
            return;
        }
        if output.broadcast.is_none() && is_broadcast(&self.scheduler, attempt) {
            result.outcome = Err(Failure::permanent("the stage gave nothing to broadcast, and later ones wait for it"));
            return;
        }
        // Said again after a lost answer, it is not measured again.
        let Some(sent) = sent else { return };
        let Some(view) = self.scheduler.job(&attempt.task.job) else { return };
        let is_map = kind(&view, attempt) == Some(TaskKind::MapSplit);
        if is_map {
            job.measured.busy_us += output.times.busy_us;
            let first = sent.saturating_sub(view.submitted_at) + job.prior_ms + output.times.first_record_us / 1000;
            let first = first.min(now.saturating_sub(view.submitted_at) + job.prior_ms);
            job.measured.first_record_ms = Some(job.measured.first_record_ms.map_or(first, |ms| ms.min(first)));
        }
    }

    fn handle(&mut self, event: Event) {
        let now = self.now();
        for command in self.scheduler.handle(now, event) {
            self.carry_out(command);
        }
    }

    fn carry_out(&mut self, command: Command) {
        match command {
            Command::Answer { worker } => self.answer(&worker),
            Command::Prepare { job } => {
                let Some(plan) = self.jobs.get(&job).map(|job| job.plan.clone()) else { return };
                self.effects.spawn(async move {
                    let prepared = AssertUnwindSafe(prepare(&plan)).catch_unwind().await;
                    let broke = |_| Err(Failure::permanent("listing the input broke down: see the coordinator's log"));
                    Effect::Prepared(job, prepared.unwrap_or_else(broke))
                });
            }
            Command::Commit { job } => {
                self.tell();
                let now = self.now();
                let known = self.jobs.get(&job);
                let finished = known.and_then(|known| Finished::gather(&self.scheduler, &job, known, now, epoch_ms()));
                let Some(finished) = finished else { return };
                let (finished, state) = (Arc::new(finished), self.state.clone());
                self.effects.spawn(async move {
                    loop {
                        // It may have broken down after the entry was written: only the same call can tell.
                        let ended = AssertUnwindSafe(commit(finished.clone(), state.clone())).catch_unwind().await;
                        match ended {
                            Ok(outcome) => return Effect::Committed(job, outcome),
                            Err(_) => tokio::time::sleep(Duration::from_secs(1)).await,
                        }
                    }
                });
            }
            Command::CleanUp { job } => {
                self.tell();
                self.progress.retain(|attempt, _| attempt.task.job != job);
                self.sent.retain(|attempt, _| attempt.task.job != job);
                if let Some(known) = self.jobs.get_mut(&job) {
                    known.input = None;
                }
                self.stragglers.push_back((Instant::now() + STRAGGLERS_AFTER, job.clone()));
                self.clean_up(job);
            }
        }
    }

    fn clean_up(&mut self, job: JobId) {
        let state = self.state.clone();
        self.effects.spawn(async move {
            clean_up(state, job).await;
            Effect::CleanedUp
        });
    }

    fn effect(&mut self, effect: Result<Effect, tokio::task::JoinError>) {
        match effect {
            Ok(Effect::Prepared(job, Ok(Prepared { input, graph, split_objects }))) => {
                if let Some(known) = self.jobs.get_mut(&job) {
                    known.skipped = input.listing.skipped;
                    known.input = Some(input);
                }
                self.handle(Event::Prepared { job, graph, split_objects });
            }
            Ok(Effect::Prepared(job, Err(failure))) => self.handle(Event::PrepareFailed { job, failure }),
            Ok(Effect::Committed(job, outcome)) => self.handle(Event::CommitEnded { job, outcome }),
            Ok(Effect::CleanedUp) => {}
            Err(error) => tracing::error!("an effect broke: {error}"),
        }
        self.tell();
    }

    /// Answers the worker's waiting poll, if there is one.
    fn answer(&mut self, worker: &WorkerId) {
        let Some(Parked { held, reply, .. }) = self.parked.remove(worker) else { return };
        if reply.is_closed() {
            return;
        }
        let answer = self.scheduler.answer(worker, &held);
        let now = self.now();
        let mut orders = Vec::with_capacity(answer.orders.len());
        let mut bytes = 0;
        for attempt in answer.orders {
            if bytes > ORDERS_BYTES_MAX {
                break;
            }
            let job = self.jobs.get(&attempt.task.job);
            if let Some(order) = job.and_then(|job| order(&self.scheduler, job, self.state.url(), &attempt)) {
                self.sent.entry(attempt).or_insert(now);
                bytes += wire_bytes(&order);
                orders.push(order);
            }
        }
        _ = reply.send(PollAnswer { orders, stop: answer.stop, lease_ms: self.lease_ms });
    }

    fn status(&self, id: &JobId) -> Option<JobStatus> {
        let view = self.scheduler.job(id)?;
        let workers: Vec<_> = self.scheduler.workers().collect();
        Some(status(&view, self.jobs.get(id)?, &workers, &self.progress, self.now()))
    }

    fn tell(&self) {
        self.news.send_modify(|count| *count += 1);
    }
}

fn kind(view: &mr_scheduler::JobView<'_>, attempt: &AttemptId) -> Option<TaskKind> {
    let stage = view.graph?.stages.get(attempt.task.stage as usize)?;
    Some(stage.tasks.get(attempt.task.index as usize)?.kind)
}

/// Whether another task is given what this one broadcasts.
fn is_broadcast(scheduler: &Scheduler, attempt: &AttemptId) -> bool {
    let Some(graph) = scheduler.job(&attempt.task.job).and_then(|view| view.graph) else { return false };
    let this = (attempt.task.stage, attempt.task.index);
    let mut first_nodes = graph.stages.iter().filter_map(|stage| stage.tasks.first());
    first_nodes.any(|node| node.broadcasts.iter().any(|(_, stage, index)| (*stage, *index) == this))
}

/// Whether every verdict is on an object of the task's split, as it was listed, and none is on one twice.
fn verdicts_fit(scheduler: &Scheduler, job: &Job, attempt: &AttemptId, output: &mr_core::TaskOutput) -> Option<bool> {
    let view = scheduler.job(&attempt.task.job)?;
    if kind(&view, attempt)? != TaskKind::MapSplit {
        return Some(output.quarantined.is_empty());
    }
    let input = job.input.as_ref()?;
    let objects = &input.listing.objects[input.splits.get(attempt.task.index as usize)?.range()];
    let mut left: BTreeMap<_, _> = objects.iter().map(|o| (o.key.as_str(), (o.etag.as_str(), o.bytes))).collect();
    Some(output.quarantined.iter().all(|q| left.remove(q.key.as_str()) == Some((q.etag.as_str(), q.bytes))))
}

fn epoch_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis() as u64
}
