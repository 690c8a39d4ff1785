//! Jobs that nobody in touch can serve: since when, and when they are given up.

use crate::event::Millis;
use crate::fact::{Ending, What};
use crate::flaw::Flaw;
use crate::fleet::Pool;
use crate::job::Job;
use crate::scheduler::{Outbox, Scheduler};
use crate::tasks::Tasks;
use mr_core::Failure;

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

    /// Notes since when each job has tasks ready for kernels that none of those in touch has.
    pub(crate) fn watch_unserved(&mut self) {
        let pools = self.fleet.pools();
        let any = pools.values().any(Pool::takes_work);
        for number in &self.running {
            let job = self.jobs.get_mut(number).expect("running jobs are jobs");
            let ready = job.running().is_some_and(|tasks| tasks.ready_count() > 0);
            let served = || pools.iter().any(|(family, pool)| job.rank(family, pool).is_some());
            let unserved = any && ready && !served();
            job.unserved_since = if unserved { job.unserved_since.or(Some(self.now)) } else { None };
        }
    }

    /// When a job that nobody serves has waited for long enough.
    pub(crate) fn gives_up_at(&self, job: &Job) -> Option<Millis> {
        job.running()?;
        let since = job.unserved_since.filter(|_| !self.flawed(Flaw::WaitsForEver))?;
        Some(since.saturating_add(self.config.unserved_ms))
    }

    fn unserved_story(&self, job: &Job) -> String {
        let had =
            self.fleet.pools().iter().filter(|(_, pool)| pool.takes_work()).map(|(family, _)| format!("`{family}`"));
        let had = had.collect::<Vec<_>>().join(", ");
        let seconds = self.config.unserved_ms / 1000;
        match &job.family {
            Some(family) => format!(
                "the job began on kernel family `{family}`, and for {seconds} s no worker in touch has had it, only {had}; \
                 start one that has it and submit the job again"
            ),
            None => {
                format!("for {seconds} s no worker in touch has had kernels for it, only {had}: {}", job.kernels.why)
            }
        }
    }

    /// Jobs that are bound to a family which nobody has any more, and have nothing done that binds them to it.
    pub(crate) fn unbind(&mut self, out: &mut Outbox) {
        let alone = |job: &Job| {
            let left = job.family.as_deref().is_some_and(|family| !self.fleet.has_live(family));
            left && job.running().is_some_and(Tasks::none_was_done)
        };
        let jobs = self.running.iter().map(|number| &self.jobs[number]).filter(|job| alone(job));
        let jobs: Vec<_> = jobs.map(|job| job.id.clone()).collect();
        for job in jobs {
            self.record(&job, What::Unbound, out);
        }
    }
}
