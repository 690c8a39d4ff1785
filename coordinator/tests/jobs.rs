//! Jobs from their submission to their end, on a coordinator and workers in this process.

mod cluster;
#[path = "../../mapreduce/tests/toy/mod.rs"]
mod toy;

use cluster::{Between, Change, Cluster, Puppet, until, within};
use mr_coordinator::Settings;
use mr_core::{FailureClass, JobPhase, JobPlan, Limits, Mode, Source};
use mr_proto::v1;
use mr_worker::{Coordinators, Stopped};
use std::fs;
use std::os::unix::fs::symlink;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tonic::Code;
use toy::Wanted;

const WORDS: [&str; 7] = ["ape", "bee", "cat", "dog", "elk", "fox", "gnu"];

#[tokio::test]
async fn a_job_becomes_a_committed_table_and_leaves_nothing_else() {
    let cluster = Cluster::start().await;
    cluster.write(&WORDS);
    fs::write(cluster.path("input/notes.md"), "no text of the job's").unwrap();
    let worker = cluster.worker(2);
    cluster.submit("one", Wanted::default()).await;
    let states = cluster.watch("one").await;
    let status = states.last().unwrap();
    assert_eq!(status.phase, JobPhase::Committed, "{:?}", status.failure);
    assert!(states[..states.len() - 1].iter().all(|state| !state.phase.ended()), "the stream ends with the job");
    assert_eq!((status.books.listed, status.books.embedded, status.books.quarantined), (7, 7, 0));
    assert_eq!(status.books.skipped, 1);
    let stages: Vec<_> = status.stages.iter().map(|stage| (&*stage.name, stage.tasks, stage.tasks_done)).collect();
    // Four splits make two levels: 4 runs, 2 after combining, then the reduce.
    assert_eq!(stages, [("map", 4, 4), ("sum", 3, 3), ("rows", 2, 2)]);

    let names: Vec<_> = (0..7).map(|index| format!("{index:03}.txt")).collect();
    assert_eq!(cluster.rows("output"), names);
    let words = fs::read_to_string(cluster.path("output/_runs/one/words.txt")).unwrap();
    assert_eq!(words, "ape bee cat dog elk fox gnu ");
    let report = cluster.report("one");
    assert_eq!((&report["listed"], &report["slots"], &report["workers"]), (&7.into(), &2.into(), &1.into()));
    // The clock starts where the user's did: the submitter said that it was at it for 1.5 s.
    assert!(report["first_image_s"].as_f64().unwrap() >= 1.5, "{report}");
    assert!(report["seconds"]["list"].as_f64().unwrap() >= 1.5, "{report}");
    cluster.no_work_files().await;
    assert_eq!(worker.drain().await, Stopped::Drained);
}

#[tokio::test]
async fn an_attempt_that_fails_once_is_tried_again() {
    let cluster = Cluster::start().await;
    cluster.write(&["ape", "flaky", "cat"]);
    let _worker = cluster.worker(1);
    cluster.submit("one", Wanted::default()).await;
    assert_eq!(cluster.committed("one").await.books.embedded, 3);
}

#[tokio::test]
async fn when_all_attempts_fail_the_job_fails_with_the_story_and_the_output_stays() {
    let cluster = Cluster::start().await;
    cluster.write(&WORDS);
    let _worker = cluster.worker(2);
    cluster.submit("first", Wanted::default()).await;
    cluster.committed("first").await;
    let before = cluster.output_files();

    cluster.write(&["fail"]);
    cluster.submit("fails", Wanted { mode: Mode::Overwrite, ..Wanted::default() }).await;
    let failure = cluster.failure("fails").await;
    assert_eq!(failure.class, FailureClass::Application);
    for part in ["task 0 of stage `map`", "failed 3 times", "000.txt"] {
        assert!(failure.message.contains(part), "{failure}");
    }
    assert_eq!(cluster.output_files(), before);
    cluster.no_work_files().await;
}

