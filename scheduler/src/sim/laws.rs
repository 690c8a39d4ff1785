//! What must hold after every step, whatever the weather.

use super::job::{Bad, Nature, SimJob};
use crate::event::{Millis, Poll, Step};
use crate::fact::{Condemned, What};
use crate::scheduler::Scheduler;
use crate::view::WorkerView;
use mr_core::{
    AttemptId, Counters, Epoch, FailureClass, JobId, JobPhase, QuarantineSource, TaskId, TaskKind, TaskOutput, WorkerId,
};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Arc;

/// A file that an attempt wrote: which objects are in it, and what kernels made it.
#[derive(Clone, Debug)]
pub struct File {
    pub objects: Vec<u32>,
    pub family: String,
}

/// What has happened so far, as far as later steps must agree with it.
#[derive(Debug, Default)]
pub struct Laws {
    phases: BTreeMap<JobId, JobPhase>,
    winners: BTreeMap<TaskId, Arc<TaskOutput>>,
    /// What workers had when they were first heard to drain.
    draining: BTreeMap<WorkerId, BTreeSet<AttemptId>>,
    heard: BTreeMap<WorkerId, u64>,
    /// Failures that attempts have really had.
    failures: BTreeMap<(TaskId, FailureClass), BTreeSet<(Epoch, u32)>>,
    pub cancels: BTreeSet<JobId>,
    commits: BTreeSet<(Epoch, JobId, u32)>,
    /// Jobs whose log entry is in the store.
    pub entries: BTreeSet<JobId>,
    most_attempts: BTreeMap<JobId, u32>,
    /// How many leases of this coordinator each worker had.
    ours: BTreeMap<WorkerId, usize>,
    /// Of coordinators before the one whose leases they are.
    taken_up: BTreeSet<AttemptId>,
    /// Tasks whose success a worker was told to be known, and ends of jobs that users were told of.
    acknowledged: BTreeSet<TaskId>,
    ended: BTreeMap<JobId, JobPhase>,
    /// Probes of single records whose worker was lost by other things than what it tried, and has not come back; and the
    /// objects that were condemned for that, and those that deserved it.
    lost_probes: BTreeMap<AttemptId, LostProbe>,
    mistakes: BTreeSet<(JobId, u32)>,
    probes: BTreeMap<AttemptId, LostProbe>,
    /// Workers that a record has killed.
    pub killed: BTreeSet<WorkerId>,
    unlucky: BTreeSet<(JobId, u32)>,
    condemned: BTreeSet<(JobId, u32)>,
    backed_up: BTreeSet<TaskId>,
    /// What each task wrote that is done, and which attempts have missed it, though it may have been there.
    wrote: BTreeMap<TaskId, String>,
    missed: BTreeMap<String, BTreeSet<AttemptId>>,
    /// How often each task was undone, and with which files.
    undone: BTreeMap<TaskId, u32>,
    was_lost: BTreeSet<(TaskId, String)>,
    pub backups: u64,
    /// Since when nobody has been in touch who could serve a job, though somebody was.
    unserved: BTreeMap<JobId, Millis>,
}

/// Who tried which part of a split.
#[derive(Clone, Debug)]
struct LostProbe {
    worker: WorkerId,
    tried: Range<u32>,
}

impl Laws {
    pub fn failed(&mut self, attempt: &AttemptId, class: FailureClass) {
        self.failures.entry((attempt.task.clone(), class)).or_default().insert((attempt.epoch, attempt.number));
    }

    /// A poll is about to be handled: what its results could change is looked at before.
    pub fn hear(&mut self, scheduler: &Scheduler, poll: &Poll) {
        for result in &poll.results {
            if let Some(output) = scheduler.output(&result.attempt.task) {
                self.winners.entry(result.attempt.task.clone()).or_insert_with(|| output.clone());
            }
        }
    }

