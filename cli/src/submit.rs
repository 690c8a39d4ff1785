//! Running a job: what was typed becomes a plan, the plan is submitted here or to a cluster, and watched to its end.

use crate::args::{Changes, Cli, Run};
use crate::cluster::Cluster;
use crate::embedded::{Embedded, Settings};
use crate::interrupt::Interrupts;
use crate::location::{self, Place};
use crate::mistake::{Mistake, Source, render};
use crate::plan::{Planned, plan};
use crate::planning::within_budget;
use crate::state_folder::{KEEP, StateFolder, default_root};
use crate::stop::{Stop, judge};
use crate::talk::{Talk, say};
use crate::typed::Typed;
use crate::{commands, job_id, keys, output};
use mr_core::{JobId, JobStatus, KernelWish, NO_KERNELS, shown_url};
use mr_mapreduce::Registry;
use mr_storage::{Overlap, overlap};
use std::ffi::OsStr;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::time::{Duration, Instant};

/// # Errors
/// Why the job is not done.
pub async fn submit(cli: &Cli, job: &Path, registry: Registry, began: Instant) -> Result<(), Stop> {
    let mut interrupts =
        Interrupts::listen().map_err(|error| Stop::Failed(format!("listening for signals: {error}")))?;
    let place = Place::now()
        .map_err(|error| Stop::Refused(format!("the folder that this was called in can't be found: {error}")))?;
    let planned = tokio::select! {
        planned = prepare((&cli.run.changes, cli.run.adopt), job, &registry, &place) => planned?,
        () = interrupts.next() => return Err(nothing_submitted()),
    };
    if planned.plan.spec.limits.budget_max_usd.is_none()
        && let Some(flag) = cli.run.assumed.first()
    {
        return Err(Stop::Refused(format!(
            "{flag} is for `mr-submit plan`, and for jobs with a `{}` to hold the estimate against",
            keys::BUDGET_MAX_USD
        )));
    }
    if planned.plan.spec.limits.budget_max_usd.is_some() {
        let slots = cli.run.slots.unwrap_or_else(cores);
        tokio::select! {
            within = within_budget(cli, &planned, &registry, slots) => within?,
            () = interrupts.next() => return Err(nothing_submitted()),
        }
    }
    let id = job_id::new().map_err(|error| Stop::Failed(format!("making a job id: {error}")))?;
    let submission = Submission { id, planned, renews_quarantined: cli.run.renew_quarantined, began, json: cli.json };
    match cli.coordinator() {
        Some(url) => {
            let cluster = commands::at(cli, url)?;
            submission.there(&cluster, &mut interrupts).await
        }
        None => submission.here(&cli.run, registry, &place, &mut interrupts).await,
    }
}

fn nothing_submitted() -> Stop {
    Stop::Interrupted("interrupted: nothing was submitted".to_owned())
}

/// Everything that can be said against the job before anything of it is touched.
///
/// # Errors
/// All that is wrong with it.
pub async fn prepare(
    (changes, adopt): (&Changes, bool),
    job: &Path,
    registry: &Registry,
    place: &Place,
) -> Result<Planned, Stop> {
    let source = read(job)?;
    let refuse = |mistakes: &[Mistake]| Stop::Refused(render(mistakes, &source));
    let mut short = Vec::new();
    for (key, flag, value) in [(keys::INPUT, "--input", &changes.input), (keys::OUTPUT, "--output", &changes.output)] {
        if let Some(value) = value {
            short.push((key, flag, utf8(flag, value)?));
        }
    }
    let typed = Typed { source: &source, set: &changes.set, short: &short, adopt };
    let (file, meant) = typed.resolve(registry, place).map_err(|mistakes| refuse(&mistakes))?;
    let folder = job.parent().unwrap_or(Path::new(""));
    let beside = Place { here: place.here.join(folder), home: place.home.clone() };
    plan(meant, &file, place, &beside).await.map_err(|mistake| refuse(&[mistake]))
}

/// Far more than any job needs.
const JOB_FILE_BYTES_MAX: usize = 1 << 20;

