//! What becomes of an output, over memory and over a directory: made, replaced, refused, adopted, abandoned.

mod common;

use common::*;
use mr_core::Mode;
use mr_storage::{Directory, DynStore, GetOptions, Put};
use mr_table::*;
use std::sync::Arc;

/// Runs a test over each kind of store, which begins empty.
async fn over_each<F: Future<Output = ()>>(test: impl Fn(DynStore) -> F) {
    test(memory()).await;
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("not yet there/ü");
    test(Arc::new(Directory::open(&root).unwrap())).await;
}

async fn put(output: &DynStore, key: &str, bytes: impl Into<bytes::Bytes>) {
    output.put(key, bytes.into(), Put::Overwrite).await.unwrap();
}

fn refusal<T>(result: Result<T, TableError>) -> String {
    match result {
        Err(TableError::Refused(refusal)) => refusal.0,
        Err(other) => panic!("{other:?}"),
        Ok(_) => panic!("it was not refused"),
    }
}

#[tokio::test]
async fn overwriting_leaves_the_newest_rows_and_the_last_runs() {
    over_each(async |output| {
        assert_eq!(inspect(&output).await.unwrap(), OutputState::Absent);
        let mut ids = Vec::new();
        let mut table_id = None;
        for n in 0..RUNS_KEPT as i64 + 3 {
            let job = Job::new(&format!("job-{n}"), &[&[n, n + 1], &[n + 2], &[n + 3]]).await;
            let committed = job.run(&output).await.unwrap();
            ids.push(job.id.clone());
            let removed = if n == 0 { 0 } else { 3 };
            assert_eq!(committed, Committed { version: n as u64, files_added: 3, files_removed: removed });
            check_settled(&output, &job, &ids.iter().collect::<Vec<_>>()).await;
            let OutputState::Ours(table) = inspect(&output).await.unwrap() else { panic!() };
            assert_eq!(table.rows(), Some(4));
            assert_eq!(*table_id.get_or_insert(table.table_id.clone()), table.table_id);
        }
    })
    .await;
}

#[tokio::test]
async fn mode_fail_writes_once() {
    over_each(async |output| {
        let first = Job::new("first", &[&[1]]).await.mode(Mode::Fail);
        first.run(&output).await.unwrap();
        let before = keys(&output).await;
        let second = Job::new("second", &[&[2]]).await.mode(Mode::Fail);
        let sentence = refusal(second.run(&output).await);
        assert!(sentence.contains("1 rows (version 0)") && sentence.contains("--set mode=overwrite"), "{sentence}");
        assert_eq!(keys(&output).await, before);
        check_settled(&output, &first, &[&first.id]).await;
    })
    .await;
}

#[tokio::test]
async fn a_job_commits_once() {
    over_each(async |output| {
        let first = Job::new("first", &[&[1], &[2]]).await.mode(Mode::Fail);
        let committed = first.commit(&output).await.unwrap();
        assert_eq!(first.commit(&output).await.unwrap(), committed, "though the output exists now");
        settle(&output).await;
        assert_eq!(first.run(&output).await.unwrap(), committed);
        let second = Job::new("second", &[&[3]]).await;
        second.run(&output).await.unwrap();
        assert_eq!(first.run(&output).await.unwrap(), committed, "though its rows have been replaced");
        assert_eq!(abandon(&output, &first.id).await.unwrap(), Abandoned::Committed);
        check_settled(&output, &second, &[&first.id, &second.id]).await;
    })
    .await;
}

#[tokio::test]
async fn other_peoples_parquet_is_refused_and_with_adopt_replaced() {
    over_each(async |output| {
        let foreign = ["a b.parquet", "ü.PARQUET", "part-00000-abc.parquet"];
        for key in foreign {
            put(&output, key, parquet(&[7])).await;
        }
        put(&output, "README.md", "mine").await;
        put(&output, "sub/notes.txt", "mine").await;
        let before = keys(&output).await;
        for job in [
            Job::new("j", &[&[1]]).await.mode(Mode::Fail),
            Job::new("j", &[&[1]]).await.mode(Mode::Fail).adopt(),
            Job::new("j", &[&[1]]).await,
        ] {
            let sentence = refusal(job.run(&output).await);
            assert!(sentence.contains("--adopt"), "{sentence}");
            assert_eq!(keys(&output).await, before);
        }
        let job = Job::new("j", &[&[1], &[2]]).await.adopt();
        let committed = job.commit(&output).await.unwrap();
        assert_eq!(committed, Committed { version: 0, files_added: 2, files_removed: 3 });
        assert!(keys(&output).await.is_superset(&before), "nothing goes before the commit is done");
        settle(&output).await;
        for key in ["README.md", "sub/notes.txt"] {
            assert_eq!(text(&output, key).await, "mine");
            output.delete(key).await.unwrap();
        }
        check_settled(&output, &job, &[&job.id]).await;
        let next = Job::new("next", &[&[3]]).await;
        next.run(&output).await.unwrap();
        check_settled(&output, &next, &[&job.id, &next.id]).await;
    })
    .await;
}