    /// A poll has been handled.
    pub fn heard(&mut self, scheduler: &Scheduler, poll: &Poll) -> Result<(), String> {
        let newest = self.heard.entry(poll.worker.clone()).or_default();
        if poll.seq > *newest {
            *newest = poll.seq;
            self.lost_probes.retain(|_, lost| lost.worker != poll.worker);
            if poll.draining {
                let worker = scheduler.workers().find(|worker| *worker.id == poll.worker);
                let leases = worker.map(|worker| worker.leases.into_iter().cloned().collect()).unwrap_or_default();
                let before =
                    self.draining.entry(poll.worker.clone()).or_insert_with(|| poll.held.iter().cloned().collect());
                let leases: BTreeSet<AttemptId> = leases;
                if !leases.is_subset(before) {
                    return Err(format!("{} drains and was given {leases:?}", poll.worker));
                }
            }
        }
        for result in &poll.results {
            let task = &result.attempt.task;
            if let (Some(before), Some(after)) = (self.winners.get(task), scheduler.output(task))
                && !Arc::ptr_eq(before, after)
            {
                return Err(format!("{task} has been won twice"));
            }
        }
        Ok(())
    }

    /// A poll is about to be answered: what it carried must have arrived.
    pub fn acknowledged(
        &mut self,
        scheduler: &Scheduler,
        poll: &Poll,
        jobs: &BTreeMap<JobId, SimJob>,
        right: impl Fn(&TaskOutput, &TaskId) -> bool,
    ) -> Result<(), String> {
        for result in &poll.results {
            let (task, Ok(output)) = (&result.attempt.task, &result.outcome) else { continue };
            let Some(job) = scheduler.find(&task.job) else { continue };
            let other_family = job.family.as_deref().is_some_and(|family| family != result.kernel_family);
            // What it was made of may have come to something else meanwhile, or it is what was lost, told again.
            let undone = |of: &TaskId| self.undone.contains_key(of);
            if undone(task) || reads(jobs, task).iter().any(undone) {
                continue;
            }
            // Such as are not believed before another worker says the same.
            let doubtful = output.quarantined.iter().any(|verdict| verdict.source == QuarantineSource::Environment);
            // Of one that does not count nothing is acknowledged, though another worker may have done the task meanwhile.
            if output.probed || doubtful || other_family || !right(output, task) {
                continue;
            }
            if scheduler.output(task).is_some() {
                self.acknowledged.insert(task.clone());
            } else if job.phase() == JobPhase::Running {
                return Err(format!("the success of {} was acknowledged and lost", result.attempt));
            }
        }
        Ok(())
    }

    /// Objects that are what was listed for some time only.
    pub fn change(&mut self, job: &JobId, objects: impl Iterator<Item = u32>) {
        self.unlucky.extend(objects.map(|object| (job.clone(), object)));
    }

    /// An attempt did not find these files.
    pub fn missed(&mut self, attempt: &AttemptId, keys: &[String]) {
        for key in keys {
            self.missed.entry(key.clone()).or_default().insert(attempt.clone());
        }
    }

    /// Only what is gone is made again, or what two attempts did not find, or what was made of something that came to
    /// something else meanwhile. Returns how many there were.
    pub fn undone(
        &mut self,
        step: &Step,
        jobs: &BTreeMap<JobId, SimJob>,
        files: &BTreeMap<String, File>,
    ) -> Result<u64, String> {
        let mut count = 0;
        for fact in &step.facts {
            match &fact.what {
                What::Done { attempt, output, .. } => {
                    let key = output.kept.as_ref().map(|file| file.key.clone()).unwrap_or_default();
                    if self.was_lost.contains(&(attempt.task.clone(), key.clone())) {
                        return Err(format!("{} is done with {key}, which was lost", attempt.task));
                    }
                    self.wrote.insert(attempt.task.clone(), key);
                }
                What::Undone { stage, index } => {
                    let task = TaskId { job: fact.job.clone(), stage: *stage, index: *index };
                    let key = self.wrote.remove(&task).unwrap_or_default();
                    let missed = self.missed.get(&key).is_some_and(|attempts| attempts.len() > 1);
                    let made_again = reads(jobs, &task).iter().any(|of| self.undone.contains_key(of));
                    if files.contains_key(&key) && !missed && !made_again {
                        return Err(format!("{task} was undone, though {key} is there"));
                    }
                    self.was_lost.insert((task.clone(), key));
                    self.acknowledged.remove(&task);
                    self.winners.remove(&task);
                    *self.undone.entry(task).or_default() += 1;
                    count += 1;
                }
                _ => {}
            }
        }
        Ok(count)
    }

