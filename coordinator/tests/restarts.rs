//! Coordinators that die, come back, take over and are taken over from; jobs that go on, and outputs that are found again.

mod cluster;
#[path = "../../mapreduce/tests/toy/mod.rs"]
mod toy;

use cluster::{Cluster, Puppet, until, within};
use mr_coordinator::{Coordinator, Settings};
use mr_core::{JobPhase, Mode};
use mr_proto::v1;
use std::fs;
use std::sync::atomic::Ordering;
use toy::Wanted;

const WORDS: [&str; 7] = ["ape", "bee", "cat", "dog", "elk", "fox", "gnu"];

async fn keeping() -> Cluster {
    Cluster::with(|settings| Settings { work_age_ms: 3_600_000, ..settings }).await
}

fn mapped(cluster: &Cluster) -> u32 {
    cluster.world.mapped.swap(0, Ordering::SeqCst)
}

/// What the output is, without what tells one run from another.
fn result(cluster: &Cluster, id: &str) -> (Vec<String>, String) {
    (cluster.rows("output"), fs::read_to_string(cluster.path("output/_runs").join(id).join("words.txt")).unwrap())
}

#[tokio::test]
async fn a_job_goes_on_where_it_was_under_a_new_coordinator() {
    let mut cluster = Cluster::start().await;
    cluster.write(&["ape", "bee", "cat", "dog", "wait", "fox", "gnu"]);
    let _worker = cluster.worker(2);
    cluster.submit("one", Wanted::default()).await;
    cluster.at_gate(1).await;
    // The other splits are done and reported.
    until("three splits are done", async || cluster.status("one").await.stages[0].tasks_done == 3).await;
    let before = cluster.status("one").await;
    assert_eq!(mapped(&cluster), 6);
    cluster.kill_coordinator().await;
    cluster.start_coordinator().await;
    let after = cluster.status("one").await;
    assert_eq!(
        (after.phase, after.stages[0].tasks_done, after.submitted_ms),
        (JobPhase::Running, 3, before.submitted_ms)
    );
    // The worker goes on with what it holds, and nobody else is given it.
    until("the attempt is taken up", async || cluster.status("one").await.stages[0].tasks_running == 1).await;
    cluster.world.open_gate();
    let status = cluster.committed("one").await;
    assert_eq!((status.books.listed, status.books.embedded), (7, 7));
    assert_eq!(mapped(&cluster), 1, "no file was mapped again");
    let words = fs::read_to_string(cluster.path("output/_runs/one/words.txt")).unwrap();
    assert_eq!(words, "ape bee cat dog wait fox gnu ");
    assert!(cluster.report("one")["seconds"]["total"].as_f64().unwrap() >= 1.5);
}

#[tokio::test]
async fn a_job_that_another_version_has_begun_is_not_gone_on_with() {
    let mut cluster = Cluster::with(|settings| Settings { framework_version: "0.0.9".into(), ..settings }).await;
    cluster.write(&["ape", "bee", "cat", "dog", "wait", "fox", "gnu"]);
    let worker = cluster.worker(2);
    cluster.submit("one", Wanted::default()).await;
    cluster.at_gate(1).await;
    cluster.kill_coordinator().await;
    cluster.settings.framework_version = mr_core::FRAMEWORK_VERSION.to_owned();
    cluster.start_coordinator().await;
    until("it has ended", async || cluster.status("one").await.phase.ended()).await;
    let status = cluster.status("one").await;
    let told = status.failure.expect("it failed").message;
    assert!(told.contains("begun by version 0.0.9") && told.contains("`mr-submit retry one`"), "{told}");
    assert!(!cluster.path("output").exists(), "nothing of it is there");
    cluster.world.open_gate();
    let retry = v1::RetryRequest { job_id: "one".into(), new_job_id: "two".into(), ..Default::default() };
    cluster.jobs().retry(retry).await.unwrap();
    assert_eq!(cluster.committed("two").await.books.embedded, 7);
    drop(worker);
    // One of this version's is gone on with.
    cluster.kill_coordinator().await;
    cluster.start_coordinator().await;
    assert_eq!(cluster.status("two").await.phase, JobPhase::Committed);
}

