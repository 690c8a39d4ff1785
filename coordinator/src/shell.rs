//! The one task that owns the scheduler: messages and effects' results in, decisions carried out.
//!
//! `receive, handle, journal, carry out`: nothing is awaited in between, so what is told of a job is always one state of
//! it, and nothing is carried out or told before what it rests on is in the journal.

use crate::Settings;
use crate::commit::Finished;
use crate::effects::{Effect, Effects};
use crate::fleet::{FleetSettings, Seen, SeenJob, SeenWorker};
use crate::heed;
use crate::job::{Input, Job};
use crate::journal::{Encoder, Fenced, Recovered, base_facts};
use crate::memo::Memo;
use crate::orders::{self, order};
use crate::prepare::{ListingPlace, Prepared};
use crate::status::status;
use crate::tally::{FleetSize, Tally};
use crate::worker_time::Since;
use mr_core::{
    AttemptId, AttemptProgress, AttemptResult, ClusterTerms, Epoch, Failure, FleetTerms, JobCode, JobId, JobPhase,
    JobPlan, JobStatus, Mode, Order, TaskId, TaskKind, WorkerId,
};
use mr_cost::Rates;
use mr_metrics::Page;
use mr_proto::v1;
use mr_scheduler::{Command, Condemned, Config, Ending, Event, Fact, Millis, Poll, Scheduler, Step, What, WriteAhead};
use mr_storage::{DynStore, Native, Object, metered};
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
        /// What the provider of its machine calls that.
        instance: Option<String>,
        reply: oneshot::Sender<PollAnswer>,
    },
    Metrics {
        reply: oneshot::Sender<Page>,
    },
    /// Who would work on a job, and for how much.
    Terms {
        reply: oneshot::Sender<ClusterTerms>,
    },
    /// What there is to do, and who does it.
    Fleet {
        reply: oneshot::Sender<Seen>,
    },
    /// How large the fleet is to be and is, and what there is to say to those who miss workers.
    FleetIs {
        size: FleetSize,
        story: String,
    },
    /// How many of the fleet's machines are starting or idle for which job, as long as nothing else is said.
    FleetIdles(BTreeMap<JobId, f64>),
    /// The workers of these machines should go.
    Leave {
        instances: BTreeSet<String>,
    },
    Submit {
        id: JobId,
        plan: Box<JobPlan>,
        prior_ms: u64,
        renews_quarantined: bool,
        reply: oneshot::Sender<Result<(), NotTaken>>,
    },
    Retry {
        old: JobId,
        new: JobId,
        renews_quarantined: bool,
        reply: oneshot::Sender<Retried>,
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
    /// Another coordinator is at work.
    Fenced(Fenced),
    /// Waits for effects that are under way and ends.
    Stop {
        reply: oneshot::Sender<()>,
    },
}

/// What has to wait for the journal.
enum Due {
    Command(Command),
    Tell(Box<dyn FnOnce() + Send>),
    /// To remove what is of no use among these work files.
    Sweep(Vec<Object>),
}

/// What came of the wish to run a job once more.
pub enum Retried {
    Submitted,
    Unknown,
    NotYet,
    Committed,
    NotTaken(NotTaken),
}

/// Why a job was not submitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotTaken {
    /// The id is another job's.
    OtherJob,
    /// There are as many jobs as there may be that have not ended.
    Crowded,
}

/// Jobs that have not ended: each has its listing and its tasks in memory.
pub const OPEN_JOBS_MAX: usize = 1000;

pub struct PollAnswer {
    pub orders: Vec<Order>,
    pub stop: Vec<AttemptId>,
    pub lease_ms: u64,
    pub leave: bool,
}

struct Parked {
    seq: u64,
    held: Vec<AttemptId>,
    until: Instant,
    reply: oneshot::Sender<PollAnswer>,
}

/// A worker that is in touch.
#[derive(Default)]
struct InTouch {
    instance: Option<String>,
    /// It was told to.
    should_leave: bool,
    /// It said so.
    leaves: bool,
    since: Since,
}

