//! The permissions in `infra/iam` are enough for what each program does, and none of them is too many (taken away, each
//! is missed). That all else is refused, `permitted.rs` shows.

use mr_tests::{
    BUCKET, Grant, Guard, Permissions, Places, Running, S3Server, Scratch, as_written, client, drawn, tree, wait_until,
    with_lists,
};
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

const LIMIT: Duration = Duration::from_secs(60);

fn without(permissions: &Permissions, who: &str, grant: &Grant) -> Permissions {
    let mut permissions = permissions.clone();
    assert!(permissions.get_mut(who).expect("it is one of them").remove(grant), "{who} has no {grant:?}");
    permissions
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
        let state = format!("s3://{BUCKET}/{}", Places::state(name));
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
        let (input, output) = (self.s3.input(), format!("s3://{BUCKET}/{}", Places::output(name)));
        let command = [file, "--input", &input, "--output", &output, "--coordinator", &cluster.url];
        if !self.submits(&[&command, args].concat()) {
            return false;
        }
        // What it leaves is cleaned up.
        let (work, began) = (format!("{}work/", Places::state(name)), Instant::now());
        while !self.s3.keys(&work).is_empty() && self.guard.refused().is_empty() {
            assert!(began.elapsed() < LIMIT, "{name}: {:?}", self.s3.keys(&work));
            std::thread::sleep(Duration::from_millis(5));
        }
        true
    }

    /// What a submitter does in the store before a job and after it.
    fn looks(&self, name: &str) -> bool {
        let (input, output) = (self.s3.input(), format!("s3://{BUCKET}/{}", Places::output(name)));
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
        self.guard.begin(Places::named(name), all);
        assert!(does(self, name) && self.guard.refused().is_empty(), "{name}: {:?}", self.guard.refused());
        let mut not_missed = Vec::new();
        for (at, (who, grant)) in these.iter().enumerate() {
            let name = format!("{name}-but-{at}");
            self.guard.begin(Places::named(&name), &without(all, who, grant));
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
            let (input, output) = (house.s3.input(), format!("s3://{BUCKET}/{}", Places::output(name)));
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
