//! A metered handle counts its own requests, each try, and those of no other.

mod faulty;

use faulty::*;
use mr_core::{StoreCounts, StoreOutcome, StoreRequest};
use mr_storage::{DynStore, Meter, Put, StoreError, copy, metered, pace};
use std::sync::Arc;

fn of(counts: &StoreCounts, request: StoreRequest, outcome: StoreOutcome) -> u64 {
    counts.requests.get(&(request, outcome)).copied().unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread")]
async fn each_try_of_a_handle_is_counted_with_its_outcome_and_its_bytes() {
    use StoreOutcome::{Accepted, Refused, Throttled};
    let w = world(Fault::Refuse(Operation::Get, Answer::SlowDown), 1).await;
    let store: DynStore = Arc::new(w.store.clone());
    let (one, other) = (Meter::default(), Meter::default());
    let (mine, theirs) = (metered(&store, &one), metered(&store, &other));
    mine.put("key", "bytes".into(), Put::IfAbsent).await.expect("writable");
    let again = mine.put("key", "other".into(), Put::IfAbsent).await;
    assert!(matches!(again, Err(StoreError::Exists { .. })), "{again:?}");
    mine.get("key", Default::default()).await.expect("it was throttled once");
    theirs.list("").await.expect("a bucket");
    // Of nobody's.
    store.head("key").await.expect("there");

    let counts = one.counts();
    assert_eq!(of(&counts, StoreRequest::Put, Accepted), 1, "{counts:?}");
    assert_eq!(of(&counts, StoreRequest::Put, Refused), 1, "{counts:?}");
    assert_eq!(of(&counts, StoreRequest::Get, Throttled), 1, "{counts:?}");
    assert_eq!(of(&counts, StoreRequest::Get, Accepted), 1, "{counts:?}");
    // It looked whether it was its own write that was there.
    assert_eq!(of(&counts, StoreRequest::Head, Accepted), 1, "{counts:?}");
    assert_eq!((counts.read_bytes, counts.written_bytes, counts.of(StoreRequest::List)), (5, 5, 0));
    let theirs = other.counts();
    assert_eq!((theirs.of(StoreRequest::List), theirs.requests.len(), theirs.read_bytes), (1, 1, 0));
    // The process has asked all of that.
    let all: u64 = pace::counts().iter().map(|(_, counts)| counts.of(StoreRequest::Head)).sum();
    assert!(all >= 2, "{all}");
}

#[tokio::test(flavor = "multi_thread")]
async fn uploads_in_parts_and_copies_are_counted_as_what_they_are() {
    let w = world(Fault::Nothing, 0).await;
    let meter = Meter::default();
    let store = metered(&(Arc::new(w.store.clone()) as DynStore), &meter);
    store.put("key", large(), Put::Overwrite).await.expect("writable");
    copy(store.as_ref(), "key", store.as_ref(), "copy").await.expect("it was just written");
    let counts = meter.counts();
    let parts = (large().len() as u64).div_ceil(16 << 20);
    let of = |request| counts.of(request);
    assert_eq!((of(StoreRequest::CreateUpload), of(StoreRequest::CompleteUpload), of(StoreRequest::Copy)), (1, 1, 1));
    assert_eq!((of(StoreRequest::UploadPart), of(StoreRequest::Put), of(StoreRequest::Get)), (parts, 0, 0));
    assert_eq!((counts.written_bytes, counts.read_bytes), (large().len() as u64, 0), "a copy stays where it is");
}

#[tokio::test]
async fn a_store_that_makes_no_requests_is_just_that() {
    let (store, meter): (DynStore, _) = (Arc::new(mr_storage::Memory::new()), Meter::default());
    let counted = metered(&store, &meter);
    counted.put("key", "bytes".into(), Put::Overwrite).await.expect("writable");
    assert_eq!(store.get("key", Default::default()).await.expect("it is the same").bytes, "bytes");
    assert_eq!(meter.counts(), StoreCounts::default());
}
