//! Broadcasts that submitters bring: stored once under their content hash.

use bytes::Bytes;
use mr_core::{BlobRef, sha256_hex};
use mr_storage::{DynStore, GetOptions, Put, StoreError};
use tonic::Status;

/// More than any weights that a job would be given, and less than would bring the coordinator down.
pub const BLOB_BYTES_MAX: u64 = 2 << 30;

/// What may be asked about at once, and more than any job has.
pub const ASKED_MAX: usize = 64;

/// Memory for a blob as a whole, in permits of a MiB each.
pub fn room(blob: &BlobRef) -> u32 {
    u32::try_from(blob.bytes.div_ceil(1 << 20)).expect("it was checked")
}

/// Whether the state store lacks the blob, or has something of another length in its place; of another content, if it may be
/// `read`, which holds it as a whole.
pub async fn missing(state: &DynStore, blob: &BlobRef, read: bool) -> Result<bool, Status> {
    let doing = "looking for a blob";
    match state.head(&blob.key).await {
        Ok(object) if object.bytes != blob.bytes => return Ok(true),
        Ok(_) if !read => return Ok(false),
        Ok(_) => {}
        Err(StoreError::NotFound { .. }) => return Ok(true),
        Err(error) => return Err(of_store(doing, &error)),
    }
    match state.get(&blob.key, GetOptions::default()).await {
        Ok(got) => Ok(hash(got.bytes).await? != blob.sha256),
        Err(StoreError::NotFound { .. }) => Ok(true),
        Err(error) => Err(of_store(doing, &error)),
    }
}

async fn hash(bytes: Bytes) -> Result<String, Status> {
    let hashed = tokio::task::spawn_blocking(move || sha256_hex(&bytes)).await;
    hashed.map_err(|_| Status::unavailable("the coordinator is stopping"))
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
    let is = hash(bytes.clone()).await?;
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
