//! A coordinator as its submitters know it, on the network or in this process.
//!
//! Every call here may be repeated without harm, so a coordinator that does not answer is asked again for a while: it
//! may be starting anew. What it answers decides the exit code.

use crate::stop::{Stop, story};
use mr_core::{JobId, JobPlan, JobStatus};
use mr_mapreduce::Broadcast;
use mr_proto::v1::jobs_client::JobsClient;
use mr_proto::v1::put_blob_request::Part;
use mr_proto::{MESSAGE_BYTES_MAX, convert, v1};
use std::time::{Duration, Instant};
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Status, Streaming};

#[derive(Clone)]
pub struct Cluster {
    client: JobsClient<Channel>,
    /// `the coordinator at http://…`
    name: String,
    /// How to reach it from the command line; `None` when it is in this process.
    url: Option<String>,
    patience: Duration,
}

/// How long a coordinator may be silent at the very first call: an address that is wrong is told at once.
const FIRST_PATIENCE: Duration = Duration::from_secs(3);
const BACK_OFF: [Duration; 2] = [Duration::from_millis(100), Duration::from_secs(3)];
const CHUNK: usize = 1 << 20;

impl Cluster {
    /// Nothing is said to it yet.
    ///
    /// # Errors
    /// When that is no URL of a coordinator.
    pub fn at(url: &str, patience: Duration) -> Result<Self, Stop> {
        let refuse = |why: &str| {
            let example = "write http://host:port";
            Err(Stop::Refused(format!("`{url}` is no address of a coordinator: {why}; {example}")))
        };
        let Some((scheme, rest)) = url.split_once("://") else { return refuse("it has no scheme") };
        match scheme {
            "http" => {}
            "https" => return refuse("it speaks no TLS"),
            _ => return refuse("its scheme is not http"),
        }
        if rest.trim_matches('/').contains('/') {
            return refuse("there is a path in it");
        }
        let endpoint = match Endpoint::from_shared(url.to_owned()) {
            Ok(endpoint) => endpoint,
            Err(error) => return refuse(&story(&error)),
        };
        if endpoint.uri().port().is_none() {
            return refuse("it names no port");
        }
        // A coordinator whose host vanished never says so: only silence tells.
        let endpoint = endpoint
            .connect_timeout(Duration::from_secs(5))
            .http2_keep_alive_interval(Duration::from_secs(10))
            .keep_alive_timeout(Duration::from_secs(10))
            .keep_alive_while_idle(true)
            .tcp_nodelay(true);
        let name = format!("the coordinator at {url}");
        Ok(Self { url: Some(url.to_owned()), ..Self::over(endpoint.connect_lazy(), name, patience) })
    }

    pub fn in_process(channel: Channel) -> Self {
        Self::over(channel, "the coordinator in this process".to_owned(), Duration::ZERO)
    }

    fn over(channel: Channel, name: String, patience: Duration) -> Self {
        let client = JobsClient::new(channel)
            .max_decoding_message_size(MESSAGE_BYTES_MAX)
            .max_encoding_message_size(MESSAGE_BYTES_MAX);
        Self { client, name, url: None, patience }
    }

    /// How a person calls that command for this cluster.
    pub fn command_line(&self, command: &str) -> String {
        match &self.url {
            Some(url) => format!("mr-submit --coordinator {url} {command}"),
            None => format!("mr-submit {command}"),
        }
    }

