//! Storage against an S3 that refuses, asks for patience, loses its way in a listing, or ignores conditions.

mod faulty;

use faulty::*;
use mr_core::StoreShare;
use mr_s3_server::{ACCESS_KEY, SECRET_KEY};
use mr_storage::{Put, S3, Store, StoreError, check_conditional_writes, pace};
use std::sync::atomic::Ordering;

#[tokio::test(flavor = "multi_thread")]
async fn a_listing_that_does_not_go_on_is_none() {
    let w = world(Fault::CutListing, 1).await;
    w.store.put("key", "one".into(), Put::Overwrite).await.expect("writable");
    let cut = w.store.list("").await.expect_err("there may be more than one object");
    assert!(matches!(cut, StoreError::Fatal { .. }), "{cut:?}");
    assert_eq!(w.store.list("").await.expect("whole").len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_that_fails_is_asked_for_again_and_only_that() {
    for answer in [Answer::SlowDown, Answer::InternalError] {
        let w = world(Fault::Refuse(Operation::List, answer), 2).await;
        for key in 0..10 {
            w.store.put(&key.to_string(), "x".into(), Put::Overwrite).await.expect("writable");
        }
        let keys: Vec<_> = w.store.list("").await.expect("in the end").into_iter().map(|object| object.key).collect();
        assert_eq!(keys, ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"], "{answer:?}");
        assert!(w.all_struck());
    }
    let w = world(Fault::Refuse(Operation::List, Answer::AccessDenied), 1).await;
    for key in 0..10 {
        w.store.put(&key.to_string(), "x".into(), Put::Overwrite).await.expect("writable");
    }
    let listed = w.store.list("").await;
    assert!(matches!(listed, Err(StoreError::Denied { .. })), "half a listing is none: {listed:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn deletes_are_made_again_and_say_what_they_could_not() {
    for fault in [
        Fault::Refuse(Operation::Delete, Answer::SlowDown),
        Fault::Refuse(Operation::Delete, Answer::InternalError),
        Fault::LoseAnswer(Operation::Delete),
    ] {
        let w = world(fault, 2).await;
        w.store.put("key", "x".into(), Put::Overwrite).await.expect("writable");
        w.store.delete("key").await.unwrap_or_else(|error| panic!("{fault:?}: {error:?}"));
        assert!(w.all_struck() && w.store.list("").await.expect("a bucket").is_empty(), "{fault:?}");
    }
    let w = world(Fault::Refuse(Operation::Delete, Answer::AccessDenied), 1).await;
    for key in ["a", "b"] {
        w.store.put(key, "x".into(), Put::Overwrite).await.expect("writable");
    }
    // One of several: the others go all the same, and this one is known to be there still.
    assert!(matches!(w.store.delete("a").await, Err(StoreError::Denied { .. })));
    w.store.delete("b").await.expect("it is another");
    assert_eq!(w.store.list("").await.expect("a bucket")[0].key, "a");
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_keep_their_kind() {
    for (answer, wanted) in
        [(Answer::SlowDown, "Throttled"), (Answer::InternalError, "Transient"), (Answer::AccessDenied, "Denied")]
    {
        let w = world(Fault::Refuse(Operation::Get, answer), usize::MAX).await;
        w.store.put("key", "x".into(), Put::Overwrite).await.expect("written");
        let error = read(&w.store).await.expect_err("refused");
        assert!(format!("{error:?}").starts_with(wanted), "{answer:?} gives {error:?}");
        let tries = usize::MAX - w.left.load(Ordering::SeqCst);
        assert_eq!(tries, if answer == Answer::AccessDenied { 1 } else { 5 }, "{answer:?}");
    }
    let w = world(Fault::Refuse(Operation::Get, Answer::SlowDown), 2).await;
    w.store.put("key", "x".into(), Put::Overwrite).await.expect("written");
    assert_eq!(read(&w.store).await.expect("patience helps"), b"x");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_throttled_is_counted_and_what_is_allotted_is_kept_to() {
    let w = world(Fault::Refuse(Operation::Get, Answer::SlowDown), 3).await;
    w.store.put("key", "x".into(), Put::Overwrite).await.expect("written");
    read(&w.store).await.expect("patience helps");
    let mut usage = pace::usage().into_iter().filter(|usage| usage.place.contains(&w.server.endpoint));
    let usage = usage.next().expect("it was asked just now");
    assert!(usage.place.starts_with("s3://bucket "), "{}", usage.place);
    assert_eq!((usage.answers.accepted, usage.answers.throttled), (2, 3));
    // How long it waits for its turns is shown where time is an argument; here, that it waits and all go in the end.
    let share = |place: &str| StoreShare { place: place.into(), requests_per_second: 50.0 };
    pace::obey(&[share("elsewhere"), share(&usage.place)]);
    let reads = futures::future::join_all((0..20).map(|_| read(&w.store))).await;
    assert!(reads.iter().all(Result::is_ok));
    pace::obey(&[]);
    let reads = futures::future::join_all((0..200).map(|_| read(&w.store))).await;
    assert!(reads.iter().all(Result::is_ok));
}

#[tokio::test]
async fn a_stranger_is_denied_and_silence_is_transient() {
    let w = world(Fault::Nothing, 0).await;
    let stranger = S3::at(&w.server.endpoint, ACCESS_KEY, "wrong", "bucket", "");
    assert!(matches!(read(&stranger).await, Err(StoreError::Denied { .. })));
    let nobody = S3::at("http://127.0.0.1:9", ACCESS_KEY, SECRET_KEY, "bucket", "");
    let error = read(&nobody).await.expect_err("nobody listens there");
    assert!(matches!(error, StoreError::Transient { .. }) && error.retryable(), "{error:?}");
    for error in [
        nobody.put("key", "x".into(), Put::IfAbsent).await.expect_err("nor writes"),
        nobody.put("key", large(), Put::Overwrite).await.expect_err("nor in parts"),
        nobody.list("").await.expect_err("nor lists"),
        nobody.delete("key").await.expect_err("nor deletes"),
    ] {
        assert!(matches!(error, StoreError::Transient { .. }), "{error:?}");
    }
}

#[tokio::test]
async fn a_store_that_ignores_conditions_is_refused() {
    let w = world(Fault::IgnoreConditions, usize::MAX).await;
    let error = check_conditional_writes(&w.store, "state/").await.expect_err("two writers would not see each other");
    let cause = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
    assert!(matches!(error, StoreError::Fatal { .. }) && cause.contains("If-None-Match"), "{error}: {cause}");
    assert!(!error.retryable());
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_in_flight_are_bounded() {
    let w = world(Fault::TakeTime, 0).await;
    w.store.put("key", "x".into(), Put::Overwrite).await.expect("written");
    let reads = futures::future::join_all((0..300).map(|_| read(&w.store))).await;
    assert!(reads.into_iter().all(|read| read.is_ok_and(|bytes| bytes == b"x")));
    let most = w.most.load(Ordering::SeqCst);
    assert!((16..=64).contains(&most), "{most} at once");
}

/// On a line that is cut nothing comes back either.
#[tokio::test(flavor = "multi_thread")]
async fn silence_is_waited_out_where_a_store_has_work_to_do_and_asked_again_elsewhere() {
    let w = world(Fault::Hold(Operation::Get), 1).await;
    w.store.put("key", "x".into(), Put::Overwrite).await.expect("written");
    assert_eq!(read(&w.store).await.expect("the second is answered"), b"x");
    assert_eq!(w.gets.load(Ordering::SeqCst), 2);
    for labour in [Operation::Part, Operation::Complete, Operation::Copy] {
        let w = world(Fault::Hold(labour), usize::MAX).await;
        w.store.put("key", large(), Put::Overwrite).await.expect("it takes its time");
        mr_storage::copy(&w.store, "key", &w.store, "copy").await.expect("it takes its time");
        assert!(w.left.load(Ordering::SeqCst) < usize::MAX, "{labour:?} was held");
    }
}
