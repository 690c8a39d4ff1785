//! Storage's suite on S3, through this server.

use mr_s3_server::{ACCESS_KEY, Options, SECRET_KEY, Server};
use mr_storage::{S3, Store, StoreError, conformance};

async fn server() -> Server {
    let options = Options { buckets: vec!["bucket".into()], ..Options::default() };
    Server::start(options).await.expect("a port is free")
}

fn store(server: &Server, bucket: &str, prefix: &str) -> S3 {
    S3::at(&server.endpoint, ACCESS_KEY, SECRET_KEY, bucket, prefix)
}

#[tokio::test(flavor = "multi_thread")]
async fn s3_conforms() {
    let server = server().await;
    let store = store(&server, "bucket", "");
    conformance::run(&store).await.unwrap_or_else(|failures| panic!("{failures}"));
    assert_eq!(store.list("").await.expect("a bucket"), [], "the suite leaves nothing");
    assert_eq!(server.buckets().open_uploads("bucket"), 0, "a refused upload in parts is aborted");
}

#[tokio::test(flavor = "multi_thread")]
async fn s3_below_a_prefix_conforms() {
    let server = server().await;
    let store = store(&server, "bucket", "some where/below+/");
    conformance::run(&store).await.unwrap_or_else(|failures| panic!("{failures}"));
}

#[tokio::test]
async fn a_bucket_that_is_not_there_is_told_from_an_empty_one() {
    let server = server().await;
    let missing = store(&server, "missing", "").list("").await;
    assert!(matches!(missing, Err(StoreError::NotFound { .. })), "{missing:?}");
    assert_eq!(store(&server, "bucket", "").list("").await.expect("it is there"), []);
}
