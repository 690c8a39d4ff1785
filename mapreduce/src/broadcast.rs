//! Blobs that every slot of a host shares: fetched once, checked against their content hash, kept on disk and in
//! memory as long as someone uses them.

use bytes::Bytes;
use mr_core::{BlobRef, BroadcastRef, Failure};
use mr_storage::{GetOptions, Store};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use tokio::sync::OnceCell;

/// A broadcast at hand.
#[derive(Clone, Debug)]
pub struct Broadcast {
    pub name: String,
    pub blob: BlobRef,
    pub bytes: Bytes,
}

pub fn sha256_hex(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// How many blobs stay in memory. A running job has two or three.
const KEPT: usize = 8;

type Slot = Arc<OnceCell<Bytes>>;

pub(crate) struct BroadcastCache {
    folder: PathBuf,
    /// By hash, the most recently used last.
    blobs: Mutex<Vec<(String, Slot)>>,
}

impl BroadcastCache {
    pub(crate) fn new(folder: PathBuf) -> Self {
        Self { folder, blobs: Mutex::new(Vec::new()) }
    }

    pub(crate) async fn get_all(&self, state: &dyn Store, wanted: &[BroadcastRef]) -> Result<Vec<Broadcast>, Failure> {
        let mut found = Vec::with_capacity(wanted.len());
        for BroadcastRef { name, blob } in wanted {
            let bytes = self.slot(&blob.sha256).get_or_try_init(|| self.fetch(state, name, blob)).await?.clone();
            found.push(Broadcast { name: name.clone(), blob: blob.clone(), bytes });
        }
        Ok(found)
    }

    /// The place of that blob, moved to the end; whoever comes first fills it while the others wait.
    fn slot(&self, sha256: &str) -> Slot {
        let mut blobs = self.blobs.lock().expect("no one panics while holding it");
        let slot = match blobs.iter().position(|(hash, _)| hash == sha256) {
            Some(position) => blobs.remove(position).1,
            None => Slot::default(),
        };
        blobs.push((sha256.to_owned(), slot.clone()));
        if blobs.len() > KEPT {
            blobs.remove(0);
        }
        slot
    }

    async fn fetch(&self, state: &dyn Store, name: &str, blob: &BlobRef) -> Result<Bytes, Failure> {
        let path = self.folder.join(&blob.sha256);
        if let Ok(bytes) = tokio::fs::read(&path).await
            && sha256_hex(&bytes) == blob.sha256
        {
            return Ok(bytes.into());
        }
        let got = state.get(&blob.key, GetOptions::default()).await.map_err(|error| {
            let failure = format!("fetching broadcast `{name}`: {}", crate::fetch::story(&error));
            if error.retryable() { Failure::transient(failure) } else { Failure::application(failure) }
        })?;
        let is = sha256_hex(&got.bytes);
        if is != blob.sha256 {
            return Err(Failure::permanent(format!(
                "broadcast `{name}` has SHA-256 {is} where the job was planned with {}",
                blob.sha256
            )));
        }
        // One job's own are of no use to the next, and nobody would ever remove them.
        if *blob == BlobRef::shared(blob.sha256.clone(), blob.bytes) {
            self.keep(&path, &got.bytes).await;
        }
        Ok(got.bytes)
    }

    /// A copy on disk serves the next process. It is a convenience: without it the next one only fetches again.
    async fn keep(&self, path: &std::path::Path, bytes: &[u8]) {
        let part = path.with_extension(format!("{}.part", std::process::id()));
        let written = async {
            tokio::fs::create_dir_all(&self.folder).await?;
            tokio::fs::write(&part, bytes).await?;
            tokio::fs::rename(&part, path).await
        };
        if let Err(error) = written.await {
            tracing::warn!("keeping a broadcast at {}: {error}", path.display());
        }
    }
}

/// What the slots of this process share of a job's stages, so that weights are packed once and not once a task.
#[derive(Default)]
pub(crate) struct CodeCache {
    #[allow(clippy::type_complexity)]
    codes: Mutex<BTreeMap<String, Arc<OnceCell<Arc<dyn crate::StageCode>>>>>,
}

impl CodeCache {
    pub(crate) fn slot(&self, key: &str) -> Arc<OnceCell<Arc<dyn crate::StageCode>>> {
        let mut codes = self.codes.lock().expect("no one panics while holding it");
        if !codes.contains_key(key) && codes.len() >= KEPT {
            codes.clear();
        }
        codes.entry(key.to_owned()).or_default().clone()
    }
}