#[tokio::test]
async fn records_that_panic_or_take_too_long_on_two_workers_are_quarantined_alone() {
    let cluster = Cluster::start().await;
    // Both bad ones share their splits with good ones, and the first split has two.
    cluster.write(&["panic", "panic", "cat", "dog", "wait", "fox", "gnu"]);
    let _workers = [cluster.worker(1), cluster.worker(1)];
    let limits = Limits { quarantine_share_max: 0.5, attempts_max: 1, record_seconds_max: 1, budget_max_usd: None };
    cluster.submit("one", Wanted { limits, ..Wanted::default() }).await;
    let status = cluster.committed("one").await;
    assert_eq!((status.books.embedded, status.books.quarantined), (4, 3));
    let verdicts: Vec<_> = status.quarantined_first.iter().map(|q| (&*q.key, &*q.class, q.source)).collect();
    let environment = mr_core::QuarantineSource::Environment;
    let expected = [
        ("000.txt", "panicked", environment),
        ("001.txt", "panicked", environment),
        ("004.txt", "deadline", environment),
    ];
    assert_eq!(verdicts, expected);
    assert_eq!(cluster.rows("output"), ["002.txt", "003.txt", "005.txt", "006.txt"]);
    cluster.world.open_gate();
}

#[tokio::test]
async fn a_failure_for_good_ends_the_job_at_once() {
    let cluster = Cluster::start().await;
    cluster.write(&["permanent"]);
    let _worker = cluster.worker(1);
    cluster.submit("one", Wanted::default()).await;
    let failure = cluster.failure("one").await;
    assert_eq!(failure.class, FailureClass::Permanent);
    assert!(failure.message.contains("000.txt never works"), "{failure}");
    assert!(!cluster.path("output").exists());
    cluster.no_work_files().await;
}

#[tokio::test]
async fn a_stage_that_reads_rows_which_nobody_keeps_is_told_so() {
    let cluster = Cluster::start().await;
    cluster.write(&WORDS);
    let _worker = cluster.worker(1);
    let mut plan = cluster.plan(Wanted::default());
    plan.stages[2].source = Source::Kept { stage: "sum".into(), group_min: 1, group_max: 1 };
    cluster.submit_plan("one", plan).await.unwrap();
    let failure = cluster.failure("one").await;
    assert_eq!(failure.class, FailureClass::Permanent);
    assert!(
        failure.message.starts_with("stage `rows` reads the rows that `sum` keeps, and that keeps none"),
        "{failure}"
    );
    assert!(!cluster.path("output").exists());
}

#[tokio::test]
async fn a_running_job_can_be_cancelled_and_its_slots_serve_the_next() {
    let cluster = Cluster::start().await;
    cluster.write(&["wait", "bee"]);
    let _worker = cluster.worker(1);
    cluster.submit("one", Wanted::default()).await;
    cluster.at_gate(1).await;
    assert!(cluster.cancel("one").await);
    let cancelled = cluster.ended("one").await;
    // Its worker is still at the gate, but not for this job.
    assert_eq!((cancelled.phase, cancelled.stages[0].tasks_running), (JobPhase::Cancelled, 0));
    assert!(!cluster.cancel("one").await, "it is too late");
    assert!(!cluster.path("output").exists());
    cluster.world.open_gate();
    cluster.submit("two", Wanted::default()).await;
    cluster.committed("two").await;
    cluster.no_work_files().await;
}

#[tokio::test]
async fn what_a_killed_worker_had_goes_to_another() {
    let cluster = Cluster::with_lease(1000).await;
    cluster.write(&["wait", "bee", "cat", "dog"]);
    let killed = cluster.worker(1);
    cluster.submit("one", Wanted::default()).await;
    cluster.at_gate(1).await;
    killed.kill();
    cluster.world.open_gate();
    until("it is missed", async || cluster.status("one").await.workers == 0).await;
    let note = cluster.status("one").await.note.unwrap();
    assert!(note.contains("no worker is in touch"), "{note}");
    let _other = cluster.worker(1);
    assert_eq!(cluster.committed("one").await.books.embedded, 4);
    assert_eq!(cluster.report("one")["workers"], 2);
}

