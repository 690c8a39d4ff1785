//! S3's operations on the buckets: what `s3s` has parsed comes in, what it will write goes out.

use crate::REGION;
use crate::buckets::{Buckets, Condition, Stored, Sum};
use bytes::{Bytes, BytesMut};
use futures::{StreamExt, stream};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use s3s::dto::*;
use s3s::{S3, S3Request, S3Response, S3Result, TrailingHeaders, s3_error};
use std::io;
use std::sync::Arc;

const LISTED: &AsciiSet =
    &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~').remove(b'/').remove(b' ');

/// The server as S3 sees it. Clones share their buckets.
#[derive(Clone, Debug)]
pub struct Service {
    buckets: Arc<Buckets>,
    page_keys: usize,
}

impl Service {
    pub(crate) fn new(buckets: Arc<Buckets>, page_keys: usize) -> Self {
        Self { buckets, page_keys }
    }
}

#[async_trait::async_trait]
impl S3 for Service {
    async fn create_bucket(&self, request: S3Request<CreateBucketInput>) -> S3Result<S3Response<CreateBucketOutput>> {
        self.buckets.create(&request.input.bucket);
        Ok(S3Response::new(CreateBucketOutput::default()))
    }

    async fn head_bucket(&self, request: S3Request<HeadBucketInput>) -> S3Result<S3Response<HeadBucketOutput>> {
        self.buckets.exists(&request.input.bucket)?;
        Ok(S3Response::new(HeadBucketOutput { bucket_region: Some(REGION.into()), ..Default::default() }))
    }

    async fn get_object(&self, request: S3Request<GetObjectInput>) -> S3Result<S3Response<GetObjectOutput>> {
        let input = request.input;
        let stored = self.buckets.get(&input.bucket, &input.key)?;
        check_read(&stored, input.if_match.as_ref(), input.if_none_match.as_ref())?;
        let whole = stored.bytes.len() as u64;
        let range = match input.range {
            Some(range) => Some(range.check(whole)?),
            None => None,
        };
        let bytes = match &range {
            Some(range) => stored.bytes.slice(range.start as usize..range.end as usize),
            None => stored.bytes.clone(),
        };
        // The checksum is that of the whole.
        let summed = range.is_none() && wants_checksum(input.checksum_mode.as_ref());
        let kind = match stored.sum {
            Sum::Whole(_) => ChecksumType::FULL_OBJECT,
            Sum::Parts(..) => ChecksumType::COMPOSITE,
        };
        Ok(S3Response::new(GetObjectOutput {
            accept_ranges: Some("bytes".into()),
            content_length: Some(bytes.len() as i64),
            content_range: range.map(|range| format!("bytes {}-{}/{whole}", range.start, range.end - 1)),
            body: Some(blob(bytes)),
            checksum_crc32: summed.then(|| in_base64(stored.sum)),
            checksum_type: summed.then(|| ChecksumType::from_static(kind)),
            e_tag: Some(ETag::Strong(stored.etag.clone())),
            last_modified: Some(stored.modified.into()),
            metadata: stored.metadata.clone(),
            ..Default::default()
        }))
    }

    async fn head_object(&self, request: S3Request<HeadObjectInput>) -> S3Result<S3Response<HeadObjectOutput>> {
        let input = request.input;
        let stored = self.buckets.get(&input.bucket, &input.key)?;
        check_read(&stored, input.if_match.as_ref(), input.if_none_match.as_ref())?;
        Ok(S3Response::new(HeadObjectOutput {
            accept_ranges: Some("bytes".into()),
            content_length: Some(stored.bytes.len() as i64),
            e_tag: Some(ETag::Strong(stored.etag.clone())),
            last_modified: Some(stored.modified.into()),
            metadata: stored.metadata.clone(),
            ..Default::default()
        }))
    }

