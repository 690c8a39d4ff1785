//! Somebody before the store who lets each program do what its policy in `infra/iam` says, and notes what was refused.

use crate::meddle::{After, Answer, Before, Meddler, Operation, Seen};
use crate::s3::BUCKET;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::sync::{Mutex, MutexGuard};

const ARN: &str = "arn:aws:s3:::";

/// What one program may do: actions on objects under a prefix, or on a bucket.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Grant {
    pub action: String,
    /// `STATE_BUCKET/STATE_PREFIXwork/*`, say, as it is written; a bucket alone is for what is done to a bucket.
    pub resource: String,
}

/// By who asks, as access keys tell.
pub type Permissions = BTreeMap<&'static str, BTreeSet<Grant>>;

/// Who was not permitted what, and to which key.
pub type Refused = BTreeSet<(String, String, String)>;

/// Where a part of a cluster lies.
#[derive(Clone, Debug)]
pub struct Place {
    pub bucket: String,
    /// Where this stands for a bucket of its own, what all keys in it begin with.
    pub folder: String,
    /// What those begin with that are the cluster's.
    pub prefix: String,
}

impl Place {
    /// One that has the bucket for itself.
    pub fn of(bucket: &str, prefix: &str) -> Self {
        Self { bucket: bucket.into(), folder: String::new(), prefix: prefix.into() }
    }

    fn folder(folder: String) -> Self {
        Self { bucket: BUCKET.into(), folder, prefix: String::new() }
    }

    fn has(&self, bucket: &str, key: &str) -> bool {
        bucket == self.bucket && key.starts_with(&self.folder)
    }
}

/// Where the parts of a cluster lie, by what policies call their buckets.
#[derive(Clone, Debug)]
pub struct Places(BTreeMap<&'static str, Place>);

impl Places {
    pub const INPUT: &'static str = "in put/";

    /// Folders of one bucket, apart from each other.
    pub fn named(name: &str) -> Self {
        let output = Place::folder(Self::output(name));
        Self::new([Place::folder(Self::INPUT.into()), Place::folder(Self::state(name)), output])
    }

    /// Of its input, its state and its output.
    pub fn new([input, state, output]: [Place; 3]) -> Self {
        Self([("INPUT_BUCKET", input), ("STATE_BUCKET", state), ("OUTPUT_BUCKET", output)].into())
    }

    /// With the release, which machines fetch when they start; its prefix is all of its key.
    pub fn with_release(mut self, release: Place) -> Self {
        self.0.insert("RELEASE_BUCKET", release);
        self
    }

    /// The folder of the state.
    pub fn state(name: &str) -> String {
        format!("state-{name}/")
    }

    /// The folder of the output.
    pub fn output(name: &str) -> String {
        format!("out-{name}/")
    }

    /// Whether the resource is that key, or the bucket that it is in.
    fn is(&self, resource: &str, bucket: &str, key: &str) -> bool {
        let (name, path) = match resource.split_once('/') {
            Some((name, path)) => (name, Some(path)),
            None => (resource, None),
        };
        let place = self.0.get(name).unwrap_or_else(|| panic!("{name} is no bucket of a cluster"));
        if !place.has(bucket, key) {
            return false;
        }
        let Some(path) = path else { return true };
        let path = path.replacen(&name.replace("BUCKET", "PREFIX"), &place.prefix, 1);
        let rest = &key[place.folder.len()..];
        path.strip_suffix('*').map_or(rest == path, |start| rest.starts_with(start))
    }
}

/// What a policy says of S3.
pub fn grants(name: &str) -> BTreeSet<Grant> {
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
            let resource = resource.strip_prefix(ARN).expect("a bucket or what is in it");
            // Users give all of it as one parameter.
            let resource = resource.replace("RELEASE_OBJECT", "RELEASE_BUCKET/RELEASE_PREFIX");
            for action in &actions {
                grants.insert(Grant { action: action.clone(), resource: resource.clone() });
            }
        }
    }
    grants
}

/// What coordinator, worker and submitter may do, as it is written.
pub fn as_written() -> Permissions {
    ["coordinator", "worker", "submitter"].map(|who| (who, grants(&format!("{who}.json")))).into()
}

/// As [`as_written`], for a cluster whose users have lists of keys.
pub fn with_lists() -> Permissions {
    let mut permissions = as_written();
    permissions.get_mut("coordinator").expect("it is one of them").extend(grants("coordinator-lists.json"));
    permissions
}

#[derive(Default)]
pub struct Guard {
    now: Mutex<Guarded>,
}

