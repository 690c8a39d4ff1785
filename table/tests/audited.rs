//! What an audit says of an output that is as it was written, and of each kind of damage to it.

mod common;

use arrow::array::{ArrayRef, Int64Array, ListArray, RecordBatch, StringArray};
use arrow::datatypes::Float32Type;
use bytes::Bytes;
use common::*;
use mr_core::{Books, JobSpec, Params, QuarantineSource, Quarantined, Report};
use mr_storage::{Directory, DynStore, GetOptions, Put};
use mr_table::*;
use parquet::arrow::ArrowWriter;
use parquet::file::metadata::KeyValue;
use parquet::file::properties::WriterProperties;
use serde_json::json;
use std::sync::Arc;

const PART_0: &str = "part-00000-one.parquet";
const PART_1: &str = "part-00001-one.parquet";
const QUARANTINE: &str = "_quarantine.parquet/quarantine.parquet";
const ENTRY: &str = "_delta_log/00000000000000000000.json";

/// Rows of the objects `keys`, of 7 bytes each; their features begin with `first`.
fn rows(keys: &[&str], first: f32, family: &str) -> Bytes {
    let lists = keys.iter().map(|_| Some([Some(first), Some(0.5)]));
    let columns: [(&str, ArrayRef); 3] = [
        ("path", Arc::new(StringArray::from_iter_values(keys.iter().map(uri)))),
        ("bytes", Arc::new(Int64Array::from(vec![7; keys.len()]))),
        ("features", Arc::new(ListArray::from_iter_primitive::<Float32Type, _, _>(lists))),
    ];
    let batch = RecordBatch::try_from_iter(columns).unwrap();
    let footer = KeyValue::new("mr.kernel_family".to_owned(), family.to_owned());
    let properties = WriterProperties::builder().set_key_value_metadata(Some(vec![footer])).build();
    let mut writer = ArrowWriter::try_new(Vec::new(), batch.schema(), Some(properties)).unwrap();
    writer.write(&batch).unwrap();
    writer.into_inner().unwrap().into()
}

fn uri(key: &&str) -> String {
    if key.contains("://") { (*key).to_owned() } else { format!("file:///in/{key}") }
}

fn quarantine(keys: &[&str]) -> Bytes {
    let set_aside = |key: &&str| Quarantined {
        key: (*key).into(),
        etag: "e".into(),
        bytes: 3,
        stage: "embed".into(),
        class: "undecodable".into(),
        message: "no image".into(),
        source: QuarantineSource::Content,
        attempts: 1,
    };
    quarantine_parquet(&keys.iter().map(set_aside).collect::<Vec<_>>(), "file:///in/").unwrap()
}

fn report(job: &str) -> Report {
    Report {
        job_id: id(job),
        books: Books { listed: 4, embedded: 3, quarantined: 1, skipped: 0 },
        counters: Default::default(),
        seconds: Default::default(),
        first_image_s: None,
        peak_rss_bytes: 0,
        busy_s: 0.0,
        slots: 1,
        workers: 1,
        kernel_family: "f32".into(),
        framework_version: "0".into(),
        bill: None,
        settings: JobSpec {
            job: "features".into(),
            input: "file:///in/".into(),
            output: "file:///out/".into(),
            mode: Default::default(),
            format: Default::default(),
            input_list: None,
            adopt: false,
            params: Params::new(),
            limits: Default::default(),
            split: Default::default(),
            shuffle: Default::default(),
        },
    }
}

