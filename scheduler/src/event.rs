//! What the scheduler is told, and what it asks for in return.

use crate::fact::Fact;
use mr_core::{
    AttemptId, AttemptResult, Failure, JobCode, JobId, KernelWish, Limits, SplitObjects, StageIndex, TaskGraph,
    TaskOutput, WorkerId,
};
use std::collections::BTreeSet;
use std::sync::Arc;

/// Since some fixed start, by the caller's clock.
pub type Millis = u64;

#[derive(Clone, Debug)]
pub struct Config {
    /// How long a worker may be silent before its leases go to others.
    pub lease_ms: Millis,
    /// How many jobs that have ended are remembered.
    pub finished_jobs_kept: usize,
    /// How many transient failures a task may have for each attempt that `attempts_max` allows, and how often it may be given
    /// up for want of memory.
    pub transients_per_attempt: u32,
    /// Pause after a task's first transient failure; it doubles with each further one. A store that is away for some
    /// seconds must not use up the whole budget meanwhile.
    pub pause_ms: Millis,
    pub pause_max_ms: Millis,
    /// How many workers a task may lose. Generous, since losing one is never the task's fault for certain, but a task
    /// that takes its worker down each time must not take the whole fleet.
    pub losses_max: u32,
    /// How long a job waits for a worker that has it, and kernels that it can use, while others are in touch. Long enough for a machine
    /// to start; with nobody in touch at all it waits for ever.
    pub unserved_ms: Millis,
    /// How long an attempt may take before anyone thinks of a second one, however quick its siblings were: a backup costs
    /// a slot and all that the first attempt has fetched.
    pub backup_after_ms: Millis,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            lease_ms: 15_000,
            finished_jobs_kept: 1000,
            transients_per_attempt: 3,
            pause_ms: 250,
            pause_max_ms: 10_000,
            losses_max: 20,
            unserved_ms: 300_000,
            backup_after_ms: 2_000,
        }
    }
}

/// Everything that can make the scheduler change its mind. Each may come late or twice.
#[derive(Clone, Debug)]
pub enum Event {
    /// The same id again changes nothing.
    Submit {
        job: JobId,
        /// What its tasks are run with: only workers that have it are given any.
        code: JobCode,
        limits: Limits,
        kernels: KernelWish,
    },
    /// The input is listed and cut.
    Prepared {
        job: JobId,
        graph: Arc<TaskGraph>,
        split_objects: SplitObjects,
    },
    PrepareFailed {
        job: JobId,
        failure: Failure,
    },
    Poll(Poll),
    /// Outputs that other jobs made of the same inputs in the same way, for a job that is bound to this kernel family. In
    /// an order in which each comes after what it reads.
    Found {
        job: JobId,
        family: Arc<str>,
        outputs: Vec<(StageIndex, u32, Arc<TaskOutput>)>,
    },
    CommitEnded {
        job: JobId,
        /// Of the command.
        round: u32,
        outcome: Result<(), Failure>,
    },
    Cancel {
        job: JobId,
    },
    /// Whoever carries the commands out can't do so for this job, and never will: it fails rather than hang.
    Broken {
        job: JobId,
        failure: Failure,
    },
    /// Time has passed, to [`next_deadline`](crate::Scheduler::next_deadline) or beyond. Leases expire here and nowhere
    /// else. A tick that comes very late gives them a little longer: the polls that would have renewed them are waiting.
    Tick,
}

/// A worker's only call: it registers, shows that it lives, reports and asks in one message that may be repeated.
#[derive(Clone, Debug)]
pub struct Poll {
    pub worker: WorkerId,
    /// Grows with each poll. One that does not is an old message that comes late: ignored.
    pub seq: u64,
    pub slots: u32,
    /// How many attempts it will take, at least `slots`: it fetches ahead for those that can't run yet. It may hold more than
    /// that from when it had more room.
    pub capacity: u32,
    /// Of its kernels: results of different families differ in their bytes. The first serves jobs without a wish.
    pub families: Vec<String>,
    /// All that its program has.
    pub jobs: BTreeSet<JobCode>,
    pub draining: bool,
    /// Attempts that it has been given and has no result of.
    pub held: Vec<AttemptId>,
    /// It is still at a record of an attempt that was stopped: nobody can take it out of that.
    pub lingers: bool,
    /// Repeated until a poll that carried them is answered.
    pub results: Vec<AttemptResult>,
}

/// What one event brings about.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Step {
    /// To be journaled, all or none of them.
    pub facts: Vec<Fact>,
    /// To be carried out once that is done, and not before.
    pub commands: Vec<Command>,
    /// Somebody speaks as if another coordinator had taken over: nothing is to be carried out before a write to the journal,
    /// of facts or of none, has shown that it is not so.
    pub doubted: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// List the input, check the output; then [`Event::Prepared`] or [`Event::PrepareFailed`].
    Prepare { job: JobId },
    /// The job is bound to its kernel family: if there are outputs that it could take over, then [`Event::Found`].
    Look { job: JobId },
    /// There is something new for this worker: answer its poll, if one waits, with
    /// [`answer`](crate::Scheduler::answer).
    Answer { worker: WorkerId },
    /// All tasks are done and the books balance; then [`Event::CommitEnded`]. Comes again in a new round when files that it
    /// was to commit were lost and are made again.
    Commit { job: JobId, round: u32 },
    /// The job has ended, one way or another, and its work files can go. Comes again when something may have been
    /// written since.
    CleanUp { job: JobId },
}

/// What a worker is to do, as far as it does not do so already.
///
/// A function of the state and of what the worker says it holds, so an answer that is lost is simply given again.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// Leased to it and not held, in the order in which they were given.
    pub orders: Vec<AttemptId>,
    /// Held and not, or no longer, leased to it.
    pub stop: Vec<AttemptId>,
    /// Whether it is registered. A worker that was silent for too long is not, until its next poll.
    pub known: bool,
}

impl Answer {
    pub fn is_empty(&self) -> bool {
        self.orders.is_empty() && self.stop.is_empty()
    }
}
