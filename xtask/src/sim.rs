//! `cargo xtask sim`: the scheduler's simulation, built for speed.

use anyhow::Result;

use crate::args::Args;
use crate::shell::{cargo, run};

pub fn main(args: Args) -> Result<()> {
    sim(&args.rest())
}

pub fn sim(args: &[String]) -> Result<()> {
    run(cargo(&["run", "--release", "--quiet", "--package", "mr-scheduler", "--example", "sim", "--"]).args(args))
}
