//! Bodies that break off, stall, or are others than what was stored.

mod faulty;

use faulty::*;
use mr_storage::{GetOptions, Put, Store, StoreError};
use std::sync::atomic::Ordering;

/// A store with `whole` under `key`, that goes wrong so many times.
async fn holding(fault: Fault, times: usize, sums: Sums, whole: impl Into<bytes::Bytes>) -> World {
    let w = world_with(fault, times, sums).await;
    w.store.put("key", whole.into(), Put::Overwrite).await.expect("written");
    w
}

async fn range(w: &World) -> Result<Vec<u8>, StoreError> {
    Ok(w.store.get("key", GetOptions::range(1..7)).await?.bytes.to_vec())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_breaks_off_or_stalls_is_read_again() {
    for fault in [Fault::BreakOffBody, Fault::StallBody] {
        let times = if fault == Fault::BreakOffBody { 3 } else { 1 };
        for sums in [Sums::Checksums, Sums::Encrypted] {
            let w = holding(fault, times, sums, "the whole").await;
            assert_eq!(read(&w.store).await.expect("it comes in the end"), b"the whole", "{fault:?} {sums:?}");
            assert!(w.all_struck());
            let w = holding(fault, times, sums, "the whole").await;
            assert_eq!(range(&w).await.expect("it comes in the end"), b"he who", "{fault:?} {sums:?}");
            assert!(w.all_struck());
        }
    }
    let w = holding(Fault::BreakOffBody, usize::MAX, Sums::Checksums, "the whole").await;
    for broken in [read(&w.store).await, range(&w).await] {
        assert!(matches!(broken, Err(StoreError::Transient { .. })), "{broken:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flipped_bit_is_seen_by_the_checksum() {
    let w = holding(Fault::FlipBit, 2, Sums::Checksums, "the whole").await;
    assert_eq!(read(&w.store).await.expect("the third is right"), b"the whole");
    assert_eq!(w.gets.load(Ordering::SeqCst), 3);
    let w = holding(Fault::FlipBit, usize::MAX, Sums::Checksums, "the whole").await;
    let wrong = read(&w.store).await;
    assert!(matches!(wrong, Err(StoreError::Transient { .. })), "{wrong:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flipped_bit_is_seen_by_the_etag_where_there_is_no_checksum() {
    let w = holding(Fault::FlipBit, 1, Sums::Etags, "the whole").await;
    assert_eq!(read(&w.store).await.expect("the second is right"), b"the whole");
    assert_eq!(read(&w.store).await.expect("there"), b"the whole");
    assert_eq!(w.gets.load(Ordering::SeqCst), 3);
}

/// What went up in parts has a checksum of their sums, which the SDK does not look at.
#[tokio::test(flavor = "multi_thread")]
async fn a_flipped_bit_is_seen_in_what_went_up_in_parts() {
    for sums in [Sums::Checksums, Sums::Etags] {
        let w = holding(Fault::FlipBit, 1, sums, large()).await;
        assert!(read(&w.store).await.expect("the second is right") == large(), "{sums:?}");
        assert_eq!(w.gets.load(Ordering::SeqCst), 2, "{sums:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_etag_that_is_no_md5_is_no_error() {
    let w = holding(Fault::Nothing, 0, Sums::ForeignEtags, "the whole").await;
    for _ in 0..3 {
        assert_eq!(read(&w.store).await.expect("there"), b"the whole");
    }
    assert_eq!(w.gets.load(Ordering::SeqCst), 4, "the first is read twice, and then it is known");
    let w = holding(Fault::Nothing, 0, Sums::Encrypted, "the whole").await;
    assert_eq!(read(&w.store).await.expect("there"), b"the whole");
    assert_eq!(w.gets.load(Ordering::SeqCst), 1, "the store said so");
}

/// Not checked here: ranges have no sums, and who reads them has.
#[tokio::test(flavor = "multi_thread")]
async fn a_flipped_bit_in_a_range_is_left_to_the_reader() {
    let w = holding(Fault::FlipBit, 1, Sums::Checksums, "the whole").await;
    assert_eq!(range(&w).await.expect("nobody saw it"), b"he vho");
}
