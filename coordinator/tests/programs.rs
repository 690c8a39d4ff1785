//! Workers of other programs, and of other versions, than a job or the coordinator is of.

mod cluster;
#[path = "../../mapreduce/tests/toy/mod.rs"]
mod toy;

use cluster::{Between, Change, Cluster, empty_poll, until, within};
use mr_coordinator::Settings;
use mr_core::{FRAMEWORK_VERSION, FailureClass, JobPlan};
use mr_proto::v1;
use mr_proto::v1::workers_client::WorkersClient;
use mr_worker::Stopped;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use tonic::{Code, Status};
use toy::{Wanted, World};

/// Until the job's status says all of this.
async fn says(cluster: &Cluster, job: &str, words: &[&str]) {
    until("the status says so", async || {
        let note = cluster.status(job).await.note.unwrap_or_default();
        words.iter().all(|word| note.contains(word))
    })
    .await;
}

#[tokio::test]
async fn a_job_waits_for_a_worker_that_has_it_and_is_done_by_that_one() {
    let cluster = Cluster::start().await;
    cluster.write(&["ape", "bee", "cat", "wait"]);
    let others = Arc::new(World::default());
    let _other = cluster.worker_with(toy::next_registry(&others), 4, cluster.channel.clone());
    cluster.submit("one", Wanted::default()).await;
    says(&cluster, "one", &["no worker in touch has job `toy` version 1; ", " has version 2; it fails in 5 min"]).await;
    let _worker = cluster.worker(1);
    cluster.at_gate(1).await;
    says(&cluster, "one", &["one worker in touch gets none of its tasks, for it does not have job `toy` version 1"])
        .await;
    cluster.world.open_gate();
    assert_eq!(cluster.committed("one").await.books.embedded, 4);
    assert_eq!(others.stages_opened.load(Ordering::SeqCst), 0, "the other one was given something");
    // What was submitted with the other program is the other one's.
    let next = Wanted { mode: mr_core::Mode::Overwrite, ..Wanted::default() };
    others.open_gate();
    cluster.submit_plan("two", JobPlan { job_version: 2, ..cluster.plan(next) }).await.unwrap();
    cluster.committed("two").await;
    assert_eq!(others.mapped.load(Ordering::SeqCst), 4);
    assert_eq!(cluster.world.mapped.load(Ordering::SeqCst), 4);
}

#[tokio::test]
async fn a_job_that_nobody_comes_for_fails_with_what_is_lacking() {
    let cluster = Cluster::with(|settings| Settings { unserved_ms: 500, ..settings }).await;
    cluster.write(&["ape"]);
    let _other = cluster.worker_with(toy::next_registry(&cluster.world), 1, cluster.channel.clone());
    cluster.submit("one", Wanted::default()).await;
    let failure = cluster.failure("one").await;
    assert_eq!(failure.class, FailureClass::Permanent);
    assert!(failure.message.contains("no worker in touch has had job `toy` version 1; "), "{failure}");
    assert!(
        failure.message.ends_with("start workers of the program that it was submitted with, and submit the job again")
    );
}

#[tokio::test]
async fn a_worker_of_another_version_than_the_coordinator_is_refused_and_ends() {
    let cluster = Cluster::start().await;
    let refused = async |version: &str| {
        let poll = v1::PollRequest { framework_version: version.into(), ..empty_poll("old", 1) };
        within(WorkersClient::new(cluster.channel.clone()).poll(poll)).await.unwrap_err()
    };
    let (status, silent) = (refused("0.0.1").await, refused("").await);
    assert_eq!((status.code(), silent.code()), (Code::FailedPrecondition, Code::FailedPrecondition));
    let why = format!(
        "this worker is of version 0.0.1 and the coordinator of version {FRAMEWORK_VERSION}: start both with one version"
    );
    assert_eq!(status.message(), why);
    assert!(silent.message().starts_with("this worker is of version unknown"), "{silent}");
    let said = why.clone();
    let channel = Between::channel(&cluster, move |_, _| Change::Refuse(Status::failed_precondition(said.clone())));
    let worker = cluster.worker_over(1, channel);
    assert_eq!(within(worker.running).await.unwrap(), Stopped::Refused(why));
}
