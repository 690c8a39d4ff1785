//! `cargo xtask bench peers`: the whole job, process start to process end, beside the same job in one hand-written Python
//! process and in the old chain (PySpark with TensorFlow), in turn and round by round on the same photos.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

use super::beside::{rounds, table, timed};
use super::machine::{has_amx, machine};
use super::submit::{Run, photos};
use crate::args::Args;
use crate::photos::cores;
use crate::setup::setup;
use crate::shell::{cargo, command, root, run, works};
use crate::venv::environment;

/// Ours are compared with each of the others.
const OURS: &str = "ours, f32";
const FAST: &str = "ours, fast";
const PYTHON: &str = "Python, onnxruntime";
const SPARK: &str = "PySpark, TensorFlow";

pub fn main(mut args: Args) -> Result<()> {
    let count: usize = args.option("--rounds")?.unwrap_or(5);
    let spark_rounds: usize = args.option("--spark-rounds")?.unwrap_or(1);
    args.done()?;
    ensure!(count > 0, "--rounds must be at least 1");

    setup()?;
    let python =
        environment("target/venv-peers", "xtask/peers/requirements.txt", "the peers go into target/venv-peers")?;
    let mut bench = Bench { input: photos(None)?, python, spark: None, folder: root().join("target/bench/peers") };
    if spark_rounds > 0 {
        ensure!(works(command("java").arg("-version")), "PySpark needs Java: install it, or give --spark-rounds 0");
        bench.spark =
            Some(environment("target/venv-spark", "xtask/peers/spark.txt", "Spark goes into target/venv-spark")?);
    }
    run(&mut cargo(&["build", "--release", "--workspace", "--bins"]))?;

    // Each once for nothing, so that nobody reads its libraries from a cold disk.
    for name in [OURS, PYTHON].into_iter().chain((spark_rounds > 0).then_some(SPARK)) {
        bench.once(name).context("warming up")?;
    }
    let runs = |name: &str, round| match name {
        FAST => has_amx(),
        SPARK => round <= spark_rounds,
        _ => true,
    };
    let measured = rounds([OURS, FAST, PYTHON, SPARK], count, runs, |name| bench.once(name))?;
    println!("{}", machine());
    println!("{count} rounds; seconds from start to end, median (lowest to highest)");
    if !has_amx() {
        println!("no AMX here, so nothing to be said of `{FAST}`");
    }
    print!("{}", table(&measured, |name| name == OURS || name == FAST));
    Ok(())
}

struct Bench {
    input: PathBuf,
    python: PathBuf,
    spark: Option<PathBuf>,
    folder: PathBuf,
}

impl Bench {
    /// Seconds of one run.
    fn once(&self, name: &str) -> Result<f64> {
        let results = self.folder.join("results");
        let peer = |python: &Path, script: &str| {
            let mut peer = command(python);
            peer.arg(script).arg("--input").arg(&self.input).arg("--output").arg(&results);
            peer.arg("--threads").arg(cores().to_string());
            peer
        };
        match name {
            OURS => Run::default().go(&self.input, &results),
            FAST => Run { precision: Some("fast"), ..Run::default() }.go(&self.input, &results),
            SPARK => {
                let spark = self.spark.as_deref().context("Spark is not there")?;
                timed(&mut peer(spark, "xtask/peers/job_spark.py"), &results)
            }
            _ => {
                let mut peer = peer(&self.python, "xtask/peers/job_python.py");
                timed(peer.arg("--model").arg("vision/weights/mobilenet_v2.onnx"), &results)
            }
        }
    }
}
