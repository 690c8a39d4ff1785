//! `cargo xtask bench scheduler`: task completions a second, through the state machine alone and through gRPC.

use anyhow::Result;

use crate::args::Args;
use crate::shell::{cargo, run};

pub fn main(args: Args) -> Result<()> {
    args.done()?;
    run(&mut cargo(&["run", "--release", "--quiet", "--package", "mr-scheduler", "--example", "poll_cost"]))?;
    run(&mut cargo(&["run", "--release", "--quiet", "--package", "mr-coordinator", "--example", "polls"]))
}
