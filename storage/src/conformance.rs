//! What every store must answer, so that callers need not know which one they have.
//!
//! One suite for all: named cases, each in a folder of its own below the store's root. A case that fails says what it
//! saw, and the others run all the same. The suite lies in the library, not in its tests, so that other crates can run
//! it on stores that need a server.

use crate::{GetOptions, Got, Object, Put, Store, StoreError, check_conditional_writes, copy, object_url};
use bytes::Bytes;
use futures::future::{BoxFuture, join_all};
use std::fmt;

/// Runs every case on `store` and leaves nothing behind. The store may hold other objects.
pub async fn run(store: &dyn Store) -> Result<(), Failures> {
    let mut failures = Vec::new();
    for (name, case) in CASES {
        let folder = format!("_conformance-{}/{name}", crate::unique::unique());
        let world = World { store, folder };
        let outcome = case(&world).await;
        world.sweep().await;
        if let Err(what) = outcome {
            failures.push(format!("{name}: {what}"));
        }
    }
    match failures.is_empty() {
        true => Ok(()),
        false => Err(Failures { url: store.url().into(), failures }),
    }
}

/// The cases that did not hold, each with what was seen.
#[derive(Debug)]
pub struct Failures {
    pub url: String,
    pub failures: Vec<String>,
}

impl fmt::Display for Failures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (failed, all) = (self.failures.len(), CASES.len());
        write!(f, "{} fails {failed} of {all} cases", self.url)?;
        self.failures.iter().try_for_each(|line| write!(f, "\n  {line}"))
    }
}

impl std::error::Error for Failures {}

type Outcome = Result<(), String>;
type Case = for<'a> fn(&'a World<'a>) -> BoxFuture<'a, Outcome>;

macro_rules! cases {
    ($($name:ident,)*) => {
        const CASES: &[(&str, Case)] = &[$((stringify!($name), |world| Box::pin($name(world))),)*];
    };
}

cases! {
    what_is_put_can_be_got,
    an_empty_object_is_an_object,
    etags_agree_and_follow_the_content,
    get_if_match_sees_another_version,
    ranges_are_cut_to_the_object,
    what_is_absent_is_not_found,
    deleting_twice_is_fine,
    if_absent_spares_what_is_there,
    if_match_replaces_one_version_only,
    of_sixteen_racers_one_creates,
    of_sixteen_racers_one_replaces,
    readers_see_whole_versions,
    listing_is_in_the_order_of_whole_keys,
    a_prefix_may_end_inside_a_name,
    a_listing_has_all_pages,
    strange_names_come_back,
    long_keys_work,
    keys_stay_inside_the_root,
    a_copy_is_whole_and_replaces,
    large_objects_keep_their_promises,
    files_are_written_as_their_bytes_would_be,
    conditional_writes_are_honoured,
}

/// One case's corner of the store: keys are below its folder.
struct World<'a> {
    store: &'a dyn Store,
    folder: String,
}

impl World<'_> {
    fn key(&self, key: &str) -> String {
        format!("{}/{key}", self.folder)
    }

    async fn put(&self, key: &str, bytes: &[u8], how: Put) -> Result<String, StoreError> {
        self.store.put(&self.key(key), Bytes::copy_from_slice(bytes), how).await
    }

    async fn get(&self, key: &str) -> Result<Got, StoreError> {
        self.get_with(key, GetOptions::default()).await
    }

    async fn get_with(&self, key: &str, options: GetOptions) -> Result<Got, StoreError> {
        self.store.get(&self.key(key), options).await
    }

    async fn head(&self, key: &str) -> Result<Object, StoreError> {
        self.store.head(&self.key(key)).await
    }

    async fn delete(&self, key: &str) -> Result<(), StoreError> {
        self.store.delete(&self.key(key)).await
    }

    /// Keys without the case's folder.
    async fn list(&self, prefix: &str) -> Result<Vec<Object>, String> {
        let mut objects = self.store.list(&self.key(prefix)).await.map_err(seen)?;
        for object in &mut objects {
            let key = object.key.strip_prefix(&format!("{}/", self.folder));
            object.key = key.ok_or(format!("{} is not below {}", object.key, self.folder))?.into();
        }
        Ok(objects)
    }

    async fn keys(&self, prefix: &str) -> Result<Vec<String>, String> {
        Ok(self.list(prefix).await?.into_iter().map(|object| object.key).collect())
    }

    async fn sweep(&self) {
        let objects = self.store.list(&self.key("")).await.unwrap_or_default();
        join_all(objects.iter().map(|object| self.store.delete(&object.key))).await;
    }
}

