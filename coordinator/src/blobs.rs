//! Broadcasts that submitters bring: stored once under their content hash.

use bytes::Bytes;
use mr_core::{BlobRef, sha256_hex};
use mr_storage::{DynStore, Put, StoreError};
use tonic::Status;

/// More than any weights that a job would be given, and less than would bring the coordinator down.
pub const BLOB_BYTES_MAX: u64 = 2 << 30;

/// Whether the state store lacks the blob.
pub async fn missing(state: &DynStore, blob: &BlobRef) -> Result<bool, Status> {
    match state.head(&blob.key).await {
        Ok(object) => Ok(object.bytes != blob.bytes),
        Err(StoreError::NotFound { .. }) => Ok(true),
        Err(error) => Err(of_store("looking for a blob", &error)),
    }
}

/// Only shared blobs are brought by submitters, so that none writes anywhere else.
pub fn check(blob: &BlobRef) -> Result<(), Status> {
    if *blob != BlobRef::shared(blob.sha256.clone(), blob.bytes) {
        return Err(Status::invalid_argument(format!("`{}` is not where a blob is kept", blob.key)));
    }
    if blob.bytes > BLOB_BYTES_MAX {
        return Err(Status::invalid_argument(format!("a blob of {} bytes is too large", blob.bytes)));
    }
    Ok(())
}

pub async fn store(state: &DynStore, blob: &BlobRef, bytes: Bytes) -> Result<(), Status> {
    let hashed = bytes.clone();
    let is = tokio::task::spawn_blocking(move || sha256_hex(&hashed)).await;
    let is = is.map_err(|_| Status::unavailable("the coordinator is stopping"))?;
    if is != blob.sha256 {
        return Err(Status::data_loss(format!("the blob has SHA-256 {is} where {} was promised", blob.sha256)));
    }
    match state.put(&blob.key, bytes, Put::Overwrite).await {
        Ok(_) => Ok(()),
        Err(error) => Err(of_store("storing a blob", &error)),
    }
}

/// Only what may go well another time is worth a submitter's patience.
fn of_store(doing: &str, error: &StoreError) -> Status {
    let story = format!("{doing}: {}", crate::commit::of_store(error).message);
    if error.retryable() { Status::unavailable(story) } else { Status::internal(story) }
}