#[tokio::test]
async fn jobs_that_have_ended_stay_listed() {
    let mut cluster = Cluster::start().await;
    cluster.write(&["ape", "bad", "cat"]);
    let _worker = cluster.worker(1);
    cluster.submit("one", Wanted::default()).await;
    let done = cluster.committed("one").await;
    cluster.write(&["ape", "permanent", "cat"]);
    cluster.submit("two", Wanted { mode: Mode::Overwrite, ..Wanted::default() }).await;
    let failed = cluster.ended("two").await;
    cluster.submit("three", Wanted::default()).await;
    let refused = cluster.ended("three").await;
    cluster.kill_coordinator().await;
    cluster.start_coordinator().await;
    for before in [done, failed, refused] {
        let mut after = cluster.status(before.id.as_str()).await;
        (after.workers, after.slots) = (before.workers, before.slots);
        assert_eq!(after, before);
    }
    // Its id is still its own.
    let again = cluster.submit_plan("one", cluster.plan(Wanted { objects_max: 5, ..Wanted::default() })).await;
    assert_eq!(again.unwrap_err().code(), tonic::Code::AlreadyExists);
}

#[tokio::test]
async fn one_who_was_taken_over_from_stops_and_says_so() {
    let mut cluster = Cluster::start().await;
    cluster.write(&WORDS);
    // The first is not dead, only silent: it hears nothing of what comes. It is this process, so that it is not known dead.
    let (old, old_deciding) =
        (cluster.coordinator.clone(), std::mem::replace(&mut cluster.deciding, tokio::spawn(async { Ok(()) })));
    let state = cluster.path("state").to_str().unwrap().to_owned();
    let leader = cluster.path("state/journal/leader");
    let (second, second_deciding) =
        Coordinator::start(Settings { silence_ms: 400, ..Settings::new(&state) }).await.unwrap();
    assert!(!second.leads(), "the first one lives");
    // Its mark is kept from changing, as if it could not reach the store.
    let mark = fs::read(&leader).unwrap();
    let held = async {
        while !second.leads() {
            fs::write(&leader, &mark).unwrap();
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        }
    };
    within(held).await;
    let fenced = within(old_deciding).await.unwrap().unwrap_err();
    assert!(fenced.to_string().contains("has taken over from this one (epoch 1)"), "{fenced:#}");
    assert!(!second_deciding.is_finished());
    drop(old);
    within(second.stop()).await;
    within(second_deciding).await.unwrap().unwrap();
}

#[tokio::test]
async fn one_who_hears_of_a_successor_looks_whether_there_is_one() {
    let mut cluster = Cluster::start().await;
    let mut puppet = Puppet::new(&cluster);
    // The puppet comes from another cluster: what it holds is nobody's here.
    let task = |epoch| v1::AttemptId { job_id: "one".into(), stage: 0, index: 0, epoch, number: 1 };
    assert_eq!(puppet.poll(&[task(57)], Vec::new()).await.stop, [task(57)]);
    // Somebody has taken over, whom this one has not noticed. Who else would have given that?
    let (journal, aside) = (cluster.path("state/journal"), cluster.path("aside"));
    assert!(journal.join("00000000000000000002").exists(), "it wrote an entry to see that it could");
    let takes = |epoch: &u64| {
        let entry = v1::JournalEntry { epoch: *epoch, writer: "another".into(), ..Default::default() };
        fs::write(&aside, mr_proto::journal::entry_to(&entry)).unwrap();
        // As the store does it: whole, and only if nobody has that number. It may be at one more of its own.
        fs::hard_link(&aside, journal.join(format!("{epoch:020}"))).is_ok()
    };
    let epoch = (3..).find(takes).unwrap();
    let refused = puppet.try_poll(&[task(epoch)], Vec::new()).await.unwrap_err();
    assert_eq!(refused.code(), tonic::Code::Unavailable);
    let deciding = std::mem::replace(&mut cluster.deciding, tokio::spawn(async { Ok(()) }));
    let fenced = within(deciding).await.unwrap().unwrap_err();
    assert!(fenced.to_string().contains("has taken over from this one (epoch 1)"), "{fenced:#}");
}