fn seen(error: StoreError) -> String {
    let mut text = format!("{error}");
    let mut cause = std::error::Error::source(&error);
    while let Some(error) = cause {
        text += &format!(": {error}");
        cause = error.source();
    }
    text
}

fn ensure(holds: bool, otherwise: impl FnOnce() -> String) -> Outcome {
    if holds { Ok(()) } else { Err(otherwise()) }
}

fn same<T: PartialEq + fmt::Debug>(what: &str, got: T, wanted: T) -> Outcome {
    ensure(got == wanted, || format!("{what} is {got:?} and should be {wanted:?}"))
}

/// The answer must be an error of this variant.
macro_rules! expect_error {
    ($answer:expr, $variant:ident) => {
        match $answer {
            Err(StoreError::$variant { .. }) => {}
            Err(error) => {
                return Err(format!("wanted {}, got {error:?}", stringify!($variant)));
            }
            Ok(answer) => {
                return Err(format!("wanted {}, got {answer:?}", stringify!($variant)));
            }
        }
    };
}

async fn what_is_put_can_be_got(w: &World<'_>) -> Outcome {
    let all: Vec<u8> = (0..=255).collect();
    w.put("deep/er/bytes", &all, Put::Overwrite).await.map_err(seen)?;
    same("content", w.get("deep/er/bytes").await.map_err(seen)?.bytes.to_vec(), all)?;
    w.put("deep/er/bytes", b"again", Put::Overwrite).await.map_err(seen)?;
    same("content", &w.get("deep/er/bytes").await.map_err(seen)?.bytes[..], b"again")
}

async fn an_empty_object_is_an_object(w: &World<'_>) -> Outcome {
    let etag = w.put("empty", b"", Put::IfAbsent).await.map_err(seen)?;
    same("content", w.get("empty").await.map_err(seen)?.bytes.len(), 0)?;
    let object = Object { key: "empty".into(), bytes: 0, etag };
    same("listing", w.list("").await?, vec![object])
}

async fn etags_agree_and_follow_the_content(w: &World<'_>) -> Outcome {
    let put = w.put("object", b"one", Put::Overwrite).await.map_err(seen)?;
    same("get's etag", w.get("object").await.map_err(seen)?.etag, put.clone())?;
    let head = w.head("object").await.map_err(seen)?;
    same("head's key", head.key, w.key("object"))?;
    same("head's size", head.bytes, 3)?;
    same("head's etag", head.etag, put.clone())?;
    same("listed etag", w.list("").await?[0].etag.clone(), put.clone())?;
    ensure(!put.is_empty() && !put.contains('"'), || format!("the etag is {put:?}"))?;
    let second = w.put("object", b"two", Put::Temporary).await.map_err(seen)?;
    same("content", &w.get("object").await.map_err(seen)?.bytes[..], b"two")?;
    ensure(second != put, || format!("both versions have the etag {put}"))
}

async fn get_if_match_sees_another_version(w: &World<'_>) -> Outcome {
    let first = w.put("object", b"one", Put::Overwrite).await.map_err(seen)?;
    let got = w.get_with("object", GetOptions::if_match(&first)).await.map_err(seen)?;
    same("content", &got.bytes[..], b"one")?;
    w.put("object", b"two", Put::Overwrite).await.map_err(seen)?;
    expect_error!(w.get_with("object", GetOptions::if_match(&first)).await, Changed);
    let part = GetOptions { if_match: Some(first), range: Some(0..1) };
    expect_error!(w.get_with("object", part).await, Changed);
    Ok(())
}

