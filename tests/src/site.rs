//! A cluster whose programs are on hosts of their own, with links between them that are cut and healed. In the end all is
//! as if nothing had been.

use crate::process::Running;
use crate::programs::client;
use crate::scratch::say;
use crate::{Certs, Ended, Hosts, S3Server, Scratch, Untroubled};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// The hosts that there are.
const HOSTS: [&str; 7] = ["store", "coordinator", "standby", "submitter", "worker-1", "worker-2", "worker-3"];
const WORKERS: [&str; 3] = ["worker-1", "worker-2", "worker-3"];
/// What a coordinator says that is no longer one.
pub const REPLACED: [&str; 3] = ["another coordinator", "has taken over", "this one stops"];
const PORT: u16 = 7171;
/// Photos in a store on a host of its own, and what a run that nobody troubles makes of them.
pub struct Site {
    s3: S3Server,
    untroubled: Untroubled,
    pub hosts: Hosts,
    pub scratch: Scratch,
    lease_ms: u64,
}

impl Site {
    /// With attempts that are short enough for many to be cut, and leases so short that whoever is cut off is given up
    /// soon. `None`: this test was skipped.
    pub fn enter(name: &'static str) -> Option<Self> {
        Self::with(name, 8, 2000)
    }

    /// With so many photos in a split, and such leases.
    pub fn with(name: &'static str, split: u32, lease_ms: u64) -> Option<Self> {
        let scratch = Scratch::enter_beside(name);
        let hosts = Hosts::enter(&HOSTS)?;
        let s3 = S3Server::on(&hosts, "store", &scratch, &Untroubled::photos(&scratch), 40);
        let untroubled = Untroubled::run(&scratch, &s3, split);
        // Other hosts are spoken to with certificates.
        Certs::init(&scratch);
        Some(Self { s3, untroubled, hosts, scratch, lease_ms })
    }

    /// Runs the job on a cluster to which that is done once it is at work. `coordinators`: hosts, the first of which leads.
    pub fn survives(&self, name: &str, coordinators: &[&'static str], trouble: impl FnOnce(&mut Spread<'_>)) {
        let began = Instant::now();
        let mut spread = Spread::start(self, name, coordinators);
        trouble(&mut spread);
        let long = began.elapsed().as_secs_f64();
        spread.end();
        say(&format!("  {name}: {:.1} s, and {long:.1} s to the end of the trouble", began.elapsed().as_secs_f64()));
    }
}

