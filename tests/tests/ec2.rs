//! A fleet that is an EC2 Auto Scaling group, at a stand-in for AWS: the coordinator raises its size with a job and lowers it
//! after that, and neither the cloud's moods nor anyone's hands change what comes of it. Each instance is a worker of ours.

use mr_tests::{
    AutoScaling, Coordinator, Machine, Machines, Metadata, Mood, Output, Running, Scratch, Signal, Submit, address,
    assert_same_bytes, drawn, send, submit,
};
use serde_json::Value;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::thread::sleep;
use std::time::{Duration, Instant, SystemTime};

const LIMIT: Duration = Duration::from_secs(90);

struct Cloud {
    scratch: Scratch,
    aws: AutoScaling,
    photos: PathBuf,
    alone: Output,
    address: SocketAddr,
}

impl Cloud {
    fn enter(name: &'static str, photos: u64) -> Option<Self> {
        let scratch = Scratch::enter_beside(name);
        let aws = AutoScaling::start(&scratch, 3)?;
        let photos = drawn(&scratch, "photos", photos, 5);
        let alone = Submit::over(&scratch, &photos, "alone", None).set("split.objects_max=16").slots(2).done();
        scratch.write(
            "coordinator.toml",
            "[fleet]\nprovider = \"ec2\"\ngroup = \"mr-workers\"\nworkers_max = 3\ntarget_minutes = 0\n\
             start_seconds = 2\nidle_minutes = 0.05\n",
        );
        Some(Self { scratch, aws, photos, alone, address: address() })
    }

    fn coordinator(&self) -> Coordinator {
        let args = ["--config", "coordinator.toml", "--lease-ms", "2000"];
        Coordinator::start_with(self.aws.environment(), self.address, &self.scratch, &args)
    }

    fn submit(&self, coordinator: &Coordinator) -> Running {
        let job = Submit::job(&self.scratch, &self.photos, "out").set("split.objects_max=16");
        // Whatever comes of the fleet is charged to nobody.
        let job = job.set("limits.attempts_max=1");
        job.to(coordinator).start()
    }

    fn status(&self, coordinator: &Coordinator, id: &str) -> Value {
        submit(&self.scratch, ["--coordinator", coordinator.url(), "--json", "status", id]).done().json()
    }

    /// Tends the machines until something is so.
    fn until<T>(&self, machines: &mut Machines, what: &str, mut look: impl FnMut(&mut Machines) -> Option<T>) -> T {
        let began = Instant::now();
        loop {
            machines.tend();
            if let Some(found) = look(machines) {
                return found;
            }
            assert!(began.elapsed() < LIMIT, "{what}: not in time");
            sleep(Duration::from_millis(50));
        }
    }

    fn until_some_are_done(&self, machines: &mut Machines, coordinator: &Coordinator, id: &str) {
        self.until(machines, "photos are done", |_| {
            let status = self.status(coordinator, id);
            assert!(matches!(status["phase"].as_str(), Some("listing" | "running")), "too late to meddle: {status}");
            status["stages"][0]["records"].as_u64().filter(|records| *records > 0)
        });
    }

    /// The job is as if one process had done it, and then the group is empty.
    fn holds(&self, mut submitter: Running, machines: &mut Machines) {
        self.until(machines, "the job ends", |_| submitter.is_over().then_some(()));
        submitter.wait(LIMIT).done();
        assert_same_bytes(&self.alone, &Output::open(&self.scratch.join("out")));
        let ended = Instant::now();
        self.until(machines, "the group is empty", |_| {
            let group = self.aws.group();
            (group.instances().is_empty() && group.desired_capacity() == Some(0)).then_some(())
        });
        eprintln!("  the group is empty {:.1} s after the job", ended.elapsed().as_secs_f64());
    }
}

