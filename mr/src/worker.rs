//! The `mr-worker` program.

use crate::heed::Heed;
use crate::{Registry, process, secure, settings};
use anyhow::Context;
use clap::{CommandFactory, Parser};
use mr_cli::Pages;
use mr_fleet::ec2::Notices;
use mr_worker::{Leave, Settings, Stopped};
use serde::Deserialize;
use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// Runs tasks for a coordinator until it is told to leave.
///
/// SIGTERM has it leave: what runs has --drain-s to end, and the rest is handed back; a second one ends it at once. Credentials, region and endpoint of S3 come from the environment or the usual AWS
/// files.
#[derive(Parser)]
#[command(name = "mr-worker", version, args_conflicts_with_subcommands = true)]
struct Args {
    /// The coordinator, such as https://10.0.0.5:7171; several that stand in for each other are divided by commas
    #[arg(long, env = "MR_COORDINATOR", value_name = "URL")]
    coordinator: Option<String>,
    /// A folder with ca.pem, cert.pem and key.pem of a worker, as `mr-coordinator certs` makes them, for a coordinator at
    /// https://
    #[arg(long, env = "MR_CERTS", value_name = "DIR")]
    certs: Option<OsString>,
    /// Speaks to a coordinator on another machine in plain text too: for networks on which there is nobody else
    #[arg(long, env = "MR_INSECURE", value_parser = clap::builder::BoolishValueParser::new(), num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL")]
    insecure: Option<bool>,
    /// Tasks that compute at the same time; by default one a core
    #[arg(long, env = "MR_SLOTS", value_name = "N")]
    slots: Option<u32>,
    /// Where weights and the like are kept between jobs
    #[arg(long, env = "MR_SCRATCH", value_name = "DIR")]
    scratch: Option<PathBuf>,
    /// Megabytes that all slots together may use for decoding; by default a quarter of --memory-mb, and at most 512
    #[arg(long, env = "MR_DECODE_BUDGET_MB", value_name = "MB")]
    decode_budget_mb: Option<u64>,
    /// Megabytes that the process may use: near that it gives tasks up rather than be ended by the system. By default what
    /// the machine has, or its container
    #[arg(long, env = "MR_MEMORY_MB", value_name = "MB")]
    memory_mb: Option<u64>,
    /// What the provider of this machine calls it, so that a coordinator that asked for it knows it when it comes
    #[arg(long, env = "MR_INSTANCE", value_name = "ID")]
    instance: Option<String>,
    /// This is a machine of EC2's: it is named as EC2 does, and the worker leaves when spot capacity is wanted back or its Auto
    /// Scaling group lets the machine go
    #[arg(long, env = "MR_EC2", value_parser = clap::builder::BoolishValueParser::new(), num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL")]
    ec2: Option<bool>,
    /// Seconds that running tasks have to end when the worker is to leave, for SIGTERM or since its machine goes; by default 0,
    /// on EC2 90
    #[arg(long, env = "MR_DRAIN_S", value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(..=86_400))]
    drain_s: Option<u64>,
    /// Seconds without a word from any coordinator after which the worker ends; by default it waits for ever,
    /// on EC2 for 40 minutes
    #[arg(long, env = "MR_ALONE_MAX_S", value_name = "SECONDS")]
    alone_max_s: Option<u64>,
    /// Address at which Prometheus finds `/metrics`, and who restarts what is stuck `/healthz`, over plain HTTP; port 0
    /// picks one; by default there is none
    #[arg(long, env = "MR_METRICS", value_name = "ADDRESS:PORT")]
    metrics: Option<SocketAddr>,
    /// The same on an address that other machines reach, where whoever is on the network may read it: it says nothing
    /// but numbers and names of buckets
    #[arg(long, env = "MR_METRICS_INSECURE", value_parser = clap::builder::BoolishValueParser::new(), num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL")]
    metrics_insecure: Option<bool>,
    /// A TOML file with these settings, named as the flags are but with `_`
    #[arg(long, env = "MR_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(subcommand)]
    pages: Option<Pages>,
}

