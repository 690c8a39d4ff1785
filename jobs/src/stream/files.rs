//! Files that travel with a job, and the folder that its programs run in.

use mr_core::{Failure, without_query};
use mr_mapreduce::Broadcast;
use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// What a file is called where the program runs: the last part of where it was. A URL's query is no part of a name.
///
/// # Errors
/// A sentence when there is no such part.
pub fn name(path: &str) -> Result<String, String> {
    match without_query(path).rsplit('/').next() {
        Some("" | "." | "..") | None => Err(format!("{path:?} is no file")),
        Some(name) => Ok(name.to_owned()),
    }
}

/// The folder of a stage's files on this host, until nobody needs them any more.
pub struct Shipped {
    folder: TempDir,
    names: Vec<String>,
}

impl Shipped {
    pub fn unpack<'a>(scratch: &Path, files: impl Iterator<Item = &'a Broadcast>) -> Result<Self, Failure> {
        let unwritten =
            |error: io::Error| Failure::transient(format!("writing a job's files to {}: {error}", scratch.display()));
        fs::create_dir_all(scratch).map_err(unwritten)?;
        let folder = tempfile::Builder::new().prefix("stream-").tempdir_in(scratch).map_err(unwritten)?;
        let mut names = Vec::new();
        for Broadcast { name: file, bytes, .. } in files {
            names.push(name(file).map_err(Failure::permanent)?);
            let path = folder.path().join(&names[names.len() - 1]);
            fs::write(&path, bytes).map_err(unwritten)?;
            // A script may be what is run.
            fs::set_permissions(&path, Permissions::from_mode(0o755)).map_err(unwritten)?;
        }
        Ok(Self { folder, names })
    }

    /// A folder with these files for one process alone, which may write into it.
    pub fn folder(&self) -> Result<Folder, Failure> {
        let failed = |error: io::Error| Failure::transient(format!("making a folder to run a program in: {error}"));
        let folder = tempfile::Builder::new().prefix("run-").tempdir_in(self.folder.path()).map_err(failed)?;
        for file in &self.names {
            let (from, to) = (self.folder.path().join(file), folder.path().join(file));
            // A copy of its own: it may be written to.
            fs::copy(from, to).map_err(failed)?;
        }
        Ok(Folder(folder))
    }
}

/// Where a process runs, until that has ended.
pub struct Folder(TempDir);

impl Folder {
    pub fn path(&self) -> &Path {
        self.0.path()
    }

    /// A program by its name: one of these files, or one that this host has.
    pub fn program(&self, name: &str) -> PathBuf {
        let here = self.path().join(name);
        if here.is_file() { here } else { PathBuf::from(name) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_called_what_it_is_called_where_it_was() {
        assert_eq!(name("a/b.py").as_deref(), Ok("b.py"));
        assert_eq!(name("https://h/b.py?X-Amz-Signature=a/b").as_deref(), Ok("b.py"));
        assert_eq!(name("https://h/b.py?…").as_deref(), Ok("b.py"), "as it stands in the job's settings");
        assert!(name("a/..").is_err());
    }
}
