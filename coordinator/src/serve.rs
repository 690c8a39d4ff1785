//! Starting, serving and stopping.

use crate::Settings;
use crate::ask::ask;
use crate::door::{Connection, only};
use crate::jobs_service::{JobsService, UPLOADS_MIB_MAX};
use crate::lead::{Candidate, Standing};
use crate::shell::Message;
use crate::workers_service::WorkersService;
use anyhow::Context;
use futures::Stream;
use hyper_util::rt::TokioIo;
use mr_core::shown_url;
use mr_metrics::{Health, Page};
use mr_proto::v1::jobs_server::JobsServer;
use mr_proto::v1::workers_server::WorkersServer;
use mr_proto::{DESCRIPTORS, MESSAGE_BYTES_MAX};
use mr_storage::{DynStore, StoreError};
use mr_table::LOG_FOLDERS;
use mr_tls::Role;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::io::duplex;
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::JoinHandle;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Channel, Endpoint, Server};

/// A running coordinator. Clones speak to the same one.
#[derive(Clone)]
pub struct Coordinator {
    shell: mpsc::Sender<Message>,
    news: watch::Receiver<u64>,
    state: DynStore,
    standing: watch::Receiver<Standing>,
    /// Ends one that stands by.
    stop: CancellationToken,
    lease_ms: u64,
}

impl Coordinator {
    /// Opens the state store and starts deciding; or stands by, if another coordinator is at work with it. Nobody is served
    /// yet. The handle ends with an error when another has taken over.
    ///
    /// # Errors
    /// When the state can't be used.
    pub async fn start(settings: Settings) -> anyhow::Result<(Self, JoinHandle<anyhow::Result<()>>)> {
        let state = mr_storage::open(&settings.state).await.context("opening the state store")?;
        check_is_no_table(&state, &settings.state).await?;
        mr_storage::check_conditional_writes(state.as_ref(), "probe/").await.context("checking the state store")?;
        let (shell, messages) = mpsc::channel(1024);
        let (tell, news) = watch::channel(0);
        let lease_ms = settings.lease_ms;
        let mut candidate = Candidate::new(state.clone(), settings, unique());
        let mandate = candidate.try_lead().await?;
        let (stand, standing) = watch::channel(if mandate.is_some() { Standing::Leads } else { Standing::StandsBy });
        let stop = CancellationToken::new();
        let running = candidate.run(mandate, (shell.downgrade(), messages), tell, stand, stop.clone());
        Ok((Self { shell, news, state, standing, stop, lease_ms }, tokio::spawn(running)))
    }

    /// Whether it leads, rather than stand by.
    pub fn leads(&self) -> bool {
        match *self.standing.borrow() {
            Standing::Leads | Standing::InDoubt => true,
            Standing::StandsBy => false,
        }
    }

    /// What it has done and what it is at. `None` when it is stopping.
    pub async fn metrics(&self) -> Option<Page> {
        let leads = self.leads();
        let mut page = if leads {
            ask(&self.shell, |reply| Message::Metrics { reply }).await?
        } else {
            let mut page = Page::default();
            mr_metrics::stores(&mut page);
            page
        };
        page.gauge("mr_leads", "Whether this coordinator leads, rather than stand by", &[], f64::from(u8::from(leads)));
        Some(page)
    }

    /// Whether it decides, or stands by for one that does. A store that does not answer is no reason to start it anew:
    /// nothing that waits for the store keeps it from deciding.
    pub async fn health(&self) -> Health {
        if !self.leads() {
            return Ok("it stands by for the coordinator that leads".to_owned());
        }
        decides(&self.shell, DECIDES_WITHIN).await
    }

    /// Lets what is half-way end, and stops. The handle that came with [`start`](Self::start) is about to be done then.
    pub async fn stop(&self) {
        self.stop.cancel();
        // Told to one that stands by as well: it may be taking over at this moment.
        _ = ask(&self.shell, |reply| Message::Stop { reply }).await;
    }
}

/// What its loop does with one message takes milliseconds, for the largest jobs too.
const DECIDES_WITHIN: Duration = Duration::from_secs(3);

async fn decides(shell: &mpsc::Sender<Message>, within: Duration) -> Health {
    match tokio::time::timeout(within, ask(shell, |reply| Message::Metrics { reply })).await {
        Ok(Some(_)) => Ok("it leads".to_owned()),
        Ok(None) => Err("it is stopping".to_owned()),
        Err(_) => Err(format!("it leads, and has decided nothing for {} s", within.as_secs_f32())),
    }
}

