//! A cluster in a store that is watched: whoever is killed is replaced, and in the end all is as if nobody had been.

use crate::REPLACED;
use crate::moods::Moods;
use crate::points::{Point, Points, Struck};
use crate::process::Running;
use crate::programs::client;
use crate::scratch::say;
use crate::{Clocks, Ended, S3Server, Scratch, Untroubled, address};
use std::net::SocketAddr;
use std::process::Command;
use std::sync::Arc;
use std::thread::sleep;
use std::time::{Duration, Instant};

/// Far more than any of it takes.
const LIMIT: Duration = Duration::from_secs(120);

/// Photos in a store that is watched, and what a run that nobody troubles makes of them.
pub struct House {
    pub scratch: Scratch,
    pub s3: S3Server,
    pub points: Arc<Points>,
    /// Of the store: even, until a test says otherwise.
    pub moods: Arc<Moods>,
    clocks: Option<Clocks>,
    untroubled: Untroubled,
}

/// Who takes the place of a coordinator that was killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heir {
    /// One that is started then, at the same address.
    Restarted,
    /// One that has stood by at another address.
    StoodBy,
}

impl House {
    pub fn enter(name: &'static str) -> Self {
        Self::build(name, |_| None)
    }

    /// One in which each process has a wall clock of its own.
    pub fn with_clocks(name: &'static str) -> Self {
        Self::build(name, |scratch| Some(Clocks::new(scratch)))
    }

    pub fn clocks(&self) -> &Clocks {
        self.clocks.as_ref().expect("it was built with clocks")
    }

    fn build(name: &'static str, clocks: impl FnOnce(&Scratch) -> Option<Clocks>) -> Self {
        let scratch = Scratch::enter(name);
        let points = Arc::new(Points::default());
        let moods = Arc::new(Moods::new(points.clone()));
        let s3 = S3Server::here(&Untroubled::photos(&scratch), 40, moods.clone());
        let untroubled = Untroubled::run(&scratch, &s3, 16);
        let clocks = clocks(&scratch);
        Self { scratch, s3, points, moods, clocks, untroubled }
    }

    /// The job on that cluster.
    pub fn submit(&self, cluster: &Cluster<'_>) -> Running {
        self.untroubled.submit(&self.scratch, &self.s3, &cluster.output(), &cluster.urls()).start()
    }

    /// Runs the job on a cluster in which that happens.
    pub fn survives(&self, name: &str, heir: Heir, points: &[Point]) {
        let plan: Vec<_> = points.iter().map(Point::to_string).collect();
        say(&format!("  {name}: {heir:?}; {}", plan.join(", ")));
        let began = Instant::now();
        self.points.arm(points);
        let mut cluster = Cluster::start(self, name, heir, &[]);
        let mut submitter = self.submit(&cluster);
        cluster.until("the submitter ends", |_| submitter.is_over().then_some(()));
        self.ended_well(submitter);
        cluster.until("all points are reached", |_| self.points.left().is_empty().then_some(()));
        self.holds(cluster);
        say(&format!("  {name}: {:.1} s", began.elapsed().as_secs_f64()));
    }

    /// Says it to whoever watches the tests.
    pub fn tell(&self, line: &str) {
        say(&format!("  {line}"));
    }

    /// A program of ours that goes to the store under this name.
    fn client(&self, program: &str, name: &str) -> Command {
        let mut command = client(&self.scratch, program, &self.s3, name);
        if let Some(clocks) = &self.clocks {
            command.envs(clocks.environment(name));
        }
        command
    }

    pub fn ended(&self, submitter: Running) -> Ended {
        submitter.wait(LIMIT)
    }

    pub fn ended_well(&self, submitter: Running) {
        Untroubled::ended_well(submitter, LIMIT);
    }

    /// The cluster's output is what it would have been without trouble, and nothing else lies there; then it ends well.
    pub fn holds(&self, mut cluster: Cluster<'_>) {
        let listings = format!("state-{}/jobs/", cluster.name);
        cluster.until("the listing is gone", |_| self.s3.keys(&listings).is_empty().then_some(()));
        let output = cluster.output();
        cluster.terminate();
        self.untroubled.is(&self.scratch, &self.s3, &output);
    }
}

/// One or two coordinators and two workers, all of which go to the store under names of their own.
pub struct Cluster<'a> {
    house: &'a House,
    name: String,
    args: Vec<String>,
    seats: Vec<Seat>,
    workers: Vec<(String, Running)>,
    started: u32,
    /// The store may be so long in a bad mood that a coordinator which stands by takes over from one that lives.
    pub takes_over: bool,
}

/// Where a coordinator is, at work or standing by.
struct Seat {
    address: SocketAddr,
    client: String,
    running: Running,
}

impl<'a> Cluster<'a> {
    /// `args`: for coordinators.
    pub fn start(house: &'a House, name: &str, heir: Heir, args: &[&str]) -> Self {
        let args = args.iter().map(|arg| (*arg).to_owned()).collect();
        let (seats, workers) = (Vec::new(), Vec::new());
        let mut cluster = Self { house, name: name.to_owned(), args, seats, workers, started: 0, takes_over: false };
        let count = match heir {
            Heir::Restarted => 1,
            Heir::StoodBy => 2,
        };
        for at in 0..count {
            let seat = cluster.coordinator(address());
            cluster.seats.push(seat);
            cluster.until("a coordinator listens", |cluster| {
                cluster.seats[at].running.stdout().contains('\n').then_some(())
            });
        }
        for _ in 0..2 {
            cluster.hire();
        }
        cluster
    }

