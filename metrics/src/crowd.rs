//! Who makes room when more call than there are places: so nobody who floods a port, or says nothing there, keeps others
//! from it.

use std::cmp::Reverse;
use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::task::AbortHandle;

/// Those that are served, the longest there first.
pub struct Crowd {
    most: usize,
    here: VecDeque<Caller>,
}

struct Caller {
    from: IpAddr,
    /// Something whole has come of it.
    asked: Arc<AtomicBool>,
    served: AbortHandle,
}

impl Crowd {
    pub fn of(most: usize) -> Self {
        Self { most, here: VecDeque::new() }
    }

    /// `asked` tells whether it has asked something, from when on it is spared for those that have not.
    pub fn add(&mut self, from: IpAddr, asked: Arc<AtomicBool>, served: AbortHandle) {
        self.here.push_back(Caller { from: network(from), asked, served });
    }

    /// Sends one away if there are too many, and says from where it came.
    pub fn make_room(&mut self) -> Option<IpAddr> {
        if self.here.len() < self.most {
            return None;
        }
        self.here.retain(|caller| !caller.served.is_finished());
        if self.here.len() < self.most {
            return None;
        }
        let mut counts: HashMap<IpAddr, usize> = HashMap::new();
        self.here.iter().for_each(|caller| *counts.entry(caller.from).or_default() += 1);
        // So one who floods us keeps nobody out but those who share its address, and first such as have not asked.
        let at = (0..self.here.len()).max_by_key(|at| {
            let caller = &self.here[*at];
            (counts[&caller.from], !caller.asked.load(Ordering::Relaxed), Reverse(*at))
        })?;
        let caller = self.here.remove(at)?;
        caller.served.abort();
        Some(caller.from)
    }
}

/// Of IPv6 a host has as many addresses as it likes.
fn network(from: IpAddr) -> IpAddr {
    match from.to_canonical() {
        IpAddr::V6(six) => IpAddr::V6((six.to_bits() >> 64 << 64).into()),
        four => four,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::task::JoinHandle;

    const MOST: usize = 256;

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    /// One more, and who was sent away for it.
    fn add(crowd: &mut Crowd, from: &str, asked: bool) -> (JoinHandle<()>, Option<IpAddr>) {
        let away = crowd.make_room();
        let serving = tokio::spawn(std::future::pending());
        crowd.add(address(from), Arc::new(AtomicBool::new(asked)), serving.abort_handle());
        (serving, away)
    }

    #[tokio::test]
    async fn one_who_floods_keeps_nobody_else_out() {
        let mut crowd = Crowd::of(MOST);
        let (other, six) = (add(&mut crowd, "10.0.0.1", false).0, add(&mut crowd, "2001:db8::1", false).0);
        for at in 0..3 * MOST {
            // An address of IPv4 may come as one of IPv6.
            let from = if at % 2 == 0 { "10.0.0.2" } else { "::ffff:10.0.0.2" };
            let (_, away) = add(&mut crowd, from, false);
            assert!(away.is_none_or(|from| from == address("10.0.0.2")), "{away:?} at {at}");
        }
        assert_eq!(crowd.here.len(), MOST);
        assert!(!other.is_finished() && !six.is_finished());
        // Of a flood from one host's own network of IPv6 it is the same.
        for at in 0..MOST {
            add(&mut crowd, &format!("2001:db8:0:1::{at:x}"), false);
        }
        assert!(!other.is_finished() && !six.is_finished());
    }

    #[tokio::test]
    async fn who_has_asked_is_spared_and_of_others_the_longest_there_goes() {
        let mut crowd = Crowd::of(MOST);
        add(&mut crowd, "10.0.0.1", false);
        add(&mut crowd, "10.0.0.2", true);
        let (longest, _) = add(&mut crowd, "10.0.0.2", false);
        for _ in 0..3 * MOST {
            add(&mut crowd, "10.0.0.2", false);
        }
        assert_eq!(crowd.here.len(), MOST);
        assert_eq!(crowd.here[0].from, address("10.0.0.1"));
        assert!(crowd.here[1].asked.load(Ordering::Relaxed));
        assert!(longest.await.unwrap_err().is_cancelled());
        // Where all have asked, whoever has not taken its answer for the longest time makes room.
        crowd.here.iter().for_each(|caller| caller.asked.store(true, Ordering::Relaxed));
        add(&mut crowd, "10.0.0.3", false);
        assert_eq!(crowd.here.len(), MOST);
        assert!(!crowd.here.back().unwrap().asked.load(Ordering::Relaxed), "the newest is there");
        let asked = crowd.here.iter().filter(|caller| caller.asked.load(Ordering::Relaxed)).count();
        assert_eq!(asked, MOST - 1);
    }
}
