//! A store that bears so many requests a second and answers the others with SlowDown, before it looks at them.

use bytes::Bytes;
use futures::future::BoxFuture;
use hyper::body::{Body, Incoming};
use hyper::service::Service;
use hyper::{Request, Response};
use s3s::service::S3Service;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

const SLOW_DOWN: &str = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
    <Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>";

/// A token bucket that holds a second's requests at most.
#[derive(Debug)]
pub(crate) struct Limit {
    per_second: Option<f64>,
    tokens: Mutex<(f64, Instant)>,
    pub taken: AtomicU64,
    pub throttled: AtomicU64,
}

impl Limit {
    pub fn new(per_second: Option<f64>) -> Self {
        let tokens = Mutex::new((per_second.unwrap_or_default().max(1.0), Instant::now()));
        Self { per_second, tokens, taken: AtomicU64::new(0), throttled: AtomicU64::new(0) }
    }

    fn takes(&self) -> bool {
        let takes = self.per_second.is_none_or(|per_second| self.token(per_second));
        let count = if takes { &self.taken } else { &self.throttled };
        count.fetch_add(1, Ordering::Relaxed);
        takes
    }

    fn token(&self, per_second: f64) -> bool {
        let mut bucket = self.tokens.lock().expect("nothing panics while it is held");
        let (tokens, at) = &mut *bucket;
        let now = Instant::now();
        let came = now.duration_since(*at).as_secs_f64() * per_second;
        (*tokens, *at) = ((*tokens + came).min(per_second.max(1.0)), now);
        let takes = *tokens >= 1.0;
        *tokens -= if takes { 1.0 } else { 0.0 };
        takes
    }
}

/// The service behind its limit.
#[derive(Clone)]
pub(crate) struct Limited {
    pub inner: S3Service,
    pub limit: Arc<Limit>,
}

impl Service<Request<Incoming>> for Limited {
    type Response = Response<s3s::Body>;
    type Error = <S3Service as Service<Request<Incoming>>>::Error;
    type Future = BoxFuture<'static, Result<Self::Response, Self::Error>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        if self.limit.takes() {
            return Service::call(&self.inner, request);
        }
        Box::pin(async move {
            // An unread body would break the connection, and the answer would be lost with it.
            let mut body = request.into_body();
            while let Some(Ok(_)) = poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await {}
            let mut answer = Response::new(s3s::Body::from(Bytes::from_static(SLOW_DOWN.as_bytes())));
            *answer.status_mut() = hyper::StatusCode::SERVICE_UNAVAILABLE;
            Ok(answer)
        })
    }
}
