//! What jobs over text have in common: two parameters, and the plan around their stages. Typed jobs have it of themselves.

use crate::broadcast::Broadcast;
use crate::job::Job;
use crate::params::{ParamError, ParamKind, ParamSpec, extensions};
use crate::run_stream;
use mr_core::{
    BroadcastPlan, FRAMEWORK_VERSION, InputFilter, JobPlan, JobSpec, KERNEL_FAMILY, KernelWish, NO_KERNELS, ParamValue,
    Params, Source, StagePlan,
};
use std::collections::BTreeMap;
use std::ops::RangeInclusive;

const EXTENSIONS: &str = "extensions";
pub(crate) const PARTITIONS: &str = "partitions";
/// Each is a file of the result.
const PARTITIONS_MAX: i64 = 10_000;

/// Each run that is merged costs some time, however little is in it.
const WIDE_FAN_IN: RangeInclusive<u64> = 64..=512;

/// Runs that are merged at a time where nothing is combined: a level of merging more would only move all of it once more, so as
/// many as there is memory for.
pub fn wide_fan_in(spec: &JobSpec) -> u32 {
    let runs = run_stream::runs_within(run_stream::share(spec.shuffle.memory_bytes_max));
    runs.clamp(*WIDE_FAN_IN.start(), *WIDE_FAN_IN.end()) as u32
}

/// `extensions`: which objects are read.
pub fn extensions_param(default: &[&str]) -> ParamSpec {
    ParamSpec {
        name: EXTENSIONS,
        kind: ParamKind::TextList,
        default: Some(ParamValue::List(default.iter().map(|ending| ParamValue::Text((*ending).to_owned())).collect())),
        help: "only objects whose names end in one of these, in any case, are read; without any, all are",
    }
}

/// `partitions`: how many tasks reduce.
pub fn partitions_param() -> ParamSpec {
    ParamSpec {
        name: PARTITIONS,
        kind: ParamKind::Integer,
        default: Some(ParamValue::Integer(1)),
        help: "how many tasks reduce, each of which writes a part of the result",
    }
}

/// What `partitions` says.
///
/// # Errors
/// When there can't be so many.
pub fn partitions(params: &Params) -> Result<u32, ParamError> {
    match params.get(PARTITIONS) {
        None => Ok(1),
        Some(ParamValue::Integer(count)) if (1..=PARTITIONS_MAX).contains(count) => Ok(*count as u32),
        Some(_) => Err(ParamError::new(PARTITIONS, format!("should be from 1 to {PARTITIONS_MAX}"))),
    }
}

fn wanted(params: &Params) -> Result<Vec<String>, ParamError> {
    match params.get(EXTENSIONS) {
        None => Ok(Vec::new()),
        Some(ParamValue::List(items)) => extensions(EXTENSIONS, items),
        Some(_) => Err(ParamError::new(EXTENSIONS, "should be a list of texts")),
    }
}

/// A stage of that job that all its parameters shape, but for those that the listing tells.
pub fn stage(name: &str, source: Source, job: &dyn Job) -> StagePlan {
    let params = job.params().into_iter().map(|spec| spec.name).filter(|name| *name != EXTENSIONS);
    StagePlan {
        name: name.to_owned(),
        source,
        broadcasts_of: Vec::new(),
        writes_output: false,
        one_row_per_record: false,
        params: Some(params.map(str::to_owned).collect()),
    }
}

/// What is broadcast to all stages.
pub fn broadcasts(broadcasts: &[Broadcast]) -> Vec<BroadcastPlan> {
    broadcasts
        .iter()
        .map(|Broadcast { name, blob, .. }| BroadcastPlan { name: name.clone(), blob: blob.clone() })
        .collect()
}

/// The plan of these stages, the last of which writes the result, with what shapes the data in the footer.
///
/// # Errors
/// When `extensions` holds what is none.
pub fn plan(job: &dyn Job, spec: &JobSpec, mut stages: Vec<StagePlan>) -> Result<JobPlan, ParamError> {
    stages.last_mut().expect("a job has a stage").writes_output = true;
    let extensions = wanted(&spec.params)?;
    Ok(JobPlan {
        spec: spec.clone(),
        job_version: job.version(),
        filter: InputFilter { extensions: extensions.clone() },
        cut: Default::default(),
        objects_min: None,
        keys: None,
        // Machines of all kernels may have a part in it.
        kernels: KernelWish {
            arithmetics: vec![NO_KERNELS.to_owned()],
            why: "it needs no kernels, and workers of this version say so".to_owned(),
        },
        broadcasts: Vec::new(),
        stages,
        footer: footer(job, spec, &extensions),
    })
}

/// What shapes the data.
fn footer(job: &dyn Job, spec: &JobSpec, extensions: &[String]) -> BTreeMap<String, String> {
    let mut footer = BTreeMap::from([
        ("mr.job".to_owned(), job.name().to_owned()),
        ("mr.job_version".to_owned(), job.version().to_string()),
        ("mr.version".to_owned(), FRAMEWORK_VERSION.to_owned()),
        (KERNEL_FAMILY.to_owned(), NO_KERNELS.to_owned()),
        // Values are combined split by split, and where there is no more room for them.
        ("mr.split.objects_max".to_owned(), spec.split.objects_max.to_string()),
        ("mr.split.bytes_max".to_owned(), spec.split.bytes_max.to_string()),
        ("mr.shuffle.memory_bytes_max".to_owned(), spec.shuffle.memory_bytes_max.to_string()),
    ]);
    for (name, value) in &spec.params {
        let value = serde_json::to_string(value).expect("a parameter is plain data");
        footer.insert(format!("mr.params.{name}"), value);
    }
    // However they were typed.
    footer.insert(format!("mr.params.{EXTENSIONS}"), extensions.join(","));
    footer
}
