//! Removing the work files of a job that has ended.

use futures::stream::{self, StreamExt};
use mr_core::JobId;
use mr_storage::{DynStore, Object, StoreError};

/// Best effort: what stays behind costs room and nothing else, and goes when a coordinator next starts.
pub async fn clean_up(state: &DynStore, job: &JobId) {
    let objects = listed(state, &format!("work/{job}/")).await;
    remove(state, objects).await;
}

/// The work files that coordinators before this one left behind. Asked for before there is any job, so that none of
/// them is a living job's.
pub async fn left_behind(state: &DynStore) -> Vec<Object> {
    listed(state, "work/").await
}

async fn listed(state: &DynStore, prefix: &str) -> Vec<Object> {
    match state.list(prefix).await {
        Ok(objects) => objects,
        Err(StoreError::NotFound { .. }) => Vec::new(),
        Err(error) => {
            tracing::warn!("listing {prefix} to remove work files: {error}");
            Vec::new()
        }
    }
}

pub async fn remove(state: &DynStore, objects: Vec<Object>) {
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
        tracing::warn!("{} work files could not be removed: {error}", failed.len());
    }
}
