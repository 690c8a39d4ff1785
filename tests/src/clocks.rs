//! Wall clocks that are set while programs run: a small library, compiled here and preloaded, adds to what they are told
//! the seconds that a file holds.

use crate::Scratch;
use std::path::{Path, PathBuf};
use std::process::Command;

const SOURCE: &str = include_str!("clock.c");

/// A clock for each process, by the name under which it goes to the store.
#[derive(Debug)]
pub struct Clocks {
    library: PathBuf,
    folder: PathBuf,
}

impl Clocks {
    /// Needs a C compiler, as building the programs did.
    pub fn new(scratch: &Scratch) -> Self {
        let source = scratch.write("clocks/clock.c", SOURCE);
        let library = source.with_file_name("libclock.so");
        let mut compiler = Command::new("cc");
        compiler.args(["-shared", "-fPIC", "-O1", "-o"]).arg(&library).arg(&source);
        let compiled = compiler.status().expect("there is a C compiler");
        assert!(compiled.success(), "compiling {}: {compiled}", source.display());
        Self { folder: library.parent().expect("it lies in a folder").to_owned(), library }
    }

    /// What the process is told.
    pub(crate) fn environment(&self, client: &str) -> [(&'static str, PathBuf); 2] {
        [("LD_PRELOAD", self.library.clone()), ("TEST_CLOCK", self.of(client))]
    }

    fn of(&self, client: &str) -> PathBuf {
        self.folder.join(format!("{client}.clock"))
    }

    /// From now on the process's clock is so far ahead of the right time, or behind.
    pub fn set(&self, client: &str, seconds: i64) {
        let new = self.folder.join("new");
        let write = |path: &Path| std::fs::write(path, format!("{seconds}\n"));
        // At once, so that nobody reads half a number.
        write(&new).and_then(|()| std::fs::rename(&new, self.of(client))).expect("there is room for a number");
    }
}