#[tokio::test]
async fn one_that_does_not_reach_its_store_sends_callers_on() {
    // What the puppet is given and leaves undone is soon another's.
    let cluster = Cluster::with_lease(1000).await;
    cluster.write(&WORDS);
    let mut puppet = Puppet::new(&cluster);
    assert!(!puppet.poll(&[], Vec::new()).await.in_doubt);
    let (journal, away) = (cluster.path("state/journal"), cluster.path("state/away"));
    fs::rename(&journal, &away).unwrap();
    until("the journal is out of reach", async || {
        // A beat may have made the folder again.
        _ = fs::remove_dir_all(&journal);
        fs::write(&journal, "a file where a folder should be").is_ok()
    })
    .await;
    until("workers are told", async || puppet.poll(&[], Vec::new()).await.in_doubt).await;
    let refused = cluster.submit_plan("one", cluster.plan(Wanted::default())).await.unwrap_err();
    assert_eq!(refused.code(), tonic::Code::Unavailable, "{refused}");
    assert!(refused.message().contains("does not reach its state"), "{refused}");
    fs::remove_file(&journal).unwrap();
    fs::rename(&away, &journal).unwrap();
    until("it is sure again", async || cluster.jobs().list(v1::ListRequest {}).await.is_ok()).await;
    let _worker = cluster.worker(1);
    cluster.submit("one", Wanted::default()).await;
    cluster.committed("one").await;
}

#[tokio::test]
async fn one_that_stands_by_answers_nobody_and_takes_over_when_the_other_stops() {
    let cluster = Cluster::start().await;
    let state = cluster.path("state").to_str().unwrap().to_owned();
    let (second, _deciding) = Coordinator::start(Settings { silence_ms: 400, ..Settings::new(&state) }).await.unwrap();
    let (channel, _serving) = mr_coordinator::in_process(&second, Default::default());
    let mut jobs = mr_proto::v1::jobs_client::JobsClient::new(channel);
    let standing = jobs.list(v1::ListRequest {}).await.unwrap_err();
    assert_eq!(standing.code(), tonic::Code::Unavailable);
    assert!(standing.message().contains("stands by"), "{standing}");
    assert_eq!(second.health().await, Ok("it stands by for the coordinator that leads".into()));
    within(cluster.coordinator.stop()).await;
    until("it leads", async || second.leads()).await;
    assert_eq!(second.health().await, Ok("it leads".into()));
    assert!(jobs.list(v1::ListRequest {}).await.is_ok());
}

#[tokio::test]
async fn a_job_that_failed_goes_on_from_what_was_done() {
    let cluster = keeping().await;
    cluster.write(&["ape", "bee", "cat", "dog", "elk", "fox", "permanent"]);
    let worker = cluster.worker(1);
    cluster.submit("one", Wanted::default()).await;
    assert_eq!(cluster.ended("one").await.phase, JobPhase::Failed);
    assert_eq!(mapped(&cluster), 7);
    // The file that it failed on is mended, and nothing else has changed.
    fs::write(cluster.path("input/006.txt"), "gnu").unwrap();
    cluster.submit("two", Wanted::default()).await;
    cluster.committed("two").await;
    assert_eq!(mapped(&cluster), 1);
    let resumed = result(&cluster, "two");
    assert_eq!(resumed.1, "ape bee cat dog elk fox gnu ");

    // A fresh one, elsewhere, is the same.
    let fresh = Cluster::start().await;
    fresh.write(&["ape", "bee", "cat", "dog", "elk", "fox", "gnu"]);
    let _other = fresh.worker(1);
    fresh.submit("two", Wanted::default()).await;
    fresh.committed("two").await;
    assert_eq!(result(&fresh, "two"), resumed);
    worker.drain().await;
}

#[tokio::test]
async fn outputs_are_found_after_a_restart_and_gone_when_they_are_old() {
    let mut cluster = keeping().await;
    cluster.write(&WORDS);
    let _worker = cluster.worker(1);
    cluster.submit("one", Wanted::default()).await;
    cluster.committed("one").await;
    assert_eq!(mapped(&cluster), 7);
    cluster.kill_coordinator().await;
    cluster.start_coordinator().await;
    let again = || Wanted { mode: Mode::Overwrite, ..Wanted::default() };
    cluster.submit("two", again()).await;
    cluster.committed("two").await;
    assert_eq!(mapped(&cluster), 0);
    let found = result(&cluster, "two");

    // Someone has tidied up: what is not there is made again.
    fs::remove_dir_all(cluster.path("state/work")).unwrap();
    cluster.submit("three", again()).await;
    cluster.committed("three").await;
    assert_eq!(mapped(&cluster), 7);
    assert_eq!(result(&cluster, "three"), found);

    cluster.kill_coordinator().await;
    cluster.settings.work_age_ms = 0;
    cluster.start_coordinator().await;
    cluster.no_work_files().await;
    cluster.submit("four", again()).await;
    cluster.committed("four").await;
    assert_eq!(mapped(&cluster), 7);
}

