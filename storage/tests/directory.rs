//! What a directory does beyond the suite: files that others made, links, and names that are no keys.

use mr_storage::{Directory, GetOptions, Put, Store, StoreError, copy};
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, symlink};
use std::time::{Duration, SystemTime};

fn world() -> (tempfile::TempDir, Directory) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let store = Directory::open(folder.path()).expect("an absolute path");
    (folder, store)
}

async fn keys(store: &Directory) -> Vec<String> {
    let listed = store.list("").await.expect("it can be listed");
    listed.into_iter().map(|object| object.key).collect()
}

fn story(error: &StoreError) -> String {
    let cause = std::error::Error::source(error).map(ToString::to_string);
    format!("{error}: {}", cause.unwrap_or_default())
}

#[tokio::test]
async fn a_missing_root_is_told_from_an_empty_one() {
    let (folder, store) = world();
    assert_eq!(keys(&store).await, [""; 0]);
    let missing = Directory::open(&folder.path().join("missing")).expect("an absolute path");
    assert!(matches!(missing.list("").await, Err(StoreError::NotFound { .. })));
    assert!(matches!(missing.list("a/b").await, Err(StoreError::NotFound { .. })));
    fs::write(folder.path().join("file"), "x").expect("writable");
    let file = Directory::open(&folder.path().join("file")).expect("an absolute path");
    assert!(matches!(file.list("").await, Err(StoreError::Fatal { .. })));
}

#[tokio::test]
async fn nothing_is_written_into_a_folder_that_took_the_place_of_a_pinned_one() {
    let (folder, store) = world();
    let (root, away) = (folder.path().join("root"), folder.path().join("away"));
    let store = {
        drop(store);
        Directory::open(&root).expect("an absolute path")
    };
    assert!(store.pin().await.is_err(), "there is nothing to be pinned yet");
    store.put("a", "one".into(), Put::IfAbsent).await.expect("it is made");
    store.pin().await.expect("now there is");
    store.put("b", "two".into(), Put::IfAbsent).await.expect("it is the same");
    // As if it were unmounted, and then mounted again.
    fs::rename(&root, &away).expect("it can be moved");
    for there in [false, true] {
        if there {
            fs::create_dir(&root).expect("there is room");
        }
        let refused = store.put("c", "three".into(), Put::IfAbsent).await.unwrap_err();
        assert!(refused.retryable() && story(&refused).contains("is it still mounted?"), "{}", story(&refused));
        assert!(store.delete("c").await.is_err());
        assert_eq!(root.exists(), there, "it is not made anew");
    }
    fs::remove_dir(&root).expect("it is empty");
    fs::rename(&away, &root).expect("it can be moved");
    store.put("c", "three".into(), Put::IfAbsent).await.expect("it is back");
    assert!(store.holds_anything().await);
    assert!(!Directory::open(&away).expect("an absolute path").holds_anything().await);
}

#[tokio::test]
async fn one_folder_has_one_url() {
    let (folder, _) = world();
    let typed = format!("{}/.//x y/", folder.path().display());
    let store = Directory::open(typed.as_ref()).expect("an absolute path");
    assert_eq!(store.url(), format!("file://{}/x y/", folder.path().display()));
    assert!(matches!(Directory::open("relative".as_ref()), Err(StoreError::Fatal { .. })));
    assert_eq!(Directory::open("/".as_ref()).expect("an absolute path").url(), "file:///");
}

#[tokio::test]
async fn a_name_that_is_not_utf8_is_named() {
    let (folder, store) = world();
    fs::write(folder.path().join(OsStr::from_bytes(b"bad\xff.jpg")), "x").expect("writable");
    let error = store.list("").await.expect_err("no key can be made of it");
    assert!(matches!(error, StoreError::Fatal { .. }) && story(&error).contains(r"bad\xFF.jpg"), "{}", story(&error));
    assert!(story(&error).contains("rename it"), "{}", story(&error));
}

#[tokio::test]
async fn links_are_followed_and_circles_are_not() {
    let (folder, store) = world();
    let elsewhere = tempfile::tempdir().expect("a temporary folder");
    fs::write(elsewhere.path().join("photo"), "bytes").expect("writable");
    fs::create_dir(folder.path().join("a")).expect("writable");
    fs::write(folder.path().join("a/file"), "x").expect("writable");
    for (name, target) in [
        ("link", elsewhere.path().join("photo")),
        ("folder", elsewhere.path().into()),
        ("a/up", folder.path().into()),
        ("a/here", folder.path().join("a")),
    ] {
        symlink(target, folder.path().join(name)).expect("writable");
    }
    assert_eq!(keys(&store).await, ["a/file", "folder/photo", "link"]);
    let got = store.get("link", GetOptions::default()).await.expect("it leads somewhere");
    assert_eq!(&got.bytes[..], b"bytes");
    // Replacing a link replaces the link, not the file of somebody else.
    store.put("link", "new".into(), Put::Overwrite).await.expect("writable");
    assert_eq!(fs::read(elsewhere.path().join("photo")).expect("untouched"), b"bytes");
    symlink("nowhere", folder.path().join("broken")).expect("writable");
    assert_eq!(keys(&store).await, ["a/file", "broken", "folder/photo", "link"]);
    let error = store.get("broken", GetOptions::default()).await.expect_err("it leads nowhere");
    assert!(matches!(error, StoreError::NotFound { .. }), "{}", story(&error));
    symlink("circle", folder.path().join("circle")).expect("writable");
    let error = store.list("").await.expect_err("it leads nowhere either");
    assert!(matches!(error, StoreError::Fatal { .. }) && story(&error).contains("circle"), "{}", story(&error));
}

