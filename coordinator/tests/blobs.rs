//! What submitters bring is stored under its hash, and nothing else is stored anywhere.

mod cluster;
#[path = "../../mapreduce/tests/toy/mod.rs"]
mod toy;

use cluster::Cluster;
use mr_core::{BlobRef, BroadcastPlan, FailureClass, sha256_hex};
use mr_proto::v1::put_blob_request::Part;
use mr_proto::{convert, v1};
use std::fs;
use tonic::Code;
use toy::Wanted;

fn blob(content: &[u8]) -> v1::Blob {
    convert::blob_to(BlobRef::shared(sha256_hex(content), content.len() as u64))
}

async fn put(cluster: &Cluster, parts: Vec<Part>) -> Result<(), Code> {
    let parts: Vec<_> = parts.into_iter().map(|part| v1::PutBlobRequest { part: Some(part) }).collect();
    cluster.jobs().put_blob(tokio_stream::iter(parts)).await.map(drop).map_err(|status| status.code())
}

async fn missing(cluster: &Cluster, blob: v1::Blob) -> Result<bool, Code> {
    let answer = cluster.jobs().missing_blobs(v1::MissingBlobsRequest { blobs: vec![blob] }).await;
    answer.map(|answer| !answer.into_inner().sha256.is_empty()).map_err(|status| status.code())
}

fn chunk(bytes: &[u8]) -> Part {
    Part::Chunk(bytes.to_vec().into())
}

#[tokio::test]
async fn a_blob_is_missing_until_it_is_put() {
    let cluster = Cluster::start().await;
    let weights = blob(b"some weights");
    assert_eq!(missing(&cluster, weights.clone()).await, Ok(true));
    put(&cluster, vec![Part::Blob(weights.clone()), chunk(b"some "), chunk(b"weights")]).await.unwrap();
    assert_eq!(missing(&cluster, weights.clone()).await, Ok(false));
    assert_eq!(fs::read(cluster.path("state").join(&weights.key)).unwrap(), b"some weights");
    // Damaged since: the submitter has it, and brings it again.
    fs::write(cluster.path("state").join(&weights.key), b"some weighta").unwrap();
    assert_eq!(missing(&cluster, weights.clone()).await, Ok(true));
    put(&cluster, vec![Part::Blob(weights.clone()), chunk(b"some weights")]).await.unwrap();
    assert_eq!(missing(&cluster, weights.clone()).await, Ok(false));
    let empty = blob(b"");
    put(&cluster, vec![Part::Blob(empty.clone())]).await.unwrap();
    assert_eq!(missing(&cluster, empty).await, Ok(false));
}

#[tokio::test]
async fn what_is_not_as_it_was_said_to_be_is_refused() {
    let cluster = Cluster::start().await;
    let weights = blob(b"some weights");
    let said = || Part::Blob(weights.clone());
    let elsewhere = v1::Blob { key: "work/one/0".into(), ..weights.clone() };
    let outside = v1::Blob { sha256: "../../x".into(), key: "blobs/../../x".into(), bytes: 1 };
    let huge = v1::Blob { bytes: 1 << 40, ..weights.clone() };
    for (what, parts, code) in [
        ("other bytes", vec![said(), chunk(b"same lengths")], Code::DataLoss),
        ("too few", vec![said(), chunk(b"some")], Code::DataLoss),
        ("too many", vec![said(), chunk(b"some weights and more")], Code::InvalidArgument),
        ("no word of what it is", vec![chunk(b"some weights")], Code::InvalidArgument),
        ("nothing", vec![], Code::InvalidArgument),
        ("two at once", vec![said(), said()], Code::InvalidArgument),
        ("another place", vec![Part::Blob(elsewhere.clone()), chunk(b"some weights")], Code::InvalidArgument),
        ("a place outside", vec![Part::Blob(outside.clone()), chunk(b"x")], Code::InvalidArgument),
        ("too large", vec![Part::Blob(huge.clone())], Code::InvalidArgument),
    ] {
        assert_eq!(put(&cluster, parts).await, Err(code), "{what}");
    }
    assert_eq!(missing(&cluster, elsewhere).await, Err(Code::InvalidArgument));
    assert_eq!(missing(&cluster, outside).await, Err(Code::InvalidArgument));
    let many = v1::MissingBlobsRequest { blobs: vec![weights.clone(); 65] };
    assert_eq!(cluster.jobs().missing_blobs(many).await.unwrap_err().code(), Code::InvalidArgument);
    assert_eq!(missing(&cluster, weights).await, Ok(true));
    assert!(!cluster.path("state/blobs").exists());
    assert!(!cluster.folder.path().join("x").exists());
}

#[tokio::test]
async fn a_broadcast_with_the_wrong_bytes_fails_the_job_at_once_with_both_hashes() {
    let cluster = Cluster::start().await;
    cluster.write(&["ape"]);
    let right = BlobRef::shared(sha256_hex(b"right"), 5);
    fs::create_dir_all(cluster.path("state/blobs")).unwrap();
    fs::write(cluster.path("state").join(&right.key), "wrong").unwrap();
    let _worker = cluster.worker(1);
    let broadcasts = vec![BroadcastPlan { name: "weights".into(), blob: right.clone() }];
    cluster.submit("one", Wanted { broadcasts, ..Wanted::default() }).await;
    let failure = cluster.failure("one").await;
    assert_eq!(failure.class, FailureClass::Permanent);
    for hash in [right.sha256, sha256_hex(b"wrong")] {
        assert!(failure.message.contains(&hash), "{failure}");
    }
}
