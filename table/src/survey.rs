//! Reading an output: what lies there, what its log says, and whether the two agree.

use crate::error::{Refusal, TableError};
use crate::findings::Findings;
use crate::names::{self, Log, LogFile};
use crate::parallel::PARALLEL;
use crate::snapshot::{Replay, Snapshot};
use crate::state::{OutputState, classify, uncommitted};
use futures::{StreamExt, TryStreamExt, stream};
use mr_core::{JobId, Object};
use mr_storage::{DynStore, GetOptions, StoreError};
use std::collections::{BTreeMap, BTreeSet};

/// What an output is. Nothing is written.
///
/// # Errors
/// `Refused` when there is a log that can't be read or that asks for more than we know.
pub async fn inspect(store: &DynStore) -> Result<OutputState, TableError> {
    Ok(survey(store).await?.state)
}

/// What is true of a table whose files are all there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    pub version: u64,
    pub files: u64,
    pub bytes: u64,
    pub rows: Option<u64>,
    /// What readers of the folder take for rows, and belongs neither to the table nor to a job that is under way.
    pub strays: Vec<String>,
}

/// Compares the log with what lies there.
///
/// # Errors
/// `Invalid` when there is no table, or a file is missing or has another size than the log says.
pub async fn verify(store: &DynStore) -> Result<Verified, TableError> {
    let survey = survey(store).await?;
    let Some(table) = survey.table() else {
        return Err(TableError::Invalid(format!("{} is no table", store.url())));
    };
    if let Some(finding) = amiss(&survey.listing, table).first().first() {
        return Err(TableError::Invalid(format!("{} {}", finding.at, finding.what)));
    }
    Ok(Verified {
        version: table.version,
        files: table.files.len() as u64,
        bytes: table.files.iter().map(|file| file.bytes).sum(),
        rows: table.rows(),
        strays: strays(&survey.listing, table),
    })
}

/// Files that the log says are there, and that are not or have another size.
pub(crate) fn amiss(listing: &[Object], table: &Snapshot) -> Findings {
    let there: BTreeMap<_, _> = listing.iter().map(|object| (object.key.as_str(), object.bytes)).collect();
    let mut amiss = Findings::default();
    for file in &table.files {
        let found = file.key.as_deref().and_then(|key| there.get(key));
        if found != Some(&file.bytes) {
            let found = found.map_or("it is not there".to_owned(), |bytes| format!("it has {bytes}"));
            amiss.add(&file.path, format!("should have {} bytes, but {found}", file.bytes));
        }
    }
    amiss
}

/// What readers of the folder take for rows, and belongs neither to the table nor to a job that is under way.
pub(crate) fn strays(listing: &[Object], table: &Snapshot) -> Vec<String> {
    let (active, under_way) = (active(table), uncommitted(listing, Some(table)));
    let stray = |key: &&str| {
        let expected = active.contains(*key) || names::job_of_part(key).is_some_and(|job| under_way.contains(&job));
        table.log().has(key) && names::visible(key) && !expected
    };
    listing.iter().map(|object| object.key.as_str()).filter(stray).map(str::to_owned).collect()
}

/// One look at an output.
pub(crate) struct Survey {
    pub state: OutputState,
    /// Everything below its root, in the order of keys.
    pub listing: Vec<Object>,
}

impl Survey {
    /// The table that is there, whoever's it is.
    pub(crate) fn table(&self) -> Option<&Snapshot> {
        match &self.state {
            OutputState::Absent | OutputState::Empty => None,
            OutputState::Ours(table) => Some(table),
            OutputState::Foreign { table, .. } => table.as_ref(),
        }
    }

    /// Jobs that can't commit once the next entry is written.
    pub(crate) fn to_condemn(&self, writer: &JobId) -> BTreeSet<JobId> {
        let mut jobs = uncommitted(&self.listing, self.table());
        jobs.retain(|job| job != writer && self.table().is_none_or(|table| !table.condemned.contains(job)));
        jobs
    }
}

pub(crate) fn active(table: &Snapshot) -> BTreeSet<&str> {
    table.files.iter().filter_map(|file| file.key.as_deref()).collect()
}

pub(crate) async fn survey(store: &DynStore) -> Result<Survey, TableError> {
    let listing = match store.list("").await {
        Ok(listing) => listing,
        Err(StoreError::NotFound { .. }) => Vec::new(),
        Err(error) => return Err(error.into()),
    };
    if listing.is_empty() {
        return Ok(Survey { state: OutputState::Absent, listing });
    }
    let table = match entries(&listing)? {
        None => None,
        Some((log, count)) => Some(replay(store, log, count).await?),
    };
    Ok(Survey { state: classify(&listing, table), listing })
}