#[tokio::test]
async fn what_is_neither_file_nor_folder_is_left_alone() {
    let (folder, store) = world();
    let pipe = folder.path().join("pipe");
    let made = std::process::Command::new("mkfifo").arg(&pipe).status();
    assert!(made.expect("mkfifo is there").success());
    assert_eq!(keys(&store).await, [""; 0]);
    let reading = store.get("pipe", GetOptions::default());
    let answer = tokio::time::timeout(Duration::from_secs(5), reading).await.expect("it must not wait for a writer");
    assert!(matches!(answer, Err(StoreError::Fatal { .. })), "{answer:?}");
}

#[tokio::test]
async fn a_file_changed_where_it_lies_is_another_version() {
    let (folder, store) = world();
    let path = folder.path().join("photo");
    fs::write(&path, "one").expect("writable");
    let listed = store.list("").await.expect("listed").remove(0);
    let frozen = || GetOptions::if_match(&listed.etag);
    assert_eq!(&store.get("photo", frozen()).await.expect("unchanged").bytes[..], b"one");
    // The same size and the same file: only the time tells.
    fs::write(&path, "two").expect("writable");
    assert!(matches!(store.get("photo", frozen()).await, Err(StoreError::Changed { .. })));
    let put = store.put("photo", "x".into(), Put::IfMatch(listed.etag.clone())).await;
    assert!(matches!(put, Err(StoreError::Changed { .. })));
    assert_eq!(fs::read(&path).expect("there"), b"two");
}

#[tokio::test]
async fn unfinished_files_are_not_seen_and_old_ones_go() {
    let (folder, store) = world();
    for (name, age) in [("new", 60), ("old", 2 * 24 * 60 * 60)] {
        let file = fs::File::create(folder.path().join(format!(".~mr-put-{name}"))).expect("writable");
        file.set_modified(SystemTime::now() - Duration::from_secs(age)).expect("our own");
    }
    assert_eq!(keys(&store).await, [""; 0]);
    assert!(folder.path().join(".~mr-put-new").exists(), "its writer may be at work");
    assert!(!folder.path().join(".~mr-put-old").exists());
    let put = store.put(".~mr-put-x", "x".into(), Put::Overwrite).await;
    assert!(matches!(put, Err(StoreError::Fatal { .. })));
}

#[tokio::test]
async fn a_folder_in_the_way_is_an_error() {
    let (folder, store) = world();
    fs::create_dir(folder.path().join("a")).expect("writable");
    for how in [Put::Overwrite, Put::IfAbsent, Put::IfMatch("e".into())] {
        let put = store.put("a", "x".into(), how.clone()).await;
        assert!(put.is_err(), "{how:?}");
    }
    store.put("file", "x".into(), Put::IfAbsent).await.expect("writable");
    let below = store.put("file/x", "x".into(), Put::IfAbsent).await;
    assert!(matches!(below, Err(StoreError::Fatal { .. })), "{below:?}");
    let left: Vec<_> = fs::read_dir(folder.path()).expect("there").map(|e| e.expect("there").file_name()).collect();
    assert_eq!(left.len(), 2, "no unfinished file stays: {left:?}");
}

#[tokio::test]
async fn a_copy_on_one_file_system_is_a_link() {
    let (folder, store) = world();
    let other = Directory::open(&folder.path().join("other")).expect("an absolute path");
    store.put("a", "bytes".into(), Put::Overwrite).await.expect("writable");
    copy(&store, "a", &other, "b/c").await.expect("both are there");
    let inode = |path| fs::metadata(folder.path().join(path)).expect("there").ino();
    assert_eq!(inode("a"), inode("other/b/c"));
    // Writing to one name must not show under the other.
    store.put("a", "again".into(), Put::Overwrite).await.expect("writable");
    assert_eq!(&other.get("b/c", GetOptions::default()).await.expect("there").bytes[..], b"bytes");
}

/// Puts and deletes next to one another: a folder that goes with its last object must not take a new one with it.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn folders_come_and_go_under_racing_writers() {
    let (_folder, store) = world();
    let store = std::sync::Arc::new(store);
    let writers = (0..8).map(|writer| {
        let store = store.clone();
        tokio::spawn(async move {
            for round in 0..50 {
                let key = format!("shared/deep/{writer}-{round}");
                let how = if round % 2 == 0 { Put::IfAbsent } else { Put::Overwrite };
                store.put(&key, key.clone().into(), how).await.expect("nobody else writes this key");
                let got = store.get(&key, GetOptions::default()).await.expect("it was written");
                assert_eq!(got.bytes, key);
                store.delete(&key).await.expect("it can be deleted");
            }
        })
    });
    for writer in writers.collect::<Vec<_>>() {
        writer.await.expect("no writer failed");
    }
    assert_eq!(keys(&store).await, [""; 0]);
}

#[tokio::test]
async fn a_large_folder_is_listed_whole_and_in_order() {
    let (folder, store) = world();
    for label in 0..67 {
        let path = folder.path().join(format!("label {label}"));
        fs::create_dir(&path).expect("writable");
        for file in 0..60 {
            fs::write(path.join(format!("{file}_100.jpg")), "x").expect("writable");
        }
    }
    let listed = store.list("").await.expect("listed");
    for object in &listed {
        store.get(&object.key, GetOptions::if_match(&object.etag)).await.expect("unchanged");
    }
    assert_eq!(listed.len(), 4020);
    assert!(listed.is_sorted_by(|a, b| a.key < b.key));
}
