//! Jobs that nobody in touch can serve: what is lacking, since when, and when they are given up.

use crate::event::Millis;
use crate::fact::{Ending, What};
use crate::flaw::Flaw;
use crate::job::Job;
use crate::scheduler::{Outbox, Scheduler};
use crate::tasks::Tasks;
use crate::view::WorkerView;
use mr_core::{Failure, JobCode, WorkerId};
use std::collections::BTreeMap;

/// What a job wants that no worker has who takes work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lack<'a> {
    /// What its tasks are run with.
    Code(&'a JobCode),
    /// The kernel family that it is bound to, together with its code.
    Family(&'a str),
    /// Kernels that it wishes for, together with its code.
    Kernels,
}

/// What to do for a job whose code nobody has.
pub const START_ITS_PROGRAM: &str = "start workers of the program that it was submitted with";

/// Which workers have a job in another version, to follow on that nobody has it in this one: "; w1 has version 1".
pub fn other_versions(code: &JobCode, workers: &[WorkerView<'_>]) -> String {
    let mut by_version: BTreeMap<u32, Vec<&WorkerId>> = BTreeMap::new();
    for worker in workers {
        for other in worker.jobs.iter().filter(|other| other.name == code.name && other.version != code.version) {
            by_version.entry(other.version).or_default().push(worker.id);
        }
    }
    let told = by_version.into_iter().map(|(version, workers)| match workers[..] {
        [one] => format!("{one} has version {version}"),
        [first, ref more @ ..] => format!("{first} and {} more have version {version}", more.len()),
        [] => unreachable!("somebody has it"),
    });
    let told = told.collect::<Vec<_>>().join(", ");
    if told.is_empty() { told } else { format!("; {told}") }
}

impl Scheduler {
    /// Ends the jobs that nobody has served for long enough.
    pub(crate) fn give_up(&mut self, grace: Millis, out: &mut Outbox) {
        // Workers that were lost just now may have been the only ones in touch.
        self.watch_unserved();
        for number in self.running.clone() {
            let Some(at) = self.gives_up_at(&self.jobs[&number]).filter(|at| *at <= self.now) else { continue };
            if self.now - at > grace {
                // It is we who were away: whoever could serve it may be waiting to be heard.
                let until = self.now.saturating_add(grace.max(1));
                let job = self.jobs.get_mut(&number).expect("running jobs are jobs");
                job.unserved_since = Some(until.saturating_sub(self.config.unserved_ms));
            } else {
                let failure = Failure::permanent(self.unserved_story(&self.jobs[&number]));
                self.end(number, Ending::Failed(failure), out);
            }
        }
    }

    /// Notes since when each job has tasks ready that none of those in touch can be given.
    pub(crate) fn watch_unserved(&mut self) {
        let any = self.fleet.takes_work();
        for number in self.running.clone() {
            let job = &self.jobs[&number];
            let ready = job.running().is_some_and(|tasks| tasks.ready_count() > 0);
            let unserved = any && ready && self.lack(job).is_some();
            let since = if unserved { job.unserved_since.or(Some(self.now)) } else { None };
            self.jobs.get_mut(&number).expect("running jobs are jobs").unserved_since = since;
        }
    }

    /// What no worker has of that which a job with tasks left wants, though somebody takes work or the job is bound.
    pub(crate) fn lack<'a>(&self, job: &'a Job) -> Option<Lack<'a>> {
        job.running()?;
        let families = || self.fleet.families().map(|family| (family, self.eligible(job, family)));
        if self.fleet.takes_work() && !families().any(|(_, eligible)| eligible.takes_work()) {
            return Some(Lack::Code(&job.code));
        }
        match job.family.as_deref() {
            Some(bound) => (!self.eligible(job, bound).takes_work()).then_some(Lack::Family(bound)),
            None => {
                let served = families().any(|(family, eligible)| job.rank(family, eligible).is_some());
                (self.fleet.takes_work() && !served).then_some(Lack::Kernels)
            }
        }
    }

    /// When a job that nobody serves has waited for long enough.
    pub(crate) fn gives_up_at(&self, job: &Job) -> Option<Millis> {
        job.running()?;
        let since = job.unserved_since.filter(|_| !self.flawed(Flaw::WaitsForEver))?;
        Some(since.saturating_add(self.config.unserved_ms))
    }

    fn unserved_story(&self, job: &Job) -> String {
        let seconds = self.config.unserved_ms / 1000;
        let eligible = self.fleet.families().filter(|family| self.eligible(job, family).takes_work());
        let had = || eligible.map(|family| format!("`{family}`")).collect::<Vec<_>>().join(", ");
        let worker = match self.fleet.live_without(&job.code) {
            0 => "worker in touch",
            _ => "worker in touch that has the job",
        };
        match (self.lack(job), &job.family) {
            (Some(Lack::Code(code)), _) => format!(
                "for {seconds} s no worker in touch has had {code}{}: {START_ITS_PROGRAM}, and submit the job again",
                other_versions(code, &self.workers().collect::<Vec<_>>())
            ),
            (_, Some(family)) => format!(
                "the job began on kernel family `{family}`, and for {seconds} s no {worker} has had it, only {}; \
                 start one that has it and submit the job again",
                had()
            ),
            (_, None) => {
                format!("for {seconds} s no {worker} has had kernels for it, only {}: {}", had(), job.kernels.why)
            }
        }
    }

    /// Jobs that are bound to a family which nobody who has them has any more, and have nothing done that binds them to it.
    pub(crate) fn unbind(&mut self, out: &mut Outbox) {
        let alone = |job: &Job| {
            let left = job.family.as_deref().is_some_and(|family| self.eligible(job, family).live() == 0);
            left && job.running().is_some_and(Tasks::none_was_done)
        };
        let jobs = self.running.iter().map(|number| &self.jobs[number]).filter(|job| alone(job));
        let jobs: Vec<_> = jobs.map(|job| job.id.clone()).collect();
        for job in jobs {
            self.record(&job, What::Unbound, out);
        }
    }
}
