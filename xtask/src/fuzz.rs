//! `cargo xtask fuzz`: libFuzzer on the targets of the room `fuzz`, one after the other on one core. cargo-fuzz, which builds
//! them, goes into `target/cargo-fuzz`.
//!
//! What a fuzzer learns stays in `target/fuzz/corpus`; what it has found lies in `target/fuzz/found`. An input that taught us
//! something goes from there, made small, into `fuzz/corpus`, which every test run replays.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

use crate::args::Args;
use crate::setup::setup;
use crate::shell::{cargo, command, root, run, works};

const VERSION: &str = "0.13.2";

/// Room for the largest photo that is decoded, and what the sanitizer keeps to see a use after it was freed.
const RSS_MB: u32 = 3072;

/// More than a fuzzer will make sense of, and enough for most small photos: longer ones are cut, and make it slow.
const LENGTH_MAX: u32 = 1 << 15;

/// A photo of a hundred million pixels under a sanitizer, twice.
const TIMEOUT_SECONDS: u32 = 120;

pub fn main(mut args: Args) -> Result<()> {
    let seconds = args.option("--seconds")?.unwrap_or(600);
    let chosen = args.word();
    args.done()?;
    let all = targets()?;
    let targets = match chosen {
        Some(name) if all.contains(&name) => vec![name],
        Some(name) => bail!("no target is named {name:?}: there are {}", all.join(", ")),
        None => all,
    };
    setup()?;
    let tool = tool()?;
    // Built like the tests, so that a warm target/ stays warm.
    run(&mut cargo(&["build", "--release", "--workspace", "--example", "seeds"]))?;
    run(command(root().join("target/release/examples/seeds")).arg(seeds()))?;
    for target in targets {
        fuzz(&tool, &target, seconds)?;
    }
    Ok(())
}

/// The programs in `fuzz/fuzz_targets`.
fn targets() -> Result<Vec<String>> {
    let folder = root().join("fuzz/fuzz_targets");
    let files = fs::read_dir(&folder).with_context(|| format!("reading {}", folder.display()))?;
    let names = files.map(|file| Ok(file?.path().file_stem().and_then(|stem| stem.to_str()).map(str::to_owned)));
    let mut names: Vec<_> = names.collect::<Result<Vec<_>>>()?.into_iter().flatten().collect();
    names.sort();
    ensure!(!names.is_empty(), "{} is empty", folder.display());
    Ok(names)
}

fn tool() -> Result<PathBuf> {
    let folder = root().join("target/cargo-fuzz");
    let tool = folder.join("bin/cargo-fuzz");
    if !works(command(&tool).arg("--version")) {
        eprintln!("fuzz: cargo-fuzz goes into target/cargo-fuzz, once");
        run(cargo(&["install", "cargo-fuzz", "--version", VERSION, "--locked", "--root"]).arg(&folder))?;
    }
    Ok(tool)
}

fn seeds() -> PathBuf {
    root().join("target/fuzz/seeds")
}

fn fuzz(tool: &Path, target: &str, seconds: u64) -> Result<()> {
    let (learnt, found) =
        (root().join("target/fuzz/corpus").join(target), root().join("target/fuzz/found").join(target));
    for folder in [&learnt, &found] {
        fs::create_dir_all(folder).with_context(|| format!("making {}", folder.display()))?;
    }
    let mut fuzz = cargo_fuzz(tool, "run");
    fuzz.arg(target).arg(&learnt);
    // Read and not written to. Whoever has photos from elsewhere begins with these too.
    let mut read = vec![seeds().join(target), root().join("fuzz/corpus").join(target)];
    if target == "photo" {
        read.push(root().join("../shared/data/odd"));
    }
    fuzz.args(read.into_iter().filter(|folder| folder.is_dir()));
    fuzz.arg("--").args([
        format!("-max_total_time={seconds}"),
        format!("-rss_limit_mb={RSS_MB}"),
        format!("-timeout={TIMEOUT_SECONDS}"),
        format!("-max_len={LENGTH_MAX}"),
        format!("-artifact_prefix={}/", found.display()),
        "-print_final_stats=1".to_owned(),
    ]);
    run(&mut fuzz).with_context(|| format!("fuzzing {target}: what it found lies in target/fuzz/found/{target}"))
}

/// The targets have a folder of their own under target/: they are built with a sanitizer. Sanitizers are not for stable
/// compilers, so one is told that it is not stable.
fn cargo_fuzz(tool: &Path, subcommand: &str) -> Command {
    let mut fuzz = command(tool);
    // Lines are all that a trace needs; with more it takes much longer to build.
    fuzz.env("RUSTC_BOOTSTRAP", "1").env("RUSTFLAGS", "-Cdebuginfo=line-tables-only");
    let built = root().join("target/fuzz/build");
    fuzz.args(["fuzz", subcommand, "--fuzz-dir", "fuzz", "--features", "libfuzzer", "--strip-dead-code", "true"]);
    fuzz.arg("--target-dir").arg(built);
    fuzz
}
