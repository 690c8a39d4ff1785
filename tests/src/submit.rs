//! `mr-submit`, called as a user would.

use crate::programs::command;
use crate::{Coordinator, Ended, Hosts, Output, Running, S3Server, Scratch};
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// Longer than any run takes, on a slow machine too.
const LIMIT: Duration = Duration::from_secs(300);

/// A run of the main job, or of what comes after it.
pub struct Submit<'a> {
    scratch: &'a Scratch,
    command: Command,
    output: PathBuf,
    /// A run here keeps nothing for the next, which is to do everything itself.
    fresh: bool,
}

/// `mr-submit` with these arguments and nothing else.
pub fn submit<S: AsRef<OsStr>>(scratch: &Scratch, args: impl IntoIterator<Item = S>) -> Ended {
    let mut command = command(scratch, "mr-submit", None);
    command.args(args);
    Running::start(command, scratch).wait(LIMIT)
}

impl<'a> Submit<'a> {
    /// Of the photos in `input`, a folder or a URL, to `output`, a URL or a name in the scratch folder.
    pub fn job(scratch: &'a Scratch, input: impl AsRef<OsStr>, output: &str) -> Self {
        Self::over(scratch, input, output, None)
    }

    /// The same with credentials for a bucket.
    pub fn over(scratch: &'a Scratch, input: impl AsRef<OsStr>, output: &str, s3: Option<&S3Server>) -> Self {
        let job = scratch.join("job.toml");
        // Written once: another submitter may be reading it.
        if !job.exists() {
            scratch.write("job.toml", "job = \"image-features\"\nmode = \"overwrite\"\n");
        }
        let mut command = command(scratch, "mr-submit", s3);
        command.arg(job).arg("--input").arg(input).args(["--output", output]);
        Self { scratch, command, output: scratch.join(output), fresh: true }
    }

    /// Of any job, by its file in the scratch folder.
    pub fn of(scratch: &'a Scratch, job: &str, input: impl AsRef<OsStr>, output: &str) -> Self {
        let mut command = command(scratch, "mr-submit", None);
        command.arg(job).arg("--input").arg(input).args(["--output", output]);
        Self { scratch, command, output: scratch.join(output), fresh: true }
    }

    /// `verify` of an output, with credentials if it lies in a bucket.
    pub fn verify(scratch: &'a Scratch, output: &str, s3: Option<&S3Server>) -> Self {
        let mut command = command(scratch, "mr-submit", s3);
        command.args(["verify", output]);
        Self { scratch, command, output: scratch.join(output), fresh: false }
    }

    /// `plan` of the main job, with credentials for a bucket.
    pub fn plan(scratch: &'a Scratch, input: impl AsRef<OsStr>, output: &str, s3: Option<&S3Server>) -> Self {
        let mut planned = Self::over(scratch, input, output, s3);
        let mut command = command(scratch, "mr-submit", s3);
        command.arg("plan").args(planned.command.get_args());
        planned.command = command;
        Self { fresh: false, ..planned }
    }

    pub fn set(mut self, setting: impl AsRef<str>) -> Self {
        self.command.arg("--set").arg(setting.as_ref());
        self
    }

    pub fn args<S: AsRef<OsStr>>(mut self, args: impl IntoIterator<Item = S>) -> Self {
        self.command.args(args);
        self
    }

    /// On a host of its own.
    pub fn on(mut self, hosts: &Hosts, host: &str) -> Self {
        self.command = hosts.on(host, self.command);
        self
    }

    /// Shows that certificate.
    pub fn certs(self, folder: &str) -> Self {
        self.args(["--certs", folder])
    }

    /// Says all that it does, with a further secret among its credentials.
    pub fn says_all(mut self, token: &str) -> Self {
        self.command.env("MR_LOG", "trace").env("AWS_SESSION_TOKEN", token);
        self
    }

    pub fn slots(self, slots: u32) -> Self {
        self.args(["--slots", &slots.to_string()])
    }

    /// On these kernels and no others.
    pub fn kernels(mut self, names: &str) -> Self {
        self.command.env("MR_KERNELS", names);
        self
    }

    /// A run here keeps what it does for the next, and takes over what the last one has done.
    pub fn keeping(mut self) -> Self {
        self.fresh = false;
        self
    }

    pub fn to(self, coordinator: &Coordinator) -> Self {
        self.keeping().args(["--coordinator", coordinator.url()])
    }

    /// With Google's network from `../shared`.
    pub fn weights(self, path: &Path) -> Self {
        self.set(format!("params.weights={}", path.display()))
    }

    pub fn start(mut self) -> Running {
        if self.fresh && !self.command.get_args().any(|arg| arg == "--coordinator") {
            self.command.args(["--keep-days", "0"]);
        }
        Running::start(self.command, self.scratch)
    }

    pub fn run(self) -> Ended {
        self.start().wait(LIMIT)
    }

    /// Runs it to a good end, and opens what it wrote into the scratch folder.
    #[track_caller]
    pub fn done(self) -> Output {
        let output = self.output.clone();
        self.run().done();
        Output::open(&output)
    }
}
