//! `[fleet]` of the coordinator's file: how many workers there should be, and where they come from.

use anyhow::{Context, ensure};
use mr_autoscaler::{Aim, Policy};
use mr_coordinator::{FleetSettings, ProviderSettings};
use mr_fleet::LocalSettings;
use mr_fleet::ec2::GroupSettings;
use serde::Deserialize;
use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// As it is written. What is missing is as [`Policy::default`] has it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fleet {
    provider: ProviderName,
    workers_min: Option<u32>,
    workers_max: Option<u32>,
    /// Of one worker.
    slots: Option<u32>,
    /// Aim: done so long after it was submitted,
    target_minutes: Option<f64>,
    /// or as cheap as can be, where an hour of waiting costs so much.
    usd_per_hour_waited: Option<f64>,
    start_seconds: Option<f64>,
    task_seconds: Option<f64>,
    idle_minutes: Option<f64>,
    usd_per_worker_hour: Option<f64>,
    budget_usd_per_hour: Option<f64>,
    budget_usd_per_job: Option<f64>,
    #[serde(default)]
    kernel_families: Vec<String>,
    /// Of `local`.
    program: Option<PathBuf>,
    #[serde(default)]
    args: Vec<String>,
    certs: Option<PathBuf>,
    /// Of `ec2`.
    group: Option<String>,
    silence_minutes: Option<f64>,
    lifecycle_hook: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum ProviderName {
    Local,
    Ec2,
    Static,
}

impl Fleet {
    /// A folder of its workers' certificates.
    pub fn certs(&self) -> Option<&Path> {
        self.certs.as_deref()
    }

    /// For a coordinator that listens there, with `https` or `http`.
    ///
    /// # Errors
    /// When it makes no sense.
    pub fn settings(self, scheme: &str, listens: SocketAddr) -> anyhow::Result<FleetSettings> {
        let policy = self.policy()?;
        let of_local = self.program.is_some() || !self.args.is_empty() || self.certs.is_some();
        let of_ec2 = self.group.is_some() || self.silence_minutes.is_some() || self.lifecycle_hook.is_some();
        ensure!(
            !of_local || matches!(self.provider, ProviderName::Local),
            "`program`, `args` and `certs` are of `local`"
        );
        ensure!(
            !of_ec2 || matches!(self.provider, ProviderName::Ec2),
            "`group`, `silence_minutes` and `lifecycle_hook` are of `ec2`"
        );
        let provider = match self.provider {
            ProviderName::Static => ProviderSettings::Static,
            ProviderName::Ec2 => {
                let silence = minutes("silence_minutes", self.silence_minutes)?.unwrap_or(SILENCE_MS);
                ensure!(
                    silence >= SILENCE_MIN_MS,
                    "`silence_minutes` should be at least 5, or a coordinator could not start again"
                );
                let group = self.group.filter(|group| !group.is_empty());
                ProviderSettings::Ec2(GroupSettings {
                    group: group.context("`group`, an Auto Scaling group, is needed")?,
                    silence: Duration::from_millis(silence),
                    hook: self.lifecycle_hook,
                })
            }
            ProviderName::Local => {
                let reached = from_here(listens);
                let mut args: Vec<OsString> = self.args.into_iter().map(Into::into).collect();
                match (scheme, self.certs) {
                    ("https", Some(certs)) => args.extend(["--certs".into(), certs.into()]),
                    (_, Some(_)) => anyhow::bail!("`certs` is of no use where the coordinator has none"),
                    ("https", None) => anyhow::bail!("`certs`, a folder of a worker's certificates, is needed"),
                    // It was said that this may be.
                    _ if !reached.ip().is_loopback() => args.push("--insecure".into()),
                    _ => {}
                }
                ProviderSettings::Local(LocalSettings {
                    program: self.program.map_or_else(beside_this_one, Ok)?,
                    args,
                    coordinator: format!("{scheme}://{reached}"),
                    slots: policy.slots,
                })
            }
        };
        Ok(FleetSettings { policy, provider, families: self.kernel_families })
    }

    fn policy(&self) -> anyhow::Result<Policy> {
        let usual = match self.provider {
            ProviderName::Ec2 | ProviderName::Static => Policy::default(),
            // A process is there in a moment, and costs nothing to start again; nobody bills it by the minute.
            ProviderName::Local => {
                let cores = std::thread::available_parallelism().map_or(1, |cores| cores.get() as u32);
                Policy { workers_max: cores, start_ms: 500, idle_ms: 60_000, billed_min_ms: 0, ..Policy::default() }
            }
        };
        let aim = match (minutes("target_minutes", self.target_minutes)?, self.usd_per_hour_waited) {
            (Some(_), Some(_)) => {
                anyhow::bail!("`target_minutes` and `usd_per_hour_waited` are two aims: leave one of them out")
            }
            (Some(target), None) => Aim::Within(target),
            (None, Some(usd_per_hour_waited)) => Aim::Cheapest { usd_per_hour_waited },
            (None, None) => usual.aim,
        };
        let policy = Policy {
            aim,
            workers_min: self.workers_min.unwrap_or(usual.workers_min),
            workers_max: self.workers_max.unwrap_or(usual.workers_max),
            slots: self.slots.unwrap_or(usual.slots),
            start_ms: millis("start_seconds", self.start_seconds)?.unwrap_or(usual.start_ms),
            task_ms: millis("task_seconds", self.task_seconds)?.unwrap_or(usual.task_ms),
            idle_ms: minutes("idle_minutes", self.idle_minutes)?.unwrap_or(usual.idle_ms),
            billed_min_ms: usual.billed_min_ms,
            usd_per_worker_hour: self.usd_per_worker_hour.unwrap_or(usual.usd_per_worker_hour),
            budget_usd_per_hour: self.budget_usd_per_hour,
            budget_usd_per_job: self.budget_usd_per_job,
        };
        policy.check()?;
        Ok(policy)
    }
}