pub struct Shell {
    scheduler: Scheduler,
    ahead: WriteAhead<Due>,
    journal: Journal,
    memo: Memo,
    /// How long outputs are kept for other jobs.
    work_age_ms: Millis,
    sweep_at: Instant,
    lease_ms: u64,
    parked_max: Duration,
    state: DynStore,
    /// By which workers know it.
    landmark: String,
    started: Instant,
    /// The time at `started`, since the epoch; never before anything that is in the journal.
    started_ms: Millis,
    jobs: BTreeMap<JobId, Job>,
    parked: BTreeMap<WorkerId, Parked>,
    in_touch: BTreeMap<WorkerId, InTouch>,
    /// Of which this coordinator makes the workers: its size, and why there is none of them in touch.
    fleet: Option<(FleetSize, String)>,
    tally: Tally,
    rates: Rates,
    framework_version: String,
    fleet_terms: Option<FleetTerms>,
    /// How far each worker said its attempts are.
    progress: BTreeMap<WorkerId, Vec<AttemptProgress>>,
    /// When an attempt's order first went out.
    sent: BTreeMap<AttemptId, Millis>,
    effects: Effects,
    /// Ended jobs whose work files are removed once more: an attempt may have been writing when it was stopped.
    stragglers: BTreeSet<(Instant, JobId)>,
    /// Counts up whenever a job's phase may have changed.
    news: watch::Sender<u64>,
    fenced: Option<Fenced>,
}

/// Where the journal is, and what has been added to it since it was last shortened.
struct Journal {
    epoch: Epoch,
    writer: String,
    next: u64,
    entries_max: u64,
    entries: u64,
    facts: u64,
    base_facts: u64,
    /// To be written when the entry is, whose number it has.
    base: Option<(u64, v1::JournalEntry)>,
}

/// What is said of a fleet that has not been looked at yet.
const FLEET_RESTS: &str =
    "no worker is in touch yet: those that were there before may come back, and then the fleet starts others";

/// How often old work files are looked for.
const SWEEP_EVERY: Duration = Duration::from_secs(3600);

impl Shell {
    /// # Errors
    /// When the journal makes no sense.
    pub fn new(
        state: DynStore,
        settings: &Settings,
        news: watch::Sender<u64>,
        recovered: Recovered,
        ((epoch, writer), landmark): ((Epoch, String), String),
    ) -> Result<Self, String> {
        let Settings { lease_ms, unserved_ms, work_age_ms, journal_entries_max: entries_max, .. } = *settings;
        let config = Config { lease_ms, unserved_ms, ..Config::default() };
        let Recovered { last: _, epoch: _, process: _, facts, mut jobs, memo, at } = recovered;
        jobs.values_mut().for_each(|job| job.measured.taken_over = true);
        let length = facts.len() as u64;
        let journal = Journal {
            epoch,
            writer,
            next: epoch + 1,
            entries_max,
            entries: 0,
            facts: length,
            base_facts: length,
            base: None,
        };
        Ok(Self {
            scheduler: Scheduler::recover(config, epoch, &facts)?,
            ahead: WriteAhead::default(),
            journal,
            memo,
            work_age_ms,
            sweep_at: Instant::now(),
            lease_ms,
            parked_max: PARKED_MAX.min(Duration::from_millis(lease_ms / 4)),
            state,
            landmark,
            started: Instant::now(),
            started_ms: epoch_ms().max(at),
            jobs,
            parked: BTreeMap::new(),
            in_touch: BTreeMap::new(),
            fleet: settings.fleet.as_ref().map(|_| (FleetSize::default(), FLEET_RESTS.to_owned())),
            tally: Tally::default(),
            rates: settings.rates.clone(),
            framework_version: settings.framework_version.clone(),
            fleet_terms: settings.fleet.as_ref().map(FleetSettings::terms),
            progress: BTreeMap::new(),
            sent: BTreeMap::new(),
            effects: Effects::default(),
            stragglers: BTreeSet::new(),
            news,
            fenced: None,
        })
    }

    /// Whether somebody may be at work already, for the coordinator before.
    pub fn has_open_jobs(&self) -> bool {
        self.scheduler.loads().next().is_some()
    }

