//! A coordinator as its submitters know it, on the network or in this process.
//!
//! Every call here may be repeated without harm, so a coordinator that does not answer is asked again for a while: it
//! may be starting anew. What it answers decides the exit code.

use crate::stop::Stop;
use bytes::Bytes;
use mr_core::{BlobRef, ClusterTerms, JobId, JobPlan, JobStatus};
use mr_proto::v1::jobs_client::JobsClient;
use mr_proto::v1::put_blob_request::Part;
use mr_proto::{MESSAGE_BYTES_MAX, convert, v1};
use mr_worker::{Coordinators, Trust, reason};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tonic::transport::Channel;
use tonic::{Code, Status, Streaming};

#[derive(Clone, Debug)]
pub struct Cluster {
    coordinators: Coordinators,
    /// `the coordinator at http://…`
    name: String,
    /// How to reach it from the command line; `None` when it is in this process.
    url: Option<String>,
    /// What else it takes on the command line.
    flags: String,
    patience: Duration,
    /// Whether one of them has answered, so that it is not the address that is wrong.
    answered: Arc<AtomicBool>,
}

/// How long a coordinator may be silent at the very first call: an address that is wrong is told at once.
const FIRST_PATIENCE: Duration = Duration::from_secs(3);
const BACK_OFF: [Duration; 2] = [Duration::from_millis(100), Duration::from_secs(3)];
const CHUNK: usize = 1 << 20;

impl Cluster {
    /// Nothing is said to it yet.
    ///
    /// # Errors
    /// When that is no URL of a coordinator, or it can't be trusted so.
    pub fn at(urls: &str, patience: Duration, trust: &Trust) -> Result<Self, Stop> {
        let coordinators = mr_worker::connect(urls, trust).map_err(Stop::Refused)?;
        let name = format!("the coordinator at {}", urls.replace(',', " or "));
        Ok(Self {
            coordinators,
            name,
            url: Some(urls.to_owned()),
            flags: String::new(),
            patience,
            answered: Arc::default(),
        })
    }

    pub fn with_flags(self, flags: String) -> Self {
        Self { flags, ..self }
    }

    pub fn in_process(channel: Channel) -> Self {
        let name = "the coordinator in this process".to_owned();
        Self {
            coordinators: channel.into(),
            name,
            url: None,
            flags: String::new(),
            patience: Duration::ZERO,
            answered: Arc::default(),
        }
    }

    /// Of the coordinator that is to be asked next.
    fn client(&self) -> (usize, JobsClient<Channel>) {
        let (at, channel) = self.coordinators.pick();
        let client = JobsClient::new(channel)
            .max_decoding_message_size(MESSAGE_BYTES_MAX)
            .max_encoding_message_size(MESSAGE_BYTES_MAX);
        (at, client)
    }

    /// How long the very first call may take. Where there are several, one may be about to take over from another.
    fn first_patience(&self) -> Duration {
        let first = self.coordinators.count() == 1 && !self.answered.load(Ordering::Relaxed);
        if first { self.patience.min(FIRST_PATIENCE) } else { self.patience }
    }

    /// How a person calls that command for this cluster.
    pub fn command_line(&self, command: &str) -> String {
        match &self.url {
            Some(url) => format!("mr-submit --coordinator {url}{} {command}", self.flags),
            None => format!("mr-submit {command}"),
        }
    }

    /// Stores what the plan needs and is not there yet, and submits it. `began`: when the user called.
    pub async fn submit(
        &self,
        id: &JobId,
        plan: JobPlan,
        renews_quarantined: bool,
        blobs: &[(BlobRef, Bytes)],
        began: Instant,
    ) -> Result<(), Stop> {
        let wanted: Vec<_> = blobs.iter().map(|(blob, _)| convert::blob_to(blob.clone())).collect();
        let missing = self
            .ask(self.first_patience(), |mut client| {
                let request = v1::MissingBlobsRequest { blobs: wanted.clone() };
                async move { client.missing_blobs(request).await }
            })
            .await?
            .sha256;
        for (blob, bytes) in blobs.iter().filter(|(blob, _)| missing.contains(&blob.sha256)) {
            self.ask(self.patience, |mut client| {
                let parts = parts(blob, bytes);
                async move { client.put_blob(tokio_stream::iter(parts)).await }
            })
            .await?;
        }
        let plan = convert::plan_to(plan);
        self.ask(self.patience, |mut client| {
            let prior_us = began.elapsed().as_micros() as u64;
            let request = v1::SubmitRequest {
                job_id: id.to_string(),
                plan: Some(plan.clone()),
                prior_us,
                renews_quarantined,
                framework_version: mr_core::FRAMEWORK_VERSION.to_owned(),
            };
            async move { client.submit(request).await }
        })
        .await?;
        Ok(())
    }

