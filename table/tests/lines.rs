//! Rows that are lines of text or JSON: committed, replaced, swept and verified as Parquet is, and never mixed with it.

mod common;

use common::{Job, Verdict, Watched, keys, memory};
use mr_core::{Mode, OutputFormat, Packing};
use mr_storage::{DynStore, GetOptions, Put};
use mr_table::*;

const GZIP: OutputFormat = OutputFormat::Text(Some(Packing::Gzip));

fn packed(text: &str) -> Vec<u8> {
    use std::io::Write;
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(text.as_bytes()).unwrap();
    gzip.finish().unwrap()
}

/// A job whose parts have these lines.
async fn job(name: &str, format: OutputFormat, parts: &[&str]) -> Job {
    let mut job = Job { format, parts: Vec::new(), ..Job::new(name, &[&[1]]).await };
    for (index, text) in parts.iter().enumerate() {
        let bytes = if format == GZIP { packed(text) } else { text.as_bytes().to_vec() };
        let (key, rows) = (format!("lines/{index}"), text.lines().count() as u64);
        let crc32 = crc32fast::hash(&bytes);
        let part = StagedPart { store: job.staging.clone(), key, bytes: bytes.len() as u64, rows, crc32 };
        job.staging.put(&part.key, bytes.into(), Put::Overwrite).await.unwrap();
        job.parts.push(part);
    }
    job
}

fn refusal<T: std::fmt::Debug>(result: Result<T, TableError>) -> String {
    match result {
        Err(TableError::Refused(refusal)) => refusal.0,
        other => panic!("{other:?}"),
    }
}

async fn plain(output: &DynStore) -> Vec<String> {
    keys(output).await.into_iter().filter(|key| !key.contains('/') && !key.starts_with('_')).collect()
}

async fn audited(output: &DynStore) -> Audit {
    match audit(output, |_, _| {}).await.unwrap() {
        Audited::Table(audit) => *audit,
        other => panic!("{other:?}"),
    }
}

fn said(findings: &Findings) -> Vec<String> {
    findings.first().iter().map(|finding| format!("{}: {}", finding.at, finding.what)).collect()
}

#[tokio::test]
async fn lines_replace_lines_and_old_ones_go() {
    let output = memory();
    let one = job("one", OutputFormat::Text(None), &["a\t1\n", "", "b\t2\nc\t3\n"]).await;
    one.run(&output).await.unwrap();
    assert_eq!(plain(&output).await, ["part-00000-one.txt", "part-00001-one.txt"], "one without rows is left out");
    assert!(keys(&output).await.iter().all(|key| !key.starts_with("_delta_log/")));
    assert_eq!(common::text(&output, "part-00001-one.txt").await, "b\t2\nc\t3\n");
    assert_eq!(one.run(&output).await.unwrap().version, 0, "once");

    let again = Job { mode: Mode::Fail, ..job("two", GZIP, &["x\n"]).await };
    assert!(refusal(again.run(&output).await).contains("it is a table with 3 rows (version 0)"));
    let two = job("two", GZIP, &["x\n"]).await;
    assert_eq!(two.run(&output).await.unwrap(), Committed { version: 1, files_added: 1, files_removed: 2 });
    assert_eq!(plain(&output).await, ["part-00000-two.txt.gz"]);
    let OutputState::Ours(table) = inspect(&output).await.unwrap() else { panic!("it is ours") };
    assert_eq!((table.rows(), table.format), (Some(1), GZIP));

    // What a killed job left is swept with the next.
    let killed = job("killed", OutputFormat::Json(None), &["{}\n"]).await;
    output.put("_runs/killed/job.json", "{}".into(), Put::Overwrite).await.unwrap();
    output.put("part-00000-killed.jsonl", "{}\n".into(), Put::Overwrite).await.unwrap();
    job("three", OutputFormat::Json(None), &["{}\n{}\n"]).await.run(&output).await.unwrap();
    assert_eq!(plain(&output).await, ["part-00000-three.jsonl"]);
    assert!(matches!(killed.commit(&output).await, Err(TableError::Conflict { .. })));
}

#[tokio::test]
async fn rows_of_two_kinds_never_share_a_folder() {
    let lines = job("lines", OutputFormat::Text(None), &["a\n"]).await;
    let parquet = Job::new("parquet", &[&[1]]).await;
    let output = memory();
    parquet.run(&output).await.unwrap();
    let sentence = refusal(lines.run(&output).await);
    assert!(
        sentence.starts_with("the output is a table of Parquet, and this job writes text: remove it"),
        "{sentence}"
    );
    let output = memory();
    lines.run(&output).await.unwrap();
    let sentence = refusal(parquet.clone().adopt().run(&output).await);
    assert!(sentence.starts_with("the output is a table of text, and this job writes Parquet"), "{sentence}");

    // Whatever else lies there, readers of the folder would read it too.
    let output = memory();
    output.put("notes.md", "x".into(), Put::Overwrite).await.unwrap();
    let sentence = refusal(lines.clone().adopt().run(&output).await);
    assert!(sentence.starts_with("the output holds 1 file that is not of a table of ours"), "{sentence}");

    // Both logs are there: whoever put the other one there has to say which is meant.
    let output = memory();
    lines.run(&output).await.unwrap();
    let entry = output.get("_mr_log/00000000000000000000.json", GetOptions::default()).await.unwrap().bytes;
    output.put("_delta_log/00000000000000000000.json", entry, Put::Overwrite).await.unwrap();
    assert!(refusal(inspect(&output).await).starts_with("the output has two logs, _delta_log and _mr_log"));
}