/// Coordinators, three workers and a submitter at work on the job.
pub struct Spread<'a> {
    pub site: &'a Site,
    name: String,
    coordinators: Vec<(&'static str, Running)>,
    workers: Vec<(&'static str, Running)>,
    submitter: Option<Running>,
    /// Whether a coordinator may find that another has taken over, and end.
    pub replaces: bool,
}

impl<'a> Spread<'a> {
    /// Far more than any of it takes.
    const LIMIT: Duration = Duration::from_secs(240);

    fn start(site: &'a Site, name: &str, coordinators: &[&'static str]) -> Self {
        let (coordinating, workers) = (Vec::new(), Vec::new());
        let mut spread =
            Self { site, name: name.to_owned(), coordinators: coordinating, workers, submitter: None, replaces: false };
        for host in coordinators {
            let listen = format!("{}:{PORT}", site.hosts.address(host));
            let state = format!("s3://photos/state-{name}/");
            let lease = site.lease_ms.to_string();
            let certs = spread.certs("coordinator");
            let args = ["--listen", &listen, "--certs", &certs, "--state", &state, "--lease-ms", &lease];
            let mut running = spread.run("mr-coordinator", host, &args);
            running.first_line();
            spread.coordinators.push((host, running));
        }
        let urls = spread.urls();
        for host in WORKERS {
            let kept = site.scratch.join(format!("scratch-{name}-{host}")).display().to_string();
            let certs = spread.certs("worker");
            let args = ["--coordinator", &urls, "--certs", &certs, "--slots", "1", "--scratch", &kept];
            let running = spread.run("mr-worker", host, &args);
            spread.workers.push((host, running));
        }
        let submit = site.untroubled.submit(&site.scratch, &site.s3, &spread.output(), &urls);
        spread.submitter = Some(submit.certs(&spread.certs("submitter")).on(&site.hosts, "submitter").start());
        spread
    }

    fn run(&self, program: &str, host: &str, args: &[&str]) -> Running {
        let Site { scratch, s3, hosts, .. } = self.site;
        let mut command = client(scratch, program, s3, host);
        command.args(args);
        Running::start(hosts.on(host, command), scratch)
    }

    fn certs(&self, name: &str) -> String {
        self.site.scratch.join("certs").join(name).display().to_string()
    }

    fn output(&self) -> String {
        format!("out-{}/", self.name)
    }

    fn urls(&self) -> String {
        let url = |(host, _): &(&'static str, Running)| format!("https://{}:{PORT}", self.site.hosts.address(host));
        self.coordinators.iter().map(url).collect::<Vec<_>>().join(",")
    }

    /// How many files tasks have made so far.
    pub fn made(&self) -> usize {
        self.site.s3.keys(&format!("state-{}/work/", self.name)).len()
    }

    /// What the program on that host has said on stderr.
    pub fn said(&self, host: &str) -> String {
        let mut all = self.coordinators.iter().chain(&self.workers);
        match all.find(|(there, _)| *there == host) {
            Some((_, running)) => running.stderr(),
            None => self.submitter.as_ref().expect("it was started").stderr(),
        }
    }

    pub fn submitter_is_over(&mut self) -> bool {
        self.submitter.as_mut().expect("it was started").is_over()
    }

    /// Waits for so many files of tasks: the job is in the middle of it.
    #[track_caller]
    pub fn until_made(&mut self, files: usize) {
        self.until(&format!("{files} files are made"), |spread| spread.made() >= files);
    }

    #[track_caller]
    pub fn until_said(&mut self, host: &str, words: &str) {
        self.until(&format!("{host} says `{words}`"), |spread| spread.said(host).contains(words));
    }

    /// Waits for something to come true. Nobody may end before the job does.
    #[track_caller]
    pub fn until(&mut self, what: &str, mut look: impl FnMut(&mut Self) -> bool) {
        let began = Instant::now();
        while !look(self) {
            self.nobody_ended();
            assert!(began.elapsed() < Self::LIMIT, "{what}: not in time\n{}", self.all_said());
            sleep(Duration::from_millis(20));
        }
    }

    fn all_said(&self) -> String {
        let hosts = HOSTS.iter().filter(|host| **host != "store");
        hosts.map(|host| format!("{host}:\n{}", self.said(host))).collect()
    }

    /// Time passes.
    pub fn lasts(&mut self, seconds: f64) {
        let began = Instant::now();
        while began.elapsed().as_secs_f64() < seconds {
            self.nobody_ended();
            sleep(Duration::from_millis(20));
        }
    }

    fn nobody_ended(&mut self) {
        if self.replaces
            && self.coordinators.len() > 1
            && self.coordinators.iter_mut().any(|(_, running)| running.is_over())
        {
            let at = self.coordinators.iter_mut().position(|(_, running)| running.is_over()).expect("there is one");
            self.coordinators.remove(at).1.wait(Self::LIMIT).stopped(1, &REPLACED);
        }
        for (host, running) in self.coordinators.iter_mut().chain(&mut self.workers) {
            assert!(!running.is_over(), "the program on {host} has ended by itself\n{}", running.stderr());
        }
    }

    /// Waits for the end of a coordinator that is no longer one.
    pub fn dismiss(&mut self, host: &str) -> Ended {
        let at = self.coordinators.iter().position(|(there, _)| *there == host).expect("it was started");
        self.coordinators.remove(at).1.wait(Self::LIMIT)
    }

    /// The job ends well, and everybody else when they are asked to; what lies there is what an untroubled run makes.
    fn end(mut self) {
        self.until("the submitter ends", Self::submitter_is_over);
        Untroubled::ended_well(self.submitter.take().expect("it was started"), Self::LIMIT);
        let listings = format!("state-{}/jobs/", self.name);
        self.until("the listing is gone", |spread| spread.site.s3.keys(&listings).is_empty());
        let output = self.output();
        for (_, worker) in self.workers.drain(..) {
            worker.terminate();
        }
        // Those that stand by first, so that none takes over now.
        for (_, coordinator) in self.coordinators.drain(..).rev() {
            coordinator.terminate();
        }
        self.site.untroubled.is(&self.site.scratch, &self.site.s3, &output);
    }
}
