//! `cargo xtask bench data`: jobs over text, process start to process end, beside the same in DuckDB, Polars and PySpark, in
//! turn and round by round on the same files.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, ensure};

use super::beside::{asked, rounds, table, timed};
use super::machine::machine;
use crate::args::Args;
use crate::photos::cores;
use crate::setup::setup;
use crate::shell::{cargo, command, mr_submit, root, run, works};
use crate::texts;
use crate::venv::environment;

const OURS: &str = "ours";
const DUCKDB: &str = "DuckDB";
const POLARS: &str = "Polars";
const SPARK: &str = "PySpark";

/// So many files of so many bytes.
const FILES: u64 = 16;

pub fn main(mut args: Args) -> Result<()> {
    let spark_rounds: usize = args.option("--spark-rounds")?.unwrap_or(1);
    let (count, megabytes) = asked(args, 5, 1000)?;

    setup()?;
    let python =
        environment("target/venv-data", "xtask/peers/data.txt", "DuckDB and Polars go into target/venv-data, once")?;
    let folder = root().join("target/bench/data");
    let mut bench = Bench { input: folder.join("text"), results: folder.join("words"), python, spark: None };
    if spark_rounds > 0 {
        bench.spark = Some(spark()?);
    }
    run(&mut cargo(&["build", "--release", "--workspace", "--bins"]))?;
    texts::draw(&bench.input, FILES, megabytes * 1_000_000 / FILES)?;

    // Each once for nothing, so that nobody reads from a cold disk.
    for name in [OURS, DUCKDB, POLARS] {
        bench.once(name).context("warming up")?;
    }
    let runs = |name: &str, round| name != SPARK || round <= spark_rounds;
    let measured = rounds([OURS, DUCKDB, POLARS, SPARK], count, runs, |name| bench.once(name))?;
    println!("{}", machine());
    println!(
        "word count of {megabytes} MB in {FILES} files, {count} rounds; seconds from start to end, median (lowest to highest)"
    );
    print!("{}", table(&measured, |name| name == OURS));
    Ok(())
}

/// The Python that has Spark.
pub fn spark() -> Result<PathBuf> {
    ensure!(works(command("java").arg("-version")), "PySpark needs Java: install it, or give --spark-rounds 0");
    let note = "Spark goes into target/venv-data-spark, once (about 300 MB to download)";
    environment("target/venv-data-spark", "xtask/peers/data-spark.txt", note)
}

struct Bench {
    input: PathBuf,
    results: PathBuf,
    python: PathBuf,
    spark: Option<PathBuf>,
}

impl Bench {
    /// Seconds of one run, whose result is held against nobody's: tests do that.
    fn once(&self, name: &str) -> Result<f64> {
        timed(&mut self.process(name)?, &self.results)
    }

    fn process(&self, name: &str) -> Result<Command> {
        let mut process = match name {
            OURS => {
                let mut submit = mr_submit();
                submit.args(["examples/word-count.toml", "--keep-days", "0", "--set", "params.lowercase=false"]);
                // A file is a task, and each core reduces.
                submit.args(["--set", "split.objects_max=1", "--set"]).arg(format!("params.partitions={}", cores()));
                submit
            }
            SPARK => {
                let mut spark = command(self.spark.as_deref().context("Spark is not there")?);
                let cores = cores().to_string();
                spark.args(["xtask/peers/data_spark.py", "words", "--threads", &cores, "--partitions", &cores]);
                spark
            }
            _ => {
                let mut peer = command(&self.python);
                peer.arg("xtask/peers/words.py").args(["--with", name, "--threads", &cores().to_string()]);
                peer
            }
        };
        process.arg("--input").arg(&self.input).arg("--output").arg(&self.results);
        Ok(process)
    }
}