/// Long enough for a coordinator's machine to be replaced.
const SILENCE_MS: u64 = 30 * 60 * 1000;
const SILENCE_MIN_MS: u64 = 5 * 60 * 1000;

/// More than a year is a mistake.
const SECONDS_MAX: f64 = 366.0 * 24.0 * 3600.0;

fn minutes(name: &str, minutes: Option<f64>) -> anyhow::Result<Option<u64>> {
    millis(name, minutes.map(|minutes| minutes * 60.0))
}

fn millis(name: &str, seconds: Option<f64>) -> anyhow::Result<Option<u64>> {
    let Some(seconds) = seconds else { return Ok(None) };
    ensure!((0.0..=SECONDS_MAX).contains(&seconds), "`{name}` should be between 0 and a year");
    Ok(Some((seconds * 1000.0).round() as u64))
}

/// One that listens everywhere is reached here as well.
fn from_here(listens: SocketAddr) -> SocketAddr {
    let mut reached = listens;
    if listens.ip().is_unspecified() {
        reached.set_ip(if listens.is_ipv4() { [127, 0, 0, 1].into() } else { std::net::Ipv6Addr::LOCALHOST.into() });
    }
    reached
}

fn beside_this_one() -> anyhow::Result<PathBuf> {
    let this = std::env::current_exe().context("looking for mr-worker beside this program")?;
    let worker = this.with_file_name("mr-worker");
    ensure!(worker.is_file(), "there is no {}: say with `program` where the worker's program is", worker.display());
    Ok(worker)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> anyhow::Result<FleetSettings> {
        let fleet: Fleet = toml::from_str(&format!("provider = \"local\"\nprogram = \"/bin/true\"\n{text}"))?;
        fleet.settings("http", "0.0.0.0:7171".parse().unwrap())
    }

    #[test]
    fn what_is_written_is_followed_and_the_rest_is_usual() {
        let FleetSettings { policy, provider, families } = read(
            "workers_max = 5\nslots = 2\ntarget_minutes = 1.5\nidle_minutes = 0.05\nkernel_families = [\"f32/avx512\"]\n\
             args = [\"--memory-mb\", \"500\"]",
        )
        .unwrap();
        let expected = Policy {
            aim: Aim::Within(90_000),
            workers_max: 5,
            slots: 2,
            start_ms: 500,
            idle_ms: 3_000,
            billed_min_ms: 0,
            ..Policy::default()
        };
        assert_eq!((policy, families), (expected, vec!["f32/avx512".to_owned()]));
        let ProviderSettings::Local(local) = provider else { panic!("it is local") };
        assert_eq!(local.coordinator, "http://127.0.0.1:7171");
        assert_eq!((local.program, local.args.len(), local.slots), ("/bin/true".into(), 2, 2));
    }

    #[test]
    fn a_group_is_named_and_its_machines_take_a_minute() {
        let read =
            |text: &str| toml::from_str::<Fleet>(text).unwrap().settings("https", "0.0.0.0:7171".parse().unwrap());
        let FleetSettings { policy, provider, .. } = read("provider = \"ec2\"\ngroup = \"workers\"").unwrap();
        let ProviderSettings::Ec2(group) = provider else { panic!("it is a group") };
        assert_eq!((group.group.as_str(), group.silence), ("workers", Duration::from_secs(1800)));
        assert_eq!(policy, Policy::default());
        assert!(read("provider = \"ec2\"").is_err());
        let of_others = read("provider = \"static\"\nworkers_max = 4").unwrap();
        assert!(matches!(of_others.provider, ProviderSettings::Static) && of_others.policy.workers_max == 4);
        let told = read("provider = \"static\"\ngroup = \"workers\"").unwrap_err().to_string();
        assert!(told.contains("are of `ec2`"), "{told}");
    }

    #[test]
    fn what_makes_no_sense_is_told() {
        for (text, said) in [
            ("target_minutes = -1", "`target_minutes` should be between 0 and a year"),
            ("target_minutes = 1\nusd_per_hour_waited = 1", "are two aims"),
            ("workers_min = 3\nworkers_max = 2", "at least `workers_min`"),
            ("budget_usd_per_hour = 1.0", "needs `usd_per_worker_hour`"),
            ("worker_max = 3", "unknown field"),
            ("group = \"g\"", "are of `ec2`"),
        ] {
            let error = format!("{:#}", read(text).unwrap_err());
            assert!(error.contains(said), "{text}: {error}");
        }
    }
}