/// A spot instance is taken two minutes after its notice, and what is done has to be stored and told.
const DRAIN_ON_EC2: Duration = Duration::from_secs(90);
/// Longer than it takes until the group is set to no machines for want of a coordinator, so that nobody comes in its place.
const ALONE_ON_EC2: Duration = Duration::from_secs(40 * 60);
/// Shorter silences are part of life.
const ALONE_MIN: Duration = Duration::from_secs(10);

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct File {
    coordinator: Option<String>,
    certs: Option<PathBuf>,
    insecure: Option<bool>,
    slots: Option<u32>,
    scratch: Option<PathBuf>,
    decode_budget_mb: Option<u64>,
    memory_mb: Option<u64>,
    instance: Option<String>,
    ec2: Option<bool>,
    alone_max_s: Option<u64>,
    drain_s: Option<u64>,
    metrics: Option<SocketAddr>,
    metrics_insecure: Option<bool>,
}

/// Runs until SIGTERM or SIGINT.
pub fn worker(registry: Registry) -> ExitCode {
    from_args(std::env::args_os(), registry)
}

pub(crate) fn from_args(args: impl IntoIterator<Item = OsString>, registry: Registry) -> ExitCode {
    let args: Args = process::parse(args);
    match &args.pages {
        Some(pages) => process::exit(process::tell(pages, Args::command())),
        None => process::exit(process::run(run(args, registry))),
    }
}

async fn run(args: Args, registry: Registry) -> anyhow::Result<()> {
    process::start_logging();
    let file: File = settings::read(args.config.as_deref())?;
    let coordinator = process::given(args.coordinator).or(file.coordinator).context("`--coordinator URL` is needed")?;
    let cores = std::thread::available_parallelism().map_or(1, |cores| cores.get() as u32);
    let slots = args.slots.or(file.slots).unwrap_or(cores);
    anyhow::ensure!((1..=4096).contains(&slots), "`--slots` should be between 1 and 4096");
    let scratch = args.scratch.or(file.scratch).unwrap_or_else(|| std::env::temp_dir().join("mr-worker"));
    writable(&scratch)
        .with_context(|| format!("`--scratch {}` can't be written to; choose another folder", scratch.display()))?;
    let mut settings = Settings::new(slots, scratch);
    if let Some(mb) = args.decode_budget_mb.or(file.decode_budget_mb) {
        settings.decode_budget_bytes = Some(bytes(mb, "--decode-budget-mb")?);
    }
    if let Some(mb) = args.memory_mb.or(file.memory_mb) {
        settings.memory_bytes = Some(bytes(mb, "--memory-mb")?);
    }

    settings.instance = process::given(args.instance).or(file.instance);
    anyhow::ensure!(
        settings.instance.as_ref().is_none_or(|id| (1..=256).contains(&id.len())),
        "`--instance` should have between 1 and 256 letters"
    );
    let on_ec2 = args.ec2.or(file.ec2).unwrap_or(false);
    let alone_max = args.alone_max_s.or(file.alone_max_s).map(Duration::from_secs);
    settings.alone_max = alone_max.or(on_ec2.then_some(ALONE_ON_EC2));
    anyhow::ensure!(
        settings.alone_max.is_none_or(|most| most >= ALONE_MIN),
        "`--alone-max-s` should be at least {}, or a coordinator could not start again",
        ALONE_MIN.as_secs()
    );

    let drain = args.drain_s.or(file.drain_s);
    anyhow::ensure!(drain.is_none_or(|seconds| seconds <= 86_400), "`drain_s` should be at most a day, 86400");
    let drain = drain.map(Duration::from_secs);
    settings.drain = drain.unwrap_or(if on_ec2 { DRAIN_ON_EC2 } else { Duration::ZERO });

    let notices = on_ec2.then(Notices::open);
    if let (Some(notices), None) = (&notices, &settings.instance) {
        settings.instance = Some(notices.instance_id().await.map_err(anyhow::Error::msg)?);
    }

    let insecure = args.insecure.or(file.insecure).unwrap_or(false);
    let trust = secure::trust(secure::folder(args.certs.map(PathBuf::from).or(file.certs))?.as_deref(), insecure)?;
    let coordinators = mr_worker::connect(&coordinator, &trust).map_err(anyhow::Error::msg)?;
    let metrics = args.metrics.or(file.metrics);
    let metrics_insecure = args.metrics_insecure.or(file.metrics_insecure).unwrap_or(false);
    metrics.map_or(Ok(()), |address| secure::check_metrics(address, metrics_insecure))?;
    let (stop, leave) = (process::stop_on_signal()?, Leave::default());
    // Until the process ends, while it drains too.
    let alive = CancellationToken::new();
    if let Some(tls) = trust.tls {
        secure::watch_end(move || tls.until(), alive.clone());
    }
    let (tally, contact) = (settings.tally.clone(), settings.tally.clone());
    let page = move || std::future::ready(Some(tally.page()));
    crate::metrics::serve(metrics, &alive, page, move || std::future::ready(contact.health())).await?;
    let (told, drain) = (leave.clone(), settings.drain);
    tokio::spawn(async move {
        stop.cancelled().await;
        told.within(drain);
    });
    if let Some(notices) = notices {
        let notices = Arc::new(notices);
        let next = move |but| {
            let notices = notices.clone();
            async move { notices.next(but).await }
        };
        tokio::spawn(Heed::with(drain).notices(next, leave.clone()));
    }
    let kernels = registry.kernel_families().join(", ");
    tracing::info!(slots, coordinator, kernels, "working");
    let code = exit_code(mr_worker::run(settings, registry, coordinators, leave).await);
    // Job code that is in the middle of a record has nothing left to say.
    std::process::exit(code)
}

