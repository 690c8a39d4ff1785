//! What the end of an attempt does to its task and its job.
//!
//! Results come late, twice, and from workers whose lease is long gone. The first success of a task wins, whoever brings
//! it; a failure counts only for the attempt that has the lease, so one failure is never charged twice.

use crate::care::Opinion;
use crate::event::{Command, Millis};
use crate::fact::{Condemned, Ending, What};
use crate::flaw::Flaw;
use crate::fleet::WorkerNo;
use crate::job::JobNo;
use crate::recover::startable;
use crate::scheduler::{Outbox, Scheduler};
use crate::tasks::{Place, Task, Tasks};
use mr_core::{
    AttemptId, AttemptResult, Failure, FailureClass, JobId, QuarantineSource, StageIndex, TaskId, TaskKind, TaskOutput,
};
use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::sync::Arc;

/// What an attempt brings that did its task.
struct Success<'a> {
    attempt: &'a AttemptId,
    kernel_family: String,
    output: TaskOutput,
    /// Whether the worker had its lease when it said so.
    leased: bool,
}

impl Scheduler {
    pub(crate) fn result(&mut self, worker: WorkerNo, result: AttemptResult, out: &mut Outbox) {
        let AttemptResult { attempt, kernel_family, outcome, asked: _ } = result;
        let leased = self.fleet.release(worker, &attempt);
        let Some(&number) = self.job_numbers.get(&attempt.task.job) else { return };
        let Some(tasks) = self.jobs[&number].running() else { return };
        if !tasks.find(Place::of(&attempt.task)).is_some_and(|task| self.was_given(task, &attempt)) {
            return;
        }
        let place = Place::of(&attempt.task);
        if !leased && tasks.may_be_outdated(place) && !self.flawed(Flaw::KeepsWhatFollows) {
            return;
        }
        if tasks.is_probe(place, &attempt) && (outcome.is_ok() || !leased) {
            if leased {
                self.lived(number, &attempt, out);
            }
            return;
        }
        match outcome {
            // Of a coordinator before us, which was looking for something. It is for us to begin anew.
            Ok(output) if output.probed => {
                if let Some(tasks) = self.running_tasks(&attempt.task.job).filter(|_| leased) {
                    tasks.give_back(place, &attempt);
                }
            }
            Ok(output) => {
                let success = Success { attempt: &attempt, kernel_family, output, leased };
                self.success(number, worker, success, out);
            }
            Err(failure) if leased || self.flawed(Flaw::ChargesStaleFailures) => {
                self.failure(number, worker, &attempt, failure, out)
            }
            Err(_) => {} // its task is with somebody else by now, or done
        }
    }

    /// A probe has come back: it was not what it tried.
    fn lived(&mut self, number: JobNo, attempt: &AttemptId, out: &mut Outbox) {
        let place = Place::of(&attempt.task);
        let Some(tasks) = self.jobs.get_mut(&number).and_then(|job| job.running_mut()) else { return };
        tasks.give_back(place, attempt);
        if let Some(culprit) = tasks.probed(place, attempt, true) {
            self.condemn(&attempt.task, Condemned::Kills(culprit), out);
        }
    }

    /// What was never given can't have been done.
    fn was_given(&self, task: &Task, attempt: &AttemptId) -> bool {
        match attempt.epoch.cmp(&self.epoch) {
            Ordering::Equal => (1..=task.given).contains(&attempt.number),
            // By a coordinator before us, which knew what we know and perhaps more. What it had not written down when it
            // went we don't know either.
            Ordering::Less => startable(task),
            // We have been replaced, and it is not for us to say.
            Ordering::Greater => false,
        }
    }

