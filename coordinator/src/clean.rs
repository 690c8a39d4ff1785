//! Removing what is of no use any more: work files and listings of jobs that have ended.

use futures::stream::{self, StreamExt};
use mr_core::JobId;
use mr_storage::{DynStore, Object, StoreError};
use std::collections::BTreeSet;

/// Best effort: what stays behind costs room and nothing else, and goes when somebody next looks.
pub async fn clean_up(state: &DynStore, job: &JobId, kept: &BTreeSet<String>) {
    let mut objects = listed(state, &format!("work/{job}/")).await;
    objects.retain(|object| !kept.contains(&object.key));
    objects.extend(listed(state, &format!("jobs/{job}/")).await);
    remove(state, objects).await;
}

pub async fn listed(state: &DynStore, prefix: &str) -> Vec<Object> {
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
