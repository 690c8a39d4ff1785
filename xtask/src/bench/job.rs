//! `cargo xtask bench job`: the whole job as a user runs it, process start included, some rounds after one that warms up.
//! Figures come from the outside clock and from the job's own report; the median is given with the spread, because a single
//! run on a shared machine says little.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::machine::machine;
use super::spread::Spread;
use super::submit::{Run, photos};
use crate::args::Args;
use crate::setup::setup;
use crate::shell::{cargo, command, output, root, run};

pub fn main(mut args: Args) -> Result<()> {
    let rounds: usize = args.option("--rounds")?.unwrap_or(5);
    let slots: Option<usize> = args.option("--slots")?;
    let input: Option<PathBuf> = args.option("--input")?;
    let markdown = args.flag("--markdown");
    args.done()?;
    ensure!(rounds > 0, "--rounds must be at least 1");

    setup()?;
    run(&mut cargo(&["build", "--release", "--workspace", "--bins"]))?;
    let input = photos(input)?;
    let bench = Bench { folder: root().join("target/bench"), input, slots };
    bench.round().context("warming up")?;
    let mut measured = Vec::new();
    for number in 1..=rounds {
        let round = bench.round().with_context(|| format!("round {number}"))?;
        eprintln!("bench: round {number} of {rounds}: {:.2} s", round.wall_s);
        measured.push(round);
    }
    let summary = Summary::of(&measured);
    print!("{}", if markdown { summary.markdown(&bench)? } else { summary.plain() });
    Ok(())
}

struct Bench {
    folder: PathBuf,
    input: PathBuf,
    slots: Option<usize>,
}

impl Bench {
    /// One run into a fresh output with fresh state, so that no round finds what the one before left.
    fn round(&self) -> Result<Round> {
        let results = self.folder.join("Results");
        let wall_s = Run { slots: self.slots, ..Run::default() }.go(&self.input, &results)?;
        Round::read(&results.join("_report.json"), wall_s)
    }
}

/// What one run took.
#[derive(Clone, Debug, Default, PartialEq)]
struct Round {
    wall_s: f64,
    images: f64,
    /// In the order in which they happen.
    phases_s: Vec<(String, f64)>,
    first_image_s: f64,
    busy_s: f64,
    slots: f64,
    peak_rss_bytes: f64,
    kernel: String,
}

impl Round {
    fn read(report: &Path, wall_s: f64) -> Result<Self> {
        let text = fs::read_to_string(report).with_context(|| format!("reading {}", report.display()))?;
        Self::parse(&text, wall_s).with_context(|| format!("reading {}", report.display()))
    }

    fn parse(report: &str, wall_s: f64) -> Result<Self> {
        let report: Value = serde_json::from_str(report)?;
        let number =
            |value: &Value, name: &str| value.as_f64().with_context(|| format!("the report has no number {name:?}"));
        let seconds = &report["seconds"];
        let phases_s = ["list", "embed", "fit", "project", "commit"]
            .iter()
            .map(|phase| Ok(((*phase).to_owned(), number(&seconds[*phase], &format!("seconds.{phase}"))?)))
            .collect::<Result<_>>()?;
        let field = |name: &str| number(&report[name], name);
        Ok(Self {
            wall_s,
            images: field("embedded")?,
            phases_s,
            first_image_s: field("first_image_s")?,
            busy_s: field("busy_s")?,
            slots: field("slots")?,
            peak_rss_bytes: field("peak_rss_bytes")?,
            kernel: report["kernel_family"].as_str().unwrap_or("unknown").to_owned(),
        })
    }

    /// What the framework adds to the job's own work, were that spread evenly over the slots.
    fn overhead_s(&self) -> f64 {
        self.wall_s - self.busy_s / self.slots
    }
}

/// Median and range of each figure.
struct Summary {
    images: f64,
    slots: f64,
    rounds: usize,
    kernel: String,
    /// Name, values, digits after the point.
    rows: Vec<(String, Spread, usize)>,
}

