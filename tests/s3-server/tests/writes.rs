//! Writes whose answers are lost, that meet others, or that fail behind a head that says 200.

mod faulty;

use faulty::*;
use mr_storage::{Put, Store, StoreError, copy};
use std::sync::atomic::Ordering;

#[tokio::test(flavor = "multi_thread")]
async fn a_write_knows_its_own_object_again() {
    let w = world(Fault::LoseAnswer(Operation::Put), 1).await;
    let first = w.store.put("key", "one".into(), Put::IfAbsent).await.expect("it was written, if unheard");
    assert_eq!(read(&w.store).await.expect("there"), b"one");
    let again = w.store.put("key", "one".into(), Put::IfAbsent).await;
    assert!(matches!(again, Err(StoreError::Exists { .. })), "another write of the same bytes is another: {again:?}");
    let second = w.store.put("key", "two".into(), Put::IfMatch(first)).await.expect("nobody came between");

    let w = world(Fault::LoseAnswer(Operation::Put), 2).await;
    w.store.put("key", "one".into(), Put::Overwrite).await.expect("again is the same");
    let third = w.store.put("key", "two".into(), Put::IfMatch("f97c5d29941bfb1b2fdab0874906ab82".into())).await;
    assert_eq!(third.expect("the MD5 of `one` was there"), second);
    assert!(w.all_struck());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_of_one_version_knows_its_own_object_again() {
    let w = world(Fault::LoseAnswer(Operation::Put), 0).await;
    let first = w.store.put("key", "one".into(), Put::IfAbsent).await.expect("writable");
    w.left.store(1, Ordering::SeqCst);
    // The second try meets 412, since the first has replaced that version already.
    let second = w.store.put("key", "two".into(), Put::IfMatch(first.clone())).await.expect("it was our own");
    assert!(w.all_struck());
    let late = w.store.put("key", "two".into(), Put::IfMatch(first)).await;
    assert!(matches!(late, Err(StoreError::Changed { .. })), "the same bytes from another are another's: {late:?}");
    w.store.put("key", "three".into(), Put::IfMatch(second)).await.expect("the ETag was that of what is there");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_whose_answers_are_all_lost_looks_for_itself() {
    for how in [Put::Overwrite, Put::IfAbsent] {
        let w = world(Fault::LoseAnswer(Operation::Put), usize::MAX).await;
        w.store.put("key", "one".into(), how).await.expect("it is there");
        assert_eq!(read(&w.store).await.expect("there"), b"one");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_in_parts_knows_its_own_object_again() {
    let inside = |answer| Fault::RefuseInside(Operation::Complete, answer);
    for fault in [
        Fault::LoseAnswer(Operation::Complete),
        inside(Answer::SlowDown),
        inside(Answer::InternalError),
        Fault::GarbleAnswerOfComplete,
        Fault::Refuse(Operation::Part, Answer::SlowDown),
        Fault::LoseAnswer(Operation::Part),
        Fault::Race(Operation::Complete, false),
    ] {
        for how in [Put::IfAbsent, Put::Overwrite] {
            let w = world(fault, 1).await;
            let put = w.store.put("key", large(), how.clone()).await;
            let etag = put.unwrap_or_else(|error| panic!("{fault:?} {how:?}: {error:?}"));
            assert!(w.all_struck() && read(&w.store).await.expect("there") == large(), "{fault:?} {how:?}");
            let again = w.store.put("key", large(), Put::IfAbsent).await;
            assert!(matches!(again, Err(StoreError::Exists { .. })), "{again:?}");
            assert_eq!(w.store.head("key").await.expect("there").etag, etag, "{fault:?} {how:?}");
            assert_eq!(w.server.buckets().open_uploads("bucket"), 0, "{fault:?} {how:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_that_is_never_completed_leaves_nothing() {
    for answer in [Answer::SlowDown, Answer::AccessDenied] {
        let w = world(Fault::RefuseInside(Operation::Complete, answer), usize::MAX).await;
        let error = w.store.put("key", large(), Put::IfAbsent).await.expect_err("it was not completed");
        let wanted = if answer == Answer::SlowDown { "Throttled" } else { "Denied" };
        assert!(format!("{error:?}").starts_with(wanted), "{error:?}");
        assert_eq!(w.server.buckets().open_uploads("bucket"), 0);
        assert!(w.store.list("").await.expect("a bucket").is_empty());
    }
}

/// 409: neither write is known to have won. 412: the other has.
#[tokio::test(flavor = "multi_thread")]
async fn a_conflict_is_no_verdict() {
    let race = |other_wins| Fault::Race(Operation::Put, other_wins);
    // The other gave up: the write is made again, and takes place.
    let w = world(race(false), 2).await;
    let etag = w.store.put("key", "ours".into(), Put::IfAbsent).await.expect("nobody wrote");
    assert_eq!(read(&w.store).await.expect("there"), b"ours");
    w.left.store(1, Ordering::SeqCst);
    w.store.put("key", "ours again".into(), Put::IfMatch(etag.clone())).await.expect("nobody wrote");
    assert!(w.all_struck());

    // The other won, with the same bytes at that.
    let w = world(race(true), 1).await;
    let lost = w.store.put("key", "ours".into(), Put::IfAbsent).await;
    assert!(matches!(lost, Err(StoreError::Exists { .. })), "{lost:?}");
    w.left.store(1, Ordering::SeqCst);
    let lost = w.store.put("key", "theirs".into(), Put::IfMatch(etag)).await;
    assert!(matches!(lost, Err(StoreError::Changed { .. })), "{lost:?}");

    // Without end: the caller is told that it does not know, and may ask again.
    let w = world(race(false), usize::MAX).await;
    let error = w.store.put("key", "ours".into(), Put::IfAbsent).await.expect_err("never heard to be written");
    assert!(matches!(error, StoreError::Conflict { .. }) && error.retryable(), "{error:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_is_made_again_until_it_is_one() {
    for fault in [
        Fault::RefuseInside(Operation::Copy, Answer::SlowDown),
        Fault::RefuseInside(Operation::Copy, Answer::InternalError),
        Fault::Refuse(Operation::Copy, Answer::SlowDown),
        Fault::LoseAnswer(Operation::Copy),
    ] {
        let w = world(fault, 2).await;
        w.store.put("from", "bytes".into(), Put::Overwrite).await.expect("writable");
        w.store.put("key", "what was there".into(), Put::Overwrite).await.expect("writable");
        copy(&w.store, "from", &w.store, "key").await.unwrap_or_else(|error| panic!("{fault:?}: {error:?}"));
        assert!(w.all_struck() && read(&w.store).await.expect("there") == b"bytes", "{fault:?}");
    }
    // A 200 is no copy: what can't be made is told, and what was there stays.
    for (answer, wanted) in [(Answer::SlowDown, "Throttled"), (Answer::AccessDenied, "Denied")] {
        let w = world(Fault::RefuseInside(Operation::Copy, answer), usize::MAX).await;
        w.store.put("from", "bytes".into(), Put::Overwrite).await.expect("writable");
        w.store.put("key", "what was there".into(), Put::Overwrite).await.expect("writable");
        let error = copy(&w.store, "from", &w.store, "key").await.expect_err("it was refused");
        assert!(format!("{error:?}").starts_with(wanted), "{answer:?} gives {error:?}");
        assert_eq!(read(&w.store).await.expect("there"), b"what was there");
    }
}
