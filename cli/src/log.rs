//! The log: on stderr, quiet unless `MR_LOG` (or `RUST_LOG`) asks for more.

use crate::talk::Stderr;
use std::io::IsTerminal;
use tracing_subscriber::EnvFilter;

/// A failed attempt is told with its job, and only if it mattered; so is what the AWS crates warn of.
const QUIET: &str = "warn,mr_worker::attempts=error,aws=error";

/// Starts it, unless the process that calls this library has one.
pub fn start() {
    let asked =
        ["MR_LOG", "RUST_LOG"].iter().find_map(|name| std::env::var(name).ok().filter(|value| !value.is_empty()));
    let filter = EnvFilter::new(asked.unwrap_or_else(|| QUIET.to_owned()));
    _ = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(|| Stderr)
        .try_init();
}
