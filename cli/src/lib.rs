//! `mr-submit` as a library over a registry of jobs: what was typed, what is meant, plan, submit, watch, exit code.
//!
//! A job file becomes a [`JobFile`](job_file::JobFile) (what was typed), that a `JobSpec` (what is meant), and the job's
//! own code makes the plan of it. The plan goes to a coordinator, in this process or on the network, through the same
//! calls. Data goes to stdout and talk to stderr. Deliberately absent: anything that decides where attempts run.

mod args;
mod cluster;
mod commands;
mod embedded;
mod estimate;
mod estimate_text;
mod interrupt;
mod job_file;
mod job_id;
mod key_list;
mod keys;
mod location;
mod log;
mod meant;
mod mistake;
mod output;
mod pages;
mod plan;
mod planning;
mod progress;
mod state_folder;
mod stop;
mod submit;
mod summary;
mod talk;
#[cfg(test)]
mod testing;
mod typed;
mod verify;
mod words;

pub use args::tell_mistyped;
pub use pages::{Pages, Told};
#[doc(hidden)]
pub use typed::job_spec;

use mr_mapreduce::Registry;
use std::ffi::OsString;
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// The whole program, from this process's arguments to its exit code.
pub fn submit_main(registry: Registry) -> ExitCode {
    let command = args::command(&registry);
    submit(std::env::args_os(), command, registry)
}

/// The same for a program of that name, which is worker and coordinator as well and says so.
pub fn submit_of(program: &str, registry: Registry) -> ExitCode {
    let command = args::command_of(&registry, program);
    submit(std::env::args_os(), command, registry)
}

fn submit(typed: impl IntoIterator<Item = OsString>, command: clap::Command, registry: Registry) -> ExitCode {
    let began = Instant::now();
    let cli = match args::parse(typed, command.clone()) {
        Ok(cli) => cli,
        Err(error) => return ExitCode::from(tell_mistyped(&error, &command)),
    };
    log::start();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return stop::Stop::Failed(format!("starting threads: {error}")).report(),
    };
    let result = runtime.block_on(commands::run(cli, registry, began));
    // What still computes when a run broke down is not waited for.
    runtime.shutdown_timeout(Duration::from_secs(1));
    match result {
        Ok(()) => ExitCode::from(stop::DONE),
        Err(stop) => stop.report(),
    }
}
