//! Answering whoever scrapes, and whoever asks whether the process does what it is there for.
//!
//! A connection has one answer and a short time. When places run out, one that has not asked yet makes room: so those
//! that say nothing keep nobody from an answer, and a balancer does not take a process for dead that is well.

use crate::{Crowd, Page};
use http::{Method, Request, Response, StatusCode, header};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

const TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
/// More than a monitoring has.
const CONNECTIONS_MAX: usize = 256;
/// For all of a connection. Health is told within three seconds, or said to be bad.
const PATIENCE: Duration = Duration::from_secs(10);
/// Without a file descriptor left.
const BREATH: Duration = Duration::from_millis(100);

/// A sentence: what the process does, or why it may well be started anew.
pub type Health = Result<String, String>;

/// Answers until `stop`: `GET /metrics` with what `ask` says (`None`: nothing can be said now), and `GET /healthz` with
/// `health`.
pub async fn serve<F, G>(
    listener: TcpListener,
    stop: CancellationToken,
    ask: impl Fn() -> F + Send + Sync + 'static,
    health: impl Fn() -> G + Send + Sync + 'static,
) where
    F: Future<Output = Option<Page>> + Send + 'static,
    G: Future<Output = Health> + Send + 'static,
{
    let questions = Arc::new((ask, health));
    keep(listener, stop, PATIENCE, move |request| answer(questions.clone(), request)).await;
}

/// Takes every caller at once, and makes room for it where there is none.
async fn keep<A>(
    listener: TcpListener,
    stop: CancellationToken,
    patience: Duration,
    answer: impl Fn(Request<Incoming>) -> A + Clone + Send + 'static,
) where
    A: Future<Output = Result<Response<String>, Infallible>> + Send + 'static,
{
    let (mut serving, mut callers) = (JoinSet::new(), Crowd::of(CONNECTIONS_MAX));
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        let (stream, from) = match accepted {
            Ok(caller) => caller,
            Err(error) => {
                tracing::debug!("taking a connection for metrics: {error}");
                tokio::time::sleep(BREATH).await;
                continue;
            }
        };
        while serving.try_join_next().is_some() {}
        callers.make_room();
        let asked = Arc::new(AtomicBool::new(false));
        let (answer, asks) = (answer.clone(), asked.clone());
        let service = service_fn(move |request| {
            asks.store(true, Ordering::Relaxed);
            answer(request)
        });
        let served = serving.spawn(async move {
            let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
            _ = tokio::time::timeout(patience, connection).await;
        });
        callers.add(from.ip(), asked, served);
    }
}

