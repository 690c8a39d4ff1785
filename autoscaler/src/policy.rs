//! What whoever runs the fleet wants of it.

use crate::Millis;
use std::fmt;

#[derive(Clone, Debug, PartialEq)]
pub struct Policy {
    pub aim: Aim,
    /// Never fewer than that, and never more.
    pub workers_min: u32,
    pub workers_max: u32,
    /// Of one worker, as long as none is in touch that says so itself.
    pub slots: u32,
    /// From asking for a worker to hearing of it, as long as it was not measured.
    pub start_ms: Millis,
    /// What a task is taken to need, as long as none of its stage has been done.
    pub task_ms: Millis,
    /// So long a worker must have had nothing to do, and so long the fleet must have been larger than it need be, before one
    /// is let go.
    pub idle_ms: Millis,
    /// A machine is paid for so long at the least.
    pub billed_min_ms: Millis,
    /// What a worker costs; 0: nothing, and no budget is used up.
    pub usd_per_worker_hour: f64,
    /// The fleet is never so large that it costs more.
    pub budget_usd_per_hour: Option<f64>,
    /// Workers are only asked for as long as what they cost, from their order to their end, leaves a job within that, by what
    /// is known of its tasks. It always gets one.
    pub budget_usd_per_job: Option<f64>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Aim {
    /// That each job is done so long after it was submitted, with as few workers as that takes.
    Within(Millis),
    /// That it costs as little as it can, where an hour that somebody waits for a job costs so much as well. With 0 it is one
    /// worker that does it all.
    Cheapest { usd_per_hour_waited: f64 },
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            aim: Aim::Within(600_000),
            workers_min: 0,
            workers_max: 16,
            slots: 1,
            start_ms: 60_000,
            task_ms: 2_000,
            idle_ms: 300_000,
            billed_min_ms: 60_000,
            usd_per_worker_hour: 0.0,
            budget_usd_per_hour: None,
            budget_usd_per_job: None,
        }
    }
}

/// Why a policy can't be followed, for whoever wrote it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyError(pub String);

impl fmt::Display for PolicyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for PolicyError {}

impl Policy {
    /// # Errors
    /// When it contradicts itself.
    pub fn check(&self) -> Result<(), PolicyError> {
        let wrong = |what: &str| Err(PolicyError(what.to_owned()));
        if self.workers_max == 0 || self.workers_min > self.workers_max {
            return wrong("`workers_max` should be at least 1, and at least `workers_min`");
        }
        if self.slots == 0 {
            return wrong("`slots` should be at least 1");
        }
        let usd = [Some(self.usd_per_worker_hour), self.budget_usd_per_hour, self.budget_usd_per_job, self.waiting()];
        if usd.into_iter().flatten().any(|usd| !usd.is_finite() || usd < 0.0) {
            return wrong("dollars should be numbers from 0 on");
        }
        if self.usd_per_worker_hour == 0.0 && (self.budget_usd_per_hour.is_some() || self.budget_usd_per_job.is_some())
        {
            return wrong("a budget needs `usd_per_worker_hour`, or it bounds nothing");
        }
        if self.within_hourly_budget() < self.workers_min.max(1) {
            return wrong("`budget_usd_per_hour` does not pay for one worker, or not for `workers_min`");
        }
        Ok(())
    }

    /// The largest fleet that is allowed.
    pub fn most(&self) -> u32 {
        self.workers_max.min(self.within_hourly_budget())
    }

    /// As many as that, within the bounds.
    pub fn bounded(&self, workers: u32) -> u32 {
        workers.clamp(self.workers_min, self.most())
    }

    fn within_hourly_budget(&self) -> u32 {
        let Some(budget) = self.budget_usd_per_hour else { return u32::MAX };
        // Three workers of 0.1 are within 0.3, whatever the third decimal behind the tenth says.
        (budget / self.usd_per_worker_hour * (1.0 + 1e-9)).floor() as u32
    }

    fn waiting(&self) -> Option<f64> {
        match self.aim {
            Aim::Within(_) => None,
            Aim::Cheapest { usd_per_hour_waited } => Some(usd_per_hour_waited),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_budget_bounds_the_fleet_and_has_to_pay_for_what_is_always_there() {
        let paid = Policy { usd_per_worker_hour: 0.1, budget_usd_per_hour: Some(0.3), ..Policy::default() };
        assert_eq!((paid.check(), paid.most()), (Ok(()), 3));
        for wrong in [
            Policy { workers_min: 4, ..paid.clone() },
            Policy { budget_usd_per_hour: Some(0.09), ..paid.clone() },
            Policy { usd_per_worker_hour: 0.0, ..paid.clone() },
            Policy { budget_usd_per_job: Some(f64::NAN), ..paid.clone() },
            Policy { aim: Aim::Cheapest { usd_per_hour_waited: -1.0 }, ..paid.clone() },
            Policy { workers_max: 0, ..Policy::default() },
            Policy { slots: 0, ..Policy::default() },
        ] {
            assert!(wrong.check().is_err(), "{wrong:?}");
        }
        assert_eq!(Policy::default().most(), 16);
    }
}
