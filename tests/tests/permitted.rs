//! What the permissions in `infra/iam` do not name is refused: each role asks for each operation in each place. What is
//! allowed stands here by hand, and is not read from the policies.

use aws_sdk_s3::Client;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{CompletedMultipartUpload, CompletedPart, Delete, ObjectIdentifier};
use mr_tests::{Guard, Permissions, Place, Places, S3Server, Scratch, as_written, grants, with_lists};
use std::fs;
use std::sync::Arc;

/// Who asks. The last has a key, and no role.
const ROLES: [&str; 6] = ["coordinator", "coordinator-of-lists", "worker", "submitter", "machine", "stranger"];

/// Where: a name, a bucket and a key.
type At = (&'static str, &'static str, &'static str);

const PLACES: [At; 11] = [
    ("input", "input", "photos/a.jpg"),
    ("journal", "state", "mr/journal/1"),
    ("work", "state", "mr/work/x"),
    ("output", "output", "results/part.parquet"),
    ("release", "release", "mr.tar.gz"),
    // The same buckets have what others keep there, some of it under a name that begins like ours.
    ("beside the input", "input", "photos-of-others/a.jpg"),
    ("beside the state", "state", "other/work/x"),
    ("beside the output", "output", "other/part.parquet"),
    ("beside the release", "release", "mr.tar.gz.key"),
    // Another bucket has keys as ours are.
    ("photos elsewhere", "elsewhere", "photos/a.jpg"),
    ("work elsewhere", "elsewhere", "mr/work/x"),
];

/// `sweep` is to delete several objects with one request; it tells of each what came of it.
const OPERATIONS: [&str; 9] = ["get", "head", "put", "delete", "sweep", "begin", "part", "complete", "abort"];

/// Of objects. A change of `infra/iam` is a change here as well.
const ALLOWED: &[(&str, &str, &str)] = &[
    // A coordinator keeps its books, commits, and sweeps what is left over. It reads no photo.
    ("coordinator", "journal", "get head put delete sweep begin part complete abort"),
    ("coordinator", "work", "get head put delete sweep begin part complete abort"),
    ("coordinator", "output", "get head put delete sweep begin part complete abort"),
    // With lists of keys it asks what they are.
    ("coordinator-of-lists", "input", "get head"),
    ("coordinator-of-lists", "journal", "get head put delete sweep begin part complete abort"),
    ("coordinator-of-lists", "work", "get head put delete sweep begin part complete abort"),
    ("coordinator-of-lists", "output", "get head put delete sweep begin part complete abort"),
    // A worker makes work files: it writes no journal, removes nothing, and neither writes nor reads results.
    ("worker", "input", "get head"),
    ("worker", "journal", "get head"),
    ("worker", "work", "get head put begin part complete abort"),
    // A submitter reads what goes in and what came out, and speaks to the coordinator of everything else.
    ("submitter", "input", "get head"),
    ("submitter", "output", "get head"),
    // A machine fetches the programs.
    ("machine", "release", "get head"),
];

/// Copies by the store, from places to places: their source is read, and their target is written.
const COPIES: &[(&str, &[&str], &[&str])] = &[
    ("coordinator", &["journal", "work", "output"], &["journal", "work", "output"]),
    ("coordinator-of-lists", &["input", "journal", "work", "output"], &["journal", "work", "output"]),
    ("worker", &["input", "journal", "work"], &["work"]),
];

const BUCKETS: [&str; 5] = ["input", "state", "output", "release", "elsewhere"];

/// Who may see what a bucket has, and whether it is there. Nobody makes one.
const LISTS: &[(&str, &str)] = &[
    ("coordinator", "input state output"),
    ("coordinator-of-lists", "input state output"),
    ("worker", "input state"),
    ("submitter", "input output"),
];

fn may(role: &str, operation: &str, place: &str) -> bool {
    let mut those = ALLOWED.iter().filter(|(who, at, _)| (*who, *at) == (role, place));
    those.any(|(_, _, operations)| operations.split(' ').any(|allowed| allowed == operation))
}

fn may_copy(role: &str, from: &str, to: &str) -> bool {
    COPIES.iter().any(|(who, sources, targets)| *who == role && sources.contains(&from) && targets.contains(&to))
}

fn may_list(role: &str, bucket: &str) -> bool {
    LISTS.iter().any(|(who, buckets)| *who == role && buckets.split(' ').any(|listed| listed == bucket))
}

fn permissions() -> Permissions {
    let mut permissions = as_written();
    let lists = with_lists().remove("coordinator").expect("it is one of them");
    permissions.insert("coordinator-of-lists", lists);
    permissions.insert("machine", grants("machine.json"));
    permissions
}

/// As the store answers; an error is its status and its code, of which an answer to HEAD has none.
type Told = Result<(), String>;

fn told<T, E: ProvideErrorMetadata>(answer: Result<T, SdkError<E>>) -> Told {
    answer.map(drop).map_err(|error| {
        let status = error.raw_response().map_or(0, |response| response.status().as_u16());
        format!("{status} {}", error.code().unwrap_or_default())
    })
}

#[track_caller]
fn check(what: &str, operation: &str, allowed: bool, told: &Told) {
    let as_it_should = match told {
        Ok(()) => allowed,
        Err(error) if operation.starts_with("head") => !allowed && error.starts_with("403 "),
        Err(error) => !allowed && error == "403 AccessDenied",
    };
    assert!(as_it_should, "{what}: {told:?}, and it is {}", if allowed { "allowed" } else { "not allowed" });
}

#[test]
fn each_role_may_do_in_each_place_what_is_said_and_nothing_else() {
    let scratch = Scratch::enter("permissions: every operation in every place");
    let empty = scratch.join("empty");
    fs::create_dir(&empty).expect("there is room");
    let guard = Arc::new(Guard::default());
    let s3 = S3Server::here(&empty, 1000, guard.clone());
    BUCKETS.iter().for_each(|bucket| s3.create_bucket(bucket));
    let places = [Place::of("input", "photos/"), Place::of("state", "mr/"), Place::of("output", "results/")];
    let places = Places::new(places).with_release(Place::of("release", "mr.tar.gz"));
    guard.begin(places, &permissions());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("the system has room for a runtime").block_on(async {
        let own = Own(s3.sdk_of(""));
        for at in PLACES {
            own.restore(at).await;
        }
        for role in ROLES {
            let theirs = s3.sdk_of(role);
            objects(role, &theirs, &own).await;
            copies(role, &theirs, &own).await;
            buckets(role, &theirs).await;
        }
    });
}

async fn objects(role: &str, theirs: &Client, own: &Own) {
    for at @ (place, ..) in PLACES {
        for operation in OPERATIONS {
            let (what, allowed) = (format!("{role}, {operation}, {place}"), may(role, operation, place));
            if ["part", "complete", "abort"].contains(&operation) {
                let upload = own.upload(at).await;
                check(&what, operation, allowed, &ask(theirs, operation, at, &upload).await);
                let ended = allowed && operation != "part";
                assert_eq!(own.ends(at, &upload).await, !ended, "{what}: whether the upload was still there");
            } else {
                check(&what, operation, allowed, &ask(theirs, operation, at, &Upload::default()).await);
            }
            if allowed {
                own.restore(at).await;
            } else {
                assert_eq!(own.read(at).await, content(at), "{what}: refused, and done");
            }
        }
    }
}

async fn copies(role: &str, theirs: &Client, own: &Own) {
    for from in PLACES {
        for to in PLACES.into_iter().filter(|to| *to != from) {
            let (what, allowed) = (format!("{role}, copy, {} to {}", from.0, to.0), may_copy(role, from.0, to.0));
            let copy = theirs.copy_object().copy_source(format!("{}/{}", from.1, from.2)).bucket(to.1).key(to.2);
            check(&what, "copy", allowed, &told(copy.send().await));
            assert_eq!(own.read(to).await, content(if allowed { from } else { to }), "{what}");
            if allowed {
                own.restore(to).await;
            }
        }
    }
}

async fn buckets(role: &str, theirs: &Client) {
    for bucket in BUCKETS {
        let (what, allowed) = (format!("{role}, bucket {bucket}"), may_list(role, bucket));
        let list = |prefix| theirs.list_objects_v2().bucket(bucket).prefix(prefix).send();
        for prefix in ["", "photos/", "mr/work/", "results/", "other/"] {
            check(&format!("{what}, list {prefix}"), "list", allowed, &told(list(prefix).await));
        }
        check(&what, "head", allowed, &told(theirs.head_bucket().bucket(bucket).send().await));
        check(&what, "create", false, &told(theirs.create_bucket().bucket(bucket).send().await));
    }
    check(role, "create", false, &told(theirs.create_bucket().bucket("new").send().await));
}

async fn ask(s3: &Client, operation: &str, (_, bucket, key): At, upload: &Upload) -> Told {
    let body = ByteStream::from_static(b"theirs");
    match operation {
        "get" => told(s3.get_object().bucket(bucket).key(key).send().await),
        "head" => told(s3.head_object().bucket(bucket).key(key).send().await),
        "put" => told(s3.put_object().bucket(bucket).key(key).body(body).send().await),
        "delete" => told(s3.delete_object().bucket(bucket).key(key).send().await),
        "sweep" => {
            let object = ObjectIdentifier::builder().key(key).build().expect("it has a key");
            let objects = Delete::builder().objects(object).build().expect("it has objects");
            let answer = s3.delete_objects().bucket(bucket).delete(objects).send().await;
            match answer.as_ref().ok().and_then(|swept| swept.errors().first()) {
                Some(error) => Err(format!("403 {}", error.code().unwrap_or_default())),
                None => told(answer),
            }
        }
        "begin" => told(s3.create_multipart_upload().bucket(bucket).key(key).send().await),
        "part" => {
            let part = s3.upload_part().bucket(bucket).key(key).upload_id(&upload.id).part_number(2).body(body);
            told(part.send().await)
        }
        "complete" => {
            let parts = CompletedMultipartUpload::builder().set_parts(Some(upload.parts.clone())).build();
            let complete = s3.complete_multipart_upload().bucket(bucket).key(key).upload_id(&upload.id);
            told(complete.multipart_upload(parts).send().await)
        }
        "abort" => told(s3.abort_multipart_upload().bucket(bucket).key(key).upload_id(&upload.id).send().await),
        other => panic!("{other} is no operation"),
    }
}

/// Bytes that are at no other place.
fn content((_, bucket, key): At) -> String {
    format!("what is at {bucket}/{key}")
}

/// An upload that a test has begun, with one part.
#[derive(Default)]
struct Upload {
    id: String,
    parts: Vec<CompletedPart>,
}

/// The test itself, who may do everything.
struct Own(Client);

impl Own {
    async fn restore(&self, at @ (_, bucket, key): At) {
        let body = content(at).into_bytes().into();
        self.0.put_object().bucket(bucket).key(key).body(body).send().await.expect("a test may");
    }

    async fn read(&self, (_, bucket, key): At) -> String {
        let object = self.0.get_object().bucket(bucket).key(key).send().await.expect("it is there");
        let bytes = object.body.collect().await.expect("the server is here").to_vec();
        String::from_utf8(bytes).expect("all of it is text")
    }

    async fn upload(&self, (_, bucket, key): At) -> Upload {
        let begun = self.0.create_multipart_upload().bucket(bucket).key(key).send().await.expect("a test may");
        let id = begun.upload_id.expect("it has one");
        let part = self.0.upload_part().bucket(bucket).key(key).upload_id(&id).part_number(1);
        let part = part.body(ByteStream::from_static(b"a part")).send().await.expect("a test may");
        let part = CompletedPart::builder().part_number(1).set_e_tag(part.e_tag).build();
        Upload { id, parts: vec![part] }
    }

    /// Whether there is anything left to end.
    async fn ends(&self, (_, bucket, key): At, upload: &Upload) -> bool {
        let abort = self.0.abort_multipart_upload().bucket(bucket).key(key).upload_id(&upload.id);
        match told(abort.send().await) {
            Ok(()) => true,
            Err(error) if error == "404 NoSuchUpload" => false,
            Err(error) => panic!("ending an upload to {bucket}/{key}: {error}"),
        }
    }
}
