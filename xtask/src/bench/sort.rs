//! `cargo xtask bench sort`: records of a hundred bytes in order, beside `sort` and PySpark on the same files; then twice and
//! four times as many, for how time and memory grow.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use super::beside::{asked, rounds, table, timed};
use super::data::spark;
use super::machine::machine;
use super::spread::Spread;
use crate::args::Args;
use crate::photos::cores;
use crate::setup::setup;
use crate::shell::{cargo, command, mr_submit, root, run};

const OURS: &str = "ours";
const GNU: &str = "GNU sort";
const SPARK: &str = "PySpark";

/// Bytes of a record.
const RECORD: u64 = 100;
/// Of a file, so that a task has a file or so.
const FILE: u64 = 32 << 20;
const MEMORY: &str = "128MiB";

pub fn main(mut args: Args) -> Result<()> {
    let spark_rounds: usize = args.option("--spark-rounds")?.unwrap_or(1);
    let (count, megabytes) = asked(args, 3, 1000)?;

    setup()?;
    let folder = root().join("target/bench/sort");
    let spark = if spark_rounds > 0 { Some(spark()?) } else { None };
    run(&mut cargo(&["build", "--release", "--workspace", "--bins"]))?;
    let bench = Bench { input: draw(&folder, megabytes)?, results: folder.join("sorted"), spark };
    for name in [OURS, GNU] {
        bench.once(name).context("warming up")?;
    }
    let runs = |name: &str, round| name != SPARK || round <= spark_rounds;
    let measured = rounds([OURS, GNU, SPARK], count, runs, |name| bench.once(name))?;
    println!("{}", machine());
    println!(
        "{} records, {megabytes} MB, {MEMORY} a slot; seconds from start to end, median (lowest to highest)",
        megabytes * 1_000_000 / RECORD
    );
    print!("{}", table(&measured, |name| name == OURS));

    let one = Spread::of(measured[0].1.iter().copied()).median;
    for times in [1, 2, 4] {
        let grown = Bench { input: draw(&folder, times * megabytes)?, results: folder.join("sorted"), spark: None };
        let seconds = grown.once(OURS)?;
        let (ratio, peak) = (seconds / one / times as f64, peak(&grown.results)?);
        let what = format!("ours, {} MB", times * megabytes);
        println!("  {what:<44} {seconds:>8.2}   {ratio:.2} in proportion, {peak:.0} MB of memory at its peak");
        if times > 1 {
            fs::remove_dir_all(&grown.input).context("removing what was drawn")?;
        }
    }
    Ok(())
}

/// As many records as make that, unless they are there.
fn draw(folder: &Path, megabytes: u64) -> Result<PathBuf> {
    let input = folder.join(format!("records-{megabytes}"));
    if !input.exists() {
        eprintln!("bench: drawing {megabytes} MB of records, once");
        let unfinished = folder.join("unfinished");
        if unfinished.exists() {
            fs::remove_dir_all(&unfinished).context("removing what was not finished")?;
        }
        let bytes = megabytes * 1_000_000;
        let mut records = command(root().join("target/release/mr-records"));
        let (count, files) = ((bytes / RECORD).to_string(), bytes.div_ceil(FILE).to_string());
        run(records.args(["generate", &count, &files]).arg(&unfinished))?;
        fs::rename(&unfinished, &input).context("naming what was drawn")?;
    }
    Ok(input)
}

/// Megabytes of memory that our processes had at most, by their report.
fn peak(results: &Path) -> Result<f64> {
    let report = fs::read_to_string(results.join("_report.json")).context("reading the report")?;
    let report: serde_json::Value = serde_json::from_str(&report).context("reading the report")?;
    let bytes = report["peak_rss_bytes"].as_f64().context("the report has no peak_rss_bytes")?;
    Ok(bytes / 1e6)
}

struct Bench {
    input: PathBuf,
    results: PathBuf,
    spark: Option<PathBuf>,
}

impl Bench {
    /// Seconds of one run. Ours is looked at afterwards.
    fn once(&self, name: &str) -> Result<f64> {
        let seconds = timed(&mut self.process(name)?, &self.results)?;
        if name == OURS {
            let mut records = command(root().join("target/release/mr-records"));
            run(records.arg("validate").arg(&self.input).arg(&self.results))?;
        }
        Ok(seconds)
    }

    fn process(&self, name: &str) -> Result<Command> {
        Ok(match name {
            OURS => {
                let mut submit = mr_submit();
                submit.args(["examples/tera-sort.toml", "--keep-days", "0"]);
                submit.arg("--set").arg(format!("shuffle.memory_bytes_max={MEMORY}"));
                submit.arg("--input").arg(&self.input).arg("--output").arg(&self.results);
                submit
            }
            GNU => {
                let mut sort = command("sh");
                let script =
                    "mkdir -p \"$2\" && exec sort --parallel=\"$3\" -S 256M -T \"$2\" -o \"$2/sorted\" \"$1\"/*.dat";
                sort.env("LC_ALL", "C").args(["-c", script, "sh"]);
                sort.arg(&self.input).arg(&self.results).arg(cores().to_string());
                sort
            }
            _ => {
                let mut spark = command(self.spark.as_deref().context("Spark is not there")?);
                spark.args(["xtask/peers/data_spark.py", "sort", "--partitions", "16"]);
                spark.args(["--threads", &cores().to_string()]);
                spark.arg("--input").arg(&self.input).arg("--output").arg(&self.results);
                spark
            }
        })
    }
}
