//! Values with something in every field, for messages that say everything.

use mr_core::{
    AttemptId, AttemptResult, BlobRef, Books, BroadcastPlan, BroadcastRef, ClusterTerms, Counters, Cut, Failure,
    FileRef, FleetAim, FleetTerms, InputFilter, JobId, JobPhase, JobPlan, JobSpec, JobStatus, KernelWish, Limits,
    Object, ObjectsMin, Order, OutputFormat, Packing, ParamValue, Params, Piece, QuarantineSource, Quarantined, Source,
    StagePlan, StageStatus, StoreCounts, StoreOutcome, StoreRequest, TaskId, TaskOutput, TaskTimes, Work,
};

fn job() -> JobId {
    JobId::parse("j1").expect("it is one")
}

pub fn plan() -> JobPlan {
    let stage = |name: &str, source, broadcasts_of: &[&str], params: Option<&str>| StagePlan {
        name: name.into(),
        source,
        broadcasts_of: broadcasts_of.iter().map(|name| (*name).to_owned()).collect(),
        writes_output: name == "rows",
        one_row_per_record: name == "rows",
        params: params.map(|name| vec![name.to_owned()]),
    };
    JobPlan {
        spec: JobSpec {
            job: "toy".into(),
            input: "file:///in/".into(),
            input_list: Some("file:///keys.csv".into()),
            output: "s3://bucket/out/".into(),
            mode: mr_core::Mode::Overwrite,
            format: OutputFormat::Json(Some(Packing::Zstd)),
            adopt: true,
            params: params(),
            limits: Limits { budget_max_usd: Some(0.5), ..Limits::default() },
            split: Default::default(),
            shuffle: Default::default(),
        },
        job_version: 2,
        filter: InputFilter { extensions: vec!["jpg".into()] },
        cut: Cut::Records(100),
        objects_min: Some(ObjectsMin { count: 1, why: "it wants one".into() }),
        keys: Some(blob()),
        kernels: KernelWish { arithmetics: vec!["f32".into()], why: "so".into() },
        broadcasts: vec![BroadcastPlan { name: "weights".into(), blob: blob() }],
        stages: vec![
            stage("map", Source::Input, &[], Some("size")),
            stage("sum", Source::Emitted { stage: "map".into(), partitions: 1, fan_in: 2 }, &[], None),
            stage("rows", Source::Kept { stage: "map".into(), group_min: 1, group_max: 2 }, &["sum"], None),
        ],
        footer: [("made".to_owned(), "so".to_owned())].into(),
    }
}

fn params() -> Params {
    Params::from([
        ("size".into(), ParamValue::Integer(3)),
        ("share".into(), ParamValue::Number(0.5)),
        ("strict".into(), ParamValue::Bool(true)),
        ("names".into(), ParamValue::List(vec![ParamValue::Text("a".into())])),
    ])
}

pub fn blob() -> BlobRef {
    BlobRef::shared("0123456789abcdef".repeat(4), 5)
}

pub fn file() -> FileRef {
    FileRef { key: "work/j1/f".into(), bytes: 9, crc32: 7 }
}

pub fn quarantined() -> Quarantined {
    Quarantined {
        key: "a".into(),
        etag: "e".into(),
        bytes: 10,
        stage: "map".into(),
        class: "undecodable".into(),
        message: "no".into(),
        source: QuarantineSource::Environment,
        attempts: 2,
    }
}

pub fn failure() -> Failure {
    Failure { blames: Some(Box::new(quarantined())), ..Failure::lost("work/j1/0/000001-1.1/pairs.run", "it broke") }
}

fn counters() -> Counters {
    let mut counters = Counters::default();
    counters.add("lines", 7);
    counters
}

pub fn output() -> TaskOutput {
    TaskOutput {
        records: 2,
        rows: 1,
        kept: Some(file()),
        run: Some(file()),
        part: Some(file()),
        broadcast: Some(blob()),
        side: vec![("pca/mean.npy".into(), file())],
        quarantined: vec![Quarantined { source: QuarantineSource::Content, ..quarantined() }],
        mapped_sha256: Some("ab".into()),
        counters: counters(),
        times: TaskTimes { busy_us: 5, first_record_us: 6 },
        probed: false,
    }
}

pub fn attempt(stage: u32, index: u32) -> AttemptId {
    AttemptId { task: TaskId { job: job(), stage, index }, epoch: 1, number: 1 }
}

pub fn terms() -> ClusterTerms {
    ClusterTerms {
        workers: 2,
        slots: 8,
        state_in_s3: true,
        fleet: Some(FleetTerms {
            workers_min: 1,
            workers_max: 16,
            slots: 4,
            start_ms: 60_000,
            task_ms: 2_000,
            idle_ms: 300_000,
            billed_min_ms: 60_000,
            aim: FleetAim::Within { target_ms: 600_000 },
            usd_per_worker_hour: 0.08,
            budget_usd_per_job: Some(5.0),
        }),
        usd_per_worker_hour: Some(0.08),
        worker_from: "as the coordinator's file says".into(),
        prices: "region = \"r\"\n".into(),
    }
}

fn asked() -> StoreCounts {
    let mut asked = StoreCounts::default();
    asked.note(StoreRequest::Get, StoreOutcome::Accepted, 3);
    asked.note(StoreRequest::Put, StoreOutcome::Throttled, 1);
    asked.moved(20, 5);
    asked
}

pub fn result() -> AttemptResult {
    AttemptResult { attempt: attempt(0, 0), kernel_family: "f32/avx2".into(), outcome: Ok(output()), asked: asked() }
}

pub fn order() -> Order {
    Order {
        attempt: attempt(0, 0),
        job: "toy".into(),
        job_version: 2,
        kernel_family: "f32/avx2".into(),
        params: params(),
        stage: "map".into(),
        input: "file:///in/".into(),
        state: "file:///state/".into(),
        broadcasts: vec![BroadcastRef { name: "weights".into(), blob: blob() }],
        footer: [("made".to_owned(), "so".to_owned())].into(),
        writes_output: true,
        format: OutputFormat::Text(Some(Packing::Gzip)),
        one_row_per_record: true,
        partitions: 3,
        memory_bytes_max: 256 << 20,
        record_seconds_max: 300,
        piece: Some(Piece { start: 1, end: 9, has: mr_core::PieceHas::Lines }),
        landmark: "journal/landmark-00ff".into(),
        work: Work::MapObjects {
            objects: vec![Object { key: "a".into(), bytes: 10, etag: "e".into() }],
            condemned: vec![quarantined()],
        },
    }
}

pub fn status() -> JobStatus {
    JobStatus {
        id: job(),
        job: "toy".into(),
        input: "file:///in/".into(),
        input_list: Some("s3://bucket/manifest.json".into()),
        output: "file:///out/".into(),
        format: OutputFormat::Text(None),
        counters: counters(),
        phase: JobPhase::Failed,
        submitted_ms: 1,
        elapsed_ms: 2,
        books: Books { listed: 3, embedded: 1, quarantined: 1, skipped: 1 },
        stages: vec![StageStatus {
            name: "map".into(),
            tasks: 2,
            tasks_done: 1,
            tasks_running: 1,
            records: 1,
            records_total: Some(3),
        }],
        workers: 1,
        slots: 2,
        quarantined_first: vec![quarantined()],
        failure: Some(failure()),
        note: Some("no worker is in touch".into()),
    }
}