fn read(job: &Path) -> Result<Source, Stop> {
    let name = job.display().to_string();
    let mut bytes = Vec::new();
    // One byte more than there may be, of something that never ends perhaps.
    let read = File::open(job).and_then(|file| file.take(JOB_FILE_BYTES_MAX as u64 + 1).read_to_end(&mut bytes));
    read.map_err(|error| {
        let command =
            job.to_str().and_then(|word| keys::nearest(word, ["list", "plan", "status", "watch", "cancel", "verify"]));
        let hint = command.map_or(String::new(), |near| format!("; did you mean the command `{near}`?"));
        Stop::Refused(match error.kind() {
            std::io::ErrorKind::NotFound => format!("there is no job file `{name}`{hint}"),
            std::io::ErrorKind::IsADirectory => format!("`{name}` is a folder; name a job file"),
            _ => format!("reading the job file `{name}`: {error}"),
        })
    })?;
    if bytes.len() > JOB_FILE_BYTES_MAX {
        return Err(Stop::Refused(format!(
            "`{name}` is no job file: it has more than {JOB_FILE_BYTES_MAX} bytes; a long list of objects goes into a file that \
             `input_list` names"
        )));
    }
    Source::of_bytes(name, bytes).map_err(Stop::Refused)
}

pub fn utf8<'a>(flag: &str, value: &'a OsStr) -> Result<&'a str, Stop> {
    let shown = value.to_string_lossy();
    value.to_str().ok_or_else(|| Stop::Refused(format!("`{flag} {shown}`: this name is not UTF-8; rename it")))
}

struct Submission {
    id: JobId,
    planned: Planned,
    renews_quarantined: bool,
    began: Instant,
    json: bool,
}

impl Submission {
    /// On a cluster. The job goes on without whoever watches it.
    async fn there(self, cluster: &Cluster, interrupts: &mut Interrupts) -> Result<(), Stop> {
        let Self { id, planned, renews_quarantined, began, json } = self;
        let blobs = planned.blobs();
        tokio::select! {
            submitted = cluster.submit(&id, planned.plan, renews_quarantined, &blobs, began) => submitted?,
            () = interrupts.next() => {
                let list = cluster.command_line("list");
                return Err(Stop::Interrupted(format!("interrupted while submitting job {id}: see `{list}` for whether it runs")));
            }
        }
        say(&format!("submitted job {id}"));
        watch(cluster, &id, json, interrupts).await
    }

    /// In this process.
    async fn here(self, run: &Run, registry: Registry, place: &Place, interrupts: &mut Interrupts) -> Result<(), Stop> {
        let Self { id, planned, renews_quarantined, began, json } = self;
        let blobs = planned.blobs();
        let plan = planned.plan;
        served(&plan.kernels, registry.kernel_families())?;
        let root = state_root(run.state.as_deref(), place)?;
        apart(&root, &plan.spec.input, &plan.spec.output)?;
        let keep = run.keep_days.map_or(KEEP, |days| Duration::from_secs(24 * 3600 * u64::from(days)));
        let folder = StateFolder::take(&root, &plan.spec, keep)
            .map_err(|error| Stop::Refused(format!("{error:#}; choose a place for working files with --state")))?;
        let settings = Settings {
            state: location::file_url(&folder.state()).map_err(Stop::Refused)?,
            scratch: &folder.scratch(),
            slots: run.slots.unwrap_or_else(cores),
            decode_budget_bytes: run.decode_budget_mb.map(|mb| mb << 20),
            keep,
        };
        let failed = |error: anyhow::Error| Stop::Failed(mr_storage::story(error.as_ref()));
        let mut embedded = Embedded::start(settings, registry).await.map_err(failed)?;
        let cluster = Cluster::in_process(embedded.channel());
        let watched = async {
            cluster.submit(&id, plan, renews_quarantined, &blobs, began).await?;
            let mut talk = Talk::new();
            let watched = cluster.watch(&id, |status| talk.see(status), |_| {}).await;
            drop(talk);
            watched
        };
        let (status, interrupted) = {
            let mut watched = pin!(watched);
            let mut interrupted = false;
            let status = loop {
                tokio::select! {
                    status = &mut watched => break status,
                    error = embedded.broken() => return Err(failed(error)),
                    () = interrupts.next() => {
                        if interrupted {
                            std::process::exit(130);
                        }
                        interrupted = true;
                        say("interrupted: cancelling the job and cleaning up; once more to leave at once");
                        let cancelled = tokio::select! {
                            cancelled = cluster.cancel(&id) => cancelled,
                            error = embedded.broken() => return Err(failed(error)),
                            () = interrupts.next() => std::process::exit(130),
                        };
                        match cancelled {
                            Ok(true) => {}
                            Ok(false) => say("it is too late to cancel the job: it is about to end"),
                            // It is not known yet, and won't be: dropping the watch takes the submission back.
                            Err(Stop::Refused(_)) => break Err(nothing_submitted()),
                            Err(stop) => break Err(stop),
                        }
                    }
                }
            };
            (status, interrupted)
        };
        // A job that failed cleans up after itself: that has to end before the process does.
        tokio::select! {
            stopped = embedded.stop() => stopped.map_err(failed)?,
            () = interrupts.next(), if interrupted => std::process::exit(130),
        }
        end(&status?, json, interrupted)
    }
}

