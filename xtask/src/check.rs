//! `cargo xtask check`: what a change must pass beside its tests, the quickest first. `cargo xtask ci` is both.

use anyhow::Result;

use crate::args::Args;
use crate::deny;
use crate::run_tests::test;
use crate::setup::setup;
use crate::shell::{cargo, run};
use crate::tidy::tidy;

pub fn main(args: Args) -> Result<()> {
    args.done()?;
    setup()?;
    run(&mut cargo(&["fmt", "--all", "--check"]))?;
    tidy()?;
    deny::check()?;
    // In release like all else, so that build scripts and macros are built once.
    run(&mut cargo(&["clippy", "--release", "--workspace", "--all-targets", "--", "--deny", "warnings"]))
}

pub fn ci(args: Args) -> Result<()> {
    args.done()?;
    test(&[])?;
    main(Args::new([""; 0]))
}
