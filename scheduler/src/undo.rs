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
use crate::tasks::{Place, Tasks};
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
        let alone = self.is_alone(job, worker);
        let (place, at_once) = (Place::of(&attempt.task), self.flawed(Flaw::MissesAtOnce));
        let Some(tasks) = self.jobs.get_mut(&number).and_then(|job| job.running_mut()) else { return false };
        let makers = makers(tasks, failure, tasks.read_by(place));
        let (mut gone, mut first) = (BTreeSet::new(), false);
        for maker in makers {
            match tasks.care(maker).missed.say(worker, attempt, alone) {
                Opinion::Second => _ = gone.insert(maker),
                Opinion::First if at_once => _ = gone.insert(maker),
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
        let gone = makers(tasks, failure, tasks.iter().map(|(place, _)| place));
        self.make_again(number, &gone, failure, out);
        !gone.is_empty()
    }

    fn make_again(&mut self, number: JobNo, gone: &BTreeSet<Place>, failure: &Failure, out: &mut Outbox) {
        let attempts_max = self.jobs[&number].limits.attempts_max.max(1);
        for place in gone {
            self.undo(number, *place, out);
            let job = self.jobs.get_mut(&number).expect("numbers are of jobs");
            let id = job.id.clone();
            let Some(tasks) = job.running_mut() else { return };
            let undone = tasks.charge(*place, |task| &mut task.undone);
            if undone >= attempts_max {
                let what = self.name(&TaskId { job: id, stage: place.stage(), index: place.index() });
                let message =
                    format!("what {what} wrote has been lost {undone} times, the last time: {}", failure.message);
                return self.end(number, Ending::Failed(Failure::application(message)), out);
            }
        }
    }

    /// A task is to be done again, and what waits for it is stopped.
    fn undo(&mut self, number: JobNo, place: Place, out: &mut Outbox) {
        let job = &self.jobs[&number];
        let id = job.id.clone();
        let readers = job.running().into_iter().flat_map(|tasks| {
            tasks.readers(place).iter().flat_map(|reader| tasks.attempts(*reader, &id)) //
        });
        let busy = readers.collect();
        self.record(&id, What::Undone { stage: place.stage(), index: place.index() }, out);
        self.revoke(busy, out);
        if let Some(tasks) = self.running_tasks(&id) {
            tasks.care(place).missed = Default::default();
        }
    }

    /// Whether a task that was undone comes to something else now than before.
    pub(crate) fn comes_to_something_else(&self, task: &TaskId, output: &TaskOutput) -> bool {
        let tasks = self.find(&task.job).and_then(|job| job.running());
        let former = tasks.and_then(|tasks| tasks.find(Place::of(task))?.former.as_ref());
        former.is_some_and(|former| !former.is_like(output))
    }

    /// What was made of a task's output before is of no use any more.
    pub(crate) fn undo_readers(&mut self, number: JobNo, place: Place, out: &mut Outbox) {
        let Some(tasks) = self.jobs[&number].running() else { return };
        let done = |reader: &Place| tasks.find(*reader).is_some_and(|task| task.state.output().is_some());
        let readers: BTreeSet<_> = tasks.readers(place).iter().copied().filter(done).collect();
        for reader in readers {
            self.undo(number, reader, out);
        }
    }
}

/// Those of `places` that wrote a file which the failure misses.
fn makers(tasks: &Tasks, failure: &Failure, places: impl Iterator<Item = Place>) -> BTreeSet<Place> {
    let lost: BTreeSet<_> = failure.lost.iter().map(String::as_str).collect();
    let output = |place: &Place| tasks.find(*place).and_then(|task| task.state.output());
    let wrote = |place: &Place| output(place).is_some_and(|output| output.files().any(|(key, _)| lost.contains(key)));
    places.filter(wrote).collect()
}