    /// Runs until it is told to stop, or nobody is left who could.
    ///
    /// # Errors
    /// When another coordinator has taken over.
    pub async fn run(mut self, mut messages: mpsc::Receiver<Message>, abandons: bool) -> Result<(), Fenced> {
        self.take_up(abandons);
        let reply = loop {
            if let Some(fenced) = self.fenced {
                // What is half-way is the other's now. It does the same things, and each of them may be done twice.
                self.effects.abandon().await;
                return Err(fenced);
            }
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
                            Ok(Message::Stop { reply }) => {
                                stop = Some(reply);
                                break;
                            }
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
        Ok(())
    }

    /// Goes on where the coordinator before has stopped. `abandons`: with what was submitted to it, nobody waits any more.
    fn take_up(&mut self, abandons: bool) {
        let step = self.scheduler.resume(self.now());
        self.decided(step);
        if abandons {
            let running: Vec<_> =
                self.scheduler.jobs().filter(|job| !job.phase.ended()).map(|job| job.id.clone()).collect();
            for job in running {
                let failure = Failure::new(mr_core::FailureClass::Cancelled, "the process that ran it was stopped");
                self.handle(Event::Broken { job, failure });
            }
        }
        // Two versions may make different bytes of the same. One that commits has nothing left to make.
        let others = self.scheduler.jobs().filter(|job| matches!(job.phase, JobPhase::Listing | JobPhase::Running));
        let others: Vec<_> = others.map(|job| job.id.clone()).collect();
        for id in others {
            let Some(job) = self.jobs.get(&id).filter(|job| job.framework_version != self.framework_version) else {
                continue;
            };
            let begun = if job.framework_version.is_empty() { "an earlier one" } else { &job.framework_version };
            let failure = Failure::permanent(format!(
                "it was begun by version {begun} of the framework, and this is version {}, which does not go on with what another \
                 has made: `mr-submit retry {id}` runs it once more",
                self.framework_version
            ));
            self.handle(Event::Broken { job: id, failure });
        }
    }

    async fn finish(&mut self) {
        self.parked.clear();
        let stragglers: BTreeSet<_> = std::mem::take(&mut self.stragglers).into_iter().map(|(_, job)| job).collect();
        for job in stragglers {
            self.clean_up(job);
        }
        self.effects.finish(FINISH_MAX).await;
    }

    fn now(&self) -> Millis {
        self.started_ms + self.started.elapsed().as_millis() as Millis
    }

    fn next_wake(&self) -> Instant {
        let since = |at: Millis| self.started + Duration::from_millis(at.saturating_sub(self.started_ms));
        let deadline = self.scheduler.next_deadline().map(since);
        let parked = self.parked.values().map(|parked| parked.until).min();
        let stragglers = self.stragglers.first().map(|(at, _)| *at);
        [deadline, parked, stragglers].into_iter().flatten().min().map_or(self.sweep_at, |at| at.min(self.sweep_at))
    }

    fn wake(&mut self) {
        let now = Instant::now();
        let due: Vec<_> = self.parked.iter().filter(|(_, p)| p.until <= now).map(|(w, _)| w.clone()).collect();
        for worker in due {
            if self.ahead.may_answer(&worker) {
                self.answer(&worker);
            } else if let Some(parked) = self.parked.get_mut(&worker) {
                parked.until = now + self.parked_max; // its answer waits for the journal, and comes with it
            }
        }
        if self.sweep_at <= now {
            self.sweep_at = now + SWEEP_EVERY;
            self.memo.forget_before(self.now().saturating_sub(self.work_age_ms));
            self.effects.look_at_work(self.state.clone());
        }
        while self.stragglers.first().is_some_and(|(at, _)| *at <= now) {
            let (_, job) = self.stragglers.pop_first().expect("looked at above");
            self.clean_up(job);
        }
        if self.scheduler.next_deadline().is_some_and(|at| at <= self.now()) {
            self.handle(Event::Tick);
            let in_touch: BTreeSet<_> = self.scheduler.workers().map(|worker| worker.id.clone()).collect();
            self.in_touch.retain(|worker, known| {
                let there = in_touch.contains(worker);
                match (there, known.leaves) {
                    (true, _) => {}
                    (false, true) => tracing::info!(%worker, "a worker has left"),
                    (false, false) => tracing::warn!(%worker, "a worker is silent: what it had goes to others"),
                }
                there
            });
            self.progress.retain(|worker, _| in_touch.contains(worker));
            self.ahead.forget(|worker| in_touch.contains(worker));
        }
    }

    fn receive(&mut self, message: Message) {
        match message {
            Message::Poll { poll, progress, peak_rss_bytes, instance, reply } => {
                self.poll(poll, progress, peak_rss_bytes, instance, reply);
            }
            Message::Terms { reply } => _ = reply.send(self.terms()),
            Message::Fleet { reply } => _ = reply.send(self.seen()),
            Message::FleetIs { size, story } => {
                self.fleet = Some((size, story));
                self.news();
            }
            Message::FleetIdles(machines) => {
                let now = Instant::now();
                for (id, job) in &self.jobs {
                    job.idle.set(machines.get(id).copied().unwrap_or_default(), now);
                }
            }
            Message::Metrics { reply } => {
                let size = self.fleet.as_ref().map(|(size, _)| *size);
                _ = reply.send(self.tally.page(&self.scheduler, size));
            }
            Message::Leave { instances } => self.tell_to_leave(&instances),
            Message::Submit { id, plan, prior_ms, renews_quarantined, reply } => {
                let job = Job { renews_quarantined, ..Job::new(Arc::new(*plan), prior_ms) };
                let taken = self.submit(id, job);
                self.tell(reply, taken);
            }
            Message::Retry { old, new, renews_quarantined, reply } => {
                let retried = self.retry(&old, new, renews_quarantined);
                self.tell(reply, retried);
            }
            Message::List { reply } => {
                let ids: Vec<_> = self.scheduler.jobs().map(|job| job.id.clone()).collect();
                let list = ids.iter().filter_map(|id| self.status(id)).collect();
                self.tell(reply, list);
            }
            Message::Status { id, reply } => {
                let status = self.status(&id);
                self.tell(reply, status);
            }
            Message::Cancel { id, reply } => {
                let phase = self.scheduler.job(&id).map(|job| job.phase);
                let taken = phase.map(|phase| matches!(phase, JobPhase::Listing | JobPhase::Running));
                self.handle(Event::Cancel { job: id });
                self.tell(reply, taken);
            }
            Message::Fenced(fenced) => self.fenced = Some(fenced),
            Message::Stop { .. } => unreachable!("taken in `run`"),
        }
    }

    fn submit(&mut self, id: JobId, job: Job) -> Result<(), NotTaken> {
        match self.jobs.get(&id) {
            Some(known) if known.plan != job.plan => return Err(NotTaken::OtherJob),
            None if self.scheduler.jobs().filter(|job| !job.phase.ended()).count() >= OPEN_JOBS_MAX => {
                return Err(NotTaken::Crowded);
            }
            Some(_) | None => {}
        }
        let (code, limits, kernels) = (job.plan.code(), job.plan.spec.limits, job.plan.kernels.clone());
        let framework_version = self.framework_version.clone();
        self.jobs.entry(id.clone()).or_insert(Job { framework_version, ..job });
        self.handle(Event::Submit { job: id, code, limits, kernels });
        // The scheduler forgets jobs that ended long ago, and so do we.
        let known: BTreeSet<_> = self.scheduler.jobs().map(|job| job.id.clone()).collect();
        self.jobs.retain(|id, _| known.contains(id));
        Ok(())
    }

    fn retry(&mut self, old: &JobId, new: JobId, renews_quarantined: bool) -> Retried {
        let (Some(view), Some(job)) = (self.scheduler.job(old), self.jobs.get(old)) else { return Retried::Unknown };
        let mut plan = (*job.plan).clone();
        match view.phase {
            JobPhase::Listing | JobPhase::Running | JobPhase::Committing => return Retried::NotYet,
            JobPhase::Committed if !renews_quarantined => return Retried::Committed,
            // The output is that job's own.
            JobPhase::Committed => plan.spec.mode = Mode::Overwrite,
            JobPhase::Failed | JobPhase::Cancelled => {}
        }
        let job = Job { renews_quarantined, ..Job::new(Arc::new(plan), 0) };
        self.submit(new, job).map_or_else(Retried::NotTaken, |()| Retried::Submitted)
    }

    fn poll(
        &mut self,
        mut poll: Poll,
        progress: Vec<AttemptProgress>,
        peak_rss_bytes: u64,
        instance: Option<String>,
        reply: oneshot::Sender<PollAnswer>,
    ) {
        self.spend(&poll);
        for result in &mut poll.results {
            self.measure(&poll.worker, poll.slots, peak_rss_bytes, &result.attempt);
            self.heed(&poll.worker, result);
        }
        let worker = poll.worker.clone();
        if self.parked.get(&worker).is_some_and(|parked| parked.seq >= poll.seq) {
            return; // it comes late, and whoever sent it has asked anew
        }
        let families = || poll.families.join(", ");
        let known = self.in_touch.entry(worker.clone()).or_insert_with(|| {
            tracing::info!(%worker, "a worker is in touch, with {} slots and {}", poll.slots, families());
            for code in lacking(&self.scheduler, &poll.jobs) {
                tracing::warn!(%worker, "it does not have {code}, which is at work, and gets none of those tasks");
            }
            InTouch::default()
        });
        known.instance = instance;
        known.leaves |= poll.draining;
        let should_leave = known.should_leave && !known.leaves;
        for attempt in &poll.held {
            self.measure(&worker, poll.slots, peak_rss_bytes, attempt);
        }
        if progress.is_empty() {
            self.progress.remove(&worker);
        } else {
            self.progress.insert(worker.clone(), progress);
        }
        let parked = Parked { seq: poll.seq, held: poll.held.clone(), until: Instant::now() + self.parked_max, reply };
        let says_something = !poll.results.is_empty() || poll.draining || should_leave;
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
            let measured = job.measured.workers.entry(worker.0.clone()).or_default();
            *measured = (slots.max(measured.0), peak_rss_bytes.max(measured.1));
        }
    }

