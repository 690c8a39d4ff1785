//! Workers that are processes of this machine: as many as there is work for, and none when there is none.

use crate::provider::{Machine, Provider, ProviderError};
use async_trait::async_trait;
use rustix::process::{Pid, Signal, kill_process};
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::time::{Duration, Instant};
use tokio::process::{Child, Command};

/// What the names of all begin with, those of the coordinator before included.
const NAMES: &str = "local-";
/// How long one may take to hand back what it has.
const FAREWELL: Duration = Duration::from_secs(10);
/// A coordinator that is killed starts again within that, or its workers end by themselves.
const ALONE_MAX: Duration = Duration::from_secs(120);

/// One that ends so soon has not been at work.
const AT_ONCE: Duration = Duration::from_secs(5);
const FAILURES_MAX: u32 = 3;
const PAUSE_MIN: Duration = Duration::from_secs(5);
const PAUSE_MAX: Duration = Duration::from_secs(300);

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalSettings {
    /// The worker's program, and what it is told beside where the coordinator is.
    pub program: PathBuf,
    pub args: Vec<OsString>,
    /// URL of the coordinator, as workers of this machine reach it.
    pub coordinator: String,
    pub slots: u32,
}

/// Starts and stops `mr-worker`s.
pub struct Local {
    settings: LocalSettings,
    children: BTreeMap<String, Process>,
    next: u32,
    failures: Failures,
}

/// Workers that ended badly as soon as they were started, one after the other.
#[derive(Default)]
struct Failures {
    count: u32,
    last: Option<(Instant, ExitStatus)>,
}

impl Failures {
    /// A program that can't work is not started for ever.
    /// The same is said as long as it lasts.
    fn wait(&self) -> Result<(), ProviderError> {
        let Some((at, status)) = self.last.filter(|_| self.count >= FAILURES_MAX) else { return Ok(()) };
        let pause = PAUSE_MIN * 2u32.saturating_pow(self.count - FAILURES_MAX).min(PAUSE_MAX.as_secs() as u32);
        let pause = pause.min(PAUSE_MAX);
        if at.elapsed() >= pause {
            return Ok(());
        }
        let count = self.count;
        Err(ProviderError(format!(
            "the last {count} workers ended as soon as they were started ({status}; their log says why): the next is started after a pause \
             of {} s",
            pause.as_secs()
        )))
    }
}

struct Process {
    child: Child,
    started: Instant,
    told_to_end: Option<Instant>,
}

impl Local {
    pub fn new(settings: LocalSettings) -> Self {
        Self { settings, children: BTreeMap::new(), next: 0, failures: Failures::default() }
    }

    fn start(&mut self) -> Result<(), ProviderError> {
        self.failures.wait()?;
        let LocalSettings { program, args, coordinator, slots } = &self.settings;
        self.next += 1;
        let id = format!("{}{}", self.names(), self.next);
        let child = Command::new(program)
            .args(args)
            // Those are the coordinator's own.
            .env_remove("MR_CONFIG")
            .env_remove("MR_METRICS")
            .env_remove("MR_CERTS")
            .env("MR_COORDINATOR", coordinator)
            .env("MR_SLOTS", slots.to_string())
            .env("MR_INSTANCE", &id)
            .env("MR_ALONE_MAX_S", ALONE_MAX.as_secs().to_string())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .map_err(|error| ProviderError(format!("starting {}: {error}", program.display())))?;
        self.children.insert(id, Process { child, started: Instant::now(), told_to_end: None });
        Ok(())
    }

    /// Unlike those of the coordinator before, whose workers may still be there.
    fn names(&self) -> String {
        format!("{NAMES}{}-", std::process::id())
    }

    fn reap(&mut self) {
        let failures = &mut self.failures;
        self.children.retain(|id, process| match process.child.try_wait() {
            Ok(None) => {
                if process.started.elapsed() > AT_ONCE {
                    failures.count = 0;
                }
                if process.told_to_end.is_some_and(|at| at.elapsed() > FAREWELL) {
                    _ = process.child.start_kill();
                }
                true
            }
            Ok(Some(status)) if status.success() => false,
            Ok(Some(status)) => {
                tracing::warn!(worker = id, "a worker has ended: {status}");
                if process.started.elapsed() < AT_ONCE {
                    *failures = Failures { count: failures.count + 1, last: Some((Instant::now(), status)) };
                }
                false
            }
            Err(error) => {
                tracing::warn!(worker = id, "waiting for a worker: {error}");
                true
            }
        });
    }
}

impl Process {
    fn terminate(&mut self) {
        if self.told_to_end.is_some() {
            return;
        }
        self.told_to_end = Some(Instant::now());
        if let Some(pid) = self.child.id().and_then(|id| Pid::from_raw(id.cast_signed())) {
            _ = kill_process(pid, Signal::TERM);
        }
    }
}

/// A coordinator that ends takes its workers with it. Another one that stands by has its own.
impl Drop for Local {
    fn drop(&mut self) {
        self.children.values_mut().for_each(Process::terminate);
    }
}

