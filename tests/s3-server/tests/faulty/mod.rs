//! An S3 that goes wrong in one way, so many times: between the protocol and the buckets of the test server.
#![allow(dead_code)] // each file of tests uses its part of it

use futures::{StreamExt, TryStreamExt};
use mr_s3_server::{ACCESS_KEY, Options, SECRET_KEY, Server, Service};
use mr_storage::{GetOptions, Patience, S3 as Store3, Store, StoreError};
use s3s::dto::*;
use s3s::{S3, S3Error, S3Request, S3Response, S3Result, s3_error};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Fault {
    Nothing,
    /// It is refused, and not done.
    Refuse(Operation, Answer),
    /// The same behind a head that says 200: S3 sends that before it knows how copies and completed uploads end.
    RefuseInside(Operation, Answer),
    /// It is done, and the answer is an internal error.
    LoseAnswer(Operation),
    /// Another write of the key is under way: 409, with nothing done. `true`: that other write takes effect.
    Race(Operation, bool),
    GarbleAnswerOfComplete,
    BreakOffBody,
    /// Half of a body comes, and then nothing more.
    StallBody,
    /// One bit of a body, whatever is said of it.
    FlipBit,
    IgnoreConditions,
    TakeTime,
    /// A second passes before it is done, and nothing is said meanwhile. Clients here have half of that for answers that
    /// take a store no labour.
    Hold(Operation),
    CutListing,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Operation {
    Get,
    Head,
    Put,
    Delete,
    /// Pages after the first.
    List,
    Copy,
    Part,
    Complete,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Answer {
    SlowDown,
    InternalError,
    AccessDenied,
}

/// What is said of bodies, beside their length.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Sums {
    /// A checksum, of the whole or of the parts' sums.
    Checksums,
    /// An MD5 for an ETag and nothing else.
    Etags,
    /// Nothing: the ETag looks like an MD5 and is another.
    ForeignEtags,
    /// The same, and the store says so, as S3 does of what is encrypted with a service's keys.
    Encrypted,
}

#[derive(Clone)]
pub struct Faulty {
    inner: Service,
    fault: Fault,
    sums: Sums,
    left: Arc<AtomicUsize>,
    now: Arc<AtomicUsize>,
    most: Arc<AtomicUsize>,
    gets: Arc<AtomicUsize>,
}

impl Answer {
    fn error(self) -> S3Error {
        match self {
            Answer::SlowDown => s3_error!(SlowDown),
            Answer::InternalError => s3_error!(InternalError),
            Answer::AccessDenied => s3_error!(AccessDenied),
        }
    }
}

impl Faulty {
    fn strikes(&self, fault: Fault) -> bool {
        self.fault == fault
            && self.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok()
    }

    /// Before the operation.
    fn refuse(&self, operation: Operation) -> S3Result<()> {
        match self.fault {
            Fault::Refuse(of, answer) if of == operation && self.strikes(self.fault) => Err(answer.error()),
            Fault::RefuseInside(of, answer) if of == operation && self.strikes(self.fault) => {
                let mut error = answer.error();
                error.set_status_code(http::StatusCode::OK);
                Err(error)
            }
            Fault::Race(of, false) if of == operation && self.strikes(self.fault) => {
                Err(s3_error!(ConditionalRequestConflict))
            }
            _ => Ok(()),
        }
    }

    async fn hold(&self, operation: Operation) {
        if self.strikes(Fault::Hold(operation)) {
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    }

    /// After it.
    fn lose<T>(&self, operation: Operation, answer: T) -> S3Result<T> {
        match self.strikes(Fault::LoseAnswer(operation)) {
            true => Err(s3_error!(InternalError)),
            false => Ok(answer),
        }
    }

    /// The same ETag for the same object, and yet no MD5 of it.
    fn foreign(&self, etag: Option<ETag>) -> Option<ETag> {
        match self.sums {
            Sums::Checksums | Sums::Etags => etag,
            Sums::ForeignEtags | Sums::Encrypted => {
                etag.map(|etag| ETag::Strong(etag.into_value().chars().rev().collect()))
            }
        }
    }

    fn spoil(&self, output: &mut GetObjectOutput) {
        if self.sums != Sums::Checksums {
            (output.checksum_crc32, output.checksum_type) = (None, None);
        }
        if self.sums == Sums::Encrypted {
            output.server_side_encryption = Some(ServerSideEncryption::from_static(ServerSideEncryption::AWS_KMS));
        }
        output.e_tag = self.foreign(output.e_tag.take());
        let half = usize::try_from(output.content_length.unwrap_or_default()).unwrap_or_default() / 2;
        let Some(body) = output.body.take() else { return };
        // The server sends a body in one piece.
        let body = body.map(|bytes| bytes.map_err(std::io::Error::other));
        output.body = Some(if self.strikes(Fault::BreakOffBody) {
            StreamingBlob::wrap(body.map_ok(move |bytes| bytes.slice(..half)))
        } else if self.strikes(Fault::StallBody) {
            StreamingBlob::wrap(body.map_ok(move |bytes| bytes.slice(..half)).chain(futures::stream::pending()))
        } else if self.strikes(Fault::FlipBit) {
            StreamingBlob::wrap(body.map_ok(move |bytes| {
                let mut flipped = bytes.to_vec();
                flipped[half] ^= 1;
                flipped.into()
            }))
        } else {
            StreamingBlob::wrap(body)
        });
    }
}

/// Operations that may be refused, or lose their answer.
macro_rules! operations {
    ($($name:ident $input:ident $output:ident $operation:ident,)*) => {
        #[async_trait::async_trait]
        impl S3 for Faulty {
            $(async fn $name(&self, request: S3Request<$input>) -> S3Result<S3Response<$output>> {
                self.refuse(Operation::$operation)?;
                self.hold(Operation::$operation).await;
                let answer = self.inner.$name(request).await?;
                self.lose(Operation::$operation, answer)
            })*

            async fn create_multipart_upload(&self, request: S3Request<CreateMultipartUploadInput>) -> S3Result<S3Response<CreateMultipartUploadOutput>> {
                self.inner.create_multipart_upload(request).await
            }

            async fn abort_multipart_upload(&self, request: S3Request<AbortMultipartUploadInput>) -> S3Result<S3Response<AbortMultipartUploadOutput>> {
                self.inner.abort_multipart_upload(request).await
            }

            async fn put_object(&self, mut request: S3Request<PutObjectInput>) -> S3Result<S3Response<PutObjectOutput>> {
                self.refuse(Operation::Put)?;
                if self.strikes(Fault::IgnoreConditions) {
                    (request.input.if_match, request.input.if_none_match) = (None, None);
                }
                if self.strikes(Fault::Race(Operation::Put, true)) {
                    (request.input.if_match, request.input.if_none_match, request.input.metadata) = (None, None, None);
                    self.inner.put_object(request).await?;
                    return Err(s3_error!(ConditionalRequestConflict));
                }
                let mut answer = self.inner.put_object(request).await?;
                answer.output.e_tag = self.foreign(answer.output.e_tag.take());
                self.lose(Operation::Put, answer)
            }

            async fn get_object(&self, request: S3Request<GetObjectInput>) -> S3Result<S3Response<GetObjectOutput>> {
                self.refuse(Operation::Get)?;
                self.gets.fetch_add(1, Ordering::SeqCst);
                self.hold(Operation::Get).await;
                if self.fault == Fault::TakeTime {
                    self.most.fetch_max(self.now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    self.now.fetch_sub(1, Ordering::SeqCst);
                }
                let mut answer = self.inner.get_object(request).await?;
                self.spoil(&mut answer.output);
                Ok(answer)
            }

            async fn list_objects_v2(&self, request: S3Request<ListObjectsV2Input>) -> S3Result<S3Response<ListObjectsV2Output>> {
                if request.input.continuation_token.is_some() {
                    self.refuse(Operation::List)?;
                }
                let mut answer = self.inner.list_objects_v2(request).await?;
                if self.strikes(Fault::CutListing) {
                    answer.output.is_truncated = Some(true);
                    answer.output.next_continuation_token = None;
                }
                Ok(answer)
            }

            async fn complete_multipart_upload(&self, request: S3Request<CompleteMultipartUploadInput>) -> S3Result<S3Response<CompleteMultipartUploadOutput>> {
                self.refuse(Operation::Complete)?;
                self.hold(Operation::Complete).await;
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
                self.lose(Operation::Complete, answer)
            }
        }
    };
}

operations! {
    head_object HeadObjectInput HeadObjectOutput Head,
    delete_object DeleteObjectInput DeleteObjectOutput Delete,
    copy_object CopyObjectInput CopyObjectOutput Copy,
    upload_part UploadPartInput UploadPartOutput Part,
}

pub struct World {
    pub server: Server,
    pub store: Store3,
    /// How many faults are still to come.
    pub left: Arc<AtomicUsize>,
    /// The most reads that were under way at once.
    pub most: Arc<AtomicUsize>,
    pub gets: Arc<AtomicUsize>,
}

pub async fn world(fault: Fault, times: usize) -> World {
    world_with(fault, times, Sums::Checksums).await
}

pub async fn world_with(fault: Fault, times: usize, sums: Sums) -> World {
    let options = Options { buckets: vec!["bucket".into()], page_keys: 3, ..Options::default() };
    let (most, gets) = (Arc::<AtomicUsize>::default(), Arc::<AtomicUsize>::default());
    let (now, left) = (Arc::default(), Arc::new(AtomicUsize::new(times)));
    let counters = (left.clone(), most.clone(), gets.clone());
    let wrap = |inner| {
        let (left, most, gets) = counters;
        Faulty { inner, fault, sums, left, now, most, gets }
    };
    let server = Server::start_with(options, wrap).await.expect("a port is free");
    let mut patience = Patience { body: Duration::from_secs(1), ..Patience::default() };
    if let Fault::Hold(_) = fault {
        patience.answer = Duration::from_millis(500);
    }
    let store = Store3::patient(&server.endpoint, [ACCESS_KEY, SECRET_KEY], "bucket", "", patience);
    World { server, store, left, most, gets }
}

impl World {
    /// Whether all that was to go wrong did.
    pub fn all_struck(&self) -> bool {
        self.left.load(Ordering::SeqCst) == 0
    }
}

pub async fn read(store: &Store3) -> Result<Vec<u8>, StoreError> {
    Ok(store.get("key", GetOptions::default()).await?.bytes.to_vec())
}

/// More than goes up at once.
pub fn large() -> bytes::Bytes {
    bytes::Bytes::from(vec![7; 17 << 20])
}
