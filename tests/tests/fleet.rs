//! A fleet that the coordinator makes: real workers come when there is work, go when there is none, and are replaced when they
//! are lost; what they write is what one process writes.

use mr_tests::{
    Coordinator, Output, Running, Scratch, Signal, Submit, Worker, address, assert_same_bytes, drawn, send, submit,
    wait_until,
};
use serde_json::Value;
use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(120);

struct Fleet {
    scratch: Scratch,
    photos: PathBuf,
    alone: Output,
    address: SocketAddr,
}

impl Fleet {
    fn enter(name: &'static str, photos: u64) -> Self {
        let scratch = Scratch::enter(name);
        let photos = drawn(&scratch, "photos", photos, 5);
        let alone = Submit::over(&scratch, &photos, "alone", None).set("split.objects_max=16").slots(2).done();
        // Whoever has nothing to do leaves after some seconds.
        scratch.write(
            "coordinator.toml",
            format!(
                "[fleet]\nprovider = \"local\"\nworkers_max = 2\nslots = 1\ntarget_minutes = 0\nidle_minutes = 0.05\n\
                 args = [\"--scratch\", {:?}]\n",
                scratch.join("worker-scratch")
            ),
        );
        Self { scratch, photos, alone, address: address() }
    }

    fn coordinator(&self) -> Coordinator {
        // As a unit of systemd has it. Workers inherit the environment, and this is not for them.
        let environment = [("MR_CONFIG", "coordinator.toml".to_owned())];
        Coordinator::start_with(environment, self.address, &self.scratch, &["--lease-ms", "2000"])
    }

    fn submit(&self, coordinator: &Coordinator) -> (Running, String) {
        let job = Submit::job(&self.scratch, &self.photos, "out").set("split.objects_max=16");
        let mut submitter = job.to(coordinator).start();
        let id = submitter.submitted();
        (submitter, id)
    }

    fn status(&self, coordinator: &Coordinator, id: &str) -> Value {
        submit(&self.scratch, ["--coordinator", coordinator.url(), "--json", "status", id]).done().json()
    }

    /// What those who watch the job are told.
    fn note(&self, coordinator: &Coordinator, id: &str) -> Option<String> {
        self.status(coordinator, id)["note"].as_str().map(str::to_owned)
    }

    /// Processes of this fleet's workers.
    fn workers(&self) -> Vec<u32> {
        let ours = self.scratch.join("worker-scratch");
        let processes = fs::read_dir("/proc").expect("Linux tells").flatten();
        let numbers = processes.filter_map(|process| process.file_name().to_str()?.parse().ok());
        let is_ours = |number: &u32| {
            let line = fs::read_to_string(format!("/proc/{number}/cmdline")).unwrap_or_default();
            line.contains("mr-worker") && line.contains(ours.to_str().expect("it is UTF-8"))
        };
        numbers.filter(is_ours).collect()
    }

    fn until_some_are_done(&self, coordinator: &Coordinator, id: &str) {
        wait_until("photos are done", || {
            let status = self.status(coordinator, id);
            assert!(matches!(status["phase"].as_str(), Some("listing" | "running")), "too late to meddle: {status}");
            status["stages"][0]["records"].as_u64().filter(|records| *records > 0)
        });
    }

    /// The job is as if one process had done it, and then nobody is left.
    fn holds(&self, submitter: Running, coordinator: &Coordinator, id: &str) {
        submitter.wait(LIMIT).done();
        assert_same_bytes(&self.alone, &Output::open(&self.scratch.join("out")));
        wait_until("nobody is left", || (self.status(coordinator, id)["workers"] == 0).then_some(()));
        wait_until("no process is left", || self.workers().is_empty().then_some(()));
    }
}

#[test]
fn an_empty_fleet_grows_with_a_job_and_is_empty_again_after_it() {
    let fleet = Fleet::enter("fleet: from nothing and back", 300);
    let coordinator = fleet.coordinator();
    assert!(fleet.workers().is_empty());
    let (submitter, id) = fleet.submit(&coordinator);
    wait_until("both workers are in touch", || {
        let status = fleet.status(&coordinator, &id);
        assert!(matches!(status["phase"].as_str(), Some("listing" | "running")), "too late to see it: {status}");
        (status["workers"] == 2).then_some(())
    });
    fleet.holds(submitter, &coordinator, &id);
    let report = Output::open(&fleet.scratch.join("out")).report;
    eprintln!("  first image after {:?} s", report.first_image_s);

    // Another one finds the same.
    let ended = Submit::job(&fleet.scratch, &fleet.photos, "again").to(&coordinator).run().done();
    assert!(ended.stdout.starts_with("300 images embedded"), "{ended}");
    coordinator.terminate();
    wait_until("a coordinator that ends takes its workers with it", || fleet.workers().is_empty().then_some(()));
}

#[test]
fn workers_that_are_lost_are_replaced_and_change_no_byte() {
    let fleet = Fleet::enter("fleet: workers killed", 500);
    let coordinator = fleet.coordinator();
    let (submitter, id) = fleet.submit(&coordinator);
    fleet.until_some_are_done(&coordinator, &id);
    let killed = fleet.workers();
    killed.iter().for_each(|worker| send(*worker, Signal::Kill));
    wait_until("others are there", || {
        let workers = fleet.workers();
        (workers.len() == 2 && workers.iter().all(|worker| !killed.contains(worker))).then_some(())
    });
    fleet.holds(submitter, &coordinator, &id);
    coordinator.terminate();
}