#[test]
fn a_group_of_none_grows_with_a_job_and_is_none_again_after_it() {
    // So many that fast machines are still at work when the coordinator looks again, a second after they have come.
    let Some(cloud) = Cloud::enter("ec2: from none to none", 2000) else { return };
    let coordinator = cloud.coordinator();
    let mut machines = cloud.aws.machines(&cloud.scratch, &coordinator);
    assert_eq!(cloud.aws.group().desired_capacity(), Some(0));
    let mut submitter = cloud.submit(&coordinator);
    submitter.submitted();
    cloud.until(&mut machines, "those at work are protected", |_| {
        let group = cloud.aws.group();
        let protected = group.instances().iter().filter(|i| i.protected_from_scale_in() == Some(true)).count();
        (group.instances().len() == 3 && protected > 0).then_some(())
    });
    cloud.holds(submitter, &mut machines);
    // Who is told to leave ends well; nobody pulls the plug before.
    assert!(machines.cut_off().is_empty(), "{:?} were still there", machines.cut_off());
    // Without a coordinator the group would end by itself in half an hour.
    let now = SystemTime::UNIX_EPOCH.elapsed().expect("it is after 1970").as_secs() as i64;
    let ends_in = cloud.aws.ends_at().expect("the group is to end") - now;
    assert!((1200..=1800).contains(&ends_in), "in {ends_in} s");
    // Its policy is enough, and there is nothing in it that it does not need; this group has no hook.
    let (unused, forbidden) = cloud.aws.permissions();
    assert_eq!((unused, forbidden), (vec!["CompleteLifecycleAction".to_owned()], vec![]));
    coordinator.terminate();
}

/// What a coordinator may do to its own group.
const OF_ITS_GROUP: [&str; 5] = [
    "CompleteLifecycleAction",
    "PutScheduledUpdateGroupAction",
    "SetDesiredCapacity",
    "SetInstanceProtection",
    "TerminateInstanceInAutoScalingGroup",
];

/// What it may not, though it be its own.
const OF_NOBODY: [&str; 27] = [
    "AttachInstances",
    "AttachLoadBalancerTargetGroups",
    "BatchDeleteScheduledAction",
    "BatchPutScheduledUpdateGroupAction",
    "CreateAutoScalingGroup",
    "CreateLaunchConfiguration",
    "CreateOrUpdateTags",
    "DeleteAutoScalingGroup",
    "DeleteLifecycleHook",
    "DeletePolicy",
    "DeleteScheduledAction",
    "DeleteTags",
    "DescribeAutoScalingInstances",
    "DescribeScheduledActions",
    "DetachInstances",
    "EnterStandby",
    "ExecutePolicy",
    "ExitStandby",
    "PutLifecycleHook",
    "PutScalingPolicy",
    "PutWarmPool",
    "RecordLifecycleActionHeartbeat",
    "ResumeProcesses",
    "SetInstanceHealth",
    "StartInstanceRefresh",
    "SuspendProcesses",
    "UpdateAutoScalingGroup",
];

#[test]
fn a_coordinator_may_do_nothing_to_other_groups_and_nothing_else_to_its_own() {
    let scratch = Scratch::enter_beside("ec2: requests that nobody may make");
    let Some(aws) = AutoScaling::start(&scratch, 3) else { return };
    assert_eq!(aws.of_group(), OF_ITS_GROUP);
    let before = aws.group();
    for action in OF_ITS_GROUP {
        assert!(aws.denies_for_others(action), "{action}");
    }
    for action in OF_NOBODY {
        assert!(aws.denies(action) && aws.denies_for_others(action), "{action}");
    }
    assert_eq!(aws.group(), before);
    // Whoever is refused is so for the group's sake, or the action's.
    assert!(!aws.denies("SetDesiredCapacity"));
    // None of that is taken for what a program has asked.
    let (unused, forbidden) = aws.permissions();
    assert_eq!((unused.len(), forbidden), (OF_ITS_GROUP.len() + 1, vec![]));
}

