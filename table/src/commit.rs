//! Making a job's results the table: look, publish, and then one conditional write.

use crate::action::{self, Action};
use crate::begin::may_begin;
use crate::entry::{Draft, NewFile};
use crate::error::TableError;
use crate::footer::footer;
use crate::names::{self, Log};
use crate::parallel::{PARALLEL, each};
use crate::schema::delta_schema;
use crate::seal;
use crate::settle::abandon;
use crate::snapshot::{Run, run_in};
use crate::state::{OutputState, may_write};
use crate::survey::{Survey, survey};
use arrow::datatypes::Schema;
use bytes::Bytes;
use futures::{StreamExt, stream};
use mr_core::{JobId, Mode, OutputFormat};
use mr_storage::{DynStore, GetOptions, Native, Put, StoreError};
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// How often the entry is written when the store keeps failing, and how long the first pause is.
const TRIES_MAX: u32 = 5;
const FIRST_PAUSE: Duration = Duration::from_millis(50);

/// A part that lies somewhere else until it is published.
#[derive(Clone, Debug)]
pub struct StagedPart {
    pub store: DynStore,
    pub key: String,
    pub bytes: u64,
    pub rows: u64,
    /// As its writer computed it, before anything was stored.
    pub crc32: u32,
}

/// A file for the run's folder. Its copy will be found as `_<path>` beside the parts, Parquet in a folder of that name.
#[derive(Clone, Debug)]
pub struct RunFile {
    pub path: String,
    pub source: RunSource,
}

#[derive(Clone, Debug)]
pub enum RunSource {
    Bytes(Bytes),
    Stored {
        store: DynStore,
        key: String,
        crc32: u32,
    },
    /// Made when everything else is published, so that a report can say how long that took.
    Late(Late),
}

impl RunSource {
    fn crc32(&self) -> Option<u32> {
        match self {
            RunSource::Bytes(bytes) => Some(crc32fast::hash(bytes)),
            RunSource::Stored { crc32, .. } => Some(*crc32),
            // A commit that is tried again makes it again, while the entry of the first try may still be on its way.
            RunSource::Late(_) => None,
        }
    }
}

/// Makes a file's bytes at the last moment.
#[derive(Clone)]
pub struct Late(pub Arc<dyn Fn() -> Bytes + Send + Sync>);

impl fmt::Debug for Late {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Late")
    }
}

#[derive(Clone, Debug)]
pub struct Commit<'a> {
    /// Commits once, however often it tries.
    pub job: &'a JobId,
    pub output: &'a DynStore,
    /// Asked again at this moment, since somebody may have made a table since the job began.
    pub mode: Mode,
    pub adopt: bool,
    /// Of all parts.
    pub format: OutputFormat,
    /// In row order. Parts without rows are left out, but for one when no part has any, so that a glob finds columns.
    pub parts: Vec<StagedPart>,
    /// Of a table without any part. Not looked at when there are parts.
    pub schema: Option<&'a Schema>,
    pub run_files: Vec<RunFile>,
    /// For people: it becomes `info` in the entry's `commitInfo`.
    pub info: Map<String, Value>,
    pub now_ms: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Committed {
    pub version: u64,
    pub files_added: u64,
    pub files_removed: u64,
}

impl From<&Run> for Committed {
    fn from(run: &Run) -> Self {
        Self { version: run.version, files_added: run.added, files_removed: run.removed }
    }
}

