//! A job over small text files, for tests: no models, no photos, but every kind of stage, and records that misbehave.
//!
//! `map` keeps a row for each file and emits its first word; `sum` appends those words in the order of tasks, so that
//! order shows, and broadcasts what came out; `rows` writes each row with its length. What a file says is what happens:
//! `bad` is quarantined, `panic`, `fail` and `permanent` are what they say, `flaky` fails the first time in this process,
//! `twice` and `none` give another number of rows, and `wait` waits until the [`World`]'s gate is opened.

#![allow(dead_code)] // each test uses some of it

use arrow::array::{Array, AsArray, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema};
use bytes::Bytes;
use mr_core::{
    BroadcastPlan, Failure, InputFilter, JobPlan, JobSpec, Limits, Mode, Params, Source, SplitSettings, StagePlan,
};
use mr_mapreduce::{
    Broadcast, BroadcastSource, Combiner, Context, Job, MapOutput, Mapper, ObjectRecord, ParamError, ParamSpec,
    RecordError, ReduceOutput, Reducer, Registry, RowMapper, StageCode, ValueSource,
};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Condvar, Mutex};

pub const FAMILY: &str = "toy-kernels";
/// Files larger than this are quarantined unread.
pub const OBJECT_BYTES_MAX: u64 = 1 << 20;

/// What the job's code in this process shares with its test.
#[derive(Default)]
pub struct World {
    open: Mutex<bool>,
    opened: Condvar,
    failed_once: Mutex<BTreeSet<String>>,
    /// How often a stage's code was made.
    pub stages_opened: AtomicU32,
    /// Files that have been mapped.
    pub mapped: AtomicU32,
    /// Records that wait at the gate or have passed it.
    pub at_gate: AtomicU32,
}

impl World {
    pub fn open_gate(&self) {
        *self.open.lock().unwrap() = true;
        self.opened.notify_all();
    }

    fn wait(&self) {
        self.at_gate.fetch_add(1, Ordering::SeqCst);
        let mut open = self.open.lock().unwrap();
        while !*open {
            open = self.opened.wait(open).unwrap();
        }
    }
}

pub struct Toy(pub Arc<World>);

pub fn registry(world: &Arc<World>) -> Registry {
    Registry::new(FAMILY).with(Toy(world.clone()))
}

/// A program that has the same job in its second version.
pub fn next_registry(world: &Arc<World>) -> Registry {
    Registry::new(FAMILY).with(Next(Toy(world.clone())))
}

struct Next(Toy);

/// How a test wants the job.
#[derive(Clone)]
pub struct Wanted {
    pub objects_max: u32,
    pub fan_in: u32,
    pub partitions: u32,
    pub limits: Limits,
    pub mode: Mode,
    pub broadcasts: Vec<BroadcastPlan>,
}

impl Default for Wanted {
    fn default() -> Self {
        let limits = Limits { quarantine_share_max: 0.5, attempts_max: 3, ..Limits::default() };
        let (mode, broadcasts) = (Mode::Fail, Vec::new());
        Self { objects_max: 2, fan_in: 2, partitions: 1, limits, mode, broadcasts }
    }
}

/// The plan for an input and an output, both URLs that end in `/`.
pub fn plan(input: &str, output: &str, wanted: Wanted) -> JobPlan {
    let stage = |name: &str, source, broadcasts_of: &[&str]| StagePlan {
        name: name.into(),
        source,
        broadcasts_of: broadcasts_of.iter().map(|name| (*name).to_owned()).collect(),
        writes_output: name == "rows",
        one_row_per_record: name != "sum",
        params: None,
    };
    let Wanted { objects_max, fan_in, partitions, limits, mode, broadcasts } = wanted;
    JobPlan {
        spec: JobSpec {
            job: "toy".into(),
            input: input.into(),
            output: output.into(),
            mode,
            format: Default::default(),
            input_list: None,
            adopt: false,
            params: Params::new(),
            limits,
            split: SplitSettings { objects_max, bytes_max: 1 << 30 },
            shuffle: Default::default(),
        },
        job_version: 1,
        filter: InputFilter { extensions: vec!["txt".into()] },
        cut: Default::default(),
        objects_min: None,
        keys: None,
        kernels: Default::default(),
        broadcasts,
        stages: vec![
            stage("map", Source::Input, &[]),
            stage("sum", Source::Emitted { stage: "map".into(), partitions, fan_in }, &[]),
            stage("rows", Source::Kept { stage: "map".into(), group_min: 2, group_max: 4 }, &["sum"]),
        ],
        footer: BTreeMap::from([("toy.footer".into(), "shapes the data".into())]),
    }
}

impl Job for Toy {
    fn name(&self) -> &'static str {
        "toy"
    }

    fn version(&self) -> u32 {
        1
    }

    fn about(&self) -> &'static str {
        "first words of text files"
    }

    fn params(&self) -> Vec<ParamSpec> {
        Vec::new()
    }

    fn broadcasts(&self, _: &Params) -> Result<Vec<BroadcastSource>, ParamError> {
        Ok(Vec::new())
    }

    fn plan(&self, spec: &JobSpec, _: &[Broadcast]) -> Result<JobPlan, ParamError> {
        Ok(plan(&spec.input, &spec.output, Wanted::default()))
    }

    fn open(&self, context: &Context<'_>) -> Result<Arc<dyn StageCode>, Failure> {
        self.0.stages_opened.fetch_add(1, Ordering::SeqCst);
        let total = match context.stage {
            "rows" => context.broadcast("sum")?.bytes.len() as i64,
            _ => 0,
        };
        Ok(Arc::new(Stage { world: self.0.clone(), total }))
    }
}