#[test]
fn a_coordinator_that_is_killed_finds_its_workers_again_and_lets_them_go_in_the_end() {
    let fleet = Fleet::enter("fleet: coordinator killed", 500);
    let coordinator = fleet.coordinator();
    let (submitter, id) = fleet.submit(&coordinator);
    fleet.until_some_are_done(&coordinator, &id);
    let before = fleet.workers();
    coordinator.kill();
    let coordinator = fleet.coordinator();
    fleet.until_some_are_done(&coordinator, &id);
    assert_eq!(fleet.workers(), before, "nobody is started in their place");
    fleet.holds(submitter, &coordinator, &id);
    coordinator.terminate();
}

#[test]
fn a_worker_that_is_always_there_is_not_doubled_when_its_coordinator_is_killed() {
    let fleet = Fleet::enter("fleet: always one", 60);
    let one = "[fleet]\nprovider = \"local\"\nworkers_min = 1\nworkers_max = 1\n";
    let args = format!("args = [\"--scratch\", {:?}]\n", fleet.scratch.join("worker-scratch"));
    fleet.scratch.write("coordinator.toml", one.to_owned() + &args);
    let coordinator = fleet.coordinator();
    let before = wait_until("it is there", || Some(fleet.workers()).filter(|workers| workers.len() == 1));
    coordinator.kill();
    let coordinator = fleet.coordinator();
    let ended = Submit::job(&fleet.scratch, &fleet.photos, "out").to(&coordinator).run().done();
    assert!(ended.stdout.starts_with("60 images embedded"), "{ended}");
    // Until the fleet was looked at for long enough.
    for _ in 0..40 {
        assert_eq!(fleet.workers(), before);
        std::thread::sleep(Duration::from_millis(100));
    }
    coordinator.terminate();
}

#[test]
fn machines_that_are_there_for_a_job_are_on_its_bill_whether_or_not_they_work() {
    let fleet = Fleet::enter("fleet: bill", 200);
    let two = "[fleet]\nprovider = \"local\"\nworkers_min = 2\nworkers_max = 2\nusd_per_worker_hour = 0.36\n";
    fleet.scratch.write("coordinator.toml", two);
    let coordinator = fleet.coordinator();
    // One task has all photos, so that one of the two is idle.
    let job = Submit::job(&fleet.scratch, &fleet.photos, "out").set("split.objects_max=256");
    job.to(&coordinator).run().done();
    let bill = Output::open(&fleet.scratch.join("out")).report.bill.expect("it has one");
    assert!(bill.instance_seconds > 1.2 * bill.worker_seconds && bill.worker_seconds > 0.0, "{bill:?}");
    let usd = bill.instance_seconds * 0.0001;
    assert!(bill.usd.workers.is_some_and(|workers| (workers - usd).abs() < 1e-9), "{bill:?}");
    coordinator.terminate();
}

#[test]
fn a_fleet_that_can_t_start_anyone_says_why() {
    let fleet = Fleet::enter("fleet: no program", 60);
    fleet.scratch.write("coordinator.toml", "[fleet]\nprovider = \"local\"\nprogram = \"/no/such/mr-worker\"\n");
    let coordinator = fleet.coordinator();
    let (submitter, id) = fleet.submit(&coordinator);
    wait_until("it says why", || {
        fleet.note(&coordinator, &id).filter(|note| note.contains("starting /no/such/mr-worker: "))
    });
    submit(&fleet.scratch, ["--coordinator", coordinator.url(), "cancel", &id]).done();
    submitter.wait(LIMIT);
    coordinator.terminate();
}

#[test]
fn workers_of_others_are_wanted_and_never_told_to_leave() {
    let fleet = Fleet::enter("fleet: of others", 60);
    let settings = "[fleet]\nprovider = \"static\"\nworkers_max = 4\ntarget_minutes = 0\nidle_minutes = 0.01\n";
    fleet.scratch.write("coordinator.toml", settings);
    let coordinator = fleet.coordinator();
    let (submitter, id) = fleet.submit(&coordinator);
    wait_until("it says how many", || {
        fleet.note(&coordinator, &id).filter(|note| note.contains("4 are wanted, and this coordinator starts none"))
    });
    let worker = Worker::start(&fleet.scratch, &coordinator, None);
    submitter.wait(LIMIT).done();
    assert_same_bytes(&fleet.alone, &Output::open(&fleet.scratch.join("out")));
    // It has had nothing to do for longer than that now, and has work again.
    std::thread::sleep(Duration::from_secs(3));
    let ended = Submit::job(&fleet.scratch, &fleet.photos, "again").to(&coordinator).run().done();
    assert!(ended.stdout.starts_with("60 images embedded"), "{ended}");
    let ended = worker.terminate();
    assert!(!ended.stderr.contains("has it leave"), "{ended}");
    coordinator.terminate();
}