/// Watches a job of a cluster to its end, and ends as it does.
///
/// # Errors
/// Why it is not done.
pub async fn watch(cluster: &Cluster, id: &JobId, json: bool, interrupts: &mut Interrupts) -> Result<(), Stop> {
    let mut talk = Talk::new();
    let again = cluster.command_line(&format!("watch {id}"));
    let status = tokio::select! {
        status = cluster.watch(id, |status| talk.see(status), say) => status,
        () = interrupts.next() => {
            let cancel = cluster.command_line(&format!("cancel {id}"));
            Err(Stop::Interrupted(format!("interrupted: job {id} goes on; watch it with `{again}`, cancel it with `{cancel}`")))
        }
    };
    drop(talk);
    match status {
        Ok(status) => end(&status, json, false),
        Err(Stop::Unreachable(why)) => Err(Stop::Unreachable(format!(
            "{why}; job {id} goes on as soon as a coordinator is at work again, watch it with `{again}`"
        ))),
        Err(stop) => Err(stop),
    }
}

fn end(status: &JobStatus, json: bool, cancelled_here: bool) -> Result<(), Stop> {
    let verdict = judge(status, cancelled_here);
    if json {
        output::json(status)?;
    } else if verdict.is_ok() {
        output::text(&crate::summary::of_success(status))?;
    }
    verdict
}

pub fn cores() -> u32 {
    std::thread::available_parallelism().map_or(1, |cores| cores.get().min(1024) as u32)
}

fn state_root(typed: Option<&OsStr>, place: &Place) -> Result<PathBuf, Stop> {
    match typed {
        Some(typed) => {
            let typed = utf8("--state", typed)?;
            location::local_folder(typed, place)
                .map_err(|message| Stop::Refused(format!("`--state {}`: {message}", shown_url(typed))))
        }
        None => default_root(|name| std::env::var_os(name)).ok_or_else(|| {
            Stop::Refused(
                "there is no cache folder, as HOME is not set; choose a place for working files with --state".into(),
            )
        }),
    }
}

/// This process is its own only worker: what it has no kernels for would wait for nobody.
fn served(wish: &KernelWish, families: &[String]) -> Result<(), Stop> {
    if families.iter().any(|family| wish.takes(family)) {
        return Ok(());
    }
    let kernels: Vec<_> = families.iter().map(String::as_str).filter(|family| *family != NO_KERNELS).collect();
    Err(Stop::Refused(format!("this process has kernels for {} only: {}", kernels.join(", "), wish.why)))
}

