//! Photos to work on: real ones from `../shared` where it lies beside the repository, drawn ones everywhere.

use crate::Scratch;
use crate::scratch::say;
use std::path::{Path, PathBuf};
use xtask::photos::{PhotoSet, cores};

/// A folder or file under `../shared`, links resolved. `MR_SHARED` may name another place.
pub fn shared(path: &str) -> Option<PathBuf> {
    let shared = std::env::var_os("MR_SHARED").map_or_else(|| xtask::shell::root().join("../shared"), PathBuf::from);
    shared.join(path).canonicalize().ok()
}

/// Like [`shared`], for a test that can't do without.
pub fn need(path: &str) -> Option<PathBuf> {
    let found = shared(path);
    if found.is_none() {
        skipped(&format!("this test needs ../shared/{path}"));
    }
    found
}

/// Loud, and a failure where everything must be shown.
pub fn skipped(why: &str) {
    assert!(std::env::var_os("CI").is_none(), "{why}");
    say(&format!("SKIPPED: {why}"));
}

/// So many fruit-like photos of their own kind in the folder `name`, the same ones everywhere.
pub fn drawn(scratch: &Scratch, name: &str, count: u64, seed: u64) -> PathBuf {
    let folder = scratch.join(name);
    let set = PhotoSet { count, seed, labels: 12 };
    set.draw(Path::new(&folder), cores()).expect("there is room for photos");
    folder
}
