//! From decisions to facts, and from facts to the state: the same function live and after a restart.

use crate::event::{Command, Config, Step};
use crate::fact::{Ending, Fact, Remains, What};
use crate::flaw::Flaw;
use crate::job::{Job, JobNo, Phase};
use crate::scheduler::{Outbox, Scheduler};
use crate::tasks::{Place, Task, TaskState, Tasks};
use mr_core::{AttemptId, Epoch, JobId, TaskId, TaskOutput};
use std::mem;
use std::sync::Arc;

impl Scheduler {
    /// The state that these facts lead to, under a new coordinator. Then [`resume`](Self::resume).
    ///
    /// # Errors
    /// A sentence about the first fact that does not follow from those before it: the journal is damaged or of another
    /// program.
    pub fn recover<'a>(
        config: Config,
        epoch: Epoch,
        facts: impl IntoIterator<Item = &'a Fact>,
    ) -> Result<Self, String> {
        Self::new(config, epoch).after(facts)
    }

    pub(crate) fn after<'a>(mut self, facts: impl IntoIterator<Item = &'a Fact>) -> Result<Self, String> {
        let scheduler = &mut self;
        for fact in facts {
            scheduler.now = scheduler.now.max(fact.at);
            scheduler.apply(fact).map_err(|why| format!("job {}: {why}", fact.job))?;
        }
        Ok(self)
    }

    /// Takes up again what the one before was doing.
    pub fn resume(&mut self, now: u64) -> Step {
        self.now = self.now.max(now);
        let mut out = Outbox::default();
        let numbers: Vec<_> = self.jobs.keys().copied().collect();
        for number in numbers {
            let job = &self.jobs[&number];
            match &job.phase {
                Phase::Listing => out.commands.push(Command::Prepare { job: job.id.clone() }),
                Phase::Running(tasks) if tasks.all_done() => self.complete(number, &mut out),
                Phase::Running(_) => {}
                Phase::Committing(_) if self.flawed(Flaw::DropsTheCommit) => {}
                Phase::Committing(_) => out.commands.push(Command::Commit { job: job.id.clone(), round: job.rounds }),
                Phase::Committed(_) | Phase::Failed { .. } | Phase::Cancelled { .. } => {
                    out.commands.push(Command::CleanUp { job: job.id.clone() });
                }
            }
        }
        self.step(out)
    }

    /// The shortest story that leads to this state: a journal may begin with it.
    pub fn facts(&self) -> Vec<Fact> {
        let mut facts = Vec::new();
        for job in self.jobs.values() {
            let mut tell = |at, what| facts.push(Fact { at, job: job.id.clone(), what });
            tell(
                job.submitted_at,
                What::Submitted { code: job.code.clone(), limits: job.limits, kernels: job.kernels.clone() },
            );
            let Some(tasks) = job.tasks() else { continue };
            let prepared_at = job.prepared_at.unwrap_or(job.submitted_at);
            let (graph, split_objects) = (tasks.graph().clone(), tasks.ledger.split_objects().clone());
            tell(prepared_at, What::Prepared { graph, split_objects });
            if let Some(family) = &job.family {
                tell(prepared_at, What::Bound { family: family.clone() });
            }
            let done = |stage, index, output: &Arc<TaskOutput>| {
                let family = job.family.clone().expect("whoever has or had something done is bound");
                let task = TaskId { job: job.id.clone(), stage, index };
                let attempt = AttemptId { task, epoch: self.epoch, number: 0 };
                What::Done { attempt, family, output: output.clone() }
            };
            let mut undone = Vec::new();
            for (stage, sums) in (0..).zip(tasks.stages()) {
                let mut at = sums.started_at.unwrap_or(prepared_at);
                for (index, condemned) in tasks.all_condemned(stage) {
                    tell(prepared_at, What::Condemned { stage, index, condemned });
                }
                for (index, task) in (0..).zip(tasks.stage_tasks(stage)) {
                    let output = task.state.output();
                    let Some(first) = task.former.as_ref().or(output) else { continue };
                    tell(at, done(stage, index, first));
                    at = sums.ended_at.unwrap_or(self.now);
                    if task.former.is_some() {
                        undone.push((at, stage, index, output));
                    }
                }
            }
            // Once it was to be committed, and that is not forgotten.
            if !undone.is_empty() && job.rounds > 0 {
                tell(self.now, What::Committing);
            }
            for (at, stage, index, output) in undone {
                tell(at, What::Undone { stage, index });
                if let Some(output) = output {
                    tell(at, done(stage, index, output));
                }
            }
            if matches!(job.phase, Phase::Committing(_)) {
                tell(self.now, What::Committing);
            }
        }
        for number in &self.ended {
            let job = &self.jobs[number];
            let (ending, remains) = match &job.phase {
                Phase::Committed(remains) => (Ending::Committed, remains),
                Phase::Failed { failure, remains, .. } => (Ending::Failed(failure.clone()), remains),
                Phase::Cancelled { remains, .. } => (Ending::Cancelled, remains),
                Phase::Listing | Phase::Running(_) | Phase::Committing(_) => unreachable!("it has ended"),
            };
            let what = What::Ended { ending, remains: remains.clone() };
            facts.push(Fact { at: remains.ended_at, job: job.id.clone(), what });
        }
        facts
    }

    /// A decision: from here on it holds.
    pub(crate) fn record(&mut self, job: &JobId, what: What, out: &mut Outbox) {
        let fact = Fact { at: self.now, job: job.clone(), what };
        self.apply(&fact).expect("what is decided follows from the state");
        out.facts.push(fact);
    }

    fn apply(&mut self, fact: &Fact) -> Result<(), String> {
        let Fact { at, job: id, what } = fact;
        if let What::Submitted { code, limits, kernels } = what {
            return self.apply_submitted(id, Job::new(id.clone(), code.clone(), *limits, kernels.clone(), *at));
        }
        let number = *self.job_numbers.get(id).ok_or("it was never submitted")?;
        let job = self.jobs.get_mut(&number).expect("numbers are of jobs");
        match what {
            What::Submitted { .. } => unreachable!("applied above"),
            What::Prepared { graph, split_objects } => {
                if !matches!(job.phase, Phase::Listing) {
                    return Err("it was prepared twice".to_owned());
                }
                let tasks = Tasks::new(graph.clone(), split_objects.clone()).map_err(|failure| failure.message)?;
                job.phase = Phase::Running(tasks);
                job.prepared_at = Some(*at);
                self.running.insert(number);
            }
            What::Bound { family } => job.family = Some(family.clone()),
            What::Unbound => job.family = None,
            What::Done { attempt, family, output } => {
                let place = Place::of(&attempt.task);
                job.family.get_or_insert_with(|| family.clone());
                let tasks = job.running_mut().ok_or("a task was done while it did not run")?;
                if tasks.find(place).is_none_or(|task| task.state.output().is_some()) {
                    return Err(format!("{} was done twice", attempt.task));
                }
                tasks.succeed(place, output, attempt, *at);
            }
            What::Undone { stage, index } => {
                let place = Place::new(*stage, *index);
                job.phase = match mem::replace(&mut job.phase, Phase::Listing) {
                    Phase::Running(tasks) | Phase::Committing(tasks) => Phase::Running(tasks),
                    Phase::Listing | Phase::Committed(_) | Phase::Failed { .. } | Phase::Cancelled { .. } => {
                        return Err("a task was undone while it did not run".to_owned());
                    }
                };
                self.running.insert(number);
                let counts_what_is_undone = self.flaw == Some(Flaw::CountsWhatIsUndone);
                let tasks = job.running_mut().expect("it runs again");
                if tasks.find(place).is_none_or(|task| task.state.output().is_none()) {
                    return Err(format!("task {index} of stage {stage} was undone before it was done"));
                }
                tasks.undo(place, counts_what_is_undone);
            }
            What::Condemned { stage, index, condemned } => {
                let tasks = job.running_mut().ok_or("a record was condemned while it did not run")?;
                let place = Place::new(*stage, *index);
                tasks.find(place).ok_or("a record of no task was condemned")?;
                tasks.condemn(place, condemned.clone());
            }
            What::Committing => {
                job.phase = match mem::replace(&mut job.phase, Phase::Listing) {
                    Phase::Running(tasks) => Phase::Committing(tasks),
                    Phase::Listing
                    | Phase::Committing(_)
                    | Phase::Committed(_)
                    | Phase::Failed { .. }
                    | Phase::Cancelled { .. } => return Err("it was committed while it did not run".to_owned()),
                };
                job.rounds += 1;
                self.running.remove(&number);
            }
            What::Ended { ending, remains } => self.apply_ended(number, ending, remains)?,
        }
        Ok(())
    }

    fn apply_submitted(&mut self, id: &JobId, job: Job) -> Result<(), String> {
        if self.job_numbers.contains_key(id) {
            return Err("it was submitted twice".to_owned());
        }
        self.next_job += 1;
        let number = JobNo(self.next_job);
        self.job_numbers.insert(id.clone(), number);
        self.jobs.insert(number, job);
        Ok(())
    }

    /// Ends a job, and forgets the one that has been over for longest.
    fn apply_ended(&mut self, number: JobNo, ending: &Ending, remains: &Remains) -> Result<(), String> {
        let job = self.jobs.get_mut(&number).expect("numbers are of jobs");
        let listing = match &job.phase {
            Phase::Listing => true,
            Phase::Running(_) | Phase::Committing(_) => false,
            Phase::Committed(_) | Phase::Failed { .. } | Phase::Cancelled { .. } => {
                return Err("it has ended twice".to_owned());
            }
        };
        let remains = remains.clone();
        job.phase = match ending {
            Ending::Committed => Phase::Committed(remains),
            Ending::Failed(failure) => Phase::Failed { failure: failure.clone(), listing, remains },
            Ending::Cancelled => Phase::Cancelled { listing, remains },
        };
        self.running.remove(&number);
        self.ended.push_back(number);
        while self.ended.len() > self.config.finished_jobs_kept {
            let oldest = self.ended.pop_front().expect("longer than nothing");
            let job = self.jobs.remove(&oldest).expect("ended jobs are jobs");
            self.job_numbers.remove(&job.id);
        }
        Ok(())
    }
}

/// Whether what a task reads is there, and it is not done yet.
pub(crate) fn startable(task: &Task) -> bool {
    match task.state {
        TaskState::Waiting { .. } | TaskState::Done { .. } => false,
        TaskState::Ready | TaskState::Paused { .. } | TaskState::Leased { .. } => true,
    }
}