#[tokio::test]
async fn what_a_drained_worker_has_goes_to_another_at_once() {
    let cluster = Cluster::with_lease(600_000).await;
    cluster.write(&["wait", "bee", "cat", "dog"]);
    let drained = cluster.worker(1);
    cluster.submit("one", Wanted::default()).await;
    cluster.at_gate(1).await;
    // Its job's code is in the middle of a record, and it does not wait for that.
    assert_eq!(drained.drain().await, Stopped::Drained);
    let _other = cluster.worker(1);
    cluster.at_gate(2).await;
    cluster.world.open_gate();
    assert_eq!(cluster.committed("one").await.books.embedded, 4);
}

#[tokio::test]
async fn what_runs_on_a_worker_that_leaves_is_done_there_and_what_waits_goes_to_another_at_once() {
    let cluster = Cluster::with_lease(600_000).await;
    cluster.write(&["wait", "bee", "cat", "dog"]);
    let leaves = cluster.worker(1);
    cluster.submit("one", Wanted::default()).await;
    cluster.at_gate(1).await;
    leaves.leave.within(Duration::from_secs(3600));
    let _other = cluster.worker(1);
    let mapped = || cluster.world.mapped.load(Ordering::SeqCst);
    // The one at the gate is counted.
    until("another has done what waited", async || mapped() == 3).await;
    assert!(!leaves.running.is_finished());
    cluster.world.open_gate();
    assert_eq!(within(leaves.running).await.unwrap(), Stopped::Drained);
    assert_eq!(cluster.committed("one").await.books.embedded, 4);
    assert_eq!((cluster.world.at_gate.load(Ordering::SeqCst), mapped()), (1, 4), "nothing was done twice");
}

#[tokio::test]
async fn what_runs_on_a_worker_that_leaves_is_handed_back_when_its_time_is_over() {
    let cluster = Cluster::with_lease(600_000).await;
    cluster.write(&["wait", "bee"]);
    let leaves = cluster.worker(1);
    cluster.submit("one", Wanted::default()).await;
    cluster.at_gate(1).await;
    leaves.leave.within(Duration::from_millis(200));
    assert_eq!(within(leaves.running).await.unwrap(), Stopped::Drained);
    let _other = cluster.worker(1);
    cluster.at_gate(2).await;
    cluster.world.open_gate();
    assert_eq!(cluster.committed("one").await.books.embedded, 2);
}

#[tokio::test]
async fn two_jobs_run_beside_each_other() {
    let cluster = Cluster::start().await;
    cluster.write(&WORDS);
    let _workers = [cluster.worker(1), cluster.worker(2)];
    let mut other = cluster.plan(Wanted { fan_in: 3, ..Wanted::default() });
    other.spec.output = cluster.url("other");
    cluster.submit("one", Wanted::default()).await;
    cluster.submit_plan("two", other).await.unwrap();
    let (one, two) = tokio::join!(cluster.committed("one"), cluster.committed("two"));
    assert_eq!((one.books.embedded, two.books.embedded), (7, 7));
    assert_eq!(cluster.rows("output"), cluster.rows("other"));
    let listed = cluster.jobs().list(v1::ListRequest {}).await.unwrap().into_inner().jobs;
    assert_eq!(listed.iter().map(|job| &*job.job_id).collect::<Vec<_>>(), ["one", "two"]);
    cluster.no_work_files().await;
}

#[tokio::test]
async fn a_job_that_comes_later_waits_for_slots_and_says_so() {
    let cluster = Cluster::start().await;
    cluster.write(&["wait", "bee", "cat", "dog", "elk", "fox", "gnu"]);
    let _worker = cluster.worker(1);
    cluster.submit("one", Wanted::default()).await;
    cluster.at_gate(1).await;
    let mut later = cluster.plan(Wanted::default());
    later.spec.output = cluster.url("later");
    cluster.submit_plan("two", later).await.unwrap();
    let says = async |id| cluster.status(id).await.note.is_some_and(|note| note.starts_with("it waits: all workers"));
    until("it says so", async || says("two").await).await;
    assert!(!says("one").await);
    cluster.world.open_gate();
    cluster.committed("two").await;
    assert!(!says("two").await);
}

