//! Files of other tasks that an attempt can't read: gone, or damaged in the store.

use crate::host::look_for_landmark;
use bytes::Bytes;
use futures::StreamExt;
use futures::stream;
use mr_core::{Failure, FileRef, Order, Work};
use mr_storage::{DynStore, GetOptions, Store, StoreError, story};
use std::ops::Range;

/// Requests in flight while it is looked for what else is gone.
const IN_FLIGHT: usize = 16;

/// Why something was not read.
pub(crate) enum Unread {
    /// What came is not what was written.
    Damaged(String),
    Failed(Failure),
}

/// Reads what another task wrote. What comes otherwise than it was written twice is damaged, as far as can be told from here:
/// it may be this host that damages it, so nothing is taken away.
pub(crate) async fn read<T, F>(key: &str, once: impl Fn() -> F) -> Result<T, Failure>
where
    F: Future<Output = Result<T, Unread>>,
{
    let mut first = once().await;
    if let Err(Unread::Damaged(_)) = first {
        first = once().await;
    }
    first.map_err(|unread| unread.of(key))
}

impl Unread {
    /// The failure of whoever wanted to read that file.
    pub(crate) fn of(self, key: &str) -> Failure {
        match self {
            Self::Failed(failure) => failure,
            Self::Damaged(why) => Failure::lost(key, format!("{key} is damaged ({why})")),
        }
    }
}

/// The bytes of an object, or of a part of it.
pub(crate) async fn get(store: &dyn Store, file: &FileRef, range: Option<Range<u64>>) -> Result<Bytes, Unread> {
    let key = &file.key;
    let wanted = range.as_ref().map_or(file.bytes, |range| range.end - range.start);
    let options = range.map_or_else(GetOptions::default, GetOptions::range);
    let error = match store.get(key, options).await {
        Ok(got) if got.bytes.len() as u64 == wanted => return Ok(got.bytes),
        Ok(_) => return Err(Unread::Damaged("it does not have its length".to_owned())),
        Err(error) => error,
    };
    let gone =
        || Unread::Failed(Failure::lost(key, format!("a file that another task made is gone: {}", story(&error))));
    Err(match &error {
        StoreError::NotFound { .. } => gone(),
        // A range that begins behind the end, or something else that has nothing to do with the file.
        StoreError::Fatal { .. } => match store.head(key).await {
            Ok(there) if there.bytes != file.bytes => Unread::Damaged("it does not have its length".to_owned()),
            Err(StoreError::NotFound { .. }) => gone(),
            Ok(_) | Err(_) => Unread::Failed(crate::fetch::failure(&error)),
        },
        _ => Unread::Failed(crate::fetch::failure(&error)),
    })
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
