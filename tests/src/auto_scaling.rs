//! An EC2 Auto Scaling group at `moto`, a stand-in for AWS's control plane. As in `infra/cluster.yaml` it has a launch
//! template and a policy of mixed instances: one on demand, and the rest spot instances. Moto only ever starts the first
//! type.

use crate::front::{self, Front, Mood, OF_OTHERS, OTHERS, Permitted};
use crate::process::Running;
use crate::s3::block_on;
use crate::{Coordinator, Machines, Python, Scratch, Signal, address};
use aws_sdk_autoscaling::Client;
use aws_sdk_autoscaling::config::{BehaviorVersion, Credentials, Region};
use aws_sdk_autoscaling::types::{
    AutoScalingGroup, InstancesDistribution, LaunchTemplate, LaunchTemplateOverrides, LaunchTemplateSpecification,
    MixedInstancesPolicy,
};
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::process::Command;
use std::time::Duration;

/// The group that is there.
const GROUP: &str = "mr-workers";
const KEY: &str = "testing";
/// Of which the group has machines.
const TYPES: [&str; 2] = ["c7i.large", "m7i.large"];

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
        make_template(address);
        block_on(this.make_group(max));
        Some(this)
    }

    async fn make_group(&self, max: i32) {
        let group = self.client.create_auto_scaling_group().auto_scaling_group_name(GROUP);
        let group = group.mixed_instances_policy(mixed()).availability_zones("us-east-1a");
        group.min_size(0).max_size(max).desired_capacity(0).send().await.expect("moto makes a group");
        let group = self::group(&self.client).await;
        assert_eq!(group.launch_configuration_name(), None);
        let policy = group.mixed_instances_policy().expect("the group was made with one");
        let types = policy.launch_template().map(LaunchTemplate::overrides).unwrap_or_default();
        assert!(types.iter().filter_map(LaunchTemplateOverrides::instance_type).eq(TYPES), "{policy:?}");
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

    /// What may be done to this group, by that policy, and to no other.
    pub fn of_group(&self) -> Vec<String> {
        permitted().into_iter().filter_map(|(action, resource)| (resource != "*").then_some(action)).collect()
    }

    /// Whether a coordinator that asked this of its own group would be told that it may not.
    pub fn denies(&self, action: &str) -> bool {
        self.is_denied(&format!("Action={action}&AutoScalingGroupName={GROUP}"))
    }

    /// The same of another group, or of a machine of it, where the service takes no group's name.
    pub fn denies_for_others(&self, action: &str) -> bool {
        let of = match action {
            "TerminateInstanceInAutoScalingGroup" => format!("InstanceId={OF_OTHERS}"),
            _ => format!("AutoScalingGroupName={OTHERS}"),
        };
        self.is_denied(&format!("Action={action}&{of}"))
    }

    fn is_denied(&self, form: &str) -> bool {
        let form = format!("{form}&Version=2011-01-01&DesiredCapacity=0");
        let answer = front::ask(self.front.address, "autoscaling", &form).expect("the front answers");
        let denied = answer.contains("<Code>AccessDenied</Code>");
        assert_eq!(denied, answer.starts_with("HTTP/1.1 403"), "{form}: {answer}");
        denied
    }

    /// What its instances are.
    pub fn machines<'a>(&'a self, scratch: &'a Scratch, coordinator: &Coordinator) -> Machines<'a> {
        Machines::of(self, scratch, coordinator)
    }
}

/// What the group's machines are started from. For EC2 itself the tests have no client.
fn make_template(server: SocketAddr) {
    // Moto has some images of its own.
    let form = format!(
        "Action=CreateLaunchTemplate&Version=2016-11-15&LaunchTemplateName=worker\
         &LaunchTemplateData.ImageId=ami-12c6146b&LaunchTemplateData.InstanceType={}",
        TYPES[0]
    );
    let answer = front::ask(server, "ec2", &form).expect("moto answers");
    assert!(answer.contains("<launchTemplateId>"), "{answer}");
}

/// Shares that moto makes a whole number of instances of, whatever the group's size.
fn mixed() -> MixedInstancesPolicy {
    let shares = InstancesDistribution::builder().on_demand_base_capacity(1);
    let shares = shares.on_demand_percentage_above_base_capacity(0).spot_allocation_strategy("capacity-optimized");
    let types = TYPES.map(|name| LaunchTemplateOverrides::builder().instance_type(name).build());
    let from = LaunchTemplateSpecification::builder().launch_template_name("worker").build();
    let template = LaunchTemplate::builder().launch_template_specification(from).set_overrides(Some(types.into()));
    MixedInstancesPolicy::builder().instances_distribution(shares.build()).launch_template(template.build()).build()
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
