//! Files that are lost while their job runs: whoever made them makes them again.
//!
//! A worker that can't read what another task wrote says so. If a second one says the same, the task is undone, and with it
//! whatever waits for it; what was made of the file before stays, as long as the task comes to the same again. A commit that
//! misses a file needs nobody to agree: it runs where the table is written.

use crate::care::Opinion;
use crate::fact::{Ending, What};
use crate::flaw::Flaw;
use crate::fleet::WorkerNo;
use crate::job::JobNo;
use crate::scheduler::{Outbox, Scheduler};
use crate::tasks::Place;
use mr_core::{AttemptId, Failure, TaskId, TaskOutput};
use std::collections::BTreeSet;

impl Scheduler {
    /// Whether the failure is that of files, and the task's own budget is spared for that.
    pub(crate) fn missed(
        &mut self,
        number: JobNo,
        worker: WorkerNo,
        attempt: &AttemptId,
        failure: &Failure,
        out: &mut Outbox,
    ) -> bool {
        let job = &self.jobs[&number];
        let alone = !job.family.as_ref().is_some_and(|family| self.fleet.has_others(worker, family));
        let alone = alone || self.flawed(Flaw::MissesAtOnce);
        let place = Place::of(&attempt.task);
        let Some(tasks) = job.running() else { return false };
        let makers = made(failure, tasks.read_by(place), |place| tasks.find(place)?.state.output().map(AsRef::as_ref));
        let at_once = self.flawed(Flaw::MissesAtOnce);
        let Some(tasks) = self.jobs.get_mut(&number).and_then(|job| job.running_mut()) else { return false };
        let (mut gone, mut first) = (Vec::new(), false);
        for maker in makers {
            match tasks.care(maker).missed.say(worker, attempt, alone) {
                Opinion::Second => gone.push(maker),
                Opinion::First if at_once => gone.push(maker),
                Opinion::First => first = true,
                Opinion::Again => {}
            }
        }
        if gone.is_empty() && !first {
            return false;
        }
        tasks.retry(place, attempt, worker);
        self.make_again(number, &gone, failure, out);
        true
    }

    /// The commit has failed since files were lost that tasks of the job can make again.
    pub(crate) fn missed_by_commit(&mut self, number: JobNo, failure: &Failure, out: &mut Outbox) -> bool {
        let Some(tasks) = self.jobs[&number].tasks().filter(|_| !failure.lost.is_empty()) else { return false };
        let all = tasks.iter().map(|(place, _)| place);
        let gone = made(failure, all, |place| tasks.find(place)?.state.output().map(AsRef::as_ref));
        self.make_again(number, &gone, failure, out);
        !gone.is_empty()
    }

    fn make_again(&mut self, number: JobNo, gone: &[Place], failure: &Failure, out: &mut Outbox) {
        let attempts_max = self.jobs[&number].limits.attempts_max.max(1);
        for place in gone {
            self.undo(number, *place, out);
            let job = self.jobs.get_mut(&number).expect("numbers are of jobs");
            let id = job.id.clone();
            let Some(tasks) = job.running_mut() else { return };
            tasks.care(*place).missed = Default::default();
            let undone = tasks.charge(*place, |task| &mut task.undone);
            if undone >= attempts_max {
                let what = self.name(&TaskId { job: id, stage: place.stage(), index: place.index() });
                let message = format!("what {what} wrote has been lost {undone} times, the last time: {}", failure.message);
                return self.end(number, Ending::Failed(Failure::application(message)), out);
            }
        }
    }

    /// A task is to be done again, and what waits for it is stopped.
    pub(crate) fn undo(&mut self, number: JobNo, place: Place, out: &mut Outbox) {
        let job = &self.jobs[&number];
        let (id, mut revoked) = (job.id.clone(), Vec::new());
        if let Some(tasks) = job.running() {
            for reader in tasks.readers(place) {
                let task = TaskId { job: id.clone(), stage: reader.stage(), index: reader.index() };
                let leases = tasks.find(*reader).into_iter().flat_map(|task| task.state.leases());
                revoked.extend(leases.map(|lease| (lease.worker, lease.attempt(task.clone()))));
            }
        }
        self.record(&id, What::Undone { stage: place.stage(), index: place.index() }, out);
        for (worker, attempt) in revoked {
            if self.fleet.revoke(worker, &attempt) {
                out.news.insert(worker);
            }
        }
    }

    /// What was made of a task's output before it was undone, if it comes to something else now.
    pub(crate) fn outdated(&self, task: &TaskId, output: &TaskOutput) -> Vec<Place> {
        let place = Place::of(task);
        let Some(tasks) = self.find(&task.job).and_then(|job| job.running()) else { return Vec::new() };
        let former = tasks.find(place).and_then(|task| task.former.as_ref());
        if former.is_none_or(|former| former.is_like(output)) {
            return Vec::new();
        }
        let done = |reader: &&Place| tasks.find(**reader).is_some_and(|task| task.state.output().is_some());
        let readers: BTreeSet<_> = tasks.readers(place).iter().filter(done).copied().collect();
        readers.into_iter().collect()
    }
}

/// Those of `places` that wrote a file which the failure misses, once each.
fn made<'a>(
    failure: &Failure,
    places: impl Iterator<Item = Place>,
    output: impl Fn(Place) -> Option<&'a TaskOutput>,
) -> Vec<Place> {
    let lost: BTreeSet<_> = failure.lost.iter().map(String::as_str).collect();
    let wrote = |place: &Place| output(*place).is_some_and(|output| output.files().any(|(key, _)| lost.contains(key)));
    let places: BTreeSet<_> = places.filter(wrote).collect();
    places.into_iter().collect()
}
