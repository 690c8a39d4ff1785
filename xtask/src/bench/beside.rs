//! Ours beside others: one run each in turn, round by round, and how long ours takes in proportion.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, ensure};

use super::spread::Spread;

/// Seconds of a process from its start to its end. What was in `results` before is gone.
pub fn timed(process: &mut Command, results: &Path) -> Result<f64> {
    remove(results)?;
    let started = Instant::now();
    let ended = process.stdin(Stdio::null()).output().with_context(|| format!("starting {process:?}"))?;
    ensure!(ended.status.success(), "{process:?}: {}\n{}", ended.status, String::from_utf8_lossy(&ended.stderr));
    Ok(started.elapsed().as_secs_f64())
}

/// A folder with all that is in it, if it is there.
pub fn remove(folder: &Path) -> Result<()> {
    if folder.exists() {
        fs::remove_dir_all(folder).with_context(|| format!("removing {}", folder.display()))?;
    }
    Ok(())
}

/// Seconds of each, round by round, in turn. `runs` says whether one runs in a round.
pub fn rounds<const N: usize>(
    names: [&'static str; N],
    rounds: usize,
    runs: impl Fn(&str, usize) -> bool,
    mut once: impl FnMut(&str) -> Result<f64>,
) -> Result<[(&'static str, Vec<f64>); N]> {
    let mut measured = names.map(|name| (name, Vec::new()));
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

/// How long ours takes in proportion, round by round where both were run.
pub fn ratios(ours: &[f64], theirs: &[f64]) -> Vec<f64> {
    ours.iter().zip(theirs).map(|(ours, theirs)| ours / theirs).collect()
}

/// A line for each that was run, and how long ours takes in proportion, round by round where both were run.
pub fn table(measured: &[(&str, Vec<f64>)], is_ours: impl Fn(&str) -> bool) -> String {
    let mut text = String::new();
    let spread = |values: &[f64]| Spread::of(values.iter().copied());
    let there = || measured.iter().filter(|(_, seconds)| !seconds.is_empty());
    for (name, seconds) in there() {
        text += &format!("  {name:<44} {}\n", spread(seconds));
    }
    for (ours, ours_s) in there().filter(|(name, _)| is_ours(name)) {
        for (peer, peer_s) in there().filter(|(name, _)| !is_ours(name)) {
            text += &format!("  {:<44} {}\n", format!("{ours} / {peer}"), spread(&ratios(ours_s, peer_s)));
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