#[test]
fn an_api_that_hangs_hands_that_meddle_and_machines_that_are_lost_change_no_byte() {
    let Some(cloud) = Cloud::enter("ec2: in bad moods", 1500) else { return };
    let coordinator = cloud.coordinator();
    let mut machines = cloud.aws.machines(&cloud.scratch, &coordinator);
    let mut submitter = cloud.submit(&coordinator);
    let id = submitter.submitted();
    cloud.until_some_are_done(&mut machines, &coordinator, &id);
    cloud.until(&mut machines, "those at work are protected", |_| {
        let group = cloud.aws.group();
        let protected = group.instances().iter().filter(|i| i.protected_from_scale_in() == Some(true)).count();
        (protected == 3).then_some(())
    });
    // Somebody wants none: those that are at work stay, and the others come back.
    cloud.aws.resize(0);
    cloud.until(&mut machines, "the size is set again", |_| {
        (cloud.aws.group().desired_capacity() == Some(3)).then_some(())
    });
    cloud.aws.hang(true);
    sleep(Duration::from_secs(3));
    cloud.aws.hang(false);
    // A machine is lost, and the group has not heard of it.
    let (_, lost) = machines.there().iter().next().expect("nobody has left yet");
    send(lost.worker.id(), Signal::Kill);
    cloud.holds(submitter, &mut machines);
    coordinator.terminate();
}

#[test]
fn an_api_that_throttles_or_fails_costs_time_and_nothing_else() {
    let Some(cloud) = Cloud::enter("ec2: throttled and failing", 900) else { return };
    cloud.aws.set(Mood::Throttles);
    let coordinator = cloud.coordinator();
    let mut machines = cloud.aws.machines(&cloud.scratch, &coordinator);
    let mut submitter = cloud.submit(&coordinator);
    let id = submitter.submitted();
    cloud.until_some_are_done(&mut machines, &coordinator, &id);
    assert!(cloud.aws.refused() > 0, "{}", coordinator.stderr());
    cloud.aws.set(Mood::Fails);
    let before = cloud.aws.refused();
    cloud.until(&mut machines, "some requests have failed", |_| (cloud.aws.refused() >= before + 10).then_some(()));
    assert!(coordinator.stderr().contains("the fleet"), "{}", coordinator.stderr());
    cloud.aws.set(Mood::Throttles);
    cloud.holds(submitter, &mut machines);
    coordinator.terminate();
}

/// Machines that have to go in the middle of a job hand back their work first, and others come in their place.
fn drained(name: &'static str, hook: bool, told: fn(&Cloud, &mut Machine, &str), says: &[&str]) {
    let Some(cloud) = Cloud::enter(name, 900) else { return };
    if hook {
        cloud.aws.put_up_hook();
        let settings = std::fs::read_to_string(cloud.scratch.join("coordinator.toml")).expect("it was written");
        cloud.scratch.write("coordinator.toml", settings + "lifecycle_hook = \"drain\"\n");
    }
    let coordinator = cloud.coordinator();
    let mut machines = cloud.aws.machines(&cloud.scratch, &coordinator);
    let mut submitter = cloud.submit(&coordinator);
    let id = submitter.submitted();
    cloud.until_some_are_done(&mut machines, &coordinator, &id);
    let (taken, machine) = machines.there().iter_mut().next().expect("nobody has left yet");
    let taken = taken.clone();
    told(&cloud, machine, &taken);
    cloud.until(&mut machines, "its worker has gone", |machines| {
        // Its machine may be gone already.
        let gone = machines.there().get_mut(&taken).is_none_or(|machine| machine.worker.is_over());
        gone.then_some(())
    });
    if !hook {
        cloud.aws.take(&taken);
    }
    cloud.until(&mut machines, "its machine has gone", |machines| {
        (!machines.there().contains_key(&taken)).then_some(())
    });
    cloud.holds(submitter, &mut machines);
    assert!(machines.cut_off().is_empty(), "{:?} were still there", machines.cut_off());
    let said = machines.said_by(&taken).expect("it has gone");
    assert!(says.iter().any(|words| said.contains(words)), "{said}");
    let (unused, forbidden) = cloud.aws.permissions();
    assert_eq!((unused.is_empty(), forbidden), (hook, vec![]), "{unused:?}");
    coordinator.terminate();
}

#[test]
fn a_machine_that_its_group_takes_is_drained_in_the_hook_before_it_goes() {
    // The coordinator sees it as well, and may be quicker.
    let says = ["its Auto Scaling group lets it go", "the coordinator has it leave"];
    drained("ec2: a lifecycle hook", true, |cloud, _, id| cloud.aws.take(id), &says);
}

#[test]
fn a_machine_whose_spot_capacity_is_wanted_back_is_drained_and_replaced() {
    let notice = |_: &Cloud, machine: &mut Machine, _: &str| machine.metadata.give_spot_notice();
    drained("ec2: a spot notice in a group", false, notice, &["its spot capacity is wanted back"]);
}

