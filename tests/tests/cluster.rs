//! A cluster of real processes: one coordinator and several workers, over a folder or an S3 server. What it writes is what
//! one process writes, also when workers are killed and submitters walk away; and its commands do what they say.

use mr_tests::{
    Coordinator, Ended, Output, Running, S3Server, Scratch, Signal, Submit, Worker, assert_same_bytes, drawn, shared,
    submit, tree, wait_until,
};
use serde_json::Value;
use std::net::TcpListener;
use std::path::Path;
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(120);

/// `mr-submit --coordinator URL` with these arguments.
fn ask(scratch: &Scratch, coordinator: &Coordinator, args: &[&str]) -> Ended {
    submit(scratch, [&["--coordinator", coordinator.url()], args].concat())
}

fn status(scratch: &Scratch, coordinator: &Coordinator, id: &str) -> Value {
    ask(scratch, coordinator, &["--json", "status", id]).done().json()
}

/// The job's id, once the submitter says it.
fn submitted(submitter: &mut Running) -> String {
    submitter.until("submit its job", |submitter| {
        let said = submitter.stderr();
        let line = said.lines().find_map(|line| line.strip_prefix("submitted job "));
        line.filter(|_| said.ends_with('\n') || said.lines().count() > 1).map(str::to_owned)
    })
}

/// Waits until so many photos of the running job are done.
fn photos_done(scratch: &Scratch, coordinator: &Coordinator, id: &str, count: u64) {
    wait_until("photos are done", || {
        let status = status(scratch, coordinator, id);
        assert!(matches!(status["phase"].as_str(), Some("listing" | "running")), "too late to meddle: {status}");
        let records = status["stages"][0]["records"].as_u64();
        records.filter(|records| *records >= count)
    });
}

#[test]
fn three_workers_over_s3_write_what_one_process_writes() {
    let scratch = Scratch::enter("cluster: 4,020 photos over S3");
    let photos = shared("data/fruits").unwrap_or_else(|| drawn(&scratch, "photos", 4020, 1));
    let s3 = S3Server::start(&scratch, &photos, 1000);
    let embedded = Submit::over(&scratch, s3.input(), "embedded", Some(&s3)).slots(2).done();
    assert_eq!(embedded.books()[..3], [4020, 4020, 0]);

    let coordinator = Coordinator::start(&scratch, "s3://photos/state/", Some(&s3), &["--keep-days", "0"]);
    let workers: Vec<_> = (0..3).map(|_| Worker::start(&scratch, &coordinator, Some(&s3))).collect();
    // Whoever submits needs no credentials: only the cluster goes to the bucket.
    let job = Submit::job(&scratch, s3.input(), "s3://photos/out put/").to(&coordinator);
    let ended = job.run().done();
    assert!(ended.stdout.starts_with("4,020 images embedded, 0 quarantined"), "{ended}");
    let clustered = s3.output(&scratch, "out put/");
    assert_same_bytes(&embedded, &clustered);
    assert_eq!((clustered.report.workers, clustered.report.slots), (3, 3));
    assert_eq!(clustered.report.books, embedded.report.books);

    wait_until("work files are gone", || s3.keys("state/work/").is_empty().then_some(()));
    for worker in workers {
        worker.terminate();
    }
    coordinator.terminate();
}

#[test]
fn a_killed_worker_and_a_drained_one_change_no_byte() {
    let scratch = Scratch::enter("cluster: workers killed and drained");
    let photos = drawn(&scratch, "photos", 700, 2);
    let s3 = S3Server::start(&scratch, &photos, 100);
    let embedded =
        Submit::over(&scratch, s3.input(), "embedded", Some(&s3)).set("split.objects_max=16").slots(1).done();

    let coordinator = Coordinator::start(&scratch, "s3://photos/state/", Some(&s3), &["--lease-ms", "1500"]);
    let [killed, drained, stays] = [(); 3].map(|()| Worker::start(&scratch, &coordinator, Some(&s3)));
    let job = Submit::job(&scratch, s3.input(), "s3://photos/out/").set("split.objects_max=16");
    let mut submitter = job.to(&coordinator).start();
    let id = submitted(&mut submitter);
    photos_done(&scratch, &coordinator, &id, 48);
    killed.kill();
    photos_done(&scratch, &coordinator, &id, 200);
    let drained = drained.terminate();
    assert!(drained.stderr.contains("leases are handed back"), "{drained}");
    submitter.wait(LIMIT).done();

    let clustered = s3.output(&scratch, "out/");
    assert_eq!(clustered.books(), [700, 700, 0, 0]);
    assert_same_bytes(&embedded, &clustered);
    stays.terminate();
    coordinator.terminate();
}