    async fn put_object(&self, request: S3Request<PutObjectInput>) -> S3Result<S3Response<PutObjectOutput>> {
        let (input, trailers) = (request.input, request.trailing_headers);
        // The body is read whatever becomes of the write: an unread one would break the connection.
        let bytes = read(input.body, input.content_length).await?;
        let stored = Stored::new(bytes, input.metadata);
        check_sum(&stored, input.checksum_crc32.as_deref(), trailers.as_ref())?;
        let (etag, crc32) = (stored.etag.clone(), in_base64(stored.sum));
        let condition = condition(input.if_match, input.if_none_match)?;
        self.buckets.put(&input.bucket, &input.key, stored, &condition)?;
        Ok(S3Response::new(PutObjectOutput {
            e_tag: Some(ETag::Strong(etag)),
            checksum_crc32: Some(crc32),
            ..Default::default()
        }))
    }

    async fn delete_object(&self, request: S3Request<DeleteObjectInput>) -> S3Result<S3Response<DeleteObjectOutput>> {
        self.buckets.delete(&request.input.bucket, &request.input.key)?;
        Ok(S3Response::new(DeleteObjectOutput::default()))
    }

    async fn delete_objects(
        &self,
        request: S3Request<DeleteObjectsInput>,
    ) -> S3Result<S3Response<DeleteObjectsOutput>> {
        let input = request.input;
        let mut deleted = Vec::new();
        for object in input.delete.objects {
            self.buckets.delete(&input.bucket, &object.key)?;
            deleted.push(DeletedObject { key: Some(object.key), ..Default::default() });
        }
        let quiet = input.delete.quiet == Some(true);
        Ok(S3Response::new(DeleteObjectsOutput { deleted: (!quiet).then_some(deleted), ..Default::default() }))
    }

    async fn list_objects_v2(
        &self,
        request: S3Request<ListObjectsV2Input>,
    ) -> S3Result<S3Response<ListObjectsV2Output>> {
        let input = request.input;
        let prefix = input.prefix.unwrap_or_default();
        let keys_max = input.max_keys.and_then(|keys| usize::try_from(keys).ok());
        let keys_max = keys_max.unwrap_or(self.page_keys).min(self.page_keys);
        let token = input.continuation_token.as_deref().map(key_of).transpose()?;
        let after = token.as_ref().or(input.start_after.as_ref());
        let page = self.buckets.list(
            &input.bucket,
            &prefix,
            input.delimiter.as_deref(),
            after.map(String::as_str),
            keys_max,
        )?;
        let by_url = input.encoding_type.as_ref().is_some_and(|encoding| encoding.as_str() == EncodingType::URL);
        let shown = |text: String| if by_url { encoded(&text) } else { text };
        let key_count = page.objects.len() + page.folders.len();
        let objects = page.objects.into_iter().map(|(key, stored)| Object {
            key: Some(shown(key)),
            size: Some(stored.bytes.len() as i64),
            e_tag: Some(ETag::Strong(stored.etag.clone())),
            last_modified: Some(stored.modified.into()),
            ..Default::default()
        });
        let folders = page.folders.into_iter().map(|folder| CommonPrefix { prefix: Some(shown(folder)) });
        Ok(S3Response::new(ListObjectsV2Output {
            contents: Some(objects.collect()),
            common_prefixes: Some(folders.collect()),
            name: Some(input.bucket),
            prefix: Some(shown(prefix)),
            delimiter: input.delimiter.map(shown),
            start_after: input.start_after.map(shown),
            encoding_type: input.encoding_type,
            key_count: Some(key_count as i32),
            max_keys: Some(keys_max as i32),
            is_truncated: Some(page.next_after.is_some()),
            continuation_token: input.continuation_token,
            next_continuation_token: page.next_after.as_deref().map(token_of),
            ..Default::default()
        }))
    }