    fn success(&mut self, number: JobNo, worker: WorkerNo, success: Success<'_>, out: &mut Outbox) {
        let Success { attempt, kernel_family: family, output, leased } = success;
        let (mixes, skips) = (self.flawed(Flaw::MixesFamilies), self.flawed(Flaw::SkipsBooks));
        let place = Place::of(&attempt.task);
        let job = &self.jobs[&number];
        if let Some(bound) = job.family.as_deref().filter(|bound| *bound != family && !mixes) {
            // Given while the job was bound to another family, or else not done as it was ordered.
            if leased {
                let failure = Failure::application(format!("its kernels were `{family}` and not `{bound}`"));
                self.failure(number, worker, attempt, failure, out);
            }
            return;
        }
        if !job.kernels.takes(&family) {
            return; // of an unbound job: nobody was ordered to use these
        }
        let Some(tasks) = job.running() else { return };
        if !startable(tasks.find(place).expect("it was given")) {
            return; // the first success has won
        }
        if !leased && tasks.was_undone(place, &output) {
            return; // what was lost, told again
        }
        if let Err(why) = check(tasks, place, &output)
            && !skips
        {
            if leased {
                let failure = Failure::application(format!("the books of its output are wrong: {why}"));
                self.failure(number, worker, attempt, failure, out);
            }
            return;
        }
        let (alone, believes) = (!self.eligible(job, &family).has_others(worker), self.flawed(Flaw::BelievesOne));
        let doubtful = output.quarantined.iter().any(|verdict| verdict.source == QuarantineSource::Environment);
        if doubtful && !believes {
            let tasks = self.jobs.get_mut(&number).and_then(|job| job.running_mut()).expect("looked at above");
            if tasks.care(place).agrees(&output, worker, attempt, alone) == Some(false) {
                if leased {
                    // Somebody else should look: nothing is wrong with the task, and none of its budgets is charged.
                    tasks.retry(place, attempt, worker);
                }
                return;
            }
        }
        self.fleet.succeeded(worker);
        self.done(number, attempt.clone(), family.into(), Arc::new(output), out);
    }

    /// Takes over what other jobs have made of the same inputs.
    pub(crate) fn found(
        &mut self,
        id: &JobId,
        family: &Arc<str>,
        outputs: Vec<(StageIndex, u32, Arc<TaskOutput>)>,
        out: &mut Outbox,
    ) {
        let Some(&number) = self.job_numbers.get(id) else { return };
        let found: BTreeMap<_, _> =
            outputs.iter().map(|(stage, index, output)| (Place::new(*stage, *index), output.clone())).collect();
        for (stage, index, output) in outputs {
            let job = &self.jobs[&number];
            let Some(tasks) = job.running().filter(|_| job.family.as_ref() == Some(family)) else { return };
            let task = TaskId { job: id.clone(), stage, index };
            let place = Place::of(&task);
            // What this job has come to by itself meanwhile may be something else than what the other job's was made of.
            let is_as_found = |read: Place| {
                let own = tasks.find(read).and_then(|task| task.state.output());
                own.zip(found.get(&read)).is_some_and(|(own, found)| own.is_like(found))
            };
            if tasks.find(place).is_some_and(startable)
                && tasks.read_by(place).all(is_as_found)
                && !tasks.was_undone(place, &output)
                && !tasks.may_be_outdated(place)
                && check(tasks, place, &output).is_ok()
            {
                let attempt = AttemptId { task, epoch: self.epoch, number: 0 };
                self.done(number, attempt, family.clone(), output, out);
            }
        }
    }