/// The store as it is to one of several who use it in turn, an operation each.
fn in_turn(output: &DynStore) -> DynStore {
    let yields = || async {
        tokio::task::yield_now().await;
        Verdict::Go
    };
    Watched::over(output.clone(), Box::new(move |_| Box::pin(yields())))
}

/// Two that begin at once, the one some operations ahead of the other: never do both write an entry.
#[tokio::test]
async fn of_two_kinds_that_race_for_a_folder_one_wins_at_most() {
    let (mut won, mut met) = (0, 0);
    for ahead in 0..40 {
        let output = memory();
        let (first, second) = (in_turn(&output), in_turn(&output));
        let lines = job("lines", OutputFormat::Text(None), &["a\n"]).await;
        let parquet = Job::new("parquet", &[&[1]]).await;
        let later = async {
            for _ in 0..ahead {
                tokio::task::yield_now().await;
            }
            parquet.commit(&second).await
        };
        let (one, other) = tokio::join!(lines.commit(&first), later);
        assert!(one.is_err() || other.is_err(), "{ahead} ahead: both are the table");
        won += u32::from(one.is_ok() || other.is_ok());
        for result in [one, other].into_iter().filter(Result::is_err) {
            let sentence = refusal(result);
            assert!(sentence.contains("choose another output"), "{sentence}");
            met += u32::from(sentence.contains("has begun to write"));
        }
        assert!(inspect(&output).await.is_ok(), "{ahead} ahead");
    }
    assert!(won > 0 && met > 0, "{won} have won, and {met} have met the other's mark");
    // What a killed job left is named, since nobody knows that it is dead.
    let output = memory();
    output.put("_runs/dead/job.json", r#"{"jobId":"dead","writer":"mr/0.1.0"}"#.into(), Put::Overwrite).await.unwrap();
    let blocked = job("lines", OutputFormat::Text(None), &["a\n"]).await.commit(&output).await;
    assert!(refusal(blocked).contains("remove _runs/dead/ and the parts that have its id"));
}

#[tokio::test]
async fn what_became_of_lines_is_seen() {
    let output = memory();
    let text = job("one", OutputFormat::Text(None), &["a\nb\n", "c\n"]).await;
    text.run(&output).await.unwrap();
    let fine = audited(&output).await;
    // The report of this test is none, which is told.
    assert_eq!(said(&fine.faults).len(), 1, "{:?}", fine.faults);
    assert_eq!((fine.rows, fine.checksums, fine.format, fine.records), (3, 2, OutputFormat::Text(None), None));

    output.put("part-00000-one.txt", "a\nB\n".into(), Put::Overwrite).await.unwrap();
    output.put("part-00007-gone.txt.GZ", "x".into(), Put::Overwrite).await.unwrap();
    let faults = said(&audited(&output).await.faults);
    assert!(faults[0].starts_with("part-00007-gone.txt.GZ: the log does not know it"), "{faults:?}");
    assert!(faults.iter().any(|fault| fault.starts_with("part-00000-one.txt: its bytes are not those")), "{faults:?}");

    // Lost before it is committed, it can be made again.
    let staged = job("two", GZIP, &["x\n", "y\n"]).await;
    staged.staging.delete("lines/1").await.unwrap();
    let lost = staged.run(&output).await;
    assert!(matches!(&lost, Err(TableError::Lost { keys, .. }) if keys == &["lines/1"]), "{lost:?}");
    staged.staging.put("lines/1", packed("y").into(), Put::Overwrite).await.unwrap();
    assert!(matches!(staged.run(&output).await, Err(TableError::Lost { .. })), "it has another length");
}

#[tokio::test]
async fn rows_are_the_lines_of_what_is_packed() {
    let output = memory();
    let mut three = job("one", GZIP, &["a\nb\n"]).await;
    three.parts[0].rows = 3;
    three.run(&output).await.unwrap();
    let faults = said(&audited(&output).await.faults);
    let expected = "part-00000-one.txt.gz: it has 2 rows, and the log says 3".to_owned();
    assert!(faults.contains(&expected), "{faults:?}");
    let output = memory();
    job("one", GZIP, &["a\nb"]).await.run(&output).await.unwrap();
    let faults = said(&audited(&output).await.faults);
    assert!(faults.contains(&"part-00000-one.txt.gz: its last line has no end".to_owned()), "{faults:?}");
}