/// Publishes the results and makes them the table. A job that has committed already succeeds again without an entry.
///
/// # Errors
/// After `Unresolved` only the same call may follow; after a retryable `Store` it may. After `Conflict` the job's
/// files are to be [abandoned](crate::abandon), once nobody else can be committing the same job; or the next commit's sweep
/// does it.
pub async fn commit(commit: Commit<'_>) -> Result<Committed, TableError> {
    let survey = survey(commit.output).await?;
    if let Some(table) = survey.table() {
        if let Some(run) = table.run_of(commit.job) {
            return Ok(run.into());
        }
        if table.condemned.contains(commit.job) {
            let by = format!("version {} or before, while this one was away", table.version);
            // If that fails, what was published stays for the next sweep, and the conflict is what matters.
            let _ = abandon(commit.output, commit.job).await;
            return Err(TableError::Conflict { by });
        }
    }
    may_write(&survey.state, commit.mode, commit.adopt, commit.format)?;

    let (parts, schema) = checked_parts(&commit).await?;
    let files = named(&parts, commit.job, commit.format);
    let run_files = run_paths(&commit.run_files)?;
    let condemned = survey.to_condemn(commit.job);
    let draft = Draft {
        job: commit.job,
        url: commit.output.url(),
        base: survey.table(),
        adopted: adopted(&survey),
        condemned: &condemned,
        schema: &schema,
        format: commit.format,
        files: &files,
        run_files: &run_files,
        info: commit.info.clone(),
        now_ms: commit.now_ms,
    };
    if let Some(name) = draft.reused() {
        return Err(TableError::Invalid(format!("the table has had a file named {name} before")));
    }
    let version = draft.version();
    let entry = Bytes::from(seal::sealed(draft.actions()));

    publish(&commit, &parts, &files).await?;
    if survey.table().is_none() {
        may_begin(commit.output, commit.format, Some(commit.job)).await?;
    }
    write_entry(&commit, version, entry).await
}

/// Parquet that is no table of ours and is to be replaced: `may_write` has let it pass, so the user said so.
fn adopted(survey: &Survey) -> &[String] {
    match &survey.state {
        OutputState::Absent | OutputState::Empty | OutputState::Ours(_) => &[],
        OutputState::Foreign { parquet, .. } => parquet,
    }
}

/// The parts that become files, and the schema that all of them share.
async fn checked_parts(commit: &Commit<'_>) -> Result<(Vec<StagedPart>, String), TableError> {
    let schema = match commit.format {
        OutputFormat::Parquet => schema_of_parts(commit).await?,
        // Lines do not tell, and all that can be seen of them here is that they are there.
        OutputFormat::Text(_) | OutputFormat::Json(_) => {
            let there = stream::iter(commit.parts.clone()).map(|part| async move { is_there(&part).await });
            all_or_lost(there.buffered(PARALLEL).collect().await)?;
            delta_schema(&Schema::empty()).map_err(TableError::Invalid)?
        }
    };
    let mut parts: Vec<_> = commit.parts.iter().filter(|part| part.rows > 0).cloned().collect();
    if parts.is_empty() {
        parts.extend(commit.parts.first().cloned());
    }
    Ok((parts, schema))
}

async fn is_there(part: &StagedPart) -> Result<(), TableError> {
    let StagedPart { store, key, bytes, .. } = part;
    let why = match store.head(key).await {
        Ok(there) if there.bytes == *bytes => return Ok(()),
        Ok(there) => format!("it has {} bytes where {bytes} were written", there.bytes),
        Err(error @ StoreError::NotFound { .. }) => mr_storage::story(&error),
        Err(error) => return Err(error.into()),
    };
    Err(TableError::Lost { keys: vec![key.clone()], why })
}

/// As the footers of all of them have it.
async fn schema_of_parts(commit: &Commit<'_>) -> Result<String, TableError> {
    let footers: Vec<_> = stream::iter(commit.parts.clone())
        .map(|part| async move {
            let StagedPart { store, key, bytes, .. } = &part;
            match footer(store, key, *bytes).await {
                Err(TableError::Store(error)) => Err(lost_or(error, store, key, Some(*bytes)).await),
                other => other,
            }
        })
        .buffered(PARALLEL)
        .collect()
        .await;
    let footers = all_or_lost(footers)?;
    for (part, footer) in commit.parts.iter().zip(&footers) {
        if part.rows != footer.rows {
            let (key, said, has) = (&part.key, part.rows, footer.rows);
            return Err(TableError::Invalid(format!("staged part {key} should have {said} rows, but has {has}")));
        }
        if footer.schema != footers[0].schema {
            let (one, other) = (&commit.parts[0].key, &part.key);
            let (left, right) = (&footers[0].schema, &footer.schema);
            return Err(TableError::Invalid(format!(
                "staged parts {one} and {other} have different columns: {left} and {right}"
            )));
        }
    }
    match (footers.first(), commit.schema) {
        (Some(footer), _) => Ok(footer.schema.clone()),
        (None, Some(schema)) => delta_schema(schema).map_err(TableError::Invalid),
        (None, None) => {
            Err(TableError::Invalid("there is neither a part nor a schema, so the table has no columns".into()))
        }
    }
}