#[test]
fn a_submitter_may_walk_away_and_all_workers_may_die() {
    let scratch = Scratch::enter("cluster: interrupted submitter, all workers dead");
    let photos = drawn(&scratch, "photos", 400, 4);
    let embedded = Submit::job(&scratch, &photos, "embedded").set("split.objects_max=16").done();

    let coordinator = Coordinator::start(&scratch, "state", None, &["--lease-ms", "1000"]);
    let worker = Worker::start(&scratch, &coordinator, None);
    let job = Submit::job(&scratch, &photos, "out").set("split.objects_max=16");
    let mut submitter = job.to(&coordinator).start();
    let id = submitted(&mut submitter);
    photos_done(&scratch, &coordinator, &id, 32);
    submitter.signal(Signal::Int);
    let ended = submitter.wait(Duration::from_secs(10)).stopped(130, &["goes on"]);
    let url = coordinator.url();
    let last = ended.last_line();
    assert!(last.contains(&format!("`mr-submit --coordinator {url} watch {id}`")), "{ended}");
    assert!(last.contains(&format!("`mr-submit --coordinator {url} cancel {id}`")), "{ended}");

    worker.kill();
    wait_until("the cluster says that nobody works", || {
        let status = status(&scratch, &coordinator, &id);
        assert_eq!(status["phase"], "running");
        status["note"].as_str().filter(|note| note.contains("no worker is in touch")).map(|_| ())
    });
    let worker = Worker::start(&scratch, &coordinator, None);
    let watched = ask(&scratch, &coordinator, &["watch", &id]).done();
    assert!(watched.stdout.starts_with("400 images embedded, 0 quarantined"), "{watched}");
    assert_same_bytes(&embedded, &Output::open(&scratch.join("out")));
    worker.terminate();
    coordinator.terminate();
}

#[test]
fn jobs_are_listed_watched_and_cancelled_and_leave_the_output_as_it_was() {
    let scratch = Scratch::enter("cluster: list, status, watch, cancel");
    let photos = drawn(&scratch, "photos", 300, 6);
    let coordinator = Coordinator::start(&scratch, "state", None, &[]);
    let list = |args: &[&str]| ask(&scratch, &coordinator, &[args, &["list"]].concat()).done();
    assert_eq!(list(&["--json"]).json(), serde_json::json!([]));
    let job = || Submit::job(&scratch, &photos, "out").set("split.objects_max=8").set("params.components=5");

    // A table is there first, by a run without the cluster.
    job().set("split.objects_max=64").done();
    let before = tree(&scratch.join("out"));

    // Cancelled while nobody works on it.
    let mut submitter = job().to(&coordinator).args(["--json"]).start();
    let id = submitted(&mut submitter);
    wait_until("it is listed", || (status(&scratch, &coordinator, &id)["phase"] == "running").then_some(()));
    let jobs = list(&["--json"]).json();
    assert_eq!((jobs[0]["id"].as_str(), jobs[0]["books"]["listed"].as_u64()), (Some(&*id), Some(300)), "{jobs}");
    assert!(jobs[0]["output"].as_str().is_some_and(|output| output.ends_with("/out/")), "{jobs}");
    let shown = ask(&scratch, &coordinator, &["status", &id]).done();
    for words in ["phase    running", "listed   300 images", "no worker is in touch"] {
        assert!(shown.stdout.contains(words), "{words}: {shown}");
    }
    assert!(list(&[]).stdout.contains(&id));
    cancel(&scratch, &coordinator, &id, submitter);
    assert_eq!(tree(&scratch.join("out")), before);

    // Cancelled in the middle of the work, and into an output that is not there.
    let workers = [(); 2].map(|()| Worker::start(&scratch, &coordinator, None));
    for output in ["out", "new"] {
        let job = Submit::job(&scratch, &photos, output).set("split.objects_max=8").set("params.components=5");
        let mut submitter = job.to(&coordinator).args(["--json"]).start();
        let id = submitted(&mut submitter);
        photos_done(&scratch, &coordinator, &id, 24);
        cancel(&scratch, &coordinator, &id, submitter);
    }
    assert_eq!(tree(&scratch.join("out")), before);
    assert!(!scratch.join("new").exists());

    // The cluster is as good as new, and for two at a time.
    let [mut first, mut second] = ["first", "second"].map(|name| {
        Submit::job(&scratch, &photos, name).set("params.components=5").to(&coordinator).args(["--json"]).start()
    });
    let ids = [submitted(&mut first), submitted(&mut second)];
    for (submitter, id) in [first, second].into_iter().zip(&ids) {
        let ended = submitter.wait(LIMIT).done().json();
        assert_eq!((ended["phase"].as_str(), ended["id"].as_str()), (Some("committed"), Some(&**id)));
    }
    assert_same_bytes(&Output::open(&scratch.join("first")), &Output::open(&scratch.join("second")));

    // What has ended has ended.
    ask(&scratch, &coordinator, &["cancel", &ids[0]]).stopped(1, &["too late", "has committed"]);
    ask(&scratch, &coordinator, &["watch", &ids[0]]).done();
    ask(&scratch, &coordinator, &["watch", &id]).stopped(1, &["was cancelled"]);
    for command in ["status", "watch", "cancel"] {
        ask(&scratch, &coordinator, &[command, "20260101-000000-aaaaaa"]).stopped(2, &["there is no job", "list"]);
        ask(&scratch, &coordinator, &[command, "No/Id"]).stopped(2, &["is no job id"]);
    }
    assert_eq!(list(&["--json"]).json().as_array().map(Vec::len), Some(5));
    for worker in workers {
        worker.terminate();
    }
    coordinator.terminate();
}

