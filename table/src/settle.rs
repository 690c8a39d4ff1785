//! After a commit: old files go, copies of the newest run come, and what a killed job left behind is cleared up.

use crate::error::TableError;
use crate::names::{self, SUCCESS};
use crate::parallel::each;
use crate::snapshot::{Run, Snapshot};
use crate::survey::{Survey, active, survey};
use bytes::Bytes;
use mr_core::{JobId, Object};
use mr_storage::{DynStore, GetOptions, Put, StoreError};
use serde_json::json;
use std::collections::BTreeSet;

/// Of how many commits the run folders are kept, the newest included: the rows of older ones are gone as well.
pub const RUNS_KEPT: usize = 5;

/// How often newer commits may come in between before others are trusted to end what they began.
const ROUNDS_MAX: u32 = 10;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Settled {
    /// The version whose run is now beside the parts.
    pub version: u64,
    pub deleted: u64,
    pub copied: u64,
}

/// Brings the folder in line with its log's newest entry, whoever wrote it: deletes what entries of ours removed, what
/// condemned jobs left, run folders of old commits, and copies that no longer are any; then copies the newest run's
/// files beside the parts and writes `_SUCCESS`. Doing it twice, or after it was cut short, is fine.
///
/// `None` when the output is no table of ours.
pub async fn after_commit(output: &DynStore) -> Result<Option<Settled>, TableError> {
    let mut rounds = 0;
    loop {
        let survey = survey(output).await?;
        let Some(table) = survey.table() else { return Ok(None) };
        let Some(newest) = table.runs.last() else { return Ok(None) };
        // From here on until the end the copies are of two runs.
        output.delete(SUCCESS).await?;
        let doomed = doomed(&survey.listing, table, newest);
        each(doomed.iter(), |key| output.delete(key)).await?;
        let copied = copy(output, &survey, newest).await?;
        output.put(SUCCESS, success(newest), Put::Overwrite).await?;
        let settled = Settled { version: newest.version, deleted: doomed.len() as u64, copied };
        rounds += 1;
        match output.head(&names::entry(table.log(), table.version + 1)).await {
            Err(StoreError::NotFound { .. }) => return Ok(Some(settled)),
            // Another job has committed meanwhile, and we may have put our copies over its own.
            Ok(_) if rounds < ROUNDS_MAX => {}
            Ok(_) => return Ok(Some(settled)),
            Err(error) => return Err(error.into()),
        }
    }
}

/// Brings the folder in line if the job that wrote the newest entry was cut short before it could, which its mark of
/// success tells. Until then a plain glob reads old rows beside new ones.
pub async fn repair(output: &DynStore, table: &Snapshot) -> Result<Option<Settled>, TableError> {
    let Some(newest) = table.runs.last() else { return Ok(None) };
    match output.get(SUCCESS, GetOptions::default()).await {
        Ok(mark) if mark.bytes == success(newest) => Ok(None),
        Ok(_) | Err(StoreError::NotFound { .. }) => after_commit(output).await,
        Err(error) => Err(error.into()),
    }
}

pub(crate) fn success(newest: &Run) -> Bytes {
    json!({ "jobId": newest.job, "version": newest.version }).to_string().into()
}

/// Whether a mark of success lies there that a job of ours has written.
pub(crate) async fn has_our_mark(output: &DynStore) -> Result<bool, StoreError> {
    let mark = match output.get(SUCCESS, GetOptions::default()).await {
        Ok(mark) => mark.bytes,
        Err(StoreError::NotFound { .. }) => return Ok(false),
        Err(error) => return Err(error),
    };
    // Other programs' marks are empty.
    let mark = serde_json::from_slice::<serde_json::Value>(&mark).unwrap_or_default();
    Ok(mark["jobId"].is_string() && mark["version"].is_u64())
}

/// Keys that go. Nothing that the table refers to, and nothing that the log does not give to us to delete.
pub(crate) fn doomed(listing: &[Object], table: &Snapshot, newest: &Run) -> Vec<String> {
    let active = active(table);
    let old_runs: BTreeSet<_> = table.runs.iter().rev().skip(RUNS_KEPT).map(|run| &run.job).collect();
    let copies: BTreeSet<_> = newest.files.iter().map(|path| names::copy_of(path)).collect();
    let old_copies: BTreeSet<_> =
        table.runs.iter().flat_map(|run| &run.files).map(|path| names::copy_of(path)).collect();
    let goes = |key: &str| {
        if let Some((job, _)) = names::job_of_run_file(key) {
            return table.condemned.contains(&job) || old_runs.contains(&job);
        }
        let left = names::job_of_part(key).is_some_and(|job| table.condemned.contains(&job));
        let removed = left || table.removed.contains(key);
        (removed && !active.contains(key)) || (old_copies.contains(key) && !copies.contains(key))
    };
    listing.iter().map(|object| &object.key).filter(|key| goes(key)).cloned().collect()
}

async fn copy(output: &DynStore, survey: &Survey, newest: &Run) -> Result<u64, StoreError> {
    let folder = names::run_folder(&newest.job);
    let there: BTreeSet<_> = survey.listing.iter().map(|object| object.key.as_str()).collect();
    // Somebody may have tidied the run folder away, which takes nothing from the table.
    let pairs: Vec<_> = newest
        .files
        .iter()
        .map(|path| (format!("{folder}{path}"), names::copy_of(path)))
        .filter(|(from, _)| there.contains(from.as_str()))
        .collect();
    let copy = async |from: &str, to: &str| match mr_storage::copy(output.as_ref(), from, output.as_ref(), to).await {
        // It was there a moment ago: newer commits have taken this run's folder away, and their copies are coming.
        Err(StoreError::NotFound { .. }) => Ok(()),
        other => other,
    };
    each(pairs.iter(), |(from, to)| copy(from, to)).await?;
    Ok(pairs.len() as u64)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Abandoned {
    /// So many files of the job were taken away.
    Removed(u64),
    /// The job has committed: it is too late, and nothing was touched.
    Committed,
}

/// Takes away what a failed or cancelled job has published, and nothing else. The job must not be committing any more.
pub async fn abandon(output: &DynStore, job: &JobId) -> Result<Abandoned, TableError> {
    let survey = survey(output).await?;
    if survey.table().is_some_and(|table| table.run_of(job).is_some()) {
        return Ok(Abandoned::Committed);
    }
    let known = survey.table().map(active).unwrap_or_default();
    let marker = names::marker(job);
    // The marker may be gone already: another job's sweep can come between ours and leave what we published after it.
    let ours = |key: &&str| {
        let part = names::job_of_part(key).is_some_and(|of| of == *job) && !known.contains(*key);
        part || names::job_of_run_file(key).is_some_and(|(of, _)| of == *job)
    };
    let keys = survey.listing.iter().map(|object| object.key.as_str());
    let doomed: Vec<_> = keys.filter(ours).collect();
    each(doomed.iter().filter(|key| **key != marker), |key| output.delete(key)).await?;
    // The marker says whose the other files are, so it goes last.
    if doomed.contains(&marker.as_str()) {
        output.delete(&marker).await?;
    }
    Ok(Abandoned::Removed(doomed.len() as u64))
}