#[tokio::test]
async fn the_same_submission_is_one_job_and_its_id_is_no_other_jobs() {
    let cluster = Cluster::start().await;
    cluster.write(&WORDS);
    let _worker = cluster.worker(1);
    for _ in 0..2 {
        cluster.submit("one", Wanted::default()).await;
    }
    cluster.committed("one").await;
    cluster.submit("one", Wanted::default()).await;
    assert_eq!(cluster.status("one").await.phase, JobPhase::Committed);
    let other = cluster.plan(Wanted { objects_max: 5, ..Wanted::default() });
    assert_eq!(cluster.submit_plan("one", other).await.unwrap_err().code(), Code::AlreadyExists);
}

#[tokio::test]
async fn what_cannot_be_begun_is_refused_and_touches_nothing() {
    let cluster = Cluster::start().await;
    let _worker = cluster.worker(1);
    cluster.submit("empty", Wanted::default()).await;
    let failure = cluster.failure("empty").await;
    assert_eq!(failure.class, FailureClass::Refused);
    assert!(failure.message.contains("is empty"), "{failure}");

    fs::write(cluster.path("input/notes.md"), "").unwrap();
    cluster.submit("none", Wanted::default()).await;
    let failure = cluster.failure("none").await;
    assert!(failure.message.contains("none of the 1 objects") && failure.message.contains(".txt"), "{failure}");

    let mut missing = cluster.plan(Wanted::default());
    missing.spec.input = cluster.url("nowhere");
    cluster.submit_plan("missing", missing).await.unwrap();
    let failure = cluster.failure("missing").await;
    assert_eq!(failure.class, FailureClass::Refused);
    assert!(failure.message.contains("there is no input"), "{failure}");
    assert!(!cluster.path("output").exists());

    cluster.write(&WORDS);
    std::os::unix::fs::symlink("/not/mounted", cluster.path("input/more words")).unwrap();
    cluster.submit("link", Wanted::default()).await;
    let failure = cluster.failure("link").await;
    assert_eq!(failure.class, FailureClass::Refused);
    assert!(failure.message.contains("input/more words is a link to something that is not there"), "{failure}");
    fs::remove_file(cluster.path("input/more words")).unwrap();

    cluster.submit("first", Wanted::default()).await;
    cluster.committed("first").await;
    let before = cluster.output_files();
    cluster.submit("again", Wanted::default()).await;
    assert_eq!(cluster.failure("again").await.class, FailureClass::Refused);
    let mut inside = cluster.plan(Wanted::default());
    inside.spec.output = cluster.url("output/more/words");
    cluster.submit_plan("inside", inside).await.unwrap();
    let failure = cluster.failure("inside").await;
    assert_eq!(failure.class, FailureClass::Refused);
    assert!(failure.message.contains("lies inside the table"), "{failure}");
    std::os::unix::fs::symlink("/not/mounted", cluster.path("lost")).unwrap();
    let mut lost = cluster.plan(Wanted::default());
    lost.spec.output = cluster.url("lost/words");
    cluster.submit_plan("lost", lost).await.unwrap();
    let failure = cluster.failure("lost").await;
    assert_eq!(failure.class, FailureClass::Refused);
    assert!(failure.message.contains("can't be written to"), "{failure}");
    assert_eq!(cluster.output_files(), before);
}

