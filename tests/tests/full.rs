//! Disks that are full: for a while, which is waited for; and for good, which fails the job in a sentence and leaves the
//! output as it was.

use mr_tests::{Coordinator, Scratch, SmallDisk, Submit, Worker, assert_same_bytes, drawn, tree, wait_until};
use std::path::Path;
use std::time::Duration;

/// Room for an output, and for all that a cluster works with.
const OUTPUT_MB: u32 = 24;
const CLUSTER_MB: u32 = 256;

fn job<'a>(scratch: &'a Scratch, input: &Path, output: &str) -> Submit<'a> {
    Submit::job(scratch, input, output).set("params.components=5").set("split.objects_max=8")
}

#[test]
fn a_disk_that_stays_full_fails_a_run_in_a_sentence_and_loses_nothing() {
    let scratch = Scratch::enter_beside("full: for good");
    let Some(disk) = SmallDisk::mount(&scratch, "disk", OUTPUT_MB) else { return };
    let (photos, few) = (drawn(&scratch, "photos", 96, 21), drawn(&scratch, "few", 24, 22));
    let roomy = job(&scratch, &photos, "roomy").done();
    let earlier = job(&scratch, &few, "disk/out").done();
    let before = tree(&earlier.folder);

    disk.fill();
    // Without patience: three tries rather than twelve.
    let failed = job(&scratch, &photos, "disk/out").set("limits.attempts_max=1").run();
    failed.stopped(1, &["No space left on device"]);
    disk.free();
    assert_eq!(tree(&earlier.folder), before);
    assert_same_bytes(&roomy, &job(&scratch, &photos, "disk/out").done());
}

#[test]
fn a_disk_that_is_full_for_a_while_is_waited_for() {
    let scratch = Scratch::enter_beside("full: for a while");
    let Some(disk) = SmallDisk::mount(&scratch, "disk", CLUSTER_MB) else { return };
    let photos = drawn(&scratch, "photos", 300, 21);
    let roomy = job(&scratch, &photos, "roomy").done();
    // All of the cluster's own: its journal, its working files and the output.
    let coordinator = Coordinator::start(&scratch, "disk/state", None, &[]);
    let workers: Vec<_> = (0..2).map(|_| Worker::start(&scratch, &coordinator, None)).collect();
    let submitter = job(&scratch, &photos, "disk/out").to(&coordinator).start();
    let work = disk.path().join("state/work");
    wait_until("some work is done", || (work.is_dir() && tree(&work).len() > 4).then_some(()));
    disk.fill();
    std::thread::sleep(Duration::from_secs(3));
    disk.free();
    submitter.wait(Duration::from_secs(120)).done();
    assert_same_bytes(&roomy, &mr_tests::Output::open(&scratch.join("disk/out")));
    for worker in workers {
        worker.terminate();
    }
    coordinator.terminate();
}
