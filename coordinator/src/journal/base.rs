//! All that is known, in as few facts as say it: what a journal that is shortened begins with.

use super::facts::Encoder;
use super::load::load;
use crate::job::Job;
use crate::memo::Memo;
use anyhow::{Context, anyhow};
use mr_core::{Epoch, JobId};
use mr_proto::{convert, v1};
use mr_scheduler::{Config, Scheduler};
use mr_storage::DynStore;
use std::collections::BTreeMap;

pub fn base_facts(scheduler: &Scheduler, jobs: &BTreeMap<JobId, Job>, memo: &Memo) -> Vec<v1::JournalFact> {
    let encoder = Encoder { jobs };
    let facts = scheduler.facts();
    let mut facts: Vec<_> = facts.iter().filter_map(|fact| encoder.encode(fact)).collect();
    let kept = memo.iter().map(|(family, key, kept)| v1::JournalFact {
        at_ms: kept.used_at,
        job_id: String::new(),
        what: Some(v1::journal_fact::What::Kept(v1::JournalKept {
            task_key: key.to_vec(),
            family: family.to_string(),
            output: Some(convert::output_to((*kept.output).clone())),
        })),
    });
    facts.extend(kept);
    facts
}

/// What a coordinator of that epoch would begin with, and go on from, over this journal, without being one: for tests of
/// journals that none of ours has written.
///
/// # Errors
/// As for a coordinator: when the journal can't be read or makes no sense.
#[doc(hidden)]
pub async fn replayed(store: &DynStore, epoch: Epoch) -> anyhow::Result<Vec<v1::JournalFact>> {
    let recovered = load(store).await?;
    let scheduler = Scheduler::recover(Config::default(), epoch, &recovered.facts);
    let mut scheduler = scheduler.map_err(|why| anyhow!(why)).context("reading the journal")?;
    scheduler.resume(recovered.at);
    Ok(base_facts(&scheduler, &recovered.jobs, &recovered.memo))
}
