//! What a task computes, in one word: two tasks with the same key have the same output, byte for byte, if kernels of the
//! same family compute it.
//!
//! A key covers the job's code by name and version, the params that shape the stage's output, what is broadcast, and
//! either the objects of the split (key, size and ETag) or the keys of the tasks whose output it reads. So it follows from
//! the listing and the plan alone. Ids, hosts and times have no part in it.

use crate::{
    FRAMEWORK_VERSION, JobPlan, Object, ParamValue, Piece, PieceHas, Source, Split, StagePlan, TaskGraph, TaskKind,
    TaskNode, TaskStage,
};
use sha2::{Digest, Sha256};

pub type TaskKey = [u8; 32];

/// The keys of all tasks, stage after stage. `splits` cut `objects`, and `graph` is the plan's for that many.
pub fn task_keys(plan: &JobPlan, graph: &TaskGraph, objects: &[Object], splits: &[Split]) -> Vec<Vec<TaskKey>> {
    let mut keys: Vec<Vec<TaskKey>> = Vec::with_capacity(graph.stages.len());
    for stage in &graph.stages {
        let common = common(plan, stage);
        let key = |(index, node): (usize, &TaskNode)| {
            let mut words = common.clone();
            match node.kind {
                TaskKind::MapSplit => {
                    words.text("split");
                    let split = splits.get(index);
                    for object in split.map_or(&[][..], |split| &objects[split.range()]) {
                        words.text(&object.key);
                        words.number(object.bytes);
                        words.text(&object.etag);
                    }
                    if let Some(Piece { start, end, has }) = split.and_then(|split| split.piece) {
                        words.text(match has {
                            PieceHas::Bytes => "bytes",
                            PieceHas::Lines => "lines",
                            PieceHas::RowGroups => "row groups",
                        });
                        words.number(start);
                        words.number(end);
                    }
                }
                TaskKind::MapKept => words.text("kept"),
                TaskKind::Combine => words.text("combine"),
                TaskKind::Reduce { partition } => {
                    words.text("reduce");
                    words.number(u64::from(partition));
                }
            }
            words.number(node.reads.len() as u64);
            for (stage, index) in &node.reads {
                words.bytes(&keys[*stage as usize][*index as usize]);
            }
            for (name, stage, index) in &node.broadcasts {
                words.text(name);
                words.bytes(&keys[*stage as usize][*index as usize]);
            }
            words.finish()
        };
        let of_stage = stage.tasks.iter().enumerate().map(key).collect();
        keys.push(of_stage);
    }
    keys
}

/// What the tasks of a stage have in common.
fn common(plan: &JobPlan, stage: &TaskStage) -> Words {
    let mut words = Words::default();
    words.text("mr-task-2");
    // What splits text, encodes keys and merges runs is part of what a task computes.
    words.text(FRAMEWORK_VERSION);
    words.text(&plan.spec.job);
    words.number(u64::from(plan.job_version));
    // Rows name their objects by whole URLs.
    words.text(&plan.spec.input);
    words.text(&stage.name);
    words.number(u64::from(stage.partitions));
    // Values are combined as often as there is no more room for them.
    words.number(plan.spec.shuffle.memory_bytes_max);
    words.number(u64::from(stage.writes_output));
    words.number(u64::from(stage.one_row_per_record));
    // Code may keep rows, or broadcast, only where a later stage has a use for it.
    let is_kept = |other: &StagePlan| matches!(&other.source, Source::Kept { stage: of, .. } if *of == stage.name);
    words.number(u64::from(plan.stages.iter().any(is_kept)));
    words.number(u64::from(plan.stages.iter().any(|other| other.broadcasts_of.contains(&stage.name))));
    let planned: Option<&StagePlan> = plan.stages.iter().find(|planned| planned.name == stage.name);
    let shapes = |name: &String| planned.and_then(|p| p.params.as_ref()).is_none_or(|names| names.contains(name));
    for (name, value) in plan.spec.params.iter().filter(|(name, _)| shapes(name)) {
        words.text(name);
        words.param(value);
    }
    for broadcast in &plan.broadcasts {
        words.text(&broadcast.name);
        words.text(&broadcast.blob.sha256);
    }
    if stage.writes_output {
        words.text(plan.spec.format.extension());
        for (name, value) in &plan.footer {
            words.text(name);
            words.text(value);
        }
    }
    words
}

/// A hash of words, each with its length in front, so that no two lists of them run into the same bytes.
#[derive(Clone, Default)]
struct Words(Sha256);

impl Words {
    fn bytes(&mut self, bytes: &[u8]) {
        self.0.update((bytes.len() as u64).to_le_bytes());
        self.0.update(bytes);
    }

    fn text(&mut self, text: &str) {
        self.bytes(text.as_bytes());
    }

    fn number(&mut self, number: u64) {
        self.bytes(&number.to_le_bytes());
    }

    fn param(&mut self, value: &ParamValue) {
        match value {
            ParamValue::Bool(value) => self.text(if *value { "true" } else { "false" }),
            ParamValue::Integer(value) => self.text(&format!("integer {value}")),
            ParamValue::Number(value) => self.text(&format!("number {:016x}", value.to_bits())),
            ParamValue::Text(value) => self.text(&format!("text {value}")),
            ParamValue::List(items) => {
                self.text(&format!("list {}", items.len()));
                items.iter().for_each(|item| self.param(item));
            }
        }
    }

    fn finish(self) -> TaskKey {
        self.0.finalize().into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        BlobRef, BroadcastPlan, InputFilter, JobSpec, Limits, Mode, OutputFormat, Params, SplitSettings, expand,
    };
    use std::collections::BTreeSet;

