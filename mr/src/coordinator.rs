//! The `mr-coordinator` program.

use crate::certs::{self, Certs};
use crate::fleet::Fleet;
use crate::prices::PriceSettings;
use crate::{process, secure, settings};
use anyhow::{Context, ensure};
use clap::{CommandFactory, Parser, Subcommand};
use mr_cli::Pages;
use mr_coordinator::{Coordinator, Door, Fenced, Settings, serve};
use serde::Deserialize;
use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};
use tokio::net::{TcpListener, TcpSocket};

/// Shards jobs into tasks, hands them to workers and commits their results.
///
/// Prints its address on stdout when it is ready. A second one over the same state stands by, and takes over when the first
/// is silent; workers and submitters have to be given both addresses. Credentials, region and endpoint of S3 come from the environment or
/// the usual AWS files.
#[derive(Parser)]
#[command(name = "mr-coordinator", version, args_conflicts_with_subcommands = true)]
struct Args {
    #[command(subcommand)]
    command: Option<Command>,
    /// Address to listen on; port 0 picks one
    #[arg(long, env = "MR_LISTEN", value_name = "ADDRESS:PORT")]
    listen: Option<SocketAddr>,
    /// A folder with ca.pem, cert.pem and key.pem of a coordinator, as `mr-coordinator certs` makes them: callers show theirs
    /// (mTLS). Needed on addresses that other machines reach
    #[arg(long, env = "MR_CERTS", value_name = "DIR")]
    certs: Option<OsString>,
    /// Plain text on addresses that other machines reach, where there are no certificates: whoever is on the network may do
    /// anything
    #[arg(long, env = "MR_INSECURE", value_parser = clap::builder::BoolishValueParser::new(), num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL")]
    insecure: Option<bool>,
    /// Where working files are kept, by workers too: a folder that all of them see, or s3://bucket/prefix/
    #[arg(long, env = "MR_STATE", value_name = "DIR|URL")]
    state: Option<String>,
    /// Milliseconds without a word from a worker after which its tasks go to others
    #[arg(long, env = "MR_LEASE_MS", value_name = "MS")]
    lease_ms: Option<u64>,
    /// Milliseconds after which a job fails if only workers that don't have it, or the kernels that it asks for, are in
    /// touch; 300000 unless this says otherwise
    #[arg(long, env = "MR_UNSERVED_MS", value_name = "MS")]
    unserved_ms: Option<u64>,
    /// For how many days outputs of tasks are kept for other jobs that could use them; 3 unless this says otherwise, 0 keeps
    /// none
    #[arg(long, env = "MR_KEEP_DAYS", value_name = "DAYS")]
    keep_days: Option<u32>,
    /// Address at which Prometheus finds `/metrics`, and who restarts what is stuck `/healthz`, over plain HTTP; port 0
    /// picks one; by default there is none
    #[arg(long, env = "MR_METRICS", value_name = "ADDRESS:PORT")]
    metrics: Option<SocketAddr>,
    /// The same on an address that other machines reach, where whoever is on the network may read it: it says nothing
    /// but numbers and names of buckets
    #[arg(long, env = "MR_METRICS_INSECURE", value_parser = clap::builder::BoolishValueParser::new(), num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL")]
    metrics_insecure: Option<bool>,
    /// A TOML file with these settings, named as the flags are but with `_`; a table `[fleet]` in it has the coordinator start
    /// and stop workers as there is work
    #[arg(long, env = "MR_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
}

