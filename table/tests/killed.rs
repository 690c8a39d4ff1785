//! A job killed at each of its operations, with and without the operation taking place: the table is wholly old or
//! wholly new, and whoever comes next leaves the folder as if nothing had happened.

mod common;

use common::*;
use mr_storage::{Directory, DynStore, Put};
use mr_table::{Abandoned, OutputState, TableError, abandon, inspect, repair};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// What lies in the output before the job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Before {
    Nothing,
    Table,
    Foreign,
}

async fn old_job() -> Job {
    Job::new("old", &[&[1], &[2, 3]]).await
}

async fn new_job() -> Job {
    Job::new("new", &[&[4, 5], &[6], &[7]]).await.adopt()
}

async fn prepare(output: &DynStore, before: Before) -> Vec<i64> {
    match before {
        Before::Nothing => Vec::new(),
        Before::Table => {
            old_job().await.run(output).await.unwrap();
            old_job().await.rows
        }
        Before::Foreign => {
            output.put("theirs.parquet", parquet(&[9]), Put::Overwrite).await.unwrap();
            vec![9]
        }
    }
}

fn committed<'a>(before: Before, jobs: &[&'a Job]) -> Vec<&'a mr_core::JobId> {
    static OLD: std::sync::LazyLock<mr_core::JobId> = std::sync::LazyLock::new(|| id("old"));
    let old = (before == Before::Table).then(|| &*OLD);
    old.into_iter().chain(jobs.iter().map(|job| &job.id)).collect()
}

/// Calls `then` with the output after a kill at each operation, and whether the log has the job's entry.
async fn killed_at_each<F: Future<Output = ()>>(
    make: impl Fn() -> DynStore,
    then: impl Fn(Before, DynStore, Job, bool) -> F,
) {
    for before in [Before::Nothing, Before::Table, Before::Foreign] {
        for takes_place in [false, true] {
            for n in 0.. {
                let output = make();
                let old_rows = prepare(&output, before).await;
                let old_keys = keys(&output).await;
                let job = new_job().await;
                let result = job.run(&Watched::dies_at(output.clone(), n, takes_place)).await;

                let entered = inspect(&output).await.is_ok_and(|state| match state {
                    OutputState::Ours(table) => {
                        table.version == u64::from(before == Before::Table) && !table.files.is_empty() && {
                            table.files[0].path.contains(job.id.as_str())
                        }
                    }
                    _ => false,
                });
                match (entered, before) {
                    (true, _) => assert_eq!(table_rows(&output).await, Some(job.rows.clone()), "{before:?} {n}"),
                    (false, Before::Table) => assert_eq!(table_rows(&output).await, Some(old_rows), "{before:?} {n}"),
                    (false, Before::Nothing | Before::Foreign) => assert_eq!(table_rows(&output).await, None),
                }
                if !entered {
                    assert!(keys(&output).await.is_superset(&old_keys), "nothing old goes before the entry is there");
                }
                let survived = result.is_ok();
                assert!(!survived || entered);
                then(before, output, job, entered).await;
                if survived {
                    assert!(n > 15, "it has more operations than {n}");
                    break;
                }
            }
        }
    }
}

#[tokio::test]
async fn the_next_job_repairs_what_a_killed_one_left() {
    killed_at_each(memory, async |before, output, killed, entered| {
        let next = Job::new("next", &[&[10]]).await.adopt();
        next.run(&output).await.unwrap();
        let all: &[&Job] = if entered { &[&killed, &next] } else { &[&next] };
        check_settled(&output, &next, &committed(before, all)).await;
    })
    .await;
}

#[tokio::test]
async fn the_same_job_taken_up_again_ends_as_if_never_killed() {
    killed_at_each(memory, async |before, output, killed, _| {
        killed.run(&output).await.unwrap();
        check_settled(&output, &killed, &committed(before, &[&killed])).await;
    })
    .await;
}

#[tokio::test]
async fn a_killed_job_that_is_given_up_leaves_the_output_as_it_was() {
    killed_at_each(memory, async |before, output, killed, entered| match abandon(&output, &killed.id).await.unwrap() {
        Abandoned::Committed => assert!(entered),
        Abandoned::Removed(_) => {
            assert!(!entered);
            let clean = memory();
            prepare(&clean, before).await;
            assert_eq!(keys(&output).await, keys(&clean).await);
        }
    })
    .await;
}

