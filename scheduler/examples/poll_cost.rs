//! What a poll costs the scheduler: `cargo run --release -p mr-scheduler --example poll_cost`.
//!
//! A thousand workers of eight slots, each with as many orders ahead, work off the main job's three stages. Every poll
//! brings one result and is answered, which is the most that a poll has to do.

use mr_core::{AttemptId, AttemptResult, JobCode, JobId, KernelWish, Limits, TaskKind, TaskOutput, WorkerId};
use mr_scheduler::{Command, Config, Event, Poll, Scheduler, sim::graphs};
use std::collections::{BTreeSet, VecDeque};
use std::time::{Duration, Instant};

const WORKERS: usize = 1000;
const SLOTS: u32 = 8;
const SPLIT_OBJECTS: u32 = 64;

fn main() {
    println!(
        "{:>9} {:>12} {:>10} {:>10} {:>10} {:>8} {:>8}",
        "tasks", "prepared ms", "polls", "us a poll", "worst us", "done/s", "peak MB"
    );
    for splits in [1_000, 10_000, 100_000, 1_000_000] {
        measure(splits);
    }
}

struct Worker {
    id: WorkerId,
    seq: u64,
    held: VecDeque<AttemptId>,
}

fn measure(splits: u32) {
    let job = JobId::parse("a").expect("a fine name");
    let graph = graphs::features(splits, 16, 16);
    let tasks: usize = graph.stages.iter().map(|stage| stage.tasks.len()).sum();
    let mut scheduler = Scheduler::new(Config::default(), 1);
    let (limits, kernels) = (Limits::default(), KernelWish::default());
    // A program of a dozen jobs.
    let program: BTreeSet<_> = (0..12).map(|number| JobCode::new(format!("job-{number}"), 1)).collect();
    let code = JobCode::new("job-5", 1);
    scheduler.handle(0, Event::Submit { job: job.clone(), code, limits, kernels });
    let started = Instant::now();
    let split_objects = vec![SPLIT_OBJECTS; splits as usize].into();
    scheduler.handle(0, Event::Prepared { job: job.clone(), graph: graph.clone(), split_objects });
    let prepared = started.elapsed();

    let worker = |number| Worker { id: WorkerId(format!("worker-{number:04}")), seq: 0, held: VecDeque::new() };
    let mut workers: Vec<_> = (0..WORKERS).map(worker).collect();
    let (mut polls, mut spent, mut worst) = (0u32, Duration::ZERO, Duration::ZERO);
    let mut committing = false;
    while !committing {
        for worker in &mut workers {
            let results = worker.held.pop_front().map(|attempt| done(&graph, attempt)).into_iter().collect();
            worker.seq += 1;
            let held: Vec<_> = worker.held.iter().cloned().collect();
            let (id, families) = (worker.id.clone(), vec!["avx512".to_owned()]);
            let poll = Poll {
                worker: id,
                seq: worker.seq,
                slots: SLOTS,
                capacity: 2 * SLOTS,
                families,
                jobs: program.clone(),
                draining: false,
                lingers: false,
                held: held.clone(),
                results,
            };
            let started = Instant::now();
            let mr_scheduler::Step { commands, .. } = scheduler.handle(u64::from(polls) / 20, Event::Poll(poll));
            let answer = scheduler.answer(&worker.id, &held);
            let took = started.elapsed();
            worker.held.extend(answer.orders);
            polls += 1;
            spent += took;
            worst = worst.max(took);
            committing |= commands.iter().any(|command| matches!(command, Command::Commit { .. }));
        }
    }
    let (prepared, each) = (prepared.as_secs_f64() * 1e3, spent.as_secs_f64() * 1e6 / f64::from(polls));
    let (worst, rate) = (worst.as_secs_f64() * 1e6, tasks as f64 / spent.as_secs_f64());
    let peak = peak_mb();
    println!("{tasks:>9} {prepared:>12.1} {polls:>10} {each:>10.2} {worst:>10.0} {rate:>8.0} {peak:>8}");
}

/// Of this process so far, the simulated workers included: proc_pid_status(5).
fn peak_mb() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB")?.parse().ok());
    peak.map_or(0, |kilobytes: u64| kilobytes / 1024)
}

fn done(graph: &mr_core::TaskGraph, attempt: AttemptId) -> AttemptResult {
    let node = &graph.stages[attempt.task.stage as usize].tasks[attempt.task.index as usize];
    let records = u64::from(SPLIT_OBJECTS)
        * match node.kind {
            TaskKind::MapSplit => 1,
            TaskKind::MapKept => node.reads.len() as u64,
            TaskKind::Combine | TaskKind::Reduce { .. } => 0,
        };
    let outcome = Ok(TaskOutput { records, rows: records, ..TaskOutput::default() });
    AttemptResult { attempt, kernel_family: "avx512".into(), outcome, asked: Default::default() }
}
