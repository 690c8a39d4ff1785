//! A plan in the manner of the main job's, for this room's tests.

use mr_core::{
    BlobRef, BroadcastPlan, InputFilter, JobPlan, JobSpec, Limits, Mode, Params, Source, Split, SplitSettings,
    StagePlan,
};

pub fn plan() -> JobPlan {
    let stage = |name: &str, source, broadcasts_of: &[&str]| StagePlan {
        name: name.into(),
        source,
        broadcasts_of: broadcasts_of.iter().map(|name| (*name).to_owned()).collect(),
        writes_output: name == "project",
        one_row_per_record: name != "fit",
        params: None,
    };
    let blob = BlobRef::shared("00".into(), 1);
    JobPlan {
        spec: JobSpec {
            job: "test".into(),
            input: "s3://b/in/".into(),
            output: "s3://b/out/".into(),
            mode: Mode::Fail,
            format: Default::default(),
            input_list: None,
            adopt: false,
            params: Params::new(),
            limits: Limits::default(),
            split: SplitSettings::default(),
            shuffle: Default::default(),
        },
        job_version: 1,
        filter: InputFilter::default(),
        cut: Default::default(),
        objects_min: None,
        keys: None,
        kernels: Default::default(),
        broadcasts: vec![BroadcastPlan { name: "weights".into(), blob }],
        stages: vec![
            stage("embed", Source::Input, &[]),
            stage("fit", Source::Emitted { stage: "embed".into(), partitions: 1, fan_in: 8 }, &[]),
            stage("project", Source::Kept { stage: "embed".into(), group_min: 1, group_max: 1 }, &["fit"]),
        ],
        footer: Default::default(),
    }
}

/// Of so many objects of ten bytes each.
pub fn splits(counts: &[u32]) -> Vec<Split> {
    let mut first = 0;
    let split = |&count: &u32| {
        let split = Split { first, count, bytes: 10 * u64::from(count), piece: None };
        first += u64::from(count);
        split
    };
    counts.iter().map(split).collect()
}
