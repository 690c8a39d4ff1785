//! What a worker says of a task, held against what the task was given and what others will want of it.
//!
//! The scheduler counts; here is what it can't see: which objects a split has, and what later stages wait for.

use crate::job::Job;
use mr_core::{AttemptId, Failure, TaskGraph, TaskKind, TaskOutput};
use std::collections::BTreeMap;

/// The task that this is an attempt of, if there is one.
pub fn kind(graph: &TaskGraph, attempt: &AttemptId) -> Option<TaskKind> {
    let stage = graph.stages.get(attempt.task.stage as usize)?;
    Some(stage.tasks.get(attempt.task.index as usize)?.kind)
}

/// # Errors
/// What is wrong with the output, by whose fault it is.
pub fn check(graph: &TaskGraph, job: &Job, attempt: &AttemptId, output: &TaskOutput) -> Result<(), Failure> {
    if !verdicts_fit(graph, job, attempt, output) {
        let story = "the worker quarantined objects that the task does not have, or one twice";
        return Err(Failure::application(story));
    }
    if output.broadcast.is_none() && is_broadcast(graph, attempt) {
        return Err(Failure::permanent("the stage gave nothing to broadcast, and later ones wait for it"));
    }
    Ok(())
}

/// Whether another task is given what this one broadcasts.
fn is_broadcast(graph: &TaskGraph, attempt: &AttemptId) -> bool {
    let this = (attempt.task.stage, attempt.task.index);
    let mut first_nodes = graph.stages.iter().filter_map(|stage| stage.tasks.first());
    first_nodes.any(|node| node.broadcasts.iter().any(|(_, stage, index)| (*stage, *index) == this))
}

/// Whether every verdict is on an object of the task's split, as it was listed, and none is on one twice.
fn verdicts_fit(graph: &TaskGraph, job: &Job, attempt: &AttemptId, output: &TaskOutput) -> bool {
    let split = match (kind(graph, attempt), &job.input) {
        (Some(TaskKind::MapSplit), Some(input)) => {
            input.splits.get(attempt.task.index as usize).map(|split| &input.listing.objects[split.range()])
        }
        (Some(TaskKind::MapSplit), None) | (None, _) => None,
        (Some(TaskKind::MapKept | TaskKind::Combine | TaskKind::Reduce { .. }), _) => Some(&[][..]),
    };
    let Some(objects) = split else { return false };
    let mut left: BTreeMap<_, _> = objects.iter().map(|o| (o.key.as_str(), (o.etag.as_str(), o.bytes))).collect();
    output.quarantined.iter().all(|q| left.remove(q.key.as_str()) == Some((q.etag.as_str(), q.bytes)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::{Input, Measured};
    use mr_core::{
        BlobRef, InputFilter, JobId, JobPlan, JobSpec, Limits, Listing, Mode, Object, Params, QuarantineSource,
        Quarantined, Source, Split, SplitSettings, StagePlan, TaskId, expand,
    };
    use std::sync::Arc;

    fn stage(name: &str, source: Source, broadcasts_of: &[&str]) -> StagePlan {
        let broadcasts_of = broadcasts_of.iter().map(|name| (*name).to_owned()).collect();
        StagePlan { name: name.into(), source, broadcasts_of, writes_output: false, one_row_per_record: false }
    }

    /// Two splits of two objects, a reduce that is broadcast, and a stage over kept rows that is given it.
    fn job() -> (TaskGraph, Job) {
        let plan = JobPlan {
            spec: JobSpec {
                job: "test".into(),
                input: "file:///in/".into(),
                output: "file:///out/".into(),
                mode: Mode::Fail,
                adopt: false,
                params: Params::new(),
                limits: Limits::default(),
                split: SplitSettings::default(),
            },
            job_version: 1,
            filter: InputFilter::default(),
            broadcasts: Vec::new(),
            stages: vec![
                stage("map", Source::Input, &[]),
                stage("sum", Source::Emitted { stage: "map".into(), partitions: 1, fan_in: 8 }, &[]),
                stage("rows", Source::Kept { stage: "map".into(), group_min: 1, group_max: 1 }, &["sum"]),
            ],
            footer: Default::default(),
        };
        let graph = expand(&plan, 2).unwrap();
        let objects = ["a", "b", "c", "d"].map(|key| Object { key: key.into(), bytes: 1, etag: format!("{key}1") });
        let splits = [0, 2].map(|first| Split { first, count: 2, bytes: 2 });
        let input = Input { listing: Listing { objects: objects.into(), skipped: 0 }, splits: splits.into() };
        let job = Job {
            plan: Arc::new(plan),
            submitted_epoch_ms: 0,
            prior_ms: 0,
            input: Some(Arc::new(input)),
            skipped: 0,
            measured: Measured::default(),
        };
        (graph, job)
    }

    fn attempt(stage: u32, index: u32) -> AttemptId {
        AttemptId { task: TaskId { job: JobId::parse("job").unwrap(), stage, index }, number: 1 }
    }

    fn quarantining(objects: &[(&str, &str, u64)]) -> TaskOutput {
        let quarantined = objects.iter().map(|&(key, etag, bytes)| Quarantined {
            key: key.into(),
            etag: etag.into(),
            bytes,
            stage: "map".into(),
            class: "bad".into(),
            message: String::new(),
            source: QuarantineSource::Content,
            attempts: 1,
        });
        TaskOutput { quarantined: quarantined.collect(), ..TaskOutput::default() }
    }

    #[test]
    fn verdicts_are_on_objects_of_the_split_as_listed_and_on_each_once() {
        let (graph, job) = job();
        let fits = |index, objects: &[_]| check(&graph, &job, &attempt(0, index), &quarantining(objects)).is_ok();
        assert!(fits(0, &[]));
        assert!(fits(0, &[("b", "b1", 1), ("a", "a1", 1)]));
        assert!(fits(1, &[("d", "d1", 1)]));
        for wrong in [
            &[("c", "c1", 1)][..],             // of the other split
            &[("x", "x1", 1)],                 // of none
            &[("a", "a2", 1)],                 // of another version
            &[("a", "a1", 2)],                 // of another size
            &[("a", "a1", 1), ("a", "a1", 1)], // twice
        ] {
            let failure = check(&graph, &job, &attempt(0, 0), &quarantining(wrong)).unwrap_err();
            assert_eq!(failure.class, mr_core::FailureClass::Application, "{wrong:?}");
        }
        assert!(!fits(2, &[("a", "a1", 1)]), "there is no such task");
    }

    #[test]
    fn only_tasks_over_objects_quarantine_any() {
        let (graph, job) = job();
        assert!(check(&graph, &job, &attempt(2, 0), &quarantining(&[])).is_ok());
        assert!(check(&graph, &job, &attempt(2, 0), &quarantining(&[("a", "a1", 1)])).is_err());
    }

    #[test]
    fn what_others_wait_for_has_to_be_there() {
        let (graph, job) = job();
        let mut output = TaskOutput::default();
        let failure = check(&graph, &job, &attempt(1, 0), &output).unwrap_err();
        assert_eq!(failure.class, mr_core::FailureClass::Permanent);
        output.broadcast = Some(BlobRef::shared("00".into(), 1));
        assert!(check(&graph, &job, &attempt(1, 0), &output).is_ok());
    }
}
