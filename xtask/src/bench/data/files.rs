//! The files of one run, and how ours and others are started on them.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;

use crate::bench::beside::timed;
use crate::photos::cores;
use crate::shell::{command, mr_submit};

pub const OURS: &str = "ours";

pub struct Files {
    pub input: PathBuf,
    /// Made by the run, and gone with the next.
    pub results: PathBuf,
}

impl Files {
    /// Our job, with `--set` for each setting.
    pub fn ours(&self, job: &str, settings: &[String]) -> Command {
        let mut submit = mr_submit();
        submit.args([job, "--keep-days", "0"]);
        for setting in settings {
            submit.args(["--set", setting]);
        }
        self.named(submit)
    }

    /// A peer in Python, with what it wants to be told beside cores and files.
    pub fn python(&self, python: &Path, args: &[&str]) -> Command {
        let mut peer = command(python);
        peer.args(args).args(["--threads", &cores().to_string()]);
        self.named(peer)
    }

    fn named(&self, mut process: Command) -> Command {
        process.arg("--input").arg(&self.input).arg("--output").arg(&self.results);
        process
    }

    /// A peer in the shell: its input is `$1`, the folder for its results `$2`, and it may use `$3` cores.
    pub fn shell(&self, script: &str) -> Command {
        let mut shell = command("sh");
        shell.env("LC_ALL", "C").arg("-c").arg(format!("mkdir -p \"$2\" && {script}")).arg("sh");
        shell.arg(&self.input).arg(&self.results).arg(cores().to_string());
        shell
    }

    /// Seconds of one run.
    pub fn time(&self, mut process: Command) -> Result<f64> {
        timed(&mut process, &self.results)
    }
}
