//! A coordinator and workers in this process, over folders of their own, running the toy job.

#![allow(dead_code)] // each test uses some of it

use mr_coordinator::{Connection, Coordinator, Settings, serve};
use mr_core::{FRAMEWORK_VERSION, Failure, JobId, JobPhase, JobPlan, JobStatus};
use mr_mapreduce::Registry;
use mr_proto::v1::jobs_client::JobsClient;
use mr_proto::v1::workers_client::WorkersClient;
use mr_proto::v1::workers_server::{Workers, WorkersServer};
use mr_proto::{convert, v1};
use mr_storage::{Directory, Store};
use mr_worker::{Coordinators, Leave, Stopped};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tempfile::TempDir;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::transport::{Channel, Endpoint, Server};
use tonic::{Request, Response, Status};

use crate::toy::{self, Wanted, World};

/// Whatever is waited for here takes milliseconds; on a machine that is busy with other things, not this long either.
pub const PATIENCE: Duration = Duration::from_secs(60);

pub struct Cluster {
    pub folder: TempDir,
    pub world: Arc<World>,
    pub settings: Settings,
    doors: Arc<Mutex<Door>>,
    pub channel: Channel,
    pub coordinator: Coordinator,
    pub deciding: JoinHandle<anyhow::Result<()>>,
}

/// Where connections to a coordinator are handed in.
type Door = mpsc::Sender<std::io::Result<Connection>>;

fn door(coordinator: &Coordinator) -> Door {
    let (door, connections) = mpsc::channel(16);
    let coordinator = coordinator.clone();
    let stop = CancellationToken::new();
    tokio::spawn(async move { serve(&coordinator, ReceiverStream::new(connections), stop).await });
    door
}

/// A channel to whichever coordinator is behind the door when a connection is made.
fn through(doors: Arc<Mutex<Door>>) -> Channel {
    let connector = tower::service_fn(move |_| {
        let door = doors.lock().unwrap().clone();
        async move {
            let (near, far) = tokio::io::duplex(1 << 20);
            door.send(Ok(Connection::inside(far))).await.map_err(std::io::Error::other)?;
            Ok::<_, std::io::Error>(hyper_util::rt::TokioIo::new(near))
        }
    });
    Endpoint::from_static("http://cluster").connect_with_connector_lazy(connector)
}

pub struct Worker {
    stop: CancellationToken,
    pub leave: Leave,
    pub running: JoinHandle<Stopped>,
}

impl Worker {
    pub async fn drain(self) -> Stopped {
        self.stop.cancel();
        within(self.running).await.unwrap()
    }

    /// As if its process were killed: no farewell.
    pub fn kill(self) {
        self.running.abort();
    }
}

pub async fn within<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, work).await.expect("it takes too long")
}

