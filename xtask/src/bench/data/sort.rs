//! `cargo xtask bench data sort`: records of a hundred bytes in order, beside `sort` and PySpark on the same files; and
//! ours alone on twice and four times as many, for how time and memory grow.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use super::asked::Asked;
use super::figure::{Beside, Figure};
use super::files::{Files, OURS};
use super::pythons::{Pythons, SPARK};
use super::turns::{in_turn, warm_up};
use crate::bench::beside::remove;
use crate::shell::{command, root, run};

const GNU: &str = "GNU sort";
const TWICE: &str = "ours, twice as much";
const FOURFOLD: &str = "ours, four times as much";

/// Bytes of a record.
const RECORD: u64 = 100;
/// Of a file, so that a task has a file or so.
const FILE: u64 = 32 << 20;
const MEMORY: &str = "128MiB";
const PARTITIONS: usize = 16;

/// What twice and four times as much may take at most, in proportion.
const GROWN_TIME: f64 = 1.1;
/// Memory is not to grow: this is room for what runs of the same differ by.
const GROWN_MEMORY: f64 = 1.1;

pub fn measure(asked: &Asked, pythons: &Pythons) -> Result<Vec<Figure>> {
    let bench = Bench { folder: root().join("target/bench/sort"), asked, pythons };
    let mut figures = vec![bench.beside_peers()?];
    figures.extend(bench.grown()?);
    Ok(figures)
}

/// Megabytes of memory that our processes had at most, by their report.
fn peak(results: &Path) -> Result<f64> {
    let report = fs::read_to_string(results.join("_report.json")).context("reading the report")?;
    let report: serde_json::Value = serde_json::from_str(&report).context("reading the report")?;
    let bytes = report["peak_rss_bytes"].as_f64().context("the report has no peak_rss_bytes")?;
    Ok(bytes / 1e6)
}

fn records() -> Command {
    command(root().join("target/release/mr-records"))
}

/// How many times as much as the others a name sorts.
fn times(name: &str) -> u64 {
    match name {
        TWICE => 2,
        FOURFOLD => 4,
        _ => 1,
    }
}

struct Bench<'a> {
    folder: PathBuf,
    asked: &'a Asked,
    pythons: &'a Pythons,
}

impl Bench<'_> {
    fn beside_peers(&self) -> Result<Figure> {
        self.draw(1)?;
        let names = [OURS, GNU, SPARK];
        warm_up(&names, |name| self.once(name))?;
        let [(_, ours), gnu, spark] = in_turn(names, self.asked, |name| self.once(name))?;
        let beside = vec![Beside::peer(gnu, 1.5), Beside::peer(spark, 0.3)];
        Ok(Figure { what: self.what(1, "seconds"), ours, beside })
    }

    /// Not in turn with the peers: what is read and written here would take their files from memory.
    fn grown(&self) -> Result<Vec<Figure>> {
        let names = [OURS, TWICE, FOURFOLD];
        names.iter().try_for_each(|name| self.draw(times(name)))?;
        warm_up(&names, |name| self.once(name))?;
        let mut peaks: BTreeMap<u64, Vec<f64>> = BTreeMap::new();
        let [(_, one), (_, two), (_, four)] = in_turn(names, self.asked, |name| {
            let seconds = self.once(name)?;
            peaks.entry(times(name)).or_default().push(peak(&self.files(1).results)?);
            Ok(seconds)
        })?;
        self.clear()?;
        let mut figures = Vec::new();
        for (times, seconds) in [(2, two), (4, four)] {
            let in_proportion = one.iter().map(|seconds| seconds * times as f64).collect();
            let that = format!("that of {} MB", self.asked.megabytes);
            figures.push(Figure {
                what: self.what(times, "seconds"),
                ours: seconds,
                beside: vec![Beside::peer((&format!("{times} x {that}"), in_proportion), GROWN_TIME)],
            });
            figures.push(Figure {
                what: self.what(times, "MB of memory"),
                ours: peaks[&times].clone(),
                beside: vec![Beside::peer((&that, peaks[&1].clone()), GROWN_MEMORY)],
            });
        }
        Ok(figures)
    }

    fn what(&self, times: u64, unit: &str) -> String {
        format!("sort of {} MB, {unit}", times * self.asked.megabytes)
    }

    fn files(&self, times: u64) -> Files {
        let input = self.folder.join(format!("records-{}", times * self.asked.megabytes));
        Files { input, results: self.folder.join("sorted") }
    }

    /// As many records as make that, unless they are there.
    fn draw(&self, times: u64) -> Result<()> {
        let Files { input, .. } = self.files(times);
        if !input.exists() {
            let megabytes = times * self.asked.megabytes;
            eprintln!("bench: drawing {megabytes} MB of records, once");
            let unfinished = self.folder.join("unfinished");
            remove(&unfinished)?;
            let bytes = megabytes * 1_000_000;
            let (count, files) = ((bytes / RECORD).to_string(), bytes.div_ceil(FILE).to_string());
            run(records().args(["generate", &count, &files]).arg(&unfinished))?;
            fs::rename(&unfinished, &input).context("naming what was drawn")?;
        }
        Ok(())
    }

    /// Leaves no more than what the peers are given: the rest is large.
    fn clear(&self) -> Result<()> {
        remove(&self.files(1).results)?;
        [2, 4].into_iter().try_for_each(|times| remove(&self.files(times).input))
    }

    /// Seconds of one run. Ours is looked at afterwards.
    fn once(&self, name: &str) -> Result<f64> {
        let files = self.files(times(name));
        match name {
            GNU => files.time(sort(&files)),
            SPARK => files.time(self.pythons.spark("sort", PARTITIONS, &files)?),
            _ => {
                let seconds = files.time(ours(&files))?;
                run(records().arg("validate").arg(&files.input).arg(&files.results))?;
                Ok(seconds)
            }
        }
    }
}

fn ours(files: &Files) -> Command {
    let settings = [format!("shuffle.memory_bytes_max={MEMORY}"), format!("params.partitions={PARTITIONS}")];
    files.ours("examples/tera-sort.toml", &settings)
}

fn sort(files: &Files) -> Command {
    files.shell("exec sort --parallel=\"$3\" -S 256M -T \"$2\" -o \"$2/sorted\" \"$1\"/*.dat")
}
