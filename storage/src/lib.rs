//! Bytes under keys: S3, a directory or memory behind one small trait.
//!
//! Everything that must survive lies in a [`Store`]: inputs, broadcasts, runs, parts. Callers choose a store by URL
//! ([`open`]) and from then on cannot tell which one they have; [`conformance`] holds all of them to the same answers.
//! Conditional writes ([`Put`]) are what fences two writers, so exactly one of many racers wins in each of them, and
//! [`check_conditional_writes`] refuses a store where that is not so. Nothing here knows jobs, records or Parquet.

pub mod conformance;
pub mod pace;

mod copy;
mod directory;
mod error;
mod fetch;
mod http;
mod key;
mod memory;
mod metadata;
mod meter;
mod open;
mod overlap;
mod packing;
mod present;
mod probe;
mod retry;
mod s3;
mod unique;

pub use copy::copy;
pub use directory::{DANGLING, Directory};
pub use error::{BoxError, StoreError, story};
pub use fetch::fetch;
pub use key::{check_key, object_url, stands_for_folder};
pub use memory::Memory;
pub use meter::{Meter, metered};
pub use mr_core::Object;
pub use open::open;
pub use overlap::{Overlap, overlap};
pub use packing::unpacked;
pub use present::present;
pub use probe::check_conditional_writes;
pub use retry::BackOff;
pub use s3::{Patience, S3};
pub use unique::chance;

use async_trait::async_trait;
use bytes::Bytes;
use std::fmt::Debug;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

/// Bytes under keys. Keys are relative to the store's root, `/`-separated, and never leave it.
#[async_trait]
pub trait Store: Send + Sync + Debug {
    /// The root as users write it, ending in `/` and not percent-encoded; a whole URI is this and the key.
    fn url(&self) -> &str;

    /// Every object whose key begins with `prefix`, folders included all the way down, in the byte order of whole keys.
    /// A root that is not there is `NotFound`, so that a missing input is told from an empty one.
    async fn list(&self, prefix: &str) -> Result<Vec<Object>, StoreError>;

    /// The object's bytes, all from one version of it, and as many as there should be. Whole objects are held against the
    /// sums that a store keeps; of a range nobody keeps one, so whoever reads it checks it.
    async fn get(&self, key: &str, options: GetOptions) -> Result<Got, StoreError>;

    async fn head(&self, key: &str) -> Result<Object, StoreError>;

    /// Writes the object whole or not at all, and answers with its ETag. Folders on the way are made.
    ///
    /// After `Transient` the write may or may not have happened: the answer was lost.
    async fn put(&self, key: &str, bytes: Bytes, how: Put) -> Result<String, StoreError>;

    /// The same with all of a file, which may be gone from where it was afterwards: a store of files takes it as it is, if it
    /// can. Nobody writes to it any more.
    async fn put_file(&self, key: &str, file: &Path, how: Put) -> Result<String, StoreError> {
        let doing = || format!("reading {}", file.display());
        let read = tokio::fs::read(file).await.map_err(|error| StoreError::from_io(doing(), error));
        self.put(key, read?.into(), how).await
    }

    /// Makes the names of these objects last, where [`Put::Overwrite`] and [`copy`] only see to their bytes: to be called
    /// before something that refers to them is written. Most stores have nothing left to do.
    async fn sync(&self, keys: &[&str]) -> Result<(), StoreError> {
        let _ = keys;
        Ok(())
    }

    /// Removes the object; one that is not there is removed already.
    async fn delete(&self, key: &str) -> Result<(), StoreError>;

    /// From now on nothing is written if the folder that the keys lie in has become another one, as when a file system is
    /// unmounted under it. A store of objects has no such thing.
    async fn pin(&self) -> Result<(), StoreError> {
        Ok(())
    }

    /// Which of ours this is, so that [`copy`] may take a short cut. A store that wraps another keeps the default, and
    /// its copies then pass through its `get` and `put`.
    fn native(&self) -> Native<'_> {
        Native::Other
    }

    /// A handle to this store whose requests that meter counts, for [`metered`]; `None`: there is nothing to count.
    fn metered(&self, meter: &Meter) -> Option<DynStore> {
        let _ = meter;
        None
    }
}

pub type DynStore = Arc<dyn Store>;

/// When a write may take place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Put {
    Overwrite,
    /// The same for bytes that are of no use once this machine has gone down: they need not be on its disk.
    Temporary,
    /// Only if there is no such object: otherwise `Exists`.
    IfAbsent,
    /// Only over the object with this ETag: otherwise, or when it is gone, `Changed`.
    IfMatch(String),
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GetOptions {
    /// Only the version with this ETag: otherwise `Changed`.
    pub if_match: Option<String>,
    /// Only these bytes. The end is cut to the object's; a start beyond it is `Fatal`.
    pub range: Option<Range<u64>>,
}

impl GetOptions {
    pub fn if_match(etag: impl Into<String>) -> Self {
        Self { if_match: Some(etag.into()), range: None }
    }

    pub fn range(range: Range<u64>) -> Self {
        Self { if_match: None, range: Some(range) }
    }
}

/// What a read brought, and the version it came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Got {
    pub bytes: Bytes,
    pub etag: String,
}

/// The stores that [`copy`] knows from inside.
pub enum Native<'a> {
    Directory(&'a Directory),
    S3(&'a S3),
    Other,
}
