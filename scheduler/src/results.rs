//! What the end of an attempt does to its task and its job.
//!
//! Results come late, twice, and from workers whose lease is long gone. The first success of a task wins, whoever brings
//! it; a failure counts only for the attempt that has the lease, so one failure is never charged twice.

use crate::event::{Command, Millis};
use crate::flaw::Flaw;
use crate::fleet::WorkerNo;
use crate::job::{Ending, JobNo, Phase};
use crate::scheduler::{Outbox, Scheduler};
use crate::tasks::{Place, TaskState, Tasks};
use mr_core::{AttemptId, AttemptResult, Failure, FailureClass, TaskKind, TaskOutput};
use std::mem;

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
        let AttemptResult { attempt, kernel_family, outcome } = result;
        let leased = self.fleet.release(worker, &attempt);
        let Some(&number) = self.job_numbers.get(&attempt.task.job) else { return };
        let Some(tasks) = self.jobs[&number].running() else { return };
        // Numbers start at 1, and what was never given can't have been done.
        let given = tasks.find(Place::of(&attempt.task)).is_some_and(|task| (1..=task.given).contains(&attempt.number));
        if !given {
            return;
        }
        match outcome {
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

    fn success(&mut self, number: JobNo, worker: WorkerNo, success: Success<'_>, out: &mut Outbox) {
        let Success { attempt, kernel_family: family, output, leased } = success;
        let (mixes, skips) = (self.flawed(Flaw::MixesFamilies), self.flawed(Flaw::SkipsBooks));
        let now = self.now;
        let place = Place::of(&attempt.task);
        let job = self.jobs.get_mut(&number).expect("numbers are of jobs");
        let share_max = job.limits.quarantine_share_max;
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
        let Some(tasks) = job.running_mut() else { return };
        match &tasks.find(place).expect("it was given").state {
            TaskState::Done { .. } => return, // the first success has won
            TaskState::Waiting { .. } => unreachable!("only a ready task is given"),
            TaskState::Ready | TaskState::Paused { .. } | TaskState::Leased { .. } => {}
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
        // Unless it was this worker's own, which is released already.
        if let Some((number, holder)) = tasks.succeed(place, output, now)
            && self.fleet.release(holder, &AttemptId { task: attempt.task.clone(), number })
        {
            out.news.insert(holder);
        }
        if let Some(why) = tasks.ledger.over_share(share_max) {
            return self.end(number, Ending::Failed(Failure::permanent(why)), out);
        }
        let complete = tasks.all_done();
        job.family.get_or_insert_with(|| family.into());
        if complete {
            self.complete(number, out);
        }
    }

    /// All tasks are done: commit, if nothing is missing.
    fn complete(&mut self, number: JobNo, out: &mut Outbox) {
        let job = self.jobs.get_mut(&number).expect("numbers are of jobs");
        let Some(tasks) = job.running() else { return };
        let rows: Vec<_> = tasks.stages().iter().map(|sums| sums.rows).collect();
        if let Err(why) = tasks.ledger.balance(tasks.graph(), &rows) {
            let failure = Failure::permanent(format!("the books do not balance: {why}"));
            return self.end(number, Ending::Failed(failure), out);
        }
        job.phase = match mem::replace(&mut job.phase, Phase::Listing) {
            Phase::Running(tasks) => Phase::Committing(tasks),
            other @ (Phase::Listing
            | Phase::Committing(_)
            | Phase::Committed(_)
            | Phase::Failed { .. }
            | Phase::Cancelled { .. }) => other,
        };
        self.running.remove(&number);
        out.commands.push(Command::Commit { job: job.id.clone() });
    }

    /// The attempt that has its task's lease failed.
    fn failure(&mut self, number: JobNo, worker: WorkerNo, attempt: &AttemptId, failure: Failure, out: &mut Outbox) {
        let place = Place::of(&attempt.task);
        let job = self.jobs.get_mut(&number).expect("numbers are of jobs");
        let attempts_max = job.limits.attempts_max.max(1);
        let Some(tasks) = job.running_mut() else { return };
        match failure.class {
            FailureClass::Application => {
                let failed = tasks.charge(place, |task| &mut task.failed);
                tasks.retry(place, worker);
                if failed >= attempts_max {
                    self.fail(number, worker, attempt, failure, &format!("has failed {}", times(failed)), out);
                }
            }
            FailureClass::Transient => {
                let transient = tasks.charge(place, |task| &mut task.transient);
                let until = self.now.saturating_add(self.pause_ms(transient));
                let tasks = self.jobs.get_mut(&number).and_then(|job| job.running_mut()).expect("it runs");
                tasks.pause(place, worker, until);
                self.pauses.insert((until, number, place));
                if transient >= attempts_max.saturating_mul(self.config.transients_per_attempt) {
                    let how = format!("has met {transient} transient failures");
                    self.fail(number, worker, attempt, failure, &how, out);
                }
            }
            // Handed back. A worker that leaves gets nothing new, so that can't go round for ever; one that stays can.
            FailureClass::WorkerLost | FailureClass::Cancelled => {
                if self.fleet.worker(worker).draining {
                    tasks.give_back(place);
                } else {
                    let lost = tasks.lose(place);
                    self.judge_losses(&attempt.task, lost, worker, out);
                }
            }
            FailureClass::Permanent | FailureClass::Refused => {
                tasks.retry(place, worker);
                self.fail(number, worker, attempt, failure, "has failed for good", out);
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
