//! `cargo xtask bench data words`: words of text counted, beside DuckDB, Polars and PySpark.

use std::process::Command;

use anyhow::Result;

use super::asked::Asked;
use super::figure::{Beside, Figure};
use super::files::{Files, OURS};
use super::pythons::{Pythons, SPARK};
use super::turns::{in_turn, warm_up};
use crate::photos::cores;
use crate::shell::root;
use crate::texts;

const DUCKDB: &str = "DuckDB";
const POLARS: &str = "Polars";
const FILES: u64 = 16;

pub fn measure(asked: &Asked, pythons: &Pythons) -> Result<Vec<Figure>> {
    let folder = root().join("target/bench/data");
    let files = Files { input: folder.join("text"), results: folder.join("words") };
    texts::draw(&files.input, FILES, asked.megabytes * 1_000_000 / FILES)?;
    // The results are held against nobody's: tests do that.
    let once = |name: &str| {
        files.time(match name {
            OURS => ours(&files),
            SPARK => pythons.spark("words", cores(), &files)?,
            _ => pythons.words(name, &files)?,
        })
    };
    let names = [OURS, DUCKDB, POLARS, SPARK];
    warm_up(&names, once)?;
    let [(_, ours), duckdb, polars, spark] = in_turn(names, asked, once)?;
    Ok(vec![Figure {
        what: format!("word count of {} MB, seconds", asked.megabytes),
        ours,
        // What is at most that of both is at most that of the faster.
        beside: vec![Beside::peer(duckdb, 1.5), Beside::peer(polars, 1.5), Beside::peer(spark, 0.25)],
    }])
}

fn ours(files: &Files) -> Command {
    // A file is a task, and each core reduces.
    let settings =
        ["params.lowercase=false".into(), "split.objects_max=1".into(), format!("params.partitions={}", cores())];
    files.ours("examples/word-count.toml", &settings)
}
