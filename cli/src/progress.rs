//! How far a job is, in words: a pure function of the states that were seen.

use crate::words;
use mr_core::{JobPhase, JobStatus, StageStatus};
use std::collections::VecDeque;

/// Speed is measured over the last so many milliseconds of the job's own clock.
const WINDOW_MS: u64 = 10_000;

#[derive(Default)]
pub struct Progress {
    stages: Vec<Speed>,
}

/// A stage, ready to be drawn or printed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StageLine {
    pub name: String,
    /// How much of how much, for a bar.
    pub done: u64,
    pub of: u64,
    pub ended: bool,
    /// `2,010 of 4,020 images, 312 images/s, 6 s left, 3 quarantined`.
    pub text: String,
}

impl Progress {
    /// Takes a newer state, and says how far each stage is. A stage that has not begun says nothing.
    pub fn lines(&mut self, status: &JobStatus) -> Vec<StageLine> {
        self.stages.resize_with(status.stages.len().max(self.stages.len()), Speed::default);
        let mut lines = Vec::new();
        for (position, stage) in status.stages.iter().enumerate() {
            let (done, of, noun) = measure(stage, words::of_stage(status, position));
            let speed = &mut self.stages[position];
            let ended = stage.tasks > 0 && stage.tasks_done == stage.tasks;
            let begun = done > 0 || stage.tasks_running > 0 || ended;
            speed.see(status.elapsed_ms, done, begun, ended);
            if !begun {
                continue;
            }
            let mut parts = vec![format!("{} of {}", words::count(done), words::of(of, noun))];
            if noun != TASKS
                && let Some(rate) = if ended { speed.overall() } else { speed.now() }
            {
                parts.push(format!("{} {noun}/s", words::rate(rate)));
                if !ended && rate > 0.0 {
                    parts.push(format!("{} left", words::about((of - done) as f64 / rate)));
                }
            }
            if position == 0 && status.books.quarantined > 0 {
                parts.push(format!("{} quarantined", words::count(status.books.quarantined)));
            }
            lines.push(StageLine { name: stage.name.clone(), done, of, ended, text: parts.join(", ") });
        }
        lines
    }
}

const TASKS: &str = "tasks";

/// Records where they are known in advance, tasks elsewhere.
fn measure(stage: &StageStatus, records: &'static str) -> (u64, u64, &'static str) {
    match stage.records_total {
        Some(total) if total > 0 => (stage.records.min(total), total, records),
        _ => (stage.tasks_done.into(), stage.tasks.into(), TASKS),
    }
}

/// What goes on when no stage has anything to say.
pub fn phase(status: &JobStatus) -> Option<String> {
    match status.phase {
        JobPhase::Listing => Some(match status.books.listed {
            0 => "listing the input".to_owned(),
            listed => format!("listing the input, {} so far", words::count(listed)),
        }),
        JobPhase::Committing => Some("committing".to_owned()),
        JobPhase::Running | JobPhase::Committed | JobPhase::Failed | JobPhase::Cancelled => None,
    }
}

/// When and how many, over the last while.
#[derive(Default)]
struct Speed {
    /// Where counting began: a watch may begin in the middle of a job, and a stage waits for the one before it.
    first: Option<(u64, u64)>,
    /// The first state that had all of it.
    end: Option<(u64, u64)>,
    seen: VecDeque<(u64, u64)>,
}

impl Speed {
    fn see(&mut self, at_ms: u64, done: u64, begun: bool, ended: bool) {
        if let Some((_, last)) = self.seen.back()
            && *last > done
        {
            // An attempt was lost and its records with it.
            self.seen.clear();
        }
        if self.first.is_none() || !begun {
            self.first = Some((at_ms, done));
        }
        if ended && self.end.is_none() {
            self.end = Some((at_ms, done));
        }
        self.seen.push_back((at_ms, done));
        while self.seen.len() > 2 && self.seen[1].0 + WINDOW_MS <= at_ms {
            self.seen.pop_front();
        }
    }

    fn now(&self) -> Option<f64> {
        per_second(*self.seen.front()?, *self.seen.back()?)
    }

    fn overall(&self) -> Option<f64> {
        per_second(self.first?, self.end?)
    }
}