#[derive(Default)]
pub struct Guarded {
    pub places: Option<Places>,
    permissions: Permissions,
    pub refused: Refused,
    /// The next rows that a task has kept and a worker asks for are lost.
    pub loses_rows: bool,
    /// Parts of large files are turned away, so that their uploads are given up.
    pub takes_no_parts: bool,
    /// Who has given up an upload, and was permitted to.
    pub gave_up: BTreeSet<String>,
}

const LIST: &str = "s3:ListBucket";
const CREATE: &str = "s3:CreateBucket";

/// As IAM names what the request asks for.
fn action(operation: Operation) -> &'static str {
    match operation {
        Operation::Get | Operation::Head => "s3:GetObject",
        Operation::Put | Operation::Copy | Operation::Begin | Operation::Part | Operation::Complete => "s3:PutObject",
        Operation::Delete => "s3:DeleteObject",
        Operation::Abort => "s3:AbortMultipartUpload",
        Operation::List | Operation::HeadBucket => LIST,
        Operation::CreateBucket => CREATE,
    }
}

impl Guarded {
    /// Notes what is not allowed.
    fn allows(&mut self, client: &str, action: &str, bucket: &str, key: &str) -> bool {
        // A test's own.
        if client.is_empty() {
            return true;
        }
        let of_bucket = [LIST, CREATE].contains(&action);
        let allowed = self.places.as_ref().zip(self.permissions.get(client)).is_some_and(|(places, grants)| {
            grants.iter().any(|grant| {
                grant.action == action
                    && grant.resource.contains('/') != of_bucket
                    && places.is(&grant.resource, bucket, key)
            })
        });
        // Not what is left of a cluster that was killed: it is refused, and says nothing of this one.
        let of_this = |places: &Places| places.0.values().any(|place| place.has(bucket, key));
        if !allowed && self.places.as_ref().is_none_or(of_this) {
            self.refused.insert((client.to_owned(), action.to_owned(), key.to_owned()));
        }
        allowed
    }

    /// Who may not list a bucket is not told that something is not there.
    fn tells_missing(&mut self, seen: &Seen) -> bool {
        self.allows(&seen.client, LIST, &seen.bucket, &seen.key)
    }
}

impl Guard {
    pub fn now(&self) -> MutexGuard<'_, Guarded> {
        self.now.lock().expect("nobody panics while it is held")
    }

    /// From now on that holds.
    pub fn begin(&self, places: Places, permissions: &Permissions) {
        *self.now() = Guarded { places: Some(places), permissions: permissions.clone(), ..Guarded::default() };
    }

    pub fn refused(&self) -> Refused {
        self.now().refused.clone()
    }
}

impl Meddler for Guard {
    fn before(&self, seen: &Seen) -> Before {
        let mut now = self.now();
        let source = seen.source.as_ref();
        let source = source.is_none_or(|(bucket, key)| now.allows(&seen.client, "s3:GetObject", bucket, key));
        if !source || !now.allows(&seen.client, action(seen.operation), &seen.bucket, &seen.key) {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_resource_is_a_bucket_or_what_begins_as_it_says() {
        let own = Places::new([Place::of("a", "photos/"), Place::of("b", "mr/"), Place::of("c", "")]);
        for (resource, bucket, key, is) in [
            ("INPUT_BUCKET", "a", "", true),
            ("INPUT_BUCKET", "a", "elsewhere/", true),
            ("INPUT_BUCKET", "b", "", false),
            ("INPUT_BUCKET/INPUT_PREFIX*", "a", "photos/1.jpg", true),
            ("INPUT_BUCKET/INPUT_PREFIX*", "a", "photo", false),
            ("INPUT_BUCKET/INPUT_PREFIX*", "b", "photos/1.jpg", false),
            ("STATE_BUCKET/STATE_PREFIXwork/*", "b", "mr/work/x", true),
            ("STATE_BUCKET/STATE_PREFIXwork/*", "b", "mr/journal/1", false),
            ("STATE_BUCKET/STATE_PREFIXone", "b", "mr/one", true),
            ("STATE_BUCKET/STATE_PREFIXone", "b", "mr/one-more", false),
            ("OUTPUT_BUCKET/OUTPUT_PREFIX*", "c", "any", true),
        ] {
            assert_eq!(own.is(resource, bucket, key), is, "{resource} {bucket} {key}");
        }
        let folders = Places::named("x");
        for (resource, key, is) in [
            ("STATE_BUCKET", "state-x/", true),
            ("STATE_BUCKET", "", false),
            ("STATE_BUCKET/STATE_PREFIXwork/*", "state-x/work/1", true),
            ("STATE_BUCKET/STATE_PREFIXwork/*", "out-x/work/1", false),
        ] {
            assert_eq!(folders.is(resource, BUCKET, key), is, "{resource} {key}");
        }
    }
}
