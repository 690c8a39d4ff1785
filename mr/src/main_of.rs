//! One program that is all three, for a crate with jobs of its own.

use crate::{Registry, coordinator, worker};
use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;

/// Runs what the first argument says: `worker` or `coordinator`, and otherwise what `mr-submit` does with the arguments.
pub fn main(registry: Registry) -> ExitCode {
    let mut args: Vec<OsString> = std::env::args_os().collect();
    let program = args.first().and_then(|path| Path::new(path).file_name()?.to_str()).unwrap_or("mr").to_owned();
    match args.get(1).and_then(|role| role.to_str()) {
        Some("worker") => worker::from_args(as_one(&mut args), registry),
        Some("coordinator") => coordinator::from_args(as_one(&mut args)),
        _ => mr_cli::submit_of(&program, registry),
    }
}

/// The arguments with the first two as one name, as help is to show them.
fn as_one(args: &mut Vec<OsString>) -> Vec<OsString> {
    let program = args.remove(0);
    args[0] = [program, std::mem::take(&mut args[0])].join(" ".as_ref());
    std::mem::take(args)
}
