//! Giving attempts up before the system ends the process for want of memory.
//!
//! What is given up with a word is tried again, elsewhere and later. What dies with its worker takes everything else along
//! that the worker had, and is suspected of a record that kills. One record that wants more than there is can't be stopped
//! here: it does kill, and is found.

use std::fs;
use std::future;
use std::path::Path;
use std::time::Duration;
use tokio::time::{Instant, sleep_until};

const LOOK_EVERY: Duration = Duration::from_millis(250);
/// An attempt that is given up lets go of its memory when its record is done.
const SETTLES: Duration = Duration::from_secs(2);
/// One slot that was closed is opened again after such a time without want.
const RECOVERS: Duration = Duration::from_secs(60);

/// What this process may use, whether it is near that, and how many slots it can do with.
pub struct Memory {
    limit: u64,
    look_at: Instant,
    /// Slots that are not offered, and when one of them is again.
    closed: u32,
    opens_at: Instant,
}

impl Memory {
    /// `limit` in bytes, or what the machine and its control groups allow.
    pub fn new(limit: Option<u64>) -> Self {
        let now = Instant::now();
        Self { limit: limit.unwrap_or_else(allowed), look_at: now + LOOK_EVERY, closed: 0, opens_at: now }
    }

    /// Returns when memory is short and it is time to do something about it.
    pub async fn is_short(&mut self) {
        loop {
            sleep_until(self.look_at).await;
            self.look_at = Instant::now() + LOOK_EVERY;
            let Some(used) = used() else { return future::pending().await };
            if is_short(self.limit, used, machine()) {
                return;
            }
        }
    }

    /// An attempt was given up, when so many were at work.
    pub fn gave_up(&mut self, at_work: usize, slots: u32) {
        let now = Instant::now();
        let left = u32::try_from(at_work).unwrap_or(u32::MAX).saturating_sub(1).clamp(1, slots);
        self.closed = self.closed.max(slots - left);
        (self.look_at, self.opens_at) = (now + SETTLES, now + RECOVERS);
    }

    /// How many of its slots the worker should offer now.
    pub fn open(&mut self, slots: u32) -> u32 {
        if self.closed > 0 && self.opens_at <= Instant::now() {
            self.closed -= 1;
            self.opens_at = Instant::now() + RECOVERS;
        }
        slots.saturating_sub(self.closed).max(1)
    }

    /// For people: how much there is, and how much of it is in use.
    pub fn story(&self) -> String {
        format!("{} of {} MB are in use", used().unwrap_or(0) >> 20, self.limit >> 20)
    }
}

/// What the whole machine has, and how much of it could be had, in bytes.
#[derive(Clone, Copy)]
struct Machine {
    total: u64,
    available: u64,
}

/// A sixteenth of what the process may use is left, or a sixty-fourth of the machine.
fn is_short(limit: u64, used: u64, machine: Option<Machine>) -> bool {
    let machine_is_short = machine.is_some_and(|machine| machine.available < machine.total / 64);
    used > limit - limit / 16 || machine_is_short
}

fn allowed() -> u64 {
    let machine = machine().map_or(u64::MAX, |machine| machine.total);
    let groups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    // cgroups(7): of version 2 there is one, whose number is 0 and which names no controller. A limit holds for all below it.
    let group = groups.lines().find_map(|line| line.strip_prefix("0::/")).unwrap_or_default();
    let limit =
        |group: &Path| number(&fs::read_to_string(Path::new("/sys/fs/cgroup").join(group).join("memory.max")).ok()?);
    Path::new(group).ancestors().filter_map(limit).min().unwrap_or(u64::MAX).min(machine)
}

/// `max` is none.
fn number(text: &str) -> Option<u64> {
    text.trim().parse().ok()
}

/// What can't be had back by dropping copies of files. `None` where the system does not tell.
fn used() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    Some(kib(&status, "RssAnon:")? + kib(&status, "RssShmem:").unwrap_or(0))
}

fn machine() -> Option<Machine> {
    let memory = fs::read_to_string("/proc/meminfo").ok()?;
    Some(Machine { total: kib(&memory, "MemTotal:")?, available: kib(&memory, "MemAvailable:")? })
}

/// In bytes, out of `/proc` files that have such lines.
pub fn kib(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_short_before_it_is_gone() {
        let machine = |available| Some(Machine { total: 6400, available });
        assert!(!is_short(1600, 1500, machine(100)));
        assert!(is_short(1600, 1501, machine(6400)), "the process has used what it may");
        assert!(is_short(1600, 0, machine(99)), "others have");
        assert!(!is_short(u64::MAX, 1 << 40, None));
    }

    #[tokio::test(start_paused = true)]
    async fn slots_close_and_open_one_by_one() {
        let mut memory = Memory::new(Some(1));
        assert_eq!(memory.open(4), 4);
        memory.gave_up(3, 4);
        assert_eq!(memory.open(4), 2, "with three it was too much");
        memory.gave_up(1, 4);
        assert_eq!(memory.open(4), 1, "one is always left");
        for opened in [1, 2, 3, 4, 4] {
            assert_eq!(memory.open(4), opened);
            tokio::time::advance(RECOVERS).await;
        }
    }

    #[tokio::test]
    async fn a_process_that_may_use_nothing_is_short_at_once() {
        if used().is_some() {
            tokio::time::timeout(Duration::from_secs(5), Memory::new(Some(1)).is_short()).await.unwrap();
        }
        let enough = Memory::new(None).limit;
        assert!(enough > 1 << 24, "{enough}");
    }

    #[test]
    fn lines_of_proc_are_read_in_bytes() {
        assert_eq!(kib("VmPeak:\t 10 kB\nVmHWM:\t    1264 kB\nVmRSS:\t 3 kB\n", "VmHWM:"), Some(1264 * 1024));
        assert_eq!(kib("VmRSS:\t 3 kB\n", "VmHWM:"), None);
        assert_eq!((number("max\n"), number("1048576\n")), (None, Some(1 << 20)));
    }
}
