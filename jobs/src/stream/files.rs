//! Files that travel with a job, and the folder that its programs run in.

use mr_core::Failure;
use mr_mapreduce::Broadcast;
use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// What a file is called where the program runs: the last part of where it was.
///
/// # Errors
/// A sentence when there is no such part.
pub fn name(path: &str) -> Result<String, String> {
    match path.rsplit('/').next() {
        Some("" | "." | "..") | None => Err(format!("{path:?} is no file")),
        Some(name) => Ok(name.to_owned()),
    }
}

/// The folder of a stage's files on this host, until nobody needs them any more.
pub struct Shipped {
    folder: TempDir,
}

impl Shipped {
    pub fn unpack<'a>(scratch: &Path, files: impl Iterator<Item = &'a Broadcast>) -> Result<Self, Failure> {
        let unwritten =
            |error: io::Error| Failure::transient(format!("writing a job's files to {}: {error}", scratch.display()));
        fs::create_dir_all(scratch).map_err(unwritten)?;
        let folder = tempfile::Builder::new().prefix("stream-").tempdir_in(scratch).map_err(unwritten)?;
        for Broadcast { name: file, bytes, .. } in files {
            let path = folder.path().join(name(file).map_err(Failure::permanent)?);
            fs::write(&path, bytes).map_err(unwritten)?;
            // A script may be what is run.
            fs::set_permissions(&path, Permissions::from_mode(0o755)).map_err(unwritten)?;
        }
        Ok(Self { folder })
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// A program by its name: one of these files, or one that this host has.
    pub fn program(&self, name: &str) -> PathBuf {
        let here = self.folder().join(name);
        if here.is_file() { here } else { PathBuf::from(name) }
    }
}
