//! The suite on the stores that need no server. S3 runs it in the test server's crate.

use mr_storage::{Directory, Memory, conformance, open};

#[tokio::test(flavor = "multi_thread")]
async fn memory_conforms() {
    conformance::run(&Memory::new()).await.unwrap_or_else(|failures| panic!("{failures}"));
}

#[tokio::test(flavor = "multi_thread")]
async fn memory_below_a_prefix_conforms() {
    let store = open("memory://conformance/some/where").await.expect("memory opens");
    conformance::run(&*store).await.unwrap_or_else(|failures| panic!("{failures}"));
}

#[tokio::test(flavor = "multi_thread")]
async fn directory_conforms() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let root = folder.path().join("not there yet/root");
    let store = Directory::open(&root).expect("an absolute path");
    conformance::run(&store).await.unwrap_or_else(|failures| panic!("{failures}"));
    assert_eq!(std::fs::read_dir(&root).expect("the root stays").count(), 0, "folders go with their last object");
}
