//! What tests run in Python, in environments of the repository's own: the readers that users read with, and moto.

use crate::shared::skipped;
use crate::{Ended, Running, Scratch};
use std::ffi::OsStr;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

pub struct Python(PathBuf);

impl Python {
    /// Made at the first call, which takes a while. Without it a test skips, or fails where everything must be shown.
    pub fn ready() -> Option<Self> {
        match xtask::venv::venv() {
            Ok(python) => Some(Self(python)),
            Err(error) => {
                skipped(&format!("this test needs Python with its readers: {error:#}"));
                None
            }
        }
    }

    /// Another one, with a stand-in for AWS's control plane and what checks templates for it.
    pub fn with_moto() -> Option<Self> {
        let note = "moto goes into target/venv-aws, once (about 50 MB to download)";
        match xtask::venv::environment("target/venv-aws", "tests/requirements-aws.txt", note) {
            Ok(python) => Some(Self(python)),
            Err(error) => {
                skipped(&format!("this test needs moto: {error:#}"));
                None
            }
        }
    }

    /// One that was installed beside it.
    pub fn program(&self, name: &str) -> PathBuf {
        self.0.with_file_name(name)
    }

    /// Starts one of the scripts in `tests/python`.
    pub fn start<S: AsRef<OsStr>>(
        &self,
        scratch: &Scratch,
        script: &str,
        args: impl IntoIterator<Item = S>,
    ) -> Running {
        let mut command = Command::new(&self.0);
        command.arg(xtask::shell::root().join("tests/python").join(script)).args(args);
        command.current_dir(scratch.path()).env("PYTHONDONTWRITEBYTECODE", "1");
        Running::start(command, scratch)
    }

    /// Runs it to a good end and gives what it printed.
    #[track_caller]
    pub fn run<S: AsRef<OsStr>>(&self, scratch: &Scratch, script: &str, args: impl IntoIterator<Item = S>) -> Ended {
        let ended = self.start(scratch, script, args).wait(Duration::from_secs(300)).done();
        crate::scratch::say(ended.stdout.trim_end());
        ended
    }
}
