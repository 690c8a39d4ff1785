//! Fetching ahead: a split's objects come in order, many small requests in flight, within a bound of bytes.

use crate::job::ObjectRecord;
use bytes::Bytes;
use futures::stream::{self, StreamExt};
use mr_core::{Failure, FileRef, Object};
use mr_storage::{DynStore, GetOptions, StoreError, object_url};
use std::error::Error;
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

/// Requests in flight for one attempt. Bounded, since many parallel GETs time out inside the SDK.
const IN_FLIGHT: usize = 16;
/// Bytes that one attempt holds ahead of its slot.
const BYTES_AHEAD: u32 = 64 << 20;

/// An object on its way to the job's code, holding its part of the bytes ahead.
pub struct Fetched {
    pub object: Object,
    pub content: Result<ObjectRecord, NotFetched>,
    _ahead: OwnedSemaphorePermit,
}

pub enum NotFetched {
    /// Not the object that was listed, or one that will not be read: a verdict.
    Verdict {
        class: &'static str,
        message: String,
        environment: bool,
    },
    Failed(Failure),
}

/// Sends every object to `to` in order. Ends early when the other side has gone.
pub async fn objects(store: DynStore, objects: Vec<Object>, bytes_max: u64, to: mpsc::Sender<Fetched>) {
    let ahead = Arc::new(Semaphore::new(BYTES_AHEAD as usize));
    let mut fetched = stream::iter(objects)
        .map(|object| {
            let (store, ahead) = (store.clone(), ahead.clone());
            async move {
                let wants = u32::try_from(object.bytes).unwrap_or(u32::MAX).clamp(1, BYTES_AHEAD);
                let ahead = ahead.acquire_many_owned(wants).await.expect("never closed");
                let content = one(&store, &object, bytes_max).await;
                Fetched { object, content, _ahead: ahead }
            }
        })
        .buffered(IN_FLIGHT);
    while let Some(object) = fetched.next().await {
        if to.send(object).await.is_err() {
            return;
        }
    }
}

async fn one(store: &DynStore, object: &Object, bytes_max: u64) -> Result<ObjectRecord, NotFetched> {
    let verdict = |class, message, environment| Err(NotFetched::Verdict { class, message, environment });
    if object.bytes > bytes_max {
        return verdict(
            "too-large",
            format!("{} bytes, where objects of up to {bytes_max} are read", object.bytes),
            false,
        );
    }
    let options = GetOptions { if_match: Some(object.etag.clone()), range: None };
    match store.get(&object.key, options).await {
        Ok(got) if got.bytes.len() as u64 == object.bytes => {
            Ok(ObjectRecord { uri: object_url(store.url(), &object.key), key: object.key.clone(), bytes: got.bytes })
        }
        Ok(got) => {
            verdict("changed", format!("has {} bytes where {} were listed", got.bytes.len(), object.bytes), true)
        }
        Err(StoreError::Changed { .. }) => verdict("changed", "was changed after it was listed".into(), true),
        Err(StoreError::NotFound { .. }) => verdict("missing", "was removed after it was listed".into(), true),
        Err(error) => Err(NotFetched::Failed(failure(&error))),
    }
}

/// One of the framework's own files, checked.
pub async fn file(store: &DynStore, file: &FileRef) -> Result<Bytes, Failure> {
    let got = store.get(&file.key, GetOptions::default()).await.map_err(|error| failure(&error))?;
    if got.bytes.len() as u64 != file.bytes || crc32fast::hash(&got.bytes) != file.crc32 {
        return Err(Failure::transient(format!("{} does not have its length or checksum", file.key)));
    }
    Ok(got.bytes)
}

/// Several files, in order, a few at a time.
pub async fn files(store: &DynStore, files: &[FileRef]) -> Result<Vec<Bytes>, Failure> {
    let fetched: Vec<_> = stream::iter(files.to_vec())
        .map(|wanted| {
            let store = store.clone();
            async move { file(&store, &wanted).await }
        })
        .buffered(4)
        .collect()
        .await;
    fetched.into_iter().collect()
}

pub fn failure(error: &StoreError) -> Failure {
    if error.retryable() { Failure::transient(story(error)) } else { Failure::application(story(error)) }
}

/// An error and its sources in one line.
pub fn story(error: &dyn Error) -> String {
    let mut story = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let said = error.to_string();
        if !story.contains(&said) {
            story.push_str(": ");
            story.push_str(&said);
        }
        source = error.source();
    }
    story
}