async fn ranges_are_cut_to_the_object(w: &World<'_>) -> Outcome {
    let etag = w.put("ten", b"0123456789", Put::Overwrite).await.map_err(seen)?;
    for (range, wanted) in [(0..10, "0123456789"), (0..1, "0"), (3..7, "3456"), (9..10, "9"), (8..99, "89"), (4..4, "")]
    {
        let got = w.get_with("ten", GetOptions::range(range.clone())).await.map_err(seen)?;
        same(&format!("{range:?}"), &got.bytes[..], wanted.as_bytes())?;
        same("a range's etag", &got.etag, &etag)?;
    }
    expect_error!(w.get_with("ten", GetOptions::range(10..12)).await, Fatal);
    Ok(())
}

async fn what_is_absent_is_not_found(w: &World<'_>) -> Outcome {
    w.put("there/x", b"x", Put::Overwrite).await.map_err(seen)?;
    for key in ["absent", "there", "there/y", "no/where", "there/x/y"] {
        expect_error!(w.get(key).await, NotFound);
        expect_error!(w.head(key).await, NotFound);
        expect_error!(w.get_with(key, GetOptions::if_match("e")).await, NotFound);
    }
    same("a listing of nothing", w.keys("absent/").await?, vec![])?;
    same("a listing below an object", w.keys("there/x/").await?, vec![])
}

async fn deleting_twice_is_fine(w: &World<'_>) -> Outcome {
    w.put("a/b", b"x", Put::Overwrite).await.map_err(seen)?;
    w.put("a/c", b"x", Put::Overwrite).await.map_err(seen)?;
    for key in ["a/b", "a/b", "a/b/c", "no/where", "a"] {
        w.delete(key).await.map_err(seen)?;
    }
    expect_error!(w.get("a/b").await, NotFound);
    same("what is left", w.keys("").await?, vec!["a/c".to_string()])
}

async fn if_absent_spares_what_is_there(w: &World<'_>) -> Outcome {
    w.put("object", b"first", Put::IfAbsent).await.map_err(seen)?;
    expect_error!(w.put("object", b"second", Put::IfAbsent).await, Exists);
    // The same bytes from another writer are another write all the same.
    expect_error!(w.put("object", b"first", Put::IfAbsent).await, Exists);
    same("content", &w.get("object").await.map_err(seen)?.bytes[..], b"first")?;
    w.delete("object").await.map_err(seen)?;
    w.put("object", b"third", Put::IfAbsent).await.map_err(seen)?;
    same("content", &w.get("object").await.map_err(seen)?.bytes[..], b"third")
}

async fn if_match_replaces_one_version_only(w: &World<'_>) -> Outcome {
    expect_error!(w.put("object", b"zero", Put::IfMatch("e".into())).await, Changed);
    expect_error!(w.get("object").await, NotFound);
    let first = w.put("object", b"one", Put::Overwrite).await.map_err(seen)?;
    let second = w.put("object", b"two", Put::IfMatch(first.clone())).await.map_err(seen)?;
    expect_error!(w.put("object", b"three", Put::IfMatch(first)).await, Changed);
    same("content", &w.get("object").await.map_err(seen)?.bytes[..], b"two")?;
    same("etag", w.head("object").await.map_err(seen)?.etag, second)
}

async fn of_sixteen_racers_one_creates(w: &World<'_>) -> Outcome {
    for round in 0..4 {
        race(w, &format!("round/{round}"), Put::IfAbsent).await?;
    }
    Ok(())
}

async fn of_sixteen_racers_one_replaces(w: &World<'_>) -> Outcome {
    for round in 0..4 {
        let key = format!("round/{round}");
        let etag = w.put(&key, b"before", Put::Overwrite).await.map_err(seen)?;
        race(w, &key, Put::IfMatch(etag)).await?;
    }
    Ok(())
}

