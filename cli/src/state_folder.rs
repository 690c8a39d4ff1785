//! Where a run on this machine keeps its working files: a folder of its own under the user's, gone when the run ends.
//!
//! Runs may be under way side by side, and one may have been killed. Each holds a lock on a file in its folder, which
//! the system lets go when the process dies; so a folder whose lock can be had is rubbish, and the next run removes it.

use crate::job_id;
use anyhow::Context;
use mr_core::JobId;
use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};

#[derive(Debug)]
pub struct StateFolder {
    path: PathBuf,
    lock: File,
}

const LOCK: &str = "lock";

impl StateFolder {
    /// # Errors
    /// When the folder can't be made.
    pub fn make(root: &Path, id: &JobId) -> anyhow::Result<Self> {
        let path = root.join(id.as_str());
        let name = path.join(LOCK);
        loop {
            std::fs::create_dir_all(&path).with_context(|| format!("making {}", path.display()))?;
            let lock = File::create(&name).with_context(|| format!("making {}", name.display()))?;
            lock.lock().with_context(|| format!("locking {}", name.display()))?;
            // Another run may have swept the folder between the last two lines, taking it for rubbish.
            if is_at(&lock, &name) {
                sweep(root);
                return Ok(Self { path, lock });
            }
        }
    }

    pub fn state(&self) -> PathBuf {
        self.path.join("state")
    }

    pub fn scratch(&self) -> PathBuf {
        self.path.join("scratch")
    }
}

impl Drop for StateFolder {
    fn drop(&mut self) {
        remove(&self.path);
        _ = self.lock.unlock();
    }
}

/// The user's own folder for working files, by the environment.
pub fn default_root(env: impl Fn(&str) -> Option<std::ffi::OsString>) -> Option<PathBuf> {
    // A relative XDG path is invalid, says its specification, and to be passed over.
    let absolute = |name: &str| env(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let cache = absolute("XDG_CACHE_HOME").or_else(|| absolute("HOME").map(|home| home.join(".cache")));
    cache.map(|cache| cache.join("mr"))
}

fn is_at(file: &File, path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    let place = |metadata: std::fs::Metadata| (metadata.dev(), metadata.ino());
    match (file.metadata(), std::fs::metadata(path)) {
        (Ok(file), Ok(there)) => place(file) == place(there),
        _ => false,
    }
}

/// Removes what killed runs left. Only folders that a run of ours made are looked at.
fn sweep(root: &Path) {
    let Ok(entries) = std::fs::read_dir(root) else { return };
    for entry in entries.flatten() {
        let path = entry.path();
        if !entry.file_name().to_str().is_some_and(job_id::is_one) {
            continue;
        }
        let Ok(lock) = File::options().write(true).open(path.join(LOCK)) else { continue };
        match lock.try_lock() {
            Ok(()) => remove(&path),
            Err(TryLockError::WouldBlock) => {}
            Err(TryLockError::Error(error)) => tracing::info!("looking at {}: {error}", path.display()),
        }
    }
}

/// The lock goes last, so that a folder that is removed only in part is found again.
fn remove(path: &Path) {
    let inner = ["state", "scratch"].map(|name| std::fs::remove_dir_all(path.join(name)));
    for result in inner {
        match result {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return tracing::warn!("removing working files in {}: {error}", path.display());
            }
            _ => {}
        }
    }
    if let Err(error) = std::fs::remove_dir_all(path) {
        tracing::warn!("removing {}: {error}", path.display());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(chance: &str) -> JobId {
        JobId::parse(&format!("20260101-000000-{chance}")).unwrap()
    }

    #[test]
    fn a_run_leaves_nothing_and_sweeps_what_killed_ones_left() {
        let root = tempfile::tempdir().unwrap();
        let dead = root.path().join(id("aaaaaa").as_str());
        std::fs::create_dir_all(dead.join("state/deep")).unwrap();
        std::fs::write(dead.join(LOCK), "").unwrap();
        let foreign = root.path().join("photos");
        std::fs::create_dir(&foreign).unwrap();
        std::fs::write(foreign.join(LOCK), "").unwrap();
        let one = StateFolder::make(root.path(), &id("bbbbbb")).unwrap();
        std::fs::create_dir(one.state()).unwrap();
        let other = StateFolder::make(root.path(), &id("cccccc")).unwrap();
        assert!(!dead.exists() && foreign.exists());
        assert!(one.state().exists(), "it is in use");
        drop((one, other));
        let left: Vec<_> = std::fs::read_dir(root.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(left, ["photos"]);
    }

    #[test]
    fn working_files_go_to_the_users_cache() {
        let root = |cache: Option<&str>, home: Option<&str>| {
            default_root(|name| if name == "HOME" { home } else { cache }.map(Into::into))
        };
        assert_eq!(root(Some("/c"), Some("/h")), Some("/c/mr".into()));
        assert_eq!(root(Some("relative"), Some("/h")), Some("/h/.cache/mr".into()));
        assert_eq!(root(None, Some("/h")), Some("/h/.cache/mr".into()));
        assert_eq!(root(None, Some("")), None);
        assert_eq!(root(None, None), None);
    }
}