/// A job of four objects: `a` and `b` in one part, `c` in another, `q` in quarantine.
async fn write(output: &DynStore, job: &str) {
    let mut done = Job::new(job, &[&[], &[]]).await;
    for (part, keys) in done.parts.iter_mut().zip([&["a", "b"][..], &["c"]]) {
        let bytes = rows(keys, 1.0, "f32");
        (part.bytes, part.rows, part.crc32) = (bytes.len() as u64, keys.len() as u64, crc32fast::hash(&bytes));
        done.staging.put(&part.key, bytes, Put::Overwrite).await.unwrap();
    }
    let file = |path: &str, source| RunFile { path: path.into(), source };
    let text = serde_json::to_vec(&report(job)).unwrap();
    done.run_files = vec![
        file("report.json", RunSource::Late(Late(Arc::new(move || text.clone().into())))),
        file("quarantine.parquet", RunSource::Bytes(quarantine(&["q"]))),
        file("pca/mean.npy", RunSource::Bytes("mean".into())),
    ];
    let books = json!({ "job": "features", "listed": 4, "embedded": 3, "quarantined": 1, "skipped": 0 });
    let id = done.id.clone();
    let committed = commit(Commit {
        job: &id,
        output,
        mode: done.mode,
        format: Default::default(),
        adopt: false,
        parts: done.parts,
        schema: None,
        run_files: done.run_files,
        info: books.as_object().unwrap().clone(),
        now_ms: 1_700_000_000_000,
    });
    committed.await.unwrap();
    after_commit(output).await.unwrap();
}

async fn get(output: &DynStore, key: &str) -> Bytes {
    output.get(key, GetOptions::default()).await.unwrap().bytes
}

async fn put(output: &DynStore, key: &str, bytes: impl Into<Bytes>) {
    output.put(key, bytes.into(), Put::Overwrite).await.unwrap();
}

/// Puts other bytes in place of a part and makes the log say that they were always there.
async fn pass_off(output: &DynStore, key: &str, bytes: Bytes) {
    let old = get(output, key).await;
    let number = |name: &str, bytes: &Bytes| match name {
        "size" => format!("\"size\":{}", bytes.len()),
        _ => format!("\"mr.crc32\":\"{:08x}\"", crc32fast::hash(bytes)),
    };
    let text = String::from_utf8(get(output, ENTRY).await.to_vec()).unwrap();
    let lines = text.lines().map(|line| match line.contains(&format!("\"path\":\"{key}\"")) {
        true => ["size", "crc32"].iter().fold(line.to_owned(), |line, name| {
            let (from, to) = (number(name, &old), number(name, &bytes));
            assert!(line.contains(&from), "{from} is not in {line}");
            line.replace(&from, &to)
        }),
        false => line.to_owned(),
    });
    // As an entry without a seal: this is not about those.
    let mut entry = lines.collect::<Vec<_>>().join("\n");
    let seal = entry.find("\"entryCrc32\":").expect("ours are sealed");
    let end = seal + entry[seal..].find(',').expect("more follows") + 1;
    entry.replace_range(seal..end, "");
    put(output, ENTRY, entry).await;
    put(output, key, bytes).await;
}

async fn audited(output: &DynStore) -> Audit {
    match audit(output, |_, _| {}).await.unwrap() {
        Audited::Table(table) => *table,
        other => panic!("{other:?}"),
    }
}

fn said(findings: &Findings) -> Vec<String> {
    findings.first().iter().map(|finding| format!("{}: {}", finding.at, finding.what)).collect()
}

/// Damages a table and compares what is said of it, as far as that is written here.
async fn check(damage: impl AsyncFnOnce(&DynStore), expected: &[&str]) {
    let output = memory();
    write(&output, "one").await;
    damage(&output).await;
    let said = said(&audited(&output).await.faults);
    assert_eq!(said.len(), expected.len(), "{said:#?}");
    for (said, expected) in said.iter().zip(expected) {
        assert!(said.contains(expected), "{expected:?} is not in {said:?}");
    }
}

