//! What is made of a folder's files, and made again when they have changed.

use crate::TlsError;
use crate::identity::{CA_FILE, CERT_FILE, Identity, KEY_FILE};
use crate::peer::Role;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

/// Of a folder's three files: which they are, as far as can be told without reading them.
type Stamp = [Option<(u64, u64, Option<SystemTime>)>; 3];

pub struct Fresh<T> {
    folder: PathBuf,
    role: Role,
    make: fn(Identity) -> Result<T, TlsError>,
    made: Mutex<Made<T>>,
}

struct Made<T> {
    of: Stamp,
    until: SystemTime,
    it: Arc<T>,
}

impl<T> Fresh<T> {
    /// # Errors
    /// When the files are of no use.
    pub fn new(folder: &Path, role: Role, make: fn(Identity) -> Result<T, TlsError>) -> Result<Self, TlsError> {
        let (of, identity) = (stamp(folder), Identity::read(folder, role)?);
        warn_of_open_key(folder);
        let until = identity.until;
        let made = Mutex::new(Made { of, until, it: Arc::new(make(identity)?) });
        Ok(Self { folder: folder.to_owned(), role, make, made })
    }

    /// What the files make now. While they are of no use, because they are being replaced at this moment perhaps, what they
    /// made before.
    pub fn get(&self) -> Arc<T> {
        self.refreshed().it.clone()
    }

    /// When the certificate in use ends.
    pub fn until(&self) -> SystemTime {
        self.refreshed().until
    }

    fn refreshed(&self) -> MutexGuard<'_, Made<T>> {
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        let of = stamp(&self.folder);
        if of != made.of {
            let new = Identity::read(&self.folder, self.role).and_then(|identity| {
                let until = identity.until;
                Ok(Made { of, until, it: Arc::new((self.make)(identity)?) })
            });
            match new {
                Ok(new) => {
                    tracing::info!("certificates in {} have changed, and are in use", self.folder.display());
                    *made = new;
                }
                Err(why) => {
                    tracing::warn!("certificates have changed, and those before stay in use: {why}");
                    // Until they change once more.
                    made.of = of;
                }
            }
        }
        made
    }
}

fn stamp(folder: &Path) -> Stamp {
    [CA_FILE, CERT_FILE, KEY_FILE].map(|name| {
        let data = std::fs::metadata(folder.join(name)).ok()?;
        Some((data.ino(), data.len(), data.modified().ok()))
    })
}

fn warn_of_open_key(folder: &Path) {
    let key = folder.join(KEY_FILE);
    if std::fs::metadata(&key).is_ok_and(|data| data.mode() & 0o077 != 0) {
        tracing::warn!("{} can be read by others than its owner: `chmod 600` it", key.display());
    }
}