async fn answer<F, G>(
    questions: Arc<(impl Fn() -> F, impl Fn() -> G)>,
    request: Request<Incoming>,
) -> Result<Response<String>, Infallible>
where
    F: Future<Output = Option<Page>>,
    G: Future<Output = Health>,
{
    let (ask, health) = &*questions;
    let plain = |status, text: &str| (status, "text/plain; charset=utf-8", text.to_owned());
    let (status, kind, text) = match (request.method(), request.uri().path()) {
        (&Method::GET, "/metrics") => match ask().await {
            Some(page) => (StatusCode::OK, TYPE, page.text()),
            None => plain(StatusCode::SERVICE_UNAVAILABLE, "nothing can be said now\n"),
        },
        (&Method::GET, "/healthz") => match health().await {
            Ok(does) => plain(StatusCode::OK, &format!("{does}\n")),
            Err(why) => plain(StatusCode::SERVICE_UNAVAILABLE, &format!("{why}\n")),
        },
        (_, "/metrics" | "/healthz") => plain(StatusCode::METHOD_NOT_ALLOWED, "only GET\n"),
        _ => plain(StatusCode::NOT_FOUND, "there are only /metrics and /healthz\n"),
    };
    // A connection that is kept would hold its place for nothing.
    let answer =
        Response::builder().status(status).header(header::CONTENT_TYPE, kind).header(header::CONNECTION, "close");
    Ok(answer.body(text).expect("these are headers"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::SocketAddr;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;

    const LONG: Duration = Duration::from_secs(3600);

    async fn listen() -> (TcpListener, SocketAddr) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let at = listener.local_addr().unwrap();
        (listener, at)
    }

    /// One that is well, with that patience, until the test ends.
    async fn well_with(patience: Duration) -> SocketAddr {
        let (listener, at) = listen().await;
        let ask = || std::future::ready(Some(Page::default()));
        let health = || std::future::ready(Ok("it works".to_owned()));
        let questions = Arc::new((ask, health));
        let answer = move |request| answer(questions.clone(), request);
        tokio::spawn(keep(listener, CancellationToken::new(), patience, answer));
        at
    }

    /// Status and body of what is answered, which ends the connection.
    async fn asked_on(stream: &mut TcpStream, line: &str) -> String {
        stream.write_all(format!("{line} HTTP/1.1\r\nhost: h\r\n\r\n").as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.contains("\r\nconnection: close"), "{head}");
        format!("{} {body}", &head["HTTP/1.1 ".len()..][..3])
    }

    async fn asked(at: SocketAddr, line: &str) -> String {
        asked_on(&mut TcpStream::connect(at).await.unwrap(), line).await
    }

    /// Waits until nothing more comes, of which there was nothing at all.
    async fn is_cut_off(stream: &mut TcpStream) {
        // Cut off in the middle of its request, it may hear of that as an error.
        assert!(!matches!(stream.read(&mut [0; 8]).await, Ok(1..)));
    }

    #[tokio::test]
    async fn numbers_and_health_are_told_each_at_its_path() {
        let (listener, at) = listen().await;
        let (well, stop) = (Arc::new(AtomicBool::new(true)), CancellationToken::new());
        let told = well.clone();
        let health = move || {
            let well = told.load(Ordering::Relaxed);
            std::future::ready(if well { Ok("it works".to_owned()) } else { Err("it is stuck".to_owned()) })
        };
        let ask = || std::future::ready(Some(Page::default()));
        let serving = tokio::spawn(serve(listener, stop.clone(), ask, health));
        assert_eq!(asked(at, "GET /metrics").await, "200 # EOF\n");
        assert_eq!(asked(at, "GET /healthz").await, "200 it works\n");
        well.store(false, Ordering::Relaxed);
        assert_eq!(asked(at, "GET /healthz").await, "503 it is stuck\n");
        assert_eq!(asked(at, "GET /metrics").await, "200 # EOF\n");
        assert_eq!(asked(at, "POST /healthz").await, "405 only GET\n");
        assert!(asked(at, "GET /").await.starts_with("404 "));
        stop.cancel();
        serving.await.unwrap();
    }

    #[tokio::test]
    async fn silent_callers_keep_nobody_from_an_answer() {
        const SILENT: usize = 300;
        const { assert!(SILENT > CONNECTIONS_MAX) };
        let at = well_with(LONG).await;
        let mut silent = Vec::new();
        for number in 0..SILENT {
            let mut stream = TcpStream::connect(at).await.unwrap();
            // Half a request is none.
            if number % 2 == 0 {
                stream.write_all(b"GET /healthz HTTP/1.1\r\n").await.unwrap();
            }
            silent.push(stream);
        }
        for _ in 0..10 {
            assert_eq!(asked(at, "GET /healthz").await, "200 it works\n");
        }
        is_cut_off(&mut silent[0]).await;
        is_cut_off(&mut silent[1]).await;
        assert_eq!(asked_on(&mut silent[SILENT - 1], "GET /healthz").await, "200 it works\n", "it came late enough");
    }

    #[tokio::test]
    async fn who_does_not_ask_in_time_is_cut_off() {
        let at = well_with(Duration::from_millis(10)).await;
        is_cut_off(&mut TcpStream::connect(at).await.unwrap()).await;
    }
}
