//! Task graphs of the shapes that jobs have, for the simulation, tests and measurements.

use mr_core::{
    InputFilter, JobPlan, JobSpec, Limits, Mode, Params, Source, SplitSettings, StagePlan, TaskGraph, expand,
};
use std::collections::BTreeMap;
use std::sync::Arc;

/// One stage that writes a row for each object.
pub fn plain(splits: u32) -> Arc<TaskGraph> {
    made(vec![stage("write", Source::Input, &[], Rows::Written)], splits)
}

/// The main job's: map and keep, merge in a tree, map what was kept with what came of the merge.
pub fn features(splits: u32, fan_in: u32, group_max: u32) -> Arc<TaskGraph> {
    let embed = || "embed".to_owned();
    let stages = vec![
        stage("embed", Source::Input, &[], Rows::Kept),
        stage("fit", Source::Emitted { stage: embed(), partitions: 1, fan_in }, &[], Rows::None),
        stage("project", Source::Kept { stage: embed(), group_min: 1, group_max }, &["fit"], Rows::Written),
    ];
    made(stages, splits)
}

/// Pairs by key: map, then one reduce for each partition, which writes the groups.
pub fn groups(splits: u32, fan_in: u32, partitions: u32) -> Arc<TaskGraph> {
    let reduce = Source::Emitted { stage: "map".to_owned(), partitions, fan_in };
    let mut reduce = stage("reduce", reduce, &[], Rows::Written);
    reduce.one_row_per_record = false;
    made(vec![stage("map", Source::Input, &[], Rows::None), reduce], splits)
}

/// A pipeline's: what is reduced by key is kept, added up, and mapped with the sum to pairs that are reduced by key again.
pub fn chain(splits: u32, fan_in: u32, partitions: u32) -> Arc<TaskGraph> {
    let emitted = |stage: &str, partitions| Source::Emitted { stage: stage.to_owned(), partitions, fan_in };
    let reduced = || Source::Kept { stage: "count".to_owned(), group_min: 1, group_max: 2 };
    let mut last = stage("group", emitted("spread", partitions), &["sum"], Rows::Written);
    last.one_row_per_record = false;
    let stages = vec![
        stage("words", Source::Input, &[], Rows::None),
        stage("count", emitted("words", partitions), &[], Rows::None),
        stage("counts", reduced(), &[], Rows::None),
        stage("sum", emitted("counts", 1), &[], Rows::None),
        stage("spread", reduced(), &["sum"], Rows::None),
        last,
    ];
    made(stages, splits)
}

#[derive(PartialEq)]
enum Rows {
    None,
    Kept,
    Written,
}

fn stage(name: &str, source: Source, broadcasts_of: &[&str], rows: Rows) -> StagePlan {
    StagePlan {
        name: name.to_owned(),
        source,
        broadcasts_of: broadcasts_of.iter().map(|name| name.to_string()).collect(),
        writes_output: rows == Rows::Written,
        one_row_per_record: rows != Rows::None,
        params: None,
    }
}

fn made(stages: Vec<StagePlan>, splits: u32) -> Arc<TaskGraph> {
    let spec = JobSpec {
        job: "simulated".to_owned(),
        input: "file:///in/".to_owned(),
        output: "file:///out/".to_owned(),
        mode: Mode::Fail,
        format: Default::default(),
        input_list: None,
        adopt: false,
        params: Params::new(),
        limits: Limits::default(),
        split: SplitSettings::default(),
        shuffle: Default::default(),
    };
    let plan = JobPlan {
        spec,
        job_version: 1,
        filter: InputFilter::default(),
        cut: Default::default(),
        objects_min: None,
        keys: None,
        kernels: Default::default(),
        broadcasts: Vec::new(),
        stages,
        footer: BTreeMap::new(),
    };
    Arc::new(expand(&plan, splits).expect("these plans are right"))
}
