//! The permissions in `infra/iam` are enough for the main job, and none of them is too many: taken away, each is missed.

use mr_tests::{After, Answer, Before, Meddler, Operation, Running, S3Server, Scratch, Seen, Submit, client, drawn};
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;
use std::sync::{Arc, Mutex};
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(60);
const ARN: &str = "arn:aws:s3:::";

/// What one program may do: actions on objects under a prefix, or on a bucket, which in a test is a prefix too.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Grant {
    action: String,
    /// `STATE_BUCKET/STATE_PREFIXwork/*`, say, as it is written; a bucket alone is for what is done to a bucket.
    resource: String,
}

/// Where the parts of a cluster lie: in one bucket, apart from each other.
struct Places {
    state: String,
    output: String,
}

impl Places {
    const INPUT: &'static str = "in put/";

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
        for resource in texts(&statement["Resource"]) {
            let resource = resource.strip_prefix(ARN).expect("a bucket or what is in it").to_owned();
            for action in texts(&statement["Action"]) {
                grants.insert(Grant { action, resource: resource.clone() });
            }
        }
    }
    grants
}

/// Lets each program do what its policy says, and says what was refused.
struct Guard {
    now: Mutex<Guarded>,
}

struct Guarded {
    places: Places,
    coordinator: BTreeSet<Grant>,
    worker: BTreeSet<Grant>,
    refused: BTreeSet<(String, String, String)>,
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
    fn allows(&self, client: &str, action: &str, key: &str) -> bool {
        let grants = match client {
            "coordinator" => &self.coordinator,
            "worker" => &self.worker,
            // A test's own.
            _ => return true,
        };
        let of_bucket = action == "s3:ListBucket";
        grants.iter().any(|grant| {
            grant.action == action
                && grant.resource.contains('/') != of_bucket
                && key.starts_with(&self.places.prefix(&grant.resource))
        })
    }
}

impl Meddler for Guard {
    fn before(&self, seen: &Seen) -> Before {
        let mut now = self.now.lock().expect("nobody panics while it is held");
        let wanted = action(seen.operation);
        let source = seen.source.as_deref().is_none_or(|source| now.allows(&seen.client, "s3:GetObject", source));
        if source && now.allows(&seen.client, wanted, &seen.key) {
            return Before::Apply;
        }
        now.refused.insert((seen.client.clone(), wanted.to_owned(), seen.key.clone()));
        Before::Refuse(Answer::Denied)
    }

    fn after(&self, _: &Seen) -> After {
        After::Answer
    }

    /// Who may not list a bucket is not told that something is not there.
    fn tells_missing(&self, seen: &Seen) -> bool {
        let mut now = self.now.lock().expect("nobody panics while it is held");
        let wanted = "s3:ListBucket";
        let told = now.allows(&seen.client, wanted, &seen.key);
        if !told {
            now.refused.insert((seen.client.clone(), wanted.to_owned(), seen.key.clone()));
        }
        told
    }
}

struct House<'a> {
    scratch: &'a Scratch,
    s3: &'a S3Server,
    guard: &'a Guard,
}

impl House<'_> {
    /// Runs the job on a cluster whose programs have these permissions: `true`, it is done; and what was refused.
    fn runs(
        &self,
        name: &str,
        coordinator: &BTreeSet<Grant>,
        worker: &BTreeSet<Grant>,
    ) -> (bool, BTreeSet<(String, String, String)>) {
        let places = Places { state: format!("state-{name}/"), output: format!("out-{name}/") };
        let (state, output) = (format!("s3://photos/{}", places.state), format!("s3://photos/{}", places.output));
        *self.guard.now.lock().expect("nobody panics while it is held") =
            Guarded { places, coordinator: coordinator.clone(), worker: worker.clone(), refused: BTreeSet::new() };
        let refused = || self.guard.now.lock().expect("nobody panics while it is held").refused.clone();
        let start = |program: &str, name: &str, args: &[&str]| {
            let mut command = client(self.scratch, program, self.s3, name);
            command.args(args);
            Running::start(command, self.scratch)
        };
        let mut coordinator =
            start("mr-coordinator", "coordinator", &["--listen", "127.0.0.1:0", "--state", &state, "--keep-days", "0"]);
        let url = loop {
            if let Some((url, _)) = coordinator.stdout().split_once('\n') {
                break url.to_owned();
            }
            if coordinator.is_over() {
                // It could not even begin.
                return (false, refused());
            }
            std::thread::sleep(Duration::from_millis(5));
        };
        let kept = self.scratch.join(format!("kept-{name}")).display().to_string();
        let worker = start("mr-worker", "worker", &["--coordinator", &url, "--slots", "1", "--scratch", &kept]);
        let job = Submit::job(self.scratch, self.s3.input(), &output).set("split.objects_max=10");
        let mut submitter = job.args(["--coordinator", &url]).keeping().start();
        let began = std::time::Instant::now();
        // A refusal that is not told as the end of the job is as good as one: what is missed is known.
        while !submitter.is_over() && (refused().is_empty() || began.elapsed() < Duration::from_secs(3)) {
            assert!(began.elapsed() < LIMIT, "{name}: {}", submitter.stderr());
            std::thread::sleep(Duration::from_millis(5));
        }
        let done = submitter.is_over() && submitter.wait(LIMIT).code() == Some(0);
        if done {
            // What it leaves is cleaned up.
            let work = format!("state-{name}/work/");
            let began = std::time::Instant::now();
            while !self.s3.keys(&work).is_empty() && refused().is_empty() {
                assert!(began.elapsed() < LIMIT, "{name}: {:?}", self.s3.keys(&work));
                std::thread::sleep(Duration::from_millis(5));
            }
        }
        worker.kill();
        coordinator.kill();
        (done, refused())
    }
}

