//! The one task that owns the scheduler: messages and effects' results in, decisions carried out.
//!
//! `receive, handle, carry out`, and nothing is awaited in between, so what is told of a job is always one state of it.

use crate::Settings;
use crate::commit::Finished;
use crate::effects::{Effect, Effects};
use crate::heed;
use crate::job::{Job, Measured};
use crate::orders::{self, order};
use crate::prepare::Prepared;
use crate::status::status;
use mr_core::{
    AttemptId, AttemptProgress, AttemptResult, JobId, JobPhase, JobPlan, JobStatus, Order, TaskKind, WorkerId,
};
use mr_scheduler::{Command, Config, Event, Millis, Poll, Scheduler};
use mr_storage::{DynStore, Object};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tokio::sync::{mpsc, oneshot, watch};

/// A poll that brings nothing and gets nothing is answered after this long, or a quarter of a lease if that is less:
/// workers tell then how far they are.
const PARKED_MAX: Duration = Duration::from_millis(400);

/// Of the ten seconds that a stop may take.
const FINISH_MAX: Duration = Duration::from_secs(8);

/// Bytes of orders in one answer, well below what a message may have. The others come with the next poll.
const ORDERS_BYTES_MAX: usize = 8 << 20;

/// When an ended job's work files are removed once more: an attempt that was stopped has mostly ended by the first time,
/// and certainly by the last.
const STRAGGLERS_AFTER: [Duration; 2] = [Duration::from_secs(2), Duration::from_secs(60)];

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
        /// Whether there is no other job of that id.
        reply: oneshot::Sender<bool>,
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

struct Parked {
    seq: u64,
    held: Vec<AttemptId>,
    until: Instant,
    reply: oneshot::Sender<PollAnswer>,
}

pub struct Shell {
    scheduler: Scheduler,
    lease_ms: u64,
    parked_max: Duration,
    state: DynStore,
    started: Instant,
    jobs: BTreeMap<JobId, Job>,
    parked: BTreeMap<WorkerId, Parked>,
    /// How far each worker said its attempts are.
    progress: BTreeMap<WorkerId, Vec<AttemptProgress>>,
    /// When an attempt's order first went out.
    sent: BTreeMap<AttemptId, Millis>,
    effects: Effects,
    /// Ended jobs whose work files are removed once more: an attempt may have been writing when it was stopped.
    stragglers: BTreeSet<(Instant, JobId)>,
    /// Counts up whenever a job's phase may have changed.
    news: watch::Sender<u64>,
}

impl Shell {
    pub fn new(state: DynStore, settings: &Settings, news: watch::Sender<u64>) -> Self {
        let Settings { lease_ms, unserved_ms, .. } = *settings;
        Self {
            scheduler: Scheduler::new(Config { lease_ms, unserved_ms, ..Config::default() }),
            lease_ms,
            parked_max: PARKED_MAX.min(Duration::from_millis(lease_ms / 4)),
            state,
            started: Instant::now(),
            jobs: BTreeMap::new(),
            parked: BTreeMap::new(),
            progress: BTreeMap::new(),
            sent: BTreeMap::new(),
            effects: Effects::default(),
            stragglers: BTreeSet::new(),
            news,
        }
    }