#[tokio::test]
async fn too_large_a_share_in_quarantine_fails_the_job_with_counts_and_reasons() {
    let cluster = Cluster::start().await;
    cluster.write(&["ape", "bad", "cat", "bad", "elk", "bad"]);
    let _worker = cluster.worker(2);
    let limits = |share| Limits { quarantine_share_max: share, attempts_max: 3, ..Limits::default() };
    cluster.submit("one", Wanted { limits: limits(0.4), ..Wanted::default() }).await;
    let status = cluster.ended("one").await;
    let failure = status.failure.unwrap();
    assert_eq!(failure.class, FailureClass::Permanent);
    for part in ["3 of 6", "001.txt (bad: 001.txt is no good)"] {
        assert!(failure.message.contains(part), "{failure}");
    }
    assert!(!cluster.path("output").exists());
    cluster.no_work_files().await;

    cluster.submit("two", Wanted { limits: limits(0.5), ..Wanted::default() }).await;
    let status = cluster.committed("two").await;
    assert_eq!((status.books.embedded, status.books.quarantined), (3, 3));
    assert_eq!(cluster.rows("output"), ["000.txt", "002.txt", "004.txt"]);
    assert_eq!(status.quarantined_first.len(), 3);
}

#[tokio::test]
async fn a_worker_most_of_whose_answers_are_lost_still_gets_it_done() {
    let cluster = Cluster::with_lease(2000).await;
    cluster.write(&WORDS);
    let channel = Between::channel(&cluster, |poll, answer| match poll % 4 {
        0 => Change::Answer(Box::new(answer)),
        3 => Change::Hang,
        _ => Change::Lose,
    });
    let worker = cluster.worker_over(2, channel);
    cluster.submit("one", Wanted::default()).await;
    assert_eq!(cluster.committed("one").await.books.embedded, 7);
    assert_eq!(cluster.rows("output").len(), 7);
    drop(worker);
}

#[tokio::test]
async fn a_worker_asks_another_coordinator_when_one_is_in_doubt() {
    let cluster = Cluster::start().await;
    cluster.write(&WORDS);
    let doubting = Between::channel(&cluster, |_, answer| {
        Change::Answer(Box::new(v1::PollResponse { orders: Vec::new(), in_doubt: true, ..answer }))
    });
    let _worker = cluster.worker_over(1, Coordinators::over(vec![doubting, cluster.channel.clone()]));
    cluster.submit("one", Wanted::default()).await;
    assert_eq!(cluster.committed("one").await.books.embedded, 7);
}

#[tokio::test]
async fn a_worker_that_cannot_read_its_order_says_so() {
    let cluster = Cluster::start().await;
    cluster.write(&WORDS);
    let channel = Between::channel(&cluster, |_, mut answer| {
        for order in &mut answer.orders {
            order.work = None;
        }
        Change::Answer(Box::new(answer))
    });
    let _worker = cluster.worker_over(1, channel);
    cluster.submit("one", Wanted::default()).await;
    let failure = cluster.failure("one").await;
    assert_eq!(failure.class, FailureClass::Permanent);
    assert!(failure.message.contains("can't be read"), "{failure}");
}

