//! What is left to do, for whoever decides how many workers there should be.

use crate::event::Millis;
use crate::job::{Job, Phase};
use crate::scheduler::Scheduler;
use crate::tasks::StageSums;
use crate::view::WorkerView;
use mr_core::{JobCode, JobId, KernelWish};

/// Of a job that has not ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Load<'a> {
    pub id: &'a JobId,
    pub submitted_at: Millis,
    pub code: &'a JobCode,
    pub kernels: &'a KernelWish,
    /// The kernel family that it is bound to.
    pub family: Option<&'a str>,
    /// It has tasks left that nobody in touch can be given, though somebody takes work.
    pub lacks: bool,
    /// Of the expanded graph; none before the input is listed and when all is done but the commit.
    pub stages: Vec<StageLoad>,
    /// It is being listed, or not all of what it lists is embedded or set aside: of one that is cut, each piece.
    pub books_open: bool,
    /// Slot time of the attempts that won.
    pub spent_ms: Millis,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StageLoad {
    /// Tasks that are neither done nor leased, whether or not they are ready.
    pub waiting: u32,
    pub running: u32,
    pub done: u32,
    /// How long those took that are done.
    pub task_ms: Option<Millis>,
}

impl Load<'_> {
    /// Whether a worker can be given tasks of it.
    pub fn takes(&self, worker: &WorkerView<'_>) -> bool {
        let fits = |family: &str| match self.family {
            Some(bound) => family == bound,
            None => self.kernels.takes(family),
        };
        worker.jobs.contains(self.code) && worker.families.iter().any(|family| fits(family))
    }
}

impl Scheduler {
    /// In order of submission.
    pub fn loads(&self) -> impl Iterator<Item = Load<'_>> {
        self.jobs.values().filter(|job| !job.phase().ended()).map(|job| self.load(job))
    }

    fn load<'a>(&'a self, job: &'a Job) -> Load<'a> {
        let (stages, books_open): (&[StageSums], _) = match &job.phase {
            Phase::Listing => (&[], true),
            Phase::Running(tasks) => (tasks.stages(), tasks.reads_input()),
            Phase::Committing(_) => (&[], false),
            Phase::Committed(_) | Phase::Failed { .. } | Phase::Cancelled { .. } => (&[], false),
        };
        let load = |sums: &StageSums| StageLoad {
            waiting: sums.total - sums.done - sums.running,
            running: sums.running,
            done: sums.done,
            task_ms: sums.usual_ms(),
        };
        Load {
            id: &job.id,
            submitted_at: job.submitted_at,
            code: &job.code,
            kernels: &job.kernels,
            family: job.family.as_deref(),
            lacks: self.lack(job).is_some(),
            stages: stages.iter().map(load).collect(),
            books_open,
            spent_ms: stages.iter().map(StageSums::spent_ms).sum(),
        }
    }
}