/// Sixteen writers at once, each with its own bytes: one is told that it won, and its bytes are what is there.
async fn race(w: &World<'_>, key: &str, how: Put) -> Outcome {
    let racers = (0..16).map(|racer| {
        let (bytes, how) = (format!("racer {racer}"), how.clone());
        async move {
            // Who is told of a conflict does not know yet and asks again, as a caller would.
            for _ in 0..100 {
                match w.put(key, bytes.as_bytes(), how.clone()).await {
                    Ok(_) => return Ok(Some(bytes)),
                    Err(StoreError::Exists { .. } | StoreError::Changed { .. }) => return Ok(None),
                    Err(StoreError::Conflict { .. }) => {}
                    Err(error) => return Err(seen(error)),
                }
            }
            Err("a conflict without end".to_string())
        }
    });
    let answers: Vec<_> = join_all(racers).await.into_iter().collect::<Result<_, _>>()?;
    let winners: Vec<_> = answers.into_iter().flatten().collect();
    same("the number of winners", winners.len(), 1)?;
    let there = w.get(key).await.map_err(seen)?.bytes;
    same("what is there", String::from_utf8_lossy(&there).into_owned(), winners[0].clone())
}

async fn readers_see_whole_versions(w: &World<'_>) -> Outcome {
    let version = |n: u8| vec![n; 200_000 + usize::from(n)];
    w.put("object", &version(0), Put::Overwrite).await.map_err(seen)?;
    let write = async {
        for n in 1..30 {
            w.put("object", &version(n), Put::Overwrite).await.map_err(seen)?;
        }
        Ok(())
    };
    let read = async {
        for _ in 0..60 {
            let bytes = w.get("object").await.map_err(seen)?.bytes;
            let n = bytes[0];
            ensure(bytes == version(n), || format!("a read mixed versions near {n}"))?;
        }
        Ok(())
    };
    let (written, first, second) = futures::join!(write, read, async {
        for _ in 0..20 {
            let listed = w.list("").await?;
            same("the number of listed objects", listed.len(), 1)?;
        }
        Ok(())
    });
    written.and(first).and(second)
}

async fn listing_is_in_the_order_of_whole_keys(w: &World<'_>) -> Outcome {
    let sorted = [
        "A/z", "a b/x", "a!", "a-b/x", "a.jpg", "a/b c/1", "a/b-c", "a/b/1", "a/b/2", "a/x", "a0", "ab/x", "z", "é",
        "日本",
    ];
    let mut shuffled = sorted;
    shuffled.reverse();
    shuffled.swap(2, 9);
    for key in shuffled {
        w.put(key, key.as_bytes(), Put::Overwrite).await.map_err(seen)?;
    }
    same("the order", w.keys("").await?, sorted.map(String::from).into())?;
    let sizes: Vec<_> = w.list("").await?.iter().map(|object| object.bytes).collect();
    same("the sizes", sizes, sorted.map(|key| key.len() as u64).into())
}

async fn a_prefix_may_end_inside_a_name(w: &World<'_>) -> Outcome {
    for key in ["part", "part-0", "part-1/x", "parts", "q", "_log/part-1"] {
        w.put(key, b"x", Put::Overwrite).await.map_err(seen)?;
    }
    for (prefix, wanted) in [
        ("part", &["part", "part-0", "part-1/x", "parts"][..]),
        ("part-", &["part-0", "part-1/x"]),
        ("part-1/", &["part-1/x"]),
        ("_log/p", &["_log/part-1"]),
        ("_l", &["_log/part-1"]),
        ("nothing", &[]),
    ] {
        let wanted: Vec<String> = wanted.iter().map(|key| key.to_string()).collect();
        same(&format!("what begins with {prefix:?}"), w.keys(prefix).await?, wanted)?;
    }
    Ok(())
}

