//! The permissions in `infra/iam` are enough for what each program does, none of them is too many (taken away, each is
//! missed), and what is not among them is refused.

use mr_storage::{GetOptions, Put, Store, StoreError};
use mr_tests::{
    After, Answer, BUCKET, Before, Meddler, Operation, Running, S3Server, Scratch, Seen, client, drawn, tree,
    wait_until,
};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

const LIMIT: Duration = Duration::from_secs(60);
const ARN: &str = "arn:aws:s3:::";

/// What one program may do: actions on objects under a prefix, or on a bucket, which in a test is a prefix too.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Grant {
    action: String,
    /// `STATE_BUCKET/STATE_PREFIXwork/*`, say, as it is written; a bucket alone is for what is done to a bucket.
    resource: String,
}

/// By who asks, as access keys tell.
type Permissions = BTreeMap<&'static str, BTreeSet<Grant>>;

/// Who was not permitted what, and to which key.
type Refused = BTreeSet<(String, String, String)>;

/// Where the parts of a cluster lie: in one bucket, apart from each other.
#[derive(Clone)]
struct Places {
    state: String,
    output: String,
}

impl Places {
    const INPUT: &'static str = "in put/";

    fn named(name: &str) -> Self {
        Self { state: format!("state-{name}/"), output: format!("out-{name}/") }
    }

    /// What the keys begin with that the resource is about.
    fn prefix(&self, resource: &str) -> String {
        let (bucket, rest) = resource.split_once('/').unwrap_or((resource, ""));
        let (place, own) = match bucket {
            "INPUT_BUCKET" => (Self::INPUT, "INPUT_PREFIX"),
            "STATE_BUCKET" => (self.state.as_str(), "STATE_PREFIX"),
            "OUTPUT_BUCKET" => (self.output.as_str(), "OUTPUT_PREFIX"),
            other => panic!("{other} is no bucket of a cluster"),
        };
        let rest = rest.strip_prefix(own).unwrap_or(rest);
        format!("{place}{}", rest.strip_suffix('*').unwrap_or(rest))
    }
}

/// What a policy says of S3.
fn grants(name: &str) -> BTreeSet<Grant> {
    let text = fs::read_to_string(xtask::shell::root().join("infra/iam").join(name)).expect("it is there");
    let policy: Value = serde_json::from_str(&text).expect("it is JSON");
    let texts = |value: &Value| -> Vec<String> {
        let all = value.as_array().expect("a list").iter();
        all.map(|text| text.as_str().expect("text").to_owned()).collect()
    };
    let mut grants = BTreeSet::new();
    for statement in policy["Statement"].as_array().expect("a list") {
        assert_eq!(statement["Effect"], "Allow");
        let actions = texts(&statement["Action"]);
        if actions.iter().all(|action| !action.starts_with("s3:")) {
            continue;
        }
        for resource in texts(&statement["Resource"]) {
            let resource = resource.strip_prefix(ARN).expect("a bucket or what is in it").to_owned();
            for action in &actions {
                grants.insert(Grant { action: action.clone(), resource: resource.clone() });
            }
        }
    }
    grants
}

fn as_written() -> Permissions {
    ["coordinator", "worker", "submitter"].map(|who| (who, grants(&format!("{who}.json")))).into()
}

/// As [`as_written`], for a cluster whose users have lists of keys.
fn with_lists() -> Permissions {
    let mut permissions = as_written();
    permissions.get_mut("coordinator").expect("it is one of them").extend(grants("coordinator-lists.json"));
    permissions
}

fn without(permissions: &Permissions, who: &str, grant: &Grant) -> Permissions {
    let mut permissions = permissions.clone();
    assert!(permissions.get_mut(who).expect("it is one of them").remove(grant), "{who} has no {grant:?}");
    permissions
}

/// Lets each program do what its policy says, and says what was refused.
#[derive(Default)]
struct Guard {
    now: Mutex<Guarded>,
}

#[derive(Default)]
struct Guarded {
    places: Option<Places>,
    permissions: Permissions,
    refused: Refused,
    /// The next rows that a task has kept and a worker asks for are lost.
    loses_rows: bool,
    /// Parts of large files are turned away, so that their uploads are given up.
    takes_no_parts: bool,
    /// Who has given up an upload, and was permitted to.
    gave_up: BTreeSet<String>,
}

