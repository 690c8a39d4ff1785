//! A large body goes up in parts, several at once, and becomes an object with the last request alone.

use super::answers::{classify, unquoted};
use super::body::Body;
use super::{PART_BYTES, S3, TOKEN, quoted};
use crate::pace::Request;
use crate::{Put, StoreError};
use aws_sdk_s3::Client;
use aws_sdk_s3::types::{ChecksumAlgorithm, CompletedMultipartUpload, CompletedPart};
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};

/// A few parts fill a line; more would take the places of small reads.
const PARTS_AT_ONCE: usize = 4;

impl S3 {
    pub(super) async fn put_in_parts(
        &self,
        key: &str,
        body: &Body,
        how: &Put,
        token: &str,
    ) -> Result<String, StoreError> {
        let mut upload = Upload::begin(self, key, token).await?;
        let parts = upload.send(self, body).await;
        let done = match parts {
            Ok(parts) => upload.complete(self, parts, how).await,
            Err(error) => Err(error),
        };
        // Whatever became of it: a completed upload is no longer there, and the parts of another would cost money.
        if done.is_err() {
            upload.abort(self).await;
        }
        upload.open = false;
        done
    }
}

/// An upload that has begun. Dropped halfway, it is aborted all the same.
struct Upload {
    client: Client,
    bucket: String,
    key: String,
    id: String,
    doing: String,
    open: bool,
}

impl Upload {
    async fn begin(store: &S3, key: &str, token: &str) -> Result<Self, StoreError> {
        let doing = store.doing("writing in parts", key);
        let full = store.full(key);
        let answer = store.ask(Request::CreateUpload, || async {
            let request = store.client.create_multipart_upload().bucket(&store.bucket).key(&full);
            // S3 refuses parts with sums of a kind that was not announced.
            let request = request.set_checksum_algorithm(store.sums_sent.then_some(ChecksumAlgorithm::Crc32));
            let answer = request.metadata(TOKEN, token).send().await;
            answer.map_err(|error| classify(error, doing.clone(), None))
        });
        let answer = answer.await?;
        let Some(id) = answer.upload_id() else {
            return Err(StoreError::fatal(doing, "the store gave no upload id"));
        };
        Ok(Self {
            client: store.client.clone(),
            bucket: store.bucket.clone(),
            key: full,
            id: id.into(),
            doing,
            open: true,
        })
    }

    async fn send(&self, store: &S3, body: &Body) -> Result<Vec<CompletedPart>, StoreError> {
        let starts = (0..body.length()).step_by(PART_BYTES);
        let parts = starts.zip(1..).map(|(start, number)| async move {
            let range = start..body.length().min(start + PART_BYTES as u64);
            let part = body.cut(range, || self.doing.clone()).await?;
            self.send_part(store, part, number).await
        });
        let mut parts: Vec<_> = stream::iter(parts).buffer_unordered(PARTS_AT_ONCE).try_collect().await?;
        parts.sort_unstable_by_key(CompletedPart::part_number);
        Ok(parts)
    }

    async fn send_part(&self, store: &S3, part: Bytes, number: i32) -> Result<CompletedPart, StoreError> {
        let answer = store.ask(Request::UploadPart, || async {
            let request = self.client.upload_part().bucket(&self.bucket).key(&self.key).upload_id(&self.id);
            let request = request.part_number(number).body(part.clone().into()).customize();
            let answer = request.config_override(store.laborious.clone()).send().await;
            let answer = answer.map_err(|error| classify(error, self.doing.clone(), None))?;
            store.moved(0, part.len() as u64);
            Ok(answer)
        });
        let answer = answer.await?;
        // What the store worked out over each part, it wants to hear again.
        Ok(CompletedPart::builder()
            .part_number(number)
            .set_e_tag(answer.e_tag)
            .set_checksum_crc32(answer.checksum_crc32)
            .set_checksum_crc32_c(answer.checksum_crc32_c)
            .set_checksum_crc64_nvme(answer.checksum_crc64_nvme)
            .set_checksum_sha1(answer.checksum_sha1)
            .set_checksum_sha256(answer.checksum_sha256)
            .build())
    }

    async fn complete(&self, store: &S3, parts: Vec<CompletedPart>, how: &Put) -> Result<String, StoreError> {
        let parts = CompletedMultipartUpload::builder().set_parts(Some(parts)).build();
        store
            .ask(Request::CompleteUpload, || async {
                let request = self.client.complete_multipart_upload().bucket(&self.bucket).key(&self.key);
                let request = request.upload_id(&self.id).multipart_upload(parts.clone());
                let request = match how {
                    Put::Overwrite | Put::Temporary => request,
                    Put::IfAbsent => request.if_none_match("*"),
                    Put::IfMatch(etag) => request.if_match(quoted(etag)),
                };
                let answer = request.customize().config_override(store.laborious.clone()).send().await;
                let answer = answer.map_err(|error| classify(error, self.doing.clone(), Some(how)))?;
                unquoted(answer.e_tag(), || self.doing.clone())
            })
            .await
    }

    async fn abort(&self, store: &S3) {
        let answer = store.ask(Request::AbortUpload, || async {
            let request = self.client.abort_multipart_upload().bucket(&self.bucket).key(&self.key);
            let answer = request.upload_id(&self.id).send().await;
            answer.map_err(|error| classify(error, self.doing.clone(), None))
        });
        if let Err(error) = answer.await {
            // Gone already, most likely; a bucket rule sweeps what is not.
            tracing::debug!(key = %self.key, error = &error as &dyn std::error::Error, "aborting the upload failed");
        }
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        let Ok(runtime) = tokio::runtime::Handle::try_current() else {
            return;
        };
        if self.open {
            let abort = self.client.abort_multipart_upload().bucket(&self.bucket).key(&self.key).upload_id(&self.id);
            // Nobody is left to wait for it; should it not get through, a bucket rule sweeps the parts.
            runtime.spawn(abort.send());
        }
    }
}
