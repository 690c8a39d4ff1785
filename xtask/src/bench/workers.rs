//! `cargo xtask bench workers [--rounds N]`: what a killed worker and a slow one cost a job whose tasks sleep.

use anyhow::Result;

use crate::args::Args;
use crate::shell::example;

pub fn main(mut args: Args) -> Result<()> {
    let rounds = args.option("--rounds")?.unwrap_or(3usize).to_string();
    args.done()?;
    example("sleepers", &[&rounds])
}
