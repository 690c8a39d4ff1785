//! Which command was given, and the short ones.

use crate::args::{Cli, Command};
use crate::cluster::Cluster;
use crate::interrupt::Interrupts;
use crate::pages::{Pages, Told};
use crate::stop::Stop;
use crate::talk::say;
use crate::{args, job_id, output, planning, submit, summary, verify};
use mr_core::{JobId, JobPhase};
use mr_mapreduce::Registry;
use mr_tls::{Connector, Role, ends_soon};
use mr_worker::Trust;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// # Errors
/// Why it is not done.
pub async fn run(cli: Cli, registry: Registry, began: Instant) -> Result<(), Stop> {
    match (&cli.command, &cli.run.job) {
        (None, Some(job)) => submit::submit(&cli, job, registry, began).await,
        (None, None) => {
            eprint!("{}", args::command(&registry).render_help());
            Err(Stop::Usage)
        }
        (Some(Command::Plan(args)), _) => planning::plan_only(&cli, args, registry).await,
        (Some(Command::List), _) => list(&cli).await,
        (Some(Command::Status { id }), _) => status(&cli, id).await,
        (Some(Command::Watch { id }), _) => watch(&cli, id).await,
        (Some(Command::Cancel { id }), _) => cancel(&cli, id).await,
        (Some(Command::Retry { id, quarantined }), _) => retry(&cli, id, *quarantined).await,
        (Some(Command::Verify(args)), _) => verify::verify(&cli, args, registry).await,
        (Some(Command::Pages(wanted)), _) => pages(wanted, &registry),
    }
}

pub fn cluster(cli: &Cli) -> Result<Cluster, Stop> {
    match cli.coordinator() {
        Some(url) => at(cli, url),
        None => Err(Stop::Refused(
            "this asks a coordinator: say where it is with --coordinator http://host:port, or in MR_COORDINATOR".into(),
        )),
    }
}

/// The cluster at that address, as the command line trusts it.
pub fn at(cli: &Cli, url: &str) -> Result<Cluster, Stop> {
    // An empty variable names none.
    let certs = cli.certs.as_ref().map(Path::new).filter(|folder| !folder.as_os_str().is_empty());
    let tls = certs.map(|folder| Connector::open(folder, Role::Submitter)).transpose();
    let tls = tls.map_err(|why| Stop::Refused(format!("--certs: {why}")))?.map(Arc::new);
    if let Some(left) = tls.as_ref().and_then(|tls| ends_soon(tls.until())) {
        say(&format!("your certificate ends in {} hours: ask for a new one", left.as_secs() / 3600));
    }
    let insecure = cli.insecure.unwrap_or(false);
    let cluster = Cluster::at(url, Duration::from_secs(cli.patience), &Trust { tls, insecure })?;
    let certs = certs.map(|folder| format!(" --certs {}", folder.display()));
    Ok(cluster.with_flags(certs.unwrap_or_default() + if insecure { " --insecure" } else { "" }))
}

fn id(text: &str) -> Result<JobId, Stop> {
    JobId::parse(text).map_err(Stop::Refused)
}

async fn list(cli: &Cli) -> Result<(), Stop> {
    let jobs = cluster(cli)?.list().await?;
    if cli.json {
        return output::json(&jobs);
    }
    output::text(&summary::of_jobs(&jobs))
}

async fn status(cli: &Cli, job: &str) -> Result<(), Stop> {
    let status = cluster(cli)?.status(&id(job)?).await?;
    if cli.json {
        return output::json(&status);
    }
    output::text(&summary::of_job(&status))
}

async fn watch(cli: &Cli, job: &str) -> Result<(), Stop> {
    let mut interrupts =
        Interrupts::listen().map_err(|error| Stop::Failed(format!("listening for signals: {error}")))?;
    submit::watch(&cluster(cli)?, &id(job)?, cli.json, &mut interrupts).await
}

async fn retry(cli: &Cli, job: &str, quarantined: bool) -> Result<(), Stop> {
    let mut interrupts =
        Interrupts::listen().map_err(|error| Stop::Failed(format!("listening for signals: {error}")))?;
    let (cluster, old) = (cluster(cli)?, id(job)?);
    let new = job_id::new().map_err(|error| Stop::Failed(format!("making a job id: {error}")))?;
    cluster.retry(&old, &new, quarantined).await?;
    say(&format!("submitted job {new}, which is job {old} once more"));
    submit::watch(&cluster, &new, cli.json, &mut interrupts).await
}

/// A job that was cancelled before is cancelled: saying so again is no mistake.
async fn cancel(cli: &Cli, job: &str) -> Result<(), Stop> {
    let (cluster, id) = (cluster(cli)?, id(job)?);
    let taken = cluster.cancel(&id).await?;
    let status = cluster.status(&id).await?;
    if cli.json {
        output::json(&status)?;
    }
    match status.phase {
        _ if taken => say(&format!("cancelled job {id}; its output stays as it was")),
        JobPhase::Cancelled => say(&format!("job {id} was cancelled before")),
        JobPhase::Committed => return Err(Stop::Failed(format!("too late: job {id} has committed"))),
        JobPhase::Failed => return Err(Stop::Failed(format!("too late: job {id} has failed"))),
        JobPhase::Listing | JobPhase::Running | JobPhase::Committing => {
            return Err(Stop::Failed(format!("too late: job {id} is about to end")));
        }
    }
    Ok(())
}

fn pages(pages: &Pages, registry: &Registry) -> Result<(), Stop> {
    match pages.told(args::command(registry)) {
        Ok(Told::Text(text)) => output::text(&text),
        Ok(Told::Written(folder)) => {
            say(&format!("manual pages are in {}", folder.display()));
            Ok(())
        }
        Err(error) => Err(Stop::Refused(error.to_string())),
    }
}
