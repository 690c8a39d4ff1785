//! What has been decided and must survive the one who decided it.
//!
//! Facts are the scheduler's journal. Live, a decision becomes a fact and the fact changes the state; after a restart the
//! same facts change a new state in the same way ([`Scheduler::recover`](crate::Scheduler::recover)). Leases are not among
//! them, nor how often attempts failed: workers say what they hold, and budgets begin anew.

use crate::event::Millis;
use crate::view::StageView;
use mr_core::{
    AttemptId, Books, Counters, Failure, JobCode, JobId, KernelWish, Limits, Quarantined, SplitObjects, StageIndex,
    TaskGraph, TaskOutput,
};
use std::sync::Arc;

#[derive(Clone, Debug, PartialEq)]
pub struct Fact {
    pub at: Millis,
    pub job: JobId,
    pub what: What,
}

#[derive(Clone, Debug, PartialEq)]
pub enum What {
    Submitted {
        code: JobCode,
        limits: Limits,
        kernels: KernelWish,
    },
    Prepared {
        graph: Arc<TaskGraph>,
        split_objects: SplitObjects,
    },
    /// Its first lease binds a job to a kernel family.
    Bound {
        family: Arc<str>,
    },
    /// Nothing was done yet, and nobody has that family any more.
    Unbound,
    /// The first success of a task.
    Done {
        attempt: AttemptId,
        family: Arc<str>,
        output: Arc<TaskOutput>,
    },
    /// What a task wrote is gone or damaged, or was made of something else than what is there now: it is to be done again.
    Undone {
        stage: StageIndex,
        index: u32,
    },
    /// A record of that task is not to be mapped any more.
    Condemned {
        stage: StageIndex,
        index: u32,
        condemned: Condemned,
    },
    /// From here on only the commit's own end ends the job, or undoes a task of it.
    Committing,
    Ended {
        ending: Ending,
        remains: Remains,
    },
}

/// A record that two workers have found to be beyond them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Condemned {
    /// What they said of it.
    Verdict(Box<Quarantined>),
    /// They could not say: their processes died. Its position in the split.
    Kills(u32),
}

/// How a job ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ending {
    Committed,
    Failed(Failure),
    Cancelled,
}

/// What is remembered of a job that has ended: sums, not tasks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Remains {
    pub ended_at: Millis,
    pub stages: Vec<StageView>,
    pub books: Books,
    pub counters: Counters,
    pub quarantined_first: Vec<Quarantined>,
}
