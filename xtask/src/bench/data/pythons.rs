//! The Pythons that have our peers, each in an environment of its own.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, ensure};

use super::asked::{Asked, Part};
use super::files::Files;
use crate::shell::{command, works};
use crate::venv::environment;

pub const SPARK: &str = "PySpark";

/// Those that are of use for what is asked.
pub struct Pythons {
    words: Option<PathBuf>,
    spark: Option<PathBuf>,
}

impl Pythons {
    pub fn ready(asked: &[Asked]) -> Result<Self> {
        let (mut words, mut spark) = (None, None);
        if asked.iter().any(|asked| asked.part == Part::Words) {
            let note = "DuckDB and Polars go into target/venv-data, once";
            words = Some(environment("target/venv-data", "xtask/peers/data.txt", note)?);
        }
        if asked.iter().any(|asked| asked.spark_rounds > 0) {
            ensure!(works(command("java").arg("-version")), "PySpark needs Java: install it, or give --spark-rounds 0");
            let note = "Spark goes into target/venv-data-spark, once (about 300 MB to download)";
            spark = Some(environment("target/venv-data-spark", "xtask/peers/data-spark.txt", note)?);
        }
        Ok(Self { words, spark })
    }

    /// DuckDB or Polars, counting words.
    pub fn words(&self, name: &str, files: &Files) -> Result<Command> {
        let python = self.words.as_deref().with_context(|| format!("{name} is not there"))?;
        Ok(files.python(python, &["xtask/peers/words.py", "--with", name]))
    }

    /// One of the jobs that are written for Spark.
    pub fn spark(&self, job: &str, partitions: usize, files: &Files) -> Result<Command> {
        let python = self.spark.as_deref().context("Spark is not there")?;
        Ok(files.python(python, &["xtask/peers/data_spark.py", job, "--partitions", &partitions.to_string()]))
    }
}