#[test]
fn the_permissions_are_enough_for_the_job_and_each_is_needed() {
    let scratch = Scratch::enter("permissions: the main job with each but one");
    let photos = drawn(&scratch, "photos", 60, 8);
    let nobody = Places { state: String::new(), output: String::new() };
    let (none, refused) = (BTreeSet::new(), BTreeSet::new());
    let now = Guarded { places: nobody, coordinator: none.clone(), worker: none, refused };
    let guard = Arc::new(Guard { now: Mutex::new(now) });
    let s3 = S3Server::here(&photos, 1000, guard.clone());
    let house = House { scratch: &scratch, s3: &s3, guard: &guard };
    let (coordinator, worker) = (grants("coordinator.json"), grants("worker.json"));
    let (done, refused) = house.runs("all", &coordinator, &worker);
    assert!(done && refused.is_empty(), "{refused:?}");

    // Uploads that are given up, and files over 16 MB, are not of so small a job. And no photo is missing in it, which a worker
    // could not tell from one that it may not read.
    let unused = |of_coordinator: bool, grant: &Grant| {
        grant.action == "s3:AbortMultipartUpload" || (!of_coordinator && grant.action == "s3:ListBucket")
    };
    let without = |grants: &BTreeSet<Grant>, grant: &Grant| -> BTreeSet<Grant> {
        grants.iter().filter(|kept| *kept != grant).cloned().collect()
    };
    let mut not_missed = Vec::new();
    let all = coordinator.iter().map(|grant| (true, grant)).chain(worker.iter().map(|grant| (false, grant)));
    for (at, (of_coordinator, grant)) in
        all.filter(|(of_coordinator, grant)| !unused(*of_coordinator, grant)).enumerate()
    {
        let (coordinator, worker) = match of_coordinator {
            true => (without(&coordinator, grant), worker.clone()),
            false => (coordinator.clone(), without(&worker, grant)),
        };
        let (_, refused) = house.runs(&format!("but-{at}"), &coordinator, &worker);
        let who = if of_coordinator { "coordinator" } else { "worker" };
        if !refused.iter().any(|(client, action, _)| client == who && *action == grant.action) {
            not_missed.push((who, grant));
        }
    }
    assert_eq!(not_missed, [], "these are given and not needed");
}

#[test]
fn what_is_not_permitted_is_refused() {
    let places = Places { state: "state/".into(), output: "out/".into() };
    let (coordinator, worker) = (grants("coordinator.json"), grants("worker.json"));
    let guard = Guarded { places, coordinator, worker, refused: BTreeSet::new() };
    let may = |client: &str, action: &str, key: &str| guard.allows(client, action, key);
    for (client, action, key, allowed) in [
        // The coordinator reads no photo, and neither program touches one.
        ("coordinator", "s3:GetObject", "in put/a.jpg", false),
        ("coordinator", "s3:ListBucket", "in put/", true),
        ("coordinator", "s3:PutObject", "in put/a.jpg", false),
        ("coordinator", "s3:DeleteObject", "in put/a.jpg", false),
        ("coordinator", "s3:PutObject", "state/journal/1", true),
        ("coordinator", "s3:PutObject", "elsewhere/x", false),
        ("worker", "s3:GetObject", "in put/a.jpg", true),
        ("worker", "s3:PutObject", "in put/a.jpg", false),
        ("worker", "s3:DeleteObject", "in put/a.jpg", false),
        // A worker makes work files: it writes no journal, and neither writes nor reads results.
        ("worker", "s3:PutObject", "state/work/x", true),
        ("worker", "s3:PutObject", "state/journal/1", false),
        ("worker", "s3:DeleteObject", "state/work/x", false),
        ("worker", "s3:PutObject", "out/part.parquet", false),
        ("worker", "s3:GetObject", "out/part.parquet", false),
        ("worker", "s3:GetObject", "elsewhere/x", false),
        ("worker", "s3:ListBucket", "elsewhere/", false),
        ("coordinator", "s3:CreateBucket", "", false),
        ("worker", "s3:PutBucketPolicy", "", false),
    ] {
        assert_eq!(may(client, action, key), allowed, "{client} {action} {key}");
    }
}
