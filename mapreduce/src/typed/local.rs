//! A typed job in one thread and in memory, for its first test: no coordinator, no files.

use crate::attempt::Control;
use crate::buffer::ValuesOf;
use crate::emit::{Attempt, MapOutput};
use crate::job::{ObjectRecord, RecordError, StageCode};
use crate::pairs::{Pairs, PairsTo};
use crate::spool::Scratch;
use crate::typed::emit::{Emit, Emitted, combined, reduced};
use crate::typed::input::Input;
use crate::typed::row::{Rows, columns};
use crate::typed::{MapOnly, MapReduce};
use bytes::Bytes;
use mr_core::{AttemptId, Failure, JobId, TaskId};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

/// The rows that a job makes of some objects, each a key and what is in it, in the order of their keys. They are those of
/// the engine with one object in a split, and in its order where there is one partition.
///
/// With a combiner the reduce is given one value for each object that has the key, as it may be on the engine.
///
/// # Errors
/// What the job fails with, or why it sets an object aside.
pub fn run_local<J: MapReduce>(
    job: &J,
    objects: &[(impl AsRef<str>, impl AsRef<[u8]>)],
) -> Result<Vec<J::Row>, Failure> {
    columns::<J::Row>(J::COLUMNS).map_err(Failure::permanent)?;
    let mut groups = Groups::new();
    for object in sorted(objects) {
        let mut out = MapOutput::new(attempt(), Pairs::new(Arc::new(Plain), in_memory()));
        let mut emitted = Emitted::<J>::new();
        let mapped =
            J::Input::each(&object, |record| job.map(record, &mut Emit { job, emitted: &mut emitted, out: &mut out }));
        mapped.map_err(|error| told(&object, error))?;
        emitted.accept(job, &mut out);
        emitted.finish(job, &mut out);
        let mut of_object = Groups::new();
        out.pairs.into_each(|key, value| of_object.entry(key.to_vec()).or_default().push(value.to_vec()));
        for (key, mut values) in of_object {
            if J::COMBINES && values.len() > 1 {
                let mut sum = Vec::new();
                combined(job, &mut ValuesOf::new(values.iter().map(Vec::as_slice)), &mut sum)?;
                values = vec![sum];
            }
            groups.entry(key).or_default().extend(values);
        }
    }
    let mut rows = Rows::plain();
    for (key, values) in groups {
        reduced(job, &key, &mut ValuesOf::new(values.iter().map(Vec::as_slice)), &mut rows)?;
    }
    Ok(rows.take_plain())
}

/// The rows that a job without a reduce makes of some objects.
///
/// # Errors
/// What the job fails with, or why it sets an object aside.
pub fn run_map_only<J: MapOnly>(
    job: &J,
    objects: &[(impl AsRef<str>, impl AsRef<[u8]>)],
) -> Result<Vec<J::Row>, Failure> {
    columns::<J::Row>(J::COLUMNS).map_err(Failure::permanent)?;
    let mut rows = Rows::plain();
    for object in sorted(objects) {
        let mapped = J::Input::each(&object, |record| job.map(record, &mut rows));
        mapped.map_err(|error| told(&object, error))?;
    }
    Ok(rows.take_plain())
}

/// Values by their keys.
type Groups = BTreeMap<Vec<u8>, Vec<Vec<u8>>>;

/// What emits here stays in memory and is sorted here.
struct Plain;

impl StageCode for Plain {}

fn attempt() -> Attempt {
    let job = JobId::parse("local").expect("it is one");
    Attempt::new(AttemptId { task: TaskId { job, stage: 0, index: 0 }, epoch: 0, number: 1 }, &Control::default())
}

fn in_memory() -> PairsTo {
    PairsTo { partitions: 1, memory_max: u64::MAX, scratch: Scratch::new(PathBuf::new()) }
}

/// As they are listed.
fn sorted(objects: &[(impl AsRef<str>, impl AsRef<[u8]>)]) -> Vec<ObjectRecord> {
    let record = |(key, bytes): &(_, _)| {
        let (key, bytes): (&str, &[u8]) = (AsRef::as_ref(key), AsRef::as_ref(bytes));
        let uri = format!("memory:///{key}");
        let (size, bytes) = (bytes.len() as u64, Bytes::copy_from_slice(bytes));
        ObjectRecord { uri, key: key.to_owned(), size, range: 0..size, bytes, from: std::iter::once(0..size).collect() }
    };
    let mut objects: Vec<_> = objects.iter().map(record).collect();
    objects.sort_by(|a, b| a.key.as_bytes().cmp(b.key.as_bytes()));
    objects
}

fn told(object: &ObjectRecord, error: RecordError) -> Failure {
    match error {
        RecordError::Fail(failure) => failure,
        RecordError::Quarantine { class, message } => {
            Failure::application(format!("{}: {class}: {message}", object.key))
        }
    }
}
