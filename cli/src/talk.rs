//! What is said on stderr while a job runs: a bar for each stage on a terminal, a line now and then elsewhere.

use crate::progress::{self, Progress, StageLine};
use crate::words;
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use mr_core::{JobPhase, JobStatus};
use std::io::{IsTerminal, Write};
use std::sync::OnceLock;

/// Between two lines where there is no terminal.
const EVERY_MS: u64 = 5_000;

/// All bars of this process. Whatever else goes to stderr meanwhile has to go through it, or bars are torn.
fn bars() -> &'static MultiProgress {
    static BARS: OnceLock<MultiProgress> = OnceLock::new();
    BARS.get_or_init(|| MultiProgress::with_draw_target(ProgressDrawTarget::stderr_with_hz(10)))
}

/// Writes lines above the bars, if there are any.
pub struct Stderr;

impl Write for Stderr {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        bars().suspend(|| std::io::stderr().write_all(bytes))?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        std::io::stderr().flush()
    }
}

/// Says a line for whoever waits.
pub fn say(line: &str) {
    // In one piece, or a bar gets in between. With stderr closed there is nobody to tell.
    _ = Stderr.write_all(format!("{line}\n").as_bytes());
}

pub enum Talk {
    Bars(Bars),
    Lines(Lines),
}

impl Talk {
    pub fn new() -> Self {
        match std::io::stderr().is_terminal() {
            true => Self::Bars(Bars::default()),
            false => Self::Lines(Lines::default()),
        }
    }

    pub fn see(&mut self, status: &JobStatus) {
        match self {
            Self::Bars(bars) => bars.see(status),
            Self::Lines(lines) => lines.see(status).iter().for_each(|line| say(line)),
        }
    }
}

/// Bars stay where they ended, as a record of what happened.
#[derive(Default)]
pub struct Bars {
    progress: Progress,
    stages: Vec<ProgressBar>,
    /// Below the bars: listing, committing, or why nothing moves.
    below: Option<ProgressBar>,
}

impl Bars {
    fn see(&mut self, status: &JobStatus) {
        let lines = self.progress.lines(status);
        let width = status.stages.iter().map(|stage| stage.name.len()).max().unwrap_or(0);
        for (position, line) in lines.iter().enumerate() {
            if position == self.stages.len() {
                let bar = bars().insert(position, ProgressBar::new(0));
                bar.set_style(
                    ProgressStyle::with_template("{prefix} [{bar:24}] {wide_msg}")
                        .expect("the template is fixed")
                        .progress_chars("=> "),
                );
                bar.set_prefix(format!("{:width$}", line.name));
                self.stages.push(bar);
            }
            let bar = &self.stages[position];
            bar.set_length(line.of.max(1));
            bar.set_position(line.done);
            bar.set_message(line.text.clone());
            if line.ended && !bar.is_finished() {
                bar.abandon();
            }
        }
        let note = status.note.clone().or_else(|| progress::phase(status)).filter(|_| !status.phase.ended());
        match (note, &self.below) {
            (Some(note), Some(below)) => below.set_message(note),
            (Some(note), None) => {
                let below = bars().add(ProgressBar::new_spinner());
                below.set_message(note);
                below.enable_steady_tick(std::time::Duration::from_millis(100));
                self.below = Some(below);
            }
            (None, Some(below)) => {
                below.finish_and_clear();
                self.below = None;
            }
            (None, None) => {}
        }
    }
}

impl Drop for Bars {
    fn drop(&mut self) {
        if let Some(below) = &self.below {
            below.finish_and_clear();
        }
        self.stages.iter().filter(|bar| !bar.is_finished()).for_each(|bar| bar.abandon());
    }
}

/// Which lines to say of a state, so that a log stays short.
#[derive(Default)]
pub struct Lines {
    progress: Progress,
    said_ms: Option<u64>,
    ended: Vec<String>,
    phase: Option<JobPhase>,
    note: Option<String>,
}

impl Lines {
    fn see(&mut self, status: &JobStatus) -> Vec<String> {
        let stages = self.progress.lines(status);
        let mut lines = Vec::new();
        for stage in stages.iter().filter(|stage| stage.ended && !self.ended.contains(&stage.name)) {
            lines.push(line(stage));
        }
        self.ended.extend(stages.iter().filter(|stage| stage.ended).map(|stage| stage.name.clone()));
        self.ended.dedup();
        if self.phase != Some(status.phase) {
            lines.extend(progress::phase(status));
            self.phase = Some(status.phase);
        }
        if self.note != status.note {
            lines.extend(status.note.clone());
            self.note = status.note.clone();
        }
        let due = self.said_ms.is_none_or(|said| status.elapsed_ms >= said + EVERY_MS);
        if lines.is_empty() && due {
            lines.extend(stages.iter().filter(|stage| !stage.ended).map(line));
        }
        if !lines.is_empty() {
            self.said_ms = Some(status.elapsed_ms);
        }
        lines
    }
}

fn line(stage: &StageLine) -> String {
    format!("{}: {}", words::harmless(&stage.name), stage.text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::status;

    #[test]
    fn a_log_has_a_line_for_each_change_and_every_few_seconds() {
        let at = |ms, phase, records, tasks_done, note: Option<&str>| {
            let mut status = status(phase);
            status.elapsed_ms = ms;
            (status.stages[0].records, status.stages[0].tasks_done) = (records, tasks_done);
            status.note = note.map(str::to_owned);
            status
        };
        let mut lines = Lines::default();
        let mut listing = at(0, JobPhase::Listing, 0, 0, None);
        listing.stages.clear();
        listing.books.listed = 0;
        assert_eq!(lines.see(&listing), ["listing the input"]);
        assert_eq!(lines.see(&listing), [""; 0]);
        let nobody = Some("no worker is in touch");
        assert_eq!(lines.see(&at(100, JobPhase::Running, 0, 0, nobody)), ["no worker is in touch"]);
        assert_eq!(lines.see(&at(200, JobPhase::Running, 0, 0, nobody)), [""; 0]);
        assert_eq!(lines.see(&at(300, JobPhase::Running, 1, 0, None)), [""; 0]);
        assert_eq!(
            lines.see(&at(5_200, JobPhase::Running, 51, 2, None)),
            ["count: 51 of 100 records, 10.0 records/s, 5 s left"]
        );
        assert_eq!(lines.see(&at(5_300, JobPhase::Running, 60, 2, None)), [""; 0]);
        assert_eq!(
            lines.see(&at(10_200, JobPhase::Running, 100, 4, None)),
            ["count: 100 of 100 records, 9.90 records/s"]
        );
        assert_eq!(lines.see(&at(20_200, JobPhase::Running, 100, 4, None)), [""; 0]);
        assert_eq!(lines.see(&at(20_300, JobPhase::Committing, 100, 4, None)), ["committing"]);
        assert_eq!(lines.see(&at(20_400, JobPhase::Committed, 100, 4, None)), [""; 0]);
    }
}