/// Old work is swept from a state store, and readers list an output: neither may be the other.
async fn check_is_no_table(state: &DynStore, url: &str) -> anyhow::Result<()> {
    for log in LOG_FOLDERS {
        match state.list(&format!("{log}/")).await {
            Ok(entries) if entries.is_empty() => {}
            // It will be made.
            Err(StoreError::NotFound { .. }) => {}
            Ok(_) => anyhow::bail!("{} is the output of a job: the state needs a place of its own", shown_url(url)),
            Err(error) => return Err(error).context("looking at the state store"),
        }
    }
    Ok(())
}

/// Unlike every other process's.
fn unique() -> String {
    let now = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default().as_nanos();
    let chance = RandomState::new().hash_one(now);
    format!("{}-{chance:016x}", std::process::id())
}

/// A caller that is gone without a word is found out in this time.
const PING_EVERY: Duration = Duration::from_secs(20);

/// Who comes again shows its certificate again, which may have ended or be of a CA that is no longer believed. What is under
/// way on a connection ends first. (With a grace, tonic 0.14 says no farewell and cuts what is under way.)
const CONNECTION_AGE_MAX: Duration = Duration::from_secs(3600);
/// Calls at the same time on a connection: a worker has one, a submitter a few.
const STREAMS_MAX: u32 = 128;
const HEADERS_BYTES_MAX: u32 = 16 << 10;

/// Serves gRPC on these connections until `stop`, with health and reflection; or until there is nobody to answer. Workers may
/// poll, and submitters submit and what goes with that; where callers have no certificates, all may do all.
pub async fn serve(
    coordinator: &Coordinator,
    connections: impl Stream<Item = std::io::Result<Connection>>,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    serve_within(Bounds::default(), coordinator, connections, stop).await
}

struct Bounds {
    connection_age_max: Duration,
    streams_max: u32,
    /// A permit for each MiB that may be held of blobs.
    uploads: Arc<Semaphore>,
}

impl Default for Bounds {
    fn default() -> Self {
        let uploads = Arc::new(Semaphore::new(UPLOADS_MIB_MAX));
        Self { connection_age_max: CONNECTION_AGE_MAX, streams_max: STREAMS_MAX, uploads }
    }
}

async fn serve_within(
    bounds: Bounds,
    coordinator: &Coordinator,
    connections: impl Stream<Item = std::io::Result<Connection>>,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let Coordinator { shell, news, state, standing, lease_ms, .. } = coordinator.clone();
    let ended = shell.clone();
    let until = async move {
        tokio::select! {
            () = stop.cancelled() => {}
            () = ended.closed() => {}
        }
    };
    let Bounds { connection_age_max, streams_max, uploads } = bounds;
    let jobs = JobsServer::new(JobsService { shell: shell.clone(), state, news, standing: standing.clone(), uploads })
        .max_decoding_message_size(MESSAGE_BYTES_MAX)
        .max_encoding_message_size(MESSAGE_BYTES_MAX);
    let workers = WorkersServer::new(WorkersService::new(shell, standing, lease_ms))
        .max_decoding_message_size(MESSAGE_BYTES_MAX)
        .max_encoding_message_size(MESSAGE_BYTES_MAX);
    let (reporter, health) = tonic_health::server::health_reporter();
    reporter.set_serving::<JobsServer<JobsService>>().await;
    reporter.set_serving::<WorkersServer<WorkersService>>().await;
    let reflection = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(DESCRIPTORS)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        .build_v1()
        .context("describing the services")?;
    Server::builder()
        .tcp_nodelay(true)
        .http2_keepalive_interval(Some(PING_EVERY))
        .http2_keepalive_timeout(Some(PING_EVERY))
        .max_connection_age(connection_age_max)
        .max_concurrent_streams(streams_max)
        .http2_max_header_list_size(HEADERS_BYTES_MAX)
        .add_service(InterceptedService::new(jobs, only(Role::Submitter)))
        .add_service(InterceptedService::new(workers, only(Role::Worker)))
        .add_service(health)
        .add_service(reflection)
        .serve_with_incoming_shutdown(connections, until)
        .await
        .context("serving")
}

