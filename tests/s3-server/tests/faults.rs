//! Storage against an S3 that loses answers, breaks off bodies, asks for patience, or ignores conditions.

use mr_s3_server::{ACCESS_KEY, Options, SECRET_KEY, Server, Service};
use mr_storage::{GetOptions, Put, S3 as Store3, Store, StoreError, check_conditional_writes};
use s3s::dto::*;
use s3s::{S3, S3Request, S3Response, S3Result, s3_error};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// What goes wrong, and how many times it still will.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Fault {
    LoseAnswerOfPut,
    LoseAnswerOfComplete,
    SlowDownInsideComplete,
    GarbleAnswerOfComplete,
    BreakOffBody,
    RefuseGet(Answer),
    IgnoreConditions,
    TakeTime,
    CutListing,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Answer {
    SlowDown,
    InternalError,
    AccessDenied,
}

#[derive(Clone)]
struct Faulty {
    inner: Service,
    fault: Fault,
    left: Arc<AtomicUsize>,
    now: Arc<AtomicUsize>,
    most: Arc<AtomicUsize>,
}

impl Faulty {
    fn strikes(&self, fault: Fault) -> bool {
        self.fault == fault
            && self.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok()
    }
}

/// Operations that pass as they are.
macro_rules! pass {
    ($($name:ident $input:ident $output:ident,)*) => {
        #[async_trait::async_trait]
        impl S3 for Faulty {
            $(async fn $name(&self, request: S3Request<$input>) -> S3Result<S3Response<$output>> {
                self.inner.$name(request).await
            })*

            async fn put_object(&self, mut request: S3Request<PutObjectInput>) -> S3Result<S3Response<PutObjectOutput>> {
                if self.strikes(Fault::IgnoreConditions) {
                    (request.input.if_match, request.input.if_none_match) = (None, None);
                }
                let answer = self.inner.put_object(request).await?;
                match self.strikes(Fault::LoseAnswerOfPut) {
                    true => Err(s3_error!(InternalError)),
                    false => Ok(answer),
                }
            }

            async fn get_object(&self, request: S3Request<GetObjectInput>) -> S3Result<S3Response<GetObjectOutput>> {
                if let Fault::RefuseGet(answer) = self.fault
                    && self.strikes(self.fault)
                {
                    return Err(match answer {
                        Answer::SlowDown => s3_error!(SlowDown),
                        Answer::InternalError => s3_error!(InternalError),
                        Answer::AccessDenied => s3_error!(AccessDenied),
                    });
                }
                if self.fault == Fault::TakeTime {
                    self.most.fetch_max(self.now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    self.now.fetch_sub(1, Ordering::SeqCst);
                }
                let mut answer = self.inner.get_object(request).await?;
                if self.strikes(Fault::BreakOffBody) {
                    let half = bytes::Bytes::from_static(b"ha");
                    answer.output.body = Some(StreamingBlob::wrap(futures::stream::iter([Ok::<_, std::io::Error>(half)])));
                }
                Ok(answer)
            }

            async fn list_objects_v2(&self, request: S3Request<ListObjectsV2Input>) -> S3Result<S3Response<ListObjectsV2Output>> {
                let mut answer = self.inner.list_objects_v2(request).await?;
                if self.strikes(Fault::CutListing) {
                    answer.output.is_truncated = Some(true);
                    answer.output.next_continuation_token = None;
                }
                Ok(answer)
            }

            async fn complete_multipart_upload(&self, request: S3Request<CompleteMultipartUploadInput>) -> S3Result<S3Response<CompleteMultipartUploadOutput>> {
                if self.strikes(Fault::SlowDownInsideComplete) {
                    // S3 sends the head of its answer before it knows the outcome.
                    let mut error = s3_error!(SlowDown);
                    error.set_status_code(http::StatusCode::OK);
                    return Err(error);
                }
                let answer = self.inner.complete_multipart_upload(request).await?;
                if self.strikes(Fault::GarbleAnswerOfComplete) {
                    let mut error = s3_error!(InternalError);
                    error.set_status_code(http::StatusCode::OK);
                    // An answer of this kind begins twice in s3s 0.14, and a client can't read it.
                    return Ok(S3Response::new(CompleteMultipartUploadOutput {
                        future: Some(Box::pin(async { Err(error) })),
                        ..Default::default()
                    }));
                }
                match self.strikes(Fault::LoseAnswerOfComplete) {
                    true => Err(s3_error!(InternalError)),
                    false => Ok(answer),
                }
            }
        }
    };
}

pass! {
    head_object HeadObjectInput HeadObjectOutput,
    delete_object DeleteObjectInput DeleteObjectOutput,
    create_multipart_upload CreateMultipartUploadInput CreateMultipartUploadOutput,
    upload_part UploadPartInput UploadPartOutput,
    abort_multipart_upload AbortMultipartUploadInput AbortMultipartUploadOutput,
}

struct World {
    server: Server,
    store: Store3,
    /// The most reads that were under way at once.
    most: Arc<AtomicUsize>,
}

async fn world(fault: Fault, times: usize) -> World {
    let options = Options { buckets: vec!["bucket".into()], ..Options::default() };
    let most = Arc::new(AtomicUsize::new(0));
    let wrap = |inner| Faulty {
        inner,
        fault,
        left: Arc::new(AtomicUsize::new(times)),
        now: Arc::default(),
        most: most.clone(),
    };
    let server = Server::start_with(options, wrap).await.expect("a port is free");
    let store = Store3::at(&server.endpoint, ACCESS_KEY, SECRET_KEY, "bucket", "");
    World { server, store, most }
}

async fn read(store: &Store3) -> Result<Vec<u8>, StoreError> {
    Ok(store.get("key", GetOptions::default()).await?.bytes.to_vec())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listing_that_does_not_go_on_is_none() {
    let w = world(Fault::CutListing, 1).await;
    w.store.put("key", "one".into(), Put::Overwrite).await.expect("writable");
    let cut = w.store.list("").await.expect_err("there may be more than one object");
    assert!(matches!(cut, StoreError::Fatal { .. }), "{cut:?}");
    assert_eq!(w.store.list("").await.expect("whole").len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_knows_its_own_object_again() {
    let w = world(Fault::LoseAnswerOfPut, 1).await;
    let first = w.store.put("key", "one".into(), Put::IfAbsent).await.expect("it was written, if unheard");
    assert_eq!(read(&w.store).await.expect("there"), b"one");
    let again = w.store.put("key", "one".into(), Put::IfAbsent).await;
    assert!(matches!(again, Err(StoreError::Exists { .. })), "another write of the same bytes is another: {again:?}");
    let second = w.store.put("key", "two".into(), Put::IfMatch(first)).await.expect("nobody came between");

    let w = world(Fault::LoseAnswerOfPut, 2).await;
    w.store.put("key", "one".into(), Put::Overwrite).await.expect("again is the same");
    let third = w.store.put("key", "two".into(), Put::IfMatch("f97c5d29941bfb1b2fdab0874906ab82".into())).await;
    assert_eq!(third.expect("the MD5 of `one` was there"), second);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_whose_answers_are_all_lost_looks_for_itself() {
    let w = world(Fault::LoseAnswerOfPut, usize::MAX).await;
    w.store.put("key", "one".into(), Put::Overwrite).await.expect("it is there");
    assert_eq!(read(&w.store).await.expect("there"), b"one");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_in_parts_knows_its_own_object_again() {
    let large = || bytes::Bytes::from(vec![7; 17 << 20]);
    for fault in [Fault::LoseAnswerOfComplete, Fault::SlowDownInsideComplete, Fault::GarbleAnswerOfComplete] {
        for how in [Put::IfAbsent, Put::Overwrite] {
            let w = world(fault, 1).await;
            w.store
                .put("key", large(), how.clone())
                .await
                .unwrap_or_else(|error| panic!("{fault:?} {how:?}: {error:?}"));
            assert_eq!(read(&w.store).await.expect("there"), large());
            let again = w.store.put("key", large(), Put::IfAbsent).await;
            assert!(matches!(again, Err(StoreError::Exists { .. })), "{again:?}");
            assert_eq!(w.server.buckets().open_uploads("bucket"), 0, "{fault:?} {how:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_breaks_off_is_read_again() {
    let w = world(Fault::BreakOffBody, 3).await;
    w.store.put("key", "whole".into(), Put::Overwrite).await.expect("written");
    assert_eq!(read(&w.store).await.expect("it comes in the end"), b"whole");
    let w = world(Fault::BreakOffBody, usize::MAX).await;
    w.store.put("key", "whole".into(), Put::Overwrite).await.expect("written");
    let broken = read(&w.store).await;
    assert!(matches!(broken, Err(StoreError::Transient { .. })), "{broken:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_keep_their_kind() {
    for (answer, wanted) in
        [(Answer::SlowDown, "Throttled"), (Answer::InternalError, "Transient"), (Answer::AccessDenied, "Denied")]
    {
        let w = world(Fault::RefuseGet(answer), usize::MAX).await;
        w.store.put("key", "x".into(), Put::Overwrite).await.expect("written");
        let error = read(&w.store).await.expect_err("refused");
        assert!(format!("{error:?}").starts_with(wanted), "{answer:?} gives {error:?}");
    }
    let w = world(Fault::RefuseGet(Answer::SlowDown), 2).await;
    w.store.put("key", "x".into(), Put::Overwrite).await.expect("written");
    assert_eq!(read(&w.store).await.expect("patience helps"), b"x");
}

#[tokio::test]
async fn a_stranger_is_denied_and_silence_is_transient() {
    let w = world(Fault::TakeTime, 0).await;
    let stranger = Store3::at(&w.server.endpoint, ACCESS_KEY, "wrong", "bucket", "");
    assert!(matches!(read(&stranger).await, Err(StoreError::Denied { .. })));
    let nobody = Store3::at("http://127.0.0.1:9", ACCESS_KEY, SECRET_KEY, "bucket", "");
    let error = read(&nobody).await.expect_err("nobody listens there");
    assert!(matches!(error, StoreError::Transient { .. }) && error.retryable(), "{error:?}");
}

#[tokio::test]
async fn a_store_that_ignores_conditions_is_refused() {
    let w = world(Fault::IgnoreConditions, usize::MAX).await;
    let error = check_conditional_writes(&w.store, "state/").await.expect_err("two writers would not see each other");
    let cause = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
    assert!(matches!(error, StoreError::Fatal { .. }) && cause.contains("If-None-Match"), "{error}: {cause}");
    assert!(!error.retryable());
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_in_flight_are_bounded() {
    let w = world(Fault::TakeTime, 0).await;
    w.store.put("key", "x".into(), Put::Overwrite).await.expect("written");
    let reads = futures::future::join_all((0..300).map(|_| read(&w.store))).await;
    assert!(reads.into_iter().all(|read| read.is_ok_and(|bytes| bytes == b"x")));
    let most = w.most.load(Ordering::SeqCst);
    assert!((16..=64).contains(&most), "{most} at once");
}