async fn a_listing_has_all_pages(w: &World<'_>) -> Outcome {
    let keys: Vec<_> = (0..1203).map(|n| format!("{}/{n:04}", n / 100)).collect();
    for chunk in keys.chunks(64) {
        let puts = chunk.iter().map(|key| w.put(key, b"x", Put::Overwrite));
        join_all(puts).await.into_iter().collect::<Result<Vec<_>, _>>().map_err(seen)?;
    }
    let mut sorted = keys;
    sorted.sort();
    let listed = w.keys("").await?;
    same("the number of keys", listed.len(), sorted.len())?;
    ensure(listed == sorted, || "the keys are others or in another order".into())
}

async fn strange_names_come_back(w: &World<'_>) -> Outcome {
    let mut names = [
        "with space",
        "plus+sign",
        "per%41cent",
        "a&b",
        "<tag>",
        "quo\"te",
        "it's",
        "ü",
        "日本語",
        "hash#tag",
        "ques?tion",
        "semi;colon",
        "equals=",
        "back\\slash",
        ".hidden",
        "tilde~",
        "star*",
        "..dots..",
        "tab\there",
        "🍎",
        "comma,",
        "@",
        "[1]{2}",
        "a|b^c`d",
    ];
    names.sort_unstable();
    for name in names {
        w.put(name, name.as_bytes(), Put::IfAbsent).await.map_err(seen)?;
    }
    same("the listing", w.keys("").await?, names.map(String::from).into())?;
    for name in names {
        same(name, &w.get(name).await.map_err(seen)?.bytes[..], name.as_bytes())?;
        same(name, w.head(name).await.map_err(seen)?.bytes, name.len() as u64)?;
        copy(w.store, &w.key(name), w.store, &w.key(&format!("{name}-copy"))).await.map_err(seen)?;
        let copied = w.get(&format!("{name}-copy")).await.map_err(seen)?;
        same("the copy", &copied.bytes[..], name.as_bytes())?;
        w.delete(name).await.map_err(seen)?;
    }
    same("what is left", w.keys("").await?.len(), names.len())
}

async fn long_keys_work(w: &World<'_>) -> Outcome {
    // S3's limit is 1,024 bytes, a store's own prefix among them.
    let room = 1024 - 100 - w.key("").len();
    let segment = "segment-".repeat(25);
    let long: String = format!("{segment}/").repeat(6).chars().take(room - 1).chain(['x']).collect();
    w.put(&long, b"far", Put::IfAbsent).await.map_err(seen)?;
    same("content", &w.get(&long).await.map_err(seen)?.bytes[..], b"far")?;
    same("the listing", w.keys("seg").await?, vec![long])
}

async fn keys_stay_inside_the_root(w: &World<'_>) -> Outcome {
    for key in ["", "/etc/x", "../x", "a/../../x", "a//b", "a/", "./x"] {
        let put = w.store.put(key, Bytes::from_static(b"x"), Put::Overwrite).await;
        expect_error!(put, Fatal);
    }
    Ok(())
}

async fn a_copy_is_whole_and_replaces(w: &World<'_>) -> Outcome {
    let (store, from, to) = (w.store, w.key("from"), w.key("far/off/to"));
    expect_error!(copy(store, &from, store, &to).await, NotFound);
    w.put("from", b"one", Put::Overwrite).await.map_err(seen)?;
    copy(store, &from, store, &to).await.map_err(seen)?;
    // Twice, since the second copy meets the first.
    copy(store, &from, store, &to).await.map_err(seen)?;
    same("the copy", &w.get("far/off/to").await.map_err(seen)?.bytes[..], b"one")?;
    w.put("from", b"two", Put::Overwrite).await.map_err(seen)?;
    same("the copy", &w.get("far/off/to").await.map_err(seen)?.bytes[..], b"one")?;
    copy(store, &from, store, &to).await.map_err(seen)?;
    same("the copy", &w.get("far/off/to").await.map_err(seen)?.bytes[..], b"two")?;
    w.delete("from").await.map_err(seen)?;
    same("the listing", w.keys("").await?, vec!["far/off/to".to_string()])?;
    let memory = crate::Memory::new();
    copy(store, &to, &memory, "to").await.map_err(seen)?;
    copy(&memory, "to", store, &from).await.map_err(seen)?;
    same("there and back", &w.get("from").await.map_err(seen)?.bytes[..], b"two")
}

