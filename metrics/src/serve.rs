//! Answering whoever scrapes, and whoever asks whether the process does what it is there for.

use crate::Page;
use http::{Method, Request, Response, StatusCode, header};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

const TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
/// More than a monitoring has; whoever opens more waits.
const CONNECTIONS_MAX: usize = 64;
/// A request that takes longer to arrive is no scraper's.
const HEAD_WITHIN: Duration = Duration::from_secs(10);
/// A connection's time, however often it is used.
const OPEN_MAX: Duration = Duration::from_secs(600);

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
    let (questions, places) = (Arc::new((ask, health)), Arc::new(Semaphore::new(CONNECTIONS_MAX)));
    loop {
        let place = places.clone().acquire_owned().await.expect("never closed");
        let connection = tokio::select! {
            () = stop.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        let stream = match connection {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::debug!("taking a connection for metrics: {error}");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let questions = questions.clone();
        tokio::spawn(async move {
            let service = service_fn(move |request| answer(questions.clone(), request));
            let mut server = http1::Builder::new();
            server.timer(TokioTimer::new()).header_read_timeout(HEAD_WITHIN);
            _ = tokio::time::timeout(OPEN_MAX, server.serve_connection(TokioIo::new(stream), service)).await;
            drop(place);
        });
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
    let answer = Response::builder().status(status).header(header::CONTENT_TYPE, kind).body(text);
    Ok(answer.expect("these are headers"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicBool, Ordering};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;

    #[tokio::test]
    async fn numbers_and_health_are_told_each_at_its_path() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let at = listener.local_addr().unwrap();
        let (well, stop) = (Arc::new(AtomicBool::new(true)), CancellationToken::new());
        let told = well.clone();
        let health = move || {
            let well = told.load(Ordering::Relaxed);
            std::future::ready(if well { Ok("it works".to_owned()) } else { Err("it is stuck".to_owned()) })
        };
        let ask = || std::future::ready(Some(Page::default()));
        let serving = tokio::spawn(serve(listener, stop.clone(), ask, health));
        let asked = async |line: &str| {
            let mut stream = TcpStream::connect(at).await.unwrap();
            let request = format!("{line} HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n");
            stream.write_all(request.as_bytes()).await.unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await.unwrap();
            let (head, body) = answer.split_once("\r\n\r\n").unwrap();
            format!("{} {body}", &head["HTTP/1.1 ".len()..][..3])
        };
        assert_eq!(asked("GET /metrics").await, "200 # EOF\n");
        assert_eq!(asked("GET /healthz").await, "200 it works\n");
        well.store(false, Ordering::Relaxed);
        assert_eq!(asked("GET /healthz").await, "503 it is stuck\n");
        assert_eq!(asked("GET /metrics").await, "200 # EOF\n");
        assert_eq!(asked("POST /healthz").await, "405 only GET\n");
        assert!(asked("GET /").await.starts_with("404 "));
        stop.cancel();
        serving.await.unwrap();
    }
}
