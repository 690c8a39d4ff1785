//! Our programs, found where they were built, in an environment that holds nothing of whoever runs the tests.

use crate::process::Running;
use crate::{Ended, S3Server, Scratch, Signal};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

/// The path of a program of ours: beside the test that runs, which lies in `deps`.
pub fn program(name: &str) -> PathBuf {
    let test = std::env::current_exe().expect("the system knows what it runs");
    let folder = test.ancestors().nth(2).expect("tests lie in target/release/deps");
    let path = folder.join(name);
    assert!(
        path.is_file(),
        "{} is not there, and these tests start the programs as users do: run `cargo xtask test`, which builds them first",
        path.display()
    );
    path
}

/// The program in the scratch folder. `s3`: its credentials and where it is.
pub(crate) fn command(scratch: &Scratch, name: &str, s3: Option<&S3Server>) -> Command {
    let mut command = Command::new(program(name));
    for (name, _) in std::env::vars_os() {
        if name.to_str().is_some_and(|name| name.starts_with("MR_") || name.starts_with("AWS_")) {
            command.env_remove(name);
        }
    }
    let home = scratch.join("home");
    std::fs::create_dir_all(&home).expect("there is room");
    command.current_dir(scratch.path()).env("HOME", home).env_remove("XDG_CACHE_HOME");
    if let Some(s3) = s3 {
        command.envs(s3.environment());
    }
    command
}

/// A program that goes to the store under a name of its own, with its arguments to come.
pub fn client(scratch: &Scratch, program: &str, s3: &S3Server, name: &str) -> Command {
    let mut command = command(scratch, program, None);
    command.envs(s3.environment_of(name));
    command
}

pub struct Coordinator {
    running: Running,
    url: String,
}

impl Coordinator {
    /// Ready when this returns. `state` is a folder or a URL.
    pub fn start(scratch: &Scratch, state: &str, s3: Option<&S3Server>, args: &[&str]) -> Self {
        let anywhere = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        Self::start_in(command(scratch, "mr-coordinator", s3), anywhere, scratch, state, args)
    }

    /// The same with this environment, at an address that one [chose](crate::address), its state in a folder.
    pub fn start_with(
        environment: impl IntoIterator<Item = (&'static str, String)>,
        address: SocketAddr,
        scratch: &Scratch,
        args: &[&str],
    ) -> Self {
        let mut command = command(scratch, "mr-coordinator", None);
        command.envs(environment);
        Self::start_in(command, address, scratch, "state", args)
    }

    fn start_in(mut command: Command, address: SocketAddr, scratch: &Scratch, state: &str, args: &[&str]) -> Self {
        command.args(["--listen", &address.to_string(), "--state", state]).args(args);
        let mut running = Running::start(command, scratch);
        let url = running.first_line();
        assert!(url.split_once("://").is_some_and(|(_, at)| at.starts_with("127.0.0.1:")), "{url}");
        Self { running, url }
    }

    pub fn url(&self) -> &str {
        &self.url
    }

    pub fn stderr(&self) -> String {
        self.running.stderr()
    }

    pub fn signal(&self, signal: Signal) {
        self.running.signal(signal);
    }

    pub fn terminate(self) -> Ended {
        self.running.terminate()
    }

    pub fn kill(self) -> Ended {
        self.running.kill()
    }
}

pub struct Worker {
    running: Running,
}

impl Worker {
    /// With one slot, and scratch of its own, as if it were on a machine of its own.
    pub fn start(scratch: &Scratch, coordinator: &Coordinator, s3: Option<&S3Server>) -> Self {
        Self::start_in(command(scratch, "mr-worker", s3), scratch, coordinator)
    }

    /// On these kernels and no others.
    pub fn start_on(kernels: &str, scratch: &Scratch, coordinator: &Coordinator) -> Self {
        let mut command = command(scratch, "mr-worker", None);
        command.env("MR_KERNELS", kernels);
        Self::start_in(command, scratch, coordinator)
    }

    /// It may use so much and no more.
    pub fn start_with_memory(mb: u32, slots: u32, scratch: &Scratch, coordinator: &Coordinator) -> Self {
        let mut command = command(scratch, "mr-worker", None);
        command.env("MR_MEMORY_MB", mb.to_string());
        Self::start_with_slots(slots, command, scratch, coordinator)
    }

    /// On a machine of EC2's, whose metadata service is there.
    pub fn start_on_ec2(metadata: &str, scratch: &Scratch, coordinator: &Coordinator) -> Self {
        let mut command = command(scratch, "mr-worker", None);
        command.arg("--ec2").env("AWS_EC2_METADATA_SERVICE_ENDPOINT", metadata);
        Self::start_in(command, scratch, coordinator)
    }

    /// It shows that certificate, and goes to a store for which it has those credentials.
    pub fn start_with_certs(certs: &str, scratch: &Scratch, coordinator: &Coordinator, s3: Option<&S3Server>) -> Self {
        let mut command = command(scratch, "mr-worker", s3);
        command.args(["--certs", certs]);
        Self::start_in(command, scratch, coordinator)
    }

    /// It shows that certificate, if any, and tells of itself at a port that it says.
    pub fn start_with_metrics(
        certs: Option<&str>,
        scratch: &Scratch,
        coordinator: &Coordinator,
        s3: Option<&S3Server>,
    ) -> Self {
        let mut command = command(scratch, "mr-worker", s3);
        command.env("MR_METRICS", "127.0.0.1:0");
        if let Some(certs) = certs {
            command.args(["--certs", certs]);
        }
        Self::start_in(command, scratch, coordinator)
    }

    /// By itself, and soon.
    pub fn ends(self) -> Ended {
        self.running.wait(Duration::from_secs(30)).done()
    }

    pub fn is_over(&mut self) -> bool {
        self.running.is_over()
    }

    pub fn stderr(&self) -> String {
        self.running.stderr()
    }

    /// All that it has said by then.
    pub fn until_it_says(&mut self, words: &str) -> String {
        self.running.until("say so", |running| Some(running.stderr()).filter(|said| said.contains(words)))
    }

    fn start_in(command: Command, scratch: &Scratch, coordinator: &Coordinator) -> Self {
        Self::start_with_slots(1, command, scratch, coordinator)
    }

    fn start_with_slots(slots: u32, mut command: Command, scratch: &Scratch, coordinator: &Coordinator) -> Self {
        let own = scratch.log("scratch");
        command.args(["--coordinator", coordinator.url(), "--slots", &slots.to_string()]).arg("--scratch").arg(own);
        Self { running: Running::start(command, scratch) }
    }

    pub fn terminate(self) -> Ended {
        self.running.terminate()
    }

    pub fn kill(self) -> Ended {
        self.running.kill()
    }
}
