//! Fetching ahead: a split's objects come in order, many small requests in flight, within a bound of bytes.

use crate::job::ObjectRecord;
use crate::lost::{self, Unread};
use bytes::Bytes;
use futures::Stream;
use futures::stream::{self, StreamExt};
use mr_core::{Failure, FileRef, Object};
use mr_storage::{DynStore, GetOptions, Native, StoreError, object_url, story};
use std::ops::Range;
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_util::task::AbortOnDropHandle;

/// Requests in flight for one attempt. Bounded, since many parallel GETs time out inside the SDK.
const IN_FLIGHT: usize = 16;
/// Bytes that one attempt holds ahead of its slot.
const BYTES_AHEAD: u32 = 32 << 20;
/// Files of the framework's own in flight for one attempt: they are larger.
const FILES_IN_FLIGHT: usize = 4;
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

/// Sends every object to `to` in order, or what is wanted of it. Ends early when the other side has gone.
pub async fn objects(
    store: DynStore,
    objects: Vec<Object>,
    bytes_max: u64,
    wanted: impl Fn(&Object) -> Option<Vec<Range<u64>>>,
    to: mpsc::Sender<Fetched>,
) {
    let ahead = Arc::new(Semaphore::new(BYTES_AHEAD as usize));
    let fetched = stream::iter(objects)
        .map(|object| {
            let parts = wanted(&object).map(|parts| within(parts, object.bytes));
            let bytes = match &parts {
                None => object.bytes,
                Some(parts) => parts.iter().map(|part| part.end - part.start).sum(),
            };
            (object, parts, bytes)
        })
        // In their order, and before anything is begun: an object that had its bytes while one in front of it had none would
        // wait for that one, and that one for it.
        .then(|(object, parts, bytes)| {
            let wants = u32::try_from(bytes).unwrap_or(u32::MAX).clamp(1, BYTES_AHEAD);
            let ahead = ahead.clone().acquire_many_owned(wants);
            async move { (object, parts, bytes, ahead.await.expect("never closed")) }
        })
        .map(|(object, parts, bytes, ahead)| {
            let store = store.clone();
            going(async move {
                let content = if bytes > bytes_max {
                    let message = format!("{bytes} bytes, where objects of up to {bytes_max} are read");
                    Err(NotFetched::Verdict { class: "too-large", message, environment: false })
                } else {
                    match parts {
                        None => one(&store, &object, None).await,
                        Some(parts) => several(&store, &object, parts).await,
                    }
                };
                Fetched { object, content, _ahead: ahead }
            })
        })
        .buffered(IN_FLIGHT);
    let mut fetched = std::pin::pin!(fetched);
    while let Some(object) = fetched.next().await {
        if to.send(object).await.is_err() {
            return;
        }
    }
}

/// Work that goes on while nobody looks at it, until it is dropped. An attempt that waits for its slot does not look at what
/// it fetches ahead, and a request left standing would time out, and hold the place of one that the slot waits for.
fn going<T: Send + 'static>(work: impl Future<Output = T> + Send + 'static) -> impl Future<Output = T> + Send {
    let task = AbortOnDropHandle::new(tokio::spawn(work));
    async move {
        match task.await {
            Ok(done) => done,
            Err(broken) => match broken.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                // The process is at its end, and nobody waits any more.
                Err(_) => std::future::pending().await,
            },
        }
    }
}

/// Those of an object's parts that it has.
fn within(parts: Vec<Range<u64>>, bytes: u64) -> Vec<Range<u64>> {
    parts.into_iter().map(|part| part.start..part.end.min(bytes)).filter(|part| part.start < part.end).collect()
}

/// Parts of an object, put together.
async fn several(store: &DynStore, object: &Object, parts: Vec<Range<u64>>) -> Result<ObjectRecord, NotFetched> {
    let mut parts = parts.into_iter();
    // An empty object may be gone or changed as well.
    let record = one(store, object, parts.next()).await?;
    let mut together = record.bytes.to_vec();
    for part in parts {
        together.extend_from_slice(&one(store, object, Some(part)).await?.bytes);
    }
    Ok(ObjectRecord { bytes: together.into(), ..record })
}

async fn one(store: &DynStore, object: &Object, part: Option<Range<u64>>) -> Result<ObjectRecord, NotFetched> {
    let verdict = |class, message, environment| Err(NotFetched::Verdict { class, message, environment });
    let wanted = part.as_ref().map_or(object.bytes, |part| part.end - part.start);
    let options = GetOptions { if_match: Some(object.etag.clone()), range: part };
    match store.get(&object.key, options).await {
        // Some servers don't mind the condition, so what came is compared too.
        Ok(got) if got.etag != object.etag => verdict("changed", "was changed after it was listed".into(), true),
        Ok(got) if got.bytes.len() as u64 == wanted => {
            let uri = object_url(store.url(), &object.key);
            Ok(ObjectRecord { uri, key: object.key.clone(), size: object.bytes, bytes: got.bytes })
        }
        Ok(got) => verdict("changed", format!("has {} bytes where {wanted} were listed", got.bytes.len()), true),
        Err(StoreError::Changed { .. }) => verdict("changed", "was changed after it was listed".into(), true),
        Err(StoreError::NotFound { .. }) if sees_nothing(store).await => {
            let story = format!("this worker sees nothing under {}: is it mounted here?", store.url());
            Err(NotFetched::Failed(Failure::transient(story)))
        }
        Err(StoreError::NotFound { .. }) => {
            verdict("missing", "is not there: it was removed after it was listed, or is a link to nothing".into(), true)
        }
        Err(error) => Err(NotFetched::Failed(failure(&error))),
    }
}

