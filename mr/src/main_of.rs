//! One program that is all three, for a crate with jobs of its own.

use crate::{Registry, coordinator, worker};
use std::ffi::OsString;
use std::process::ExitCode;

/// Runs what the first argument says: `worker` or `coordinator`, and otherwise what `mr-submit` does with the arguments.
pub fn main(registry: Registry) -> ExitCode {
    let mut args: Vec<OsString> = std::env::args_os().collect();
    let role = args.get(1).and_then(|role| role.to_str()).map(str::to_owned);
    match role.as_deref() {
        Some(role @ ("worker" | "coordinator")) => {
            let program = args.remove(0);
            // As it is to be typed, for its help.
            args[0] = [program, role.into()].join(" ".as_ref());
            if role == "worker" { worker::from_args(args, registry) } else { coordinator::from_args(args) }
        }
        _ => mr_cli::submit_from(args, registry),
    }
}
