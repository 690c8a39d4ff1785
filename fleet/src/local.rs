//! Workers that are processes of this machine: as many as there is work for, and none when there is none.

use crate::provider::{Machine, Provider, ProviderError};
use async_trait::async_trait;
use rustix::process::{Pid, Signal, kill_process};
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::{Duration, Instant};
use tokio::process::{Child, Command};

/// What the names of all begin with, those of the coordinator before included.
const NAMES: &str = "local-";
/// How long one may take to hand back what it has.
const FAREWELL: Duration = Duration::from_secs(10);
/// A coordinator that is killed starts again within that, or its workers end by themselves.
const ALONE_MAX: Duration = Duration::from_secs(120);

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
}

struct Process {
    child: Child,
    told_to_end: Option<Instant>,
}

impl Local {
    pub fn new(settings: LocalSettings) -> Self {
        Self { settings, children: BTreeMap::new(), next: 0 }
    }

    fn start(&mut self) -> Result<(), ProviderError> {
        let LocalSettings { program, args, coordinator, slots } = &self.settings;
        self.next += 1;
        // Unlike those of the coordinator before, whose workers may still be there.
        let id = format!("{NAMES}{}-{}", std::process::id(), self.next);
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
        self.children.insert(id, Process { child, told_to_end: None });
        Ok(())
    }

    fn reap(&mut self) {
        self.children.retain(|id, process| match process.child.try_wait() {
            Ok(None) => {
                if process.told_to_end.is_some_and(|at| at.elapsed() > FAREWELL) {
                    _ = process.child.start_kill();
                }
                true
            }
            Ok(Some(status)) if status.success() => false,
            Ok(Some(status)) => {
                tracing::warn!(worker = id, "a worker has ended: {status}");
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

    fn owns(&self, machine: &str) -> bool {
        machine.starts_with(NAMES)
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
            "echo $MR_INSTANCE $MR_COORDINATOR $MR_SLOTS >> {0}; trap 'echo ends >> {0}; exit' TERM; sleep 60 & wait",
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
}