/// Whether an input that is a folder is none on this host: then an object that is not there says nothing of the object.
async fn sees_nothing(store: &DynStore) -> bool {
    match store.native() {
        Native::Directory(folder) => !folder.holds_anything().await,
        Native::S3(_) | Native::Other => false,
    }
}

/// One of the framework's own files, checked.
pub async fn file(store: &DynStore, file: &FileRef) -> Result<Bytes, Failure> {
    lost::read(&file.key, || async {
        let bytes = lost::get(store.as_ref(), file, None).await?;
        if crc32fast::hash(&bytes) != file.crc32 {
            return Err(Unread::Damaged("it does not have its checksum".to_owned()));
        }
        Ok(bytes)
    })
    .await
}

/// Sends every file to `to` in order, or the failure that ends it.
pub async fn files_ahead(store: DynStore, files: Vec<FileRef>, to: mpsc::Sender<Result<Bytes, Failure>>) {
    let mut fetched = in_flight(&store, files, |store, wanted| async move { file(&store, &wanted).await });
    while let Some(file) = fetched.next().await {
        let failed = file.is_err();
        if to.send(file).await.is_err() || failed {
            return;
        }
    }
}

/// Files one after another, a few at a time.
pub fn in_flight<T, F>(
    store: &DynStore,
    files: Vec<FileRef>,
    fetch: impl Fn(DynStore, FileRef) -> F + Send,
) -> impl Stream<Item = Result<T, Failure>> + Send + Unpin
where
    F: Future<Output = Result<T, Failure>> + Send + 'static,
    T: Send + 'static,
{
    let fetches: Vec<_> = files.into_iter().map(|file| fetch(store.clone(), file)).collect();
    stream::iter(fetches).map(going).buffered(FILES_IN_FLIGHT)
}

pub fn failure(error: &StoreError) -> Failure {
    if error.retryable() { Failure::transient(story(error)) } else { Failure::application(story(error)) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mr_storage::{Got, Memory, Put, Store};

    /// Gives what is there, whatever version was asked for, as some servers do.
    #[derive(Debug, Default)]
    struct Careless(Memory);

    #[async_trait::async_trait]
    impl Store for Careless {
        fn url(&self) -> &str {
            self.0.url()
        }

        async fn list(&self, prefix: &str) -> Result<Vec<Object>, StoreError> {
            self.0.list(prefix).await
        }

        async fn get(&self, key: &str, options: GetOptions) -> Result<Got, StoreError> {
            self.0.get(key, GetOptions { if_match: None, ..options }).await
        }

        async fn head(&self, key: &str) -> Result<Object, StoreError> {
            self.0.head(key).await
        }

        async fn put(&self, key: &str, bytes: Bytes, how: Put) -> Result<String, StoreError> {
            self.0.put(key, bytes, how).await
        }

        async fn delete(&self, key: &str) -> Result<(), StoreError> {
            self.0.delete(key).await
        }
    }

    /// More than may be ahead, so that each has to wait for the one in front of it.
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn large_objects_come_in_their_order_and_never_wait_for_each_other() {
        let store: DynStore = Arc::new(Memory::new());
        let large = Bytes::from(vec![1; BYTES_AHEAD as usize * 2 / 3]);
        for round in 0..20 {
            store.put(&format!("{round:02}"), large.clone(), Put::Overwrite).await.unwrap();
        }
        let listed = store.list("").await.unwrap();
        let (sender, mut fetched) = mpsc::channel(4);
        let fetching = tokio::spawn(objects(store, listed.clone(), u64::MAX, |_| None, sender));
        for object in listed {
            assert_eq!(fetched.recv().await.unwrap().object, object);
        }
        fetching.await.unwrap();
    }

    #[tokio::test]
    async fn another_version_of_the_same_length_is_seen_even_where_conditions_are_not_minded() {
        let store: DynStore = Arc::new(Careless::default());
        for key in ["changed", "same"] {
            store.put(key, "one".into(), Put::Overwrite).await.unwrap();
        }
        let listed = store.list("").await.unwrap();
        store.put("changed", "two".into(), Put::Overwrite).await.unwrap();
        let (sender, mut fetched) = mpsc::channel(4);
        objects(store, listed, u64::MAX, |_| None, sender).await;
        let changed = fetched.recv().await.unwrap();
        let Err(NotFetched::Verdict { class: "changed", environment: true, .. }) = changed.content else {
            panic!("{} is another object", changed.object.key);
        };
        assert!(fetched.recv().await.unwrap().content.is_ok_and(|same| same.bytes == "one"));
    }
}