/// Until something is so.
pub async fn until(what: &str, mut is: impl AsyncFnMut() -> bool) {
    let waited = async {
        while !is().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    assert!(tokio::time::timeout(PATIENCE, waited).await.is_ok(), "waited too long until {what}");
}

impl Cluster {
    pub async fn start() -> Self {
        Self::with_lease(60_000).await
    }

    pub async fn with_lease(lease_ms: u64) -> Self {
        Self::with(|settings| Settings { lease_ms, ..settings }).await
    }

    pub async fn with(change: impl Fn(Settings) -> Settings) -> Self {
        let (folder, world) = (tempfile::tempdir().unwrap(), Arc::new(World::default()));
        fs::create_dir(folder.path().join("input")).unwrap();
        let state = folder.path().join("state").to_str().unwrap().to_owned();
        let usual = Settings { lease_ms: 60_000, work_age_ms: 0, silence_ms: 400, ..Settings::new(state) };
        let settings = change(usual);
        let (coordinator, deciding) = Coordinator::start(settings.clone()).await.unwrap();
        let doors = Arc::new(Mutex::new(door(&coordinator)));
        let channel = through(doors.clone());
        Self { folder, world, settings, doors, channel, coordinator, deciding }
    }

    /// As if the coordinator's process were killed: what it was doing stops wherever it is.
    pub async fn kill_coordinator(&mut self) {
        self.deciding.abort();
        _ = (&mut self.deciding).await;
    }

    /// A new one over the same state, at work; workers and submitters find it.
    pub async fn start_coordinator(&mut self) {
        let (coordinator, deciding) = Coordinator::start(self.settings.clone()).await.unwrap();
        until("it leads", async || coordinator.leads()).await;
        *self.doors.lock().unwrap() = door(&coordinator);
        (self.coordinator, self.deciding) = (coordinator, deciding);
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn url(&self, name: &str) -> String {
        format!("file://{}/", self.path(name).display())
    }

    /// Files of the input, by what they say.
    pub fn write(&self, texts: &[&str]) {
        for (index, text) in texts.iter().enumerate() {
            fs::write(self.path("input").join(format!("{index:03}.txt")), text).unwrap();
        }
    }

    pub fn worker(&self, slots: u32) -> Worker {
        self.worker_over(slots, self.channel.clone())
    }

    pub fn worker_over(&self, slots: u32, coordinators: impl Into<Coordinators> + Send + 'static) -> Worker {
        self.worker_with(toy::registry(&self.world), slots, coordinators)
    }

    pub fn worker_with(
        &self,
        registry: Registry,
        slots: u32,
        coordinators: impl Into<Coordinators> + Send + 'static,
    ) -> Worker {
        let stop = CancellationToken::new();
        let settings = mr_worker::Settings::new(slots, self.path("scratch"));
        let leave = Leave::from(stop.clone());
        let running = mr_worker::run(settings, registry, coordinators, leave.clone());
        Worker { stop, leave, running: tokio::spawn(running) }
    }

    pub fn jobs(&self) -> JobsClient<Channel> {
        JobsClient::new(self.channel.clone())
    }

    pub fn plan(&self, wanted: Wanted) -> JobPlan {
        toy::plan(&self.url("input"), &self.url("output"), wanted)
    }

    pub async fn submit(&self, id: &str, wanted: Wanted) {
        self.submit_plan(id, self.plan(wanted)).await.unwrap();
    }

    pub async fn submit_plan(&self, id: &str, plan: JobPlan) -> Result<(), Status> {
        let request = v1::SubmitRequest {
            job_id: id.into(),
            plan: Some(convert::plan_to(plan)),
            prior_us: 1_500_000,
            framework_version: mr_core::FRAMEWORK_VERSION.into(),
            ..Default::default()
        };
        self.jobs().submit(request).await.map(drop)
    }

    pub async fn status(&self, id: &str) -> JobStatus {
        let status = self.jobs().status(v1::StatusRequest { job_id: id.into() }).await.unwrap();
        convert::status_from(status.into_inner()).unwrap()
    }

    /// All states that are told until the stream ends.
    pub async fn watch(&self, id: &str) -> Vec<JobStatus> {
        let mut states = Vec::new();
        let told = self.jobs().watch(v1::WatchRequest { job_id: id.into() }).await.unwrap();
        let mut told = told.into_inner();
        let all = async {
            while let Some(state) = told.message().await.unwrap() {
                states.push(convert::status_from(state).unwrap());
            }
        };
        within(all).await;
        states
    }

    pub async fn ended(&self, id: &str) -> JobStatus {
        self.watch(id).await.pop().unwrap()
    }

    pub async fn failure(&self, id: &str) -> Failure {
        let status = self.ended(id).await;
        assert_eq!(status.phase, JobPhase::Failed, "{status:?}");
        status.failure.unwrap()
    }

    pub async fn committed(&self, id: &str) -> JobStatus {
        let status = self.ended(id).await;
        assert_eq!(status.phase, JobPhase::Committed, "{:?}", status.failure);
        assert!(status.books.balanced());
        status
    }

    pub async fn cancel(&self, id: &str) -> bool {
        self.jobs().cancel(v1::CancelRequest { job_id: id.into() }).await.unwrap().into_inner().taken
    }

    /// Until a record of the toy job waits at the gate.
    pub async fn at_gate(&self, records: u32) {
        until("a record waits", async || self.world.at_gate.load(std::sync::atomic::Ordering::SeqCst) >= records).await;
    }

    /// The rows of the table by file name, in order.
    pub fn rows(&self, output: &str) -> Vec<String> {
        let mut parts: Vec<_> = fs::read_dir(self.path(output)).unwrap().map(|entry| entry.unwrap().path()).collect();
        parts.retain(|path| path.file_name().unwrap().to_str().unwrap().starts_with("part-"));
        parts.sort();
        let read = |path: &PathBuf| {
            let reader = ParquetRecordBatchReaderBuilder::try_new(fs::File::open(path).unwrap()).unwrap();
            reader.build().unwrap().map(Result::unwrap).collect::<Vec<_>>()
        };
        parts.iter().flat_map(|path| toy::names(&read(path))).collect()
    }

    /// Every file of the output with its content.
    pub fn output_files(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        fn walk(folder: PathBuf, files: &mut BTreeMap<PathBuf, Vec<u8>>) {
            let Ok(entries) = fs::read_dir(folder) else { return };
            for path in entries.map(|entry| entry.unwrap().path()) {
                if path.is_dir() {
                    walk(path, files);
                } else {
                    files.insert(path.clone(), fs::read(&path).unwrap());
                }
            }
        }
        let mut files = BTreeMap::new();
        walk(self.path("output"), &mut files);
        files
    }

    pub fn report(&self, id: &str) -> serde_json::Value {
        let report = fs::read(self.path("output/_runs").join(id).join("report.json")).unwrap();
        serde_json::from_slice(&report).unwrap()
    }

    pub async fn no_work_files(&self) {
        let state = Directory::open(&self.path("state")).unwrap();
        until("work files are gone", async || state.list("work/").await.unwrap().is_empty()).await;
    }
}

/// Stands between a worker and the coordinator and does to answers what networks and defects do.
pub struct Between {
    inner: WorkersClient<Channel>,
    change: Box<dyn Fn(u64, v1::PollResponse) -> Change + Send + Sync>,
    polls: std::sync::atomic::AtomicU64,
}

pub enum Change {
    Answer(Box<v1::PollResponse>),
    /// The coordinator has heard the poll, and the worker hears nothing of it.
    Lose,
    /// As if the connection hung.
    Hang,
    Refuse(Status),
}

impl Between {
    /// A channel whose polls are passed on and whose answers are changed, by the number of the poll.
    pub fn channel(
        cluster: &Cluster,
        change: impl Fn(u64, v1::PollResponse) -> Change + Send + Sync + 'static,
    ) -> Channel {
        let inner = WorkersClient::new(cluster.channel.clone());
        let between = WorkersServer::new(Self { inner, change: Box::new(change), polls: Default::default() });
        let (near, far) = tokio::io::duplex(1 << 20);
        let connections = tokio_stream::iter([Ok::<_, std::io::Error>(far)]);
        tokio::spawn(async move {
            // For as long as the test runs: a stream that ends would end the service.
            let connections = futures::StreamExt::chain(connections, futures::stream::pending());
            Server::builder().add_service(between).serve_with_incoming(connections).await
        });
        let near = std::sync::Mutex::new(Some(near));
        let connector = tower::service_fn(move |_| {
            let near = near.lock().unwrap().take();
            async move { near.map(hyper_util::rt::TokioIo::new).ok_or_else(|| std::io::Error::other("gone")) }
        });
        Endpoint::from_static("http://between").connect_with_connector_lazy(connector)
    }
}

#[tonic::async_trait]
impl Workers for Between {
    async fn poll(&self, request: Request<v1::PollRequest>) -> Result<Response<v1::PollResponse>, Status> {
        let number = self.polls.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        let answer = self.inner.clone().poll(request.into_inner()).await?.into_inner();
        match (self.change)(number, answer) {
            Change::Answer(answer) => Ok(Response::new(*answer)),
            Change::Lose => Err(Status::unavailable("the answer is lost")),
            Change::Hang => std::future::pending().await,
            Change::Refuse(why) => Err(why),
        }
    }
}

/// A poll of a worker of one slot that has the toy job, and nothing to say.
pub fn empty_poll(worker: &str, seq: u64) -> v1::PollRequest {
    v1::PollRequest {
        worker: worker.into(),
        seq,
        slots: 1,
        capacity: 1,
        kernel_families: vec![toy::FAMILY.into()],
        jobs: vec![v1::JobCode { name: "toy".into(), version: 1 }],
        framework_version: FRAMEWORK_VERSION.into(),
        ..Default::default()
    }
}

/// A worker that says what the test wants.
pub struct Puppet {
    client: WorkersClient<Channel>,
    seq: u64,
}

impl Puppet {
    pub fn new(cluster: &Cluster) -> Self {
        Self { client: WorkersClient::new(cluster.channel.clone()), seq: 0 }
    }

    /// One poll, with everything that it holds and the results that it has.
    pub async fn poll(&mut self, held: &[v1::AttemptId], results: Vec<v1::Result>) -> v1::PollResponse {
        self.try_poll(held, results).await.unwrap()
    }

    /// # Errors
    /// What the coordinator says instead of answering.
    pub async fn try_poll(
        &mut self,
        held: &[v1::AttemptId],
        results: Vec<v1::Result>,
    ) -> Result<v1::PollResponse, tonic::Status> {
        self.seq += 1;
        let progress = |attempt: &v1::AttemptId| v1::Progress { attempt: Some(attempt.clone()), ..Default::default() };
        let held = held.iter().map(progress).collect();
        let poll = v1::PollRequest { held, results, ..empty_poll("puppet", self.seq) };
        within(self.client.poll(poll)).await.map(tonic::Response::into_inner)
    }

    /// Polls until it is given something.
    pub async fn order(&mut self, results: Vec<v1::Result>) -> v1::Order {
        let mut answer = self.poll(&[], results).await;
        within(async {
            while answer.orders.is_empty() {
                answer = self.poll(&[], Vec::new()).await;
            }
        })
        .await;
        answer.orders.remove(0)
    }
}

pub fn id(text: &str) -> JobId {
    JobId::parse(text).unwrap()
}
