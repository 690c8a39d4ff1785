//! As many small objects as the fruit photos are: five pages of listing, and reads many at a time.

use futures::{StreamExt, TryStreamExt, stream};
use mr_s3_server::{ACCESS_KEY, Options, SECRET_KEY, Server};
use mr_storage::{GetOptions, S3, Store};
use std::time::Instant;

#[tokio::test(flavor = "multi_thread")]
async fn four_thousand_small_objects() {
    let folder = std::env::temp_dir().join(format!("mr-s3-server-load-{}", std::process::id()));
    for label in 0..67_u8 {
        let path = folder.join(format!("label {label}"));
        std::fs::create_dir_all(&path).expect("writable");
        for file in 0..60 {
            let bytes = vec![label; 5000 + file];
            std::fs::write(path.join(format!("{file}_100.jpg")), bytes).expect("writable");
        }
    }
    let options = Options { buckets: vec!["bucket".into()], ..Options::default() };
    let server = Server::start(options).await.expect("a port is free");
    let loaded = server.buckets().load("bucket", &folder, "photos/");
    std::fs::remove_dir_all(&folder).expect("our own");
    assert_eq!(loaded.expect("readable"), 4020);

    let store = S3::at(&server.endpoint, ACCESS_KEY, SECRET_KEY, "bucket", "photos/");
    let start = Instant::now();
    let listed = store.list("").await.expect("a bucket");
    let listing = start.elapsed();
    assert_eq!(listed.len(), 4020);
    assert!(listed.is_sorted_by(|a, b| a.key < b.key));

    let start = Instant::now();
    let reads = listed.iter().map(|object| {
        let store = &store;
        async move {
            let got = store.get(&object.key, GetOptions::if_match(&object.etag)).await?;
            assert_eq!(got.bytes.len() as u64, object.bytes);
            Ok::<_, mr_storage::StoreError>(got.bytes.len())
        }
    });
    let bytes: usize = stream::iter(reads)
        .buffer_unordered(32)
        .try_fold(0, |sum, n| async move { Ok(sum + n) })
        .await
        .expect("all are there");
    let reading = start.elapsed();
    println!(
        "4,020 objects, {bytes} bytes: listed in {listing:?}, read 32 at a time in {reading:?}, {:.0} a second",
        4020.0 / reading.as_secs_f64()
    );
}
