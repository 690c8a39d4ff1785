//! Files of other tasks that an attempt can't read: gone, or damaged in the store.

use crate::host::look_for_landmark;
use bytes::Bytes;
use futures::StreamExt;
use futures::stream;
use mr_core::{Failure, FileRef, Order, Work};
use mr_storage::{DynStore, GetOptions, Store, StoreError, story};

/// Requests in flight while it is looked for what else is gone.
const IN_FLIGHT: usize = 16;

/// Why something was not read.
pub(crate) enum Unread {
    /// What came is not what was written.
    Damaged(String),
    Failed(Failure),
}

/// Reads what another task wrote. What is damaged twice is so in the store: it is taken away, so that nobody finds it who
/// looks for what is done already.
pub(crate) async fn read<T, F>(store: &dyn Store, key: &str, once: impl Fn() -> F) -> Result<T, Failure>
where
    F: Future<Output = Result<T, Unread>>,
{
    match once().await {
        Ok(read) => return Ok(read),
        Err(Unread::Failed(failure)) => return Err(failure),
        Err(Unread::Damaged(_)) => {}
    }
    match once().await {
        Ok(read) => Ok(read),
        Err(Unread::Failed(failure)) => Err(failure),
        Err(Unread::Damaged(why)) => {
            if let Err(error) = store.delete(key).await {
                tracing::warn!("taking a damaged file away: {}", story(&error));
            }
            Err(Failure::lost(key, format!("{key} is damaged ({why}): it is taken away and made again")))
        }
    }
}

/// The bytes of an object, or of a part of it.
pub(crate) async fn get(store: &dyn Store, key: &str, options: GetOptions) -> Result<Bytes, Unread> {
    let ranged = options.range.is_some();
    match store.get(key, options).await {
        Ok(got) => Ok(got.bytes),
        Err(error @ StoreError::NotFound { .. }) => {
            let story = format!("a file that another task made is gone: {}", story(&error));
            Err(Unread::Failed(Failure::lost(key, story)))
        }
        // A range that begins behind its end: what was stored is not all there.
        Err(error @ StoreError::Fatal { .. }) if ranged => Err(Unread::Damaged(story(&error))),
        Err(error) => Err(Unread::Failed(crate::fetch::failure(&error))),
    }
}

/// The failure of an attempt that could not read something, with all else that it could not have read: so it is made again
/// together, and not one after the other. Nothing is lost for an attempt that looks at another place than the others.
pub(crate) async fn all(order: &Order, state: &DynStore, failure: Failure) -> Failure {
    if let Err(elsewhere) = look_for_landmark(order, state).await {
        return elsewhere;
    }
    let files: &[_] = match &order.work {
        Work::MapObjects { .. } | Work::Probe { .. } => &[],
        Work::MapKept { rows: files } | Work::Combine { runs: files } | Work::Reduce { runs: files, .. } => files,
    };
    // All of them first: made one by one within the stream they would borrow from a closure across an await.
    let looks: Vec<_> = files.iter().map(|file| gone(state.clone(), file.clone())).collect();
    let gone: Vec<_> = stream::iter(looks).buffered(IN_FLIGHT).collect().await;
    let mut lost = failure.lost.clone();
    lost.extend(gone.into_iter().flatten().filter(|key| !failure.lost.contains(key)));
    Failure { lost, ..failure }
}

/// Its key, if it is not there as it was written.
async fn gone(state: DynStore, file: FileRef) -> Option<String> {
    let gone = match state.head(&file.key).await {
        Ok(there) => there.bytes != file.bytes,
        Err(error) => matches!(error, StoreError::NotFound { .. }),
    };
    gone.then_some(file.key)
}
