//! From an attempt that the scheduler has given away to the order that its worker can carry out.

use crate::job::Job;
use mr_core::{
    AttemptId, BroadcastRef, Failure, FileRef, JobId, Object, Order, Piece, QuarantineSource, Quarantined, StageIndex,
    TaskGraph, TaskId, TaskKind, TaskNode, TaskOutput, Work,
};
use mr_scheduler::{Condemned, KILLS, Scheduler};
use std::sync::Arc;

/// # Errors
/// What is missing for it. The scheduler gives no attempt of a job that has ended, nor one whose inputs are not done, so
/// this is a defect of ours: the job can't go on, and must not wait either.
pub fn order(
    scheduler: &Scheduler,
    job: &Job,
    (state, landmark): (&str, &str),
    attempt: &AttemptId,
) -> Result<Order, Failure> {
    let view = scheduler.job(&attempt.task.job).ok_or_else(|| lacks(attempt, "its job"))?;
    let graph: &TaskGraph = view.graph.ok_or_else(|| lacks(attempt, "the job's tasks"))?;
    let stage = graph.stages.get(attempt.task.stage as usize).ok_or_else(|| lacks(attempt, "its stage"))?;
    let node = stage.tasks.get(attempt.task.index as usize).ok_or_else(|| lacks(attempt, "its task"))?;
    let reads = Reads { scheduler, attempt };
    let mut piece = None;
    let work = match node.kind {
        TaskKind::MapSplit => {
            let input = job.input.as_ref().ok_or_else(|| lacks(attempt, "the listing"))?;
            let split = input.splits.get(attempt.task.index as usize).ok_or_else(|| lacks(attempt, "its split"))?;
            piece = split.piece;
            let objects = &input.listing.objects[split.range()];
            match scheduler.probe(attempt) {
                Some(part) => {
                    let condemned = condemned(scheduler, (objects, piece), &stage.name, attempt);
                    let part = objects.get(part.start as usize..part.end as usize).unwrap_or_default();
                    let tried = part.iter().filter(|object| condemned.iter().all(|verdict| verdict.key != object.key));
                    Work::Probe { objects: tried.cloned().collect() }
                }
                None => Work::MapObjects {
                    objects: objects.to_vec(),
                    condemned: condemned(scheduler, (objects, piece), &stage.name, attempt),
                },
            }
        }
        TaskKind::MapKept => {
            let rows = reads.files(node, |output| output.kept.clone())?;
            if rows.is_empty() {
                reads.keeps_something(node, graph, &stage.name)?;
            }
            Work::MapKept { rows }
        }
        TaskKind::Combine => Work::Combine { runs: reads.files(node, |output| output.run.clone())? },
        TaskKind::Reduce { partition } => {
            Work::Reduce { runs: reads.files(node, |output| output.run.clone())?, partition }
        }
    };
    let kernel_family = view.family.ok_or_else(|| lacks(attempt, "the job's kernel family"))?.to_owned();
    let planned = job.plan.broadcasts.iter().map(|b| BroadcastRef { name: b.name.clone(), blob: b.blob.clone() });
    Ok(Order {
        attempt: attempt.clone(),
        job: job.plan.spec.job.clone(),
        job_version: job.plan.job_version,
        kernel_family,
        params: job.plan.spec.params.clone(),
        stage: stage.name.clone(),
        input: job.plan.spec.input.clone(),
        state: state.to_owned(),
        landmark: landmark.to_owned(),
        broadcasts: planned.chain(reads.broadcasts(node)?).collect(),
        footer: job.plan.footer.clone(),
        writes_output: stage.writes_output,
        format: job.plan.spec.format,
        one_row_per_record: stage.one_row_per_record,
        partitions: stage.partitions,
        memory_bytes_max: job.plan.spec.shuffle.memory_bytes_max,
        record_seconds_max: job.plan.spec.limits.record_seconds_max,
        piece,
        work,
    })
}

