//! A small job for this room's tests.

use mr_core::{
    Books, Failure, InputFilter, JobId, JobPhase, JobPlan, JobSpec, JobStatus, ParamValue, Params, Source, StagePlan,
    StageStatus,
};
use mr_mapreduce::{
    Broadcast, BroadcastSource, Content, Context, Job, ParamError, ParamKind, ParamSpec, Registry, StageCode,
};
use std::sync::Arc;

pub fn registry() -> Registry {
    Registry::new("test").with(Count)
}

struct Count;

impl Job for Count {
    fn name(&self) -> &'static str {
        "count"
    }

    fn version(&self) -> u32 {
        1
    }

    fn about(&self) -> &'static str {
        "counts things"
    }

    fn params(&self) -> Vec<ParamSpec> {
        let spec = |name, kind, default| ParamSpec { name, kind, default, help: "" };
        vec![
            spec("components", ParamKind::Number, Some(ParamValue::Integer(50))),
            spec("extensions", ParamKind::TextList, None),
            spec("label", ParamKind::Integer, None),
            spec("strict", ParamKind::Bool, None),
            spec("weights", ParamKind::Text, Some(ParamValue::Text("builtin".into()))),
            spec("weights_sha256", ParamKind::Text, None),
        ]
    }

    fn broadcasts(&self, params: &Params) -> Result<Vec<BroadcastSource>, ParamError> {
        let text = |name| match params.get(name) {
            Some(ParamValue::Text(text)) => Some(text.clone()),
            _ => None,
        };
        let content = match text("weights").as_deref() {
            Some("builtin") | None => Content::BuiltIn(b"built in"),
            Some(url) => Content::Url(url.to_owned()),
        };
        let sha256 = text("weights_sha256");
        let (param, sha256_param) = ("weights", "weights_sha256");
        Ok(vec![BroadcastSource { name: param.into(), content, sha256, param, sha256_param }])
    }

    fn plan(&self, spec: &JobSpec, broadcasts: &[Broadcast]) -> Result<JobPlan, ParamError> {
        if let Some(ParamValue::Integer(..=0)) = spec.params.get("components") {
            return Err(ParamError::new("components", "at least one is needed"));
        }
        Ok(JobPlan {
            spec: spec.clone(),
            job_version: 1,
            filter: InputFilter::default(),
            cut: Default::default(),
            objects_min: None,
            keys: None,
            kernels: Default::default(),
            broadcasts: broadcasts
                .iter()
                .map(|b| mr_core::BroadcastPlan { name: b.name.clone(), blob: b.blob.clone() })
                .collect(),
            stages: vec![StagePlan {
                name: "count".into(),
                source: Source::Input,
                broadcasts_of: Vec::new(),
                writes_output: true,
                one_row_per_record: true,
                params: None,
            }],
            footer: Default::default(),
        })
    }

    fn open(&self, _: &Context<'_>) -> Result<Arc<dyn StageCode>, Failure> {
        Err(Failure::permanent("this job is only planned"))
    }
}

/// A job in that phase, half of its 100 records done.
pub fn status(phase: JobPhase) -> JobStatus {
    JobStatus {
        id: JobId::parse("20261124-073112-abcdef").expect("it is one"),
        job: "count".into(),
        input: "file:///in/".into(),
        input_list: None,
        output: "file:///out/".into(),
        format: Default::default(),
        counters: Default::default(),
        phase,
        submitted_ms: 0,
        elapsed_ms: 10_000,
        books: Books { listed: 100, embedded: 0, quarantined: 0, skipped: 0 },
        stages: vec![StageStatus {
            name: "count".into(),
            tasks: 4,
            tasks_done: 2,
            tasks_running: 1,
            records: 50,
            records_total: Some(100),
        }],
        workers: 1,
        slots: 2,
        quarantined_first: Vec::new(),
        failure: None,
        note: None,
    }
}

/// The small job's plan with nothing said.
pub fn plan() -> JobPlan {
    let spec = JobSpec {
        job: "count".into(),
        input: "file:///in/".into(),
        output: "file:///out/".into(),
        mode: Default::default(),
        format: Default::default(),
        input_list: None,
        adopt: false,
        params: Params::new(),
        limits: Default::default(),
        split: Default::default(),
        shuffle: Default::default(),
    };
    Count.plan(&spec, &[]).expect("it has no fault")
}
