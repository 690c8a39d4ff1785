//! A disk with little room, for tests that fill it.

use crate::Scratch;
use crate::shared::skipped;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

/// In memory, mounted in the scratch folder, and taken away when it is dropped: after whoever uses it, before the folder.
pub struct SmallDisk(PathBuf);

impl SmallDisk {
    /// Mounting needs root. Without it a test skips, or fails where everything must be shown.
    pub fn mount(scratch: &Scratch, name: &str, megabytes: u32) -> Option<Self> {
        let folder = scratch.join(name);
        std::fs::create_dir(&folder).expect("nobody else made it");
        let mut command = Command::new("mount");
        let mounted = command.args(["-t", "tmpfs", "-o", &format!("size={megabytes}m"), "tmpfs"]).arg(&folder).output();
        match mounted {
            Ok(done) if done.status.success() => Some(Self(folder)),
            other => {
                skipped(&format!("this test mounts a small disk, as root can: {other:?}"));
                None
            }
        }
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Until nothing more goes in.
    pub fn fill(&self) {
        let mut filler = std::fs::File::create(self.filler()).expect("there is room for a name");
        let zeros = [0; 4096];
        while filler.write_all(&zeros).is_ok() {}
    }

    /// What filled it goes.
    pub fn free(&self) {
        std::fs::remove_file(self.filler()).expect("it was filled");
    }

    fn filler(&self) -> PathBuf {
        self.0.join("filler")
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Also while something still lies open in it, after a test that failed.
        _ = Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}
