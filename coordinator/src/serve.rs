//! Starting, serving and stopping.

use crate::Settings;
use crate::clean::left_behind;
use crate::jobs_service::JobsService;
use crate::shell::{Message, Shell};
use crate::workers_service::WorkersService;
use anyhow::{Context, bail};
use futures::Stream;
use hyper_util::rt::TokioIo;
use mr_proto::v1::jobs_server::JobsServer;
use mr_proto::v1::workers_server::WorkersServer;
use mr_proto::{DESCRIPTORS, MESSAGE_BYTES_MAX};
use mr_storage::DynStore;
use std::fs::{self, File, TryLockError};
use std::path::Path;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, duplex};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::transport::server::Connected;
use tonic::transport::{Channel, Endpoint, Server};

/// A running coordinator. Clones speak to the same one.
#[derive(Clone)]
pub struct Coordinator {
    shell: mpsc::Sender<Message>,
    news: watch::Receiver<u64>,
    state: DynStore,
    lease_ms: u64,
}

impl Coordinator {
    /// Opens the state store and starts deciding. Nobody is served yet.
    pub async fn start(settings: Settings) -> anyhow::Result<(Self, JoinHandle<()>)> {
        let state = mr_storage::open(&settings.state).await.context("opening the state store")?;
        let lock = lock(state.url())?;
        mr_storage::check_conditional_writes(state.as_ref(), "probe/").await.context("checking the state store")?;
        let left = left_behind(&state).await;
        let (shell, messages) = mpsc::channel(1024);
        let (tell, news) = watch::channel(0);
        let deciding = Shell::new(state.clone(), &settings, tell).run(messages, left);
        let running = tokio::spawn(async move {
            deciding.await;
            drop(lock);
        });
        Ok((Self { shell, news, state, lease_ms: settings.lease_ms }, running))
    }

    /// Lets what is half-way end, and stops. The handle that came with [`start`](Self::start) is done then.
    pub async fn stop(&self) {
        let (reply, stopped) = oneshot::channel();
        if self.shell.send(Message::Stop { reply }).await.is_ok() {
            _ = stopped.await;
        }
    }
}

/// Keeps other coordinators away from a state folder: each would take the other's work files for leftovers. Of state in
/// S3 nothing keeps them away yet.
fn lock(state: &str) -> anyhow::Result<Option<File>> {
    let Some(folder) = state.strip_prefix("file://") else { return Ok(None) };
    let path = Path::new(folder).join("coordinator.lock");
    let open = || {
        fs::create_dir_all(folder)?;
        File::options().create(true).truncate(false).write(true).open(&path)
    };
    let file = open().with_context(|| format!("opening {}", path.display()))?;
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => {
            bail!("another coordinator works with {folder}: stop that one, or give this one another `--state`")
        }
        Err(TryLockError::Error(error)) => Err(error).with_context(|| format!("locking {}", path.display())),
    }
}

/// A caller that is gone without a word is found out in this time.
const PING_EVERY: Duration = Duration::from_secs(20);

/// Serves gRPC on these connections until `stop`, with health and reflection; or until there is nobody to answer.
pub async fn serve<IO, E>(
    coordinator: &Coordinator,
    connections: impl Stream<Item = Result<IO, E>>,
    stop: CancellationToken,
) -> anyhow::Result<()>
where
    IO: AsyncRead + AsyncWrite + Connected + Unpin + Send + 'static,
    E: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let Coordinator { shell, news, state, lease_ms } = coordinator.clone();
    let ended = shell.clone();
    let until = async move {
        tokio::select! {
            () = stop.cancelled() => {}
            () = ended.closed() => {}
        }
    };
    let jobs = JobsServer::new(JobsService { shell: shell.clone(), state, news })
        .max_decoding_message_size(MESSAGE_BYTES_MAX)
        .max_encoding_message_size(MESSAGE_BYTES_MAX);
    let workers = WorkersServer::new(WorkersService::new(shell, lease_ms))
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
        .add_service(jobs)
        .add_service(workers)
        .add_service(health)
        .add_service(reflection)
        .serve_with_incoming_shutdown(connections, until)
        .await
        .context("serving")
}

/// The same service without a socket: a channel to it for workers and submitters of this process.
pub fn in_process(coordinator: &Coordinator, stop: CancellationToken) -> (Channel, JoinHandle<anyhow::Result<()>>) {
    let (connect, connections) = mpsc::channel::<Result<DuplexStream, std::io::Error>>(16);
    let coordinator = coordinator.clone();
    let serving = tokio::spawn(async move { serve(&coordinator, ReceiverStream::new(connections), stop).await });
    let connector = tower::service_fn(move |_| {
        let connect = connect.clone();
        async move {
            let (near, far) = duplex(1 << 20);
            connect.send(Ok(far)).await.map_err(std::io::Error::other)?;
            Ok::<_, std::io::Error>(TokioIo::new(near))
        }
    });
    let channel = Endpoint::from_static("http://in-process").connect_with_connector_lazy(connector);
    (channel, serving)
}
