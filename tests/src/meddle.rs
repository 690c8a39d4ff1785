//! Somebody between the S3 protocol and the buckets, who sees each request before it is applied and after, knows by its
//! access key whose it is, and may do as he likes with it: refuse it, lose or spoil the answer, or kill whoever asked.

use futures::{StreamExt, TryStreamExt};
use mr_s3_server::{ACCESS_KEY, Service};
use s3s::dto::*;
use s3s::{S3, S3Error, S3ErrorCode, S3Request, S3Response, S3Result, s3_error};
use std::sync::Arc;
use std::time::Duration;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    Get,
    Head,
    Put,
    Delete,
    List,
    Copy,
    Begin,
    Part,
    Complete,
    Abort,
    HeadBucket,
    CreateBucket,
}

/// A request as the store sees it.
#[derive(Clone, Debug)]
pub struct Seen {
    /// What was added to the access key; empty for a test's own.
    pub client: String,
    pub operation: Operation,
    pub bucket: String,
    /// What is written or read; of a listing its prefix.
    pub key: String,
    /// What is copied: its bucket and its key.
    pub source: Option<(String, String)>,
    pub conditional: bool,
}

/// What becomes of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Before {
    Apply,
    /// After a while.
    Wait(Duration),
    Refuse(Answer),
    /// The same behind a head that says 200.
    RefuseInside(Answer),
    /// Nothing is done and nobody is answered.
    Never,
}

/// What becomes of the answer to one that was applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum After {
    Answer,
    /// It is an internal error.
    Lose,
    /// Half of the body comes, and then the connection ends.
    CutBody,
    Never,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    SlowDown,
    InternalError,
    Conflict,
    Denied,
    Missing,
}

/// Asked about each request. May block for as long as it takes to kill a process.
pub trait Meddler: Send + Sync + 'static {
    fn before(&self, seen: &Seen) -> Before;
    fn after(&self, seen: &Seen) -> After;
    /// Whether that is told from what one may not see.
    fn tells_missing(&self, seen: &Seen) -> bool {
        let _ = seen;
        true
    }
}

#[derive(Clone)]
pub(crate) struct Meddled {
    pub inner: Service,
    pub meddler: Arc<dyn Meddler>,
}

impl Answer {
    fn error(self) -> S3Error {
        match self {
            Answer::SlowDown => s3_error!(SlowDown),
            Answer::InternalError => s3_error!(InternalError),
            Answer::Conflict => s3_error!(ConditionalRequestConflict),
            Answer::Denied => s3_error!(AccessDenied),
            Answer::Missing => s3_error!(NoSuchKey),
        }
    }
}

impl Meddled {
    async fn before(&self, seen: &Seen) -> S3Result<()> {
        match self.meddler.before(seen) {
            Before::Apply => Ok(()),
            Before::Wait(time) => {
                tokio::time::sleep(time).await;
                Ok(())
            }
            Before::Refuse(answer) => Err(answer.error()),
            Before::RefuseInside(answer) => {
                let mut error = answer.error();
                error.set_status_code(http::StatusCode::OK);
                Err(error)
            }
            Before::Never => std::future::pending().await,
        }
    }

    /// What the store says, or as little as it says to one who may not know what there is.
    fn told<T>(&self, seen: &Seen, answer: S3Result<T>) -> S3Result<T> {
        match answer {
            Err(error) if error.code() == &S3ErrorCode::NoSuchKey && !self.meddler.tells_missing(seen) => {
                Err(s3_error!(AccessDenied))
            }
            answer => answer,
        }
    }

    /// `true`: the body is to be cut.
    async fn after(&self, seen: &Seen) -> S3Result<bool> {
        match self.meddler.after(seen) {
            After::Answer => Ok(false),
            After::CutBody => Ok(true),
            After::Lose => Err(s3_error!(InternalError)),
            After::Never => std::future::pending().await,
        }
    }
}

fn seen<T>(request: &S3Request<T>, operation: Operation, bucket: &str, key: &str, conditional: bool) -> Seen {
    let access_key = request.credentials.as_ref().map_or("", |credentials| &credentials.access_key);
    let client = access_key.strip_prefix(ACCESS_KEY).unwrap_or(access_key).trim_start_matches('-');
    Seen {
        client: client.to_owned(),
        operation,
        bucket: bucket.to_owned(),
        key: key.to_owned(),
        source: None,
        conditional,
    }
}