async fn large_objects_keep_their_promises(w: &World<'_>) -> Outcome {
    // Above the size from which S3 is written to in parts, and no multiple of it.
    let bytes: Bytes = (0..35_000_001_u32).map(|n| (n ^ (n >> 11)) as u8).collect();
    let put = async |how| w.store.put(&w.key("large"), bytes.clone(), how).await;
    let etag = put(Put::IfAbsent).await.map_err(seen)?;
    let got = w.get_with("large", GetOptions::if_match(&etag)).await.map_err(seen)?;
    ensure(got.bytes == bytes, || "the bytes are others".into())?;
    expect_error!(put(Put::IfAbsent).await, Exists);
    let second = put(Put::IfMatch(etag.clone())).await.map_err(seen)?;
    expect_error!(put(Put::IfMatch("another".into())).await, Changed);
    same("size", w.head("large").await.map_err(seen)?.bytes, bytes.len() as u64)?;
    let range = 16_777_210..16_777_230;
    let got = w.get_with("large", GetOptions::range(range.clone())).await.map_err(seen)?;
    let wanted = bytes.slice(range.start as usize..range.end as usize);
    same("a range across parts", got.bytes, wanted)?;
    same("its etag", got.etag, second)?;
    copy(w.store, &w.key("large"), w.store, &w.key("copy")).await.map_err(seen)?;
    ensure(w.get("copy").await.map_err(seen)?.bytes == bytes, || "the copy is another".into())?;
    ensure(object_url(w.store.url(), "x").ends_with("/x"), || w.store.url().into())
}

async fn files_are_written_as_their_bytes_would_be(w: &World<'_>) -> Outcome {
    // Nothing, little, and more than S3 is written to at once.
    for (name, length) in [("none", 0), ("few", 1000), ("many", 17_000_001_u32)] {
        let bytes: Vec<u8> = (0..length).map(|n| (n ^ (n >> 9)) as u8).collect();
        let put = async |how| {
            let file = std::env::temp_dir().join(format!("mr-conformance-{}", crate::unique::unique()));
            std::fs::write(&file, &bytes).map_err(|error| StoreError::from_io("writing a file", error))?;
            let put = w.store.put_file(&w.key(name), &file, how).await;
            // It may have been taken from there.
            _ = std::fs::remove_file(&file);
            put
        };
        let etag = put(Put::IfAbsent).await.map_err(seen)?;
        let got = w.get_with(name, GetOptions::if_match(&etag)).await.map_err(seen)?;
        ensure(got.bytes == bytes, || format!("the bytes of {name} are others"))?;
        expect_error!(put(Put::IfAbsent).await, Exists);
        expect_error!(put(Put::IfMatch("another".into())).await, Changed);
        put(Put::IfMatch(etag)).await.map_err(seen)?;
        put(Put::Temporary).await.map_err(seen)?;
        same("its size", w.head(name).await.map_err(seen)?.bytes, u64::from(length))?;
    }
    let missing = std::env::temp_dir().join(format!("mr-conformance-{}", crate::unique::unique()));
    let refused = w.store.put_file(&w.key("missing"), &missing, Put::Overwrite).await;
    ensure(refused.is_err(), || "a file that is not there was written".into())?;
    expect_error!(w.get("missing").await, NotFound);
    Ok(())
}

async fn conditional_writes_are_honoured(w: &World<'_>) -> Outcome {
    check_conditional_writes(w.store, &w.key("")).await.map_err(seen)?;
    same("what the probe leaves", w.keys("").await?, vec![])
}