impl Job for Next {
    fn name(&self) -> &'static str {
        self.0.name()
    }

    fn version(&self) -> u32 {
        self.0.version() + 1
    }

    fn about(&self) -> &'static str {
        self.0.about()
    }

    fn params(&self) -> Vec<ParamSpec> {
        self.0.params()
    }

    fn broadcasts(&self, params: &Params) -> Result<Vec<BroadcastSource>, ParamError> {
        self.0.broadcasts(params)
    }

    fn plan(&self, spec: &JobSpec, broadcasts: &[Broadcast]) -> Result<JobPlan, ParamError> {
        Ok(JobPlan { job_version: self.version(), ..self.0.plan(spec, broadcasts)? })
    }

    fn open(&self, context: &Context<'_>) -> Result<Arc<dyn StageCode>, Failure> {
        self.0.open(context)
    }
}

struct Stage {
    world: Arc<World>,
    total: i64,
}

impl StageCode for Stage {
    fn mapper(&self) -> Result<Box<dyn Mapper + '_>, Failure> {
        Ok(Box::new(self))
    }

    fn row_mapper(&self) -> Result<Box<dyn RowMapper + '_>, Failure> {
        Ok(Box::new(self))
    }

    fn combiner(&self) -> Option<&dyn Combiner> {
        Some(self)
    }

    fn reducer(&self) -> Result<Box<dyn Reducer + '_>, Failure> {
        Ok(Box::new(self))
    }

    fn object_bytes_max(&self) -> u64 {
        OBJECT_BYTES_MAX
    }
}

fn row(uri: &str, words: i64) -> RecordBatch {
    let fields = vec![Field::new("path", DataType::Utf8, false), Field::new("words", DataType::Int64, false)];
    let columns: [Arc<dyn Array>; 2] =
        [Arc::new(StringArray::from(vec![uri])), Arc::new(Int64Array::from(vec![words]))];
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns.into()).unwrap()
}

impl Mapper for &Stage {
    fn map(&mut self, file: &ObjectRecord, out: &mut MapOutput) -> Result<(), RecordError> {
        let text = String::from_utf8_lossy(&file.bytes);
        let first = text.split_whitespace().next().unwrap_or("empty").to_owned();
        self.world.mapped.fetch_add(1, Ordering::SeqCst);
        let rows = match first.as_str() {
            "bad" => {
                let message = format!("{} is no good", file.key);
                return Err(RecordError::Quarantine { class: "bad", message });
            }
            "panic" => panic!("{} made it panic", file.key),
            "fail" => return Err(Failure::application(format!("{} failed", file.key)).into()),
            "permanent" => return Err(Failure::permanent(format!("{} never works", file.key)).into()),
            "flaky" if self.world.failed_once.lock().unwrap().insert(file.key.clone()) => {
                return Err(Failure::application(format!("{} failed this once", file.key)).into());
            }
            "wait" => {
                self.world.wait();
                1
            }
            "twice" => 2,
            "none" => 0,
            _ => 1,
        };
        for _ in 0..rows {
            out.keep(row(&file.uri, text.split_whitespace().count() as i64));
        }
        out.emit("words", format!("{first} "));
        Ok(())
    }
}

impl Combiner for Stage {
    fn combine(&self, _: &[u8], values: &mut dyn ValueSource, into: &mut Vec<u8>) -> Result<(), Failure> {
        while let Some(value) = values.next()? {
            into.extend_from_slice(value);
        }
        Ok(())
    }
}

impl Reducer for &Stage {
    fn reduce(&mut self, key: &[u8], values: &mut dyn ValueSource, out: &mut ReduceOutput) -> Result<(), Failure> {
        let mut words = Vec::new();
        self.combine(key, values, &mut words)?;
        let (key, words) = (String::from_utf8_lossy(key), Bytes::from(words));
        if words.starts_with(b"sidestep") {
            out.side_file("../outside.txt", words.clone());
        }
        out.side_file(format!("{key}.txt"), words.clone());
        out.broadcast(words);
        Ok(())
    }
}

impl RowMapper for &Stage {
    fn map(&mut self, rows: &RecordBatch, out: &mut MapOutput) -> Result<(), Failure> {
        let mut fields: Vec<_> = rows.schema().fields().iter().cloned().collect();
        fields.push(Arc::new(Field::new("total", DataType::Int64, false)));
        let mut columns = rows.columns().to_vec();
        columns.push(Arc::new(Int64Array::from(vec![self.total; rows.num_rows()])));
        out.keep(RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).unwrap());
        Ok(())
    }
}

/// The names in the `path` column, as far as they differ.
pub fn names(batches: &[RecordBatch]) -> Vec<String> {
    let of = |batch: &RecordBatch| {
        let paths = batch.column_by_name("path").unwrap().as_string::<i32>().clone();
        paths.iter().flatten().map(|path| path.rsplit('/').next().unwrap().to_owned()).collect::<Vec<_>>()
    };
    batches.iter().flat_map(of).collect()
}