/// Says how it ended.
fn exit_code(stopped: Stopped) -> i32 {
    match stopped {
        Stopped::Drained => {
            tracing::info!("stopped; leases are handed back");
            0
        }
        Stopped::Unheard => {
            tracing::warn!("stopped; the coordinator could not be told, and leases expire by themselves");
            0
        }
        Stopped::Alone => {
            tracing::warn!("no coordinator has been heard for as long as this worker may be alone: it ends");
            0
        }
        // Whoever starts workers is to see that this one won't do.
        Stopped::Refused(why) => {
            tracing::error!("{why}");
            2
        }
    }
}

/// Of so many megabytes, and no more than fit.
fn bytes(mb: u64, flag: &str) -> anyhow::Result<u64> {
    anyhow::ensure!((1..=1 << 30).contains(&mb), "`{flag}` should be at least 1");
    Ok(mb << 20)
}

/// Better found out now than by each task that fetches weights.
fn writable(folder: &Path) -> std::io::Result<()> {
    std::fs::create_dir_all(folder)?;
    let probe = folder.join(format!(".probe-{}", std::process::id()));
    std::fs::write(&probe, "")?;
    std::fs::remove_file(&probe)
}

#[cfg(test)]
mod tests {
    use super::Args;
    use clap::{CommandFactory, Parser};

    #[test]
    fn clap_finds_no_fault_with_it_and_pages_are_asked_for_alone() {
        Args::command().debug_assert();
        let pages = |line: &str| Args::try_parse_from(line.split(' ')).map(|args| args.pages.is_some()).ok();
        assert_eq!(pages("mr-worker --slots 2"), Some(false));
        assert_eq!(pages("mr-worker completions zsh"), Some(true));
        assert_eq!(pages("mr-worker man pages"), Some(true));
        assert_eq!(pages("mr-worker --slots 2 man"), None);
    }
}