    async fn copy_object(&self, request: S3Request<CopyObjectInput>) -> S3Result<S3Response<CopyObjectOutput>> {
        let input = request.input;
        let CopySource::Bucket { bucket, key, .. } = &input.copy_source else {
            return Err(s3_error!(NotImplemented, "only a bucket's object can be copied"));
        };
        let source = self.buckets.get(bucket, key)?;
        check_read(&source, input.copy_source_if_match.as_ref(), input.copy_source_if_none_match.as_ref())?;
        // A copy is one body again, whatever its source was made of.
        let copy = Stored::new(source.bytes.clone(), input.metadata.or(source.metadata.clone()));
        let result = CopyObjectResult {
            e_tag: Some(ETag::Strong(copy.etag.clone())),
            last_modified: Some(copy.modified.into()),
            ..Default::default()
        };
        self.buckets.put(&input.bucket, &input.key, copy, &Condition::None)?;
        Ok(S3Response::new(CopyObjectOutput { copy_object_result: Some(result), ..Default::default() }))
    }

    async fn create_multipart_upload(
        &self,
        request: S3Request<CreateMultipartUploadInput>,
    ) -> S3Result<S3Response<CreateMultipartUploadOutput>> {
        let input = request.input;
        let id = self.buckets.begin_upload(&input.bucket, &input.key, input.metadata)?;
        Ok(S3Response::new(CreateMultipartUploadOutput {
            bucket: Some(input.bucket),
            key: Some(input.key),
            upload_id: Some(id),
            ..Default::default()
        }))
    }

    async fn upload_part(&self, request: S3Request<UploadPartInput>) -> S3Result<S3Response<UploadPartOutput>> {
        let (input, trailers) = (request.input, request.trailing_headers);
        let part = Stored::new(read(input.body, input.content_length).await?, None);
        check_sum(&part, input.checksum_crc32.as_deref(), trailers.as_ref())?;
        let (etag, crc32) = (part.etag.clone(), in_base64(part.sum));
        self.buckets.put_part(&input.bucket, &input.key, &input.upload_id, input.part_number, part)?;
        Ok(S3Response::new(UploadPartOutput {
            e_tag: Some(ETag::Strong(etag)),
            checksum_crc32: Some(crc32),
            ..Default::default()
        }))
    }

    async fn complete_multipart_upload(
        &self,
        request: S3Request<CompleteMultipartUploadInput>,
    ) -> S3Result<S3Response<CompleteMultipartUploadOutput>> {
        let input = request.input;
        let condition = condition(input.if_match, input.if_none_match)?;
        let named = input.multipart_upload.and_then(|upload| upload.parts).unwrap_or_default();
        let named = named.into_iter().map(|part| match (part.part_number, part.e_tag) {
            (Some(number), Some(etag)) => Ok((number, etag.into_value())),
            _ => Err(s3_error!(MalformedXML)),
        });
        let named = named.collect::<S3Result<Vec<_>>>()?;
        let stored = self.buckets.complete_upload(&input.bucket, &input.key, &input.upload_id, &named, &condition)?;
        Ok(S3Response::new(CompleteMultipartUploadOutput {
            bucket: Some(input.bucket),
            key: Some(input.key),
            e_tag: Some(ETag::Strong(stored.etag.clone())),
            ..Default::default()
        }))
    }

    async fn abort_multipart_upload(
        &self,
        request: S3Request<AbortMultipartUploadInput>,
    ) -> S3Result<S3Response<AbortMultipartUploadOutput>> {
        let input = request.input;
        self.buckets.abort_upload(&input.bucket, &input.key, &input.upload_id)?;
        Ok(S3Response::new(AbortMultipartUploadOutput::default()))
    }
}

fn check_read(
    stored: &Stored,
    if_match: Option<&ETagCondition>,
    if_none_match: Option<&ETagCondition>,
) -> S3Result<()> {
    let is = |condition: &ETagCondition| match condition {
        ETagCondition::Any => true,
        ETagCondition::ETag(etag) => etag.value() == stored.etag,
    };
    if if_match.is_some_and(|condition| !is(condition)) {
        return Err(s3_error!(PreconditionFailed));
    }
    if if_none_match.is_some_and(is) {
        return Err(s3_error!(NotModified));
    }
    Ok(())
}

