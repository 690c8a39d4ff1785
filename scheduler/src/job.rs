//! One job: its phase, and what is left of it at the end.

use crate::event::Millis;
use crate::fact::Remains;
use crate::fleet::Eligible;
use crate::tasks::Tasks;
use crate::view::StageView;
use mr_core::{Failure, JobCode, JobId, JobPhase, KernelWish, Limits};
use std::sync::Arc;

/// A job, by the order of submission.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct JobNo(pub u64);

#[derive(Clone, Debug)]
pub(crate) struct Job {
    pub id: JobId,
    /// What its tasks are run with.
    pub code: JobCode,
    pub limits: Limits,
    pub submitted_at: Millis,
    pub prepared_at: Option<Millis>,
    pub kernels: KernelWish,
    /// The kernel family that its bytes are made with, from its first lease on.
    pub family: Option<Arc<str>>,
    /// Since when tasks are ready that nobody can be given, though somebody is in touch.
    pub unserved_since: Option<Millis>,
    /// How often this coordinator or one before it has asked for a commit.
    pub rounds: u32,
    pub phase: Phase,
}

#[derive(Clone, Debug)]
pub(crate) enum Phase {
    Listing,
    Running(Tasks),
    /// The log entry may be there at any time now: nothing but the commit's own end ends it.
    Committing(Tasks),
    Committed(Remains),
    Failed {
        failure: Failure,
        /// Whether it was still listing: what that writes may come after the clean-up.
        listing: bool,
        remains: Remains,
    },
    Cancelled {
        listing: bool,
        remains: Remains,
    },
}

impl Remains {
    pub(crate) fn of(phase: &Phase, now: Millis) -> Self {
        match phase {
            Phase::Listing => Self { ended_at: now, ..Self::default() },
            Phase::Running(tasks) | Phase::Committing(tasks) => Self {
                ended_at: now,
                stages: StageView::of(tasks),
                books: tasks.ledger.books(),
                counters: tasks.ledger.counters().clone(),
                quarantined_first: tasks.ledger.quarantined_first().to_vec(),
            },
            Phase::Committed(remains) | Phase::Failed { remains, .. } | Phase::Cancelled { remains, .. } => {
                remains.clone()
            }
        }
    }
}

impl Job {
    pub fn new(id: JobId, code: JobCode, limits: Limits, kernels: KernelWish, now: Millis) -> Self {
        Self {
            id,
            code,
            limits,
            submitted_at: now,
            prepared_at: None,
            kernels,
            family: None,
            unserved_since: None,
            rounds: 0,
            phase: Phase::Listing,
        }
    }

    /// How far down its wishes these workers come, who have its code; `None` if it can't use their family.
    pub fn rank(&self, family: &str, eligible: Eligible<'_>) -> Option<usize> {
        if !eligible.takes_work() {
            return None;
        }
        match self.family.as_deref() {
            Some(bound) => (bound == family).then_some(0),
            // By themselves workers use their first.
            None if self.kernels.arithmetics.is_empty() => eligible.is_first().then_some(0),
            None => self.kernels.rank(family),
        }
    }

    /// The tasks, as long as there are any to know of.
    pub fn tasks(&self) -> Option<&Tasks> {
        match &self.phase {
            Phase::Running(tasks) | Phase::Committing(tasks) => Some(tasks),
            Phase::Listing | Phase::Committed(_) | Phase::Failed { .. } | Phase::Cancelled { .. } => None,
        }
    }

    /// The tasks, as long as something can still happen to them.
    pub fn running(&self) -> Option<&Tasks> {
        match &self.phase {
            Phase::Running(tasks) => Some(tasks),
            Phase::Listing
            | Phase::Committing(_)
            | Phase::Committed(_)
            | Phase::Failed { .. }
            | Phase::Cancelled { .. } => None,
        }
    }

    pub fn running_mut(&mut self) -> Option<&mut Tasks> {
        match &mut self.phase {
            Phase::Running(tasks) => Some(tasks),
            Phase::Listing
            | Phase::Committing(_)
            | Phase::Committed(_)
            | Phase::Failed { .. }
            | Phase::Cancelled { .. } => None,
        }
    }

    pub fn phase(&self) -> JobPhase {
        match &self.phase {
            Phase::Listing => JobPhase::Listing,
            Phase::Running(_) => JobPhase::Running,
            Phase::Committing(_) => JobPhase::Committing,
            Phase::Committed(_) => JobPhase::Committed,
            Phase::Failed { .. } => JobPhase::Failed,
            Phase::Cancelled { .. } => JobPhase::Cancelled,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_that_ends_while_it_is_listed_has_ended_then() {
        assert_eq!(Remains::of(&Phase::Listing, 7), Remains { ended_at: 7, ..Remains::default() });
    }
}