#[test]
fn a_coordinator_that_is_killed_goes_on_with_its_group() {
    let Some(cloud) = Cloud::enter("ec2: coordinator killed", 900) else { return };
    let coordinator = cloud.coordinator();
    let mut machines = cloud.aws.machines(&cloud.scratch, &coordinator);
    let mut submitter = cloud.submit(&coordinator);
    let id = submitter.submitted();
    cloud.until_some_are_done(&mut machines, &coordinator, &id);
    let instances = |cloud: &Cloud| -> Vec<_> {
        let group = cloud.aws.group();
        group.instances().iter().filter_map(|instance| instance.instance_id().map(str::to_owned)).collect()
    };
    let before = instances(&cloud);
    coordinator.kill();
    let coordinator = cloud.coordinator();
    cloud.until_some_are_done(&mut machines, &coordinator, &id);
    let after = instances(&cloud);
    assert!(before.iter().all(|id| after.contains(id)), "{before:?} {after:?}");
    cloud.holds(submitter, &mut machines);
    coordinator.terminate();
}

#[test]
fn a_group_that_is_not_there_or_too_small_is_told() {
    let Some(cloud) = Cloud::enter("ec2: no group", 60) else { return };
    let note = |coordinator: &Coordinator, id: &str, words: &str| {
        mr_tests::wait_until(words, || {
            cloud.status(coordinator, id)["note"].as_str().filter(|note| note.contains(words)).map(str::to_owned)
        })
    };
    for (file, words) in [
        ("group = \"others\"", "there is no Auto Scaling group `others` here"),
        ("group = \"mr-workers\"\nworkers_min = 5", "the group's MaxSize is 3: raise it, or lower `workers_max`"),
    ] {
        cloud.scratch.write("coordinator.toml", format!("[fleet]\nprovider = \"ec2\"\n{file}\n"));
        let coordinator = cloud.coordinator();
        let mut submitter = cloud.submit(&coordinator);
        let id = submitter.submitted();
        note(&coordinator, &id, words);
        submit(&cloud.scratch, ["--coordinator", coordinator.url(), "cancel", &id]).done();
        submitter.wait(LIMIT);
        coordinator.terminate();
    }
}

#[test]
fn after_a_spot_notice_a_worker_ends_what_it_is_at_and_leaves() {
    let scratch = Scratch::enter_beside("ec2: a spot notice");
    let photos = drawn(&scratch, "photos", 900, 5);
    let job = |output| Submit::over(&scratch, &photos, output, None).set("split.objects_max=300");
    let alone = job("alone").slots(2).done();
    let metadata = Metadata::of("i-0123");
    let coordinator = Coordinator::start(&scratch, "state", None, &[]);
    let mut spot = mr_tests::Worker::start_on_ec2(&metadata.endpoint(), &scratch, &coordinator);
    let mut submitter = job("out").to(&coordinator).start();
    let id = submitter.submitted();
    let stage = || {
        let status: Value =
            submit(&scratch, ["--coordinator", coordinator.url(), "--json", "status", &id]).done().json();
        // There are no stages before the input is listed.
        ["records", "tasks_done", "tasks_running"].map(|of| status["stages"][0][of].as_u64().unwrap_or(0))
    };
    mr_tests::wait_until("photos are done", || (stage()[0] > 0).then_some(()));
    let [before, ..] = stage();
    metadata.give_spot_notice();
    spot.until_it_says("its spot capacity is wanted back");
    let ended = spot.ends();
    assert!(ended.stderr.contains("what runs has "), "{ended}");
    assert!(ended.stderr.contains("stopped; leases are handed back"), "{ended}");
    let [records, done, running] = stage();
    assert!(done > 0 && running == 0, "{done} done, {running} running");
    assert!(records >= before, "of {before} photos that were done {records} are left");
    let stays = mr_tests::Worker::start(&scratch, &coordinator, None);
    submitter.wait(LIMIT).done();
    assert_same_bytes(&alone, &Output::open(&scratch.join("out")));
    stays.terminate();
    coordinator.terminate();
}
