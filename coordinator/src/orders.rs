//! From an attempt that the scheduler has given away to the order that its worker can carry out.

use crate::job::Job;
use mr_core::{
    AttemptId, BroadcastRef, FileRef, JobId, Order, StageIndex, TaskGraph, TaskId, TaskKind, TaskNode, TaskOutput, Work,
};
use mr_scheduler::Scheduler;
use std::sync::Arc;

/// `None` when the job has ended or a task that it reads is not done: the scheduler gives no such attempts, so then
/// the attempt has just been taken back.
pub fn order(scheduler: &Scheduler, job: &Job, state: &str, attempt: &AttemptId) -> Option<Order> {
    let view = scheduler.job(&attempt.task.job)?;
    let graph: &TaskGraph = view.graph?;
    let stage = graph.stages.get(attempt.task.stage as usize)?;
    let node = stage.tasks.get(attempt.task.index as usize)?;
    let reads = Reads { scheduler, job: &attempt.task.job };
    let work = match node.kind {
        TaskKind::MapSplit => {
            let input = job.input.as_ref()?;
            let split = input.splits.get(attempt.task.index as usize)?;
            Work::MapObjects { objects: input.listing.objects[split.range()].to_vec() }
        }
        TaskKind::MapKept => Work::MapKept { rows: reads.files(node, |output| output.kept.clone())? },
        TaskKind::Combine => Work::Combine { runs: reads.files(node, |output| output.run.clone())? },
        TaskKind::Reduce { partition } => {
            Work::Reduce { runs: reads.files(node, |output| output.run.clone())?, partition }
        }
    };
    let planned = job.plan.broadcasts.iter().map(|b| BroadcastRef { name: b.name.clone(), blob: b.blob.clone() });
    Some(Order {
        attempt: attempt.clone(),
        job: job.plan.spec.job.clone(),
        job_version: job.plan.job_version,
        params: job.plan.spec.params.clone(),
        stage: stage.name.clone(),
        input: job.plan.spec.input.clone(),
        state: state.to_owned(),
        broadcasts: planned.chain(reads.broadcasts(node)?).collect(),
        footer: job.plan.footer.clone(),
        writes_output: stage.writes_output,
        one_row_per_record: stage.one_row_per_record,
        partitions: stage.partitions,
        work,
    })
}

/// About how many bytes the order is on the wire.
pub fn wire_bytes(order: &Order) -> usize {
    let text = |text: &str| text.len() + 16;
    let work: usize = match &order.work {
        Work::MapObjects { objects } => objects.iter().map(|object| text(&object.key) + text(&object.etag)).sum(),
        Work::MapKept { rows: files } | Work::Combine { runs: files } | Work::Reduce { runs: files, .. } => {
            files.iter().map(|file| text(&file.key) + 16).sum()
        }
    };
    work + order.footer.iter().map(|(key, value)| text(key) + text(value)).sum::<usize>() + 1024
}

struct Reads<'a> {
    scheduler: &'a Scheduler,
    job: &'a JobId,
}

impl Reads<'_> {
    fn output(&self, stage: StageIndex, index: u32) -> Option<&Arc<TaskOutput>> {
        self.scheduler.output(&TaskId { job: self.job.clone(), stage, index })
    }

    /// What the read tasks brought, in order. A task without rows or pairs brings no file.
    fn files(&self, node: &TaskNode, of: impl Fn(&TaskOutput) -> Option<FileRef>) -> Option<Vec<FileRef>> {
        let outputs: Option<Vec<_>> = node.reads.iter().map(|&(stage, index)| self.output(stage, index)).collect();
        Some(outputs?.into_iter().filter_map(|output| of(output)).collect())
    }

    fn broadcasts(&self, node: &TaskNode) -> Option<Vec<BroadcastRef>> {
        let found = node.broadcasts.iter().map(|(name, stage, index)| {
            let blob = self.output(*stage, *index)?.broadcast.clone()?;
            Some(BroadcastRef { name: name.clone(), blob })
        });
        found.collect()
    }
}