/// As IAM names what the request asks for.
fn action(operation: Operation) -> &'static str {
    match operation {
        Operation::Get | Operation::Head => "s3:GetObject",
        Operation::Put | Operation::Copy | Operation::Begin | Operation::Part | Operation::Complete => "s3:PutObject",
        Operation::Delete => "s3:DeleteObject",
        Operation::Abort => "s3:AbortMultipartUpload",
        Operation::List | Operation::Bucket => "s3:ListBucket",
    }
}

impl Guarded {
    /// Notes what is not allowed.
    fn allows(&mut self, client: &str, action: &str, key: &str) -> bool {
        // A test's own.
        if client.is_empty() {
            return true;
        }
        let of_bucket = action == "s3:ListBucket";
        let allowed = self.places.as_ref().zip(self.permissions.get(client)).is_some_and(|(places, grants)| {
            grants.iter().any(|grant| {
                grant.action == action
                    && grant.resource.contains('/') != of_bucket
                    && key.starts_with(&places.prefix(&grant.resource))
            })
        });
        // Not what is left of a cluster that was killed: it is refused, and says nothing of this one.
        let of_this =
            |places: &Places| [Places::INPUT, &places.state, &places.output].iter().any(|at| key.starts_with(at));
        if !allowed && self.places.as_ref().is_none_or(of_this) {
            self.refused.insert((client.to_owned(), action.to_owned(), key.to_owned()));
        }
        allowed
    }

    /// Who may not list a bucket is not told that something is not there.
    fn tells_missing(&mut self, seen: &Seen) -> bool {
        self.allows(&seen.client, "s3:ListBucket", &seen.key)
    }
}

impl Guard {
    fn now(&self) -> MutexGuard<'_, Guarded> {
        self.now.lock().expect("nobody panics while it is held")
    }

    /// From now on that holds.
    fn begin(&self, name: &str, permissions: &Permissions) {
        let (places, permissions) = (Some(Places::named(name)), permissions.clone());
        *self.now() = Guarded { places, permissions, ..Guarded::default() };
    }

    fn refused(&self) -> Refused {
        self.now().refused.clone()
    }
}

impl Meddler for Guard {
    fn before(&self, seen: &Seen) -> Before {
        let mut now = self.now();
        let source = seen.source.as_deref().is_none_or(|source| now.allows(&seen.client, "s3:GetObject", source));
        if !source || !now.allows(&seen.client, action(seen.operation), &seen.key) {
            return Before::Refuse(Answer::Denied);
        }
        if seen.client.is_empty() {
            return Before::Apply;
        }
        match seen.operation {
            Operation::Get if now.loses_rows && seen.client == "worker" && seen.key.ends_with("kept.arrow") => {
                now.loses_rows = false;
                Before::Refuse(if now.tells_missing(seen) { Answer::Missing } else { Answer::Denied })
            }
            Operation::Part if now.takes_no_parts => Before::Refuse(Answer::Denied),
            Operation::Abort => {
                now.gave_up.insert(seen.client.clone());
                Before::Apply
            }
            _ => Before::Apply,
        }
    }

    fn after(&self, _: &Seen) -> After {
        After::Answer
    }

    fn tells_missing(&self, seen: &Seen) -> bool {
        self.now().tells_missing(seen)
    }
}

struct House<'a> {
    scratch: &'a Scratch,
    s3: S3Server,
    guard: Arc<Guard>,
}

/// A coordinator and a worker, which go with it.
struct Cluster {
    url: String,
    _running: [Running; 2],
}

impl<'a> House<'a> {
    fn build(scratch: &'a Scratch, photos: &Path) -> Self {
        let guard = Arc::new(Guard::default());
        let s3 = S3Server::here(photos, 1000, guard.clone());
        Self { scratch, s3, guard }
    }

    /// A program that goes to the store as that one.
    fn start(&self, program: &str, who: &str, args: &[&str]) -> Running {
        let mut command = client(self.scratch, program, &self.s3, who);
        command.args(args);
        Running::start(command, self.scratch)
    }