#[tokio::test]
async fn an_output_as_it_was_written_has_no_fault() {
    let folder = tempfile::tempdir().unwrap();
    for output in [memory(), Arc::new(Directory::open(folder.path()).unwrap()) as DynStore] {
        write(&output, "zero").await;
        write(&output, "one").await;
        let before = keys(&output).await;
        let audit = audited(&output).await;
        assert!(audit.faults.is_empty() && audit.notes.is_empty(), "{:?} {:?}", audit.faults, audit.notes);
        assert_eq!((audit.version, audit.parts.len(), audit.rows, audit.checksums, audit.copies), (1, 2, 3, 2, 3));
        assert_eq!(audit.report, Some(report("one")));
        assert_eq!(audit.footer["mr.kernel_family"], "f32");
        let records = audit.records.unwrap();
        let of_rows: Vec<_> = records.rows.iter().map(|row| (row.key.as_str(), row.bytes)).collect();
        assert_eq!(of_rows, [("a", Some(7)), ("b", Some(7)), ("c", Some(7))]);
        assert_eq!(records.quarantined, [SetAside { key: "q".into(), bytes: 3, etag: "e".into() }]);
        assert_eq!(keys(&output).await, before, "nothing is written");
    }
}

#[tokio::test]
async fn what_is_no_table_is_told_from_a_table_whose_log_is_damaged() {
    let no_table = async |output: &DynStore| match audit(output, |_, _| {}).await.unwrap() {
        Audited::NoTable(why) => why,
        other => panic!("{other:?}"),
    };
    let output = memory();
    assert_eq!(no_table(&output).await, "there is nothing at memory:///");
    put(&output, "a.parquet", "x").await;
    assert_eq!(no_table(&output).await, "memory:/// is no table of ours");
    put(&output, ENTRY, "{}").await;
    assert!(no_table(&output).await.contains("entry 0"));

    let output = memory();
    write(&output, "one").await;
    let entry = get(&output, ENTRY).await;
    for damaged in [entry.slice(..entry.len() / 2), entry.slice(..entry.len() - 400), "".into()] {
        put(&output, ENTRY, damaged).await;
        let Audited::NoLog(why) = audit(&output, |_, _| {}).await.unwrap() else { panic!() };
        assert!(
            why.starts_with("entry 0 of the output's Delta log can't be read") && why.ends_with("restore it"),
            "{why}"
        );
    }
    output.delete(ENTRY).await.unwrap();
    let Audited::NoLog(why) = audit(&output, |_, _| {}).await.unwrap() else { panic!() };
    assert!(why.starts_with("the log is gone"), "{why}");
    // As Spark leaves it, with what a job of ours has that was killed.
    put(&output, "_SUCCESS", "").await;
    assert_eq!(no_table(&output).await, "memory:/// is no table of ours");
}

#[tokio::test]
async fn a_damaged_part_is_named() {
    for at in [4, 150, 400] {
        let flip = async |output: &DynStore| {
            let mut bytes = get(output, PART_0).await.to_vec();
            bytes[at] ^= 0x10;
            put(output, PART_0, bytes).await;
        };
        check(flip, &[&format!("{PART_0}: its bytes are not those that were committed")]).await;
    }
    let cut = async |output: &DynStore| put(output, PART_1, get(output, PART_1).await.slice(..100)).await;
    check(cut, &[&format!("{PART_1}: should have")]).await;
    let gone = async |output: &DynStore| output.delete(PART_1).await.unwrap();
    check(gone, &["it is not there"]).await;
    // Without its checksum too, as in a table of before.
    let unreadable = async |output: &DynStore| {
        let bytes = get(output, PART_0).await;
        pass_off(output, PART_0, [&bytes[..bytes.len() - 9], b"xxxxxPAR1"].concat().into()).await;
    };
    check(unreadable, &[&format!("{PART_0}: it can't be decoded")]).await;
}