    fn plan() -> JobPlan {
        let stage = |name: &str, source, broadcasts_of: &[&str], params: &[&str]| StagePlan {
            name: name.into(),
            source,
            broadcasts_of: broadcasts_of.iter().map(|name| (*name).to_owned()).collect(),
            writes_output: name == "rows",
            one_row_per_record: name != "sum",
            params: Some(params.iter().map(|name| (*name).to_owned()).collect()),
        };
        JobPlan {
            spec: JobSpec {
                job: "test".into(),
                input: "file:///in/".into(),
                output: "file:///out/".into(),
                mode: Mode::Fail,
                format: Default::default(),
                input_list: None,
                adopt: false,
                params: Params::from([
                    ("size".into(), ParamValue::Integer(3)),
                    ("top".into(), ParamValue::List(vec![ParamValue::Text("a".into())])),
                ]),
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
            broadcasts: vec![BroadcastPlan { name: "weights".into(), blob: BlobRef::shared("00".into(), 1) }],
            stages: vec![
                stage("map", Source::Input, &[], &["size"]),
                stage("sum", Source::Emitted { stage: "map".into(), partitions: 1, fan_in: 2 }, &[], &["top"]),
                stage("rows", Source::Kept { stage: "map".into(), group_min: 1, group_max: 1 }, &["sum"], &[]),
            ],
            footer: [("made".to_owned(), "so".to_owned())].into(),
        }
    }

    /// Three splits of two objects each.
    fn objects() -> Vec<Object> {
        ["a", "b", "c", "d", "e", "f"].map(|key| Object { key: key.into(), bytes: 1, etag: format!("{key}1") }).into()
    }

    fn keys(plan: &JobPlan, objects: &[Object]) -> Vec<Vec<TaskKey>> {
        let splits: Vec<_> = (0..3).map(|i| Split { first: 2 * i, count: 2, bytes: 2, piece: None }).collect();
        task_keys(plan, &expand(plan, 3).unwrap(), objects, &splits)
    }

    /// Stages as the letters of what is the same in both.
    fn same(one: &[Vec<TaskKey>], other: &[Vec<TaskKey>]) -> Vec<String> {
        let marks = |(one, other): (&Vec<TaskKey>, &Vec<TaskKey>)| {
            one.iter().zip(other).map(|(one, other)| if one == other { '=' } else { '!' }).collect()
        };
        one.iter().zip(other).map(marks).collect()
    }

    #[test]
    fn a_key_changes_with_what_shapes_the_output_and_nothing_else() {
        let (first, objects) = (keys(&plan(), &objects()), objects());
        let all: BTreeSet<_> = first.iter().flatten().collect();
        assert_eq!(all.len(), 3 + 2 + 1 + 3, "no two tasks of a job do the same");

        let mut other = plan();
        (other.spec.output, other.spec.mode) = ("file:///elsewhere/".into(), Mode::Overwrite);
        other.spec.limits.attempts_max = 9;
        assert_eq!(keys(&other, &objects), first);

        type Change = fn(&mut JobPlan, &mut [Object]);
        let split = |piece| vec![Split { first: 0, count: 1, bytes: 1, piece }];
        let of = |piece| task_keys(&plan(), &expand(&plan(), 1).unwrap(), &objects, &split(piece))[0][0];
        let piece = |start, end, has| Some(Piece { start, end, has });
        let lines = |start, end| piece(start, end, PieceHas::Lines);
        let others = [PieceHas::Bytes, PieceHas::RowGroups].map(|has| piece(0, 1, has));
        let pieces = [None, lines(0, 1), lines(0, 2), lines(1, 2), others[0], others[1]].map(of);
        assert_eq!(BTreeSet::from(pieces).len(), pieces.len());

        let changes: [(&str, Change, [&str; 4]); 12] = [
            ("etag", |_, objects| objects[2].etag = "other".into(), ["=!=", "!=", "!", "!!!"]),
            ("size", |_, objects| objects[5].bytes = 7, ["==!", "=!", "!", "!!!"]),
            (
                "map's param",
                |plan, _| _ = plan.spec.params.insert("size".into(), ParamValue::Integer(4)),
                ["!!!", "!!", "!", "!!!"],
            ),
            (
                "type",
                |plan, _| _ = plan.spec.params.insert("size".into(), ParamValue::Number(3.0)),
                ["!!!", "!!", "!", "!!!"],
            ),
            ("sum's param", |plan, _| _ = plan.spec.params.remove("top"), ["===", "!!", "!", "!!!"]),
            ("version", |plan, _| plan.job_version = 2, ["!!!", "!!", "!", "!!!"]),
            ("weights", |plan, _| plan.broadcasts[0].blob.sha256 = "01".into(), ["!!!", "!!", "!", "!!!"]),
            ("input", |plan, _| plan.spec.input = "file:///on/".into(), ["!!!", "!!", "!", "!!!"]),
            ("not broadcast", |plan, _| plan.stages[2].broadcasts_of.clear(), ["===", "!!", "!", "!!!"]),
            ("not kept", |plan, _| plan.stages[2].source = Source::Input, ["!!!", "!!", "!", "!!!"]),
            ("footer", |plan, _| plan.footer.clear(), ["===", "==", "=", "!!!"]),
            ("format", |plan, _| plan.spec.format = OutputFormat::Text(None), ["===", "==", "=", "!!!"]),
        ];
        for (what, change, expected) in changes {
            let (mut plan, mut objects) = (plan(), objects.clone());
            change(&mut plan, &mut objects);
            assert_eq!(same(&first, &keys(&plan, &objects)), expected, "{what}");
        }
    }
}
