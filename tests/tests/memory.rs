//! A worker that runs short of memory gives up what it can and does with fewer slots; what comes of it is the same.

use mr_tests::{Coordinator, Output, Scratch, Submit, Worker, assert_same_bytes, drawn, submit};
use serde_json::Value;
use std::time::Duration;

/// No process needs so little.
const TOO_LITTLE_MB: u32 = 1;

/// Some ten seconds' work for one slot, which is much longer than it takes to find that memory is short, twice.
const PHOTOS: u64 = 1500;

#[test]
fn a_worker_that_is_short_of_memory_does_with_one_slot_and_changes_no_byte() {
    let scratch = Scratch::enter("cluster: a worker that is short of memory");
    let photos = drawn(&scratch, "photos", PHOTOS, 6);
    let alone = Submit::over(&scratch, &photos, "alone", None).slots(2).done();

    let coordinator = Coordinator::start(&scratch, "state", None, &["--keep-days", "0"]);
    let mut worker = Worker::start_with_memory(TOO_LITTLE_MB, 3, &scratch, &coordinator);
    let mut submitter = Submit::job(&scratch, &photos, "out").to(&coordinator).start();
    let id = submitter.submitted();
    worker.until_it_says("tasks that wait are given up");
    worker.until_it_says("one task is given up, 1 go on");
    let status =
        || -> Value { submit(&scratch, ["--coordinator", coordinator.url(), "--json", "status", &id]).done().json() };
    mr_tests::wait_until("the worker offers one slot", || {
        let status = status();
        assert_eq!(status["phase"], "running", "too late to see it: {status}");
        (status["slots"] == 1).then_some(())
    });
    worker.until_it_says("the only task goes on");
    let ended = submitter.wait(Duration::from_secs(120)).done();
    assert!(ended.stdout.starts_with("1,500 images embedded, 0 quarantined"), "{ended}");
    assert_same_bytes(&alone, &Output::open(&scratch.join("out")));
    worker.terminate();
    coordinator.terminate();
}
