//! The policies in `infra` are read by nobody until they fail someone; here they are at least parsed, and held to what the
//! page beside them promises.

use std::collections::BTreeSet;
use std::fs;

use serde_json::Value;
use xtask::shell::root;

#[test]
fn a_worker_removes_nothing_and_never_touches_the_output() {
    let worker = Policy::read("worker");
    assert!(!worker.actions.contains("s3:DeleteObject"));
    assert!(worker.resources.iter().all(|resource| !resource.contains("OUTPUT_BUCKET")), "{:?}", worker.resources);
    assert!(worker.actions.contains("s3:GetObject") && worker.actions.contains("s3:PutObject"));
}

#[test]
fn a_coordinator_reads_no_photos() {
    let coordinator = Policy::read("coordinator");
    let inputs = coordinator.resources.iter().filter(|resource| resource.starts_with("arn:aws:s3:::INPUT_BUCKET/"));
    assert_eq!(inputs.count(), 0);
    assert!(coordinator.resources.contains("arn:aws:s3:::INPUT_BUCKET"));
}

#[test]
fn no_policy_grants_by_wildcard() {
    for name in ["worker", "coordinator"] {
        let policy = Policy::read(name);
        assert!(policy.actions.iter().all(|action| !action.contains('*')), "{name}: {:?}", policy.actions);
        assert!(!policy.resources.contains("*"), "{name}");
    }
}

struct Policy {
    actions: BTreeSet<String>,
    resources: BTreeSet<String>,
}

impl Policy {
    fn read(name: &str) -> Self {
        let path = root().join(format!("infra/iam/{name}.json"));
        let policy: Value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
        let all = |field: &str| {
            let statements = policy["Statement"].as_array().unwrap().iter();
            let values = statements.flat_map(|statement| statement[field].as_array().unwrap());
            values.map(|value| value.as_str().unwrap().to_owned()).collect::<BTreeSet<_>>()
        };
        let policy = Self { actions: all("Action"), resources: all("Resource") };
        assert!(!policy.actions.is_empty() && !policy.resources.is_empty());
        policy
    }
}
