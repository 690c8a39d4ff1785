//! Bytes under keys in S3, or in what speaks its language.
//!
//! The SDK makes each request once; when it is made again is decided here ([`requests`]), so that there is one count of
//! tries and one pace for all of them. Bodies are counted and held against their sums ([`sums`]), and read again when
//! they break off. A conditional write whose answer was lost meets its own object on the retry: each carries a token in
//! its metadata, by which it knows itself again. Large bodies go up in parts ([`multipart`]).

mod answers;
mod body;
mod clock;
mod multipart;
mod requests;
mod sums;

use crate::key::check_prefix;
use crate::memory::cut;
use crate::pace::{Place, Request};
use crate::retry::BackOff;
use crate::unique::{chance, unique};
use crate::{
    DynStore, GetOptions, Got, Meter, Native, Object, Put, Store, StoreError, check_key, object_url, stands_for_folder,
};
use answers::{classify, unquoted};
use async_trait::async_trait;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_sdk_s3::Client;
use aws_sdk_s3::config::retry::RetryConfig;
use aws_sdk_s3::config::timeout::TimeoutConfig;
use aws_sdk_s3::config::{
    Credentials, RequestChecksumCalculation, SharedCredentialsProvider, StalledStreamProtectionConfig,
};
use aws_sdk_s3::operation::get_object::GetObjectOutput;
use aws_sdk_s3::types::EncodingType;
use body::Body;
use bytes::Bytes;
use clock::Clock;
use mr_core::shown_url;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use sums::Said;
use tokio::sync::Semaphore;

/// Enough to fill a fast line with small objects, few enough that each is answered in time: many small parallel reads
/// time out inside the SDK otherwise.
const IN_FLIGHT_MAX: usize = 64;

/// Above this a body goes up in parts of this size.
const PART_BYTES: usize = 16 << 20;

/// A body up to this is soon there, on a slow line too.
const LIGHT_BYTES: usize = 1 << 20;

/// How often a write that met another is made in all.
const WRITES_MAX: u32 = 5;
const MET_ANOTHER: BackOff = BackOff::new(Duration::from_millis(100), Duration::from_secs(1));

/// The metadata by which a write knows its own object.
const TOKEN: &str = "mr-write";

const COPY_SOURCE: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~').remove(b'/');

/// Clones are the same store.
#[derive(Clone, Debug)]
pub struct S3 {
    client: Client,
    /// What is otherwise with requests that take the store some time.
    laborious: aws_sdk_s3::config::Builder,
    bucket: String,
    /// Empty, or ending in `/`.
    prefix: String,
    url: String,
    /// Two stores of the same service can copy between each other without us.
    service: String,
    place: Arc<Place>,
    in_flight: Arc<Semaphore>,
    /// Counts what goes through this handle.
    meter: Option<Meter>,
    /// Whether the SDK sends a CRC-32 with each body, as it does unless the user's settings say otherwise.
    sums_sent: bool,
    /// ETags here have been seen to be no MD5, though they look like one.
    foreign_etags: Arc<AtomicBool>,
}

/// How long to wait for a server that is silent.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// For a connection.
    pub connect: Duration,
    /// From the first byte sent to the answer's head, where the store has little to do. A line that is cut says nothing,
    /// and whatever was on its way is only asked for again after this.
    pub answer: Duration,
    /// The same where megabytes go up, are copied or put together.
    pub labour: Duration,
    /// For the next bytes of a body.
    pub body: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(5),
            answer: Duration::from_secs(20),
            labour: Duration::from_secs(60),
            body: Duration::from_secs(20),
        }
    }
}

impl S3 {
    /// Credentials, region and endpoint come from where AWS's own tools look for them. Nothing is asked of S3 yet.
    pub async fn open(bucket: &str, prefix: &str) -> Self {
        let config = aws_config::defaults(BehaviorVersion::latest()).load().await;
        Self::with(&config, bucket, prefix, Patience::default())
    }

    /// A server that the environment does not name.
    pub fn at(endpoint: &str, access_key: &str, secret_key: &str, bucket: &str, prefix: &str) -> Self {
        Self::patient(endpoint, [access_key, secret_key], bucket, prefix, Patience::default())
    }

    /// The same, with other patience than usual.
    pub fn patient(endpoint: &str, keys: [&str; 2], bucket: &str, prefix: &str, patience: Patience) -> Self {
        let [access_key, secret_key] = keys;
        let credentials = Credentials::new(access_key, secret_key, None, None, "given");
        let config = SdkConfig::builder()
            .behavior_version(BehaviorVersion::latest())
            .credentials_provider(SharedCredentialsProvider::new(credentials))
            .endpoint_url(endpoint)
            .build();
        Self::with(&config, bucket, prefix, patience)
    }

