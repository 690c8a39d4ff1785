//! What a worker says of a task, held against what the task was given and what others will want of it.
//!
//! The scheduler counts; here is what it can't see: which objects a split has, and what later stages wait for.

use crate::job::Job;
use mr_core::{AttemptId, Failure, ObjectsDigest, TaskGraph, TaskKind, TaskOutput};
use std::collections::BTreeMap;

/// The task that this is an attempt of, if there is one.
pub fn kind(graph: &TaskGraph, attempt: &AttemptId) -> Option<TaskKind> {
    let stage = graph.stages.get(attempt.task.stage as usize)?;
    Some(stage.tasks.get(attempt.task.index as usize)?.kind)
}

/// # Errors
/// What is wrong with the output, by whose fault it is.
pub fn check(graph: &TaskGraph, job: &Job, attempt: &AttemptId, output: &TaskOutput) -> Result<(), Failure> {
    if output.probed {
        return Ok(()); // it has nothing to show
    }
    if output.mapped_sha256 != to_be_mapped(graph, job, attempt, output)? {
        return Err(Failure::application("the worker mapped other objects than those that the task has"));
    }
    let folder = attempt.work_folder();
    if output.files().any(|(key, _)| !key.starts_with(&folder)) {
        return Err(Failure::application(format!("the worker's files lie elsewhere than under {folder}")));
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

/// The digest of the objects that are left of the task's split without its verdicts; none for a task without a split.
///
/// # Errors
/// If a verdict is not on an object of the split as it was listed, or a second one on the same.
fn to_be_mapped(
    graph: &TaskGraph,
    job: &Job,
    attempt: &AttemptId,
    output: &TaskOutput,
) -> Result<Option<String>, Failure> {
    let split = match (kind(graph, attempt), &job.input) {
        (Some(TaskKind::MapSplit), Some(input)) => {
            input.splits.get(attempt.task.index as usize).map(|split| (input, split))
        }
        _ => None,
    };
    let objects = split.map_or(&[][..], |(input, split)| &input.listing.objects[split.range()]);
    let mut left: BTreeMap<_, _> = objects.iter().map(|object| (object.key.as_str(), object)).collect();
    for verdict in &output.quarantined {
        let object = left.remove(verdict.key.as_str());
        if object.is_none_or(|object| (&object.etag, object.bytes) != (&verdict.etag, verdict.bytes)) {
            let story = "the worker quarantined objects that the task does not have, or one twice";
            return Err(Failure::application(story));
        }
    }
    Ok(split.map(|_| {
        let mut digest = ObjectsDigest::default();
        // By key, as a listing is sorted.
        left.values().for_each(|object| digest.add(object));
        digest.finish()
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::tests::sample;
    use mr_core::{BlobRef, FailureClass, FileRef, JobId, Object, QuarantineSource, Quarantined, TaskId};

    fn attempt(stage: u32, index: u32) -> AttemptId {
        AttemptId { task: TaskId { job: JobId::parse("job").unwrap(), stage, index }, epoch: 1, number: 1 }
    }

    fn digest(objects: &[(&str, &str)]) -> Option<String> {
        let mut digest = ObjectsDigest::default();
        for &(key, etag) in objects {
            digest.add(&Object { key: key.into(), bytes: 1, etag: etag.into() });
        }
        Some(digest.finish())
    }

    fn output(quarantined: &[(&str, &str, u64)], mapped_sha256: Option<String>) -> TaskOutput {
        let quarantined = quarantined.iter().map(|&(key, etag, bytes)| Quarantined {
            key: key.into(),
            etag: etag.into(),
            bytes,
            stage: "map".into(),
            class: "bad".into(),
            message: String::new(),
            source: QuarantineSource::Content,
            attempts: 1,
        });
        TaskOutput { quarantined: quarantined.collect(), mapped_sha256, ..TaskOutput::default() }
    }

    #[test]
    fn each_object_of_the_split_is_mapped_or_quarantined_once_and_as_listed() {
        let (graph, job) = sample();
        let fits = |index, quarantined: &[_], mapped: &[_]| {
            check(&graph, &job, &attempt(0, index), &output(quarantined, digest(mapped)))
        };
        assert_eq!(fits(0, &[], &[("a", "a1"), ("b", "b1")]), Ok(()));
        assert_eq!(fits(0, &[("b", "b1", 1)], &[("a", "a1")]), Ok(()));
        assert_eq!(fits(0, &[("b", "b1", 1), ("a", "a1", 1)], &[]), Ok(()));
        assert_eq!(fits(1, &[("d", "d1", 1)], &[("c", "c1")]), Ok(()));
        for (quarantined, story) in [
            (&[("c", "c1", 1)][..], "of the other split"),
            (&[("x", "x1", 1)], "of none"),
            (&[("a", "a2", 1)], "of another version"),
            (&[("a", "a1", 2)], "of another size"),
            (&[("a", "a1", 1), ("a", "a1", 1)], "twice"),
        ] {
            let failure = fits(0, quarantined, &[("b", "b1")]).expect_err(story);
            assert_eq!(failure.class, FailureClass::Application, "{story}");
            assert!(failure.message.contains("quarantined objects"), "{story}: {failure}");
        }
        for (mapped, story) in [
            (&[("a", "a1")][..], "one short"),
            (&[("a", "a1"), ("b", "b2")], "another version"),
            (&[("b", "b1"), ("a", "a1")], "another order, which would be that of the rows"),
            (&[("c", "c1"), ("d", "d1")], "the other split"),
        ] {
            let failure = fits(0, &[], mapped).expect_err(story);
            assert_eq!(failure.class, FailureClass::Application, "{story}");
            assert!(failure.message.contains("mapped other objects"), "{story}: {failure}");
        }
        assert!(check(&graph, &job, &attempt(0, 0), &TaskOutput::default()).is_err(), "nothing is told");
        assert!(fits(2, &[], &[]).is_err(), "there is no such task");
    }

    #[test]
    fn only_tasks_over_objects_map_or_quarantine_any() {
        let (graph, job) = sample();
        assert!(check(&graph, &job, &attempt(2, 0), &TaskOutput::default()).is_ok());
        assert!(check(&graph, &job, &attempt(2, 0), &output(&[("a", "a1", 1)], None)).is_err());
        assert!(check(&graph, &job, &attempt(2, 0), &output(&[], digest(&[]))).is_err());
    }

    #[test]
    fn what_others_wait_for_has_to_be_there() {
        let (graph, job) = sample();
        let mut output = TaskOutput::default();
        let failure = check(&graph, &job, &attempt(1, 0), &output).unwrap_err();
        assert_eq!(failure.class, FailureClass::Permanent);
        output.broadcast = Some(BlobRef { key: "work/job/1/000000-1.1/sum".into(), sha256: "00".into(), bytes: 1 });
        assert_eq!(check(&graph, &job, &attempt(1, 0), &output), Ok(()));
    }

    /// Files that are lost are asked for again, and those of an attempt are removed with it.
    #[test]
    fn what_lies_elsewhere_is_not_taken() {
        let (graph, job) = sample();
        let at = |key: &str| {
            let kept = Some(FileRef { key: key.into(), bytes: 1, crc32: 0 });
            check(&graph, &job, &attempt(2, 0), &TaskOutput { kept, ..TaskOutput::default() })
        };
        assert_eq!(at("work/job/2/000000-1.1/kept.arrow"), Ok(()));
        for key in ["journal/00000001", "work/job/2/000000-1.2/kept.arrow", "work/job/2/000000-1.10/kept.arrow", ""] {
            let failure = at(key).unwrap_err();
            assert!(failure.class == FailureClass::Application && failure.message.contains("elsewhere"), "{failure}");
        }
    }
}