    /// A worker has said what is not so. Said twice, it is to be believed.
    pub fn mistaken(&mut self, job: &JobId, object: u32) {
        if !self.mistakes.insert((job.clone(), object)) {
            self.unlucky.insert((job.clone(), object));
        }
    }

    /// Notes probes whose workers are given up for lost, though no record has killed them.
    fn note_probes(&mut self, scheduler: &Scheduler, ticked: bool) {
        let held = |worker: WorkerView<'_>| {
            let probe = |attempt: &AttemptId| {
                let tried = scheduler.probe(attempt)?;
                Some((attempt.clone(), LostProbe { worker: worker.id.clone(), tried }))
            };
            worker.leases.into_iter().filter_map(probe).collect::<Vec<_>>()
        };
        let probes: BTreeMap<_, _> = scheduler.workers().flat_map(held).collect();
        let before = std::mem::replace(&mut self.probes, probes);
        if ticked {
            let gone = before.into_iter().filter(|(attempt, _)| !self.probes.contains_key(attempt));
            self.lost_probes.extend(gone.filter(|(_, lost)| !self.killed.contains(&lost.worker)));
        }
    }

    pub fn condemned_count(&self) -> (u64, u64) {
        (self.condemned.len() as u64, self.condemned.intersection(&self.unlucky).count() as u64)
    }

    /// Only what is bad is condemned, and what happened to be tried by two workers that were lost and stayed away.
    pub fn condemned(&mut self, step: &Step, jobs: &BTreeMap<JobId, SimJob>) -> Result<(), String> {
        for fact in &step.facts {
            let What::Condemned { stage, index, condemned } = &fact.what else { continue };
            let (job, task) = (&jobs[&fact.job], TaskId { job: fact.job.clone(), stage: *stage, index: *index });
            let object = match condemned {
                Condemned::Verdict(verdict) => verdict.key.parse().expect("objects are numbers"),
                Condemned::Kills(position) => job.object(&task, *position),
            };
            let deserved = match condemned {
                Condemned::Verdict(_) => job.bad(object) == Some(Bad::Panics),
                Condemned::Kills(_) => job.bad(object) == Some(Bad::Kills) || job.is_at(&task, Nature::Deadly),
            };
            self.condemned.insert((fact.job.clone(), object));
            if !deserved {
                let on_it = |(attempt, lost): &(&AttemptId, &LostProbe)| {
                    let alone =
                        lost.tried.len() == 1 && matches!(condemned, Condemned::Kills(at) if lost.tried.start == *at);
                    attempt.task == task && alone
                };
                if self.lost_probes.iter().filter(on_it).count() < 2 {
                    return Err(format!("object {object} of {task} was condemned for nothing"));
                }
                self.unlucky.insert((fact.job.clone(), object));
            }
        }
        Ok(())
    }

    /// A coordinator has come back. What anyone was told still holds; whatever else is as it remembers it.
    pub fn recovered(&mut self, scheduler: &Scheduler) -> Result<(), String> {
        self.phases = scheduler.jobs().map(|view| (view.id.clone(), view.phase)).collect();
        // It has heard of no worker yet, and old messages are news to it.
        self.draining.clear();
        self.heard.clear();
        self.unserved.clear();
        self.probes.clear();
        self.ours.clear();
        self.lost_probes.clear();
        self.backed_up.clear();
        // What was decided and not written was not: those files count again.
        self.was_lost.clear();
        self.winners.retain(|task, winner| match scheduler.output(task) {
            Some(output) => {
                *winner = output.clone();
                true
            }
            None => false,
        });
        for task in &self.acknowledged {
            let phase = self.phases.get(&task.job);
            if phase.is_none_or(|phase| !phase.ended()) && scheduler.output(task).is_none() {
                return Err(format!("the success of {task} was acknowledged and forgotten"));
            }
        }
        for (job, phase) in &self.ended {
            if self.phases.get(job) != Some(phase) {
                return Err(format!("{job} had ended as {phase:?} and is {:?}", self.phases.get(job)));
            }
        }
        Ok(())
    }

    pub fn always(
        &mut self,
        scheduler: &Scheduler,
        jobs: &BTreeMap<JobId, SimJob>,
        now: Millis,
        ticked: bool,
    ) -> Result<(), String> {
        self.leases(scheduler, jobs, now, ticked)?;
        self.note_probes(scheduler, ticked);
        self.note_unserved(scheduler, jobs, now);
        for job in scheduler.jobs.values() {
            let (id, phase, sim) = (&job.id, job.phase(), &jobs[&job.id]);
            if let Some(family) = &job.family
                && !sim.kernels.takes(family)
            {
                return Err(format!("{id} wishes for {:?} and is bound to {family}", sim.kernels.arithmetics));
            }
            let before = self.phases.get(id).copied();
            if before == Some(phase) {
                continue;
            }
            if !may_follow(before, phase) {
                return Err(format!("{id} went from {before:?} to {phase:?}"));
            }
            self.phases.insert(id.clone(), phase);
            let entry = self.entries.contains(id);
            match phase {
                JobPhase::Listing | JobPhase::Running | JobPhase::Committing => {}
                JobPhase::Committed if !entry => return Err(format!("{id} is committed without a log entry")),
                JobPhase::Committed if !sim.can_succeed() => return Err(format!("{id} can't have succeeded")),
                JobPhase::Committed => {}
                JobPhase::Failed | JobPhase::Cancelled if entry => {
                    return Err(format!("{id} is {phase:?}, but its log entry is there"));
                }
                JobPhase::Cancelled if self.cancels.contains(id) => {}
                JobPhase::Cancelled => return Err(format!("nobody cancelled {id}")),
                JobPhase::Failed => {
                    let view = scheduler.job(id).expect("it is one of them");
                    let failure = view.failure.ok_or("a failed job has no failure")?;
                    let unserved = self.unserved.get(id).is_some_and(|since| {
                        now >= since + scheduler.config.unserved_ms && failure.class == FailureClass::Permanent
                    });
                    if !unserved && !self.explains(sim, failure.class, scheduler.config.losses_max) {
                        return Err(format!("{id} has failed for no reason: {failure}"));
                    }
                }
            }
        }
        Ok(())
    }

    fn note_unserved(&mut self, scheduler: &Scheduler, jobs: &BTreeMap<JobId, SimJob>, now: Millis) {
        let takers: Vec<_> = scheduler.workers().filter(|worker| !worker.draining).collect();
        for job in scheduler.jobs.values() {
            let fits = |family: &str| match job.family.as_deref() {
                Some(bound) => bound == family,
                None => job.kernels.takes(family),
            };
            let has = |worker: &WorkerView<'_>| worker.jobs.contains(&jobs[&job.id].code);
            let served = takers.iter().any(|worker| has(worker) && worker.families.iter().any(|family| fits(family)));
            if takers.is_empty() || served {
                self.unserved.remove(&job.id);
            } else {
                self.unserved.entry(job.id.clone()).or_insert(now);
            }
        }
    }

    fn leases(
        &mut self,
        scheduler: &Scheduler,
        jobs: &BTreeMap<JobId, SimJob>,
        now: Millis,
        ticked: bool,
    ) -> Result<(), String> {
        let mut leased: BTreeMap<&TaskId, u32> = BTreeMap::new();
        let mut on_this = BTreeSet::new();
        for worker in scheduler.workers() {
            if ticked && worker.leased_until <= now {
                return Err(format!("{} has leases until {}, and it is {now}", worker.id, worker.leased_until));
            }
            let ours = worker.leases.iter().filter(|attempt| attempt.epoch == scheduler.epoch).count();
            let had = self.ours.insert(worker.id.clone(), ours).unwrap_or(0);
            // It may have had more room before, or from another coordinator.
            if worker.leases.len() > worker.capacity as usize && ours > had {
                return Err(format!("{} was given more than it takes: {:?}", worker.id, worker.leases));
            }
            let before = self.draining.get(worker.id);
            for attempt in worker.leases {
                let code = &jobs[&attempt.task.job].code;
                if !worker.jobs.contains(code) {
                    return Err(format!("{} was given {attempt}, and its program does not have {code}", worker.id));
                }
                if before.is_some_and(|before| !before.contains(attempt)) {
                    return Err(format!("{} drains and was given {attempt}", worker.id));
                }
                let times = leased.entry(&attempt.task).or_default();
                *times += 1;
                if *times > 2 {
                    return Err(format!("{} is leased {times} times at once", attempt.task));
                }
                if !on_this.insert((worker.id, &attempt.task)) {
                    return Err(format!("{} is leased twice to {}", attempt.task, worker.id));
                }
                if scheduler.find(&attempt.task.job).is_none_or(|job| job.phase() != JobPhase::Running) {
                    return Err(format!("{attempt} is leased, but its job does not run"));
                }
                if *times == 2 && self.backed_up.insert(attempt.task.clone()) {
                    self.backups += 1;
                    let tasks = scheduler.find(&attempt.task.job).and_then(|job| job.running());
                    if tasks.is_some_and(|tasks| tasks.ready_count() > 0) {
                        return Err(format!("{} was given twice while others of its job wait", attempt.task));
                    }
                }
                let most = self.most_attempts.entry(attempt.task.job.clone()).or_default();
                *most = attempt.number.max(*most);
                if attempt.epoch < scheduler.epoch {
                    self.taken_up.insert(attempt.clone());
                }
            }
        }
        Ok(())
    }

    /// A job was told to commit: everything must be there, once. Returns the parts that the store has lost.
    pub fn commits(
        &mut self,
        scheduler: &Scheduler,
        job: &SimJob,
        round: u32,
        files: &BTreeMap<String, File>,
    ) -> Result<Vec<String>, String> {
        let id = &job.id;
        if !self.commits.insert((scheduler.epoch, id.clone(), round)) {
            return Err(format!("{id} was told to commit twice"));
        }
        let view = scheduler.job(id).ok_or("an unknown job was told to commit")?;
        if view.phase != JobPhase::Committing || !view.books.balanced() || view.books.listed != job.listed() {
            return Err(format!("{id} was told to commit with {:?} in {:?}", view.books, view.phase));
        }
        let (mut families, mut lost, mut counted) = (BTreeSet::new(), Vec::new(), Counters::default());
        let mut written: Vec<u32> = Vec::new();
        for (position, stage) in job.graph.stages.iter().enumerate() {
            let outputs = scheduler.outputs(id, position as u32);
            if outputs.len() != stage.tasks.len() {
                return Err(format!("{id} was told to commit with {} tasks of `{}` done", outputs.len(), stage.name));
            }
            for (index, output) in outputs.iter().enumerate() {
                counted.merge(&output.counters);
                let key = &output.kept.as_ref().ok_or("an output without its file")?.key;
                let Some(file) = files.get(key) else {
                    lost.extend(output.part.is_some().then(|| key.clone()));
                    continue;
                };
                families.insert(file.family.as_str());
                if let Some(all) = all_read(scheduler, job, position, index, files)
                    && all != file.objects
                {
                    return Err(format!("{id} would commit {key} of {:?}, made of what was {all:?}", file.objects));
                }
                if output.part.is_some() {
                    written.extend(&file.objects);
                }
            }
        }
        if view.counters != counted {
            return Err(format!("{id} would commit {:?} where its tasks have counted {counted:?}", view.counters));
        }
        if !lost.is_empty() {
            return Ok(lost);
        }
        if !job.keeps_order() {
            written.sort_unstable();
        }
        let mut good = job.good_objects();
        // Those may be in it or not.
        let unlucky = |object: &u32| self.unlucky.contains(&(id.clone(), *object));
        good.retain(|object| !unlucky(object));
        written.retain(|object| !unlucky(object));
        if written != good {
            return Err(format!("{id} would commit {written:?} instead of {good:?}"));
        }
        if families.len() > 1 {
            return Err(format!("{id} would commit bytes of {families:?}"));
        }
        Ok(Vec::new())
    }

    pub fn cleans_up(&mut self, scheduler: &Scheduler, job: &JobId) -> Result<(), String> {
        match scheduler.job(job) {
            Some(view) if !view.phase.ended() => Err(format!("{job} was cleaned up while {:?}", view.phase)),
            Some(view) => {
                self.ended.insert(job.clone(), view.phase);
                Ok(())
            }
            None => Ok(()),
        }
    }

    /// Whether something has happened that may fail a job in this way.
    fn explains(&self, job: &SimJob, class: FailureClass, losses_max: u32) -> bool {
        let most = |class: FailureClass| {
            let of_job = self.failures.iter().filter(|((task, of), _)| task.job == job.id && *of == class);
            of_job.map(|(_, attempts)| attempts.len() as u32).max().unwrap_or(0)
        };
        let unlucky = self.unlucky.iter().filter(|(of, _)| *of == job.id).count() as u64;
        let refused = job.listed() - job.good_objects().len() as u64 + unlucky;
        let over_share = refused as f64 > job.limits.quarantine_share_max * job.listed() as f64;
        match class {
            FailureClass::Application => {
                let undone = self.undone.iter().filter(|(task, _)| task.job == job.id).map(|(_, times)| *times);
                most(class) >= job.limits.attempts_max || undone.max().unwrap_or(0) >= job.limits.attempts_max
            }
            FailureClass::Transient | FailureClass::OutOfMemory => most(class) >= 3 * job.limits.attempts_max,
            // A task that was undone may come to something else when it is too late for that.
            FailureClass::Permanent => {
                let remade = unlucky > 0 && self.undone.keys().any(|task| task.job == job.id);
                most(class) > 0 || over_share || job.commit_fails || remade
            }
            FailureClass::Refused => job.nature == Nature::Empty || job.nature == Nature::Unlistable,
            FailureClass::WorkerLost => {
                // Those that were taken up from a coordinator before have no number of ours.
                let taken_up = self.taken_up.iter().filter(|attempt| attempt.task.job == job.id).count() as u32;
                self.most_attempts.get(&job.id).is_some_and(|most| *most + taken_up >= losses_max)
            }
            FailureClass::Cancelled => false,
        }
    }
}