#[tokio::test]
async fn a_part_of_something_else_is_named() {
    let fewer = async |output: &DynStore| pass_off(output, PART_0, rows(&["a"], 1.0, "f32")).await;
    check(fewer, &["it has 1 rows, and the log says 2", "3 embedded, and the parts have 2 rows"]).await;
    let twice = async |output: &DynStore| pass_off(output, PART_0, rows(&["a", "c"], 1.0, "f32")).await;
    check(twice, &["c: there are two rows of it"]).await;
    let both = async |output: &DynStore| pass_off(output, PART_0, rows(&["a", "q"], 1.0, "f32")).await;
    check(both, &["q: it has a row and is in quarantine"]).await;
    let elsewhere = async |output: &DynStore| pass_off(output, PART_1, rows(&["file:///on/c"], 1.0, "f32")).await;
    check(elsewhere, &["row 0 is of file:///on/c, which is not below the input file:///in/"]).await;
    let footer = async |output: &DynStore| pass_off(output, PART_1, rows(&["c"], 1.0, "bf16x3")).await;
    check(
        footer,
        &["its footer is not that of part-00000-one.parquet: `mr.kernel_family` is \"bf16x3\" and not \"f32\""],
    )
    .await;
    let columns = async |output: &DynStore| pass_off(output, PART_1, parquet(&[1])).await;
    check(columns, &["its columns are", "its footer is not that of"]).await;
}

