//! `cargo xtask test`: everything, in release, the one profile that we build and test in. The binaries come first, because
//! the tests of the house as a whole start them from `target/release`.

use anyhow::Result;

use crate::args::Args;
use crate::npm::s3rver;
use crate::setup::setup;
use crate::shell::{cargo, run, works};
use crate::venv::venv;

/// What follows on the command line is handed to the test runner, a filter for instance.
pub fn main(args: Args) -> Result<()> {
    test(&args.rest())
}

pub fn test(extra: &[String]) -> Result<()> {
    setup()?;
    let readers = venv().map(drop);
    let servers = s3rver().map(drop);
    for (name, tests, got) in [("venv", "read the output with Python", readers), ("npm", "need s3rver", servers)] {
        let Err(error) = got else { continue };
        // A laptop without network still wants its tests; where everything must be shown this is a failure.
        if std::env::var_os("CI").is_some() {
            return Err(error);
        }
        eprintln!("{name}: {error:#}\n{name}: tests that {tests} will be skipped");
    }
    run(&mut cargo(&["build", "--release", "--workspace", "--bins"]))?;
    if works(&mut cargo(&["nextest", "--version"])) {
        run(cargo(&["nextest", "run", "--release", "--workspace"]).args(extra))?;
        // nextest leaves these out. Someone who asks for certain tests does not mean them.
        if extra.is_empty() {
            run(&mut cargo(&["test", "--release", "--workspace", "--doc", "--quiet"]))
        } else {
            Ok(())
        }
    } else {
        run(cargo(&["test", "--release", "--workspace"]).args(extra))
    }
}