#[tokio::test]
async fn parquet_in_folders_below_is_never_taken_over() {
    over_each(async |output| {
        put(&output, "a.parquet", parquet(&[7])).await;
        put(&output, "year=1/a.parquet", parquet(&[7])).await;
        let sentence = refusal(Job::new("j", &[&[1]]).await.adopt().run(&output).await);
        assert!(sentence.contains("year=1/a.parquet"), "{sentence}");
        assert_eq!(keys(&output).await.len(), 2);
    })
    .await;
}

const FOREIGN_ENTRY: &str = r#"{"protocol":{"minReaderVersion":1,"minWriterVersion":2}}
{"metaData":{"id":"theirs","format":{"provider":"parquet","options":{}},"schemaString":"{}","partitionColumns":["d"],"configuration":{"k":"v"}}}
{"add":{"path":"d=1/x%20y.parquet","partitionValues":{"d":"1"},"size":1,"modificationTime":1,"dataChange":true}}
{"add":{"path":"s3://elsewhere/z.parquet","partitionValues":{"d":"2"},"size":1,"modificationTime":1,"dataChange":true}}
"#;

#[tokio::test]
async fn another_programs_delta_table_is_refused_and_with_adopt_replaced() {
    over_each(async |output| {
        put(&output, "_delta_log/00000000000000000000.json", FOREIGN_ENTRY).await;
        put(&output, "d=1/x y.parquet", parquet(&[7])).await;
        put(&output, "stale.parquet", parquet(&[7])).await;
        let before = keys(&output).await;
        let sentence = refusal(Job::new("j", &[&[1]]).await.run(&output).await);
        assert!(sentence.contains("a Delta table of another program"), "{sentence}");
        assert_eq!(keys(&output).await, before);

        let job = Job::new("j", &[&[1]]).await.adopt();
        let committed = job.run(&output).await.unwrap();
        assert_eq!(committed, Committed { version: 1, files_added: 1, files_removed: 3 });
        check_settled(&output, &job, &[&job.id]).await;
        let OutputState::Ours(table) = inspect(&output).await.unwrap() else { panic!() };
        assert_eq!(table.table_id, "theirs");
        let entry = text(&output, "_delta_log/00000000000000000001.json").await;
        assert!(entry.contains(r#""partitionColumns":[]"#) && entry.contains(r#""k":"v""#), "{entry}");
        assert!(entry.contains("s3://elsewhere/z.parquet"), "it leaves the table, wherever it lies");
    })
    .await;
}

#[tokio::test]
async fn a_log_we_do_not_understand_is_left_alone() {
    let entry = |version: u64| format!("_delta_log/{version:020}.json");
    let job = Job::new("next", &[&[2]]).await.adopt();
    type Break = (&'static str, &'static str, &'static str);
    let breaks: [Break; 5] = [
        ("00000000000000000001.json", "", "entry 1"),
        ("00000000000000000001.json", "{\"add\":{\"path\":\"x", "entry 1"),
        ("00000000000000000002.json", "{\"txn\":{}}", "no entry 1 though entry 2 is there"),
        ("00000000000000000001.json", "{\"protocol\":{\"minReaderVersion\":3,\"minWriterVersion\":7}}", "protocol 3/7"),
        ("00000000000000000007.checkpoint.parquet", "PAR1", "checkpoint of version 7"),
    ];
    for (name, content, why) in breaks {
        let output = memory();
        Job::new("first", &[&[1]]).await.run(&output).await.unwrap();
        put(&output, &format!("_delta_log/{name}"), content).await;
        let before = keys(&output).await;
        for sentence in [refusal(job.run(&output).await), refusal(inspect(&output).await)] {
            assert!(sentence.contains(why) && sentence.contains("choose another output"), "{sentence}");
        }
        assert!(abandon(&output, &job.id).await.is_err());
        assert_eq!(keys(&output).await, before);
    }
    // Only the checkpoint is left of what came before.
    let output = memory();
    Job::new("first", &[&[1]]).await.run(&output).await.unwrap();
    Job::new("second", &[&[1]]).await.run(&output).await.unwrap();
    put(&output, "_delta_log/00000000000000000000.checkpoint.parquet", "PAR1").await;
    assert!(job.run(&output).await.is_ok(), "a checkpoint beside whole entries does no harm");
    output.delete(&entry(0)).await.unwrap();
    let late = Job::new("late", &[&[3]]).await;
    assert!(refusal(late.run(&output).await).contains("checkpoint of version 0"));
}

#[tokio::test]
async fn what_others_do_to_our_table_is_respected() {
    let output = memory();
    let first = Job::new("first", &[&[1], &[2]]).await;
    first.run(&output).await.unwrap();
    // Somebody takes one file out and appends another, and a third lies about.
    let parts = [0, 1].map(|index| part_name(index, 2, &first.id, Default::default()));
    put(&output, "theirs.parquet", parquet(&[9])).await;
    put(&output, "stray.parquet", parquet(&[8])).await;
    let size = output.head("theirs.parquet").await.unwrap().bytes;
    let entry = format!(
        r#"{{"commitInfo":{{"operation":"MERGE","jobId":17}}}}
{{"remove":{{"path":"{}","deletionTimestamp":1,"dataChange":true}}}}
{{"add":{{"path":"theirs.parquet","partitionValues":{{}},"size":{size},"modificationTime":1,"dataChange":true,"stats":"{{\"numRecords\":1}}"}}}}"#,
        parts[0]
    );
    put(&output, "_delta_log/00000000000000000001.json", entry).await;
    assert_eq!(table_rows(&output).await, Some(vec![2, 9]));
    assert_eq!(verify(&output).await.unwrap().strays, [parts[0].as_str(), "stray.parquet"]);
    // Clearing up again takes nothing: what they removed is theirs to delete.
    settle(&output).await;
    assert!(keys(&output).await.contains(&parts[0]));

    let second = Job::new("second", &[&[3]]).await;
    assert_eq!(second.run(&output).await.unwrap().files_removed, 2);
    assert_eq!(table_rows(&output).await, Some(vec![3]));
    assert_eq!(verify(&output).await.unwrap().strays, [parts[0].as_str(), "stray.parquet"]);
}

#[tokio::test]
async fn abandoning_takes_what_the_job_published_and_nothing_else() {
    over_each(async |output| {
        let first = Job::new("first", &[&[1]]).await;
        first.run(&output).await.unwrap();
        let before = keys(&output).await;
        assert_eq!(abandon(&output, &id("never")).await.unwrap(), Abandoned::Removed(0));

        let failed = Job::new("fir", &[&[2], &[3]]).await;
        let dying = Watched::dies_at(output.clone(), 6, false);
        assert!(failed.commit(&dying).await.is_err());
        assert!(keys(&output).await.len() > before.len());
        assert!(matches!(abandon(&output, &failed.id).await.unwrap(), Abandoned::Removed(2..)));
        assert_eq!(keys(&output).await, before);
        check_settled(&output, &first, &[&first.id]).await;
    })
    .await;
}

#[tokio::test]
async fn killed_jobs_are_swept_and_others_parquet_is_not() {
    over_each(async |output| {
        // In an empty folder first: what a killed job left does not make it anybody else's.
        let killed = Job::new("killed", &[&[1], &[2]]).await;
        let dying = Watched::dies_at(output.clone(), 5, true);
        assert!(killed.commit(&dying).await.is_err());
        assert!(keys(&output).await.contains("part-00001-killed.parquet"));
        assert_eq!(inspect(&output).await.unwrap(), OutputState::Empty);
        let first = Job::new("first", &[&[3]]).await.mode(Mode::Fail);
        first.run(&output).await.unwrap();
        check_settled(&output, &first, &[&first.id]).await;
        // The killed one comes back too late.
        assert!(matches!(killed.commit(&output).await, Err(TableError::Conflict { .. })));
        check_settled(&output, &first, &[&first.id]).await;
        // A name like ours is no proof.
        put(&output, "part-00000-theirs.parquet", parquet(&[4])).await;
        let second = Job::new("second", &[&[5]]).await;
        second.run(&output).await.unwrap();
        assert_eq!(verify(&output).await.unwrap().strays, ["part-00000-theirs.parquet"]);
        output.delete("part-00000-theirs.parquet").await.unwrap();
        check_settled(&output, &second, &[&first.id, &second.id]).await;
    })
    .await;
}

#[tokio::test]
async fn a_table_may_have_no_rows() {
    over_each(async |output| {
        // A part without rows gives the columns, and one such part is published for those who glob.
        let empty = Job::new("empty", &[&[], &[]]).await;
        assert_eq!(empty.run(&output).await.unwrap().files_added, 1);
        assert_eq!(table_rows(&output).await, Some(vec![]));
        assert!(keys(&output).await.contains("part-00000-empty.parquet"));
        // Parts without rows among others are left out.
        let some = Job::new("some", &[&[], &[1], &[], &[2]]).await;
        assert_eq!(some.run(&output).await.unwrap().files_added, 2);
        assert_eq!(table_rows(&output).await, Some(vec![1, 2]));
        assert!(keys(&output).await.contains("part-00001-some.parquet"));
        // Without any part the caller says what the columns would be.
        let none = Job::new("none", &[]).await;
        assert!(matches!(none.commit(&output).await, Err(TableError::Invalid(_))));
        let schema = arrow::datatypes::Schema::new(vec![arrow::datatypes::Field::new(
            "number",
            arrow::datatypes::DataType::Int64,
            false,
        )]);
        let commit_ = Commit {
            job: &none.id,
            output: &output,
            mode: Mode::Overwrite,
            format: Default::default(),
            adopt: false,
            parts: Vec::new(),
            schema: Some(&schema),
            run_files: Vec::new(),
            info: Default::default(),
            now_ms: 1,
        };
        assert_eq!(commit(commit_).await.unwrap().files_removed, 2);
        settle(&output).await;
        assert_eq!(table_rows(&output).await, Some(vec![]));
        let left = keys(&output).await;
        assert!(!left.contains("_report.json") && !left.iter().any(|key| key.starts_with("part-")), "{left:?}");
    })
    .await;
}

#[tokio::test]
async fn results_that_fit_no_table_are_refused_before_anything_is_written() {
    let output = memory();
    let good = Job::new("good", &[&[1], &[2]]).await;
    let invalid = async |job: &Job, why: &str| match job.commit(&output).await {
        Err(TableError::Invalid(sentence)) => assert!(sentence.contains(why), "{sentence}"),
        other => panic!("{why}: {other:?}"),
    };
    let mut job = good.clone();
    job.parts[1].rows = 5;
    invalid(&job, "should have 5 rows, but has 1").await;
    job = good.clone();
    let other = quarantine_parquet(&[], "x").unwrap();
    job.parts[1].bytes = other.len() as u64;
    job.parts[1].rows = 0;
    job.parts[1].key = "other".into();
    put(&job.staging, "other", other).await;
    invalid(&job, "have different columns").await;
    for path in ["job.json", "runs/x", "SUCCESS", "../x", "delta_log/x", "report.json"] {
        job = good.clone();
        job.run_files.push(RunFile { path: path.into(), source: RunSource::Bytes("x".into()) });
        invalid(&job, path).await;
    }
    assert!(keys(&output).await.is_empty());
    good.run(&output).await.unwrap();
}

#[tokio::test]
async fn staged_files_that_are_gone_or_damaged_are_told_together_and_nothing_is_committed() {
    let output = memory();
    let mut job = Job::new("good", &[&[1], &[2], &[3], &[4]]).await;
    put(&job.staging, "pca", "components").await;
    let crc32 = crc32fast::hash(b"components");
    let source = RunSource::Stored { store: job.staging.clone(), key: "pca".into(), crc32 };
    job.run_files.push(RunFile { path: "pca/components".into(), source });
    let lost = async |job: &Job| match job.commit(&output).await {
        Err(error @ TableError::Lost { .. }) => error.failure(),
        other => panic!("{other:?}"),
    };
    let keys = |job: &Job, parts: &[usize]| parts.iter().map(|part| job.parts[*part].key.clone()).collect::<Vec<_>>();
    let mut longer = job.clone();
    longer.parts[1].bytes -= 1;
    assert_eq!(lost(&longer).await.lost, keys(&job, &[1]));
    let mut shorter = job.clone();
    shorter.parts[2].bytes += 1;
    assert_eq!(lost(&shorter).await.lost, keys(&job, &[2]));

    let part = |part: usize| job.parts[part].key.clone();
    let whole = job.staging.get(&part(3), Default::default()).await.unwrap().bytes;
    job.staging.delete(&part(0)).await.unwrap();
    put(&job.staging, &part(3), vec![0u8; whole.len()]).await;
    let failure = lost(&job).await;
    assert_eq!(failure.lost, keys(&job, &[0, 3]));
    assert!(failure.message.contains(&format!("{}, {} is gone or damaged", part(0), part(3))), "{failure}");
    let mut without = job.clone();
    without.parts = vec![job.parts[1].clone(), job.parts[2].clone()];
    job.staging.delete("pca").await.unwrap();
    assert_eq!(lost(&without).await.lost, ["pca"]);
    put(&job.staging, "pca", "component5").await;
    assert_eq!(lost(&without).await.lost, ["pca"]);
    assert_eq!(table_rows(&output).await, None);
    // Made again, they are committed.
    put(&job.staging, "pca", "components").await;
    without.run(&output).await.unwrap();
}

/// It may have been kept from an earlier job, and be the very file of that job's output.
#[tokio::test]
async fn a_part_in_a_folder_is_held_against_its_checksum_before_it_is_linked() {
    let folder = tempfile::tempdir().unwrap();
    let staging: DynStore = Arc::new(mr_storage::Directory::open(folder.path()).unwrap());
    let mut job = Job::new("one", &[&[1], &[2]]).await;
    for part in &mut job.parts {
        let bytes = job.staging.get(&part.key, Default::default()).await.unwrap().bytes;
        put(&staging, &part.key, bytes).await;
        part.store = staging.clone();
    }
    let output = memory();
    let path = folder.path().join(&job.parts[1].key);
    let whole = std::fs::read(&path).unwrap();
    let mut flipped = whole.clone();
    flipped[5] ^= 1;
    std::fs::write(&path, flipped).unwrap();
    match job.commit(&output).await {
        Err(TableError::Lost { keys, why }) => assert!(keys == [job.parts[1].key.clone()] && why.contains("checksum")),
        other => panic!("{other:?}"),
    }
    std::fs::write(&path, whole).unwrap();
    job.run(&output).await.unwrap();
}

#[tokio::test]
async fn a_long_footer_is_read_whole() {
    use arrow::array::{ArrayRef, Int64Array, RecordBatch};
    let columns = (0..3000).map(|n| (format!("column_{n}"), Arc::new(Int64Array::from(vec![n])) as ArrayRef));
    let batch = RecordBatch::try_from_iter(columns).unwrap();
    let mut writer = parquet::arrow::ArrowWriter::try_new(Vec::new(), batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    let bytes = writer.into_inner().unwrap();
    let mut job = Job::new("wide", &[&[1]]).await;
    job.parts[0].bytes = bytes.len() as u64;
    put(&job.staging, &job.parts[0].key, bytes).await;
    let output = memory();
    job.run(&output).await.unwrap();
    let OutputState::Ours(table) = inspect(&output).await.unwrap() else { panic!() };
    assert!(table.schema.contains("column_2999"));
    let lost = output.get("_delta_log/00000000000000000000.json", GetOptions::default()).await.unwrap();
    assert!(lost.bytes.ends_with(b"\n"));
}

#[tokio::test]
async fn a_missing_or_changed_file_is_noticed() {
    let output = memory();
    assert!(verify(&output).await.is_err());
    let job = Job::new("job", &[&[1], &[2]]).await;
    job.run(&output).await.unwrap();
    let verified = verify(&output).await.unwrap();
    assert_eq!((verified.version, verified.files, verified.rows), (0, 2, Some(2)));
    put(&output, "part-00001-job.parquet", "x").await;
    assert!(verify(&output).await.unwrap_err().to_string().contains("it has 1"));
    output.delete("part-00001-job.parquet").await.unwrap();
    assert!(verify(&output).await.unwrap_err().to_string().contains("it is not there"));
    // Overwriting mends it.
    let next = Job::new("next", &[&[3]]).await;
    next.run(&output).await.unwrap();
    check_settled(&output, &next, &[&job.id, &next.id]).await;
}

#[tokio::test]
async fn a_commit_can_be_carried_by_any_thread() {
    let output = memory();
    let job = Job::new("job", &[&[1]]).await;
    let (theirs, mine) = (output.clone(), job.clone());
    tokio::spawn(async move { mine.run(&theirs).await }).await.unwrap().unwrap();
    let theirs = output.clone();
    let name = job.id.clone();
    tokio::spawn(async move { abandon(&theirs, &name).await }).await.unwrap().unwrap();
    let theirs = output.clone();
    tokio::spawn(async move { verify(&theirs).await }).await.unwrap().unwrap();
}
