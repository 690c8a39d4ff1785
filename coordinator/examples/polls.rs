//! What a coordinator bears on the wire: `cargo xtask bench scheduler`, or
//! `cargo run --release -p mr-coordinator --example polls -- [TASKS] [WORKERS] [RATE]`.
//!
//! A coordinator with its journal in memory, on a socket; workers that do nothing, so each poll brings the results of the
//! last one's orders. They share the machine with it. First they poll as fast as they are answered: so many completions a
//! second are the most that it bears. Then they take their time, RATE completions a second in all: what a poll takes there
//! is what a fleet sees, rather than how long the queue was that the workers made for each other. Timed are polls that
//! bring results and are answered with work.

use mr_coordinator::{Coordinator, Door, Settings, serve};
use mr_core::{
    FRAMEWORK_VERSION, InputFilter, JobPlan, JobSpec, Limits, Mode, ObjectsDigest, Params, Source, SplitSettings,
    StagePlan,
};
use mr_proto::v1::jobs_client::JobsClient;
use mr_proto::v1::workers_client::WorkersClient;
use mr_proto::{MESSAGE_BYTES_MAX, convert, v1};
use mr_storage::Put;
use std::time::{Duration, Instant};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tonic::transport::Endpoint;

const SLOTS: u32 = 8;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let mut args = std::env::args().skip(1).map(|arg| arg.parse::<usize>().expect("a number"));
    let (tasks, workers) = (args.next().unwrap_or(100_000), args.next().unwrap_or(200));
    let rate = args.next().unwrap_or(5_500);
    measure(tasks, workers, None).await?;
    measure(tasks, workers, Some(rate)).await
}

/// With `rate` completions a second at most.
async fn measure(tasks: usize, workers: usize, rate: Option<usize>) -> anyhow::Result<()> {
    let every = rate.map(|rate| Duration::from_secs_f64(f64::from(SLOTS) * workers as f64 / rate as f64));
    let input = mr_storage::open("memory://polls-input/").await?;
    for object in 0..tasks {
        input.put(&format!("{object:08}"), bytes::Bytes::from_static(b"x"), Put::Overwrite).await?;
    }
    let (coordinator, _deciding) = Coordinator::start(Settings {
        work_age_ms: 0,
        ..Settings::new(format!("memory://polls-state-{}/", rate.unwrap_or(0)))
    })
    .await?;
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("http://{}", listener.local_addr()?);
    let stop = CancellationToken::new();
    let serving = {
        let (coordinator, stop) = (coordinator.clone(), stop.clone());
        tokio::spawn(async move { serve(&coordinator, Door::new(None).open(listener), stop).await })
    };
    let mut jobs = JobsClient::new(Endpoint::from_shared(url.clone())?.connect_lazy());
    let plan = Some(convert::plan_to(plan()));
    jobs.submit(v1::SubmitRequest {
        job_id: "polls".into(),
        plan,
        framework_version: mr_core::FRAMEWORK_VERSION.into(),
        ..Default::default()
    })
    .await?;
    let status = v1::StatusRequest { job_id: "polls".into() };
    while jobs.status(status.clone()).await?.into_inner().phase != v1::JobPhase::Running as i32 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }

    let began = Instant::now();
    let working: Vec<_> = (0..workers)
        .map(|number| {
            // Not all at once.
            let first = every.map(|every| every.mul_f64(number as f64 / workers as f64));
            tokio::spawn(work(url.clone(), number, first.zip(every), stop.clone()))
        })
        .collect();
    while (jobs.status(status.clone()).await?.into_inner().stages[0].tasks_done as usize) < tasks {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let seconds = began.elapsed().as_secs_f64();
    stop.cancel();
    let mut times = Vec::new();
    for worker in working {
        times.extend(worker.await??);
    }
    times.sort_unstable();
    let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize].as_secs_f64() * 1e3;
    println!(
        "{tasks} tasks, {workers} workers, {}: {:.0} completions/s; polls with work: {}, median {:.2} ms, p99 {:.2} ms",
        rate.map_or("as fast as can be".to_owned(), |rate| format!("at {rate} a second")),
        tasks as f64 / seconds,
        times.len(),
        at(0.5),
        at(0.99)
    );
    coordinator.stop().await;
    _ = serving.await;
    Ok(())
}