    fn with(config: &SdkConfig, bucket: &str, prefix: &str, patience: Patience) -> Self {
        let timeouts = |answer| TimeoutConfig::builder().connect_timeout(patience.connect).read_timeout(answer).build();
        let endpoint = config.endpoint_url().map(String::from);
        let endpoint = std::env::var("AWS_ENDPOINT_URL_S3").ok().or(endpoint);
        let region = config.region().cloned().unwrap_or(Region::from_static("us-east-1"));
        let clock = Clock::default();
        let settings = aws_sdk_s3::config::Builder::from(config)
            .region(region.clone())
            // Servers of one's own seldom have a host name for each bucket.
            .force_path_style(endpoint.is_some())
            .time_source(clock.clone())
            .interceptor(clock)
            // Its retries know neither our pace nor our count of tries.
            .retry_config(RetryConfig::disabled())
            .timeout_config(timeouts(patience.answer))
            .stalled_stream_protection(StalledStreamProtectionConfig::enabled().grace_period(patience.body).build())
            .build();
        let service = format!("{region} {}", shown_url(&endpoint.unwrap_or_default()));
        Self {
            client: Client::from_conf(settings),
            laborious: aws_sdk_s3::config::Builder::new().timeout_config(timeouts(patience.labour)),
            bucket: bucket.into(),
            prefix: prefix.into(),
            url: format!("s3://{bucket}/{prefix}"),
            place: Place::named(&format!("s3://{bucket} {service}")),
            service,
            in_flight: Arc::new(Semaphore::new(IN_FLIGHT_MAX)),
            meter: None,
            sums_sent: config.request_checksum_calculation() != Some(RequestChecksumCalculation::WhenRequired),
            foreign_etags: Arc::new(AtomicBool::new(false)),
        }
    }

    fn full(&self, key: &str) -> String {
        format!("{}{key}", self.prefix)
    }

    fn doing(&self, verb: &str, key: &str) -> String {
        format!("{verb} {}", object_url(&self.url, key))
    }

    /// Copies inside S3, when both stores are the same service. `false`: they are not.
    pub(crate) async fn copy_from(&self, source: &S3, from_key: &str, to_key: &str) -> Result<bool, StoreError> {
        if source.service != self.service {
            return Ok(false);
        }
        check_key(to_key)?;
        let doing = || format!("copying {} to {}", object_url(&source.url, from_key), object_url(&self.url, to_key));
        let from = format!("{}/{}", source.bucket, source.full(from_key));
        let from = utf8_percent_encode(&from, COPY_SOURCE).to_string();
        self.ask(Request::Copy, || async {
            let request = self.client.copy_object().bucket(&self.bucket).key(self.full(to_key));
            let request = request.copy_source(&from).customize().config_override(self.laborious.clone());
            request.send().await.map_err(|error| classify(error, doing(), None))
        })
        .await?;
        Ok(true)
    }

    /// The bytes, and whether they have been held against a sum of all of them.
    async fn get_once(&self, key: &str, options: &GetOptions) -> Result<(Got, bool), StoreError> {
        let doing = || self.doing("reading", key);
        let request = self.client.get_object().bucket(&self.bucket).key(self.full(key));
        let request = request.set_if_match(options.if_match.as_deref().map(quoted));
        // HTTP's ranges include their last byte.
        let range = options.range.as_ref().map(|range| format!("bytes={}-{}", range.start, range.end - 1));
        let answer = request.set_range(range).send().await;
        let answer = answer.map_err(|error| classify(error, doing(), None))?;
        let etag = unquoted(answer.e_tag(), doing)?;
        let summed = sums::checked_by_sdk(&answer) || options.range.is_some() || !sums::etag_may_be_md5(&answer);
        match body(answer).await {
            Ok(bytes) => {
                self.moved(bytes.len() as u64, 0);
                Ok((Got { bytes, etag }, summed))
            }
            Err(source) => Err(StoreError::transient(doing(), source)),
        }
    }

    /// Of bytes that no checksum came with: whether their ETag is their MD5. It need not be, so a mismatch alone proves
    /// nothing; but bytes that were harmed on their way come otherwise the second time.
    async fn hold_against_etag(&self, key: &str, options: &GetOptions, got: Got) -> Result<Got, StoreError> {
        let doing = || self.doing("reading", key);
        if self.foreign_etags.load(Ordering::Relaxed) || sums::said(&got).await != Said::Other {
            return Ok(got);
        }
        tracing::debug!(%key, "reading it again: it is not what its ETag says");
        let (again, _) = self.ask(Request::Get, || self.get_once(key, options)).await?;
        if again == got {
            tracing::info!(url = %self.url, "ETags are no MD5 here: objects without checksums are read unchecked");
            self.foreign_etags.store(true, Ordering::Relaxed);
        } else if sums::said(&again).await != Said::Same {
            return Err(StoreError::transient(doing(), "what came differs from one time to the next"));
        }
        Ok(again)
    }