/// The same service without a socket: a channel to it for workers and submitters of this process.
pub fn in_process(coordinator: &Coordinator, stop: CancellationToken) -> (Channel, JoinHandle<anyhow::Result<()>>) {
    let (connect, connections) = mpsc::channel::<std::io::Result<Connection>>(16);
    let coordinator = coordinator.clone();
    let serving = tokio::spawn(async move { serve(&coordinator, ReceiverStream::new(connections), stop).await });
    (channel_inside(connect), serving)
}

/// Hands in a connection whenever it needs one.
fn channel_inside(connect: mpsc::Sender<std::io::Result<Connection>>) -> Channel {
    let connector = tower::service_fn(move |_| {
        let connect = connect.clone();
        async move {
            let (near, far) = duplex(1 << 20);
            connect.send(Ok(Connection::inside(far))).await.map_err(std::io::Error::other)?;
            // Then it may lie there for good, and nobody would end it (see `ask`).
            if connect.is_closed() {
                return Err(std::io::Error::other("nobody serves any more"));
            }
            Ok::<_, std::io::Error>(TokioIo::new(near))
        }
    });
    Endpoint::from_static("http://in-process").connect_with_connector_lazy(connector)
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::StreamExt;
    use mr_core::{BlobRef, sha256_hex};
    use mr_proto::v1::jobs_client::JobsClient;
    use mr_proto::v1::put_blob_request::Part;
    use mr_proto::v1::{ListRequest, MissingBlobsRequest, PutBlobRequest};
    use mr_proto::{convert, v1};
    use mr_storage::Memory;
    use std::sync::atomic::{AtomicU32, Ordering};

    #[tokio::test]
    async fn one_whose_loop_does_not_answer_is_not_well() {
        let (shell, mut messages) = mpsc::channel(1);
        // The second question does not even find room.
        for _ in 0..2 {
            let told = decides(&shell, Duration::from_millis(50)).await;
            assert_eq!(told, Err("it leads, and has decided nothing for 0.05 s".into()));
        }
        let deciding = tokio::spawn(async move {
            while let Some(Message::Metrics { reply }) = messages.recv().await {
                _ = reply.send(Page::default());
            }
        });
        assert_eq!(decides(&shell, Duration::from_secs(60)).await, Ok("it leads".into()));
        deciding.abort();
        _ = deciding.await;
        assert_eq!(decides(&shell, Duration::from_secs(60)).await, Err("it is stopping".into()));
    }

    #[tokio::test]
    async fn one_that_is_told_to_stop_while_it_takes_over_stops() {
        let state: DynStore = Arc::new(Memory::default());
        let mut candidate = Candidate::new(state.clone(), Settings::new(""), "one".to_owned());
        let mandate = candidate.try_lead().await.unwrap();
        assert!(mandate.is_some(), "nobody is at work");
        // Its mandate is there, and it has not come to say so.
        let (shell, messages) = mpsc::channel(1);
        let (tell, news) = watch::channel(0);
        let (stand, standing) = watch::channel(Standing::StandsBy);
        let stop = CancellationToken::new();
        let running = candidate.run(mandate, (shell.downgrade(), messages), tell, stand, stop.clone());
        let coordinator = Coordinator { shell, news, state, standing, stop, lease_ms: 1000 };
        let both = async { tokio::join!(biased; coordinator.stop(), running) };
        let ((), ended) = tokio::time::timeout(Duration::from_secs(10), both).await.expect("it stops");
        ended.unwrap();
    }

    #[tokio::test]
    async fn a_caller_comes_anew_when_its_connection_is_old() {
        let state = tempfile::tempdir().unwrap();
        let (coordinator, _deciding) = Coordinator::start(Settings::new(state.path().to_str().unwrap())).await.unwrap();
        let (connect, connections) = mpsc::channel(16);
        let made = Arc::new(AtomicU32::new(0));
        let count = made.clone();
        let connections = ReceiverStream::new(connections).inspect(move |_| _ = count.fetch_add(1, Ordering::Relaxed));
        tokio::spawn(async move {
            let bounds = Bounds { connection_age_max: Duration::from_millis(50), ..Bounds::default() };
            serve_within(bounds, &coordinator, connections, CancellationToken::new()).await
        });
        let mut jobs = JobsClient::new(channel_inside(connect));
        let anew = async {
            while made.load(Ordering::Relaxed) < 3 {
                // One that meets the end of a connection is made again, as our clients do.
                _ = jobs.list(ListRequest {}).await;
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            jobs.list(ListRequest {}).await
        };
        let answered = tokio::time::timeout(Duration::from_secs(60), anew).await.expect("it comes anew");
        assert!(answered.is_ok() || jobs.list(ListRequest {}).await.is_ok());
    }

    /// Far more than any of it takes.
    const LIMIT: Duration = Duration::from_secs(60);

    /// A coordinator within these bounds, and the only connection to it.
    struct Served {
        _state: tempfile::TempDir,
        uploads: Arc<Semaphore>,
        jobs: JobsClient<Channel>,
    }

    impl Served {
        async fn within(bounds: Bounds) -> Self {
            let state = tempfile::tempdir().unwrap();
            let settings = Settings::new(state.path().to_str().unwrap());
            let (coordinator, _deciding) = Coordinator::start(settings).await.unwrap();
            let uploads = bounds.uploads.clone();
            let (connect, connections) = mpsc::channel(16);
            tokio::spawn(async move {
                let connections = ReceiverStream::new(connections);
                serve_within(bounds, &coordinator, connections, CancellationToken::new()).await
            });
            let jobs = JobsClient::new(channel_inside(connect));
            Self { _state: state, uploads, jobs }
        }

        /// Begins to bring a blob of a few bytes, which takes the room of a MiB. It goes on when the rest is sent.
        fn bring(&self, content: &'static [u8]) -> Upload {
            let (send, parts) = mpsc::channel(4);
            let first = Part::Blob(blob(content));
            send.try_send(PutBlobRequest { part: Some(first) }).expect("there is room");
            let mut jobs = self.jobs.clone();
            let brought = tokio::spawn(async move { jobs.put_blob(ReceiverStream::new(parts)).await.map(drop) });
            Upload { content, send, brought }
        }

        async fn until_free(&self, permits: usize) {
            let free = async {
                while self.uploads.available_permits() != permits {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            };
            tokio::time::timeout(LIMIT, free).await.expect("uploads begin and end");
        }

        async fn lacks(&self, content: &[u8]) -> bool {
            let request = MissingBlobsRequest { blobs: vec![blob(content)] };
            !self.jobs.clone().missing_blobs(request).await.unwrap().into_inner().sha256.is_empty()
        }
    }

    fn blob(content: &[u8]) -> v1::Blob {
        convert::blob_to(BlobRef::shared(sha256_hex(content), content.len() as u64))
    }

    struct Upload {
        content: &'static [u8],
        send: mpsc::Sender<PutBlobRequest>,
        brought: JoinHandle<Result<(), tonic::Status>>,
    }

    impl Upload {
        async fn end(self) {
            let rest = Part::Chunk(self.content.to_vec().into());
            self.send.send(PutBlobRequest { part: Some(rest) }).await.expect("it is listened to");
            drop(self.send);
            tokio::time::timeout(LIMIT, self.brought).await.expect("it ends").unwrap().unwrap();
        }
    }

    /// For whatever is not to happen meanwhile. A machine that is slow in it makes the test weaker, and never fails it.
    async fn a_while() {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }

    #[tokio::test]
    async fn blobs_that_are_brought_at_a_time_have_so_much_room_and_others_wait() {
        let served = Served::within(Bounds { uploads: Arc::new(Semaphore::new(2)), ..Bounds::default() }).await;
        let (one, two) = (served.bring(b"one"), served.bring(b"two"));
        served.until_free(0).await;
        // All that there is to it has been said, and it waits.
        let three = served.bring(b"three");
        let three = tokio::spawn(three.end());
        a_while().await;
        assert!(!three.is_finished() && served.lacks(b"three").await);
        one.end().await;
        three.await.unwrap();
        assert!(!served.lacks(b"three").await && served.lacks(b"two").await);
        two.end().await;
        served.until_free(2).await;
    }

    #[tokio::test]
    async fn a_connection_has_so_many_calls_at_a_time_and_others_wait() {
        let served = Served::within(Bounds { streams_max: 2, ..Bounds::default() }).await;
        // Once anything was answered, the bound is known at the other end.
        assert!(served.lacks(b"one").await);
        let (one, two) = (served.bring(b"one"), served.bring(b"two"));
        served.until_free(UPLOADS_MIB_MAX - 2).await;
        let mut jobs = served.jobs.clone();
        let third = tokio::spawn(async move { jobs.list(ListRequest {}).await });
        a_while().await;
        assert!(!third.is_finished());
        one.end().await;
        tokio::time::timeout(LIMIT, third).await.expect("it has its turn").unwrap().unwrap();
        two.end().await;
    }
}