    /// The time since the worker's last word goes to the jobs that it had attempts of.
    fn spend(&mut self, poll: &Poll) {
        let now = self.now();
        let Some(known) = self.in_touch.get_mut(&poll.worker) else { return };
        let had = poll.held.iter().chain(poll.results.iter().map(|result| &result.attempt));
        // What is fetched ahead beyond its slots keeps none busy.
        let busy = (poll.held.len() + poll.results.len()).min(poll.slots as usize) as f64;
        for (job, ms) in known.since.until(now, self.lease_ms, had) {
            if let Some(job) = self.jobs.get_mut(&job) {
                job.measured.worker_ms += ms;
                job.measured.slot_ms += ms * busy;
            }
        }
    }

    /// Holds what a result says against what the task was given, and measures it.
    fn heed(&mut self, worker: &WorkerId, result: &mut AttemptResult) {
        let now = self.now();
        let attempt = &result.attempt;
        let sent = self.sent.remove(attempt);
        let Some(view) = self.scheduler.job(&attempt.task.job) else { return };
        let (Some(graph), submitted_at) = (view.graph, view.submitted_at) else { return }; // the job has ended
        let Some(job) = self.jobs.get_mut(&attempt.task.job) else { return };
        if let Ok(output) = &result.outcome
            && let Err(failure) = heed::check(graph, job, attempt, output)
        {
            result.outcome = Err(failure);
        }
        // Said again after a lost answer, it is not counted again.
        if sent.is_some() {
            self.tally.attempt(result);
            job.meter.merge(&result.asked);
        }
        let output = match &result.outcome {
            Ok(output) => output,
            Err(failure) => {
                if sent.is_some() {
                    let (index, stage) = (attempt.task.index, job.stage_name(attempt.task.stage));
                    let job_id = &attempt.task.job;
                    tracing::info!(job = %job_id, %worker, "task {index} of stage `{stage}` has failed: {failure}");
                    job.troubles.failed(attempt, worker, failure);
                }
                return;
            }
        };
        // Said again after a lost answer, it is not measured again.
        let Some(sent) = sent else { return };
        if heed::kind(graph, attempt) == Some(TaskKind::MapSplit) {
            job.measured.busy_us += output.times.busy_us;
            job.measured.records += output.records;
            let first = sent.saturating_sub(submitted_at) + job.prior_ms + output.times.first_record_us / 1000;
            let first = first.min(now.saturating_sub(submitted_at) + job.prior_ms);
            job.measured.first_record_ms = Some(job.measured.first_record_ms.map_or(first, |ms| ms.min(first)));
        }
    }

