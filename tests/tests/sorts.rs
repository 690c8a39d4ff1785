//! Records in order: with little memory and much, here and on a cluster.

use mr_tests::{Coordinator, Output, Running, Scratch, Submit, Worker, assert_same_bytes, program, submit};
use parquet::file::reader::FileReader;
use parquet::file::serialized_reader::SerializedFileReader;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

fn records(scratch: &Scratch, args: &[&str]) -> mr_tests::Ended {
    let mut command = Command::new(program("mr-records"));
    command.current_dir(scratch.path()).args(args);
    Running::start(command, scratch).wait(Duration::from_secs(120))
}

/// Of a part, as its footer says.
fn rows(part: &Path) -> i64 {
    let part = std::fs::File::open(part).expect("it is there");
    SerializedFileReader::new(part).expect("it is Parquet").metadata().file_metadata().num_rows()
}

fn sort<'a>(scratch: &'a Scratch, output: &str) -> Submit<'a> {
    scratch.write("sort.toml", "job = \"tera-sort\"\nmode = \"overwrite\"\n[params]\npartitions = 5\n");
    Submit::of(scratch, "sort.toml", "records", output).set("split.bytes_max=2MB")
}

#[test]
fn records_come_out_in_order_whatever_memory_there_is_and_whoever_sorts() {
    let scratch = Scratch::enter("sorts: order");
    records(&scratch, &["generate", "100000", "7", "records"]).done();
    let ample = sort(&scratch, "ample").slots(2).done();
    assert_eq!((ample.books(), ample.parts.len()), ([7, 7, 0, 0], 5));
    let told = records(&scratch, &["validate", "records", "ample"]).done();
    assert!(told.stdout.contains("sorted: 100000 records with checksum"), "{told}");

    // A quarter of what a task emits stays in it. What is put aside is in the same rows.
    let cramped = sort(&scratch, "cramped").set("shuffle.memory_bytes_max=1MiB").slots(1).done();
    records(&scratch, &["validate", "records", "cramped"]).done();
    let sizes = |output: &Output| output.parts.iter().map(|part| rows(part)).collect::<Vec<_>>();
    assert_eq!(sizes(&cramped), sizes(&ample));
    assert!(sizes(&ample).iter().all(|rows| (15_000..25_000).contains(rows)), "{:?}", sizes(&ample));

    let coordinator = Coordinator::start(&scratch, "state", None, &[]);
    let workers = [0, 1].map(|_| Worker::start(&scratch, &coordinator, None));
    let there = sort(&scratch, "there").to(&coordinator).done();
    assert_same_bytes(&ample, &there);
    workers.into_iter().for_each(|worker| _ = worker.terminate());
    coordinator.terminate();

    // A result that lacks a part, or has two in the wrong order, is none.
    std::fs::remove_file(&there.parts[2]).expect("it is there");
    let lacking = records(&scratch, &["validate", "records", "there"]);
    assert!(lacking.code() == Some(1) && lacking.stderr.contains("the input has 100000 records"), "{lacking}");
    std::fs::copy(&ample.parts[4], &ample.parts[0]).expect("it is there");
    let wrong = records(&scratch, &["validate", "records", "ample"]);
    assert!(wrong.code() == Some(1) && wrong.stderr.contains("has a key that is less than the one before"), "{wrong}");
}

#[test]
fn what_is_no_record_is_set_aside() {
    let scratch = Scratch::enter("sorts: no records");
    records(&scratch, &["generate", "1000", "9", "records"]).done();
    scratch.write("records/odd.dat", "not a hundred bytes");
    scratch.write("records/empty.dat", "");
    let ended = sort(&scratch, "out").set("limits.quarantine_share_max=0.2").run().done();
    assert!(ended.stdout.contains("10 objects mapped, 1 quarantined"), "{ended}");
    assert!(
        ended.stdout.contains("odd.dat: no-records: its 19 bytes are no whole number of records of 100"),
        "{ended}"
    );
    std::fs::remove_file(scratch.join("records/odd.dat")).expect("it is there");
    records(&scratch, &["validate", "records", "out"]).done();
    let few = submit(&scratch, ["sort.toml", "--input", "records", "--output", "o", "--set", "params.partitions=0"]);
    assert_eq!(few.code(), Some(2), "{few}");
}