/// Working files are neither results nor input.
fn apart(state: &Path, input: &str, output: &str) -> Result<(), Stop> {
    let state_url = location::file_url(state).map_err(Stop::Refused)?;
    for (what, root) in [("output", output), ("input", input)] {
        if let Some(Overlap::Same | Overlap::Inside) = overlap(&state_url, root) {
            let place = location::path_of(root).unwrap_or(Path::new(root)).display();
            return Err(Stop::Refused(format!(
                "working files would go to {}, which lies in the {what} {place}; choose another place with --state",
                state.display()
            )));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::registry;

    async fn prepared(file: &str, run: &[&str], content: &[u8]) -> Result<Planned, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(file);
        if !content.is_empty() {
            std::fs::write(&path, content).unwrap();
        }
        let typed = ["mr-submit"].iter().chain(run).map(Into::into);
        let run = crate::args::parse(typed, crate::args::command(&registry())).unwrap().run;
        let place = Place { here: "/w".into(), home: None };
        let result = prepare((&run.changes, run.adopt), &path, &registry(), &place).await;
        result.map_err(|stop| match stop {
            Stop::Refused(message) => message.replace(&format!("{}/", folder.path().display()), ""),
            other => panic!("{other:?}"),
        })
    }

    const GOOD: &[u8] = b"job = \"count\"\ninput = \"in\"\noutput = \"out\"\n";

    #[tokio::test]
    async fn short_forms_win_over_the_file_and_over_settings() {
        let planned =
            prepared("j.toml", &["--input", "a b", "--set", "input=c", "--set", "output=d"], GOOD).await.unwrap();
        assert_eq!((&*planned.plan.spec.input, &*planned.plan.spec.output), ("file:///w/a b/", "file:///w/d/"));
        let said = prepared("j.toml", &["--output", "gs://x"], GOOD).await.unwrap_err();
        assert_eq!(said, "`--output gs://x`: `output`: `gs://` is not known; use a path, file:// or s3://");
    }

    #[tokio::test]
    async fn a_byte_order_mark_does_no_harm() {
        let text = [b"\xef\xbb\xbf", GOOD].concat();
        assert!(prepared("j.toml", &[], &text).await.is_ok());
    }

    #[tokio::test]
    async fn a_file_that_cannot_be_read_is_refused() {
        assert_eq!(prepared("j.toml", &[], b"").await.unwrap_err(), "there is no job file `j.toml`");
        assert_eq!(
            prepared("j.toml", &[], b"job = 1\n\xff").await.unwrap_err(),
            "j.toml:2: this is not UTF-8, as a job file has to be"
        );
        assert_eq!(read(Path::new("/")).unwrap_err(), Stop::Refused("`/` is a folder; name a job file".into()));
        let Stop::Refused(hint) = read(Path::new("lst")).unwrap_err() else { panic!() };
        assert_eq!(hint, "there is no job file `lst`; did you mean the command `list`?");
    }

    #[tokio::test]
    async fn a_job_file_has_a_mebibyte_at_most() {
        let of = |bytes: usize| [GOOD, b"#", &vec![b'x'; bytes - GOOD.len() - 1][..]].concat();
        assert!(prepared("j.toml", &[], &of(1 << 20)).await.is_ok());
        let said = prepared("j.toml", &[], &of((1 << 20) + 1)).await.unwrap_err();
        assert!(said.starts_with("`j.toml` is no job file: it has more than 1048576 bytes; "), "{said}");
    }

    #[tokio::test]
    async fn mistakes_in_settings_and_file_are_told_together() {
        let text = [GOOD, b"mod = 1\n"].concat();
        let said = prepared("j.toml", &["--set", "x", "--set", "params.z=1"], &text).await.unwrap_err();
        let heads: Vec<_> =
            said.lines().filter(|line| line.contains(": ")).map(|l| l.split(": ").next().unwrap()).collect();
        assert_eq!(heads, ["j.toml:4:1", "`--set x`", "`--set params.z=1`"]);
    }

    #[test]
    fn kernels_that_this_machine_lacks_are_refused_at_once() {
        let wish = |arithmetics: &[&str]| KernelWish {
            arithmetics: arithmetics.iter().map(|name| (*name).to_owned()).collect(),
            why: "`params.precision = \"fast\"` asks for it".into(),
        };
        let families = ["f32/x86-64-v3".to_owned()];
        for fine in [&[][..], &["f32"], &["bf16x3", "f32"]] {
            assert!(served(&wish(fine), &families).is_ok(), "{fine:?}");
        }
        let said = served(&wish(&["bf16x3"]), &families).unwrap_err();
        let wanted = "this process has kernels for f32/x86-64-v3 only: `params.precision = \"fast\"` asks for it";
        assert_eq!(said, Stop::Refused(wanted.into()));
    }

    #[test]
    fn working_files_lie_apart_from_input_and_output() {
        let check = |state, output| apart(Path::new(state), "s3://b/in/", output).is_ok();
        assert!(check("/w/state", "file:///w/out/"));
        assert!(check("/w/state", "s3://b/out/"));
        assert!(!check("/w/out", "file:///w/out/"));
        assert!(!check("/w/out/state", "file:///w/out/"));
        assert!(apart(Path::new("/w/in/state"), "file:///w/in/", "s3://b/").is_err());
    }
}