/// The tasks that one reads from.
fn reads(jobs: &BTreeMap<JobId, SimJob>, task: &TaskId) -> Vec<TaskId> {
    let node = &jobs[&task.job].graph.stages[task.stage as usize].tasks[task.index as usize];
    node.waits_for().map(|(stage, index)| TaskId { job: task.job.clone(), stage, index }).collect()
}

/// The objects in what a task is to read, as far as that is there; `None` if it reads nothing.
fn all_read(
    scheduler: &Scheduler,
    job: &SimJob,
    stage: usize,
    index: usize,
    files: &BTreeMap<String, File>,
) -> Option<Vec<u32>> {
    let node = &job.graph.stages[stage].tasks[index];
    let partitions = job.graph.stages[node.reads.first()?.0 as usize].partitions;
    let mut all = Vec::new();
    for &(stage, index) in &node.reads {
        let output = scheduler.output(&TaskId { job: job.id.clone(), stage, index })?;
        all.extend(&files.get(&output.kept.as_ref()?.key)?.objects);
    }
    if let TaskKind::Reduce { partition } = node.kind {
        all.retain(|object| object % partitions == partition);
    }
    Some(all)
}

fn may_follow(before: Option<JobPhase>, after: JobPhase) -> bool {
    use JobPhase::{Cancelled, Committed, Committing, Failed, Listing, Running};
    match before {
        None => after == Listing,
        Some(Listing) => matches!(after, Listing | Running | Failed | Cancelled),
        Some(Running) => matches!(after, Running | Committing | Failed | Cancelled),
        Some(Committing) => matches!(after, Running | Committing | Committed | Failed),
        Some(ended @ (Committed | Failed | Cancelled)) => after == ended,
    }
}

/// Whether an output's books can be right, by what the simulation knows.
pub fn books_are_right(job: &SimJob, output: &TaskOutput, task: &TaskId) -> bool {
    let stage = &job.graph.stages[task.stage as usize];
    let adds_up = output.rows + output.quarantined.len() as u64 == output.records;
    let whole = match stage.tasks[task.index as usize].kind {
        TaskKind::MapSplit => output.records == u64::from(job.splits[task.index as usize]),
        TaskKind::MapKept | TaskKind::Combine | TaskKind::Reduce { .. } => true,
    };
    whole && (adds_up || !stage.one_row_per_record)
}
