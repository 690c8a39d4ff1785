//! How much memory there is and how much of it is in use: by this process, by its control groups, by the machine.
//!
//! Files that can be read again are not counted: the system drops them before it ends anybody. Outside Linux nothing is known.

use crate::heap::trim;
use std::fs;
use std::path::{Path, PathBuf};

/// Where `/proc` and the control groups are.
#[derive(Clone, Debug)]
struct Roots {
    proc: PathBuf,
    groups: PathBuf,
}

pub struct Gauge {
    roots: Roots,
    /// `None` where the system does not tell.
    bound: Option<Bound>,
}

/// Something that must not be exceeded.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Bound {
    /// What the process was told to get by with.
    Own {
        limit: u64,
    },
    /// Of all processes in a control group.
    Group {
        limit: u64,
        usage: PathBuf,
        statistics: PathBuf,
        inactive: &'static str,
    },
    Machine {
        total: u64,
    },
}

/// With less than one in so many bytes of a limit left, memory is short.
const SHARE: u64 = 16;
/// With less than this left the machine is short; a small one is with less than a sixty-fourth of what it has.
const MACHINE_LEAST: u64 = 256 << 20;

impl Gauge {
    /// `limit` of this process in bytes; otherwise what its control groups and the machine allow.
    pub fn new(limit: Option<u64>) -> Self {
        Self::of(limit, Roots { proc: "/proc".into(), groups: "/sys/fs/cgroup".into() })
    }

    fn of(limit: Option<u64>, roots: Roots) -> Self {
        let told = kib(&roots.proc.join("self/status"), "RssAnon:").is_some();
        let bound = limit.map(|limit| Bound::Own { limit }).or_else(|| allowed(&roots)).filter(|_| told);
        Self { roots, bound }
    }

    /// Whether there is anything to look at.
    pub fn knows(&self) -> bool {
        self.bound.is_some()
    }

    /// What must not be exceeded, in bytes, if that is known.
    pub fn limit(&self) -> Option<u64> {
        match self.bound.as_ref()? {
            Bound::Own { limit } | Bound::Group { limit, .. } => Some(*limit),
            Bound::Machine { total } => Some(*total),
        }
    }

    /// What is short, in words, if something is, and giving back what the allocator keeps did not help.
    pub fn short(&self) -> Option<String> {
        self.look()?;
        trim();
        self.look()
    }

    fn look(&self) -> Option<String> {
        let near = |used: u64, limit: u64| used > limit - limit / SHARE;
        let of = |used: u64, limit: u64| format!("{} of {} MB are in use", used >> 20, limit >> 20);
        match self.bound.as_ref()? {
            Bound::Own { limit } => {
                let used = self.own()?;
                near(used, *limit).then(|| of(used, *limit))
            }
            Bound::Group { limit, usage, statistics, inactive } => {
                let used = number(usage)?.saturating_sub(field(statistics, inactive).unwrap_or(0));
                near(used, *limit).then(|| format!("{} in this process's control group", of(used, *limit)))
            }
            Bound::Machine { total } => {
                let available = kib(&self.roots.proc.join("meminfo"), "MemAvailable:")?;
                let used = total.saturating_sub(available);
                // What others have taken is not for us to make room for.
                let ours = self.own()? > used / 4;
                (ours && available < MACHINE_LEAST.min(total / 64))
                    .then(|| format!("{} on this machine", of(used, *total)))
            }
        }
    }

    fn own(&self) -> Option<u64> {
        let status = self.roots.proc.join("self/status");
        Some(kib(&status, "RssAnon:")? + kib(&status, "RssShmem:").unwrap_or(0))
    }
}

/// The narrowest control group if one is narrower than the machine, and otherwise that.
fn allowed(roots: &Roots) -> Option<Bound> {
    let total = kib(&roots.proc.join("meminfo"), "MemTotal:")?;
    let groups = groups(roots).into_iter().filter(|(limit, _)| *limit < total);
    let group = groups.min_by_key(|(limit, _)| *limit).map(|(_, bound)| bound);
    Some(group.unwrap_or(Bound::Machine { total }))
}

/// Control groups with a limit, of both versions; cgroups(7) has the files.
fn groups(roots: &Roots) -> Vec<(u64, Bound)> {
    let text = fs::read_to_string(roots.proc.join("self/cgroup")).unwrap_or_default();
    let mut found = Vec::new();
    for line in text.lines() {
        let mut parts = line.splitn(3, ':');
        let (Some(_), Some(controllers), Some(path)) = (parts.next(), parts.next(), parts.next()) else { continue };
        let (root, limit, usage, inactive) = match controllers {
            // "The" group of version 2; the machine may have mounted that beside version 1.
            "" => (roots.groups.clone(), "memory.max", "memory.current", "inactive_file "),
            _ if controllers.split(',').any(|controller| controller == "memory") => {
                let root = roots.groups.join("memory");
                (root, "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file ")
            }
            _ => continue,
        };
        // A limit holds for all groups below. In a container the path may be that which the machine sees, of which only the
        // root is to be seen here.
        for ancestor in Path::new(path.trim_start_matches('/')).ancestors() {
            let folder = root.join(ancestor);
            if let Some(limit) = number(&folder.join(limit)) {
                let (usage, statistics) = (folder.join(usage), folder.join("memory.stat"));
                found.push((limit, Bound::Group { limit, usage, statistics, inactive }));
            }
        }
    }
    found
}

