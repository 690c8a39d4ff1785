//! Reading the journal back: what the coordinator before knew, as far as it was written.

use super::facts::{condemned_from, ended_from, from_listing, listing_file, task_key_from};
use super::{PREFIX, Piece, base_key, entry_key, piece};
use crate::job::{Input, Job};
use crate::memo::Memo;
use crate::process::Process;
use anyhow::{Context, anyhow, bail};
use futures::stream::{self, StreamExt, TryStreamExt};
use mr_core::{Epoch, FileRef, JobId, TaskKind, expand, task_keys};
use mr_proto::v1::journal_fact::What as Wire;
use mr_proto::{convert, journal, v1};
use mr_scheduler::{Fact, Millis, What};
use mr_storage::{DynStore, GetOptions, StoreError, object_url};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Everything that a coordinator begins with.
#[derive(Default)]
pub struct Recovered {
    /// Number of the newest entry; 0 if there is none.
    pub last: u64,
    /// Who wrote it, and in which process, if it did nothing after taking over.
    pub epoch: Epoch,
    pub process: Option<Process>,
    pub facts: Vec<Fact>,
    pub jobs: BTreeMap<JobId, Job>,
    pub memo: Memo,
    /// When the last of it was decided.
    pub at: Millis,
}

/// Entries read at a time.
const PARALLEL: usize = 16;
/// How often a coordinator that is still at work may shorten the journal under the reader's hands.
const TRIES_MAX: u32 = 20;

/// # Errors
/// When the journal can't be read, or is damaged: then nothing is decided, since half of a state is worse than none.
pub async fn load(store: &DynStore) -> anyhow::Result<Recovered> {
    let mut tries = 0;
    let (last, (epoch, process), wire) = loop {
        tries += 1;
        match read(store).await {
            Ok(read) => break read,
            Err(error) if tries < TRIES_MAX && is_gone(&error) => {}
            Err(error) => return Err(error).context("reading the journal"),
        }
    };
    let mut recovered = Recovered { last, epoch, process, ..Recovered::default() };
    interpret(store, wire, &mut recovered).await.context("reading the journal")?;
    Ok(recovered)
}

fn is_gone(error: &anyhow::Error) -> bool {
    matches!(error.downcast_ref(), Some(StoreError::NotFound { .. }))
}

/// The number of the newest entry, whose it is, and all facts in order.
async fn read(store: &DynStore) -> anyhow::Result<(u64, (Epoch, Option<Process>), Vec<v1::JournalFact>)> {
    let objects = match store.list(PREFIX).await {
        Ok(objects) => objects,
        Err(StoreError::NotFound { .. }) => Vec::new(),
        Err(error) => return Err(error.into()),
    };
    let pieces: Vec<_> = objects.iter().filter_map(|object| piece(&object.key)).collect();
    let base =
        pieces.iter().filter_map(|piece| if let Piece::Base(number) = piece { Some(*number) } else { None }).max();
    let after = base.unwrap_or(0);
    let entries = pieces.iter().filter_map(|piece| if let Piece::Entry(number) = piece { Some(*number) } else { None });
    let entries: BTreeSet<_> = entries.filter(|number| *number > after).collect();
    for (expected, number) in (after + 1..).zip(&entries) {
        if expected != *number {
            bail!(
                "entry {expected} is not there, though entry {number} is: restore {}, or begin with another state",
                object_url(store.url(), &entry_key(expected))
            );
        }
    }
    let last = entries.last().copied().unwrap_or(after);
    let keys = base.map(base_key).into_iter().chain(entries.iter().map(|number| entry_key(*number)));
    let keys: Vec<_> = keys.collect();
    let read = |key: String| async move {
        let got = store.get(&key, GetOptions::default()).await?;
        let entry = journal::entry_from(&got.bytes).with_context(|| {
            format!(
                "{} is damaged: restore it, or begin with another state, which costs what was done under this one",
                object_url(store.url(), &key)
            )
        })?;
        anyhow::Ok(entry)
    };
    let entries: Vec<_> = stream::iter(keys).map(read).buffered(PARALLEL).try_collect().await?;
    let process = |entry: &v1::JournalEntry| serde_json::from_str(&entry.process).ok();
    let newest = entries.last().map_or((0, None), |entry| (entry.epoch, process(entry)));
    Ok((last, newest, entries.into_iter().flat_map(|entry| entry.facts).collect()))
}

