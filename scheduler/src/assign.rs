//! Who is given which task.
//!
//! Jobs in order of submission; in a job the deepest stage that has ready tasks, then the lowest index; of the workers whose
//! programs have the job, the one with most room. First all free slots. Then, as long as there is more to do than the
//! others' slots could take up, orders ahead: inputs are fetched while the slots are busy, and no tail of a job waits behind
//! one worker's queue.

use crate::event::{Command, Millis};
use crate::fact::What;
use crate::flaw::Flaw;
use crate::fleet::{Eligible, Room, Worker, WorkerNo};
use crate::job::{Job, JobNo};
use crate::scheduler::{Outbox, Scheduler};
use crate::tasks::{Place, Tasks};
use mr_core::TaskId;
use std::cmp::Reverse;
use std::ops::Bound;
use std::sync::Arc;

impl Scheduler {
    /// Gives all that can be given. After every event: most find nothing to do, and find it at once.
    pub(crate) fn assign(&mut self, out: &mut Outbox) {
        self.assign_probes(out);
        for room in [Room::Slot, Room::Ahead] {
            let mut next = self.running.first().copied();
            while let Some(number) = next {
                while let Some((place, worker, family)) = self.choose(number, room) {
                    self.lease(number, place, worker, family, out);
                }
                next = self.running.range((Bound::Excluded(number), Bound::Unbounded)).next().copied();
            }
            if room == Room::Slot {
                self.back_up(out);
            }
        }
    }

    /// Probes first: they want a worker that has nothing, which those that have just come have.
    fn assign_probes(&mut self, out: &mut Outbox) {
        for number in self.running.clone() {
            loop {
                let job = &self.jobs[&number];
                let Some(place) = job.running().and_then(Tasks::next_probe) else { break };
                let idle =
                    self.families_for(job).find_map(|(family, eligible)| Some((eligible.idle()?, family.clone())));
                let Some((worker, family)) = idle else { break };
                self.lease(number, place, worker, family, out);
            }
        }
    }

    /// With nothing ready, slots that are free go to second attempts: of those that take much longer than their siblings
    /// did, and of those that will, going by what else their worker has done of late. One for each task, on another worker.
    fn back_up(&mut self, out: &mut Outbox) {
        let floor_ms = self.config.backup_after_ms;
        for number in self.running.clone() {
            while let Some((place, worker)) = self.choose_backup(number, floor_ms) {
                let (epoch, now) = (self.epoch, self.now);
                let job = self.jobs.get_mut(&number).expect("running jobs are jobs");
                let task = TaskId { job: job.id.clone(), stage: place.stage(), index: place.index() };
                let lease = job.running_mut().expect("it has a task under way").back_up(place, epoch, worker, now);
                self.fleet.grant(worker, lease.attempt(task), false);
                out.news.insert(worker);
            }
        }
    }

    fn choose_backup(&self, number: JobNo, floor_ms: Millis) -> Option<(Place, WorkerNo)> {
        let job = &self.jobs[&number];
        let tasks = job.running().filter(|tasks| tasks.ready_count() == 0 || self.flawed(Flaw::BacksUpTooSoon))?;
        let eligible = Some(self.eligible(job, job.family.as_deref()?)).filter(|eligible| eligible.has(Room::Slot))?;
        let late = |(number, worker): (WorkerNo, &Worker)| {
            let places = worker.leases().keys().filter(|attempt| attempt.task.job == job.id);
            let mut places = places.map(|attempt| Place::of(&attempt.task));
            let place = places.find(|place| tasks.is_late(*place, self.now, floor_ms, |usual| worker.takes(usual)))?;
            Some((place, eligible.quick(number)?))
        };
        if let Some(found) = self.fleet.slow().find_map(late) {
            return Some(found);
        }
        let (place, slow) = tasks.straggler(self.now, floor_ms)?;
        let worker = eligible.quick(slow).or_else(|| eligible.roomiest(Room::Slot, Some(slow)))?;
        (worker != slow || self.flawed(Flaw::BacksUpWithItself)).then_some((place, worker))
    }