    fn handle(&mut self, event: Event) {
        let now = self.now();
        let step = self.scheduler.handle(now, event);
        self.decided(step);
    }

    fn decided(&mut self, step: Step) {
        for fact in &step.facts {
            self.note(fact);
        }
        let due = self.ahead.step(step, Due::Command);
        self.write();
        self.carry_out_all(due);
    }

    /// Whoever asked is told when all that has been decided so far is written: nobody is told of what may yet be undone.
    fn tell<T: Send + 'static>(&mut self, reply: oneshot::Sender<T>, answer: T) {
        let due = self.ahead.hold(Due::Tell(Box::new(move || _ = reply.send(answer))));
        self.carry_out_all(due);
    }

    fn note(&mut self, fact: &Fact) {
        let submitted_at = self.scheduler.job(&fact.job).map(|view| view.submitted_at);
        let id = &fact.job;
        let Some(job) = self.jobs.get_mut(id) else { return };
        match &fact.what {
            What::Submitted { .. } => {
                let spec = &job.plan.spec;
                tracing::info!(job = %id, "submitted: `{}` from {} to {}", spec.job, spec.input, spec.output);
            }
            What::Prepared { split_objects, .. } => {
                let (objects, splits) = (split_objects.all(), split_objects.each().len());
                tracing::info!(job = %id, "listed: {objects} objects in {splits} splits");
            }
            What::Bound { family } => tracing::info!(job = %id, "begins on kernel family {family}"),
            What::Unbound => tracing::info!(job = %id, "begins anew: nobody has its kernel family any more"),
            What::Done { attempt, family, output } => {
                job.troubles.done(attempt);
                job.note_done(&attempt.task, output);
                if let Some(key) = job.shared_key(&attempt.task).filter(|_| self.work_age_ms > 0) {
                    self.memo.keep(family, key, output, fact.at);
                }
            }
            What::Undone { stage, index } => {
                job.undone += 1;
                let stage_name = job.stage_name(*stage);
                tracing::info!(job = %id, "task {index} of stage `{stage_name}` is done again: what it wrote is lost or outdated");
                let task = TaskId { job: id.clone(), stage: *stage, index: *index };
                job.task_key(&task).inspect(|key| self.memo.forget(key));
            }
            What::Condemned { stage, index, condemned } => {
                let record = match condemned {
                    Condemned::Verdict(verdict) => format!("{} ({})", verdict.key, verdict.class),
                    Condemned::Kills(position) => format!("number {position}, which kills its worker"),
                };
                let stage = job.stage_name(*stage);
                tracing::info!(job = %id, "task {index} of stage `{stage}` leaves out a record: {record}");
            }
            What::Committing => tracing::info!(job = %id, "commits"),
            What::Ended { ending, remains } => {
                self.tally.job(ending);
                let seconds = remains.ended_at.saturating_sub(submitted_at.unwrap_or(remains.ended_at)) as f64 / 1e3;
                match ending {
                    Ending::Committed => tracing::info!(job = %id, "committed after {seconds:.1} s"),
                    // Nothing is wrong with the coordinator, and a run in one process says it itself.
                    Ending::Failed(failure) => tracing::info!(job = %id, "failed after {seconds:.1} s: {failure}"),
                    Ending::Cancelled => tracing::info!(job = %id, "cancelled after {seconds:.1} s"),
                }
            }
        }
    }

    /// Begins to write what has come up, unless a write is under way: then it goes with the next.
    fn write(&mut self) {
        let Some(batch) = self.ahead.batch() else { return };
        let encoder = Encoder { jobs: &self.jobs };
        let facts: Vec<_> = batch.iter().filter_map(|fact| encoder.encode(fact)).collect();
        let journal = &mut self.journal;
        let number = journal.next;
        // One that is empty counts as a fact: many of them are to be shortened away too.
        (journal.next, journal.entries, journal.facts) =
            (number + 1, journal.entries + 1, journal.facts + facts.len().max(1) as u64);
        let entry =
            v1::JournalEntry { epoch: journal.epoch, writer: journal.writer.clone(), facts, ..Default::default() };
        // Not before it is twice as long as it need be, so that a large state is not written again and again.
        if journal.entries >= journal.entries_max && journal.facts >= 2 * journal.base_facts {
            let base = self.base();
            let length = base.facts.len() as u64;
            let journal = &mut self.journal;
            (journal.entries, journal.facts, journal.base_facts) = (0, length, length);
            journal.base = Some((number, base));
        }
        self.tally.journal_entry();
        // An entry about several jobs is on the bill of one.
        let job = batch.first().and_then(|fact| self.jobs.get(&fact.job));
        let state = job.map_or_else(|| self.state.clone(), |job| metered(&self.state, &job.meter));
        self.effects.append(number, entry, state);
    }

    /// All that is known, this moment's decisions included, in as few facts as say it.
    fn base(&self) -> v1::JournalEntry {
        let facts = base_facts(&self.scheduler, &self.jobs, &self.memo);
        v1::JournalEntry { epoch: self.journal.epoch, writer: self.journal.writer.clone(), facts, ..Default::default() }
    }

    fn carry_out_all(&mut self, due: Vec<Due>) {
        for due in due {
            match due {
                Due::Command(command) => self.carry_out(command),
                Due::Tell(tell) => tell(),
                Due::Sweep(there) => self.sweep(there),
            }
        }
    }

    fn carry_out(&mut self, command: Command) {
        match command {
            Command::Answer { worker } => self.answer(&worker),
            Command::Prepare { job } => {
                let plan = self.jobs.get(&job).expect("it came in with its plan").plan.clone();
                let meter = self.jobs[&job].meter.clone();
                let at = ListingPlace { state: self.state.clone(), epoch: self.journal.epoch, meter };
                let looks = !self.memo.is_empty();
                self.effects.prepare(job, plan, at, looks);
            }
            Command::Look { job } => self.look(job),
            Command::Commit { job, round } => {
                self.news();
                let known = self.jobs.get(&job);
                let finished = Finished::gather(&self.scheduler, &job, known, &self.rates, (self.now(), epoch_ms()));
                self.effects.commit(job, round, finished, self.state.clone());
            }
            Command::CleanUp { job } => {
                self.news();
                self.sent.retain(|attempt, _| attempt.task.job != job);
                let half_committed = self.scheduler.job(&job).is_some_and(|view| view.half_committed);
                if let Some(known) = self.jobs.get_mut(&job) {
                    known.input = None;
                    if half_committed {
                        self.effects.take_back(job.clone(), known.plan.clone());
                    }
                }
                let now = Instant::now();
                self.stragglers.extend(STRAGGLERS_AFTER.map(|after| (now + after, job.clone())));
                self.clean_up(job);
            }
        }
    }

    /// Takes over what other jobs have made of the same.
    fn look(&mut self, id: JobId) {
        let Some(family) = self.scheduler.job(&id).and_then(|view| view.family.map(Arc::<str>::from)) else { return };
        let Some(job) = self.jobs.get(&id) else { return };
        let Some(Input { keys, there: Some(there), .. }) = job.input.as_deref() else { return };
        let tasks =
            (0..).zip(keys).flat_map(|(stage, keys)| (0..).zip(keys).map(move |(index, key)| (stage, index, key)));
        let outputs = tasks.filter_map(|(stage, index, key)| {
            let output = self.memo.find(&family, key)?;
            let renewed = job.renews_quarantined && !output.quarantined.is_empty();
            let whole = output.files().all(|(key, bytes)| there.get(key) == Some(&bytes));
            (whole && !renewed).then(|| (stage, index, output.clone()))
        });
        let outputs: Vec<_> = outputs.collect();
        if !outputs.is_empty() {
            tracing::info!(job = %id, "{} tasks are found done", outputs.len());
            self.handle(Event::Found { job: id, family, outputs });
        }
    }

    fn clean_up(&mut self, job: JobId) {
        let kept = self.kept();
        self.effects.clean_up(job, kept, self.state.clone());
    }

    /// Work files that somebody may still want, of jobs that have ended too.
    fn kept(&self) -> BTreeSet<String> {
        let mut kept = self.memo.files();
        for view in self.scheduler.jobs() {
            for stage in 0..view.graph.map_or(0, |graph| graph.stages.len()) {
                for output in self.scheduler.outputs(view.id, stage as u32) {
                    kept.extend(output.files().map(|(key, _)| key.to_owned()));
                }
            }
        }
        kept
    }

    /// Removes what lies there for nobody: what was written for jobs that are over or unknown, and is not kept.
    fn sweep(&mut self, there: Vec<Object>) {
        let kept = self.kept();
        let alive = |key: &str| {
            let job = key.split('/').nth(1).and_then(|id| JobId::parse(id).ok());
            job.and_then(|id| self.scheduler.job(&id)).is_some_and(|view| !view.phase.ended())
        };
        let rubbish: Vec<_> = there.into_iter().filter(|o| !alive(&o.key) && !kept.contains(&o.key)).collect();
        self.effects.remove(rubbish, self.state.clone());
    }

    fn effect(&mut self, effect: Effect) {
        match effect {
            Effect::Prepared(job, Ok(Prepared { input })) => {
                let split_objects = mr_core::SplitObjects::of(&input.splits);
                let graph = input.graph.clone();
                if let Some(known) = self.jobs.get_mut(&job) {
                    known.skipped = input.listing.skipped;
                    known.input = Some(input);
                }
                self.handle(Event::Prepared { job, graph, split_objects });
            }
            Effect::Prepared(job, Err(failure)) => self.handle(Event::PrepareFailed { job, failure }),
            Effect::Committed(job, round, outcome) => {
                self.handle(Event::CommitEnded { job, round, outcome });
            }
            Effect::Appended(Ok(())) => {
                if let Some((number, base)) = self.journal.base.take() {
                    self.effects.rebase(number, base, self.state.clone());
                }
                let due = self.ahead.written();
                self.write();
                self.carry_out_all(due);
            }
            Effect::Appended(Err(fenced)) => self.fenced = Some(fenced),
            // One that sleeps and was replaced may find files of jobs that it has never heard of. So what it has found is
            // swept only if it was still the one at work after that.
            Effect::WorkListed(there) => {
                self.ahead.hold_for_proof(Due::Sweep(there));
                self.write();
            }
            Effect::CleanedUp => {}
        }
        self.news();
    }

    /// Answers the worker's waiting poll, if there is one.
    fn answer(&mut self, worker: &WorkerId) {
        if !self.ahead.may_answer(worker) {
            return;
        }
        let Some(Parked { held, reply, .. }) = self.parked.remove(worker) else { return };
        if reply.is_closed() {
            return;
        }
        let answer = self.scheduler.answer(worker, &held);
        let now = self.now();
        let (mut orders, mut broken, mut bytes) = (Vec::new(), Vec::new(), 0);
        for attempt in answer.orders {
            let job = self.jobs.get(&attempt.task.job).expect("it came in with its plan");
            match order(&self.scheduler, job, (self.state.url(), &self.landmark), &attempt) {
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
        let leave = self.in_touch.get(worker).is_some_and(|known| known.should_leave);
        if held.is_empty()
            && !orders.is_empty()
            && let Some(known) = self.in_touch.get_mut(worker)
        {
            known.since.begins(now);
        }
        _ = reply.send(PollAnswer { orders, stop: answer.stop, lease_ms: self.lease_ms, leave });
        for (job, failure) in broken {
            tracing::error!(%job, "{failure}");
            self.handle(Event::Broken { job, failure });
        }
    }

    fn terms(&self) -> ClusterTerms {
        let (mut workers, mut slots) = (0, 0);
        for worker in self.scheduler.workers().filter(|worker| !worker.draining) {
            (workers, slots) = (workers + 1, slots + worker.slots);
        }
        ClusterTerms {
            workers,
            slots,
            fleet: self.fleet_terms,
            usd_per_worker_hour: self.rates.usd_per_worker_hour,
            worker_from: self.rates.worker_from.clone(),
            prices: self.rates.prices.text().to_owned(),
            state_in_s3: matches!(self.state.native(), Native::S3(_)),
        }
    }

    fn seen(&self) -> Seen {
        let loads: Vec<_> = self.scheduler.loads().collect();
        // There are few kinds of workers, and there may be many jobs.
        let mut kinds = Vec::<Kind<'_>>::new();
        let workers = self.scheduler.workers().filter_map(|worker| {
            let known = self.in_touch.get(worker.id)?;
            let instance = known.instance.clone().unwrap_or_else(|| worker.id.0.clone());
            let leaves = known.leaves || known.should_leave || worker.draining;
            let (slots, busy) = (worker.slots, !worker.idle);
            let (families, jobs) = (worker.families, worker.jobs);
            let alike = kinds.iter().find(|kind| kind.families == families && kind.jobs == jobs);
            let serves = alike.map(|kind| kind.serves.clone()).unwrap_or_else(|| {
                let serves = loads.iter().filter(|load| load.takes(&worker)).map(|load| load.id.clone());
                let serves: Arc<[JobId]> = serves.collect();
                kinds.push(Kind { families, jobs, serves: serves.clone() });
                serves
            });
            let families = worker.families.iter().map(|family| family.to_string()).collect();
            Some(SeenWorker { instance, slots, busy, leaves, serves, families })
        });
        let workers = workers.collect();
        Seen { now: self.now(), jobs: loads.iter().map(SeenJob::of).collect(), workers }
    }

    fn tell_to_leave(&mut self, instances: &BTreeSet<String>) {
        let of = |known: &InTouch| known.instance.as_ref().is_some_and(|instance| instances.contains(instance));
        let workers: Vec<_> = self
            .in_touch
            .iter_mut()
            .filter(|(_, known)| of(known))
            .map(|(worker, known)| {
                known.should_leave = true;
                worker.clone()
            })
            .collect();
        for worker in workers {
            tracing::info!(%worker, "it is told to leave: there is nothing to do for it, or its machine goes");
            self.answer(&worker);
        }
    }

    fn status(&self, id: &JobId) -> Option<JobStatus> {
        let view = self.scheduler.job(id)?;
        let workers: Vec<_> = self.scheduler.workers().collect();
        let mut status = status(&view, self.jobs.get(id)?, &workers, &self.progress, self.now());
        if let Some((_, story)) = self.fleet.as_ref().filter(|_| workers.is_empty() && !view.phase.ended()) {
            status.note = Some(story.clone());
        }
        Some(status)
    }

    fn news(&self) {
        self.news.send_modify(|count| *count += 1);
    }
}

/// Workers that are alike in what they can be given.
struct Kind<'a> {
    families: &'a [Arc<str>],
    jobs: &'a BTreeSet<JobCode>,
    serves: Arc<[JobId]>,
}

/// What jobs that have not ended are run with, as far as a worker does not have it.
fn lacking(scheduler: &Scheduler, jobs: &BTreeSet<JobCode>) -> BTreeSet<JobCode> {
    let wanted = scheduler.jobs().filter(|view| !view.phase.ended()).map(|view| view.code.clone());
    wanted.filter(|code| !jobs.contains(code)).collect()
}

fn epoch_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis() as u64
}
