//! `cargo xtask bench`: how fast, beside whom, and with which spread.

mod job;
mod kernel;
mod machine;
mod spread;

use anyhow::{Result, bail};

use crate::args::Args;

pub fn main(mut args: Args) -> Result<()> {
    match args.word().as_deref() {
        Some("job") => job::main(args),
        Some("kernel") => kernel::main(args),
        other => bail!("cargo xtask bench has job and kernel, not {:?}", other.unwrap_or_default()),
    }
}