/// Cancels a job that someone watches, twice.
fn cancel(scratch: &Scratch, coordinator: &Coordinator, id: &str, submitter: Running) {
    let cancelled = ask(scratch, coordinator, &["--json", "cancel", id]).stopped(0, &["its output stays as it was"]);
    assert_eq!(cancelled.json()["phase"], "cancelled");
    let ended = submitter.wait(Duration::from_secs(10)).stopped(1, &["was cancelled", "the output is as it was"]);
    assert_eq!(ended.json()["phase"], "cancelled");
    ask(scratch, coordinator, &["cancel", id]).stopped(0, &["was cancelled before"]);
}

#[test]
fn what_is_not_there_is_told_in_time() {
    let scratch = Scratch::enter("cluster: unreachable");
    let photos = drawn(&scratch, "photos", 20, 6);
    let free = || TcpListener::bind("127.0.0.1:0").expect("a free port");
    let url = |socket: &TcpListener| format!("http://{}", socket.local_addr().expect("it is bound"));
    // Somebody listens and never answers: only silence tells, so that takes longer.
    let silent = free();
    let silent_url = url(&silent);
    submit(&scratch, ["--coordinator", &silent_url, "list"]).stopped(3, &["can't reach the coordinator", &silent_url]);

    // Nobody listens, which is told at once although more patience is allowed.
    let nobody_url = url(&free());
    let at = ["--coordinator", &nobody_url, "--patience", "3600"];
    for command in [&["list"][..], &["status", "20260101-000000-aaaaaa"], &["watch", "20260101-000000-aaaaaa"]] {
        let ended = submit(&scratch, [&at[..], command].concat());
        ended.stopped(3, &["can't reach the coordinator", &nobody_url, "connection refused"]);
    }
    let ended = Submit::job(&scratch, &photos, "out").keeping().args(at).run();
    ended.stopped(3, &["can't reach the coordinator", &nobody_url]);
    assert!(!scratch.join("out").exists());
}

#[test]
fn a_coordinator_stops_in_the_middle_of_a_job_and_its_workers_too() {
    let scratch = Scratch::enter("cluster: SIGTERM to a coordinator at work");
    let photos = drawn(&scratch, "photos", 400, 7);
    let coordinator = Coordinator::start(&scratch, "state", None, &[]);
    let workers = [(); 2].map(|()| Worker::start(&scratch, &coordinator, None));
    let job = Submit::job(&scratch, &photos, "out").set("split.objects_max=8");
    let mut submitter = job.to(&coordinator).args(["--patience", "2"]).start();
    let id = submitted(&mut submitter);
    photos_done(&scratch, &coordinator, &id, 16);
    coordinator.terminate();
    // They can't hand anything back any more, and go all the same.
    for worker in workers {
        worker.terminate();
    }
    submitter.wait(LIMIT).stopped(3, &["can't reach the coordinator", &format!("watch {id}")]);
    assert!(!scratch.join("out").exists());
}

#[test]
fn what_changed_after_the_listing_is_set_aside_as_changed() {
    let scratch = Scratch::enter("cluster: objects changed and removed meanwhile");
    let photos = drawn(&scratch, "photos", 60, 8);
    let coordinator = Coordinator::start(&scratch, "state", None, &[]);
    let run = |output: &str, share: &str, meddle: &dyn Fn()| {
        let job = Submit::job(&scratch, &photos, output)
            .set("params.components=5")
            .set(format!("limits.quarantine_share_max={share}"));
        let mut submitter = job.to(&coordinator).start();
        let id = submitted(&mut submitter);
        // Without a worker nothing is read: the listing is frozen and the photos are not.
        wait_until("it is listed", || (status(&scratch, &coordinator, &id)["phase"] == "running").then_some(()));
        meddle();
        let worker = Worker::start(&scratch, &coordinator, None);
        let ended = submitter.wait(LIMIT);
        worker.terminate();
        ended
    };
    let names: Vec<_> = tree(&photos).into_keys().collect();
    let path = |at: usize| photos.join(&names[at]);
    let swap = |from: usize, to: usize| std::fs::copy(path(from), path(to)).expect("both are there");

    let ended = run("out", "0.1", &|| {
        swap(0, 1);
        std::fs::remove_file(path(2)).expect("it is there");
    });
    let ended = ended.done();
    assert!(ended.stdout.contains("was changed after it was listed"), "{ended}");
    assert!(ended.stdout.contains("was removed after it was listed"), "{ended}");
    let output = Output::open(&scratch.join("out"));
    assert_eq!(output.books(), [60, 58, 2, 0]);

    // The same is too much for a job that allows less, which says what it met.
    let before = tree(&scratch.join("out"));
    let ended = run("out", "0.01", &|| {
        swap(4, 3);
    });
    ended.stopped(1, &["1 of", "changed", &names[3]]);
    assert_eq!(tree(Path::new(&scratch.join("out"))), before);
    coordinator.terminate();
}
