//! Several jobs on one output: one entry a version, nobody's rows mixed, and nothing taken from a winner.

mod common;

use common::*;
use mr_core::JobId;
use mr_storage::{Directory, DynStore, Put};
use mr_table::{Abandoned, Committed, OutputState, TableError, abandon, inspect};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

/// Runs `rival` from beginning to end just before operation `n` of whoever uses the store.
fn interrupted_at(output: &DynStore, n: u32, rival: &Job) -> DynStore {
    let (inner, rival) = (output.clone(), rival.clone());
    Watched::over(
        output.clone(),
        Box::new(move |operation| {
            let (inner, rival) = (inner.clone(), rival.clone());
            Box::pin(async move {
                if operation == n {
                    rival.run(&inner).await.unwrap();
                }
                Verdict::Go
            })
        }),
    )
}

fn conflict(result: &Result<Committed, TableError>) -> bool {
    match result {
        Ok(_) => false,
        Err(TableError::Conflict { by }) => {
            assert!(!by.is_empty());
            true
        }
        Err(other) => panic!("{other:?}"),
    }
}

/// A table, or nothing, and who made it.
async fn prepare(output: &DynStore, with_table: bool) -> Vec<JobId> {
    if !with_table {
        return Vec::new();
    }
    let old = Job::new("old", &[&[1], &[2]]).await;
    old.run(output).await.unwrap();
    vec![old.id]
}

#[tokio::test]
async fn a_job_that_runs_in_the_middle_of_another_wins_or_loses_whole() {
    for with_table in [false, true] {
        let (mut outcomes, mut kept) = (BTreeMap::new(), 0);
        for n in 0..60 {
            let output = memory();
            let mut committed = prepare(&output, with_table).await;
            let slow = Job::new("slow", &[&[3], &[4]]).await;
            let rival = Job::new("rival", &[&[5], &[6], &[7]]).await;
            let result = slow.run(&interrupted_at(&output, n, &rival)).await;
            *outcomes.entry(conflict(&result)).or_insert(0) += 1;
            let ran = inspect(&output).await.unwrap();
            let OutputState::Ours(table) = ran else { panic!() };
            assert!(table.version < 2 + u64::from(with_table));
            let rows = table_rows(&output).await.unwrap();
            assert!(rows == slow.rows || rows == rival.rows, "{n}: {rows:?}");
            mr_table::verify(&output).await.unwrap();
            if conflict(&result) {
                assert_eq!(rows, rival.rows, "{n}");
                // It does not take away what it published: whoever leads by now may be committing the very same job.
                kept += u32::from(matches!(abandon(&output, &slow.id).await.unwrap(), Abandoned::Removed(2..)));
                settle(&output).await;
                committed.push(rival.id.clone());
                check_settled(&output, &rival, &committed.iter().collect::<Vec<_>>()).await;
            }
            // Whatever was left, the next one finds nothing wrong with it.
            let next = Job::new("next", &[&[8]]).await;
            next.run(&output).await.unwrap();
            assert_eq!(glob_rows(&output).await, next.rows);
            assert_eq!(mr_table::verify(&output).await.unwrap().strays, Vec::<String>::new());
        }
        assert_eq!(outcomes.len(), 2, "both endings were seen: {outcomes:?}");
        assert!(kept > 0, "it lost before it had published anything");
    }
}

/// A coordinator that was replaced and does not know it yet, and its successor.
#[tokio::test]
async fn one_job_that_two_commit_is_committed_once() {
    for with_table in [false, true] {
        let holds = async |output: &DynStore, before: &[JobId], job: &Job, when: &str| {
            let OutputState::Ours(table) = inspect(output).await.unwrap() else { panic!("{when}") };
            assert_eq!(table.version, u64::from(with_table), "{when}");
            settle(output).await;
            let committed: Vec<_> = before.iter().chain([&job.id]).collect();
            check_settled(output, job, &committed).await;
            mr_table::verify(output).await.unwrap();
        };
        for n in 0..60 {
            let output = memory();
            let before = prepare(&output, with_table).await;
            let job = Job::new("job", &[&[3], &[4]]).await;
            let version = job.run(&interrupted_at(&output, n, &job)).await.unwrap().version;
            assert_eq!(version, u64::from(with_table));
            holds(&output, &before, &job, &format!("the successor before operation {n}")).await;
        }
        for seed in 0..100 {
            let output = memory();
            let before = prepare(&output, with_table).await;
            let job = Job::new("job", &[&[3], &[4], &[5]]).await;
            let (first, second) = (jittered(&output, 2 * seed), jittered(&output, 2 * seed + 1));
            let (first, second) = tokio::join!(job.run(&first), job.run(&second));
            assert_eq!(first.unwrap().version, second.unwrap().version);
            holds(&output, &before, &job, &format!("both at once, seed {seed}")).await;
        }
    }
}