/// The log that there is, and how many entries it has.
fn entries(listing: &[Object]) -> Result<Option<(Log, u64)>, Refusal> {
    match [Log::Delta, Log::Lines].map(|log| Ok((log, entries_of(log, listing)?))) {
        [Ok((_, Some(_))), Ok((_, Some(_)))] => {
            let both = names::LOG_FOLDERS.join(" and ");
            Err(Refusal(format!(
                "the output has two logs, {both}: take one away with its parts, or choose another output"
            )))
        }
        [one, other] => {
            let count = |(log, count): (Log, Option<u64>)| Some((log, count?));
            Ok(count(one?).or(count(other?)))
        }
    }
}

/// How many entries that log has, all of them from version 0 on.
fn entries_of(log: Log, listing: &[Object]) -> Result<Option<u64>, Refusal> {
    let mut next = 0;
    let mut checkpoint = None;
    let files = listing.iter().filter_map(|object| names::log_file(&object.key));
    for (_, file) in files.filter(|(of, _)| *of == log) {
        match file {
            // Keys come in order and versions have one length, so the first that is out of step is the gap.
            LogFile::Entry(version) if version == next => next += 1,
            LogFile::Entry(version) => return Err(gap(log, next, Some(version), checkpoint)),
            LogFile::Checkpoint(version) => checkpoint = Some(version),
            LogFile::Other => {}
        }
    }
    match (next, checkpoint) {
        (0, None) => Ok(None),
        (next, Some(version)) if version >= next => Err(gap(log, next, None, checkpoint)),
        (next, _) => Ok(Some(next)),
    }
}

fn gap(log: Log, missing: u64, found: Option<u64>, checkpoint: Option<u64>) -> Refusal {
    let log = log.word();
    let found = found.map_or(String::new(), |version| format!(" though entry {version} is there"));
    Refusal(match checkpoint {
        Some(version) => format!(
            "the output's {log} has no entry {missing}{found}: another program made a checkpoint of version \
             {version} and removed older entries, and this program reads entries only: choose another output"
        ),
        None => format!("the output's {log} has no entry {missing}{found}: restore it, or choose another output"),
    })
}

async fn replay(store: &DynStore, log: Log, count: u64) -> Result<Snapshot, TableError> {
    let mut entries = stream::iter(0..count)
        .map(|version| async move { store.get(&names::entry(log, version), GetOptions::default()).await })
        .buffered(PARALLEL);
    let mut replay = Replay::new(log);
    while let Some(entry) = entries.try_next().await? {
        replay.entry(&entry.bytes)?;
    }
    Ok(replay.finish()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(names: &[&str]) -> Result<Option<u64>, String> {
        let listing = |log: &str| {
            let object = |name: &&str| Object { key: format!("{log}/{name}"), bytes: 1, etag: String::new() };
            names.iter().map(object).collect::<Vec<_>>()
        };
        let [delta, lines] = names::LOG_FOLDERS.map(listing);
        let one = entries(&delta).map_err(|refusal| refusal.0);
        let other = entries(&lines).map_err(|refusal| refusal.0);
        assert_eq!(one.is_err(), other.is_err());
        assert!(entries(&[delta, lines].concat()).map_or(true, |count| count.is_none()), "two are not one");
        Ok(one?.map(|(_, count)| count))
    }

    #[test]
    fn a_log_is_whole_or_refused() {
        let [e0, e1, e2] = [0, 1, 2].map(|version| format!("{version:020}.json"));
        let c1 = "00000000000000000001.checkpoint.parquet";
        assert_eq!(count(&[]), Ok(None));
        assert_eq!(count(&["_last_vacuum_info"]), Ok(None));
        assert_eq!(count(&[&e0, &e1]), Ok(Some(2)));
        assert_eq!(count(&[&e0, c1, &e1, "_last_checkpoint"]), Ok(Some(2)));
        assert!(count(&[&e0, &e2]).unwrap_err().contains("has no entry 1 though entry 2 is there: restore"));
        assert!(count(&[c1, &e2]).unwrap_err().contains("checkpoint of version 1"));
        assert!(count(&[c1]).unwrap_err().contains("checkpoint of version 1"));
        assert!(count(&[&e0, c1]).unwrap_err().contains("checkpoint of version 1"));
    }
}
