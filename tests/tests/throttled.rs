//! A cluster over a store that bears few requests a second: it slows down and gets there, with the same bytes.

use mr_tests::{Coordinator, S3Server, Scratch, Submit, Worker, assert_same_bytes, drawn};

/// What the store bears. The job makes some ten times as many requests, and would be done in a second or two.
const PER_SECOND: &str = "60";

#[test]
fn a_store_that_throttles_slows_the_cluster_down_and_changes_no_byte() {
    let scratch = Scratch::enter("cluster: a store that throttles");
    let photos = drawn(&scratch, "photos", 600, 4);
    let easy = S3Server::start(&scratch, &photos, 100);
    let alone = Submit::over(&scratch, easy.input(), "alone", Some(&easy)).set("split.objects_max=50").slots(1).done();

    let s3 = S3Server::start_with(&scratch, &photos, 100, &["--requests-per-second", PER_SECOND]);
    let coordinator = Coordinator::start(&scratch, "s3://photos/state/", Some(&s3), &[]);
    let workers: Vec<_> = (0..3).map(|_| Worker::start(&scratch, &coordinator, Some(&s3))).collect();
    let job = Submit::job(&scratch, s3.input(), "s3://photos/out/").set("split.objects_max=50").to(&coordinator);
    let ended = job.run().done();
    assert!(ended.stdout.starts_with("600 images embedded, 0 quarantined"), "{ended}");
    for worker in workers {
        worker.terminate();
    }
    coordinator.terminate();
    let clustered = s3.output(&scratch, "out/");
    assert_same_bytes(&alone, &clustered);
    let (taken, throttled) = s3.requests();
    println!("{taken} requests taken, {throttled} throttled, in {:.1} s", ended.seconds);
    assert!(throttled > 0, "the store was never asked too much, so this shows nothing");
    assert!(throttled < taken / 2, "{throttled} requests throttled and {taken} taken: nobody slowed down");
}
