//! `cargo xtask bench`: how fast, beside whom, and with which spread.

mod beside;
mod data;
mod job;
mod kernel;
mod machine;
mod peers;
mod precision;
mod scheduler;
mod spread;
mod start;
mod submit;
mod workers;

use anyhow::{Result, bail};

use crate::args::Args;

pub fn main(mut args: Args) -> Result<()> {
    match args.word().as_deref() {
        Some("data") => data::main(args),
        Some("job") => job::main(args),
        Some("kernel") => kernel::main(args),
        Some("peers") => peers::main(args),
        Some("precision") => precision::main(args),
        Some("scheduler") => scheduler::main(args),
        Some("start") => start::main(args),
        Some("workers") => workers::main(args),
        other => bail!(
            "cargo xtask bench has data, job, kernel, peers, precision, scheduler, start and workers, not {:?}",
            other.unwrap_or_default()
        ),
    }
}