#[tokio::test]
async fn work_goes_on_while_the_coordinator_is_away() {
    let cluster = Cluster::with_lease(1000).await;
    cluster.write(&["wait"]);
    let away = std::sync::Arc::new(AtomicBool::new(false));
    let seen = away.clone();
    let channel = Between::channel(&cluster, move |_, answer| match seen.load(Ordering::SeqCst) {
        true => Change::Lose,
        false => Change::Answer(Box::new(answer)),
    });
    let _worker = cluster.worker_over(1, channel);
    cluster.submit("one", Wanted::default()).await;
    cluster.at_gate(1).await;
    away.store(true, Ordering::SeqCst);
    tokio::time::sleep(Duration::from_millis(2500)).await;
    cluster.world.open_gate();
    away.store(false, Ordering::SeqCst);
    cluster.committed("one").await;
    // The record was not begun again, though its lease was long over by the worker's own clock.
    assert_eq!(cluster.world.at_gate.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_worker_that_nobody_hears_leaves_in_time() {
    let cluster = Cluster::start().await;
    let channel = Between::channel(&cluster, |_, _| Change::Hang);
    let worker = cluster.worker_over(1, channel);
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(within(worker.drain()).await, Stopped::Unheard);
}

#[tokio::test]
async fn a_coordinator_stops_in_time_while_polls_wait_and_a_job_runs() {
    let cluster = Cluster::start().await;
    cluster.write(&["wait", "bee"]);
    let workers = [cluster.worker(1), cluster.worker(3)];
    cluster.submit("one", Wanted::default()).await;
    cluster.at_gate(1).await;
    let mut told = cluster.jobs().watch(v1::WatchRequest { job_id: "one".into() }).await.unwrap().into_inner();
    told.message().await.unwrap().unwrap();
    within(cluster.coordinator.stop()).await;
    within(cluster.deciding).await.unwrap().unwrap();
    // Whoever watches is not left to wait.
    within(async { while let Ok(Some(_)) = told.message().await {} }).await;
    // Workers go on asking, and leave when they are told to.
    let left = futures::future::join_all(workers.map(|worker| worker.drain())).await;
    assert_eq!(left, [Stopped::Unheard, Stopped::Unheard]);
    cluster.world.open_gate();
}

#[tokio::test]
async fn verdicts_on_what_the_task_does_not_have_are_refused() {
    let cluster = Cluster::start().await;
    cluster.write(&["ape", "bee"]);
    cluster.submit("one", Wanted::default()).await;
    let mut puppet = Puppet::new(&cluster);
    let mut results = Vec::new();
    for _ in 0..3 {
        let order = puppet.order(results).await;
        let Some(v1::order::Work::MapObjects(work)) = order.work else { panic!("{order:?}") };
        let listed = &work.objects[0];
        let verdict = |etag: &str| v1::Quarantined {
            key: listed.key.clone(),
            etag: etag.into(),
            bytes: listed.bytes,
            stage: "map".into(),
            class: "bad".into(),
            ..Default::default()
        };
        let output = v1::TaskOutput {
            records: 2,
            rows: 0,
            quarantined: vec![verdict(&listed.etag), verdict("another")],
            ..Default::default()
        };
        let outcome = Some(v1::result::Outcome::Output(output));
        results = vec![v1::Result { attempt: order.attempt, kernel_family: order.kernel_family, outcome, asked: None }];
    }
    puppet.poll(&[], results).await;
    let failure = cluster.failure("one").await;
    assert!(failure.message.contains("quarantined objects that the task does not have"), "{failure}");
}

#[tokio::test]
async fn an_order_is_repeated_until_it_is_held_and_stopped_when_the_job_has_ended() {
    let cluster = Cluster::start().await;
    cluster.write(&["ape"]);
    cluster.submit("one", Wanted::default()).await;
    let mut puppet = Puppet::new(&cluster);
    let first = puppet.order(Vec::new()).await;
    let again = puppet.poll(&[], Vec::new()).await;
    assert_eq!(again.orders, std::slice::from_ref(&first));
    let held = [first.attempt.unwrap()];
    assert_eq!(cluster.status("one").await.stages[0].tasks_running, 1);
    assert!(puppet.poll(&held, Vec::new()).await.orders.is_empty());
    assert!(cluster.cancel("one").await);
    assert_eq!(puppet.poll(&held, Vec::new()).await.stop, held);
}

#[tokio::test]
async fn there_are_no_more_open_jobs_than_there_may_be() {
    let cluster = Cluster::start().await;
    cluster.write(&["ape"]);
    let submit = async |id: &str| {
        let mut plan = cluster.plan(Wanted::default());
        plan.spec.output = cluster.url(&format!("output-{id}"));
        cluster.submit_plan(id, plan).await
    };
    for at in 0..1000 {
        submit(&format!("job-{at}")).await.unwrap();
    }
    let told = submit("one-more").await.unwrap_err();
    assert_eq!(told.code(), Code::FailedPrecondition);
    assert!(told.message().contains("1000 jobs have not ended"), "{told}");
    // One that is there may be submitted again, as whoever heard no answer does.
    submit("job-7").await.unwrap();
    cluster.jobs().cancel(v1::CancelRequest { job_id: "job-7".into() }).await.unwrap();
    until("one has ended", async || cluster.status("job-7").await.phase.ended()).await;
    submit("one-more").await.unwrap();
}

#[tokio::test]
async fn nobody_has_the_coordinators_state_for_an_output() {
    let cluster = Cluster::start().await;
    cluster.write(&["ape"]);
    let around = format!("file://{}/", cluster.folder.path().display());
    symlink(cluster.path("state"), cluster.path("link")).unwrap();
    symlink(".", cluster.path("here")).unwrap();
    for (id, output) in [
        ("same", cluster.url("state")),
        ("within", cluster.url("state/journal")),
        ("around", around),
        ("same-by-a-link", cluster.url("link")),
        ("within-by-a-link", cluster.url("link/not/yet/there")),
        ("around-by-a-link", cluster.url("here")),
        ("within-by-a-link-above", cluster.url("here/state/out")),
    ] {
        let mut plan = cluster.plan(Wanted::default());
        plan.spec.output = output;
        plan.spec.mode = Mode::Overwrite;
        cluster.submit_plan(id, plan).await.unwrap();
        until("it has ended", async || cluster.status(id).await.phase.ended()).await;
        let told = cluster.status(id).await.failure.expect("it is refused").message;
        assert!(told.contains("lie within each other; choose another output"), "{id}: {told}");
    }
    // A name that begins alike is another place.
    let mut plan = cluster.plan(Wanted::default());
    plan.spec.output = cluster.url("state-of-things");
    cluster.submit_plan("beside", plan).await.unwrap();
    let _worker = cluster.worker(1);
    cluster.committed("beside").await;
}

#[tokio::test]
async fn a_state_that_is_typed_with_dots_is_nobodys_output_either() {
    let cluster = Cluster::with(|settings| {
        let folder = settings.state.strip_suffix("/state").expect("it is so named");
        Settings { state: format!("{folder}/input/../state"), ..settings }
    })
    .await;
    cluster.write(&["ape"]);
    let mut plan = cluster.plan(Wanted::default());
    plan.spec.output = cluster.url("state/out");
    cluster.submit_plan("one", plan).await.unwrap();
    let told = cluster.failure("one").await.message;
    assert!(told.contains("lie within each other; choose another output"), "{told}");
}

#[tokio::test]
async fn a_plan_beyond_its_bounds_is_refused_by_name_and_nothing_is_kept_of_it() {
    let cluster = Cluster::start().await;
    cluster.write(&["ape"]);
    let dots = |around: &str| format!("file://{}/{around}/", cluster.folder.path().display());
    type Change = Box<dyn Fn(&mut JobPlan)>;
    let change = |change: fn(&mut JobPlan)| -> Change { Box::new(change) };
    let place = |place: String| -> Change { Box::new(move |plan| plan.spec.output = place.clone()) };
    for (what, change, words) in [
        (
            "a long name",
            change(|plan| plan.spec.job = "x".repeat(257)),
            "`spec.job` has 257 bytes, and 256 is the most",
        ),
        ("a stage's", change(|plan| plan.stages[1].name = "x".repeat(257)), "`stage.name` has 257 bytes"),
        ("a long plan", change(|plan| _ = plan.footer.insert("x".into(), "x".repeat(2 << 20))), "1048576 is the most"),
        ("a way into the state", place(dots("input/../state")), "has `..` in it: write the place as it is"),
        ("a way in a bucket", place("s3://bucket/out/../state/".into()), "has `..` in it: write the place as it is"),
    ] {
        let mut plan = cluster.plan(Wanted::default());
        change(&mut plan);
        let told = cluster.submit_plan("one", plan).await.unwrap_err();
        assert_eq!(told.code(), Code::InvalidArgument, "{what}: {told}");
        assert!(told.message().contains(words), "{what}: {told}");
    }
    let listed = cluster.jobs().list(v1::ListRequest {}).await.unwrap().into_inner();
    assert!(listed.jobs.is_empty(), "{listed:?}");
    cluster.submit_plan("one", cluster.plan(Wanted::default())).await.unwrap();
}
