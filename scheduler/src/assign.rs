//! Who is given which task.
//!
//! Jobs in order of submission; in a job the deepest stage that has ready tasks, then the lowest index; the worker with
//! most room. First all free slots. Then, as long as there is more to do than the others' slots could take up, orders
//! ahead: inputs are fetched while the slots are busy, and no tail of a job waits behind one worker's queue.

use crate::flaw::Flaw;
use crate::fleet::{Pool, Room, WorkerNo};
use crate::job::{Job, JobNo};
use crate::scheduler::{Outbox, Scheduler};
use crate::tasks::{Place, Tasks};
use mr_core::{AttemptId, TaskId};
use std::cmp::Reverse;
use std::ops::Bound;
use std::sync::Arc;

impl Scheduler {
    /// Gives all that can be given. After every event: most find nothing to do, and find it at once.
    pub(crate) fn assign(&mut self, out: &mut Outbox) {
        for room in [Room::Slot, Room::Ahead] {
            let mut next = self.running.first().copied();
            while let Some(number) = next {
                while let Some((place, worker, family)) = self.choose(number, room) {
                    self.lease(number, place, worker, family, out);
                }
                next = self.running.range((Bound::Excluded(number), Bound::Unbounded)).next().copied();
            }
        }
    }

    fn choose(&self, number: JobNo, room: Room) -> Option<(Place, WorkerNo, Arc<str>)> {
        let job = &self.jobs[&number];
        let tasks = job.running().filter(|tasks| tasks.ready_count() > 0)?;
        let pools = self.fleet.pools();
        let choose_in = |(family, pool): (&Arc<str>, &Pool)| {
            let (place, worker) = self.choose_in(pool, family, tasks, room)?;
            Some((place, worker, family.clone()))
        };
        if let Some(family) = &job.family {
            return choose_in(pools.get_key_value(family)?);
        }
        // Its first lease binds the job. So it waits for the kernels that it likes best of those that are there, and asks
        // the family with most slots first.
        let mut families: Vec<_> = self.families_for(job).collect();
        families.sort_by_key(|(_, pool)| Reverse(pool.slots));
        families.into_iter().find_map(choose_in)
    }

    /// The families that the job is given to as things are: the one that it is bound to, or those that it likes best.
    pub(crate) fn families_for<'a>(&'a self, job: &'a Job) -> impl Iterator<Item = (&'a Arc<str>, &'a Pool)> {
        let wishes = !self.flawed(Flaw::IgnoresWishes);
        let rank = move |family: &str, pool: &Pool| if wishes { job.rank(family, pool) } else { Some(0) };
        let pools = self.fleet.pools();
        let best = pools.iter().filter_map(|(family, pool)| rank(family, pool)).min();
        pools.iter().filter(move |(family, pool)| best.is_some() && rank(family, pool) == best)
    }

    fn choose_in(&self, pool: &Pool, family: &str, tasks: &Tasks, room: Room) -> Option<(Place, WorkerNo)> {
        if !pool.has(room) {
            return None;
        }
        let fit = |(place, avoids)| Some((place, pool.roomiest(room, avoids)?));
        let (place, worker) = tasks.heads().filter_map(fit).min()?;
        match room {
            Room::Slot => Some((place, worker)),
            Room::Ahead => {
                let others = pool.slots - u64::from(self.fleet.worker(worker).slots);
                (self.ready_for(family) > others).then_some((place, worker))
            }
        }
    }

    /// How many ready tasks workers of this family could take.
    fn ready_for(&self, family: &str) -> u64 {
        let takes = |job: &&Job| self.families_for(job).any(|(other, _)| **other == *family);
        let jobs = self.running.iter().map(|number| &self.jobs[number]).filter(takes);
        jobs.filter_map(Job::running).map(|tasks| tasks.ready_count() as u64).sum()
    }

    fn lease(&mut self, number: JobNo, place: Place, worker: WorkerNo, family: Arc<str>, out: &mut Outbox) {
        let job = self.jobs.get_mut(&number).expect("running jobs are jobs");
        job.family.get_or_insert(family);
        let task = TaskId { job: job.id.clone(), stage: place.stage(), index: place.index() };
        let tasks = job.running_mut().expect("it has a ready task");
        let attempt = AttemptId { task, number: tasks.lease(place, worker, self.now) };
        self.fleet.grant(worker, attempt);
        out.news.insert(worker);
    }
}