/// `max` is none.
fn number(path: &Path) -> Option<u64> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

fn field(path: &Path, name: &str) -> Option<u64> {
    let text = fs::read_to_string(path).ok()?;
    text.lines().find_map(|line| line.strip_prefix(name))?.trim().parse().ok()
}

/// In bytes, out of `/proc` files that have such lines.
pub fn kib(path: &Path, name: &str) -> Option<u64> {
    let text = fs::read_to_string(path).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tempfile::TempDir;

    const MB: u64 = 1 << 20;

    struct Host {
        folder: TempDir,
    }

    impl Host {
        /// A machine with 8 GB, and what its `/proc/self/cgroup` says.
        fn new(groups: &str) -> Self {
            let host = Self { folder: tempfile::tempdir().unwrap() };
            host.write("proc/self/cgroup", groups);
            host.uses(100);
            host.has(4000);
            host
        }

        fn write(&self, path: &str, text: &str) {
            let path = self.folder.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }

        fn uses(&self, mb: u64) {
            self.write("proc/self/status", &format!("VmHWM:\t 9 kB\nRssAnon:\t{:>8} kB\n", mb * 1024));
        }

        fn has(&self, available_mb: u64) {
            self.write("proc/meminfo", &format!("MemTotal: 8388608 kB\nMemAvailable: {} kB\n", available_mb * 1024));
        }

        fn gauge(&self, limit: Option<u64>) -> Gauge {
            let at = |name| self.folder.path().join(name);
            Gauge::of(limit, Roots { proc: at("proc"), groups: at("groups") })
        }
    }

    #[test]
    fn a_limit_of_its_own_is_all_that_counts() {
        let host = Host::new("0::/\n");
        host.has(1);
        let gauge = host.gauge(Some(160 * MB));
        assert_eq!(gauge.short(), None);
        host.uses(151);
        assert_eq!(gauge.short().unwrap(), "151 of 160 MB are in use");
        assert_eq!(gauge.limit(), Some(160 * MB));
    }

    #[test]
    fn the_machine_is_short_when_it_is_we_who_use_it() {
        let host = Host::new("");
        let gauge = host.gauge(None);
        host.has(100);
        assert_eq!(gauge.short(), None, "others have taken it");
        host.uses(5000);
        assert_eq!(gauge.short().unwrap(), "8092 of 8192 MB are in use on this machine");
        host.has(129);
        assert_eq!(gauge.short(), None);
    }

    #[test]
    fn the_narrowest_group_counts_with_all_that_is_in_it_but_files() {
        let host = Host::new("1:name=systemd:/\n0::/pods/one\n");
        host.write("groups/pods/one/memory.max", "max\n");
        host.write("groups/pods/memory.max", "1677721600\n");
        host.write("groups/pods/memory.current", "1677721600\n");
        host.write("groups/pods/memory.stat", "anon 1\ninactive_file 167772160\n");
        let gauge = host.gauge(None);
        assert_eq!(gauge.short(), None);
        host.write("groups/pods/memory.stat", "inactive_file 1048576\n");
        assert_eq!(gauge.short().unwrap(), "1599 of 1600 MB are in use in this process's control group");
        assert_eq!(gauge.limit(), Some(1600 * MB));
    }

    #[test]
    fn groups_of_the_first_version_count_too_though_only_their_root_is_to_be_seen() {
        let host = Host::new("5:devices:/\n4:memory:/docker/0a1b\n0::/\n");
        host.write("groups/memory/memory.limit_in_bytes", "104857600");
        host.write("groups/memory/memory.usage_in_bytes", "104857600");
        host.write("groups/memory/memory.stat", "inactive_file 104857600\ntotal_inactive_file 0\n");
        assert_eq!(host.gauge(None).short().unwrap(), "100 of 100 MB are in use in this process's control group");
        host.write("groups/memory/memory.limit_in_bytes", "9223372036854771712");
        assert_eq!(host.gauge(None).bound, Some(Bound::Machine { total: 8192 * MB }));
    }

    #[test]
    fn lines_of_proc_are_read_in_bytes() {
        let host = Host::new("");
        let status = host.folder.path().join("proc/self/status");
        assert_eq!((kib(&status, "VmHWM:"), kib(&status, "VmRSS:")), (Some(9 * 1024), None));
    }

    #[test]
    fn where_the_system_does_not_tell_nothing_is_ever_short() {
        let nowhere = Roots { proc: "/nowhere".into(), groups: "/nowhere".into() };
        assert!(!Gauge::of(Some(1), nowhere.clone()).knows() && !Gauge::of(None, nowhere).knows());
    }
}
