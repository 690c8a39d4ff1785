//! One run of the main job as a user starts it: the process from its start to its end, on a fresh output and fresh state.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Instant;

use anyhow::{Context, Result, ensure};

use crate::photos::{LABELS, PhotoSet, cores};
use crate::shell::{mr_submit, root};

/// The folder that was given; else the real fruit photos where they are at hand, else as many drawn ones.
pub fn photos(given: Option<PathBuf>) -> Result<PathBuf> {
    if let Some(given) = given {
        return std::path::absolute(&given).with_context(|| format!("--input {}", given.display()));
    }
    let shared = std::env::var_os("MR_SHARED").map_or_else(|| root().join("../shared"), PathBuf::from);
    let real = shared.join("data/fruits");
    if real.is_dir() {
        return real.canonicalize().with_context(|| format!("finding {}", real.display()));
    }
    let drawn = root().join("target/bench/photos");
    let set = PhotoSet { count: 4020, seed: 1, labels: LABELS };
    eprintln!("bench: {} is not there; drawing {} photos instead", real.display(), set.count);
    set.draw(&drawn, cores())?;
    Ok(drawn)
}

/// What is run.
#[derive(Default)]
pub struct Run<'a> {
    pub slots: Option<usize>,
    pub precision: Option<&'a str>,
    /// Other kernels than the best.
    pub kernels: Option<&'a str>,
}

impl Run<'_> {
    /// Runs `examples/feature-job.toml` and returns the seconds that it took. What was in `results` before is gone.
    pub fn go(&self, input: &Path, results: &Path) -> Result<f64> {
        let state = root().join("target/bench/state");
        for old in [results, &state] {
            if old.exists() {
                fs::remove_dir_all(old).with_context(|| format!("removing {}", old.display()))?;
            }
        }
        let folder = results.parent().context("results lie in a folder")?;
        fs::create_dir_all(folder).with_context(|| format!("making {}", folder.display()))?;
        let mut submit = mr_submit();
        submit.arg("examples/feature-job.toml").arg("--input").arg(input);
        submit.arg("--output").arg(results).arg("--state").arg(&state);
        if let Some(slots) = self.slots {
            submit.arg("--slots").arg(slots.to_string());
        }
        if let Some(precision) = self.precision {
            submit.arg("--set").arg(format!("params.precision=\"{precision}\""));
        }
        if let Some(kernels) = self.kernels {
            submit.env("MR_KERNELS", kernels);
        }
        submit.stdout(Stdio::null()).stderr(Stdio::piped()).stdin(Stdio::null());
        let start = Instant::now();
        let ended = submit.output().context("starting target/release/mr-submit")?;
        let wall_s = start.elapsed().as_secs_f64();
        ensure!(ended.status.success(), "mr-submit: {}\n{}", ended.status, String::from_utf8_lossy(&ended.stderr));
        Ok(wall_s)
    }
}
