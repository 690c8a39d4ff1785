//! What one worker says of a store, all are told.

mod cluster;
#[path = "../../mapreduce/tests/toy/mod.rs"]
mod toy;

use cluster::{Cluster, empty_poll, within};
use mr_proto::v1;
use mr_proto::v1::workers_client::WorkersClient;
use tonic::Code;

const PLACE: &str = "s3://bucket us-east-1 ";

/// One poll of a worker that is a process of its own.
async fn poll(cluster: &Cluster, name: &str, seq: u64, accepted: u64, throttled: u64) -> v1::PollResponse {
    let stores = vec![v1::StoreUsage { place: PLACE.into(), accepted, throttled }];
    let poll = v1::PollRequest { process: name.into(), stores, ..empty_poll(name, seq) };
    within(WorkersClient::new(cluster.channel.clone()).poll(poll)).await.unwrap().into_inner()
}

#[tokio::test]
async fn one_that_is_throttled_slows_another_down() {
    let cluster = Cluster::start().await;
    let mut seq = 0;
    let shares = loop {
        seq += 1;
        let (one, other) = tokio::join!(
            poll(&cluster, "one", seq, seq * 100, seq.saturating_sub(3)),
            poll(&cluster, "other", seq, seq * 100, 0)
        );
        if !one.stores.is_empty() && !other.stores.is_empty() {
            break [one.stores, other.stores];
        }
        // A poll waits for news, so this is some seconds.
        assert!(seq < 50, "nobody is told anything");
    };
    for share in &shares {
        assert_eq!(share.len(), 1);
        assert!(share[0].place == PLACE && share[0].requests_per_second >= 1.0, "{share:?}");
    }
}

#[tokio::test]
async fn a_store_without_a_name_is_no_store() {
    let cluster = Cluster::start().await;
    let poll = v1::PollRequest { stores: vec![v1::StoreUsage::default()], ..empty_poll("one", 1) };
    let refused = within(WorkersClient::new(cluster.channel.clone()).poll(poll)).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
    assert!(refused.message().contains("store_usage.place"), "{}", refused.message());
}
