//! Blobs that every slot of a host shares: fetched once, checked against their content hash, and those that are not one
//! job's own kept on disk for the next stage, job and process. In memory they stay as long as someone uses them.

use crate::lost::{self, Unread};
use crate::slots::beside;
use bytes::Bytes;
use mr_core::{BlobRef, BroadcastRef, Failure, FileRef, sha256_hex};
use mr_storage::{GetOptions, Store, object_url};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, Weak};
use std::time::{Duration, SystemTime};
use tokio::sync::OnceCell;

/// A broadcast at hand.
#[derive(Clone, Debug)]
pub struct Broadcast {
    pub name: String,
    pub blob: BlobRef,
    pub bytes: Bytes,
}

/// What may lie on disk before what was used longest ago goes: every job leaves some, and hosts live long.
const DISK_BYTES_MAX: u64 = 4 << 30;
/// A file that is still unfinished after so long has no writer any more.
const UNFINISHED_AGE_MAX: Duration = Duration::from_secs(24 * 60 * 60);
const UNFINISHED: &str = "part";

pub(crate) struct BroadcastCache {
    folder: PathBuf,
    disk_bytes_max: u64,
    /// By hash, those that someone is waiting for.
    fetching: Mutex<BTreeMap<String, Weak<OnceCell<Bytes>>>>,
}

impl BroadcastCache {
    pub(crate) fn new(folder: PathBuf) -> Self {
        Self { folder, disk_bytes_max: DISK_BYTES_MAX, fetching: Mutex::default() }
    }

    pub(crate) async fn get_all(&self, state: &dyn Store, wanted: &[BroadcastRef]) -> Result<Vec<Broadcast>, Failure> {
        let mut found = Vec::with_capacity(wanted.len());
        for BroadcastRef { name, blob } in wanted {
            let fetching = self.fetching(&blob.sha256);
            let bytes = fetching.get_or_try_init(|| self.get(state, name, blob)).await?.clone();
            found.push(Broadcast { name: name.clone(), blob: blob.clone(), bytes });
        }
        Ok(found)
    }

    /// Whoever comes first fills it while the others wait.
    fn fetching(&self, sha256: &str) -> Arc<OnceCell<Bytes>> {
        let mut fetching = self.fetching.lock().expect("no one panics while holding it");
        fetching.retain(|_, cell| cell.strong_count() > 0);
        if let Some(cell) = fetching.get(sha256).and_then(Weak::upgrade) {
            return cell;
        }
        let cell = Arc::default();
        fetching.insert(sha256.to_owned(), Arc::downgrade(&cell));
        cell
    }

    async fn get(&self, state: &dyn Store, name: &str, blob: &BlobRef) -> Result<Bytes, Failure> {
        if *blob != BlobRef::shared(blob.sha256.clone(), blob.bytes) {
            return made_by_a_task(state, blob).await;
        }
        let path = self.folder.join(&blob.sha256);
        let (there, sha256) = (path.clone(), blob.sha256.clone());
        if let Some(bytes) = beside(move || Ok(from_disk(&there, &sha256))).await? {
            return Ok(bytes);
        }
        let got = state.get(&blob.key, GetOptions::default()).await.map_err(|error| {
            let story = format!("fetching broadcast `{name}`: {}", mr_storage::story(&error));
            if error.retryable() { Failure::transient(story) } else { Failure::application(story) }
        })?;
        let (name, sha256, most) = (name.to_owned(), blob.sha256.clone(), self.disk_bytes_max);
        let url = object_url(state.url(), &blob.key);
        beside(move || {
            let is = sha256_hex(&got.bytes);
            if is != sha256 {
                let story = format!(
                    "broadcast `{name}` has SHA-256 {is} where the job has {sha256}: {url} is damaged; who submits the job anew \
                     stores it again"
                );
                return Err(Failure::permanent(story));
            }
            // A convenience: without the copy the next one only fetches again.
            if let Err(error) = keep(&path, &got.bytes).and_then(|()| make_room(&path, most)) {
                tracing::warn!("keeping broadcast `{name}` at {}: {error}", path.display());
            }
            Ok(got.bytes)
        })
        .await
    }
}

