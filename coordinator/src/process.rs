//! Which process this is, so that another on the same machine can tell that it has died, and need not wait to see it
//! silent.

use serde::{Deserialize, Serialize};
use std::fs;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Process {
    /// Of this run of this machine.
    boot: String,
    /// Process numbers are of a namespace: containers on one machine have their own.
    namespace: String,
    number: u32,
    /// Numbers are used again, but not for a process that began at the same tick.
    began: u64,
}

impl Process {
    /// `None` where the system does not tell.
    pub fn this() -> Option<Self> {
        let number = std::process::id();
        let (boot, namespace) = place()?;
        Some(Self { boot, namespace, number, began: began(number)? })
    }

    pub fn is_of_this_boot(&self) -> bool {
        place().is_some_and(|(boot, _)| boot == self.boot)
    }

    /// Whether it is known to be dead.
    pub fn is_dead(&self) -> bool {
        let here =
            place().is_some_and(|(boot, namespace)| (boot, namespace) == (self.boot.clone(), self.namespace.clone()));
        // Where the processes of others are hidden (hidepid in proc(5)), the first one is too, and nothing is known.
        let sees_all = || fs::read_to_string("/proc/1/stat").is_ok();
        here && match began(self.number) {
            Some(began) => began != self.began,
            None => sees_all(),
        }
    }
}

fn place() -> Option<(String, String)> {
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?.trim().to_owned();
    let namespace = fs::read_link("/proc/self/ns/pid").ok()?.to_str()?.to_owned();
    Some((boot, namespace))
}

/// When a process began, in ticks since the machine did. proc_pid_stat(5): the 22nd field. The second may hold spaces, and
/// ends with the last parenthesis. A process that has died and is not yet waited for counts as dead.
fn began(number: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{number}/stat")).ok()?;
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
    if matches!(fields.next()?, "Z" | "X") {
        return None;
    }
    fields.nth(18)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    #[test]
    fn a_process_is_dead_when_its_number_is_nobodys_or_anothers() {
        let this = Process::this().expect("Linux tells");
        assert!(!this.is_dead());
        assert!(Process { began: this.began + 1, ..this.clone() }.is_dead());
        assert!(!Process { boot: "another machine".into(), began: 0, ..this.clone() }.is_dead(), "who knows");
        let mut child = Command::new("sleep").arg("60").spawn().unwrap();
        let other = Process { number: child.id(), began: began(child.id()).unwrap(), ..this };
        assert!(!other.is_dead());
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(other.is_dead());
    }
}
