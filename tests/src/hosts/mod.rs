//! Hosts of their own for our programs: network namespaces around a router, whose links are cut, impaired and healed.
//!
//! A cut drops what is on its way without a word, as a switch that fails does: nobody is told by a reset. It is made in the
//! router, one direction at a time. The test itself is one more host, which reaches all others.

mod weather;

use crate::Signal;
use crate::process::send;
use crate::shared::skipped;
use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::net::Ipv4Addr;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

pub use weather::Weather;

/// Of all namespaces and links that are made here; the rest is the number of the process that made them.
const PREFIX: &str = "mrt";
/// RFC 2544: for tests of networks, so nobody's.
const NET: [u8; 2] = [198, 18];
/// Of the third byte, so that checkouts that are tested beside each other have nets of their own.
const NETS: u32 = 200;
/// The router's address to everybody.
const ROUTER: u8 = 1;
const TEST: u8 = 2;
const FIRST_HOST: u8 = 10;
/// Of the router's rules: after the one about its own addresses.
const FIRST_CUT: u32 = 100;

/// All of them are gone when this is dropped.
pub struct Hosts {
    prefix: String,
    net: u8,
    /// Names of hosts, and the last bytes of their addresses.
    hosts: BTreeMap<&'static str, u8>,
    cuts: AtomicU32,
}

