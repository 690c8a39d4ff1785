//! Removing the work files of a job that has ended.

use futures::stream::{self, StreamExt};
use mr_core::JobId;
use mr_storage::DynStore;

/// Best effort: what stays behind costs room and nothing else, and goes with the next clean-up.
pub async fn clean_up(state: DynStore, job: JobId) {
    let objects = match state.list(&format!("work/{job}/")).await {
        Ok(objects) => objects,
        Err(mr_storage::StoreError::NotFound { .. }) => return,
        Err(error) => return tracing::warn!(%job, "listing work files to remove them: {error}"),
    };
    let failed = stream::iter(objects)
        .map(|object| {
            let state = state.clone();
            async move { state.delete(&object.key).await }
        })
        .buffer_unordered(16)
        .filter_map(|deleted| async move { deleted.err() })
        .collect::<Vec<_>>()
        .await;
    if let Some(error) = failed.first() {
        tracing::warn!(%job, "{} work files could not be removed: {error}", failed.len());
    }
}