#[tokio::test]
async fn a_directory_is_repaired_as_well() {
    let folder = tempfile::tempdir().unwrap();
    let count = std::sync::atomic::AtomicU32::new(0);
    let make = || -> DynStore {
        let root = folder.path().join(count.fetch_add(1, Ordering::Relaxed).to_string());
        Arc::new(Directory::open(&root).unwrap())
    };
    killed_at_each(make, async |before, output, killed, entered| {
        let next = Job::new("next", &[&[10]]).await.adopt();
        next.run(&output).await.unwrap();
        let all: &[&Job] = if entered { &[&killed, &next] } else { &[&next] };
        check_settled(&output, &next, &committed(before, all)).await;
    })
    .await;
}

#[tokio::test]
async fn giving_up_can_be_killed_as_well() {
    for takes_place in [false, true] {
        for n in 0.. {
            let output = memory();
            prepare(&output, Before::Table).await;
            let old_keys = keys(&output).await;
            let job = new_job().await;
            assert!(job.commit(&Watched::dies_at(output.clone(), 7, false)).await.is_err());
            let survived = abandon(&Watched::dies_at(output.clone(), n, takes_place), &job.id).await.is_ok();
            abandon(&output, &job.id).await.unwrap();
            assert_eq!(keys(&output).await, old_keys);
            if survived {
                assert!(n > 5);
                break;
            }
        }
    }
}

/// The store fails once and is well again: the caller commits again, if it has to, and there is one entry.
#[tokio::test]
async fn one_lost_answer_makes_neither_two_entries_nor_none() {
    for before in [Before::Nothing, Before::Table] {
        for verdict in [Verdict::Fail(Kind::Transient), Verdict::Lose(Kind::Transient)] {
            for n in 0.. {
                let output = memory();
                prepare(&output, before).await;
                let job = new_job().await;
                let failed = Arc::new(AtomicBool::new(false));
                let seen = failed.clone();
                let watched = Watched::over(
                    output.clone(),
                    Box::new(move |operation| {
                        let hit = operation == n;
                        seen.fetch_or(hit, Ordering::SeqCst);
                        Box::pin(async move { if hit { verdict } else { Verdict::Go } })
                    }),
                );
                let committed_ = match job.commit(&watched).await {
                    Ok(committed) => committed,
                    Err(TableError::Store(error)) if error.retryable() => job.commit(&watched).await.unwrap(),
                    Err(other) => panic!("{n}: {other:?}"),
                };
                assert_eq!(committed_.version, u64::from(before == Before::Table));
                settle(&output).await;
                check_settled(&output, &job, &committed(before, &[&job])).await;
                if !failed.load(Ordering::SeqCst) {
                    assert!(n > 6);
                    break;
                }
            }
        }
    }
}

/// A store that never answers about the entry leaves it open whether it is there: nothing may be taken away then.
#[tokio::test]
async fn an_answer_that_stays_away_is_said_to_be_unknown() {
    let output = memory();
    prepare(&output, Before::Table).await;
    let job = new_job().await;
    let dark = Watched::over(
        output.clone(),
        Box::new(|n| Box::pin(async move { if n < 10 { Verdict::Go } else { Verdict::Fail(Kind::Transient) } })),
    );
    let error = job.commit(&dark).await.unwrap_err();
    assert!(matches!(error, TableError::Unresolved { version: 1, .. }), "{error:?}");
    assert_eq!(error.failure().class, mr_core::FailureClass::Transient);
    job.run(&output).await.unwrap();
    check_settled(&output, &job, &committed(Before::Table, &[&job])).await;
}

/// A job killed after its entry leaves old parts beside new ones; whoever looks at the output next puts that right.
#[tokio::test]
async fn what_a_job_killed_after_its_entry_left_is_put_right_by_whoever_looks_next() {
    for before in [Before::Nothing, Before::Table] {
        for operations in 0.. {
            let output = memory();
            prepare(&output, before).await;
            let job = new_job().await;
            job.commit(&output).await.unwrap();
            let cut_short = mr_table::after_commit(&Watched::dies_at(output.clone(), operations, true)).await;
            let OutputState::Ours(table) = inspect(&output).await.unwrap() else { panic!("it has committed") };
            let repaired = repair(&output, &table).await.unwrap();
            assert!(repaired.is_some() || cut_short.is_ok() || glob_rows(&output).await == job.rows, "{operations}");
            check_settled(&output, &job, &committed(before, &[&job])).await;
            assert_eq!(repair(&output, &table).await.unwrap(), None, "there is nothing left to do");
            if cut_short.is_ok() {
                break;
            }
        }
    }
}
