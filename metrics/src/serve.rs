//! Answering whoever scrapes.

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

/// Answers `GET /metrics` with what `ask` says until `stop`. `None`: nothing can be said now.
pub async fn serve<F>(listener: TcpListener, stop: CancellationToken, ask: impl Fn() -> F + Send + Sync + 'static)
where
    F: Future<Output = Option<Page>> + Send + 'static,
{
    let (ask, places) = (Arc::new(ask), Arc::new(Semaphore::new(CONNECTIONS_MAX)));
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
        let ask = ask.clone();
        tokio::spawn(async move {
            let service = service_fn(move |request| answer(ask.clone(), request));
            let mut server = http1::Builder::new();
            server.timer(TokioTimer::new()).header_read_timeout(HEAD_WITHIN);
            _ = tokio::time::timeout(OPEN_MAX, server.serve_connection(TokioIo::new(stream), service)).await;
            drop(place);
        });
    }
}

async fn answer<F>(ask: Arc<impl Fn() -> F>, request: Request<Incoming>) -> Result<Response<String>, Infallible>
where
    F: Future<Output = Option<Page>>,
{
    let plain = |status, text: &str| (status, "text/plain; charset=utf-8", text.to_owned());
    let (status, kind, text) = match (request.method(), request.uri().path()) {
        (&Method::GET, "/metrics") => match ask().await {
            Some(page) => (StatusCode::OK, TYPE, page.text()),
            None => plain(StatusCode::SERVICE_UNAVAILABLE, "nothing can be said now\n"),
        },
        (_, "/metrics") => plain(StatusCode::METHOD_NOT_ALLOWED, "only GET\n"),
        _ => plain(StatusCode::NOT_FOUND, "there is only /metrics\n"),
    };
    let answer = Response::builder().status(status).header(header::CONTENT_TYPE, kind).body(text);
    Ok(answer.expect("these are headers"))
}
