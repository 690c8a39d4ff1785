//! Delay and loss on every link.

use super::{Hosts, run};
use crate::scratch::say;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{JoinHandle, sleep, spawn};
use std::time::{Duration, Instant};

/// Each way.
const DELAY: Duration = Duration::from_millis(200);
const LOSS_PERCENT: u32 = 10;

/// Until it is dropped.
pub struct Weather {
    links: Vec<(String, String)>,
    flood: Option<Flood>,
}

impl Weather {
    /// On the way to each of these hosts. With the kernel's `netem`. A kernel without it gets what happens on a crowded line: a queue that is always full
    /// for as long as the delay is, and drops what no longer fits into it.
    pub fn over(hosts: &Hosts, names: &[&str]) -> Self {
        let ns = hosts.namespace("router");
        let links: Vec<_> = names.iter().map(|name| (ns.clone(), format!("v-{name}"))).collect();
        let netem = format!("netem delay {}ms loss {LOSS_PERCENT}%", DELAY.as_millis());
        let (ns, first) = links.first().expect("there are hosts");
        let why = match queue(ns, first, &netem) {
            Ok(()) => {
                let others = links.iter().skip(1).try_for_each(|(ns, link)| queue(ns, link, &netem));
                others.expect("it went well with the first");
                return Self { links, flood: None };
            }
            Err(why) => why,
        };
        say(&format!("  no netem here ({why}): crowded lines stand in for it"));
        let limit = Flood::RATE_BYTES * (DELAY.as_millis() as u64 + Flood::EVERY.as_millis() as u64 / 2) / 1000;
        let crowded = format!("tbf rate {}bit burst 16000 limit {limit}", Flood::RATE_BYTES * 8);
        for (ns, link) in &links {
            queue(ns, link, &crowded).unwrap_or_else(|why| panic!("no weather at all: {why}"));
        }
        let to = names.iter().map(|name| hosts.address(name)).collect();
        Self { links, flood: Some(Flood::start(to)) }
    }
}

fn queue(ns: &str, link: &str, kind: &str) -> Result<(), String> {
    let line = format!("-n {ns} qdisc replace dev {link} root {kind}");
    run("tc", &line.split(' ').collect::<Vec<_>>())
}

impl Drop for Weather {
    fn drop(&mut self) {
        drop(self.flood.take());
        for (ns, link) in &self.links {
            // The namespace may be gone already.
            _ = run("tc", &["-n", ns, "qdisc", "del", "dev", link, "root"]);
        }
    }
}

/// Somebody else's traffic: a little more than the links carry, in bursts. After a burst a queue is full, and for some
/// milliseconds it has no room for many packets: about a tenth of answers lose some.
struct Flood {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Flood {
    const RATE_BYTES: u64 = 4_000_000;
    const EVERY: Duration = Duration::from_millis(25);
    const PACKET: [u8; 1472] = [0; 1472];
    /// Of UDP, IP and Ethernet.
    const HEADERS: u64 = 42;

    fn start(to: Vec<Ipv4Addr>) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).expect("there is a port");
        let thread = spawn(move || {
            let (began, mut sent) = (Instant::now(), 0);
            while !stopped.load(Ordering::Relaxed) {
                let due = began.elapsed().as_millis() as u64 * Self::RATE_BYTES / 1000 * 103 / 100;
                while sent < due {
                    for address in &to {
                        // Nobody listens, and hosts say so.
                        _ = socket.send_to(&Self::PACKET, SocketAddr::from((*address, 9)));
                    }
                    sent += Self::PACKET.len() as u64 + Self::HEADERS;
                }
                sleep(Self::EVERY);
            }
        });
        Self { stop, thread: Some(thread) }
    }
}

impl Drop for Flood {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // It sends and sleeps, so there is nothing to say about how it ended.
            _ = thread.join();
        }
    }
}
