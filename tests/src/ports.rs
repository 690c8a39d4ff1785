//! Addresses for those that are started again where they were.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::atomic::{AtomicU16, Ordering};

/// Below those that the system gives to whoever asks for any: otherwise a connection that is made while the listener is
/// away could be given its port, even one to that very port.
pub fn address() -> SocketAddr {
    static TRIED: AtomicU16 = AtomicU16::new(0);
    let range = fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap_or_default();
    let given_from: u16 = range.split_whitespace().next().and_then(|port| port.parse().ok()).unwrap_or(32768);
    let span = given_from.saturating_sub(10_000).max(1);
    // Checkouts that are tested beside each other begin in different places.
    let first = (std::process::id() % u32::from(span)) as u16;
    loop {
        let tried = TRIED.fetch_add(1, Ordering::Relaxed);
        assert!(tried < span, "no port is free below {given_from}");
        let port = 10_000 + (u32::from(first) + u32::from(tried)) as u16 % span;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        if TcpListener::bind(address).is_ok() {
            return address;
        }
    }
}