/// Nothing before there was time to measure.
fn per_second((from_ms, from): (u64, u64), (to_ms, to): (u64, u64)) -> Option<f64> {
    let ms = to_ms.saturating_sub(from_ms);
    (ms >= 200 && to > from).then(|| (to - from) as f64 * 1000.0 / ms as f64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::status;

    fn at(ms: u64, records: u64, tasks_done: u32) -> JobStatus {
        let mut status = status(JobPhase::Running);
        status.job = "image-features".into();
        status.elapsed_ms = ms;
        (status.stages[0].records, status.stages[0].tasks_done) = (records, tasks_done);
        status
    }

    fn texts(states: &[JobStatus]) -> Vec<String> {
        let mut progress = Progress::default();
        states
            .iter()
            .map(|state| progress.lines(state).into_iter().map(|l| l.text).collect::<Vec<_>>().join("; "))
            .collect()
    }

    #[test]
    fn speed_is_that_of_the_last_while() {
        let states = [
            at(0, 0, 0),
            at(1_000, 10, 0),
            at(2_000, 20, 1),
            at(12_000, 40, 1),
            at(13_000, 100, 4),
            at(60_000, 100, 4),
        ];
        assert_eq!(
            texts(&states),
            [
                "0 of 100 images",
                "10 of 100 images, 10.0 images/s, 9 s left",
                "20 of 100 images, 10.0 images/s, 8 s left",
                "40 of 100 images, 2.00 images/s, 30 s left",
                "100 of 100 images, 7.69 images/s",
                "100 of 100 images, 7.69 images/s",
            ]
        );
    }

    #[test]
    fn the_time_before_the_first_news_of_a_stage_counts_and_the_wait_for_it_does_not() {
        let waiting = |ms| {
            let mut status = at(ms, 0, 0);
            status.stages[0].tasks_running = 0;
            status
        };
        let states = [waiting(0), waiting(4_000), at(4_100, 0, 0), at(5_900, 0, 0), at(6_000, 100, 4)];
        assert_eq!(texts(&states)[4], "100 of 100 images, 50.0 images/s");
    }

    #[test]
    fn an_ended_stage_keeps_its_speed_while_others_go_on() {
        let states: Vec<_> =
            (0..100).map(|second| at(1_000 * second, 10 * second.min(10), if second < 10 { 1 } else { 4 })).collect();
        let mut texts = texts(&states).split_off(10);
        texts.dedup();
        assert_eq!(texts, ["100 of 100 images, 10.0 images/s"]);
    }

    #[test]
    fn a_watch_that_begins_in_the_middle_does_not_count_what_was_done_before() {
        assert_eq!(texts(&[at(90_000, 50, 2), at(91_000, 55, 2)])[1], "55 of 100 images, 5.00 images/s, 9 s left");
    }

    #[test]
    fn records_of_a_lost_attempt_are_not_progress() {
        let states = [at(0, 0, 0), at(1_000, 50, 0), at(2_000, 10, 0), at(3_000, 20, 0)];
        assert_eq!(texts(&states)[2..], ["10 of 100 images", "20 of 100 images, 10.0 images/s, 8 s left"]);
    }

    #[test]
    fn what_is_quarantined_and_stages_of_tasks_are_told() {
        let mut status = at(1_000, 10, 0);
        status.books.quarantined = 3;
        let waits = StageStatus {
            name: "fit".into(),
            tasks: 1,
            tasks_done: 0,
            tasks_running: 0,
            records: 0,
            records_total: None,
        };
        status.stages.push(waits.clone());
        assert_eq!(texts(&[status.clone()]), ["10 of 100 images, 3 quarantined"]);
        status.stages[1] = StageStatus { tasks_running: 1, ..waits.clone() };
        assert_eq!(texts(&[status.clone()]), ["10 of 100 images, 3 quarantined; 0 of 1 task"]);
        status.stages[1] = StageStatus { tasks_done: 1, ..waits };
        assert_eq!(texts(&[status]), ["10 of 100 images, 3 quarantined; 1 of 1 task"]);
    }

    #[test]
    fn a_stage_whose_speed_is_nothing_says_no_time() {
        assert_eq!(texts(&[at(0, 5, 0), at(20_000, 5, 0)])[1], "5 of 100 images");
    }
}
