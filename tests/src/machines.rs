//! The machines of an Auto Scaling group: a worker for each instance that it has, and the metadata service that tells the worker
//! who it is and that it has to go.

use crate::auto_scaling::AutoScaling;
use crate::process::Running;
use crate::programs::command;
use crate::{Coordinator, Metadata, Scratch};
use std::collections::BTreeMap;
use std::thread::sleep;
use std::time::{Duration, Instant};

pub struct Machines<'a> {
    group: &'a AutoScaling,
    scratch: &'a Scratch,
    coordinator: String,
    there: BTreeMap<String, Machine>,
    cut_off: Vec<String>,
    /// What workers said whose machines have gone.
    said: BTreeMap<String, String>,
}

/// A worker that has said its last word is gone a moment later.
const LAST_MOMENT: Duration = Duration::from_millis(500);

pub struct Machine {
    pub worker: Running,
    pub metadata: Metadata,
}

impl<'a> Machines<'a> {
    pub(crate) fn of(group: &'a AutoScaling, scratch: &'a Scratch, coordinator: &Coordinator) -> Self {
        let coordinator = coordinator.url().to_owned();
        Self { group, scratch, coordinator, there: BTreeMap::new(), cut_off: Vec::new(), said: BTreeMap::new() }
    }

    /// Starts a machine for each instance that is new. One whose instance has gone is cut off from its mains.
    pub fn tend(&mut self) {
        let group = self.group.group();
        let in_service = group.instances().iter().filter_map(|instance| instance.instance_id());
        // In this order: whoever is taken waits before the group has it no longer.
        let waiting = self.group.waiting();
        let instances: Vec<_> = in_service.chain(waiting.iter().map(String::as_str)).collect();
        for (id, mut machine) in self.there.extract_if(.., |id, _| !instances.contains(&id.as_str())) {
            let gone = Instant::now();
            while !machine.worker.is_over() && gone.elapsed() < LAST_MOMENT {
                sleep(Duration::from_millis(10));
            }
            if !machine.worker.is_over() {
                self.cut_off.push(id.clone());
            }
            self.said.insert(id, machine.worker.stderr());
        }
        for id in instances {
            self.there.entry(id.to_owned()).or_insert_with(|| {
                let metadata = Metadata::of(id);
                let mut command = command(self.scratch, "mr-worker", None);
                command.args(["--coordinator", &self.coordinator, "--slots", "1", "--ec2"]);
                command.env("AWS_EC2_METADATA_SERVICE_ENDPOINT", metadata.endpoint());
                command.arg("--scratch").arg(self.scratch.log("scratch"));
                Machine { worker: Running::start(command, self.scratch), metadata }
            });
        }
        for id in waiting {
            self.there[&id].metadata.end();
        }
    }

    /// Instances that were taken away while their workers were still there.
    pub fn cut_off(&self) -> &[String] {
        &self.cut_off
    }

    /// All that the worker of a machine said that has gone.
    pub fn said_by(&self, instance: &str) -> Option<&str> {
        self.said.get(instance).map(String::as_str)
    }

    pub fn there(&mut self) -> &mut BTreeMap<String, Machine> {
        &mut self.there
    }
}
