//! What the tests of this room share: the data beside the repository.

use std::path::{Path, PathBuf};

/// A folder of the data beside the repository. Without it a test is skipped loudly; in CI it is always there.
pub fn shared(folder: &str) -> Option<PathBuf> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared");
    let path = std::env::var_os("MR_SHARED").map_or(beside, PathBuf::from).join(folder);
    if path.exists() {
        return Some(path);
    }
    assert!(std::env::var_os("CI").is_none(), "in CI {} must be there", path.display());
    eprintln!("SKIPPED: this test needs ../shared ({} is not there)", path.display());
    None
}
