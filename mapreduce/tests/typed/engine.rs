//! A job on the engine, task by task and each once, and the same job in one thread.

use arrow::array::RecordBatch;
use bytes::Bytes;
use mr_core::{
    AttemptId, BroadcastRef, Counters, FileRef, JobId, JobSpec, Limits, Mode, Order, Params, ShuffleSettings, Source,
    SplitSettings, TaskGraph, TaskId, TaskKind, TaskOutput, Work, expand, plan_splits,
};
use mr_mapreduce::{Control, Host, HostSettings, Oracle, Registry, Told, execute};
use mr_storage::{Directory, GetOptions, Store};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use std::collections::BTreeMap;

/// How it is to be run.
#[derive(Default)]
pub struct Wanted {
    pub split: SplitSettings,
    pub shuffle: ShuffleSettings,
    /// As they are, without defaults.
    pub params: Params,
    /// In place of the plan's.
    pub fan_in: Option<u32>,
}

/// What a run on the engine came to, which is what one thread came to.
pub struct Ran {
    /// Stage after stage.
    pub outputs: Vec<Vec<TaskOutput>>,
    /// The files of the result, and the rows in them.
    pub files: Vec<Bytes>,
    pub parts: Vec<Vec<RecordBatch>>,
    pub told: Told,
}

fn rows(file: &Bytes) -> Vec<RecordBatch> {
    let reader = ParquetRecordBatchReaderBuilder::try_new(file.clone()).unwrap().build().unwrap();
    reader.map(Result::unwrap).collect()
}

/// Runs every task of the registry's one job once, one after another, and asserts that the oracle makes the same bytes.
pub async fn run(registry: Registry, files: &[(String, Vec<u8>)], wanted: &Wanted) -> Ran {
    let folder = tempfile::tempdir().unwrap();
    let url = |name: &str| format!("file://{}/{name}/", folder.path().display());
    std::fs::create_dir(folder.path().join("input")).unwrap();
    for (name, bytes) in files {
        std::fs::write(folder.path().join("input").join(name), bytes).unwrap();
    }
    let job = registry.jobs().next().unwrap().clone();
    let settings = HostSettings {
        slots: 1,
        scratch: folder.path().join("scratch"),
        decode_budget_bytes: 1 << 20,
        work_outlives: false,
    };
    let kernel_family = registry.kernel_families()[0].clone();
    let host = Host::new(registry, settings);
    let spec = JobSpec {
        job: job.name().into(),
        input: url("input"),
        output: url("output"),
        mode: Mode::Fail,
        format: Default::default(),
        input_list: None,
        adopt: false,
        params: wanted.params.clone(),
        limits: Limits::default(),
        split: wanted.split,
        shuffle: wanted.shuffle,
    };
    let mut plan = job.plan(&spec, &[]).unwrap();
    for stage in &mut plan.stages {
        if let (Source::Emitted { fan_in, .. }, Some(wanted)) = (&mut stage.source, wanted.fan_in) {
            *fan_in = wanted;
        }
    }
    let listed = Directory::open(&folder.path().join("input")).unwrap().list("").await.unwrap();
    let splits = plan_splits(&listed, &spec.split, plan.cut).unwrap();
    let graph: TaskGraph = expand(&plan, splits.len() as u32).unwrap();
    let state = Directory::open(&folder.path().join("state")).unwrap();
    let mut outputs: Vec<Vec<TaskOutput>> = Vec::new();
    for (position, stage) in graph.stages.iter().enumerate() {
        let mut done = Vec::new();
        for (index, node) in stage.tasks.iter().enumerate() {
            let output = |(stage, index): (u32, u32)| &outputs[stage as usize][index as usize];
            let read = |file: fn(&TaskOutput) -> Option<FileRef>| {
                node.reads.iter().filter_map(|task| file(output(*task))).collect::<Vec<_>>()
            };
            let runs = || read(|output| output.run.clone());
            let work = match node.kind {
                TaskKind::MapSplit => {
                    Work::MapObjects { objects: listed[splits[index].range()].to_vec(), condemned: Vec::new() }
                }
                TaskKind::MapKept => Work::MapKept { rows: read(|output| output.kept.clone()) },
                TaskKind::Combine => Work::Combine { runs: runs() },
                TaskKind::Reduce { partition } => Work::Reduce { runs: runs(), partition },
            };
            let broadcast = |(name, stage, index): &(String, u32, u32)| BroadcastRef {
                name: name.clone(),
                blob: output((*stage, *index)).broadcast.clone().unwrap(),
            };
            let task = TaskId { job: JobId::parse("job").unwrap(), stage: position as u32, index: index as u32 };
            let order = Order {
                attempt: AttemptId { task, epoch: 1, number: 1 },
                job: job.name().into(),
                job_version: job.version(),
                kernel_family: kernel_family.clone(),
                params: spec.params.clone(),
                stage: stage.name.clone(),
                input: spec.input.clone(),
                state: url("state"),
                landmark: String::new(),
                broadcasts: node.broadcasts.iter().map(broadcast).collect(),
                footer: plan.footer.clone(),
                writes_output: stage.writes_output,
                format: Default::default(),
                one_row_per_record: stage.one_row_per_record,
                partitions: stage.partitions,
                memory_bytes_max: spec.shuffle.memory_bytes_max,
                record_seconds_max: 300,
                piece: (node.kind == TaskKind::MapSplit).then(|| splits[index].piece).flatten(),
                work,
            };
            done.push(execute(&host, &order, &Control::default()).await.unwrap());
        }
        outputs.push(done);
    }
    let get = async |file: &FileRef| state.get(&file.key, GetOptions::default()).await.unwrap().bytes;
    let mut parts = Vec::new();
    for output in outputs.last().unwrap() {
        parts.push(get(output.part.as_ref().unwrap()).await);
    }
    let (mut side, mut counters, mut set_aside) = (BTreeMap::new(), Counters::default(), Vec::new());
    for output in outputs.iter().flatten() {
        counters.merge(&output.counters);
        let verdicts = output.quarantined.iter().map(|verdict| (verdict.key.clone(), verdict.class.clone()));
        set_aside.extend(verdicts);
        for (path, file) in &output.side {
            side.insert(path.clone(), get(file).await);
        }
    }

    let oracle = Oracle {
        job: job.as_ref(),
        plan: &plan,
        broadcasts: &[],
        kernel_family: &kernel_family,
        scratch: &folder.path().join("oracle"),
    };
    let objects: Vec<_> = files.iter().map(|(name, bytes)| (name.clone(), Bytes::from(bytes.clone()))).collect();
    let told = oracle.run(&objects).unwrap();
    let told_files: Vec<_> = oracle.files(&told).unwrap().into_iter().map(Option::unwrap).collect();
    assert_eq!(parts, told_files, "the engine and the oracle differ");
    assert_eq!((&side, &counters), (&told.side, &told.counters));
    let told_aside: Vec<_> = told.set_aside.iter().map(|(key, class, _)| (key.clone(), (*class).to_owned())).collect();
    assert_eq!(set_aside, told_aside);
    Ran { outputs, parts: parts.iter().map(rows).collect(), files: parts, told }
}

pub fn block_on<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Runtime::new().unwrap().block_on(work)
}
