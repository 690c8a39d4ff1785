//! What those who watch are told of a job.

use crate::job::Job;
use mr_core::{AttemptProgress, JobStatus, StageStatus, WorkerId};
use mr_scheduler::{JobView, Lack, Millis, START_ITS_PROGRAM, WorkerView, other_versions};
use std::collections::{BTreeMap, BTreeSet};

pub fn status(
    view: &JobView<'_>,
    job: &Job,
    workers: &[WorkerView<'_>],
    progress: &BTreeMap<WorkerId, Vec<AttemptProgress>>,
    now: Millis,
) -> JobStatus {
    let phase = view.phase;
    let elapsed = view.ended_at.unwrap_or(now).saturating_sub(view.submitted_at) + job.prior_ms;
    JobStatus {
        id: view.id.clone(),
        job: job.plan.spec.job.clone(),
        input: job.plan.spec.input.clone(),
        input_list: job.plan.spec.input_list.clone(),
        output: job.plan.spec.output.clone(),
        format: job.plan.spec.format,
        phase,
        submitted_ms: view.submitted_at,
        elapsed_ms: elapsed,
        books: mr_core::Books { skipped: job.skipped, ..view.books },
        counters: view.counters.clone(),
        stages: stages(view, progress),
        workers: workers.len() as u32,
        slots: workers.iter().map(|worker| worker.slots).sum(),
        quarantined_first: view.quarantined_first.clone(),
        failure: view.failure.cloned(),
        note: note(view, job, workers, now),
    }
}

/// One for each planned stage: its levels of combining are counted with it.
fn stages(view: &JobView<'_>, progress: &BTreeMap<WorkerId, Vec<AttemptProgress>>) -> Vec<StageStatus> {
    let mut stages: Vec<StageStatus> = Vec::new();
    for (index, level) in view.stages.iter().enumerate() {
        let running: u64 = progress
            .values()
            .flatten()
            // What a worker last said of a job that has ended since says nothing any more.
            .filter(|p| !view.phase.ended() && p.attempt.task.job == *view.id && p.attempt.task.stage as usize == index)
            .map(|p| p.records)
            .sum();
        let total = level.records_total;
        let records = total.map_or(level.records, |total| (level.records + running).min(total));
        let level = StageStatus {
            name: level.name.clone(),
            tasks: level.total,
            tasks_done: level.done,
            // Workers are told to let go of what a job had left, and have not yet said that they did.
            tasks_running: if view.phase.ended() { 0 } else { level.running },
            records,
            records_total: total,
        };
        match stages.last_mut().filter(|stage| stage.name == level.name) {
            Some(stage) => {
                stage.tasks += level.tasks;
                stage.tasks_done += level.tasks_done;
                stage.tasks_running += level.tasks_running;
                (stage.records, stage.records_total) = (level.records, level.records_total);
            }
            None => stages.push(level),
        }
    }
    stages
}

/// Slots go to jobs in the order in which they were submitted.
fn waits(view: &JobView<'_>, workers: &[WorkerView<'_>]) -> Option<String> {
    let (left, rests) = (view.stages.iter().any(|s| s.done < s.total), view.stages.iter().all(|s| s.running == 0));
    let waits = left && rests && workers.iter().all(|worker| !worker.idle);
    waits.then(|| "it waits: all workers are at work for other jobs".to_owned())
}

fn note(view: &JobView<'_>, job: &Job, workers: &[WorkerView<'_>], now: Millis) -> Option<String> {
    if view.phase.ended() {
        return None;
    }
    if workers.is_empty() {
        return Some("no worker is in touch: start one with `mr-worker --coordinator URL`".into());
    }
    if workers.iter().all(|worker| worker.draining) {
        return Some(
            "all workers in touch are leaving: what they run comes to its end, and the rest waits for others".into(),
        );
    }
    // Whoever watches is told anew whenever this changes.
    let fails = view.gives_up_at.map_or(String::new(), |at| {
        let left = match at.saturating_sub(now).div_ceil(1000) {
            seconds @ 0..60 => format!("{} s", seconds.next_multiple_of(15)),
            seconds => format!("{} min", seconds.div_ceil(60)),
        };
        format!("; it fails in {left} unless one comes that has")
    });
    // A worker that does not even have the job is of no use for its kernels.
    let (in_touch, that_have_it) = match view.workers_without_code {
        0 => ("in touch", "in touch"),
        _ => ("in touch that has the job", "in touch that have the job"),
    };
    match view.lack {
        Some(Lack::Code(code)) => {
            let others = other_versions(code, workers);
            Some(format!("no worker in touch has {code}{others}{fails}: {START_ITS_PROGRAM}"))
        }
        Some(Lack::Family(family)) => {
            let none = match view.workers_turned_away - view.workers_without_code {
                1 => format!("the one worker {in_touch} does not have it"),
                many => format!("none of the {many} workers {that_have_it} has it"),
            };
            Some(format!("the job began on kernel family `{family}`, and {none}{fails}"))
        }
        Some(Lack::Kernels) => {
            let having = workers.iter().filter(|worker| worker.jobs.contains(view.code));
            let families: BTreeSet<_> = having.flat_map(|worker| worker.families).map(|f| &**f).collect();
            let families: Vec<_> = families.into_iter().collect();
            Some(format!(
                "no worker {in_touch} has kernels for it, only {}{fails}; {}",
                families.join(", "),
                view.kernels.why
            ))
        }
        None => {
            let again = || match job.undone {
                0 => None,
                1 => Some("one task had to be done again: what it wrote was lost".to_owned()),
                many => Some(format!("{many} tasks had to be done again: what they wrote was lost")),
            };
            let idle = || match view.workers_without_code {
                0 => None,
                1 => Some(format!("one worker in touch gets none of its tasks, for it does not have {}", view.code)),
                many => {
                    Some(format!("{many} workers in touch get none of its tasks, for they do not have {}", view.code))
                }
            };
            job.troubles
                .worst(|stage| job.stage_name(stage))
                .or_else(again)
                .or_else(idle)
                .or_else(|| waits(view, workers))
        }
    }
}