    /// When the next attempt will have taken so long that a free slot should begin it anew.
    pub(crate) fn next_straggler_at(&self) -> Option<Millis> {
        let idle = |job: &&Job| job.family.as_deref().is_some_and(|family| self.eligible(job, family).has(Room::Slot));
        let jobs = self.running.iter().map(|number| &self.jobs[number]).filter(idle);
        let tasks = jobs.filter_map(Job::running).filter(|tasks| tasks.ready_count() == 0);
        tasks.filter_map(|tasks| tasks.next_straggler_at(self.now, self.config.backup_after_ms)).min()
    }

    fn choose(&self, number: JobNo, room: Room) -> Option<(Place, WorkerNo, Arc<str>)> {
        let job = &self.jobs[&number];
        let tasks = job.running().filter(|tasks| tasks.ready_count() > 0)?;
        let choose_in = |(family, eligible): (&Arc<str>, Eligible<'_>)| {
            let (place, worker) = self.choose_in(eligible, family, tasks, room)?;
            Some((place, worker, family.clone()))
        };
        if let Some(family) = &job.family {
            return choose_in((family, self.eligible(job, family)));
        }
        // Its first lease binds the job. So it waits for the kernels that it likes best of those that are there, and asks
        // the family with most slots first.
        let mut families: Vec<_> = self.families_for(job).collect();
        families.sort_by_key(|(_, eligible)| Reverse(eligible.slots()));
        families.into_iter().find_map(choose_in)
    }

    /// Who of that family may be given the job's tasks.
    pub(crate) fn eligible<'a>(&'a self, job: &'a Job, family: &str) -> Eligible<'a> {
        self.fleet.eligible(family, Some(&job.code).filter(|_| !self.flawed(Flaw::IgnoresRegistries)))
    }

    /// Whether there is no other than that worker for the job's tasks.
    pub(crate) fn is_alone(&self, job: &Job, worker: WorkerNo) -> bool {
        !job.family.as_deref().is_some_and(|family| self.eligible(job, family).has_others(worker))
    }

    /// The families that the job is given to as things are: the one that it is bound to, or those that it likes best.
    pub(crate) fn families_for<'a>(&'a self, job: &'a Job) -> impl Iterator<Item = (&'a Arc<str>, Eligible<'a>)> {
        let wishes = !self.flawed(Flaw::IgnoresWishes);
        let rank = move |family: &str| if wishes { job.rank(family, self.eligible(job, family)) } else { Some(0) };
        let best = self.fleet.families().filter_map(|family| rank(family)).min();
        let liked = self.fleet.families().filter(move |family| best.is_some() && rank(family) == best);
        liked.map(|family| (family, self.eligible(job, family)))
    }

    fn choose_in(&self, eligible: Eligible<'_>, family: &str, tasks: &Tasks, room: Room) -> Option<(Place, WorkerNo)> {
        if !eligible.has(room) {
            return None;
        }
        let fit = |(place, avoids)| Some((place, eligible.roomiest(room, avoids)?));
        let (place, worker) = tasks.heads().filter_map(fit).min()?;
        match room {
            Room::Slot => Some((place, worker)),
            Room::Ahead => {
                let this = self.fleet.worker(worker);
                let others = eligible.slots() - u64::from(this.slots);
                (self.ready_for(this, family) > others).then_some((place, worker))
            }
        }
    }

    /// How many ready tasks this worker could take with kernels of this family.
    fn ready_for(&self, worker: &Worker, family: &str) -> u64 {
        let takes = |job: &&Job| {
            worker.jobs().contains(&job.code) && self.families_for(job).any(|(other, _)| **other == *family)
        };
        let jobs = self.running.iter().map(|number| &self.jobs[number]).filter(takes);
        jobs.filter_map(Job::running).map(|tasks| tasks.ready_count() as u64).sum()
    }

    fn lease(&mut self, number: JobNo, place: Place, worker: WorkerNo, family: Arc<str>, out: &mut Outbox) {
        if self.jobs[&number].family.is_none() {
            let id = self.jobs[&number].id.clone();
            self.record(&id, What::Bound { family }, out);
            out.commands.push(Command::Look { job: id });
        }
        let (epoch, now) = (self.epoch, self.now);
        let job = self.jobs.get_mut(&number).expect("running jobs are jobs");
        let task = TaskId { job: job.id.clone(), stage: place.stage(), index: place.index() };
        let tasks = job.running_mut().expect("it has a ready task");
        let lease = tasks.lease(place, epoch, worker, now);
        self.fleet.grant(worker, lease.attempt(task), lease.probe);
        out.news.insert(worker);
    }
}
