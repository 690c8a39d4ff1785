//! One object from one place to another, without moving its bytes where the stores can do that.

use crate::{GetOptions, Native, Put, Store, StoreError};
use tokio::sync::Semaphore;

/// Objects of a part's size that pass through this process at once, however many copies are asked for: each is in memory
/// whole, and sixteen parts of a large job would be gigabytes.
static IN_MEMORY: Semaphore = Semaphore::const_new(4);

/// Copies over whatever is at `to_key`. Within one file system the copy is a link, within one S3 service it never leaves
/// that; anything else is read and written, whole and in memory, so this is for objects of a part's size.
pub async fn copy(from: &dyn Store, from_key: &str, to: &dyn Store, to_key: &str) -> Result<(), StoreError> {
    match (from.native(), to.native()) {
        (Native::Directory(source), Native::Directory(target)) => {
            crate::check_key(from_key)?;
            if target.link(source.path(from_key), to_key).await? {
                return Ok(());
            }
        }
        (Native::S3(source), Native::S3(target)) => {
            if target.copy_from(source, from_key, to_key).await? {
                return Ok(());
            }
        }
        (Native::Directory(_) | Native::S3(_) | Native::Other, _) => {}
    }
    let _place = IN_MEMORY.acquire().await.expect("it is never closed");
    let got = from.get(from_key, GetOptions::default()).await?;
    to.put(to_key, got.bytes, Put::Overwrite).await?;
    Ok(())
}
