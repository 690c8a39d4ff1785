//! Whether a store keeps the promise that everything leans on: a conditional write that must not happen does not.

use crate::unique::unique;
use crate::{Put, Store, StoreError};
use bytes::Bytes;

/// Refuses a store that ignores `If-None-Match` or `If-Match`. Writes one small object under `prefix` and removes it.
pub async fn check_conditional_writes(store: &dyn Store, prefix: &str) -> Result<(), StoreError> {
    let key = format!("{prefix}_probe-{}", unique());
    let verdict = probe(store, &key).await;
    // The verdict matters more than the litter.
    if let Err(error) = store.delete(&key).await {
        tracing::warn!(%key, %error, "the probe's object stays behind");
    }
    verdict
}

async fn probe(store: &dyn Store, key: &str) -> Result<(), StoreError> {
    let put = |text: &'static str, how| store.put(key, Bytes::from_static(text.as_bytes()), how);
    let first = put("first", Put::IfAbsent).await.map_err(|error| match error {
        // The bucket is not: nobody knows of the probe.
        StoreError::NotFound { source, .. } => {
            StoreError::NotFound { doing: format!("writing to {}", store.url()), source }
        }
        error => error,
    })?;
    match put("second", Put::IfAbsent).await {
        Err(StoreError::Exists { .. }) => {}
        Ok(_) => return Err(ignored(store, "a write that asked for an absent object replaced one")),
        Err(error) => return Err(error),
    }
    let third = put("third", Put::IfMatch(first.clone())).await?;
    match put("fourth", Put::IfMatch(first)).await {
        Err(StoreError::Changed { .. }) => {}
        Ok(_) => return Err(ignored(store, "a write that asked for one version replaced another")),
        Err(error) => return Err(error),
    }
    put("fifth", Put::IfMatch(third)).await?;
    Ok(())
}

fn ignored(store: &dyn Store, what: &str) -> StoreError {
    StoreError::fatal(
        format!("checking conditional writes in {}", store.url()),
        format!(
            "{what}: this store ignores If-None-Match or If-Match, so two writers could overwrite each other's work \
             unseen; use a store that honours them, such as Amazon S3 or a directory"
        ),
    )
}