    /// The task is done, once and for all.
    fn done(&mut self, number: JobNo, attempt: AttemptId, family: Arc<str>, output: Arc<TaskOutput>, out: &mut Outbox) {
        let job = &self.jobs[&number];
        let task = job.running().and_then(|tasks| tasks.find(Place::of(&attempt.task)));
        let leases: Vec<_> = task.map(|task| task.state.leases().collect()).unwrap_or_default();
        let usual_ms = job.running().and_then(|tasks| tasks.usual_ms(attempt.task.stage));
        for (lease, usual_ms) in leases.iter().filter_map(|lease| Some((lease, usual_ms?))) {
            let spent_ms = self.now.saturating_sub(lease.since);
            // One that another was quicker than has taken so long at least.
            if lease.begun && (lease.is(&attempt) || spent_ms > usual_ms) {
                self.fleet.timed(lease.worker, spent_ms, usual_ms);
            }
        }
        let (task, place) = (attempt.task.clone(), Place::of(&attempt.task));
        let changed = self.comes_to_something_else(&task, &output) && !self.flawed(Flaw::KeepsWhatFollows);
        if changed && self.jobs[&number].rounds > 0 {
            // Parts that were made of the first may lie in the output, under names that those of the second would have.
            let what = self.name(&task);
            let why = format!(
                "what {what} wrote was lost while it was committed, and comes to something else now, since the input has \
                 changed: submit the job again"
            );
            return self.end(number, Ending::Failed(Failure::permanent(why)), out);
        }
        let busy = self.jobs[&number].running().map(|tasks| tasks.attempts(place, &task.job)).unwrap_or_default();
        self.record(&task.job, What::Done { attempt, family, output }, out);
        self.revoke(busy, out);
        if changed {
            self.undo_readers(number, place, out);
        }
        let job = &self.jobs[&number];
        let Some(tasks) = job.running() else { return };
        let over = tasks.ledger.over_share(job.limits.quarantine_share_max);
        if let Some(why) = over.or_else(|| tasks.ledger.counters().check().err()) {
            return self.end(number, Ending::Failed(Failure::permanent(why)), out);
        }
        if tasks.all_done() {
            self.complete(number, out);
        }
    }

    /// All tasks are done: commit, if nothing is missing.
    pub(crate) fn complete(&mut self, number: JobNo, out: &mut Outbox) {
        let job = &self.jobs[&number];
        let Some(tasks) = job.running() else { return };
        let rows: Vec<_> = tasks.stages().iter().map(|sums| sums.rows).collect();
        if let Err(why) = tasks.ledger.balance(tasks.graph(), &rows) {
            let failure = Failure::permanent(format!("the books do not balance: {why}"));
            return self.end(number, Ending::Failed(failure), out);
        }
        let id = job.id.clone();
        self.record(&id, What::Committing, out);
        out.commands.push(Command::Commit { job: id, round: self.jobs[&number].rounds });
    }

    /// The attempt that has its task's lease failed.
    fn failure(&mut self, number: JobNo, worker: WorkerNo, attempt: &AttemptId, failure: Failure, out: &mut Outbox) {
        if self.blame(number, worker, attempt, &failure, out) || self.missed(number, worker, attempt, &failure, out) {
            return;
        }
        let place = Place::of(&attempt.task);
        let job = self.jobs.get_mut(&number).expect("numbers are of jobs");
        let attempts_max = job.limits.attempts_max.max(1);
        let Some(tasks) = job.running_mut() else { return };
        match failure.class {
            FailureClass::Application => {
                self.fleet.failed(worker, self.now);
                let failed = tasks.charge(place, |task| &mut task.failed);
                tasks.retry(place, attempt, worker);
                if failed >= attempts_max {
                    self.fail(number, worker, attempt, failure, &format!("has failed {}", times(failed)), out);
                }
            }
            FailureClass::Transient => {
                let times = tasks.charge(place, |task| &mut task.transient);
                self.pause(number, worker, attempt, times);
                if times >= attempts_max.saturating_mul(self.config.transients_per_attempt) {
                    let how = format!("has met {times} transient failures");
                    self.fail(number, worker, attempt, failure, &how, out);
                }
            }
            // What else the worker did may have taken the memory, so it is no more the task's fault than a store that is away.
            FailureClass::OutOfMemory => {
                self.fleet.failed(worker, self.now);
                let times = tasks.charge(place, |task| &mut task.out_of_memory);
                self.pause(number, worker, attempt, times);
                if times >= attempts_max.saturating_mul(self.config.transients_per_attempt) {
                    let how = format!("was given up {times} times for want of memory");
                    self.fail(number, worker, attempt, failure, &how, out);
                }
            }
            // Handed back. A worker that leaves gets nothing new, so that can't go round for ever; one that stays can.
            FailureClass::WorkerLost | FailureClass::Cancelled => {
                if self.fleet.worker(worker).draining {
                    tasks.give_back(place, attempt);
                } else {
                    let lost = tasks.lose(place, attempt);
                    self.judge_losses(&attempt.task, lost, worker, out);
                }
            }
            FailureClass::Permanent | FailureClass::Refused => {
                tasks.retry(place, attempt, worker);
                self.fail(number, worker, attempt, failure, "has failed for good", out);
            }
        }
    }

