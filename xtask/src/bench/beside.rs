//! Ours beside others: one run each in turn, round by round, and how long ours takes in proportion.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, ensure};

use super::spread::Spread;
use crate::args::Args;

/// How many rounds are asked for, and of how many megabytes, where nothing else is left to be asked.
pub fn asked(mut args: Args, rounds: usize, megabytes: u64) -> Result<(usize, u64)> {
    let rounds = args.option("--rounds")?.unwrap_or(rounds);
    let megabytes = args.option("--megabytes")?.unwrap_or(megabytes);
    args.done()?;
    ensure!(rounds > 0, "--rounds must be at least 1");
    ensure!(megabytes > 0, "--megabytes must be at least 1");
    Ok((rounds, megabytes))
}

/// Seconds of a process from its start to its end. What was in `results` before is gone.
pub fn timed(process: &mut Command, results: &Path) -> Result<f64> {
    if results.exists() {
        fs::remove_dir_all(results).with_context(|| format!("removing {}", results.display()))?;
    }
    let started = Instant::now();
    let ended = process.stdin(Stdio::null()).output().with_context(|| format!("starting {process:?}"))?;
    ensure!(ended.status.success(), "{process:?}: {}\n{}", ended.status, String::from_utf8_lossy(&ended.stderr));
    Ok(started.elapsed().as_secs_f64())
}

/// Seconds of each, round by round, in turn. `runs` says whether one runs in a round.
pub fn rounds<const N: usize>(
    names: [&str; N],
    rounds: usize,
    runs: impl Fn(&str, usize) -> bool,
    once: impl Fn(&str) -> Result<f64>,
) -> Result<Vec<(&str, Vec<f64>)>> {
    let mut measured: Vec<_> = names.map(|name| (name, Vec::new())).into();
    for round in 1..=rounds {
        for (name, seconds) in &mut measured {
            if runs(name, round) {
                seconds.push(once(name)?);
                eprintln!("bench: round {round} of {rounds}: {name}: {:.2} s", seconds[seconds.len() - 1]);
            }
        }
    }
    Ok(measured)
}

/// A line for each that was run, and how long ours takes in proportion, round by round where both were run.
pub fn table(measured: &[(&str, Vec<f64>)], is_ours: impl Fn(&str) -> bool) -> String {
    let mut text = String::new();
    let spread = |values: Vec<f64>| {
        let Spread { low, median, high } = Spread::of(values.into_iter());
        format!("{median:>8.2}   ({low:.2} to {high:.2})\n")
    };
    let there = || measured.iter().filter(|(_, seconds)| !seconds.is_empty());
    for (name, seconds) in there() {
        text += &format!("  {name:<44} {}", spread(seconds.clone()));
    }
    for (ours, ours_s) in there().filter(|(name, _)| is_ours(name)) {
        for (peer, peer_s) in there().filter(|(name, _)| !is_ours(name)) {
            let ratios = ours_s.iter().zip(peer_s).map(|(ours, peer)| ours / peer).collect();
            text += &format!("  {:<44} {}", format!("{ours} / {peer}"), spread(ratios));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::table;

    #[test]
    fn ratios_are_of_rounds_in_which_both_ran() {
        let measured = [
            ("ours", vec![10.0, 20.0, 12.0]),
            ("ours, fast", Vec::new()),
            ("Python", vec![20.0, 20.0, 20.0]),
            ("PySpark", vec![100.0]),
        ];
        let text = table(&measured, |name| name.starts_with("ours"));
        assert!(text.contains("ours / Python                                    0.60   (0.50 to 1.00)"), "{text}");
        assert!(text.contains("ours / PySpark                                   0.10   (0.10 to 0.10)"), "{text}");
        assert!(!text.contains("fast"), "{text}");
    }
}