    pub fn output(&self) -> String {
        format!("out-{}/", self.name)
    }

    /// Of all coordinators.
    pub fn urls(&self) -> String {
        let urls: Vec<_> = self.seats.iter().map(|seat| format!("http://{}", seat.address)).collect();
        urls.join(",")
    }

    /// The process that has this name at the store.
    pub fn process(&self, client: &str) -> &Running {
        let seats = self.seats.iter().map(|seat| (&seat.client, &seat.running));
        let mut all = seats.chain(self.workers.iter().map(|(client, running)| (client, running)));
        all.find(|(there, _)| *there == client).expect("it was started and not replaced").1
    }

    /// The names of all that run, at the store.
    pub fn clients(&self) -> Vec<String> {
        let seats = self.seats.iter().map(|seat| &seat.client);
        seats.chain(self.workers.iter().map(|(client, _)| client)).cloned().collect()
    }

    fn next(&mut self, kind: &str) -> String {
        self.started += 1;
        format!("{kind}-{}", self.started)
    }

    fn coordinator(&mut self, address: SocketAddr) -> Seat {
        let name = self.next("coordinator");
        let House { scratch, points, .. } = self.house;
        let mut command = self.house.client("mr-coordinator", &name);
        command.args(["--listen", &address.to_string(), "--state", &format!("s3://photos/state-{}/", self.name)]);
        // Killed workers keep nobody waiting for long.
        command.args(["--lease-ms", "2000"]).args(&self.args);
        let running = points.introduce(&name, || Running::start(command, scratch));
        Seat { address, client: name, running }
    }

    /// Starts one more worker, with one slot.
    pub fn hire(&mut self) {
        let name = self.next("worker");
        let House { scratch, points, .. } = self.house;
        let mut command = self.house.client("mr-worker", &name);
        command.args(["--coordinator", &self.urls(), "--slots", "1", "--scratch"]);
        command.arg(scratch.join(format!("scratch-{}-{name}", self.name)));
        let running = points.introduce(&name, || Running::start(command, scratch));
        self.workers.push((name, running));
    }

    /// Waits for something to come true; meanwhile whoever is killed is replaced. Nobody may end in any other way.
    #[track_caller]
    pub fn until<T>(&mut self, what: &str, mut look: impl FnMut(&mut Self) -> Option<T>) -> T {
        self.watch(what, |cluster, struck| match struck {
            Some(struck) => {
                if struck.point.kills() {
                    cluster.replace(&struck.client);
                }
                None
            }
            None => look(cluster),
        })
    }

    /// The same, and nobody is replaced.
    #[track_caller]
    pub fn watch<T>(&mut self, what: &str, mut look: impl FnMut(&mut Self, Option<Struck>) -> Option<T>) -> T {
        let began = Instant::now();
        loop {
            let struck = self.house.points.struck();
            if let Some(found) = look(self, struck) {
                return found;
            }
            self.nobody_ended();
            let left = self.house.points.left();
            assert!(began.elapsed() < LIMIT, "{what}: not in time; not reached yet: {left:?}");
            sleep(Duration::from_millis(5));
        }
    }

    fn nobody_ended(&mut self) {
        if self.takes_over && self.seats.len() > 1 {
            let replaced = |seat: &mut Seat| {
                seat.running.is_over() && REPLACED.iter().all(|said| seat.running.stderr().contains(said))
            };
            if let Some(at) = self.seats.iter_mut().position(replaced) {
                let client = self.seats[at].client.clone();
                say(&format!("  {client} was replaced; another stands by now"));
                self.replace(&client);
            }
        }
        let seats = self.seats.iter_mut().map(|seat| (&seat.client, &mut seat.running));
        for (client, running) in seats.chain(self.workers.iter_mut().map(|(client, running)| (&*client, running))) {
            let ended = running.is_over() && self.house.points.knows(client);
            assert!(!ended, "{client} has ended by itself\n{}", running.stderr());
        }
    }

    /// Another takes the place of one that was killed.
    pub fn replace(&mut self, client: &str) {
        if let Some(at) = self.seats.iter().position(|seat| seat.client == client) {
            // Its address is free once it is dead, not once it is killed.
            let dead = self.seats.remove(at);
            dead.running.wait(LIMIT);
            let new = self.coordinator(dead.address);
            self.seats.insert(at, new);
        } else {
            let at =
                self.workers.iter().position(|(there, _)| there == client).expect("it was started and not replaced");
            let (_, dead) = self.workers.swap_remove(at);
            dead.wait(LIMIT);
            self.hire();
        }
    }

    /// Waits for the end of a coordinator that is no longer one.
    pub fn dismiss(&mut self, client: &str) -> Ended {
        let at = self.seats.iter().position(|seat| seat.client == client).expect("it was started and not replaced");
        self.seats.remove(at).running.wait(LIMIT)
    }

    /// All of them end when they are asked to, and well.
    pub fn terminate(self) {
        for (_, worker) in self.workers {
            worker.terminate();
        }
        // Those that stand by first, so that none takes over now.
        for seat in self.seats.into_iter().rev() {
            seat.running.terminate();
        }
    }
}
