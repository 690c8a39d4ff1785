//! Workers that run short of memory: they give up what they have, in time and with a word, and others do it.

use mr_tests::{Coordinator, Output, Scratch, Submit, Worker, assert_same_bytes, drawn};
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(120);

/// No process needs so little.
const TOO_LITTLE_MB: u32 = 1;

/// One split, which takes much longer than a worker takes to see that it is short of memory.
const PHOTOS: u64 = 900;
const SPLIT: &str = "split.objects_max=1000";

#[test]
fn a_worker_without_memory_leaves_the_work_to_others() {
    let scratch = Scratch::enter("cluster: a worker without memory");
    let photos = drawn(&scratch, "photos", PHOTOS, 6);
    let alone = Submit::over(&scratch, &photos, "alone", None).set(SPLIT).slots(1).done();

    let coordinator = Coordinator::start(&scratch, "state", None, &["--keep-days", "0"]);
    let mut starved = Worker::start_with_memory(TOO_LITTLE_MB, &scratch, &coordinator);
    let mut submitter = Submit::job(&scratch, &photos, "out").set(SPLIT).to(&coordinator).start();
    submitter.submitted();
    starved.until_it_says("memory is short");
    let other = Worker::start(&scratch, &coordinator, None);
    let ended = submitter.wait(LIMIT).done();
    assert!(ended.stdout.starts_with(&format!("{PHOTOS} images embedded, 0 quarantined")), "{ended}");
    assert_same_bytes(&alone, &Output::open(&scratch.join("out")));
    starved.terminate();
    other.terminate();
    coordinator.terminate();
}

#[test]
fn a_job_that_nobody_has_memory_for_fails_and_says_so() {
    let scratch = Scratch::enter("cluster: no worker with memory");
    let photos = drawn(&scratch, "photos", PHOTOS, 6);
    let coordinator = Coordinator::start(&scratch, "state", None, &[]);
    let starved = Worker::start_with_memory(TOO_LITTLE_MB, &scratch, &coordinator);
    let job = Submit::job(&scratch, &photos, "out").set(SPLIT).set("limits.attempts_max=1").to(&coordinator);
    let reasons = ["was given up 3 times for want of memory", "of 1 MB are in use"];
    job.run().stopped(1, &reasons);
    assert!(!scratch.join("out").exists(), "nothing was written");
    starved.terminate();
    coordinator.terminate();
}
