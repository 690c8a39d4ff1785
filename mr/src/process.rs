//! What the two long-running programs share: logs, signals, and how they end.

use anyhow::Context;
use clap::Parser;
use mr_cli::{Pages, Told, tell_mistyped};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::ffi::OsString;
use std::io::{ErrorKind, IsTerminal, Write};
use std::process::ExitCode;
use std::time::{Duration, Instant};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;

/// What the AWS crates warn of comes again, in a line, with the error that we make of it.
const LOG: &str = "info,aws=error";

/// Logs go to stderr; `MR_LOG` says how much, as in `MR_LOG=debug` or `MR_LOG=mr_worker=debug`.
pub fn start_logging() {
    let filter = EnvFilter::try_from_env("MR_LOG").unwrap_or_else(|_| EnvFilter::new(LOG));
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_target(false);
    // In a file or a journal colours are noise.
    log.with_ansi(std::io::stderr().is_terminal()).init();
}

/// A process and its group are often told at once, by `timeout` or a terminal: that is one signal.
const AT_ONCE: Duration = Duration::from_millis(500);

/// A reading that hangs is not ended by anyone. A stop has ten seconds in all, most of which are gone then.
const LEFT_AFTER: Duration = Duration::from_millis(500);

/// Does it to its end. Whatever still waits then for a folder that does not answer, as of a network drive, is left.
pub fn run<T>(work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().context("starting threads")?;
    let done = runtime.block_on(work);
    runtime.shutdown_timeout(LEFT_AFTER);
    done
}

/// The arguments of a program; or its help, or what is wrong with them, and the process ends.
pub fn parse<A: Parser>(args: impl IntoIterator<Item = OsString>) -> A {
    A::try_parse_from(args).unwrap_or_else(|error| std::process::exit(tell_mistyped(&error, &A::command()).into()))
}

/// An empty variable says nothing.
pub fn given(text: Option<String>) -> Option<String> {
    text.filter(|text| !text.is_empty())
}

/// Cancelled by SIGTERM or SIGINT. A second signal ends the process at once.
pub fn stop_on_signal() -> anyhow::Result<CancellationToken> {
    let stop = CancellationToken::new();
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let token = stop.clone();
    // Lives as long as the process does.
    tokio::spawn(async move {
        // It may be stopping for another reason already, and is to end that well.
        let mut first = None;
        loop {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            match first {
                None => {
                    first = Some(Instant::now());
                    tracing::info!("stopping");
                    token.cancel();
                }
                Some(first) if first.elapsed() < AT_ONCE => {}
                Some(_) => std::process::exit(130),
            }
        }
    });
    Ok(stop)
}

/// A connection is a file, and a shell's usual bound on those is small.
pub fn allow_many_files() {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current != maximum
        && let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum })
    {
        tracing::debug!("allowing more open files: {error}");
    }
}

/// For what a `main` finds wrong before it begins.
pub fn refuse(why: &str) -> ExitCode {
    exit(Err(anyhow::anyhow!("{why}")))
}

/// Completions or manual pages of a program, which then does nothing else.
pub fn tell(pages: &Pages, command: clap::Command) -> anyhow::Result<()> {
    match pages.told(command)? {
        // Whoever reads it may stop when they have enough.
        Told::Text(text) => match writeln!(std::io::stdout(), "{text}") {
            Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(error.into()),
            _ => Ok(()),
        },
        Told::Written(folder) => {
            eprintln!("manual pages are in {}", folder.display());
            Ok(())
        }
    }
}

pub fn exit(outcome: anyhow::Result<()>) -> ExitCode {
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::from(2)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    #[test]
    fn what_never_answers_keeps_no_process() {
        let (answer, waiting) = mpsc::channel::<()>();
        let work = async {
            let (begins, begun) = tokio::sync::oneshot::channel();
            tokio::task::spawn_blocking(move || begins.send(()).map(|()| waiting.recv()));
            begun.await?;
            Ok(7)
        };
        assert_eq!(run(work).unwrap(), 7);
        drop(answer);
    }
}
