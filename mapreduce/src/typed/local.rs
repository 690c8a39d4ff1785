//! A typed job in one thread and in memory, for its first test: no coordinator, no files.

use crate::buffer::ValuesOf;
use crate::emit::MapOutput;
use crate::job::{Job, ObjectRecord, RecordError, StageCode};
use crate::oracle::{Oracle, attempt, in_memory};
use crate::typed::emit::{Emit, Emitted, combined, reduced};
use crate::typed::input::{Chunk, Input};
use crate::typed::row::{Row, Rows, columns};
use crate::typed::{MapOnly, MapReduce, Pipeline, TypedJob};
use bytes::Bytes;
use mr_core::{Failure, JobSpec, Limits, Mode, NO_KERNELS, Params, SplitSettings};
use std::collections::BTreeMap;
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
    let plain: Arc<dyn StageCode> = Arc::new(Plain);
    for object in sorted(objects) {
        let mut out = MapOutput::new(attempt(0, 0), in_memory(&plain, 1));
        let mut emitted = Emitted::<J>::new(None);
        let mapped = J::Input::each(&Chunk::Object(&object), |record| {
            job.map(record, &mut Emit { job, emitted: &mut emitted, out: &mut out })
        });
        mapped.map_err(|error| told(&object, error))?;
        emitted.accept(job, &mut out)?;
        emitted.finish(job, &mut out)?;
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
    let mut rows = Rows::plain().with_side_files();
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
        let mapped = J::Input::each(&Chunk::Object(&object), |record| job.map(record, &mut rows));
        mapped.map_err(|error| told(&object, error))?;
    }
    Ok(rows.take_plain())
}

/// The rows that a pipeline makes of some objects, with these parameters and the defaults of the others.
///
/// # Errors
/// What it fails with, or why it sets an object aside.
pub fn run_pipeline<P: Pipeline>(
    params: &Params,
    objects: &[(impl AsRef<str>, impl AsRef<[u8]>)],
) -> Result<Vec<P::Row>, Failure> {
    let job = TypedJob::of_pipeline::<P>().map_err(Failure::permanent)?;
    let specs = job.params();
    if let Some(unknown) = params.keys().find(|name| specs.iter().all(|spec| spec.name != *name)) {
        return Err(Failure::refused(format!("`{}` has no parameter `{unknown}`", P::NAME)));
    }
    let defaults = specs.into_iter().filter_map(|spec| Some((spec.name.to_owned(), spec.default?)));
    let mut all: Params = defaults.collect();
    all.extend(params.clone());
    let plan = job.plan(&spec(P::NAME, all), &[]).map_err(|error| Failure::refused(error.to_string()))?;
    let scratch = std::env::temp_dir();
    let oracle = Oracle { job: &job, plan: &plan, broadcasts: &[], kernel_family: NO_KERNELS, scratch: &scratch };
    let objects: Vec<_> =
        objects.iter().map(|(key, bytes)| (key.as_ref().to_owned(), Bytes::copy_from_slice(bytes.as_ref()))).collect();
    let told = oracle.run(&objects)?;
    if let Some((key, class, message)) = told.set_aside.first() {
        return Err(Failure::application(format!("{key}: {class}: {message}")));
    }
    let unfit = || Failure::permanent("the rows of the last stage are not of its type");
    let rows = told.parts.iter().flatten().map(|batch| P::Row::read(batch).ok_or_else(unfit));
    Ok(rows.collect::<Result<Vec<_>, _>>()?.into_iter().flatten().collect())
}

/// A job over objects that are nowhere but in memory, one in a split.
pub(super) fn spec(job: &str, params: Params) -> JobSpec {
    JobSpec {
        job: job.to_owned(),
        input: "memory:///".to_owned(),
        output: "memory:///".to_owned(),
        mode: Mode::Fail,
        format: Default::default(),
        input_list: None,
        adopt: false,
        params,
        limits: Limits::default(),
        split: SplitSettings { objects_max: 1, ..SplitSettings::default() },
        shuffle: Default::default(),
    }
}

/// Values by their keys.
type Groups = BTreeMap<Vec<u8>, Vec<Vec<u8>>>;

/// What emits here stays in memory and is sorted here.
struct Plain;

impl StageCode for Plain {}

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