#[tokio::test]
async fn what_lies_there_too_much_is_named() {
    let stray = async |output: &DynStore| put(output, "part-00002-two.parquet", "x").await;
    check(stray, &["part-00002-two.parquet: the log does not know it"]).await;

    let output = memory();
    write(&output, "zero").await;
    let old = get(&output, "part-00000-zero.parquet").await;
    write(&output, "one").await;
    put(&output, "part-00000-zero.parquet", old).await;
    // What a job brings before it commits is no fault.
    put(&output, "_runs/two/job.json", r#"{"jobId":"two","writer":"mr/0.1.0"}"#).await;
    put(&output, "part-00000-two.parquet", "x").await;
    let audit = audited(&output).await;
    assert_eq!(said(&audit.faults).len(), 1);
    assert!(said(&audit.faults)[0].starts_with("part-00000-zero.parquet: the log has removed it"));
    assert!(said(&audit.notes)[0].starts_with("_runs/two/: of a job that is under way"), "{:?}", audit.notes);
}

#[tokio::test]
async fn a_changed_file_beside_the_parts_is_named() {
    let (own_report, own_quarantine) = ("_runs/one/report.json", "_runs/one/quarantine.parquet");
    let swapped = async |output: &DynStore| put(output, QUARANTINE, quarantine(&["r"])).await;
    check(swapped, &[&format!("{QUARANTINE}: its bytes are not those that were committed")]).await;
    let own = async |output: &DynStore| put(output, own_quarantine, quarantine(&["r"])).await;
    check(own, &[own_quarantine]).await;
    let mean = async |output: &DynStore| output.delete("_pca/mean.npy").await.unwrap();
    check(mean, &["_pca/mean.npy: it is not there"]).await;
    let mark = async |output: &DynStore| output.delete("_SUCCESS").await.unwrap();
    check(mark, &["_SUCCESS: it is not there: the newest job has not yet tidied up"]).await;
    let mark = async |output: &DynStore| put(output, "_SUCCESS", "").await;
    check(mark, &["_SUCCESS: it is not the mark of the newest job"]).await;

    // Of the report the log has no checksum, but its counts and its job.
    let edited = |of: &str| {
        let mut report = report("one");
        match of {
            "seconds" => report.busy_s = 1.0,
            "listed" => report.books.listed += 1,
            "job" => report.job_id = id("two"),
            "family" => report.kernel_family = "bf16x3".into(),
            _ => panic!(),
        }
        Bytes::from(serde_json::to_vec(&report).unwrap())
    };
    let copy = async |output: &DynStore| put(output, "_report.json", edited("seconds")).await;
    check(copy, &["_report.json: it is not a copy of _runs/one/report.json"]).await;
    // As when a copy is a link, and somebody writes into the file.
    let both = async |output: &DynStore, bytes: Bytes| {
        put(output, "_report.json", bytes.clone()).await;
        put(output, own_report, bytes).await;
    };
    let listed = ["it has 5 listed, and the log 4", "5 listed are not 3 embedded and 1 quarantined"];
    check(async |output: &DynStore| both(output, edited("listed")).await, &listed).await;
    let job = ["it is of job two, and the table is of job one"];
    check(async |output: &DynStore| both(output, edited("job")).await, &job).await;
    let family = ["it names the kernel family bf16x3, and the parts name f32"];
    check(async |output: &DynStore| both(output, edited("family")).await, &family).await;
    check(async |output: &DynStore| both(output, "{".into()).await, &["_report.json: it can't be read"]).await;

    // A run's folder may be tidied away.
    let output = memory();
    write(&output, "one").await;
    for key in keys(&output).await.iter().filter(|key| key.starts_with("_runs/")) {
        output.delete(key).await.unwrap();
    }
    let audit = audited(&output).await;
    assert!(audit.faults.is_empty() && said(&audit.notes)[0].contains("have nothing to be held against"));
    assert_eq!(audit.records.unwrap().quarantined.len(), 1, "they are read all the same");
}

#[tokio::test]
async fn a_changed_number_shows_beside_the_same_row_computed_again() {
    let output = memory();
    write(&output, "one").await;
    pass_off(&output, PART_0, rows(&["a", "b"], 1.001, "f32")).await;
    let audit = audited(&output).await;
    assert!(audit.faults.is_empty(), "{:?}", audit.faults);
    let records = audit.records.unwrap();
    let compare = async |places: &[usize], exactness| {
        let chosen: Vec<_> = places.iter().map(|place| &records.rows[*place]).collect();
        let names: Vec<_> = chosen.iter().map(|row| row.key.as_str()).collect();
        let again: Vec<_> = names.chunks(2).map(|names| rows(names, 1.0, "f32")).collect();
        said(&compare_rows(&output, &audit.parts, &chosen, again, exactness).await.unwrap())
    };
    let different = compare(&[2, 1], Exactness::Bits).await;
    assert_eq!(different, ["b: `features` has 1 number of 2 that are computed otherwise (a relative L2 of 8.9e-4)"]);
    assert_eq!(compare(&[0, 1, 2], Exactness::Bits).await.len(), 2);
    assert!(compare(&[0, 1, 2], Exactness::Within(0.01)).await.is_empty());
    assert!(compare(&[], Exactness::Bits).await.is_empty());
    let (one, two) = ([&records.rows[0]], vec![rows(&["a", "b"], 1.0, "f32")]);
    let fewer = compare_rows(&output, &audit.parts, &one, two, Exactness::Bits);
    assert!(fewer.await.unwrap_err().to_string().contains("there are 2 where 1 were asked for"));
}

#[tokio::test]
async fn a_commit_in_the_middle_of_it_is_told() {
    let output = memory();
    write(&output, "one").await;
    let theirs = output.clone();
    let seen = move |done, _| {
        if done == 1 {
            let theirs = theirs.clone();
            std::thread::spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
                runtime.block_on(write(&theirs, "two"));
            })
            .join()
            .unwrap();
        }
    };
    let error = audit(&output, seen).await.unwrap_err();
    assert!(error.to_string().contains("version 1 was committed while version 0 was read"), "{error}");
}

#[tokio::test]
async fn what_a_job_puts_right_meanwhile_is_no_fault() {
    let output = memory();
    write(&output, "one").await;
    let copy = get(&output, "_report.json").await;
    output.delete("_report.json").await.unwrap();
    let Audited::Table(found) = audit(&output, |_, _| {}).await.unwrap() else { panic!() };
    assert!(!found.faults.is_empty(), "nobody is at work there");
    let theirs = output.clone();
    let seen = move |done, _| {
        if done == 1 {
            let (theirs, copy) = (theirs.clone(), copy.clone());
            std::thread::spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
                runtime.block_on(theirs.put("_report.json", copy, Put::Overwrite)).unwrap();
            })
            .join()
            .unwrap();
        }
    };
    let error = audit(&output, seen).await.unwrap_err();
    assert!(error.to_string().contains("a job was tidying up"), "{error}");
}