/// Polls until it is told to stop, first after a while and then once in so long, if it takes its time. Returns how long the
/// polls took that brought results and work.
async fn work(
    url: String,
    number: usize,
    pace: Option<(Duration, Duration)>,
    stop: CancellationToken,
) -> anyhow::Result<Vec<Duration>> {
    let began = Instant::now();
    let mut client = WorkersClient::new(Endpoint::from_shared(url)?.tcp_nodelay(true).connect_lazy())
        .max_decoding_message_size(MESSAGE_BYTES_MAX);
    let code = plan().code();
    let (mut times, mut results, mut seq) = (Vec::new(), Vec::new(), 0u64);
    while !stop.is_cancelled() {
        if let Some((first, every)) = pace {
            let due = began + first + every * seq as u32;
            tokio::select! {
                () = tokio::time::sleep_until(due.into()) => {}
                () = stop.cancelled() => break,
            }
        }
        let brings = !results.is_empty();
        seq += 1;
        let poll = v1::PollRequest {
            worker: format!("worker-{number}"),
            seq,
            slots: SLOTS,
            capacity: SLOTS,
            kernel_families: vec!["none".into()],
            jobs: vec![convert::job_code_to(code.clone())],
            framework_version: FRAMEWORK_VERSION.into(),
            results: std::mem::take(&mut results),
            ..Default::default()
        };
        let began = Instant::now();
        let answer = tokio::select! {
            answer = client.poll(poll) => answer?.into_inner(),
            () = stop.cancelled() => break,
        };
        // With the last of the map there is nothing to give for a while, and a poll waits for it.
        let maps = |order: &v1::Order| matches!(order.work, Some(v1::order::Work::MapObjects(_)));
        if brings && answer.orders.iter().any(maps) {
            times.push(began.elapsed());
        }
        results = answer.orders.into_iter().filter_map(done).collect();
    }
    Ok(times)
}

/// As if the order had been carried out. What comes after the first stage is left undone.
fn done(order: v1::Order) -> Option<v1::Result> {
    let Some(v1::order::Work::MapObjects(work)) = order.work else { return None };
    let mut digest = ObjectsDigest::default();
    let records = work.objects.len() as u64;
    work.objects.into_iter().map(convert::object_from).for_each(|object| digest.add(&object));
    let output = v1::TaskOutput { records, rows: records, mapped_sha256: Some(digest.finish()), ..Default::default() };
    let outcome = Some(v1::result::Outcome::Output(output));
    Some(v1::Result { attempt: order.attempt, kernel_family: order.kernel_family, outcome, asked: None })
}

fn plan() -> JobPlan {
    let stage = |name: &str, source| StagePlan {
        name: name.into(),
        source,
        broadcasts_of: Vec::new(),
        writes_output: name == "rows",
        one_row_per_record: true,
        params: None,
    };
    JobPlan {
        spec: JobSpec {
            job: "polls".into(),
            input: "memory://polls-input/".into(),
            output: "memory://polls-output/".into(),
            mode: Mode::Fail,
            format: Default::default(),
            input_list: None,
            adopt: false,
            params: Params::new(),
            limits: Limits::default(),
            split: SplitSettings { objects_max: 1, bytes_max: 1 << 20 },
            shuffle: Default::default(),
        },
        job_version: 1,
        filter: InputFilter::default(),
        cut: Default::default(),
        objects_min: None,
        keys: None,
        kernels: Default::default(),
        broadcasts: Vec::new(),
        stages: vec![
            stage("map", Source::Input),
            stage("rows", Source::Kept { stage: "map".into(), group_min: 400, group_max: 400 }),
        ],
        footer: Default::default(),
    }
}
