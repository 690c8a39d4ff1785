//! Ours and its peers: each once for nothing, and then in turn.

use anyhow::{Context, Result};

use super::asked::Asked;
use super::pythons::SPARK;
use crate::bench::beside::rounds;

/// So that nobody reads from a cold disk; but not Spark, of whose time that is little.
pub fn warm_up(names: &[&str], once: impl Fn(&str) -> Result<f64>) -> Result<()> {
    names.iter().filter(|name| **name != SPARK).try_for_each(|name| once(name).map(drop)).context("warming up")
}

/// Seconds of each in turn, as many rounds as are asked for.
pub fn in_turn<const N: usize>(
    names: [&'static str; N],
    asked: &Asked,
    once: impl FnMut(&str) -> Result<f64>,
) -> Result<[(&'static str, Vec<f64>); N]> {
    rounds(names, asked.rounds, |name, round| name != SPARK || round <= asked.spark_rounds, once)
}