fn named(parts: &[StagedPart], job: &JobId, format: OutputFormat) -> Vec<NewFile> {
    let name = |index| names::part_name(index, parts.len(), job, format);
    let files = parts.iter().enumerate().map(|(i, part)| {
        let StagedPart { bytes, rows, crc32, .. } = *part;
        NewFile { key: name(i), bytes, rows, crc32 }
    });
    files.collect()
}

/// Their paths, with the checksums of those that are known before anything is published.
fn run_paths(files: &[RunFile]) -> Result<BTreeMap<String, Option<u32>>, TableError> {
    let mut paths = BTreeMap::new();
    for file in files {
        let path = &file.path;
        let refused = |why: String| TableError::Invalid(format!("a run can't have the file {path:?}: {why}"));
        mr_storage::check_key(path).map_err(|error| refused(error.to_string()))?;
        if let Some(fault) = names::run_path_fault(path) {
            return Err(refused(fault.into()));
        }
        if paths.insert(path.clone(), file.source.crc32()).is_some() {
            return Err(refused("it is there twice".into()));
        }
    }
    Ok(paths)
}

/// The marker comes before anything else, so that whatever lies there can be told to be ours.
async fn publish(commit: &Commit<'_>, parts: &[StagedPart], files: &[NewFile]) -> Result<(), TableError> {
    commit
        .output
        .put(&names::marker(commit.job), names::mark(commit.job, commit.format).into(), Put::Overwrite)
        .await?;

    let folder = names::run_folder(commit.job);
    let parts = parts.iter().zip(files).map(|(part, file)| Item {
        to: file.key.clone(),
        source: RunSource::Stored { store: part.store.clone(), key: part.key.clone(), crc32: part.crc32 },
        is_part: true,
    });
    let run_file =
        |file: &RunFile| Item { to: format!("{folder}{}", file.path), source: file.source.clone(), is_part: false };
    let run_files = commit.run_files.iter().map(run_file);
    let (late, now): (Vec<_>, Vec<_>) =
        parts.chain(run_files).partition(|item| matches!(item.source, RunSource::Late(_)));
    let marker = names::marker(commit.job);
    let published: Vec<_> = now.iter().chain(&late).map(|item| item.to.clone()).chain([marker]).collect();
    each(now.into_iter(), |item| item.publish(commit.output)).await?;
    each(late.into_iter(), |item| item.publish(commit.output)).await?;
    Ok(commit.output.sync(&published.iter().map(String::as_str).collect::<Vec<_>>()).await?)
}

/// All that are lost are told at once, so that they can be made again together.
fn all_or_lost<T>(looked: Vec<Result<T, TableError>>) -> Result<Vec<T>, TableError> {
    let (mut all, mut lost) = (Vec::new(), None::<(Vec<String>, String)>);
    for found in looked {
        match found {
            Ok(found) => all.push(found),
            Err(TableError::Lost { keys, why }) => lost.get_or_insert((Vec::new(), why)).0.extend(keys),
            Err(error) => return Err(error),
        }
    }
    match lost {
        Some((keys, why)) => Err(TableError::Lost { keys, why }),
        None => Ok(all),
    }
}

/// What it means that a staged file can't be read: that it is not there any more, or not as it was, or only the error.
async fn lost_or(error: StoreError, store: &DynStore, key: &str, bytes: Option<u64>) -> TableError {
    let lost = |why: String| TableError::Lost { keys: vec![key.to_owned()], why };
    if error.retryable() {
        return error.into();
    }
    match store.head(key).await {
        Err(StoreError::NotFound { .. }) => lost(mr_storage::story(&error)),
        Ok(there) if bytes.is_some_and(|bytes| bytes != there.bytes) => {
            lost(format!("it has {} bytes where {} were written", there.bytes, bytes.unwrap_or_default()))
        }
        Ok(_) | Err(_) => error.into(),
    }
}