    /// Stores what the plan needs and is not there yet, and submits it. `began`: when the user called.
    pub async fn submit(
        &self,
        id: &JobId,
        plan: JobPlan,
        broadcasts: &[Broadcast],
        began: Instant,
    ) -> Result<(), Stop> {
        let blobs: Vec<_> = broadcasts.iter().map(|broadcast| convert::blob_to(broadcast.blob.clone())).collect();
        let missing = self
            .ask(self.patience.min(FIRST_PATIENCE), |mut client| {
                let request = v1::MissingBlobsRequest { blobs: blobs.clone() };
                async move { client.missing_blobs(request).await }
            })
            .await?
            .sha256;
        for broadcast in broadcasts.iter().filter(|broadcast| missing.contains(&broadcast.blob.sha256)) {
            self.ask(self.patience, |mut client| {
                let parts = parts(broadcast);
                async move { client.put_blob(tokio_stream::iter(parts)).await }
            })
            .await?;
        }
        let plan = convert::plan_to(plan);
        self.ask(self.patience, |mut client| {
            let prior_us = began.elapsed().as_micros() as u64;
            let request = v1::SubmitRequest { job_id: id.to_string(), plan: Some(plan.clone()), prior_us };
            async move { client.submit(request).await }
        })
        .await?;
        Ok(())
    }

    pub async fn list(&self) -> Result<Vec<JobStatus>, Stop> {
        let answer = self.ask_first(|mut client| async move { client.list(v1::ListRequest {}).await }).await?;
        answer.jobs.into_iter().map(|job| self.read(job)).collect()
    }

    pub async fn status(&self, id: &JobId) -> Result<JobStatus, Stop> {
        let answer = self
            .ask_first(|mut client| {
                let request = v1::StatusRequest { job_id: id.to_string() };
                async move { client.status(request).await }
            })
            .await?;
        self.read(answer)
    }

    /// Whether it was in time.
    pub async fn cancel(&self, id: &JobId) -> Result<bool, Stop> {
        let answer = self
            .ask_first(|mut client| {
                let request = v1::CancelRequest { job_id: id.to_string() };
                async move { client.cancel(request).await }
            })
            .await?;
        Ok(answer.taken)
    }