/// A write may ask for one version or for none; S3 refuses anything else.
fn condition(if_match: Option<ETagCondition>, if_none_match: Option<ETagCondition>) -> S3Result<Condition> {
    match (if_match, if_none_match) {
        (None, None) => Ok(Condition::None),
        (None, Some(ETagCondition::Any)) => Ok(Condition::Absent),
        (Some(ETagCondition::ETag(etag)), None) => Ok(Condition::Etag(etag.into_value())),
        (_, Some(_)) | (Some(ETagCondition::Any), None) => {
            Err(s3_error!(NotImplemented, "such a condition is not for writes"))
        }
    }
}

async fn read(body: Option<StreamingBlob>, length: Option<i64>) -> S3Result<Bytes> {
    let mut bytes = BytesMut::new();
    if let Some(mut body) = body {
        while let Some(more) = body.next().await {
            bytes.extend_from_slice(&more.map_err(|error| s3_error!(IncompleteBody, "{error}"))?);
        }
    }
    match length {
        Some(length) if usize::try_from(length) != Ok(bytes.len()) => Err(s3_error!(IncompleteBody)),
        _ => Ok(bytes.freeze()),
    }
}

/// The checksum comes before the body or after it.
fn check_sum(stored: &Stored, header: Option<&str>, trailers: Option<&TrailingHeaders>) -> S3Result<()> {
    let trailer = trailers.and_then(TrailingHeaders::take);
    let trailer = trailer.as_ref().and_then(|headers| headers.get("x-amz-checksum-crc32"));
    let said = header.or(trailer.and_then(|value| value.to_str().ok()));
    match said {
        Some(said) if said != in_base64(stored.sum) => Err(s3_error!(BadDigest)),
        _ => Ok(()),
    }
}

fn in_base64(sum: Sum) -> String {
    match sum {
        Sum::Whole(crc32) => base64(crc32.to_be_bytes()),
        Sum::Parts(crc32, count) => format!("{}-{count}", base64(crc32.to_be_bytes())),
    }
}

fn wants_checksum(mode: Option<&ChecksumMode>) -> bool {
    mode.is_some_and(|mode| mode.as_str() == ChecksumMode::ENABLED)
}

fn blob(bytes: Bytes) -> StreamingBlob {
    StreamingBlob::wrap(stream::iter([Ok::<_, io::Error>(bytes)]))
}

/// As S3 writes keys in listings when asked to: a space is a plus.
fn encoded(text: &str) -> String {
    utf8_percent_encode(text, LISTED).to_string().replace(' ', "+")
}

/// Where a listing goes on, unreadable like S3's, so that nobody takes it for a key.
fn token_of(key: &str) -> String {
    key.bytes().map(|byte| format!("{:02x}", byte ^ 0x5a)).collect()
}

fn key_of(token: &str) -> S3Result<String> {
    let refuse = || s3_error!(InvalidArgument, "the continuation token is not one of ours");
    let digits = token.as_bytes().chunks(2);
    let bytes = digits.map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok());
    let bytes: Option<Vec<u8>> = bytes.map(|byte| byte.map(|byte| byte ^ 0x5a)).collect();
    String::from_utf8(bytes.ok_or_else(refuse)?).map_err(|_| refuse())
}

fn base64(bytes: [u8; 4]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    // Four bytes are five whole digits and a piece of the sixth.
    let bits = u64::from(u32::from_be_bytes(bytes)) << 4;
    let digits = (0..6).map(|at| DIGITS[(bits >> (30 - 6 * at)) as usize & 63] as char);
    digits.chain("==".chars()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksums_are_written_as_base64() {
        assert_eq!(base64([0, 0, 0, 0]), "AAAAAA==");
        assert_eq!(base64(*b"Many"), "TWFueQ==");
        assert_eq!(base64([255, 255, 255, 255]), "/////w==");
    }

    #[test]
    fn tokens_lead_back_to_their_keys() {
        for key in ["", "a/b c", "日本"] {
            assert_eq!(key_of(&token_of(key)).expect("our own"), key);
        }
        assert!(key_of("no token").is_err());
    }
}