#[derive(Subcommand)]
enum Command {
    Certs(Certs),
    #[command(flatten)]
    Pages(Pages),
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct File {
    listen: Option<SocketAddr>,
    certs: Option<PathBuf>,
    insecure: Option<bool>,
    state: Option<String>,
    lease_ms: Option<u64>,
    unserved_ms: Option<u64>,
    keep_days: Option<u32>,
    metrics: Option<SocketAddr>,
    metrics_insecure: Option<bool>,
    /// Workers that it starts and stops itself.
    fleet: Option<Fleet>,
    /// What it all costs.
    prices: Option<PriceSettings>,
}

/// Runs until SIGTERM or SIGINT, or another has taken over: then the exit code is 1, since nothing was wrong with what it
/// was told.
pub fn coordinator() -> ExitCode {
    from_args(std::env::args_os())
}

pub(crate) fn from_args(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let mut args: Args = process::parse(args);
    match args.command.take() {
        Some(Command::Certs(certs)) => process::exit(certs::run(certs)),
        Some(Command::Pages(pages)) => process::exit(process::tell(&pages, Args::command())),
        None => exit(process::run(run(args))),
    }
}

fn exit(outcome: anyhow::Result<()>) -> ExitCode {
    let fenced = outcome.as_ref().is_err_and(|error| error.is::<Fenced>());
    let code = process::exit(outcome);
    if fenced { ExitCode::from(1) } else { code }
}

/// Then somebody should know that it does not come.
const STARTS_WITHIN: Duration = Duration::from_secs(600);

async fn run(args: Args) -> anyhow::Result<()> {
    process::start_logging();
    let file: File = settings::read(args.config.as_deref())?;
    let listen = args.listen.or(file.listen).unwrap_or_else(|| SocketAddr::from(([127, 0, 0, 1], 7171)));
    let state = process::given(args.state)
        .or(file.state)
        .context("`--state DIR` or `--state s3://bucket/prefix/` is needed")?;
    let mut settings = Settings::new(absolute(state)?);
    settings.lease_ms = args.lease_ms.or(file.lease_ms).unwrap_or(settings.lease_ms);
    settings.unserved_ms = args.unserved_ms.or(file.unserved_ms).unwrap_or(settings.unserved_ms);
    ensure!(settings.lease_ms >= 1000, "`--lease-ms` should be at least 1000");
    ensure!(settings.unserved_ms >= 1000, "`--unserved-ms` should be at least 1000");

    if let Some(days) = args.keep_days.or(file.keep_days) {
        ensure!(days <= 3650, "`--keep-days` should be at most 3650");
        settings.work_age_ms = u64::from(days) * 24 * 3600 * 1000;
    }

    let insecure = args.insecure.or(file.insecure).unwrap_or(false);
    let tls =
        secure::acceptor(secure::folder(args.certs.map(PathBuf::from).or(file.certs))?.as_deref(), insecure, listen)?;
    let metrics = args.metrics.or(file.metrics);
    let metrics_insecure = args.metrics_insecure.or(file.metrics_insecure).unwrap_or(false);
    metrics.map_or(Ok(()), |address| secure::check_metrics(address, metrics_insecure))?;
    process::allow_many_files();

    let stop = process::stop_on_signal()?;
    // Before it takes over from anyone.
    let listener = queue_at(listen).with_context(|| format!("listening on {listen}"))?;
    let scheme = if tls.is_some() { "https" } else { "http" };
    if let (Some(acceptor), Some(certs)) = (&tls, file.fleet.as_ref().and_then(Fleet::certs)) {
        secure::check_workers(acceptor, certs).await.context("`[fleet]`")?;
    }
    let fleet = file.fleet.map(|fleet| fleet.settings(scheme, listener.local_addr()?)).transpose();
    settings.fleet = fleet.context("`[fleet]`")?;
    let of_fleet = settings.fleet.as_ref().map(|fleet| fleet.policy.usd_per_worker_hour);
    settings.rates = file.prices.unwrap_or_default().rates(of_fleet).context("`[prices]`")?;
    let door = Door::new(tls);
    // Asked from the beginning: a store that does not answer yet is no reason to start it anew for some time.
    let began = Instant::now();
    let at_work = Arc::new(OnceLock::<Coordinator>::new());
    let told = (at_work.clone(), door.clone());
    let page = move || {
        let (at_work, door) = told.clone();
        async move {
            let mut page = at_work.get()?.metrics().await?;
            door.metrics(&mut page);
            Some(page)
        }
    };
    let asked = at_work.clone();
    let health = move || {
        let at_work = asked.clone();
        async move {
            match at_work.get() {
                Some(coordinator) => coordinator.health().await,
                None if began.elapsed() < STARTS_WITHIN => Ok("it is starting".to_owned()),
                None => {
                    Err(format!("it began {} s ago, and its store has not answered yet", began.elapsed().as_secs()))
                }
            }
        }
    };
    crate::metrics::serve(metrics, &stop, page, health).await?;
    // A store that does not answer keeps it from starting, and must not keep it from stopping.
    let (coordinator, running) = tokio::select! {
        started = Coordinator::start(settings) => started?,
        () = stop.cancelled() => return Ok(()),
    };
    at_work.get_or_init(|| coordinator.clone());
    if door.until().is_some() {
        let door = door.clone();
        secure::watch_end(move || door.until().expect("it has a certificate"), stop.clone());
    }
    println!("{scheme}://{}", listener.local_addr()?);
    let serving = serve(&coordinator, door.open(listener), stop.clone());
    let mut running = running;
    // Those who wait for an answer are let go within the bound that a stop has, and then so are connections.
    let bound = async {
        stop.cancelled().await;
        coordinator.stop().await;
        tokio::time::sleep(Duration::from_millis(500)).await;
    };
    tokio::select! {
        // One that was taken over from must not go on answering.
        ended = &mut running => return ended.context("the coordinator broke")?,
        served = serving => served?,
        () = bound => {}
    }
    coordinator.stop().await;
    running.await.context("the coordinator broke")?
}

/// Callers that the system holds until they are taken: whoever finds no room there comes again after a second. As many come at
/// once when a coordinator starts under a large fleet.
const QUEUE: u32 = 4096;

fn queue_at(address: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    // One that was killed a moment ago has left connections behind.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(QUEUE)
}

/// Workers are told the place of the state, and they were started elsewhere.
fn absolute(state: String) -> anyhow::Result<String> {
    if let Some((scheme, rest)) = state.split_once(":/") {
        let scheme = scheme.to_ascii_lowercase();
        if rest.starts_with('/') {
            return Ok(format!("{scheme}:/{rest}"));
        }
        // What follows may be a password: it is not repeated.
        ensure!(
            !["s3", "file", "http", "https"].contains(&scheme.as_str()),
            "`--state`: write {scheme}:// with two slashes"
        );
    }
    let path = std::path::absolute(&state).with_context(|| format!("`--state {state}`"))?;
    path.into_os_string()
        .into_string()
        .map_err(|_| anyhow::anyhow!("`--state {state}` lies in a folder whose name is not UTF-8"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_that_was_taken_over_from_ends_otherwise_than_one_that_was_told_wrong() {
        let fenced = anyhow::Error::new(Fenced { own: 1, epoch: 2 });
        // Codes can't be compared, only shown.
        let shown = |outcome| format!("{:?}", exit(outcome));
        assert_eq!(shown(Err(fenced.context("the coordinator broke"))), format!("{:?}", ExitCode::from(1)));
        assert_eq!(shown(Err(anyhow::anyhow!("no such folder"))), format!("{:?}", ExitCode::from(2)));
        assert_eq!(shown(Ok(())), format!("{:?}", ExitCode::SUCCESS));
    }

    #[test]
    fn a_folder_is_known_by_its_whole_path_and_a_url_as_it_is() {
        let here = std::env::current_dir().unwrap();
        assert_eq!(absolute("a b/state".into()).unwrap(), here.join("a b/state").to_str().unwrap());
        for whole in ["/var/lib/mr", "s3://bucket/prefix/", "file:///a b/"] {
            assert_eq!(absolute(whole.into()).unwrap(), whole);
        }
        assert_eq!(absolute("S3://bucket/Prefix/".into()).unwrap(), "s3://bucket/Prefix/");
        assert!(absolute(String::new()).is_err());
        for short in ["s3:/bucket/prefix/", "S3:/bucket", "file:/srv/state"] {
            assert!(absolute(short.into()).is_err(), "{short}");
        }
    }

    #[test]
    fn clap_finds_no_fault_with_it_and_commands_stand_alone() {
        Args::command().debug_assert();
        let command = |line: &str| Args::try_parse_from(line.split(' ')).map(|args| args.command.is_some()).ok();
        assert_eq!(command("mr-coordinator --state there"), Some(false));
        assert_eq!(command("mr-coordinator completions zsh"), Some(true));
        assert_eq!(command("mr-coordinator certs init"), Some(true));
        assert_eq!(command("mr-coordinator --state there man"), None);
    }
}