#[async_trait]
impl Provider for Local {
    fn name(&self) -> String {
        format!("processes of this machine, each {}", self.settings.program.display())
    }

    fn rest(&self) -> Duration {
        Duration::from_millis(50)
    }

    /// One of ours that has ended is nobody's any more, though its worker may be waited for.
    fn owns(&self, machine: &str) -> bool {
        machine.starts_with(NAMES) && (!machine.starts_with(&self.names()) || self.children.contains_key(machine))
    }

    async fn look(&mut self) -> Result<Vec<Machine>, ProviderError> {
        self.reap();
        let machine =
            |(id, process): (&String, &Process)| Machine { id: id.clone(), leaves: process.told_to_end.is_some() };
        Ok(self.children.iter().map(machine).collect())
    }

    async fn resize(&mut self, size: u32) -> Result<(), ProviderError> {
        // One that has ended since the last look is still counted, or it would be replaced when it was meant to go.
        let staying = self.children.values().filter(|process| process.told_to_end.is_none()).count() as u32;
        (staying..size).try_for_each(|_| self.start())
    }

    /// Nobody else takes processes away.
    async fn protect(&mut self, _: &BTreeSet<String>) -> Result<(), ProviderError> {
        Ok(())
    }

    async fn end(&mut self, machine: &str) -> Result<(), ProviderError> {
        if let Some(process) = self.children.get_mut(machine) {
            process.terminate();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::process::ExitStatusExt;

    fn shell(line: &str) -> Local {
        let args = ["-c", line].map(OsString::from).into();
        Local::new(LocalSettings { program: "/bin/sh".into(), args, coordinator: "http://there".into(), slots: 3 })
    }

    async fn until(fleet: &mut Local, size: usize) -> Vec<Machine> {
        for _ in 0..500 {
            let there = fleet.look().await.unwrap();
            if there.len() == size {
                return there;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("there are not {size}");
    }

    #[tokio::test]
    async fn processes_come_are_told_who_they_are_and_go() {
        let folder = tempfile::tempdir().unwrap();
        let told = folder.path().join("told");
        let mut fleet = shell(&format!(
            "trap 'kill $!; echo ends >> {0}; exit' TERM; sleep 60 & echo $MR_INSTANCE $MR_COORDINATOR $MR_SLOTS >> {0}; wait",
            told.display()
        ));
        fleet.resize(2).await.unwrap();
        fleet.resize(2).await.unwrap();
        let there = fleet.look().await.unwrap();
        assert_eq!(there.len(), 2);
        let said = || std::fs::read_to_string(&told).unwrap_or_default();
        while said().lines().count() < 2 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let mut expected: Vec<_> = there.iter().map(|machine| format!("{} http://there 3", machine.id)).collect();
        let (mut lines, text) = (Vec::new(), said());
        lines.extend(text.lines());
        lines.sort_unstable();
        expected.sort_unstable();
        assert_eq!(lines, expected);
        // A smaller size takes nobody away, and one is taken away once.
        fleet.resize(1).await.unwrap();
        assert_eq!(fleet.look().await.unwrap().len(), 2);
        fleet.end(&there[0].id).await.unwrap();
        fleet.end(&there[0].id).await.unwrap();
        fleet.end("local-0").await.unwrap();
        assert_eq!(until(&mut fleet, 1).await, [Machine { leaves: false, ..there[1].clone() }]);
        assert_eq!(said().matches("ends").count(), 1);
        assert!(!fleet.owns(&there[0].id) && fleet.owns(&there[1].id));
        assert!(fleet.owns("local-0-1") && !fleet.owns("vm-7"), "one of the coordinator before, and one of others");
        drop(fleet);
        while said().matches("ends").count() < 2 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    #[tokio::test]
    async fn one_that_ends_by_itself_is_missed_and_no_program_is_an_error() {
        let mut fleet = shell("exit 3");
        fleet.resize(1).await.unwrap();
        until(&mut fleet, 0).await;
        let program = PathBuf::from("/no/such/mr-worker");
        let mut none = Local::new(LocalSettings { program, ..fleet.settings.clone() });
        let said = none.resize(1).await.unwrap_err().to_string();
        assert!(said.starts_with("starting /no/such/mr-worker: "), "{said}");
    }

    #[test]
    fn a_program_that_can_not_work_is_not_started_for_ever() {
        let failed = |count, ago: u64| {
            let at = Instant::now().checked_sub(Duration::from_secs(ago));
            let status = ExitStatus::from_raw(2 << 8);
            Failures { count, last: Some((at.expect("the machine runs for longer"), status)) }.wait()
        };
        assert!(Failures::default().wait().is_ok() && failed(2, 0).is_ok());
        let told = failed(3, 0).unwrap_err().0;
        assert!(told.starts_with("the last 3 workers ended as soon as they were started (exit status: 2;"), "{told}");
        assert!(failed(3, 5).is_ok() && failed(4, 5).is_err() && failed(4, 10).is_ok());
        for count in [20, 1000, u32::MAX] {
            assert!(failed(count, 100).is_err() && failed(count, 300).is_ok(), "{count}");
        }
    }
}