/// The verdicts on objects of a split that are not to be mapped any more.
fn condemned(
    scheduler: &Scheduler,
    (objects, piece): (&[Object], Option<Piece>),
    stage: &str,
    attempt: &AttemptId,
) -> Vec<Quarantined> {
    let verdict = |condemned: &Condemned| match condemned {
        Condemned::Verdict(verdict) => Some((**verdict).clone()),
        Condemned::Kills(position) => objects.get(*position as usize).map(|object| Quarantined {
            key: object.key.clone(),
            etag: object.etag.clone(),
            bytes: object.bytes,
            stage: stage.to_owned(),
            class: KILLS.to_owned(),
            message: format!(
                "whichever process works on it dies; two have{}",
                piece.map(|piece| piece.told()).unwrap_or_default()
            ),
            source: QuarantineSource::Environment,
            attempts: attempt.number,
        }),
    };
    scheduler.condemned(&attempt.task).iter().filter_map(verdict).collect()
}

/// About how many bytes an order has in a message.
pub fn weight(order: &Order) -> usize {
    const FIXED: usize = 1024;
    let files = |files: &[FileRef]| files.iter().map(|file| file.key.len() + 32).sum::<usize>();
    let footer = order.footer.iter().map(|(key, value)| key.len() + value.len() + 16).sum::<usize>();
    let work: usize = match &order.work {
        Work::MapObjects { objects, condemned } => {
            let verdicts =
                condemned.iter().map(|verdict| verdict.key.len() + verdict.message.len() + 128).sum::<usize>();
            objects.iter().map(object_weight).sum::<usize>() + verdicts
        }
        Work::Probe { objects } => objects.iter().map(object_weight).sum(),
        Work::MapKept { rows } => files(rows),
        Work::Combine { runs } | Work::Reduce { runs, .. } => files(runs),
    };
    FIXED + footer + work
}

/// About how many bytes an object has in an order.
pub fn object_weight(object: &Object) -> usize {
    object.key.len() + object.etag.len() + 24
}

fn lacks(attempt: &AttemptId, what: &str) -> Failure {
    Failure::permanent(format!("no order for {attempt}, as {what} is not there: this is a defect of the coordinator"))
}

struct Reads<'a> {
    scheduler: &'a Scheduler,
    attempt: &'a AttemptId,
}

impl Reads<'_> {
    fn output(&self, stage: StageIndex, index: u32) -> Result<&Arc<TaskOutput>, Failure> {
        let job: &JobId = &self.attempt.task.job;
        let output = self.scheduler.output(&TaskId { job: job.clone(), stage, index });
        output.ok_or_else(|| lacks(self.attempt, "what it reads"))
    }

    /// What the read tasks brought, in order. A task without rows or pairs brings no file.
    fn files(&self, node: &TaskNode, of: impl Fn(&TaskOutput) -> Option<FileRef>) -> Result<Vec<FileRef>, Failure> {
        let outputs = node.reads.iter().map(|&(stage, index)| self.output(stage, index));
        Ok(outputs.collect::<Result<Vec<_>, _>>()?.into_iter().filter_map(|output| of(output)).collect())
    }

    /// Of a node that is brought no rows: whether there are any in the stage that it reads. All records of some of its tasks may be
    /// quarantined, but a stage that keeps nothing at all is not meant to be read so.
    fn keeps_something(&self, node: &TaskNode, graph: &TaskGraph, name: &str) -> Result<(), Failure> {
        let Some(&(source, _)) = node.reads.first() else { return Ok(()) };
        let of = &graph.stages[source as usize];
        let mut mapped = 0;
        for index in 0..of.tasks.len() as u32 {
            let output = self.output(source, index)?;
            if output.kept.is_some() {
                return Ok(());
            }
            mapped += output.records.saturating_sub(output.quarantined.len() as u64);
        }
        match mapped {
            0 => Ok(()),
            _ => Err(Failure::permanent(format!(
                "stage `{name}` reads the rows that `{}` keeps, and that keeps none: its code has to keep rows, if only an empty \
                 batch of them, or `{name}` to read what it emits",
                of.name
            ))),
        }
    }

    fn broadcasts(&self, node: &TaskNode) -> Result<Vec<BroadcastRef>, Failure> {
        let found = node.broadcasts.iter().map(|(name, stage, index)| {
            let blob = self.output(*stage, *index)?.broadcast.clone();
            let blob = blob.ok_or_else(|| lacks(self.attempt, "what it is given"))?;
            Ok(BroadcastRef { name: name.clone(), blob })
        });
        found.collect()
    }
}
