//! What is seen of jobs and machines.

use crate::Millis;
use std::collections::BTreeSet;
use std::sync::Arc;

/// Of one moment.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Facts {
    /// Those that have not ended, and that the fleet's workers can be given.
    pub jobs: Vec<JobFacts>,
    /// All that the provider has or is about to have, and those that nobody knows of but the worker on them.
    pub instances: Vec<Instance>,
}

/// As its coordinator calls it.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct JobId(pub Arc<str>);

#[derive(Clone, Debug, Default, PartialEq)]
pub struct JobFacts {
    pub id: JobId,
    pub submitted_at: Millis,
    /// Of all stages, those to come as well; none before the input is listed.
    pub stages: Vec<StageFacts>,
    /// Not everything that it lists is settled yet, or it is still being listed.
    pub books_open: bool,
    /// Slot time that its tasks have taken so far.
    pub spent_ms: Millis,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StageFacts {
    /// Tasks that nobody is at work on, whether or not they could begin now.
    pub waiting: u32,
    pub running: u32,
    pub done: u32,
    /// How long one takes; `None`: none has been done yet.
    pub task_ms: Option<Millis>,
}

/// As the provider calls it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct InstanceId(pub String);

/// A machine with a worker on it, or a process in its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Instance {
    pub id: InstanceId,
    /// `None`: its worker is not in touch, be it not yet or no longer.
    pub worker: Option<Worker>,
    /// Somebody has told it to leave, or it said that it does.
    pub leaves: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Worker {
    pub slots: u32,
    /// Those of the jobs whose tasks it can be given: not all, where workers differ in their kernels or programs.
    pub serves: BTreeSet<JobId>,
    /// It has been given something, or is at work on something that was taken from it.
    pub busy: bool,
}