    /// Another attempt begins later, the more so the more `times` it had to, and on another worker if there is one.
    fn pause(&mut self, number: JobNo, worker: WorkerNo, attempt: &AttemptId, times: u32) {
        let place = Place::of(&attempt.task);
        let until = self.now.saturating_add(self.pause_ms(times));
        let tasks = self.jobs.get_mut(&number).and_then(|job| job.running_mut()).expect("it runs");
        if tasks.pause(place, attempt, worker, until) {
            self.pauses.insert((until, number, place));
        }
    }

    /// Whether the failure is that of a record, and the task's budget is spared for that: on the first opinion and on the
    /// second, which condemns the record.
    fn blame(
        &mut self,
        number: JobNo,
        worker: WorkerNo,
        attempt: &AttemptId,
        failure: &Failure,
        out: &mut Outbox,
    ) -> bool {
        let Some(verdict) = failure.blames.as_ref().filter(|_| failure.class == FailureClass::Application) else {
            return false;
        };
        let alone = self.is_alone(&self.jobs[&number], worker);
        let place = Place::of(&attempt.task);
        let Some(tasks) = self.jobs.get_mut(&number).and_then(|job| job.running_mut()) else { return false };
        let opinion = tasks.care(place).blame(verdict, worker, attempt, alone);
        match opinion {
            Opinion::Again => false,
            Opinion::First => {
                tasks.retry(place, attempt, worker);
                true
            }
            Opinion::Second => {
                tasks.retry(place, attempt, worker);
                self.condemn(&attempt.task, Condemned::Verdict(verdict.clone()), out);
                true
            }
        }
    }

    fn fail(
        &mut self,
        number: JobNo,
        worker: WorkerNo,
        attempt: &AttemptId,
        last: Failure,
        how: &str,
        out: &mut Outbox,
    ) {
        let (what, worker) = (self.name(&attempt.task), &self.fleet.worker(worker).id);
        let message = format!("{what} {how}, last on worker {worker}: {}", last.message);
        self.end(number, Ending::Failed(Failure::new(last.class, message)), out);
    }

    /// Doubles with each failure, so that the budget outlasts a store that is away for a minute.
    fn pause_ms(&self, failures: u32) -> Millis {
        let doublings = failures.saturating_sub(1).min(20);
        self.config.pause_ms.saturating_mul(1 << doublings).min(self.config.pause_max_ms)
    }
}

fn times(count: u32) -> String {
    if count == 1 { "once".to_owned() } else { format!("{count} times") }
}

fn check(tasks: &Tasks, place: Place, result: &TaskOutput) -> Result<(), String> {
    let node = &tasks.graph().stages[place.stage() as usize].tasks[place.index() as usize];
    let rows_read = match node.kind {
        TaskKind::MapKept => {
            let rows = |&(stage, index): &(u32, u32)| {
                tasks
                    .find(Place::new(stage, index))
                    .and_then(|task| task.state.output())
                    .map_or(0, |output| output.rows)
            };
            node.reads.iter().map(rows).sum()
        }
        TaskKind::MapSplit | TaskKind::Combine | TaskKind::Reduce { .. } => 0,
    };
    tasks.ledger.check(tasks.graph(), (place.stage(), place.index()), rows_read, result)
}
