//! Jobs whose input has a list: what it names is worked on and nothing else, whoever coordinates.

mod cluster;
#[path = "../../mapreduce/tests/toy/mod.rs"]
mod toy;

use cluster::Cluster;
use mr_core::{BlobRef, FailureClass, JobPhase, JobPlan, KeyList, ListedKey, Mode, sha256_hex};
use mr_proto::v1;
use std::fs;
use tonic::Code;
use toy::Wanted;

const WORDS: [&str; 5] = ["ape", "bee", "cat", "dog", "elk"];

/// Of the input's files by number, in a version that the store is asked for.
fn list(numbers: &[usize]) -> KeyList {
    KeyList::new(numbers.iter().map(|n| ListedKey { key: format!("{n:03}.txt"), version: None }).collect(), 0)
}

/// The plan with that list, and its blob where a submitter puts it.
fn listed(cluster: &Cluster, list: &KeyList, wanted: Wanted) -> JobPlan {
    let (mut plan, bytes) = (cluster.plan(wanted), list.encode());
    let blob = BlobRef::shared(sha256_hex(&bytes), bytes.len() as u64);
    fs::create_dir_all(cluster.path("state/blobs")).unwrap();
    fs::write(cluster.path("state").join(&blob.key), bytes).unwrap();
    plan.spec.input_list = Some("file:///keys.txt".into());
    plan.keys = Some(blob);
    plan
}

fn words(cluster: &Cluster, id: &str) -> String {
    fs::read_to_string(cluster.path("output/_runs").join(id).join("words.txt")).unwrap()
}

#[tokio::test]
async fn the_result_is_that_of_an_input_which_has_only_what_the_list_names() {
    let cluster = Cluster::start().await;
    cluster.write(&WORDS);
    let _worker = cluster.worker(1);
    cluster.submit_plan("one", listed(&cluster, &list(&[1, 2, 4]), Wanted::default())).await.unwrap();
    let books = cluster.committed("one").await.books;
    assert_eq!((books.listed, books.embedded, books.skipped), (3, 3, 0));
    assert_eq!(words(&cluster, "one"), "bee cat elk ");
    assert_eq!(cluster.status("one").await.input_list.as_deref(), Some("file:///keys.txt"));
    assert_eq!(cluster.report("one")["settings"]["input_list"], "file:///keys.txt");
    let (rows, parts) = (cluster.rows("output"), parts(&cluster));

    // The same objects, which are all that there is by now, under the same id elsewhere.
    fs::remove_dir_all(cluster.path("output")).unwrap();
    for gone in ["000.txt", "003.txt"] {
        fs::remove_file(cluster.path("input").join(gone)).unwrap();
    }
    cluster.submit("two", Wanted::default()).await;
    cluster.committed("two").await;
    assert_eq!(
        (words(&cluster, "two"), cluster.rows("output"), self::parts(&cluster)),
        ("bee cat elk ".into(), rows, parts)
    );
}

/// The bytes of the parts, in their order.
fn parts(cluster: &Cluster) -> Vec<Vec<u8>> {
    let files = cluster.output_files();
    let is_part =
        |name: &std::path::Path| name.parent() == Some(&cluster.path("output")) && !name.ends_with("_SUCCESS");
    files
        .into_iter()
        .filter(|(name, _)| is_part(name) && name.extension().is_some_and(|e| e == "parquet"))
        .map(|(_, bytes)| bytes)
        .collect()
}

#[tokio::test]
async fn what_is_not_there_is_set_aside_as_missing_and_nothing_at_all_is_refused() {
    let cluster = Cluster::start().await;
    cluster.write(&WORDS);
    let _worker = cluster.worker(1);
    cluster.submit_plan("one", listed(&cluster, &list(&[0, 3, 7]), Wanted::default())).await.unwrap();
    let status = cluster.committed("one").await;
    assert_eq!((status.books.listed, status.books.embedded, status.books.quarantined), (3, 2, 1));
    let missing = &status.quarantined_first[0];
    assert_eq!((missing.key.as_str(), missing.class.as_str(), missing.bytes), ("007.txt", "missing", 0));
    assert_eq!(words(&cluster, "one"), "ape dog ");

    let again = Wanted { mode: Mode::Overwrite, ..Wanted::default() };
    cluster.submit_plan("two", listed(&cluster, &list(&[8, 9]), again)).await.unwrap();
    let failure = cluster.failure("two").await;
    assert_eq!(failure.class, FailureClass::Refused);
    let said = format!("none of the 2 objects that the list names is at {}, such as", cluster.url("input"));
    assert!(failure.message.starts_with(&said), "{}", failure.message);
}

#[tokio::test]
async fn a_submission_is_carried_out_with_its_list_by_whoever_coordinates_and_tried_again_with_it() {
    let mut cluster = Cluster::start().await;
    cluster.write(&["ape", "bee", "permanent", "dog", "elk"]);
    // Whatever has been done of it by then, what was submitted is known.
    cluster.submit_plan("one", listed(&cluster, &list(&[1, 2, 4]), Wanted::default())).await.unwrap();
    cluster.kill_coordinator().await;
    cluster.start_coordinator().await;
    let _worker = cluster.worker(1);
    assert_eq!(cluster.ended("one").await.phase, JobPhase::Failed);
    fs::write(cluster.path("input/002.txt"), "cat").unwrap();
    let request = v1::RetryRequest { job_id: "one".into(), new_job_id: "two".into(), renews_quarantined: false };
    cluster.jobs().retry(request).await.unwrap();
    cluster.committed("two").await;
    assert_eq!(words(&cluster, "two"), "bee cat elk ");
}

#[tokio::test]
async fn a_list_that_did_not_come_with_the_job_is_no_reason_to_work_on_everything() {
    let cluster = Cluster::start().await;
    cluster.write(&WORDS);
    let plan = listed(&cluster, &list(&[1]), Wanted { mode: Mode::Overwrite, ..Wanted::default() });
    let elsewhere = BlobRef { key: "jobs/one/listing-1".into(), ..plan.keys.clone().unwrap() };
    for keys in [None, Some(elsewhere)] {
        let refused = cluster.submit_plan("one", JobPlan { keys, ..plan.clone() }).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument, "{refused}");
    }
    let absent = BlobRef::shared("00".repeat(32), 9);
    cluster.submit_plan("two", JobPlan { keys: Some(absent), ..plan }).await.unwrap();
    let failure = cluster.failure("two").await;
    assert!(failure.message.ends_with("submit the job again"), "{}", failure.message);
}
