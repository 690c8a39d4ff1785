//! `cargo xtask demo`: from a fresh clone to results in one command. It builds, draws photos, runs the main job on them and
//! says how to read what came out.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::args::Args;
use crate::photos::{LABELS, PhotoSet, cores};
use crate::setup::setup;
use crate::shell::{cargo, mr_submit, root, run};

pub fn main(mut args: Args) -> Result<()> {
    let set = PhotoSet {
        count: args.option("--count")?.unwrap_or(300),
        seed: args.option("--seed")?.unwrap_or(1),
        labels: LABELS,
    };
    let folder: Option<PathBuf> = args.option("--dir")?;
    args.done()?;
    let folder = match folder {
        Some(folder) => std::path::absolute(&folder).with_context(|| format!("--dir {}", folder.display()))?,
        None => root().join("target/demo"),
    };
    // Shown and stored relative to the repository where that is possible, so that lines can be pasted.
    let (photos, results) = (relative(&folder.join("photos")), relative(&folder.join("Results")));

    setup()?;
    run(&mut cargo(&["build", "--release", "--workspace", "--bins"]))?;
    let bytes = set.draw(&root().join(&photos), cores())?;
    eprintln!("photos: {} of {} varieties, {bytes} bytes, in {}", set.count, set.labels, photos.display());
    let mut submit = mr_submit();
    submit.arg("examples/feature-job.toml");
    if folder != root().join("target/demo") {
        submit.arg("--input").arg(&photos).arg("--output").arg(&results);
    }
    run(&mut submit)?;
    print!("{}", how_to_read(&results));
    Ok(())
}

fn relative(path: &Path) -> PathBuf {
    path.strip_prefix(root()).unwrap_or(path).to_owned()
}

/// Lines to paste, each a different reader.
fn how_to_read(results: &Path) -> String {
    let at = results.display();
    format!(
        r#"
Results: {at}
  part-*.parquet       a row for each photo: path, label, width, height, bytes, features (1280), pca (50)
  _pca/*.npy           the fitted PCA: mean, components, explained variance; summary.json says how good it is
  _report.json         the counts and the seconds
  _quarantine.parquet  photos that could not be read, each with its reason

Readers, from this folder (`cargo xtask venv` puts them into target/venv, or use your own Python):
  target/venv/bin/python -c "import pandas as pd; print(pd.read_parquet('{at}'))"
  target/venv/bin/python -c "import pyarrow.parquet as pq; print(pq.read_table('{at}').schema)"
  target/venv/bin/python -c "import duckdb; print(duckdb.sql(\"select label, count(*) n, avg(pca[1]) from '{at}/*.parquet' group by all order by n desc\"))"
  target/venv/bin/python -c "import polars as pl; print(pl.read_parquet('{at}/*.parquet').select('label', 'pca').head())"
  target/venv/bin/python -c "import polars as pl; print(pl.read_delta('{at}').shape)"
"#
    )
}