async fn interpret(store: &DynStore, wire: Vec<v1::JournalFact>, to: &mut Recovered) -> anyhow::Result<()> {
    let over = |fact: &v1::JournalFact| matches!(fact.what, Some(Wire::Ended(_))).then(|| fact.job_id.clone());
    let over: BTreeSet<_> = wire.iter().filter_map(over).collect();
    for fact in wire {
        let at = fact.at_ms;
        to.at = to.at.max(at);
        let what = fact.what.ok_or_else(|| anyhow!("a fact says nothing: it is of a newer program"))?;
        if let Wire::Kept(kept) = what {
            let (key, output) = (task_key_from(&kept.task_key), kept.output.map(convert::output_from).transpose()?);
            if let (Some(key), Some(output)) = (key, output) {
                to.memo.keep(&kept.family.into(), key, &Arc::new(output), at);
            }
            continue;
        }
        let id = convert::job_id(&fact.job_id)?;
        let ended = over.contains(&fact.job_id);
        let what = match what {
            Wire::Submitted(submitted) => {
                let plan = submitted.plan.ok_or_else(|| anyhow!("job {id} has no plan"))?;
                let plan = Arc::new(convert::plan_from(plan)?);
                let (code, limits, kernels) = (plan.code(), plan.spec.limits, plan.kernels.clone());
                let v1::JournalSubmitted { prior_ms, renews_quarantined, framework_version, .. } = submitted;
                let job = Job { renews_quarantined, framework_version, ..Job::new(plan, prior_ms) };
                to.jobs.insert(id.clone(), job);
                What::Submitted { code, limits, kernels }
            }
            // Of a job that is over only its end counts.
            Wire::Prepared(_) if ended => continue,
            Wire::Prepared(prepared) => {
                let file = listing_file(&prepared)?;
                let job = to.jobs.get_mut(&id).ok_or_else(|| anyhow!("job {id} was never submitted"))?;
                let input = input(store, job, file).await.with_context(|| format!("the listing of job {id}"))?;
                let split_objects = mr_core::SplitObjects::of(&input.splits);
                let graph = input.graph.clone();
                job.skipped = input.listing.skipped;
                job.input = Some(Arc::new(input));
                What::Prepared { graph, split_objects }
            }
            Wire::Bound(_) | Wire::Unbound(_) | Wire::Condemned(_) | Wire::Committing(_) if ended => continue,
            Wire::Bound(bound) => What::Bound { family: bound.family.into() },
            Wire::Unbound(_) => What::Unbound,
            Wire::Undone(v1::JournalUndone { stage, index, task_key }) => {
                task_key_from(&task_key).inspect(|key| to.memo.forget(key));
                if ended {
                    continue;
                }
                What::Undone { stage, index }
            }
            Wire::Condemned(condemned) => condemned_from(condemned)?,
            Wire::Committing(_) => What::Committing,
            Wire::Done(done) => {
                let attempt =
                    convert::attempt_from(done.attempt.ok_or_else(|| anyhow!("a task of {id} has no name"))?)?;
                let output = done.output.ok_or_else(|| anyhow!("{attempt} has no output"))?;
                let (family, output) = (done.family.into(), Arc::new(convert::output_from(output)?));
                if let Some(key) = task_key_from(&done.task_key) {
                    to.memo.keep(&family, key, &output, at);
                }
                if ended {
                    continue;
                }
                let job = to.jobs.get_mut(&id).ok_or_else(|| anyhow!("job {id} was never submitted"))?;
                job.note_done(&attempt.task, &output);
                if job.kind(&attempt.task) == Some(TaskKind::MapSplit) {
                    job.measured.busy_us += output.times.busy_us;
                }
                What::Done { attempt, family, output }
            }
            Wire::Ended(ended) => {
                let (ending, remains, skipped) = ended_from(ended, at)?;
                if let Some(job) = to.jobs.get_mut(&id) {
                    job.skipped = skipped;
                }
                What::Ended { ending, remains }
            }
            Wire::Kept(_) => unreachable!("taken above"),
        };
        to.facts.push(Fact { at, job: id, what });
    }
    Ok(())
}

/// The frozen listing, read back.
async fn input(store: &DynStore, job: &Job, file: FileRef) -> anyhow::Result<Input> {
    let got = store.get(&file.key, GetOptions::default()).await?;
    let (listing, splits) = from_listing(journal::listing_from(&got.bytes)?)?;
    let count = u32::try_from(splits.len()).context("it has too many splits")?;
    let graph = Arc::new(expand(&job.plan, count).map_err(|why| anyhow!(why))?);
    let keys = task_keys(&job.plan, &graph, &listing.objects, &splits);
    Ok(Input { listing, splits, graph, keys, file, there: None })
}
