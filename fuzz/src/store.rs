//! A store in memory for targets that read one, and somewhere to wait for it.

use bytes::Bytes;
use mr_storage::{DynStore, Memory, Put};
use std::future::Future;
use std::sync::{Arc, LazyLock};
use tokio::runtime::{Builder, Runtime};

static RUNTIME: LazyLock<Runtime> =
    LazyLock::new(|| Builder::new_current_thread().enable_all().build().expect("a thread is all that it takes"));

pub fn wait<T>(work: impl Future<Output = T>) -> T {
    RUNTIME.block_on(work)
}

/// A store with these objects. What no key can be is left out.
pub async fn store_of(objects: impl IntoIterator<Item = (String, Vec<u8>)>) -> DynStore {
    let store = Arc::new(Memory::new());
    for (key, bytes) in objects {
        _ = mr_storage::Store::put(store.as_ref(), &key, Bytes::from(bytes), Put::Overwrite).await;
    }
    store
}