/// One job's own is of no use to the next, and kept nowhere.
async fn made_by_a_task(state: &dyn Store, blob: &BlobRef) -> Result<Bytes, Failure> {
    let file = FileRef { key: blob.key.clone(), bytes: blob.bytes, crc32: 0 };
    lost::read(&blob.key, || async {
        let bytes = lost::get(state, &file, None).await?;
        let of = bytes.clone();
        let is = beside(move || Ok(sha256_hex(&of))).await.map_err(Unread::Failed)?;
        if is != blob.sha256 {
            return Err(Unread::Damaged(format!("its SHA-256 is {is} where the job has {}", blob.sha256)));
        }
        Ok(bytes)
    })
    .await
}

/// The copy, if it is there and whole.
fn from_disk(path: &Path, sha256: &str) -> Option<Bytes> {
    let bytes = fs::read(path).ok()?;
    if sha256_hex(&bytes) != sha256 {
        tracing::warn!("the copy of a broadcast at {} is damaged; it is fetched again", path.display());
        return None;
    }
    // Its time of use: the oldest go first. A disk that can't be written to keeps what it has anyway.
    _ = File::options().append(true).open(path).and_then(|file| file.set_modified(SystemTime::now()));
    Some(bytes.into())
}

fn keep(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let folder = path.parent().expect("it is in the folder of broadcasts");
    fs::create_dir_all(folder)?;
    let unfinished = path.with_extension(format!("{}.{UNFINISHED}", std::process::id()));
    fs::write(&unfinished, bytes)?;
    fs::rename(&unfinished, path)
}