#[tokio::test]
async fn a_journal_that_was_shortened_says_the_same() {
    let mut cluster =
        Cluster::with(|settings| Settings { work_age_ms: 3_600_000, journal_entries_max: 1, ..settings }).await;
    cluster.write(&["ape", "bee", "panic", "dog", "wait", "fox", "gnu"]);
    // One waits at the gate, and two have to agree on the panic.
    let _workers = [cluster.worker(1), cluster.worker(1), cluster.worker(1)];
    let mut nowhere = cluster.plan(Wanted::default());
    nowhere.spec.input = cluster.url("nowhere");
    cluster.submit_plan("zero", nowhere).await.unwrap();
    let failed = cluster.ended("zero").await;
    cluster.submit("one", Wanted::default()).await;
    cluster.at_gate(1).await;
    until("three splits are done", async || cluster.status("one").await.stages[0].tasks_done == 3).await;
    let journal = cluster.path("state/journal");
    let bases = || {
        fs::read_dir(&journal)
            .unwrap()
            .filter(|e| e.as_ref().unwrap().file_name().to_str().unwrap().starts_with("base-"))
            .count()
    };
    until("it was shortened", async || bases() >= 1).await;
    mapped(&cluster);
    cluster.kill_coordinator().await;
    cluster.start_coordinator().await;
    assert_eq!(cluster.status("one").await.stages[0].tasks_done, 3);
    let mut after = cluster.status("zero").await;
    (after.workers, after.slots) = (failed.workers, failed.slots);
    assert_eq!(after, failed);
    cluster.world.open_gate();
    let status = cluster.committed("one").await;
    assert_eq!((status.books.embedded, status.books.quarantined), (6, 1));
    // Perhaps another worker was given the last split before the one that holds it was heard.
    assert!(mapped(&cluster) <= 4, "what was done stays done");

    cluster.kill_coordinator().await;
    cluster.start_coordinator().await;
    cluster.submit("two", Wanted { mode: Mode::Overwrite, ..Wanted::default() }).await;
    cluster.committed("two").await;
    // All but the split with the record that panics: that verdict is not for other jobs. It is mapped with its neighbour.
    assert!(mapped(&cluster) <= 6);
    assert_eq!(result(&cluster, "two").0, result(&cluster, "one").0);
}

#[tokio::test]
async fn a_result_is_acknowledged_when_it_is_in_the_journal() {
    let mut cluster = Cluster::start().await;
    cluster.write(&["ape"]);
    cluster.submit("one", Wanted::default()).await;
    let mut puppet = Puppet::new(&cluster);
    let order = puppet.order(Vec::new()).await;
    let work = match &order.work {
        Some(v1::order::Work::MapObjects(work)) => work.clone(),
        other => panic!("{other:?}"),
    };
    let mut digest = mr_core::ObjectsDigest::default();
    digest.add(&mr_proto::convert::object_from(work.objects[0].clone()));
    let output = v1::TaskOutput { records: 1, rows: 1, mapped_sha256: Some(digest.finish()), ..Default::default() };
    let outcome = Some(v1::result::Outcome::Output(output));
    let result = v1::Result { attempt: order.attempt, kernel_family: order.kernel_family, outcome, asked: None };
    puppet.poll(&[], vec![result]).await;
    // It was answered, and would not say it again.
    cluster.kill_coordinator().await;
    cluster.start_coordinator().await;
    assert_eq!(cluster.status("one").await.stages[0].tasks_done, 1);
}

#[tokio::test]
async fn the_output_of_a_job_is_no_place_for_a_state() {
    let cluster = Cluster::start().await;
    cluster.write(&["ape"]);
    let _worker = cluster.worker(1);
    cluster.submit("one", Wanted::default()).await;
    cluster.committed("one").await;
    let output = cluster.path("output");
    let entries = || fs::read_dir(&output).unwrap().count();
    let before = entries();
    let refused = Coordinator::start(Settings::new(output.to_str().unwrap())).await.map(drop).unwrap_err();
    assert!(refused.to_string().contains("the output of a job"), "{refused:#}");
    assert_eq!(entries(), before, "nothing was written there");
}
