//! An EC2 Auto Scaling group at `moto`, a stand-in for AWS's control plane.

use crate::front::{Front, Mood, Permitted};
use crate::process::Running;
use crate::s3::block_on;
use crate::{Coordinator, Machines, Python, Scratch, Signal, address};
use aws_sdk_autoscaling::Client;
use aws_sdk_autoscaling::config::{BehaviorVersion, Credentials, Region};
use aws_sdk_autoscaling::error::ProvideErrorMetadata;
use aws_sdk_autoscaling::types::AutoScalingGroup;
use std::collections::BTreeSet;
use std::process::Command;
use std::time::Duration;

/// The group that is there.
const GROUP: &str = "mr-workers";
const KEY: &str = "testing";

pub struct AutoScaling {
    server: Running,
    /// By which programs reach it; tests go to the server itself.
    front: Front,
    client: Client,
}

impl AutoScaling {
    /// With a group of none to `max` machines. `None`: this test was skipped.
    pub fn start(scratch: &Scratch, max: i32) -> Option<Self> {
        let address = address();
        let mut moto = Command::new(Python::with_moto()?.program("moto_server"));
        moto.args(["--host", "127.0.0.1", "--port", &address.port().to_string()]);
        let mut server = Running::start(moto, scratch);
        server.until("say that it runs", |server| server.stderr().contains("Running on").then_some(()));
        let endpoint = format!("http://{address}");
        let config = aws_sdk_autoscaling::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .credentials_provider(Credentials::new(KEY, KEY, None, None, "given"))
            .region(Region::from_static("us-east-1"))
            .endpoint_url(&endpoint)
            .build();
        let front = Front::of(address, permitted(), GROUP);
        let this = Self { server, front, client: Client::from_conf(config) };
        block_on(this.make_group(max));
        Some(this)
    }

    async fn make_group(&self, max: i32) {
        // Moto has some images of its own.
        let launch = self.client.create_launch_configuration().launch_configuration_name("worker");
        let launch = launch.image_id("ami-12c6146b").instance_type("c7i.large").send();
        launch.await.expect("moto makes a launch configuration");
        let group = self.client.create_auto_scaling_group().auto_scaling_group_name(GROUP);
        let group = group.launch_configuration_name("worker").availability_zones("us-east-1a");
        group.min_size(0).max_size(max).desired_capacity(0).send().await.expect("moto makes a group");
    }

    /// Credentials and endpoint, as programs look for them.
    pub fn environment(&self) -> [(&'static str, String); 4] {
        [
            ("AWS_ENDPOINT_URL_AUTO_SCALING", format!("http://{}", self.front.address)),
            ("AWS_ACCESS_KEY_ID", KEY.into()),
            ("AWS_SECRET_ACCESS_KEY", KEY.into()),
            ("AWS_REGION", "us-east-1".into()),
        ]
    }

    pub fn group(&self) -> AutoScalingGroup {
        block_on(group(&self.client))
    }

    /// Somebody sets the group's size by hand.
    pub fn resize(&self, size: i32) {
        let request = self.client.set_desired_capacity().auto_scaling_group_name(GROUP).desired_capacity(size);
        block_on(request.send()).expect("moto does so");
    }

    /// The group has a lifecycle hook from now on, in which whoever it ends waits for its worker to drain.
    pub fn put_up_hook(&self) {
        self.front.hook().put_up();
    }

    /// Instances that wait in the hook: gone from the group, and their machines are still there.
    pub fn waiting(&self) -> BTreeSet<String> {
        self.front.hook().waiting()
    }

    /// AWS takes an instance away, and the group starts another in its place.
    pub fn take(&self, instance: &str) {
        self.front.hook().hold(instance);
        let request = self.client.terminate_instance_in_auto_scaling_group().instance_id(instance);
        let taken = block_on(request.should_decrement_desired_capacity(false).send());
        // The coordinator may have ended it at this moment, and what is not there is an error of moto's own.
        let there = self.group().instances().iter().any(|there| there.instance_id() == Some(instance));
        assert!(taken.is_ok() || !there, "{taken:?}");
    }

    /// When the group is to be set to nothing, in seconds since the epoch.
    pub fn ends_at(&self) -> Option<i64> {
        let actions = self.client.describe_scheduled_actions().auto_scaling_group_name(GROUP).send();
        let actions = block_on(actions).expect("moto tells");
        let action = actions.scheduled_update_group_actions().first()?;
        assert_eq!((action.min_size(), action.desired_capacity()), (Some(0), Some(0)));
        action.start_time().map(|at| at.secs())
    }

    /// It answers nobody until it is continued.
    pub fn hang(&self, hangs: bool) {
        self.server.signal(if hangs { Signal::Stop } else { Signal::Continue });
    }

    /// How it answers programs from now on.
    pub fn set(&self, mood: Mood) {
        self.front.set(mood);
    }

    /// How many requests were turned away.
    pub fn refused(&self) -> u64 {
        self.front.refused()
    }

    /// Which actions of `infra/iam/coordinator-fleet.json` were not asked for so far, and which were that are not in it.
    pub fn permissions(&self) -> (Vec<String>, Vec<String>) {
        let (used, forbidden) = self.front.actions();
        (permitted().into_keys().filter(|action| !used.contains(action)).collect(), forbidden.into_iter().collect())
    }

    /// Whether a coordinator that set the size of this group would be told that it may not.
    pub fn denies(&self, group: &str) -> bool {
        let front = self.client.config().to_builder().endpoint_url(format!("http://{}", self.front.address));
        let asked = Client::from_conf(front.build()).set_desired_capacity().auto_scaling_group_name(group);
        let answer = block_on(asked.desired_capacity(0).send());
        answer.is_err_and(|error| error.code() == Some("AccessDenied"))
    }

    /// What its instances are.
    pub fn machines<'a>(&'a self, scratch: &'a Scratch, coordinator: &Coordinator) -> Machines<'a> {
        Machines::of(self, scratch, coordinator)
    }
}

/// What a coordinator may ask of the service, by its policy.
fn permitted() -> Permitted {
    let text = std::fs::read_to_string(xtask::shell::root().join("infra/iam/coordinator-fleet.json"));
    let policy: serde_json::Value = serde_json::from_str(&text.expect("it is there")).expect("it is JSON");
    let mut permitted = Permitted::new();
    for statement in policy["Statement"].as_array().expect("a list") {
        let resource = statement["Resource"].as_str().expect("one text").replace("REGION", "us-east-1");
        let resource = resource.replace("ACCOUNT", "123456789012").replace("GROUP", GROUP);
        for action in statement["Action"].as_array().expect("a list") {
            let name = action.as_str().and_then(|name| name.strip_prefix("autoscaling:"));
            permitted.insert(name.expect("an action of Auto Scaling").to_owned(), resource.clone());
        }
    }
    permitted
}

async fn group(client: &Client) -> AutoScalingGroup {
    loop {
        // While it hangs nobody is told anything.
        let asked = client.describe_auto_scaling_groups().auto_scaling_group_names(GROUP).send();
        if let Ok(Ok(groups)) = tokio::time::timeout(Duration::from_secs(5), asked).await {
            return groups.auto_scaling_groups().first().expect("it was made").clone();
        }
    }
}