/// `slow` is killed, `rival` commits and is killed at each operation of its sweep, `slow` is taken up again.
#[tokio::test]
async fn a_job_that_was_swept_never_commits_later() {
    let mut endings = BTreeMap::new();
    for killed_at in 0..10 {
        for rival_killed_at in (0..40).step_by(3) {
            let output = memory();
            prepare(&output, true).await;
            let slow = Job::new("slow", &[&[3], &[4]]).await;
            let _ = slow.commit(&Watched::dies_at(output.clone(), killed_at, killed_at % 2 == 0)).await;
            let rival = Job::new("rival", &[&[5], &[6]]).await;
            let _ = rival.run(&Watched::dies_at(output.clone(), rival_killed_at, false)).await;
            let result = slow.run(&output).await;
            *endings.entry(conflict(&result)).or_insert(0) += 1;
            let rows = table_rows(&output).await.unwrap();
            match &result {
                Ok(_) => assert!(rows == slow.rows || rows == rival.rows),
                Err(_) => assert_eq!(rows, rival.rows),
            }
            settle(&output).await;
            assert_eq!(table_rows(&output).await.unwrap(), rows);
            mr_table::verify(&output).await.unwrap();
        }
    }
    assert_eq!(endings.len(), 2, "{endings:?}");
}

/// Each operation waits a few turns, as many as the seed says.
fn jittered(output: &DynStore, seed: u64) -> DynStore {
    let state = AtomicU64::new(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    Watched::over(
        output.clone(),
        Box::new(move |_| {
            let mut x = state.load(Ordering::Relaxed);
            x ^= x << 13;
            x ^= x >> 7;
            x ^= x << 17;
            state.store(x, Ordering::Relaxed);
            let turns = if x.is_multiple_of(11) { x % 97 } else { x % 5 };
            Box::pin(async move {
                for _ in 0..turns {
                    tokio::task::yield_now().await;
                }
                Verdict::Go
            })
        }),
    )
}

async fn several_at_once(output: DynStore, seed: u64, count: u64) -> u64 {
    let winners = Arc::new(Mutex::new(BTreeMap::new()));
    let mut tasks = Vec::new();
    for number in 0..count {
        let (output, winners) = (output.clone(), winners.clone());
        tasks.push(tokio::spawn(async move {
            let rows = [number as i64 * 10, number as i64 * 10 + 1];
            let job = Job::new(&format!("job-{number}"), &[&rows[..1], &rows[1..]]).await;
            let result = job.run(&jittered(&output, seed * 31 + number)).await;
            if conflict(&result) {
                abandon(&output, &job.id).await.unwrap();
            } else {
                let version = result.unwrap().version;
                assert_eq!(winners.lock().unwrap().insert(version, job.rows), None, "one winner a version");
            }
        }));
    }
    for task in tasks {
        task.await.unwrap();
    }
    let winners = std::mem::take(&mut *winners.lock().unwrap());
    let newest = winners.last_key_value().expect("of several racers one wins").1.clone();
    assert_eq!(winners.keys().copied().collect::<Vec<_>>(), (0..winners.len() as u64).collect::<Vec<_>>());
    assert_eq!(table_rows(&output).await.unwrap(), newest, "seed {seed}");
    assert_eq!(glob_rows(&output).await, newest, "seed {seed}");
    let left = keys(&output).await;
    assert!(left.contains("_SUCCESS") && left.contains("_report.json"), "seed {seed}: {left:?}");
    winners.len() as u64
}

#[tokio::test]
async fn of_racing_jobs_one_wins_each_version() {
    let mut wins = BTreeMap::new();
    for seed in 1..300 {
        let count = 2 + seed % 3;
        *wins.entry(several_at_once(memory(), seed, count).await.min(2)).or_insert(0) += 1;
    }
    assert_eq!(wins.len(), 2, "some seeds let one job win and some let more: {wins:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_racing_jobs_one_wins_in_a_directory_too() {
    for seed in 1..10 {
        let folder = tempfile::tempdir().unwrap();
        several_at_once(Arc::new(Directory::open(folder.path()).unwrap()), seed, 4).await;
    }
}

/// Another program wins the version: that is said, and what we had published goes when it is abandoned.
#[tokio::test]
async fn another_programs_commit_in_between_is_a_conflict() {
    let output = memory();
    let old = Job::new("old", &[&[1]]).await;
    old.run(&output).await.unwrap();
    let before = keys(&output).await;
    let job = Job::new("job", &[&[2]]).await;
    let theirs = output.clone();
    let watched = Watched::over(
        output.clone(),
        Box::new(move |operation| {
            let theirs = theirs.clone();
            Box::pin(async move {
                if operation == 4 {
                    let entry = r#"{"commitInfo":{"operation":"OPTIMIZE"}}"#;
                    theirs.put("_delta_log/00000000000000000001.json", entry.into(), Put::IfAbsent).await.unwrap();
                }
                Verdict::Go
            })
        }),
    );
    let result = job.commit(&watched).await;
    assert!(matches!(&result, Err(TableError::Conflict { by }) if by.contains("another program")), "{result:?}");
    assert!(matches!(abandon(&output, &job.id).await.unwrap(), Abandoned::Removed(2..)));
    let mut after = keys(&output).await;
    assert!(after.remove("_delta_log/00000000000000000001.json"));
    assert_eq!(after, before);
    assert_eq!(table_rows(&output).await, Some(vec![1]));
}
