//! A worker that runs short of memory gives up what it can and does with fewer slots; what comes of it is the same.

use mr_tests::{Coordinator, Output, Scratch, Submit, Worker, assert_same_bytes, submit, wait_until};
use serde_json::Value;
use std::fs;
use std::time::Duration;

/// No process needs so little.
const TOO_LITTLE_MB: u32 = 1;

#[test]
fn a_worker_that_is_short_of_memory_does_with_one_slot_and_changes_no_byte() {
    let scratch = Scratch::enter("cluster: a worker that is short of memory");
    for file in 0..12u32 {
        scratch.write(&format!("lines/{file}.txt"), format!("a{file}\nb\n"));
    }
    // No task ends before the gate is open, so nothing here hangs on how fast a machine is.
    let gate = scratch.join("gate");
    let mapper = format!("until [ -e {} ]; do sleep 0.05; done; cat", gate.display());
    scratch.write("job.toml", format!("job = \"stream\"\n[map]\ncommand = [\"sh\", \"-c\", {mapper:?}]\n"));
    let job = |output| Submit::of(&scratch, "job.toml", "lines", output).set("split.objects_max=1");

    fs::write(&gate, "").expect("there is room");
    let alone = job("alone").slots(2).done();
    fs::remove_file(&gate).expect("it was just made");

    let coordinator = Coordinator::start(&scratch, "state", None, &["--keep-days", "0"]);
    let mut worker = Worker::start_with_memory(TOO_LITTLE_MB, 3, &scratch, &coordinator);
    let mut submitter = job("out").to(&coordinator).start();
    let id = submitter.submitted();
    worker.until_it_says("tasks that wait are given up");
    worker.until_it_says("one task is given up, 1 go on");
    worker.until_it_says("the only task goes on");
    let status =
        || -> Value { submit(&scratch, ["--coordinator", coordinator.url(), "--json", "status", &id]).done().json() };
    wait_until("the worker offers one slot", || (status()["slots"] == 1).then_some(()));

    fs::write(&gate, "").expect("there is room");
    submitter.wait(Duration::from_secs(120)).done();
    assert_same_bytes(&alone, &Output::open(&scratch.join("out")));
    worker.terminate();
    coordinator.terminate();
}