    /// `None`: the coordinator could not even begin.
    fn cluster(&self, name: &str) -> Option<Cluster> {
        let state = format!("s3://{BUCKET}/{}", Places::named(name).state);
        let args = ["--listen", "127.0.0.1:0", "--state", &state, "--keep-days", "0"];
        let mut coordinator = self.start("mr-coordinator", "coordinator", &args);
        let url = loop {
            if let Some((url, _)) = coordinator.stdout().split_once('\n') {
                break url.to_owned();
            }
            if coordinator.is_over() {
                return None;
            }
            std::thread::sleep(Duration::from_millis(5));
        };
        let kept = self.scratch.join(format!("kept-{name}")).display().to_string();
        let worker = self.start("mr-worker", "worker", &["--coordinator", &url, "--slots", "1", "--scratch", &kept]);
        Some(Cluster { url, _running: [coordinator, worker] })
    }

    /// Whether `mr-submit` comes to a good end. A refusal that is not told as the end is as good as one: what is missed
    /// is known.
    fn submits(&self, args: &[&str]) -> bool {
        let mut submitter = self.start("mr-submit", "submitter", args);
        let began = Instant::now();
        while !submitter.is_over() && (self.guard.refused().is_empty() || began.elapsed() < Duration::from_secs(3)) {
            assert!(began.elapsed() < LIMIT, "{args:?}: {}", submitter.stderr());
            std::thread::sleep(Duration::from_millis(5));
        }
        submitter.is_over() && submitter.wait(LIMIT).code() == Some(0)
    }

    /// Runs the job of that file on a cluster of its own, to its end.
    fn job(&self, name: &str, file: &str, args: &[&str]) -> bool {
        let Some(cluster) = self.cluster(name) else { return false };
        let (input, output) = (self.s3.input(), format!("s3://{BUCKET}/{}", Places::named(name).output));
        let command = [file, "--input", &input, "--output", &output, "--coordinator", &cluster.url];
        if !self.submits(&[&command, args].concat()) {
            return false;
        }
        // What it leaves is cleaned up.
        let (work, began) = (format!("{}work/", Places::named(name).state), Instant::now());
        while !self.s3.keys(&work).is_empty() && self.guard.refused().is_empty() {
            assert!(began.elapsed() < LIMIT, "{name}: {:?}", self.s3.keys(&work));
            std::thread::sleep(Duration::from_millis(5));
        }
        true
    }

    /// What a submitter does in the store before a job and after it.
    fn looks(&self, name: &str) -> bool {
        let (input, output) = (self.s3.input(), format!("s3://{BUCKET}/{}", Places::named(name).output));
        let verified = self.submits(&["verify", &output, "--sample", "4"]);
        self.submits(&["plan", "job.toml", "--input", &input, "--output", &output]) && verified
    }

