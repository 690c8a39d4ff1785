//! A test's folder and its turn.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Instant;

/// Gone when the test ends well; kept, and its place said, when it fails.
pub struct Scratch {
    name: &'static str,
    folder: Option<tempfile::TempDir>,
    path: PathBuf,
    started: Instant,
    logs: AtomicU32,
    _turn: File,
}

impl Scratch {
    /// Waits for the test's turn. Threads of one test program and programs beside each other wait for the same lock,
    /// which the system lets go when a process dies.
    pub fn enter(name: &'static str) -> Self {
        Self::enter_by(name, "mr-tests.lock")
    }

    /// The same for a test that waits more than it computes: it may do so beside one that uses every core, and takes turns
    /// with its like. `.config/nextest.toml` names their programs.
    pub fn enter_beside(name: &'static str) -> Self {
        Self::enter_by(name, "mr-tests-beside.lock")
    }

    fn enter_by(name: &'static str, lock: &str) -> Self {
        let lock = std::env::temp_dir().join(lock);
        let turn = File::create(&lock).unwrap_or_else(|error| panic!("making {}: {error}", lock.display()));
        turn.lock().unwrap_or_else(|error| panic!("locking {}: {error}", lock.display()));
        let folder = tempfile::Builder::new().prefix("mr-tests-").tempdir().expect("the system has room for a folder");
        // The programs resolve links in some places and not in others; names are compared as they are here.
        let path = folder.path().canonicalize().expect("it was just made");
        std::fs::create_dir(path.join("logs")).expect("it was just made");
        Self { name, folder: Some(folder), path, started: Instant::now(), logs: AtomicU32::new(0), _turn: turn }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn join(&self, name: impl AsRef<Path>) -> PathBuf {
        self.path.join(name)
    }

    /// Writes a file below the folder and gives its path.
    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.join(name);
        std::fs::create_dir_all(path.parent().expect("it lies below the folder")).expect("there is room");
        std::fs::write(&path, content).unwrap_or_else(|error| panic!("writing {}: {error}", path.display()));
        path
    }

    /// A name for a log that no other has.
    pub(crate) fn log(&self, program: &str) -> PathBuf {
        let number = self.logs.fetch_add(1, Ordering::Relaxed);
        self.path.join(format!("logs/{number:03}-{program}"))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        say(&format!("{}: {:.1} s", self.name, self.started.elapsed().as_secs_f64()));
        if std::thread::panicking()
            && let Some(folder) = self.folder.take()
        {
            say(&format!("{}: kept {} with logs/", self.name, folder.keep().display()));
        }
    }
}

/// Says it past the test runner, which keeps what is printed from those who watch.
pub(crate) fn say(line: &str) {
    // Without a stderr there is nobody to tell.
    _ = std::io::stderr().write_all(format!("{line}\n").as_bytes());
}
