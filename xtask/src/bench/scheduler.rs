//! `cargo xtask bench scheduler`: task completions a second, through the state machine alone and through gRPC; and what
//! slow and dead machines cost the paper's sort, in simulated time.

use anyhow::Result;

use crate::args::Args;
use crate::shell::{cargo, example, run};

pub fn main(args: Args) -> Result<()> {
    args.done()?;
    for example in ["poll_cost", "paper"] {
        run(&mut cargo(&["run", "--release", "--quiet", "--package", "mr-scheduler", "--example", example]))?;
    }
    example("polls", &[])
}