    /// Does that once with all permissions, when nothing is to be refused, and once without each of these, of which
    /// none is to be missing in vain.
    fn needs(
        &self,
        name: &str,
        all: &Permissions,
        these: &[(&'static str, Grant)],
        does: impl Fn(&Self, &str) -> bool,
    ) {
        self.guard.begin(name, all);
        assert!(does(self, name) && self.guard.refused().is_empty(), "{name}: {:?}", self.guard.refused());
        let mut not_missed = Vec::new();
        for (at, (who, grant)) in these.iter().enumerate() {
            let name = format!("{name}-but-{at}");
            self.guard.begin(&name, &without(all, who, grant));
            does(self, &name);
            let refused = self.guard.refused();
            if !refused.iter().any(|(client, action, _)| client == who && *action == grant.action) {
                not_missed.push((who, grant));
            }
        }
        assert_eq!(not_missed, [], "these are given and not needed");
    }
}

/// The grants of one of them that are so.
fn those(permissions: &Permissions, who: &'static str, so: impl Fn(&Grant) -> bool) -> Vec<(&'static str, Grant)> {
    let found: Vec<_> = permissions[who].iter().filter(|grant| so(grant)).map(|grant| (who, grant.clone())).collect();
    assert!(!found.is_empty(), "{who} has none such");
    found
}

fn is(grant: &Grant, action: &str, bucket: &str) -> bool {
    grant.action == action && grant.resource.starts_with(bucket)
}

const ABORT: &str = "s3:AbortMultipartUpload";

#[test]
fn the_permissions_are_enough_for_the_job_and_each_is_needed() {
    let scratch = Scratch::enter("permissions: the main job with each but one");
    let photos = drawn(&scratch, "photos", 60, 8);
    scratch.write("job.toml", "job = \"image-features\"\nmode = \"overwrite\"\n[split]\nobjects_max = 10\n");
    let house = House::build(&scratch, &photos);
    let permissions = as_written();
    // Uploads are given up in another test, and in another a photo is missing.
    let mut these = those(&permissions, "coordinator", |grant| grant.action != ABORT);
    these.extend(those(&permissions, "worker", |grant| {
        grant.action != ABORT && !is(grant, "s3:ListBucket", "INPUT_BUCKET")
    }));
    house.needs("all", &permissions, &these, |house, name| {
        house.guard.now().loses_rows = true;
        let done = house.job(name, "job.toml", &[]);
        assert!(!done || !house.guard.now().loses_rows, "no worker has asked for what was kept");
        done
    });
    // What the submitter needs, it needs before and after.
    let these = those(&permissions, "submitter", |_| true);
    let places = Places::named("all");
    house.needs("looks", &permissions, &these, |house, _| {
        house.guard.now().places = Some(places.clone());
        house.looks("all")
    });
}

#[test]
fn a_list_of_keys_needs_what_is_said_to_be_needed_for_it() {
    let scratch = Scratch::enter("permissions: a list of keys");
    let photos = drawn(&scratch, "photos", 20, 9);
    scratch.write("job.toml", "job = \"image-features\"\nmode = \"overwrite\"\n[params]\ncomponents = 2\n");
    let names = tree(&photos).into_keys().filter(|name| name.ends_with(".jpg"));
    // Of most of them the coordinator has to ask what they are. One is said to be there, and a worker finds that it is
    // not.
    let rows: String = names.map(|name| format!("{BUCKET},{}{name},,\n", Places::INPUT)).collect();
    let gone = format!("{BUCKET},{}gone.jpg,9,0123456789abcdef0123456789abcdef\n", Places::INPUT);
    fs::create_dir(photos.join("lists")).expect("there is room");
    fs::write(photos.join("lists/keys.csv"), format!("bucket,key,size,etag\n{rows}{gone}")).expect("there is room");
    let house = House::build(&scratch, &photos);
    let permissions = with_lists();
    let mut these = those(&permissions, "coordinator", |grant| is(grant, "s3:GetObject", "INPUT_BUCKET"));
    these.extend(those(&permissions, "worker", |grant| is(grant, "s3:ListBucket", "INPUT_BUCKET")));
    these.extend(those(&permissions, "submitter", |grant| is(grant, "s3:GetObject", "INPUT_BUCKET")));
    let list = format!("input_list={}lists/keys.csv", house.s3.input());
    house.needs("list", &permissions, &these, |house, name| {
        house.job(name, "job.toml", &["--set", &list, "--set", "limits.quarantine_share_max=0.5"])
    });
}

#[test]
fn uploads_that_are_given_up_are_taken_back() {
    let scratch = Scratch::enter("permissions: uploads that are given up");
    let input = scratch.join("input");
    fs::create_dir(&input).expect("there is room");
    // More than goes up in one request, and nothing that could be packed.
    let mut chance = 1_u64;
    let noise: Vec<u8> = (0..3_000_000)
        .flat_map(|_| {
            chance = chance.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (chance ^ chance >> 31).to_be_bytes()
        })
        .collect();
    fs::write(input.join("records.dat"), &noise).expect("there is room");
    scratch.write("tool", &noise);
    scratch.write("sort.toml", "job = \"tera-sort\"\n[params]\npartitions = 1\n");
    scratch.write("stream.toml", "job = \"stream\"\n[map]\ncommand = [\"cat\"]\nfiles = [\"tool\"]\n");
    let house = House::build(&scratch, &input);
    let permissions = as_written();
    // Copies are one request whatever their size, so the coordinator writes no part of an output in pieces, unless it
    // lies with another service than the state; here it does not.
    for (who, job, bucket) in [("coordinator", "stream.toml", "STATE_BUCKET"), ("worker", "sort.toml", "STATE_BUCKET")]
    {
        let these = those(&permissions, who, |grant| is(grant, ABORT, bucket));
        house.needs(who, &permissions, &these, |house, name| {
            house.guard.now().takes_no_parts = true;
            let Some(cluster) = house.cluster(name) else { return false };
            let (input, output) = (house.s3.input(), format!("s3://{BUCKET}/{}", Places::named(name).output));
            let args = [job, "--input", &input, "--output", &output, "--coordinator", &cluster.url];
            let _submitter = house.start("mr-submit", "submitter", &args);
            wait_until("an upload is given up", || {
                let now = house.guard.now();
                (now.gave_up.contains(who) || !now.refused.is_empty()).then_some(())
            });
            true
        });
    }
}

enum Asks {
    List,
    Get,
    Write,
    Delete,
}

#[test]
fn what_is_not_permitted_is_refused() {
    let scratch = Scratch::enter("permissions: requests that nobody may make");
    let house = House::build(&scratch, &drawn(&scratch, "photos", 1, 10));
    house.guard.begin("x", &as_written());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("the system has room for a runtime").block_on(requests_are_refused(&house.s3));
}

async fn requests_are_refused(s3: &S3Server) {
    use Asks::{Delete, Get, List, Write};
    let own = s3.store_of("");
    for key in ["in put/a.jpg", "state-x/journal/1", "state-x/work/x", "out-x/part.parquet", "elsewhere/x"] {
        own.put(key, "there".into(), Put::Overwrite).await.expect("a test may");
    }
    for (client, asks, key, allowed) in [
        // The coordinator reads no photo, and nobody touches one.
        ("coordinator", Get, "in put/a.jpg", false),
        ("coordinator", List, "in put/", true),
        ("coordinator", Write, "in put/a.jpg", false),
        ("coordinator", Delete, "in put/a.jpg", false),
        ("coordinator", Write, "state-x/journal/1", true),
        ("coordinator", Write, "out-x/part.parquet", true),
        ("coordinator", Get, "elsewhere/x", false),
        ("coordinator", Write, "elsewhere/x", false),
        ("coordinator", List, "elsewhere/", false),
        ("worker", Get, "in put/a.jpg", true),
        ("worker", Write, "in put/a.jpg", false),
        ("worker", Delete, "in put/a.jpg", false),
        // A worker makes work files: it writes no journal, and neither writes nor reads results.
        ("worker", Write, "state-x/work/x", true),
        ("worker", Write, "state-x/journal/1", false),
        ("worker", Delete, "state-x/work/x", false),
        ("worker", Write, "out-x/part.parquet", false),
        ("worker", Get, "out-x/part.parquet", false),
        ("worker", List, "out-x/", false),
        ("worker", Get, "elsewhere/x", false),
        ("worker", List, "elsewhere/", false),
        // A submitter reads what goes in and what came out, and speaks to the coordinator of everything else.
        ("submitter", Get, "in put/a.jpg", true),
        ("submitter", Get, "out-x/part.parquet", true),
        ("submitter", List, "out-x/", true),
        ("submitter", Write, "in put/a.jpg", false),
        ("submitter", Write, "out-x/part.parquet", false),
        ("submitter", Delete, "out-x/part.parquet", false),
        ("submitter", Get, "state-x/journal/1", false),
        ("submitter", List, "state-x/", false),
        ("submitter", Write, "state-x/work/x", false),
        ("submitter", Get, "elsewhere/x", false),
        // Nobody that is known.
        ("stranger", Get, "in put/a.jpg", false),
        ("stranger", List, "in put/", false),
    ] {
        let (store, named) = (s3.store_of(client), format!("{client} {key}"));
        let answer: Result<(), StoreError> = match asks {
            List => store.list(key).await.map(|_| ()),
            Get => store.get(key, GetOptions::default()).await.map(|_| ()),
            Write => store.put(key, "other".into(), Put::Overwrite).await.map(|_| ()),
            Delete => store.delete(key).await,
        };
        match (allowed, &answer) {
            (true, Ok(())) | (false, Err(StoreError::Denied { .. })) => {}
            _ => panic!("{named}: {answer:?}"),
        }
    }
    // What was refused was not done.
    for key in ["in put/a.jpg", "state-x/work/x", "out-x/part.parquet"] {
        assert!(own.head(key).await.is_ok(), "{key} is there");
    }
    assert_eq!(own.get("in put/a.jpg", GetOptions::default()).await.expect("it is there").bytes, "there");
}