impl Summary {
    fn of(rounds: &[Round]) -> Self {
        let first = &rounds[0];
        let spread = |value: &dyn Fn(&Round) -> f64| Spread::of(rounds.iter().map(value));
        let mut rows = vec![
            ("images/s, start-up included".to_owned(), spread(&|round| round.images / round.wall_s), 1),
            ("wall, s".to_owned(), spread(&|round| round.wall_s), 2),
        ];
        for (at, (phase, _)) in first.phases_s.iter().enumerate() {
            rows.push((format!("{phase}, s"), spread(&|round| round.phases_s[at].1), 2));
        }
        rows.push(("first image, s".to_owned(), spread(&|round| round.first_image_s), 3));
        rows.push(("slots' busy seconds / slots".to_owned(), spread(&|round| round.busy_s / round.slots), 2));
        rows.push(("overhead (wall - busy / slots), s".to_owned(), spread(&Round::overhead_s), 2));
        rows.push(("peak memory, MB".to_owned(), spread(&|round| round.peak_rss_bytes / 1e6), 0));
        Self { images: first.images, slots: first.slots, rounds: rounds.len(), kernel: first.kernel.clone(), rows }
    }

    fn plain(&self) -> String {
        let mut text = format!(
            "{} images, {} slots, kernel {}, {} rounds: median (lowest to highest)\n",
            self.images, self.slots, self.kernel, self.rounds
        );
        for (name, Spread { low, median, high }, digits) in &self.rows {
            text += &format!("  {name:<34} {median:>10.digits$}   ({low:.digits$} to {high:.digits$})\n");
        }
        text
    }

    /// A section for docs/benchmarks.md, with what must be known to compare it.
    fn markdown(&self, bench: &Bench) -> Result<String> {
        let date = output(command("date").args(["-u", "+%Y-%m-%d"]))?;
        let commit = output(command("git").args(["describe", "--always", "--dirty"]))?;
        let source = if bench.input.ends_with("data/fruits") { "the Fruits-360 photos" } else { "other photos" };
        let mut text = format!(
            "## {}, {}\n\n{}, commit {}. `cargo xtask bench job --rounds {}`: {} images of {source}, {} slots, kernel family {}.\n\n",
            date.trim(),
            "the whole job",
            machine(),
            commit.trim(),
            self.rounds,
            self.images,
            self.slots,
            self.kernel,
        );
        text += "| | median | lowest | highest |\n| --- | --- | --- | --- |\n";
        for (name, Spread { low, median, high }, digits) in &self.rows {
            text += &format!("| {name} | {median:.digits$} | {low:.digits$} | {high:.digits$} |\n");
        }
        Ok(text)
    }
}

#[cfg(test)]
mod tests {
    use super::{Round, Summary};

    const REPORT: &str = r#"{"listed": 10, "embedded": 10, "first_image_s": 0.25, "peak_rss_bytes": 2e8, "busy_s": 6.0, "slots": 2,
        "kernel_family": "plain", "seconds": {"list": 0.1, "embed": 3.0, "fit": 0.5, "project": 0.2, "commit": 0.1, "total": 4.0}}"#;

    #[test]
    fn a_report_becomes_a_round() {
        let round = Round::parse(REPORT, 4.5).unwrap();
        assert_eq!((round.images, round.first_image_s, round.phases_s[1].1), (10.0, 0.25, 3.0));
        assert_eq!(round.overhead_s(), 1.5);
    }

    #[test]
    fn a_missing_figure_is_named() {
        let error = Round::parse(&REPORT.replace("\"fit\"", "\"fat\""), 1.0).unwrap_err().to_string();
        assert!(error.contains("seconds.fit"), "{error}");
    }

    #[test]
    fn the_summary_shows_rate_and_overhead() {
        let rounds = [4.5, 5.0, 4.0].map(|wall_s| Round::parse(REPORT, wall_s).unwrap());
        let text = Summary::of(&rounds).plain();
        assert!(text.contains("images/s, start-up included") && text.contains("2.2   (2.0 to 2.5)"), "{text}");
        assert!(text.contains("1.50   (1.00 to 2.00)"), "{text}");
    }
}
