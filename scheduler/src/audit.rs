//! The state against itself: what the indexes say must be what a walk over everything says.
//!
//! For tests and the simulation; it costs a walk over all tasks.

use crate::job::Job;
use crate::scheduler::Scheduler;
use crate::tasks::{Place, TaskState};
use mr_core::TaskId;
use std::collections::BTreeSet;

impl Scheduler {
    /// # Errors
    /// A sentence about the first thing that does not hold.
    pub fn audit(&self) -> Result<(), String> {
        self.fleet.audit()?;
        let mut leased = BTreeSet::new();
        for (number, job) in &self.jobs {
            if self.running.contains(number) != job.running().is_some() {
                return Err(format!("job {} is {:?}, but not so in the set of running jobs", job.id, job.phase()));
            }
            let Some(tasks) = job.running() else { continue };
            tasks.audit().map_err(|why| format!("job {}: {why}", job.id))?;
            for (place, task) in tasks.iter() {
                match &task.state {
                    TaskState::Leased { .. } => {
                        let id = TaskId { job: job.id.clone(), stage: place.stage(), index: place.index() };
                        leased.extend(task.state.leases().map(|lease| (lease.attempt(id.clone()), lease.worker)));
                    }
                    TaskState::Paused { until } => {
                        if !self.pauses.contains(&(*until, *number, place)) {
                            return Err(format!("job {}: nothing wakes {place:?}", job.id));
                        }
                    }
                    TaskState::Waiting { .. } | TaskState::Ready | TaskState::Done { .. } => {}
                }
            }
            self.audit_idle(job)?;
        }
        let held = self.fleet.live().flat_map(|(number, worker)| {
            worker.leases().keys().map(move |attempt| (attempt.clone(), number)) //
        });
        let held: BTreeSet<_> = held.collect();
        if held != leased {
            return Err(format!("tasks say {leased:?} is leased, workers {held:?}"));
        }
        Ok(())
    }

    /// No slot is free while a task is ready that it may have.
    fn audit_idle(&self, job: &Job) -> Result<(), String> {
        let Some(tasks) = job.running() else { return Ok(()) };
        let fitting: Vec<_> = self.families_for(job).map(|(family, _)| family).collect();
        for (number, worker) in self.fleet.live() {
            let free = worker.has_slot();
            let able = free && worker.jobs().contains(&job.code);
            let Some(family) = worker.families.iter().find(|family| able && fitting.contains(family)) else { continue };
            let others = self.fleet.live().any(|(other, w)| {
                other != number && w.takes_work() && w.families.contains(family) && w.jobs().contains(&job.code)
            });
            let idle = worker.is_idle();
            let may = |(place, task): &(Place, &crate::tasks::Task)| {
                let fits = if tasks.awaits_probe(*place) { idle } else { task.avoids != Some(number) || !others };
                matches!(task.state, TaskState::Ready) && fits
            };
            if let Some((place, _)) = tasks.iter().find(may) {
                return Err(format!("worker {} has a free slot, but {place:?} of {} is ready", worker.id, job.id));
            }
        }
        Ok(())
    }
}
