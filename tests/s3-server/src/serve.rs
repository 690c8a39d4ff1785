//! The server in this process: a listener, a task for each connection, and an end to both when it is dropped.

use crate::limit::{Limit, Limited};
use crate::{ACCESS_KEY, Buckets, REGION, SECRET_KEY, Service};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use s3s::auth::{S3Auth, SecretKey};
use s3s::service::S3ServiceBuilder;
use s3s::{S3, S3Result, s3_error};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use tokio::net::TcpListener;
use tokio::task::{JoinHandle, JoinSet};

#[derive(Clone, Debug)]
pub struct Options {
    /// Port 0 picks one.
    pub listen: SocketAddr,
    /// Buckets that are there from the start; more are made by CreateBucket.
    pub buckets: Vec<String>,
    /// The most keys on a page of a listing: S3 has 1,000.
    pub page_keys: usize,
    /// More requests a second are answered with SlowDown.
    pub requests_per_second: Option<f64>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            buckets: Vec::new(),
            page_keys: 1000,
            requests_per_second: None,
        }
    }
}

/// A server that runs until it is dropped.
pub struct Server {
    /// `http://host:port`
    pub endpoint: String,
    buckets: Arc<Buckets>,
    limit: Arc<Limit>,
    at: SocketAddr,
    service: Limited,
    accepting: JoinHandle<()>,
}

impl Server {
    pub async fn start(options: Options) -> io::Result<Self> {
        Self::start_with(options, |service| service).await
    }

    /// Starts with the service that `wrap` makes of ours.
    pub async fn start_with<W: S3>(options: Options, wrap: impl FnOnce(Service) -> W) -> io::Result<Self> {
        let buckets = Arc::new(Buckets::default());
        options.buckets.iter().for_each(|bucket| buckets.create(bucket));
        let mut builder = S3ServiceBuilder::new(wrap(Service::new(buckets.clone(), options.page_keys)));
        builder.set_auth(Anyone);
        let listener = TcpListener::bind(options.listen).await?;
        let limit = Arc::new(Limit::new(options.requests_per_second));
        let service = Limited { inner: builder.build(), limit: limit.clone() };
        let at = listener.local_addr()?;
        let accepting = tokio::spawn(accept(listener, service.clone()));
        Ok(Self { endpoint: format!("http://{at}"), buckets, limit, at, service, accepting })
    }

    /// Breaks every connection and lets nobody in, until it is opened again.
    pub async fn shut(&mut self) {
        self.accepting.abort();
        // It was ended just now, so that is how it ends.
        _ = (&mut self.accepting).await;
    }

    /// Listens again where it did, with all that it holds.
    pub async fn open(&mut self) -> io::Result<()> {
        let listener = TcpListener::bind(self.at).await?;
        self.accepting = tokio::spawn(accept(listener, self.service.clone()));
        Ok(())
    }

    /// What it holds, for loading and looking from outside the protocol.
    pub fn buckets(&self) -> &Buckets {
        &self.buckets
    }

    /// How many requests were taken, and how many were answered with SlowDown because they were too many.
    pub fn requests(&self) -> (u64, u64) {
        (self.limit.taken.load(Ordering::Relaxed), self.limit.throttled.load(Ordering::Relaxed))
    }

    /// What a process has to find in its environment to use this server.
    pub fn environment(&self) -> [(&'static str, String); 4] {
        [
            ("AWS_ENDPOINT_URL", self.endpoint.clone()),
            ("AWS_ACCESS_KEY_ID", ACCESS_KEY.into()),
            ("AWS_SECRET_ACCESS_KEY", SECRET_KEY.into()),
            ("AWS_REGION", REGION.into()),
        ]
    }
}

/// Whoever knows the secret, under [`ACCESS_KEY`] or that and a name of their own: a test can tell by it whose a request is.
struct Anyone;

#[async_trait::async_trait]
impl S3Auth for Anyone {
    async fn get_secret_key(&self, access_key: &str) -> S3Result<SecretKey> {
        match access_key.strip_prefix(ACCESS_KEY) {
            Some(name) if name.is_empty() || name.starts_with('-') => Ok(SECRET_KEY.into()),
            Some(_) | None => Err(s3_error!(InvalidAccessKeyId)),
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Its connections are in a set of its own, which ends with it.
        self.accepting.abort();
    }
}

async fn accept(listener: TcpListener, service: Limited) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            Some(_) = connections.join_next() => {}
            accepted = listener.accept() => {
                // A failed accept concerns a client that is gone, or too many open files: others may end meanwhile.
                let Ok((stream, _)) = accepted else {
                    tokio::task::yield_now().await;
                    continue;
                };
                // Small answers must not wait for the acknowledgement of what went before.
                let _ = stream.set_nodelay(true);
                let connection = http1::Builder::new()
                    .timer(TokioTimer::new())
                    .serve_connection(TokioIo::new(stream), service.clone());
                connections.spawn(async move {
                    // It ends when the client goes, which is no news.
                    let _ = connection.await;
                });
            }
        }
    }
}