    /// Submits a job that has ended once more, under a new id.
    pub async fn retry(&self, old: &JobId, new: &JobId, quarantined: bool) -> Result<(), Stop> {
        self.ask_first(|mut client| {
            let request = v1::RetryRequest {
                job_id: old.to_string(),
                new_job_id: new.to_string(),
                renews_quarantined: quarantined,
            };
            async move { client.retry(request).await }
        })
        .await?;
        Ok(())
    }

    pub async fn list(&self) -> Result<Vec<JobStatus>, Stop> {
        let answer = self.ask_first(|mut client| async move { client.list(v1::ListRequest {}).await }).await?;
        answer.jobs.into_iter().map(|job| self.read(job)).collect()
    }

    /// Who would work on a job, and for how much.
    pub async fn terms(&self) -> Result<ClusterTerms, Stop> {
        let terms = self.ask_first(|mut client| async move { client.terms(v1::TermsRequest {}).await }).await?;
        convert::terms_from(terms).map_err(|error| Stop::Failed(format!("{} said something odd: {error}", self.name)))
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
        let began = Instant::now();
        let mut heard: Option<Instant> = None;
        let mut told = false;
        let mut pause = BACK_OFF[0];
        loop {
            let before = heard;
            let why = match self.watch_once(id, &mut see, &mut heard).await {
                Watched::Ended(status) => return Ok(*status),
                // What was there a moment ago was no mistake of the user's.
                Watched::Stopped(Stop::Refused(why)) if heard.is_some() => {
                    return Err(Stop::Failed(format!("{} no longer has the job: {why}", self.name)));
                }
                Watched::Stopped(stop) => return Err(stop),
                Watched::Lost(why) => why,
            };
            if heard != before {
                // A stream that was fine a moment ago is not worth a word before it was tried again.
                (told, pause) = (false, BACK_OFF[0]);
            } else if heard.is_some() && !std::mem::replace(&mut told, true) {
                lost(&format!("lost touch with {}, {why}; trying again for {} s", self.name, self.patience.as_secs()));
            }
            let patience = if heard.is_some() { self.patience } else { self.first_patience() };
            if heard.unwrap_or(began).elapsed() + pause > patience {
                return Err(self.unreachable(&why));
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(BACK_OFF[1]);
        }
    }

    async fn watch_once(&self, id: &JobId, see: &mut impl FnMut(&JobStatus), heard: &mut Option<Instant>) -> Watched {
        let sort = |status: Status| match self.verdict(&status) {
            Some(stop) => Watched::Stopped(stop),
            None => Watched::Lost(reason(&status)),
        };
        let request = v1::WatchRequest { job_id: id.to_string() };
        let (at, mut client) = self.client();
        let sort = |status: Status| {
            self.coordinators.turn(at);
            sort(status)
        };
        let mut states: Streaming<v1::JobStatus> = match client.watch(request).await {
            Ok(states) => states.into_inner(),
            Err(status) => return sort(status),
        };
        loop {
            let state = match states.message().await {
                Ok(Some(state)) => state,
                Ok(None) => {
                    self.coordinators.turn(at);
                    return Watched::Lost("it stopped telling".to_owned());
                }
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
        self.ask(self.first_patience(), call).await
    }

    async fn ask<T, F>(&self, patience: Duration, call: impl Fn(JobsClient<Channel>) -> F) -> Result<T, Stop>
    where
        F: Future<Output = Result<tonic::Response<T>, Status>>,
    {
        let began = Instant::now();
        let mut pause = BACK_OFF[0];
        loop {
            let (at, client) = self.client();
            let status = match call(client).await {
                Ok(answer) => {
                    self.answered.store(true, Ordering::Relaxed);
                    return Ok(answer.into_inner());
                }
                Err(status) => status,
            };
            self.coordinators.turn(at);
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

fn parts(blob: &BlobRef, bytes: &Bytes) -> Vec<v1::PutBlobRequest> {
    let head = Part::Blob(convert::blob_to(blob.clone()));
    let chunks = (0..bytes.len()).step_by(CHUNK).map(|at| bytes.slice(at..bytes.len().min(at + CHUNK)));
    let chunks = chunks.map(Part::Chunk);
    std::iter::once(head).chain(chunks).map(|part| v1::PutBlobRequest { part: Some(part) }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;
    use mr_core::{JobPhase, sha256_hex};
    use mr_proto::v1::jobs_server::{Jobs, JobsServer};
    use std::collections::VecDeque;
    use std::sync::Mutex;
    use tokio::net::TcpListener;
    use tokio_stream::wrappers::TcpListenerStream;
    use tonic::{Request, Response};

    type States = Vec<Result<JobStatus, Status>>;

    /// A coordinator that does what it was told to and remembers what it was asked.
    #[derive(Clone, Default)]
    struct Fake {
        /// What each watch tells before it breaks off.
        watches: Arc<Mutex<VecDeque<States>>>,
        /// How often submissions are lost before one is answered.
        lose: Arc<Mutex<u32>>,
        asked: Arc<Mutex<Vec<String>>>,
    }

    impl Fake {
        fn note(&self, text: String) {
            self.asked.lock().unwrap().push(text);
        }

        async fn serve(self) -> (String, tokio::task::JoinHandle<()>) {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let url = format!("http://{}", listener.local_addr().unwrap());
            let server = tonic::transport::Server::builder().add_service(JobsServer::new(self));
            let serving = tokio::spawn(async move {
                server.serve_with_incoming(TcpListenerStream::new(listener)).await.unwrap();
            });
            (url, serving)
        }
    }

    #[tonic::async_trait]
    impl Jobs for Fake {
        async fn missing_blobs(
            &self,
            request: Request<v1::MissingBlobsRequest>,
        ) -> Result<Response<v1::MissingBlobsResponse>, Status> {
            let first = request.into_inner().blobs.into_iter().next().map(|blob| blob.sha256);
            Ok(Response::new(v1::MissingBlobsResponse { sha256: first.into_iter().collect() }))
        }

        async fn put_blob(
            &self,
            request: Request<Streaming<v1::PutBlobRequest>>,
        ) -> Result<Response<v1::PutBlobResponse>, Status> {
            let mut parts = request.into_inner();
            let mut sizes = Vec::new();
            while let Some(message) = parts.message().await? {
                match message.part.unwrap() {
                    Part::Blob(blob) => self.note(format!("put {}", blob.bytes)),
                    Part::Chunk(chunk) => sizes.push(chunk.len()),
                }
            }
            self.note(format!("chunks {sizes:?}"));
            Ok(Response::new(v1::PutBlobResponse {}))
        }

        async fn submit(&self, request: Request<v1::SubmitRequest>) -> Result<Response<v1::SubmitResponse>, Status> {
            self.note(format!("submit {}", request.into_inner().job_id));
            let mut lose = self.lose.lock().unwrap();
            if *lose > 0 {
                *lose -= 1;
                return Err(Status::unavailable("starting"));
            }
            Ok(Response::new(v1::SubmitResponse {}))
        }

        async fn retry(&self, _: Request<v1::RetryRequest>) -> Result<Response<v1::RetryResponse>, Status> {
            unreachable!("no test asks for it")
        }

        async fn terms(&self, _: Request<v1::TermsRequest>) -> Result<Response<v1::TermsResponse>, Status> {
            unreachable!("no test asks for it")
        }

        async fn list(&self, _: Request<v1::ListRequest>) -> Result<Response<v1::ListResponse>, Status> {
            Err(Status::internal("no memory"))
        }

        async fn status(&self, _: Request<v1::StatusRequest>) -> Result<Response<v1::JobStatus>, Status> {
            Err(Status::not_found("there is no such job"))
        }

        type WatchStream = tokio_stream::Iter<std::vec::IntoIter<Result<v1::JobStatus, Status>>>;

        async fn watch(&self, _: Request<v1::WatchRequest>) -> Result<Response<Self::WatchStream>, Status> {
            let states = self.watches.lock().unwrap().pop_front();
            let states = states.ok_or_else(|| Status::unavailable("no more"))?;
            let states: Vec<_> = states.into_iter().map(|state| state.map(convert::status_to)).collect();
            Ok(Response::new(tokio_stream::iter(states)))
        }

        async fn cancel(&self, _: Request<v1::CancelRequest>) -> Result<Response<v1::CancelResponse>, Status> {
            Ok(Response::new(v1::CancelResponse { taken: true }))
        }
    }

    fn id() -> JobId {
        testing::status(JobPhase::Running).id
    }

    #[tokio::test]
    async fn what_is_missing_is_stored_and_a_lost_submission_is_repeated_as_the_same_job() {
        let fake = Fake::default();
        *fake.lose.lock().unwrap() = 2;
        let asked = fake.asked.clone();
        let (url, _serving) = fake.serve().await;
        let blob = |byte, len| {
            let bytes = Bytes::from(vec![byte; len]);
            (BlobRef::shared(sha256_hex(&bytes), len as u64), bytes)
        };
        let blobs = [blob(1, 2 * CHUNK + 5), blob(2, 7)];
        let cluster = Cluster::at(&url, Duration::from_secs(30), &Trust::default()).unwrap();
        assert_eq!(cluster.first_patience(), FIRST_PATIENCE);
        cluster.submit(&id(), testing::plan(), false, &blobs, Instant::now()).await.unwrap();
        // If it goes away before the first word of the watch, the address was right all the same.
        assert_eq!(cluster.first_patience(), Duration::from_secs(30));
        let submit = format!("submit {}", id());
        let size = 2 * CHUNK + 5;
        let chunks = format!("chunks {:?}", [CHUNK, CHUNK, 5]);
        assert_eq!(
            *asked.lock().unwrap(),
            [&format!("put {size}"), &chunks, &submit, &submit, &submit].map(|s| s.to_owned())
        );
    }

    async fn watched(watches: Vec<States>) -> (Result<JobStatus, Stop>, usize, usize) {
        let fake = Fake::default();
        *fake.watches.lock().unwrap() = watches.into();
        let (url, _serving) = fake.serve().await;
        let cluster = Cluster::at(&url, Duration::from_secs(1), &Trust::default()).unwrap();
        let (mut seen, mut lost) = (0, 0);
        let ended = cluster.watch(&id(), |_| seen += 1, |_| lost += 1).await;
        (ended, seen, lost)
    }

    #[tokio::test]
    async fn a_watch_that_breaks_off_is_taken_up_again() {
        let running = || Ok(testing::status(JobPhase::Running));
        let ended = || Ok(testing::status(JobPhase::Committed));
        let broken = || Err(Status::unavailable("going down"));
        let (status, seen, lost) =
            watched(vec![vec![running(), broken()], vec![], vec![running(), running()], vec![ended()]]).await;
        assert_eq!(status.unwrap().phase, JobPhase::Committed);
        assert_eq!((seen, lost), (4, 1));
    }

    #[tokio::test]
    async fn patience_ends() {
        let (status, seen, lost) = watched(vec![vec![Ok(testing::status(JobPhase::Running))]]).await;
        assert!(matches!(status, Err(Stop::Unreachable(_))), "{status:?}");
        assert_eq!((seen, lost), (1, 1));
        let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        let cluster = Cluster::at(&format!("http://{nobody}"), Duration::from_secs(1), &Trust::default()).unwrap();
        let expected = format!("can't reach the coordinator at http://{nobody}: connection refused");
        assert_eq!(cluster.list().await, Err(Stop::Unreachable(expected.clone())));
        assert_eq!(cluster.watch(&id(), |_| {}, |_| {}).await, Err(Stop::Unreachable(expected)));
    }

    #[tokio::test]
    async fn an_answer_decides_how_it_ends() {
        let (url, _serving) = Fake::default().serve().await;
        let cluster = Cluster::at(&url, Duration::from_secs(5), &Trust::default()).unwrap();
        assert_eq!(cluster.status(&id()).await, Err(Stop::Refused("there is no such job".into())));
        assert_eq!(cluster.list().await, Err(Stop::Failed(format!("the coordinator at {url}: no memory"))));
        let gone = Err(Status::not_found("there is no such job"));
        let (status, ..) = watched(vec![vec![gone.clone()]]).await;
        assert_eq!(status, Err(Stop::Refused("there is no such job".into())));
        let (status, ..) = watched(vec![vec![Ok(testing::status(JobPhase::Running)), gone]]).await;
        assert!(matches!(status, Err(Stop::Failed(_))), "{status:?}");
    }

    #[tokio::test]
    async fn what_is_no_coordinator_is_unreachable() {
        // It speaks HTTP/1.1, as a browser's server would.
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                use tokio::io::AsyncWriteExt;
                _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n").await;
            }
        });
        let cluster = Cluster::at(&url, Duration::from_secs(1), &Trust::default()).unwrap();
        let stop = cluster.list().await.unwrap_err();
        assert!(matches!(stop, Stop::Unreachable(_)), "{stop:?}");
    }
}