    /// The job's states until it has ended, given to `see`; the last is the answer. `lost` is told when contact breaks,
    /// and the watch then taken up again.
    pub async fn watch(
        &self,
        id: &JobId,
        mut see: impl FnMut(&JobStatus),
        mut lost: impl FnMut(&str),
    ) -> Result<JobStatus, Stop> {
        let mut heard: Option<Instant> = None;
        let mut told = false;
        let mut pause = BACK_OFF[0];
        let began = Instant::now();
        loop {
            let why = match self.watch_once(id, &mut see, &mut heard).await {
                Watched::Ended(status) => return Ok(*status),
                Watched::Stopped(stop) => return Err(stop),
                Watched::Lost(why) => why,
            };
            let patience = if heard.is_some() { self.patience } else { self.patience.min(FIRST_PATIENCE) };
            if heard.unwrap_or(began).elapsed() + pause > patience {
                return Err(self.unreachable(&why));
            }
            // A stream that was fine a moment ago is not worth a word before it was tried again.
            if !std::mem::replace(&mut told, true) && heard.is_some() {
                lost(&format!("lost touch with {} ({why}); trying again for {} s", self.name, patience.as_secs()));
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(BACK_OFF[1]);
            if heard.is_some_and(|heard| heard.elapsed() < pause) {
                (told, pause) = (false, BACK_OFF[0]);
            }
        }
    }

    async fn watch_once(&self, id: &JobId, see: &mut impl FnMut(&JobStatus), heard: &mut Option<Instant>) -> Watched {
        let sort = |status: Status| match self.verdict(&status) {
            Some(stop) => Watched::Stopped(stop),
            None => Watched::Lost(reason(&status)),
        };
        let request = v1::WatchRequest { job_id: id.to_string() };
        let mut states: Streaming<v1::JobStatus> = match self.client.clone().watch(request).await {
            Ok(states) => states.into_inner(),
            Err(status) => return sort(status),
        };
        loop {
            let state = match states.message().await {
                Ok(Some(state)) => state,
                Ok(None) => return Watched::Lost("it stopped telling".to_owned()),
                Err(status) => return sort(status),
            };
            *heard = Some(Instant::now());
            match self.read(state) {
                Ok(state) => {
                    see(&state);
                    if state.phase.ended() {
                        return Watched::Ended(Box::new(state));
                    }
                }
                Err(stop) => return Watched::Stopped(stop),
            }
        }
    }

    async fn ask_first<T, F>(&self, call: impl Fn(JobsClient<Channel>) -> F) -> Result<T, Stop>
    where
        F: Future<Output = Result<tonic::Response<T>, Status>>,
    {
        self.ask(self.patience.min(FIRST_PATIENCE), call).await
    }

    async fn ask<T, F>(&self, patience: Duration, call: impl Fn(JobsClient<Channel>) -> F) -> Result<T, Stop>
    where
        F: Future<Output = Result<tonic::Response<T>, Status>>,
    {
        let began = Instant::now();
        let mut pause = BACK_OFF[0];
        loop {
            let status = match call(self.client.clone()).await {
                Ok(answer) => return Ok(answer.into_inner()),
                Err(status) => status,
            };
            if let Some(stop) = self.verdict(&status) {
                return Err(stop);
            }
            if began.elapsed() + pause > patience {
                return Err(self.unreachable(&reason(&status)));
            }
            tracing::info!("{} did not answer: {}", self.name, reason(&status));
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(BACK_OFF[1]);
        }
    }

    /// What an answer that is an error means; `None` when it is no answer, and asking again may help.
    fn verdict(&self, status: &Status) -> Option<Stop> {
        let message = status.message().to_owned();
        match status.code() {
            _ if std::error::Error::source(status).is_some() => None,
            Code::Unavailable | Code::DeadlineExceeded | Code::Cancelled | Code::ResourceExhausted | Code::Aborted => {
                None
            }
            Code::InvalidArgument
            | Code::FailedPrecondition
            | Code::NotFound
            | Code::AlreadyExists
            | Code::PermissionDenied
            | Code::Unauthenticated => Some(Stop::Refused(message)),
            Code::Unimplemented => Some(Stop::Unreachable(format!("{} speaks another language: {message}", self.name))),
            // What is no gRPC at all comes as `Unknown` too.
            Code::Unknown if message.contains("http") || message.contains("transport") => None,
            Code::Unknown | Code::Internal | Code::DataLoss | Code::OutOfRange | Code::Ok => {
                Some(Stop::Failed(format!("{}: {message}", self.name)))
            }
        }
    }

    fn unreachable(&self, why: &str) -> Stop {
        match self.url {
            Some(_) => Stop::Unreachable(format!("can't reach {}: {why}", self.name)),
            None => Stop::Failed(format!("{} stopped working: {why}", self.name)),
        }
    }

    fn read(&self, status: v1::JobStatus) -> Result<JobStatus, Stop> {
        convert::status_from(status).map_err(|error| Stop::Failed(format!("reading what {} said: {error}", self.name)))
    }
}

enum Watched {
    Ended(Box<JobStatus>),
    Stopped(Stop),
    Lost(String),
}

/// Why a call brought no answer, in few words.
fn reason(status: &Status) -> String {
    let source = std::error::Error::source(status);
    let whole = source.map_or_else(|| status.message().to_owned(), story);
    // The innermost cause is what a person can act on: "Connection refused", "dns error".
    let words = whole.rsplit(": ").next().unwrap_or(&whole).trim();
    let words = words.split(" (os error").next().unwrap_or(words);
    if words.is_empty() { "it does not answer".to_owned() } else { words.to_lowercase() }
}

fn parts(broadcast: &Broadcast) -> Vec<v1::PutBlobRequest> {
    let head = Part::Blob(convert::blob_to(broadcast.blob.clone()));
    let bytes = &broadcast.bytes;
    let chunks = (0..bytes.len()).step_by(CHUNK).map(|at| bytes.slice(at..bytes.len().min(at + CHUNK)));
    let chunks = chunks.map(Part::Chunk);
    std::iter::once(head).chain(chunks).map(|part| v1::PutBlobRequest { part: Some(part) }).collect()
}