    pub async fn run(mut self, mut messages: mpsc::Receiver<Message>, left_behind: Vec<Object>) {
        self.effects.remove(left_behind, self.state.clone());
        let reply = loop {
            let wake = self.next_wake();
            tokio::select! {
                message = messages.recv() => match message {
                    Some(Message::Stop { reply }) => break Some(reply),
                    Some(message) => self.receive(message),
                    None => break None,
                },
                effect = self.effects.next() => self.effect(effect),
                () = tokio::time::sleep_until(wake.into()) => {
                    // Polls that are here already are heard before anyone's lease is found to be over.
                    let mut stop = None;
                    for _ in 0..messages.len() {
                        match messages.try_recv() {
                            Ok(Message::Stop { reply }) => stop = Some(reply),
                            Ok(message) => self.receive(message),
                            Err(_) => break,
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

    async fn finish(&mut self) {
        self.parked.clear();
        let stragglers: BTreeSet<_> = std::mem::take(&mut self.stragglers).into_iter().map(|(_, job)| job).collect();
        for job in stragglers {
            self.effects.clean_up(job, self.state.clone());
        }
        self.effects.finish(FINISH_MAX).await;
    }

    fn now(&self) -> Millis {
        self.started.elapsed().as_millis() as Millis
    }

    fn next_wake(&self) -> Instant {
        let deadline = self.scheduler.next_deadline().map(|at| self.started + Duration::from_millis(at));
        let parked = self.parked.values().map(|parked| parked.until).min();
        let idle = Instant::now() + Duration::from_secs(3600);
        let stragglers = self.stragglers.first().map(|(at, _)| *at);
        [deadline, parked, stragglers].into_iter().flatten().min().unwrap_or(idle)
    }

    fn wake(&mut self) {
        let now = Instant::now();
        let due: Vec<_> = self.parked.iter().filter(|(_, p)| p.until <= now).map(|(w, _)| w.clone()).collect();
        for worker in due {
            self.answer(&worker);
        }
        while self.stragglers.first().is_some_and(|(at, _)| *at <= now) {
            let (_, job) = self.stragglers.pop_first().expect("looked at above");
            self.effects.clean_up(job, self.state.clone());
        }
        if self.scheduler.next_deadline().is_some_and(|at| at <= self.now()) {
            self.handle(Event::Tick);
            let in_touch: BTreeSet<_> = self.scheduler.workers().map(|worker| worker.id.clone()).collect();
            self.progress.retain(|worker, _| in_touch.contains(worker));
        }
    }

    fn receive(&mut self, message: Message) {
        match message {
            Message::Poll { poll, progress, peak_rss_bytes, reply } => self.poll(poll, progress, peak_rss_bytes, reply),
            Message::Submit { id, plan, prior_ms, reply } => {
                _ = reply.send(self.submit(id, *plan, prior_ms));
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

    /// `false`: that id is another job's.
    fn submit(&mut self, id: JobId, plan: JobPlan, prior_ms: u64) -> bool {
        if self.jobs.get(&id).is_some_and(|job| *job.plan != plan) {
            return false;
        }
        let (limits, kernels) = (plan.spec.limits, plan.kernels.clone());
        self.jobs.entry(id.clone()).or_insert_with(|| Job {
            plan: Arc::new(plan),
            submitted_epoch_ms: epoch_ms(),
            prior_ms,
            input: None,
            skipped: 0,
            measured: Measured::default(),
        });
        self.handle(Event::Submit { job: id, limits, kernels });
        // The scheduler forgets jobs that ended long ago, and so do we.
        let known: BTreeSet<_> = self.scheduler.jobs().map(|job| job.id.clone()).collect();
        self.jobs.retain(|id, _| known.contains(id));
        true
    }

    fn poll(
        &mut self,
        mut poll: Poll,
        progress: Vec<AttemptProgress>,
        peak_rss_bytes: u64,
        reply: oneshot::Sender<PollAnswer>,
    ) {
        for result in &mut poll.results {
            self.measure(&poll.worker, poll.slots, peak_rss_bytes, &result.attempt);
            self.heed(result);
        }
        let worker = poll.worker.clone();
        if self.parked.get(&worker).is_some_and(|parked| parked.seq >= poll.seq) {
            return; // it comes late, and whoever sent it has asked anew
        }
        for attempt in &poll.held {
            self.measure(&worker, poll.slots, peak_rss_bytes, attempt);
        }
        if progress.is_empty() {
            self.progress.remove(&worker);
        } else {
            self.progress.insert(worker.clone(), progress);
        }
        let parked = Parked { seq: poll.seq, held: poll.held.clone(), until: Instant::now() + self.parked_max, reply };
        let says_something = !poll.results.is_empty() || poll.draining;
        // A newer poll takes the place of an older one, whose caller has gone.
        self.parked.insert(worker.clone(), parked);
        self.handle(Event::Poll(poll));
        let answer = self.parked.get(&worker).map(|parked| self.scheduler.answer(&worker, &parked.held));
        if answer.is_some_and(|answer| says_something || !answer.is_empty()) {
            self.answer(&worker);
        }
    }

    /// That a worker takes part in a job, as long as it runs.
    fn measure(&mut self, worker: &WorkerId, slots: u32, peak_rss_bytes: u64, attempt: &AttemptId) {
        if let Some(job) = self.jobs.get_mut(&attempt.task.job).filter(|job| job.input.is_some()) {
            job.measured.workers.insert(worker.0.clone(), (slots, peak_rss_bytes));
        }
    }

    /// Holds what a result says against what the task was given, and measures it.
    fn heed(&mut self, result: &mut AttemptResult) {
        let now = self.now();
        let attempt = &result.attempt;
        let sent = self.sent.remove(attempt);
        let Some(view) = self.scheduler.job(&attempt.task.job) else { return };
        let (Some(graph), submitted_at) = (view.graph, view.submitted_at) else { return }; // the job has ended
        let Some(job) = self.jobs.get_mut(&attempt.task.job) else { return };
        let Ok(output) = &result.outcome else { return };
        if let Err(failure) = heed::check(graph, job, attempt, output) {
            result.outcome = Err(failure);
            return;
        }
        // Said again after a lost answer, it is not measured again.
        let Some(sent) = sent else { return };
        if heed::kind(graph, attempt) == Some(TaskKind::MapSplit) {
            job.measured.busy_us += output.times.busy_us;
            let first = sent.saturating_sub(submitted_at) + job.prior_ms + output.times.first_record_us / 1000;
            let first = first.min(now.saturating_sub(submitted_at) + job.prior_ms);
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
                let plan = self.jobs.get(&job).expect("it came in with its plan").plan.clone();
                self.effects.prepare(job, plan);
            }
            Command::Commit { job } => {
                self.tell();
                let known = self.jobs.get(&job);
                let finished = Finished::gather(&self.scheduler, &job, known, self.now(), epoch_ms());
                self.effects.commit(job, finished, self.state.clone());
            }
            Command::CleanUp { job } => {
                self.tell();
                self.sent.retain(|attempt, _| attempt.task.job != job);
                if let Some(known) = self.jobs.get_mut(&job) {
                    known.input = None;
                }
                let now = Instant::now();
                self.stragglers.extend(STRAGGLERS_AFTER.map(|after| (now + after, job.clone())));
                self.effects.clean_up(job, self.state.clone());
            }
        }
    }

    fn effect(&mut self, effect: Effect) {
        match effect {
            Effect::Prepared(job, Ok(Prepared { input, graph, split_objects })) => {
                if let Some(known) = self.jobs.get_mut(&job) {
                    known.skipped = input.listing.skipped;
                    known.input = Some(input);
                }
                self.handle(Event::Prepared { job, graph, split_objects });
            }
            Effect::Prepared(job, Err(failure)) => self.handle(Event::PrepareFailed { job, failure }),
            Effect::Committed(job, outcome) => self.handle(Event::CommitEnded { job, outcome }),
            Effect::CleanedUp => {}
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
        let (mut orders, mut broken, mut bytes) = (Vec::new(), Vec::new(), 0);
        for attempt in answer.orders {
            let job = self.jobs.get(&attempt.task.job).expect("it came in with its plan");
            match order(&self.scheduler, job, self.state.url(), &attempt) {
                Ok(order) => {
                    bytes += orders::weight(&order);
                    if bytes > ORDERS_BYTES_MAX && !orders.is_empty() {
                        break;
                    }
                    self.sent.entry(attempt).or_insert(now);
                    orders.push(order);
                }
                Err(failure) => broken.push((attempt.task.job, failure)),
            }
        }
        _ = reply.send(PollAnswer { orders, stop: answer.stop, lease_ms: self.lease_ms });
        for (job, failure) in broken {
            tracing::error!(%job, "{failure}");
            self.handle(Event::Broken { job, failure });
        }
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

fn epoch_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis() as u64
}
