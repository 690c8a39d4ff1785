//! What others may see of jobs and workers: borrowed and computed when asked for, nothing kept.

use crate::event::Millis;
use crate::fact::Remains;
use crate::fleet::{Fleet, Presence, Worker};
use crate::job::{Job, Phase};
use crate::tasks::Tasks;
use crate::unserved::Lack;
use mr_core::{
    AttemptId, Books, Counters, Failure, JobCode, JobId, JobPhase, KernelWish, Quarantined, StageIndex, TaskGraph,
    TaskKind, WorkerId,
};
use std::collections::BTreeSet;
use std::sync::Arc;

#[derive(Clone, Debug)]
pub struct JobView<'a> {
    pub id: &'a JobId,
    pub phase: JobPhase,
    pub failure: Option<&'a Failure>,
    /// So far; `skipped` is not known here.
    pub books: Books,
    pub counters: Counters,
    /// While it runs and commits.
    pub graph: Option<&'a Arc<TaskGraph>>,
    /// In the order of the expanded graph; none before the input is listed.
    pub stages: Vec<StageView>,
    /// The first reasons, in the order of keys.
    pub quarantined_first: Vec<Quarantined>,
    pub submitted_at: Millis,
    pub prepared_at: Option<Millis>,
    pub ended_at: Option<Millis>,
    /// Its commit was asked for and has not come about, so that some of it may lie in the output.
    pub half_committed: bool,
    /// The kernel family that it is bound to.
    pub family: Option<&'a str>,
    /// What its tasks are run with.
    pub code: &'a JobCode,
    /// What it waits for, when it has tasks left that no worker can be given.
    pub lack: Option<Lack<'a>>,
    /// When it fails unless a worker comes that has that.
    pub gives_up_at: Option<Millis>,
    pub kernels: &'a KernelWish,
    /// Workers in touch that get none of its tasks, since they don't have its code or the family that it is bound to; and
    /// those of them that don't have its code.
    pub workers_turned_away: u32,
    pub workers_without_code: u32,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StageView {
    /// The planned stage's. A stage with levels of combining in front has one view for each level.
    pub name: String,
    pub total: u32,
    pub done: u32,
    pub running: u32,
    /// Done so far, and in all where that is known.
    pub records: u64,
    pub records_total: Option<u64>,
    pub rows: u64,
    pub started_at: Option<Millis>,
    pub ended_at: Option<Millis>,
}

#[derive(Clone, Debug)]
pub struct WorkerView<'a> {
    pub id: &'a WorkerId,
    pub families: &'a [Arc<str>],
    /// All that its program has.
    pub jobs: &'a BTreeSet<JobCode>,
    pub slots: u32,
    pub capacity: u32,
    pub draining: bool,
    /// It has been given nothing, and is at work on nothing that was taken from it.
    pub idle: bool,
    /// Of its last poll: one with a lower number is an old message.
    pub seq: u64,
    /// In the order in which they were given.
    pub leases: Vec<&'a AttemptId>,
    pub leased_until: Millis,
}

impl<'a> JobView<'a> {
    pub(crate) fn of(job: &'a Job, fleet: &Fleet, lack: Option<Lack<'a>>, gives_up_at: Option<Millis>) -> Self {
        let (graph, ended_at) = match &job.phase {
            Phase::Listing => (None, None),
            Phase::Running(tasks) | Phase::Committing(tasks) => (Some(tasks.graph()), None),
            Phase::Committed(remains) | Phase::Failed { remains, .. } | Phase::Cancelled { remains, .. } => {
                (None, Some(remains.ended_at))
            }
        };
        // What would remain if it ended now, whenever that is.
        let Remains { stages, books, counters, quarantined_first, ended_at: _ } = Remains::of(&job.phase, 0);
        let failure = match &job.phase {
            Phase::Failed { failure, .. } => Some(failure),
            Phase::Listing
            | Phase::Running(_)
            | Phase::Committing(_)
            | Phase::Committed(_)
            | Phase::Cancelled { .. } => None,
        };
        let family = job.family.as_deref();
        let without_code = if job.running().is_some() { fleet.live_without(&job.code) } else { 0 };
        let with_both = |family| fleet.eligible(family, Some(&job.code)).live();
        let bound = family.filter(|_| job.running().is_some());
        Self {
            id: &job.id,
            phase: job.phase(),
            failure,
            books,
            counters,
            graph,
            stages,
            quarantined_first,
            submitted_at: job.submitted_at,
            prepared_at: job.prepared_at,
            ended_at,
            half_committed: job.rounds > 0 && job.phase() != JobPhase::Committed,
            family,
            code: &job.code,
            lack,
            gives_up_at,
            kernels: &job.kernels,
            workers_turned_away: bound.map_or(without_code, |family| fleet.live_count() - with_both(family)),
            workers_without_code: without_code,
        }
    }
}

impl StageView {
    pub(crate) fn of(tasks: &Tasks) -> Vec<Self> {
        let views = tasks.graph().stages.iter().zip(tasks.stages()).map(|(stage, sums)| Self {
            name: stage.name.clone(),
            total: sums.total,
            done: sums.done,
            running: sums.running,
            records: sums.records,
            records_total: match stage.tasks.first().map(|node| node.kind) {
                Some(TaskKind::MapSplit) => {
                    Some(tasks.ledger.split_objects().each().iter().map(|&objects| u64::from(objects)).sum())
                }
                Some(TaskKind::MapKept) => rows_to_read(tasks, &stage.tasks[0].reads),
                Some(TaskKind::Combine | TaskKind::Reduce { .. }) | None => None,
            },
            rows: sums.rows,
            started_at: sums.started_at,
            ended_at: sums.ended_at,
        });
        views.collect()
    }
}

/// All rows of the stage that is read, once it is complete.
fn rows_to_read(tasks: &Tasks, reads: &[(StageIndex, u32)]) -> Option<u64> {
    let sums = &tasks.stages()[reads.first()?.0 as usize];
    (sums.done == sums.total).then_some(sums.rows)
}

impl<'a> WorkerView<'a> {
    pub(crate) fn of(worker: &'a Worker) -> Option<Self> {
        let leased_until = match worker.presence {
            Presence::Live { until } => until,
            Presence::Gone { .. } => return None,
        };
        let mut leases: Vec<_> = worker.leases().iter().collect();
        leases.sort_unstable_by_key(|(_, granted)| granted.order);
        Some(Self {
            id: &worker.id,
            families: &worker.families,
            jobs: worker.jobs(),
            slots: worker.slots,
            capacity: worker.capacity,
            draining: worker.draining,
            idle: worker.is_idle(),
            seq: worker.seq,
            leases: leases.into_iter().map(|(attempt, _)| attempt).collect(),
            leased_until,
        })
    }
}