/// Removes what was used longest ago, but not `kept`, until at most `most` bytes lie there.
fn make_room(kept: &Path, most: u64) -> io::Result<()> {
    let folder = kept.parent().expect("it is in the folder of broadcasts");
    let mut copies = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        // What is gone meanwhile takes no room.
        let Ok(metadata) = entry.metadata() else { continue };
        let (path, modified) = (entry.path(), metadata.modified()?);
        if path.extension().is_none() {
            copies.push((modified, metadata.len(), path));
        } else if modified.elapsed().is_ok_and(|age| age > UNFINISHED_AGE_MAX) {
            _ = fs::remove_file(path);
        }
    }
    copies.sort();
    let mut total: u64 = copies.iter().map(|(_, bytes, _)| bytes).sum();
    for (_, bytes, path) in copies.iter().filter(|(_, _, path)| path != kept) {
        if total <= most {
            break;
        }
        fs::remove_file(path)?;
        total -= bytes;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use mr_storage::{Got, Memory, Object, Put, StoreError};
    use std::sync::atomic::{AtomicU32, Ordering};

    async fn stored(state: &Memory, content: &'static str) -> BroadcastRef {
        let bytes = Bytes::from_static(content.as_bytes());
        let blob = BlobRef::shared(sha256_hex(&bytes), bytes.len() as u64);
        state.put(&blob.key, bytes, Put::Overwrite).await.unwrap();
        BroadcastRef { name: content.into(), blob }
    }

    #[tokio::test]
    async fn a_copy_serves_without_the_store_and_a_damaged_one_is_fetched_again() {
        let folder = tempfile::tempdir().unwrap();
        let cache = || BroadcastCache::new(folder.path().join("broadcasts"));
        let (state, gone) = (Memory::new(), Memory::new());
        let wanted = [stored(&state, "weights").await];
        assert_eq!(cache().get_all(&state, &wanted).await.unwrap()[0].bytes, "weights");
        assert_eq!(cache().get_all(&gone, &wanted).await.unwrap()[0].bytes, "weights");
        let copy = folder.path().join("broadcasts").join(&wanted[0].blob.sha256);
        fs::write(&copy, "weighty").unwrap();
        assert_eq!(cache().get_all(&state, &wanted).await.unwrap()[0].bytes, "weights");
        assert_eq!(fs::read(&copy).unwrap(), b"weights");
    }

    #[tokio::test]
    async fn without_a_disk_it_is_fetched_each_time() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let cache = BroadcastCache::new(file.path().join("broadcasts"));
        let state = Memory::new();
        let wanted = [stored(&state, "weights").await];
        for _ in 0..2 {
            assert_eq!(cache.get_all(&state, &wanted).await.unwrap()[0].bytes, "weights");
        }
        let absent = cache.get_all(&Memory::new(), &wanted).await.unwrap_err();
        assert_eq!(absent.class, mr_core::FailureClass::Application, "{absent}");
    }

    #[tokio::test]
    async fn what_was_used_longest_ago_makes_room() {
        let folder = tempfile::tempdir().unwrap();
        let mut cache = BroadcastCache::new(folder.path().into());
        cache.disk_bytes_max = 8;
        let state = Memory::new();
        let all = [stored(&state, "1111").await, stored(&state, "2222").await, stored(&state, "333").await];
        let age = |wanted: &BroadcastRef, seconds| {
            let file = File::options().append(true).open(folder.path().join(&wanted.blob.sha256)).unwrap();
            file.set_modified(SystemTime::now() - Duration::from_secs(seconds)).unwrap();
        };
        cache.get_all(&state, &all[..2]).await.unwrap();
        age(&all[0], 20);
        age(&all[1], 10);
        let unfinished = folder.path().join("abc.1.part");
        fs::write(&unfinished, "x").unwrap();
        // Reading the older one makes it the newer one.
        cache.get_all(&Memory::new(), &all[..1]).await.unwrap();
        cache.get_all(&state, &all[2..]).await.unwrap();
        let there: Vec<_> = all.iter().map(|wanted| folder.path().join(&wanted.blob.sha256).exists()).collect();
        assert_eq!(there, [true, false, true]);
        assert!(unfinished.exists(), "someone may be writing it");
    }

    /// Counts how often it is read, and takes its time.
    #[derive(Debug)]
    struct Counts {
        memory: Memory,
        gets: AtomicU32,
    }

    #[async_trait::async_trait]
    impl Store for Counts {
        fn url(&self) -> &str {
            self.memory.url()
        }

        async fn list(&self, prefix: &str) -> Result<Vec<Object>, StoreError> {
            self.memory.list(prefix).await
        }

        async fn get(&self, key: &str, options: GetOptions) -> Result<Got, StoreError> {
            self.gets.fetch_add(1, Ordering::SeqCst);
            tokio::time::sleep(Duration::from_millis(20)).await;
            self.memory.get(key, options).await
        }

        async fn head(&self, key: &str) -> Result<Object, StoreError> {
            self.memory.head(key).await
        }

        async fn put(&self, key: &str, bytes: Bytes, how: Put) -> Result<String, StoreError> {
            self.memory.put(key, bytes, how).await
        }

        async fn delete(&self, key: &str) -> Result<(), StoreError> {
            self.memory.delete(key).await
        }
    }

    #[tokio::test]
    async fn those_who_ask_at_once_share_one_fetch_and_after_a_failure_another_tries() {
        let folder = tempfile::tempdir().unwrap();
        let cache = BroadcastCache::new(folder.path().into());
        let state = Counts { memory: Memory::new(), gets: AtomicU32::new(0) };
        let wanted = [stored(&state.memory, "weights").await];
        let all = futures::future::join_all((0..5).map(|_| cache.get_all(&state, &wanted))).await;
        assert!(all.into_iter().all(|got| got.unwrap()[0].bytes == "weights"));
        assert_eq!(state.gets.load(Ordering::SeqCst), 1);

        let absent = [BroadcastRef { name: "absent".into(), blob: BlobRef::shared("00".into(), 1) }];
        let all = futures::future::join_all((0..2).map(|_| cache.get_all(&state, &absent))).await;
        assert!(all.iter().all(Result::is_err));
        assert_eq!(state.gets.load(Ordering::SeqCst), 3);
    }

    #[tokio::test]
    async fn what_is_one_jobs_own_is_not_kept_on_disk() {
        let folder = tempfile::tempdir().unwrap();
        let cache = BroadcastCache::new(folder.path().into());
        let state = Memory::new();
        state.put("work/job/pca", "components".into(), Put::Overwrite).await.unwrap();
        let blob = BlobRef { key: "work/job/pca".into(), sha256: sha256_hex(b"components"), bytes: 10 };
        let wanted = [BroadcastRef { name: "pca".into(), blob }];
        assert_eq!(cache.get_all(&state, &wanted).await.unwrap()[0].bytes, "components");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[tokio::test]
    async fn memory_is_let_go_when_no_one_uses_it() {
        let folder = tempfile::tempdir().unwrap();
        let cache = BroadcastCache::new(folder.path().into());
        let state = Memory::new();
        let wanted = [stored(&state, "weights").await];
        cache.get_all(&state, &wanted).await.unwrap();
        assert!(cache.fetching.lock().unwrap().values().all(|cell| cell.strong_count() == 0));
    }
}