impl Hosts {
    /// Without the right to make namespaces a test skips, or fails where everything must be shown.
    pub fn enter(names: &[&'static str]) -> Option<Self> {
        sweep();
        let number = std::process::id();
        let mut hosts = Self {
            prefix: format!("{PREFIX}{number}"),
            net: (number % NETS) as u8,
            hosts: BTreeMap::new(),
            cuts: AtomicU32::new(0),
        };
        // What a test before it in this process has left would be in the way.
        hosts.remove();
        if let Err(why) = hosts.found() {
            skipped(&format!("this test needs `ip netns`, as root: {why}"));
            return None;
        }
        for (at, name) in names.iter().enumerate() {
            hosts.add(name, FIRST_HOST + at as u8);
        }
        Some(hosts)
    }

    /// The router, and a way from here to it.
    fn found(&self) -> Result<(), String> {
        let Self { prefix, .. } = self;
        ip(&format!("netns add {prefix}-router"))?;
        self.inside("router", "echo 1 > /proc/sys/net/ipv4/ip_forward")?;
        // A packet must not be dropped because the way back is cut.
        self.inside("router", "for f in /proc/sys/net/ipv4/conf/*/rp_filter; do echo 0 > $f; done")?;
        let (router, test) = (self.at(ROUTER), self.at(TEST));
        ip(&format!("link add {prefix} type veth peer name v-test netns {prefix}-router"))?;
        ip(&format!("addr add {test}/32 dev {prefix}"))?;
        ip(&format!("link set {prefix} up"))?;
        self.attach("test", test)?;
        let net = self.at(0);
        ip(&format!("route add {router}/32 dev {prefix} src {test}"))?;
        ip(&format!("route add {net}/24 via {router} dev {prefix} src {test}"))
    }

    /// The router's end of a link.
    fn attach(&self, name: &str, address: Ipv4Addr) -> Result<(), String> {
        let (ns, router) = (self.namespace("router"), self.at(ROUTER));
        ip(&format!("-n {ns} addr add {router}/32 dev v-{name}"))?;
        ip(&format!("-n {ns} link set v-{name} up"))?;
        ip(&format!("-n {ns} route add {address}/32 dev v-{name}"))
    }

    fn add(&mut self, name: &'static str, last: u8) {
        let (ns, address, router) = (self.namespace(name), self.at(last), self.at(ROUTER));
        let added = || {
            ip(&format!("netns add {ns}"))?;
            ip(&format!("-n {ns} link set lo up"))?;
            ip(&format!("-n {ns} link add eth0 type veth peer name v-{name} netns {}", self.namespace("router")))?;
            ip(&format!("-n {ns} addr add {address}/32 dev eth0"))?;
            ip(&format!("-n {ns} link set eth0 up"))?;
            self.attach(name, address)?;
            ip(&format!("-n {ns} route add {router}/32 dev eth0"))?;
            ip(&format!("-n {ns} route add default via {router} dev eth0"))
        };
        added().unwrap_or_else(|why| panic!("making the host {name}: {why}"));
        self.hosts.insert(name, last);
    }

    fn namespace(&self, name: &str) -> String {
        format!("{}-{name}", self.prefix)
    }

    fn at(&self, last: u8) -> Ipv4Addr {
        Ipv4Addr::new(NET[0], NET[1], self.net, last)
    }

    pub fn address(&self, name: &str) -> Ipv4Addr {
        let last = self.hosts.get(name).unwrap_or_else(|| panic!("there is no host {name}"));
        self.at(*last)
    }

    /// The same program, on that host. Its process is that of the program, so signals reach it.
    pub fn on(&self, name: &str, command: Command) -> Command {
        let mut there = Command::new("ip");
        there.args(["netns", "exec", &self.namespace(name)]).arg(command.get_program()).args(command.get_args());
        for (variable, value) in command.get_envs() {
            match value {
                Some(value) => there.env(variable, value),
                None => there.env_remove(variable),
            };
        }
        if let Some(folder) = command.get_current_dir() {
            there.current_dir(folder);
        }
        there
    }

    /// Drops whatever goes from one host to the other, on each of these ways. What goes back still comes through.
    pub fn cut(&self, ways: &[(&str, &str)]) -> Cut {
        let number = FIRST_CUT + self.cuts.fetch_add(1, Ordering::Relaxed);
        let rule = |(from, to): &(&str, &str)| {
            format!("add pref {number} from {} to {} blackhole", self.address(from), self.address(to))
        };
        rules(&self.namespace("router"), &ways.iter().map(rule).collect::<Vec<_>>());
        Cut { router: self.namespace("router"), number, ways: ways.len() }
    }

    fn inside(&self, name: &str, script: &str) -> Result<(), String> {
        ip_with(&["netns", "exec", &self.namespace(name), "sh", "-c", script])
    }

    fn remove(&self) {
        remove(&self.prefix);
    }
}

/// Both ways between the first and each of the others.
pub fn between<'a>(one: &'a str, others: &[&'a str]) -> Vec<(&'a str, &'a str)> {
    others.iter().flat_map(|other| [(one, *other), (*other, one)]).collect()
}

/// Until it is healed or dropped. Several may be on the same way.
pub struct Cut {
    router: String,
    number: u32,
    ways: usize,
}

impl Cut {
    pub fn heal(self) {}
}

impl Drop for Cut {
    fn drop(&mut self) {
        // Where a test fails its hosts may be gone already.
        if !std::thread::panicking() {
            rules(&self.router, &vec![format!("del pref {}", self.number); self.ways]);
        }
    }
}

fn rules(router: &str, lines: &[String]) {
    let mut told = Command::new("ip");
    told.args(["-n", router, "-batch", "-"]).stdin(Stdio::piped()).stderr(Stdio::piped());
    let mut told = told.spawn().expect("it ran before");
    let text: String = lines.iter().map(|line| format!("rule {line}\n")).collect();
    told.stdin.take().expect("it was asked for").write_all(text.as_bytes()).expect("it reads");
    let told = told.wait_with_output().expect("it is ours");
    assert!(told.status.success(), "{text}{}", String::from_utf8_lossy(&told.stderr));
}

impl Drop for Hosts {
    fn drop(&mut self) {
        self.remove();
    }
}

/// What processes have left that were killed.
fn sweep() {
    let Ok(listed) = Command::new("ip").args(["netns", "list"]).output() else { return };
    let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
    let mut left: Vec<&str> = listed.lines().filter_map(|line| line.split(['-', ' ']).next()).collect();
    left.dedup();
    for prefix in left {
        let number = prefix.strip_prefix(PREFIX).and_then(|number| number.parse::<u32>().ok());
        if number.is_some_and(|number| !Path::new(&format!("/proc/{number}")).exists()) {
            remove(prefix);
        }
    }
}

/// Namespaces with everything in them, and the link from here. Errors say only that there was nothing.
fn remove(prefix: &str) {
    let namespaces = fs::read_dir("/run/netns").into_iter().flatten().flatten();
    let names = namespaces.filter_map(|entry| entry.file_name().into_string().ok());
    for name in names.filter(|name| name.starts_with(&format!("{prefix}-"))) {
        // A namespace lives as long as a process in it, and its links would with it.
        let inside = Command::new("ip").args(["netns", "pids", &name]).output();
        let inside = inside.map(|said| String::from_utf8_lossy(&said.stdout).into_owned()).unwrap_or_default();
        for process in inside.lines().filter_map(|line| line.trim().parse().ok()) {
            send(process, Signal::Kill);
        }
        _ = ip(&format!("netns del {name}"));
    }
    _ = ip(&format!("link del {prefix}"));
}

fn ip(line: &str) -> Result<(), String> {
    ip_with(&line.split(' ').collect::<Vec<_>>())
}

fn ip_with(args: &[&str]) -> Result<(), String> {
    run("ip", args)
}

fn run(program: &str, args: &[&str]) -> Result<(), String> {
    let said = Command::new(program).args(args).output().map_err(|error| format!("{program}: {error}"))?;
    let told = String::from_utf8_lossy(&said.stderr);
    if said.status.success() { Ok(()) } else { Err(format!("{program} {}: {}", args.join(" "), told.trim())) }
}