fn altered(key: String) -> TableError {
    TableError::Lost { keys: vec![key], why: "it does not have its checksum".into() }
}

/// The CRC-32 of an object, a piece at a time.
async fn checksum(store: &DynStore, key: &str) -> Result<u32, TableError> {
    const PIECE: u64 = 4 << 20;
    let unread = async |error| lost_or(error, store, key, None).await;
    let bytes = match store.head(key).await {
        Ok(there) => there.bytes,
        Err(error) => return Err(unread(error).await),
    };
    let mut sum = crc32fast::Hasher::new();
    for start in (0..bytes).step_by(PIECE as usize) {
        match store.get(key, GetOptions::range(start..bytes.min(start + PIECE))).await {
            Ok(got) => sum.update(&got.bytes),
            Err(error) => return Err(unread(error).await),
        }
    }
    Ok(sum.finalize())
}

struct Item {
    to: String,
    source: RunSource,
    /// Large, so it is linked or copied within the store, and only what is on this machine is read for that.
    is_part: bool,
}

impl Item {
    async fn publish(self, output: &DynStore) -> Result<(), TableError> {
        match self.source {
            RunSource::Bytes(bytes) => output.put(&self.to, bytes, Put::Overwrite).await.map(drop)?,
            RunSource::Late(Late(make)) => output.put(&self.to, make(), Put::Overwrite).await.map(drop)?,
            RunSource::Stored { store, key, crc32 } if !self.is_part => {
                let bytes = match store.get(&key, GetOptions::default()).await {
                    Ok(got) => got.bytes,
                    Err(error) => return Err(lost_or(error, &store, &key, None).await),
                };
                if crc32fast::hash(&bytes) != crc32 {
                    return Err(altered(key));
                }
                output.put(&self.to, bytes, Put::Overwrite).await.map(drop)?;
            }
            RunSource::Stored { store, key, crc32 } => {
                // A link is the very file, and what is kept from an earlier job may have been harmed with that job's output.
                if let Native::Directory(_) = store.native()
                    && checksum(&store, &key).await? != crc32
                {
                    return Err(altered(key));
                }
                if let Err(error) = mr_storage::copy(store.as_ref(), &key, output.as_ref(), &self.to).await {
                    return Err(lost_or(error, &store, &key, None).await);
                }
            }
        }
        Ok(())
    }
}

/// The one write that decides. Whatever the store answers, what lies there afterwards is the truth.
async fn write_entry(commit: &Commit<'_>, version: u64, entry: Bytes) -> Result<Committed, TableError> {
    let key = names::entry(Log::of(commit.format), version);
    let mut pause = FIRST_PAUSE;
    for attempt in 1.. {
        let error = match commit.output.put(&key, entry.clone(), Put::IfAbsent).await {
            Ok(_) => return Ok((&written(&entry, version).expect("we wrote it so")).into()),
            Err(error) => error,
        };
        match commit.output.get(&key, GetOptions::default()).await {
            Ok(there) => {
                return match written(&there.bytes, version) {
                    Some(run) if run.job == *commit.job => Ok((&run).into()),
                    Some(run) => Err(TableError::Conflict { by: format!("job {} with version {version}", run.job) }),
                    None => Err(TableError::Conflict { by: format!("version {version}, by another program") }),
                };
            }
            // It is not there and can't be, unless an earlier attempt is still on its way.
            Err(StoreError::NotFound { .. }) if !error.retryable() && attempt == 1 => return Err(error.into()),
            Err(StoreError::NotFound { .. }) if error.retryable() && attempt < TRIES_MAX => {}
            Err(read) if read.retryable() && attempt < TRIES_MAX => {}
            // A write whose answer was lost may still arrive, so that its absence now proves nothing.
            Err(_) => return Err(TableError::Unresolved { version, source: error }),
        }
        tokio::time::sleep(pause).await;
        pause *= 2;
    }
    unreachable!("the last attempt returns")
}

/// The job of ours that wrote an entry.
fn written(entry: &[u8], version: u64) -> Option<Run> {
    let actions: Vec<Action> = action::read(entry).ok()?;
    run_in(version, &actions).ok().flatten().map(|(run, _)| run)
}