    /// A range without bytes, which HTTP cannot say: only the object is looked at.
    async fn get_nothing(&self, key: &str, options: &GetOptions) -> Result<Got, StoreError> {
        let doing = || self.doing("reading", key);
        let object = self.head(key).await?;
        if options.if_match.as_ref().is_some_and(|wanted| *wanted != object.etag) {
            return Err(StoreError::changed(doing(), "its etag is another"));
        }
        let range = options.range.clone().unwrap_or_default();
        cut(&range, object.bytes).map_err(|error| StoreError::fatal(doing(), error))?;
        Ok(Got { bytes: Bytes::new(), etag: object.etag })
    }

    /// The ETag of what is at `key`, if it is the write with this token that put it there.
    async fn own_write(&self, key: &str, token: &str) -> Result<Option<String>, StoreError> {
        let doing = || self.doing("looking for our own write at", key);
        let answer = self.ask(Request::Head, || async {
            let request = self.client.head_object().bucket(&self.bucket).key(self.full(key));
            request.send().await.map_err(|error| classify(error, doing(), None))
        });
        match answer.await {
            Ok(answer) => {
                let own =
                    answer.metadata().and_then(|metadata| metadata.get(TOKEN)).is_some_and(|there| there == token);
                own.then(|| unquoted(answer.e_tag(), doing)).transpose()
            }
            Err(StoreError::NotFound { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn put_once(&self, key: &str, body: &Body, how: &Put, token: &str) -> Result<String, StoreError> {
        if body.length() > PART_BYTES as u64 {
            return self.put_in_parts(key, body, how, token).await;
        }
        let doing = || self.doing("writing", key);
        let bytes = &body.cut(0..body.length(), doing).await?;
        self.ask(Request::Put, || async {
            let request = self.client.put_object().bucket(&self.bucket).key(self.full(key));
            let request = request.body(bytes.clone().into()).metadata(TOKEN, token);
            let request = match how {
                Put::Overwrite | Put::Temporary => request,
                Put::IfAbsent => request.if_none_match("*"),
                Put::IfMatch(etag) => request.if_match(quoted(etag)),
            };
            let request = request.customize();
            let request = match bytes.len() > LIGHT_BYTES {
                true => request.config_override(self.laborious.clone()),
                false => request,
            };
            let answer = request.send().await.map_err(|error| classify(error, doing(), Some(how)))?;
            self.moved(0, bytes.len() as u64);
            unquoted(answer.e_tag(), doing)
        })
        .await
    }

    async fn put_body(&self, key: &str, body: &Body, how: Put) -> Result<String, StoreError> {
        check_key(key)?;
        let token = unique();
        let mut tries = 0;
        loop {
            tries += 1;
            let error = match self.put_once(key, body, &how, &token).await {
                Ok(etag) => return Ok(etag),
                Err(error) => error,
            };
            // An earlier try may have taken effect though its answer was lost; refused by it, or out of tries, we look.
            let lost = match &error {
                StoreError::Transient { .. } | StoreError::Throttled { .. } => true,
                StoreError::Exists { .. }
                | StoreError::Changed { .. }
                | StoreError::Conflict { .. }
                | StoreError::NotFound { .. } => false,
                StoreError::Denied { .. } | StoreError::Fatal { .. } => return Err(error),
            };
            match self.own_write(key, &token).await {
                Ok(Some(etag)) => return Ok(etag),
                Ok(None) => {}
                // Nobody knows what happened, which is what the first error says already if it was a lost answer.
                Err(blind) => return Err(if lost { error } else { blind }),
            }
            match error {
                StoreError::Conflict { .. } if tries < WRITES_MAX => {
                    tokio::time::sleep(MET_ANOTHER.after(tries, chance())).await;
                }
                error => return Err(error),
            }
        }
    }
}

#[async_trait]
impl Store for S3 {
    fn url(&self) -> &str {
        &self.url
    }

    async fn list(&self, prefix: &str) -> Result<Vec<Object>, StoreError> {
        check_prefix(prefix)?;
        let doing = || self.doing("listing", prefix);
        let mut objects = Vec::new();
        let mut next: Option<String> = None;
        loop {
            let page = self.ask(Request::List, || async {
                let request = self.client.list_objects_v2().bucket(&self.bucket).prefix(self.full(prefix));
                // XML cannot hold every character that a key may have.
                let request = request.encoding_type(EncodingType::Url).set_continuation_token(next.clone());
                request.send().await.map_err(|error| classify(error, doing(), None))
            });
            let page = page.await?;
            let encoded = page.encoding_type() == Some(&EncodingType::Url);
            for object in page.contents() {
                let key = object.key().unwrap_or_default();
                let key = if encoded {
                    decoded(key).ok_or_else(|| StoreError::fatal(doing(), format!("the key {key} is not UTF-8")))?
                } else {
                    key.into()
                };
                let Some(key) = key.strip_prefix(&self.prefix) else {
                    return Err(StoreError::fatal(doing(), format!("the store listed {key}, which is elsewhere")));
                };
                let bytes = object.size().and_then(|size| u64::try_from(size).ok()).unwrap_or_default();
                if key.is_empty() || stands_for_folder(key, bytes) {
                    continue;
                }
                objects.push(Object { key: key.into(), bytes, etag: unquoted(object.e_tag(), doing)? });
            }
            if page.is_truncated() != Some(true) {
                break;
            }
            let token = page.next_continuation_token().map(str::to_owned);
            // What is not listed would not be missed: better no listing than a part of one.
            if token.is_none() || token == next {
                return Err(StoreError::fatal(doing(), "the store says that there is more, and not where it goes on"));
            }
            next = token;
        }
        // S3 lists in this order, but not everything that speaks its language does.
        if !objects.is_sorted_by(|a, b| a.key < b.key) {
            objects.sort_unstable_by(|a, b| a.key.cmp(&b.key));
        }
        Ok(objects)
    }

    async fn get(&self, key: &str, options: GetOptions) -> Result<Got, StoreError> {
        check_named(key)?;
        if options.range.as_ref().is_some_and(|range| range.start >= range.end) {
            return self.get_nothing(key, &options).await;
        }
        let (got, summed) = self.ask(Request::Get, || self.get_once(key, &options)).await?;
        if summed { Ok(got) } else { self.hold_against_etag(key, &options, got).await }
    }

    async fn head(&self, key: &str) -> Result<Object, StoreError> {
        check_named(key)?;
        let doing = || self.doing("looking at", key);
        let answer = self.ask(Request::Head, || async {
            let request = self.client.head_object().bucket(&self.bucket).key(self.full(key));
            request.send().await.map_err(|error| classify(error, doing(), None))
        });
        let answer = answer.await?;
        Ok(Object {
            key: key.into(),
            bytes: answer.content_length().and_then(|length| u64::try_from(length).ok()).unwrap_or_default(),
            etag: unquoted(answer.e_tag(), doing)?,
        })
    }

    async fn put(&self, key: &str, bytes: Bytes, how: Put) -> Result<String, StoreError> {
        self.put_body(key, &Body::Bytes(bytes), how).await
    }

    async fn put_file(&self, key: &str, file: &Path, how: Put) -> Result<String, StoreError> {
        let body = Body::open(file, || self.doing("writing", key)).await?;
        self.put_body(key, &body, how).await
    }

    async fn delete(&self, key: &str) -> Result<(), StoreError> {
        check_named(key)?;
        let doing = || self.doing("deleting", key);
        let answer = self.ask(Request::Delete, || async {
            let request = self.client.delete_object().bucket(&self.bucket).key(self.full(key));
            request.send().await.map_err(|error| classify(error, doing(), None))
        });
        match answer.await {
            Ok(_) | Err(StoreError::NotFound { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    fn native(&self) -> Native<'_> {
        Native::S3(self)
    }

    fn metered(&self, meter: &Meter) -> Option<DynStore> {
        Some(Arc::new(Self { meter: Some(meter.clone()), ..self.clone() }))
    }
}

/// Keys that others made are read as they are, even such as we would not make; only none at all means the bucket.
fn check_named(key: &str) -> Result<(), StoreError> {
    if key.is_empty() { check_key(key) } else { Ok(()) }
}

fn quoted(etag: &str) -> String {
    format!("\"{etag}\"")
}

fn decoded(key: &str) -> Option<String> {
    // As in a form: a space is a plus.
    let spaced = key.replace('+', " ");
    percent_decode_str(&spaced).decode_utf8().ok().map(String::from)
}

async fn body(answer: GetObjectOutput) -> Result<Bytes, crate::BoxError> {
    let length = answer.content_length();
    let bytes = answer.body.collect().await?.into_bytes();
    match length {
        Some(length) if usize::try_from(length) != Ok(bytes.len()) => {
            Err(format!("{} bytes came instead of {length}", bytes.len()).into())
        }
        _ => Ok(bytes),
    }
}