fn cut(output: &mut GetObjectOutput) {
    let half = usize::try_from(output.content_length.unwrap_or_default()).unwrap_or_default() / 2;
    // The server sends a body in one piece.
    let body = output.body.take().map(|body| body.map(|bytes| bytes.map_err(std::io::Error::other)));
    output.body = body.map(|body| StreamingBlob::wrap(body.map_ok(move |bytes| bytes.slice(..half))));
}

macro_rules! operations {
    ($($name:ident $operation:ident $input:ident $output:ident |$request:ident| $key:expr, $conditional:expr;)*) => {
        #[async_trait::async_trait]
        impl S3 for Meddled {
            $(async fn $name(&self, $request: S3Request<$input>) -> S3Result<S3Response<$output>> {
                let seen = seen(&$request, Operation::$operation, &$request.input.bucket, $key, $conditional);
                self.before(&seen).await?;
                let answer = self.told(&seen, self.inner.$name($request).await)?;
                self.after(&seen).await?;
                Ok(answer)
            })*

            async fn copy_object(&self, request: S3Request<CopyObjectInput>) -> S3Result<S3Response<CopyObjectOutput>> {
                let source = match &request.input.copy_source {
                    CopySource::Bucket { bucket, key, .. } => Some((bucket.to_string(), key.to_string())),
                    _ => None,
                };
                let (bucket, key) = (&request.input.bucket, &request.input.key);
                let seen = Seen { source, ..seen(&request, Operation::Copy, bucket, key, false) };
                self.before(&seen).await?;
                let answer = self.inner.copy_object(request).await?;
                self.after(&seen).await?;
                Ok(answer)
            }

            /// As with S3 each key is judged by itself, and the answer is 200 whatever comes of them.
            async fn delete_objects(
                &self,
                mut request: S3Request<DeleteObjectsInput>,
            ) -> S3Result<S3Response<DeleteObjectsOutput>> {
                let mut errors = Vec::new();
                for object in std::mem::take(&mut request.input.delete.objects) {
                    let seen = seen(&request, Operation::Delete, &request.input.bucket, &object.key, false);
                    match self.before(&seen).await {
                        Ok(()) => request.input.delete.objects.push(object),
                        Err(error) => {
                            let code = Some(error.code().as_str().to_owned());
                            errors.push(s3s::dto::Error { code, key: Some(object.key), ..Default::default() });
                        }
                    }
                }
                let mut answer = self.inner.delete_objects(request).await?;
                answer.output.errors = Some(errors);
                Ok(answer)
            }

            async fn get_object(&self, request: S3Request<GetObjectInput>) -> S3Result<S3Response<GetObjectOutput>> {
                let (bucket, key) = (&request.input.bucket, &request.input.key);
                let seen = seen(&request, Operation::Get, bucket, key, request.input.if_match.is_some());
                self.before(&seen).await?;
                let mut answer = self.told(&seen, self.inner.get_object(request).await)?;
                if self.after(&seen).await? {
                    cut(&mut answer.output);
                }
                Ok(answer)
            }
        }
    };
}

operations! {
    create_bucket CreateBucket CreateBucketInput CreateBucketOutput |request| "", false;
    head_bucket HeadBucket HeadBucketInput HeadBucketOutput |request| "", false;
    head_object Head HeadObjectInput HeadObjectOutput |request| &request.input.key, false;
    put_object Put PutObjectInput PutObjectOutput |request| &request.input.key,
        request.input.if_match.is_some() || request.input.if_none_match.is_some();
    delete_object Delete DeleteObjectInput DeleteObjectOutput |request| &request.input.key, false;
    list_objects_v2 List ListObjectsV2Input ListObjectsV2Output |request| request.input.prefix.as_deref().unwrap_or_default(), false;
    create_multipart_upload Begin CreateMultipartUploadInput CreateMultipartUploadOutput |request| &request.input.key, false;
    upload_part Part UploadPartInput UploadPartOutput |request| &request.input.key, false;
    complete_multipart_upload Complete CompleteMultipartUploadInput CompleteMultipartUploadOutput |request| &request.input.key,
        request.input.if_match.is_some() || request.input.if_none_match.is_some();
    abort_multipart_upload Abort AbortMultipartUploadInput AbortMultipartUploadOutput |request| &request.input.key, false;
}
