//! From the entries of a log to what the table is, or to the reason why it can't be known.

use crate::action::{Action, Add, MetaData, Protocol};
use crate::error::Refusal;
use crate::names::{self, Log};
use crate::seal;
use mr_core::{JobId, OutputFormat};
use percent_encoding::percent_decode_str;
use serde_json::{Map, Value};
use std::collections::{BTreeMap, BTreeSet};

/// In a table's configuration: it is one of ours.
pub(crate) const OURS_KEY: &str = "mr.table";
pub(crate) const OURS_VERSION: &str = "1";
/// Among a file's tags: the CRC-32 of its bytes, which Parquet's own pages do not have.
pub(crate) const CRC32_TAG: &str = "mr.crc32";

pub(crate) fn crc32_text(crc32: u32) -> String {
    format!("{crc32:08x}")
}

fn crc32_of(text: &str) -> Option<u32> {
    u32::from_str_radix(text, 16).ok()
}

/// The table as of its newest entry.
#[derive(Clone, Debug, PartialEq)]
pub struct Snapshot {
    pub version: u64,
    pub table_id: String,
    /// As the log says it: JSON.
    pub schema: String,
    /// Of its parts.
    pub format: OutputFormat,
    /// In the order of their names, which is row order.
    pub files: Vec<AddFile>,
    pub(crate) metadata: MetaData,
    /// Every entry that a job of ours wrote, oldest first.
    pub(crate) runs: Vec<Run>,
    /// Jobs that may not commit any more, because an entry says so.
    pub(crate) condemned: BTreeSet<JobId>,
    /// Keys that an entry of ours removed.
    pub(crate) removed: BTreeSet<String>,
    /// Versions whose entries are not what was written.
    pub(crate) altered: Vec<u64>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddFile {
    /// Percent-encoded, as the log says it.
    pub path: String,
    /// Its key in the output; a file elsewhere has none.
    pub key: Option<String>,
    pub bytes: u64,
    /// Unknown when the writer did not say.
    pub rows: Option<u64>,
    /// Of its bytes. Unknown when another program wrote it, or an earlier version of this one.
    pub crc32: Option<u32>,
}

/// What an entry of ours says about the job that wrote it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Run {
    pub version: u64,
    pub job: JobId,
    /// Paths below its run folder.
    pub files: Vec<String>,
    /// Of those of them whose checksum was known before they were published.
    pub crc32: BTreeMap<String, u32>,
    /// What the job itself put into the entry.
    pub info: Map<String, Value>,
    pub added: u64,
    pub removed: u64,
}

impl Run {
    /// Whether each row is one object's of the input, and each object has one. Entries from before they said so do.
    pub fn one_row_per_object(&self) -> bool {
        self.info.get("one_row_per_object").and_then(Value::as_bool).unwrap_or(true)
    }
}

impl Snapshot {
    pub fn rows(&self) -> Option<u64> {
        // A log may say anything. Rows beyond all numbers are as good as unknown.
        self.files.iter().try_fold(0u64, |sum, file| sum.checked_add(file.rows?))
    }

    pub(crate) fn log(&self) -> Log {
        Log::of(self.format)
    }

    pub(crate) fn ours(&self) -> bool {
        self.metadata.configuration.contains_key(OURS_KEY)
    }

    /// Whether that job has committed.
    pub fn has_committed(&self, job: &JobId) -> bool {
        self.run_of(job).is_some()
    }

    pub(crate) fn run_of(&self, job: &JobId) -> Option<&Run> {
        self.runs.iter().find(|run| run.job == *job)
    }

    pub(crate) fn references(&self, key: &str) -> bool {
        self.files.iter().any(|file| file.key.as_deref() == Some(key))
    }
}

/// Takes a log's entries one after the other, from version 0.
pub(crate) struct Replay {
    log: Log,
    next: u64,
    metadata: Option<MetaData>,
    protocol: Option<Protocol>,
    /// By decoded path, since writers differ in what they encode.
    files: BTreeMap<String, AddFile>,
    runs: Vec<Run>,
    condemned: BTreeSet<JobId>,
    removed: BTreeSet<String>,
    altered: Vec<u64>,
}

impl Replay {
    pub(crate) fn new(log: Log) -> Self {
        let (metadata, protocol) = (None, None);
        let (files, runs, condemned, removed, altered) = Default::default();
        Self { log, next: 0, metadata, protocol, files, runs, condemned, removed, altered }
    }

    pub(crate) fn entry(&mut self, bytes: &[u8]) -> Result<(), Refusal> {
        let version = self.next;
        let unreadable = |what: &str| {
            Refusal(format!(
                "entry {version} of the output's {} can't be read ({what}): restore it, or choose another output",
                self.log.word()
            ))
        };
        let actions = crate::action::read(bytes).map_err(|what| unreadable(&what))?;
        let run = run_in(version, &actions).map_err(|what| unreadable(&what))?;
        for action in actions {
            self.apply(action, run.is_some())?;
        }
        if seal::is_broken(bytes) {
            self.altered.push(version);
        }
        if let Some((run, condemned)) = run {
            self.runs.push(run);
            self.condemned.extend(condemned);
        }
        self.next += 1;
        Ok(())
    }

    fn apply(&mut self, action: Action, ours: bool) -> Result<(), Refusal> {
        match action {
            Action::CommitInfo(_) => {}
            Action::Protocol(protocol) => {
                let known = Protocol::OURS;
                if protocol.min_reader_version > known.min_reader_version
                    || protocol.min_writer_version > known.min_writer_version
                {
                    return Err(Refusal(format!(
                        "the output is a Delta table of protocol {}/{}, and this program knows 1/2: choose another output",
                        protocol.min_reader_version, protocol.min_writer_version
                    )));
                }
                self.protocol = Some(protocol);
            }
            Action::MetaData(metadata) => self.metadata = Some(metadata),
            Action::Add(add) => {
                let file = file(add);
                self.files.insert(decoded(&file.path), file);
            }
            Action::Remove(remove) => {
                let path = decoded(&remove.path);
                self.files.remove(&path);
                if ours && let Some(key) = key_of(&path).filter(|key| !names::of_the_table(key)) {
                    self.removed.insert(key);
                }
            }
        }
        Ok(())
    }

    pub(crate) fn finish(self) -> Result<Snapshot, Refusal> {
        let (Some(metadata), Some(_), Some(version)) = (self.metadata, self.protocol, self.next.checked_sub(1)) else {
            return Err(Refusal(format!(
                "the output's {} says neither protocol nor metadata: restore it, or choose another output",
                self.log.word()
            )));
        };
        let format = match self.log {
            Log::Delta => Some(OutputFormat::Parquet),
            Log::Lines => OutputFormat::of_extension(&metadata.format.provider),
        };
        let Some(format) = format.filter(|format| Log::of(*format) == self.log) else {
            return Err(Refusal(format!(
                "the output's log says that its rows are {:?}, which this program does not know: choose another output",
                metadata.format.provider
            )));
        };
        let is = |key: &str| metadata.configuration.get(key).cloned().flatten().is_some_and(|v| v.trim() == "true");
        if is("delta.appendOnly") {
            return Err(Refusal(
                "the output is a Delta table that may only be appended to (delta.appendOnly): choose another output"
                    .into(),
            ));
        }
        if let Some(Some(format)) = metadata.configuration.get(OURS_KEY)
            && format != OURS_VERSION
        {
            return Err(Refusal(format!(
                "the output was written by another version of this program (its format is {format}, ours is \
                 {OURS_VERSION}): use that one, or choose another output"
            )));
        }
        if metadata.schema_string.contains("delta.invariants") {
            return Err(Refusal(
                "the output is a Delta table with invariants, which this program does not check: choose another output"
                    .into(),
            ));
        }
        Ok(Snapshot {
            version,
            table_id: metadata.id.clone(),
            format,
            schema: metadata.schema_string.clone(),
            files: self.files.into_values().collect(),
            metadata,
            runs: self.runs,
            condemned: self.condemned,
            removed: self.removed,
            altered: self.altered,
        })
    }
}

/// What an entry says about the job of ours that wrote it, and whom it condemns. Nothing for somebody else's entry.
///
/// Our entries say how many files they add and remove, so one that was cut off between two lines is noticed.
pub(crate) fn run_in(version: u64, actions: &[Action]) -> Result<Option<(Run, Vec<JobId>)>, String> {
    let info = actions.iter().find_map(|action| match action {
        Action::CommitInfo(info) => Some(info),
        _ => None,
    });
    let Some((info, id)) = info.and_then(|info| Some((info, info.get("jobId")?.as_str()?))) else { return Ok(None) };
    // Somebody else may use the same word.
    let Ok(job) = JobId::parse(id) else { return Ok(None) };
    let Some(said_added) = count(info, "numFiles") else { return Ok(None) };
    let said_removed = count(info, "numRemovedFiles").unwrap_or(0);
    let added = actions.iter().filter(|a| matches!(a, Action::Add(_))).count() as u64;
    let removed = actions.iter().filter(|a| matches!(a, Action::Remove(_))).count() as u64;
    if (added, removed) != (said_added, said_removed) {
        return Err(format!(
            "it says that it adds {said_added} files and removes {said_removed}, but adds {added} and removes {removed}"
        ));
    }
    let condemned = texts(info, "condemned").filter_map(|id| JobId::parse(id).ok()).collect();
    // No entry of ours names others, and what is copied for a newer run is taken away for an older one.
    let fits =
        |path: &&str| names::run_path_fault(path).is_none() && mr_storage::check_key(&names::copy_of(path)).is_ok();
    let files = texts(info, "runFiles").filter(fits).map(str::to_owned).collect();
    let checksums = info.get("runFilesCrc32").and_then(Value::as_object).into_iter().flatten();
    let crc32 = checksums.filter_map(|(path, crc32)| Some((path.clone(), crc32_of(crc32.as_str()?)?))).collect();
    let info = info.get("info").and_then(Value::as_object).cloned().unwrap_or_default();
    Ok(Some((Run { version, job, files, crc32, info, added, removed }, condemned)))
}

fn count(info: &Map<String, Value>, name: &str) -> Option<u64> {
    info.get("operationMetrics")?.get(name)?.as_str()?.parse().ok()
}

fn texts<'a>(info: &'a Map<String, Value>, name: &str) -> impl Iterator<Item = &'a str> {
    info.get(name).and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str)
}

fn file(add: Add) -> AddFile {
    let stats = add.stats.and_then(|stats| serde_json::from_str::<Value>(&stats).ok());
    let rows = stats.and_then(|stats| stats.get("numRecords")?.as_u64());
    let crc32 = add.tags.as_ref().and_then(|tags| crc32_of(tags.get(CRC32_TAG)?.as_deref()?));
    AddFile { key: key_of(&decoded(&add.path)), path: add.path, bytes: add.size, rows, crc32 }
}

fn decoded(path: &str) -> String {
    percent_decode_str(path).decode_utf8_lossy().into_owned()
}

/// The key of a path that stays in the table's folder. Others are never ours to delete.
fn key_of(decoded_path: &str) -> Option<String> {
    let elsewhere = decoded_path.contains("://") || mr_storage::check_key(decoded_path).is_err();
    (!elsewhere).then(|| decoded_path.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: &str = r#"{"protocol":{"minReaderVersion":1,"minWriterVersion":2}}
{"metaData":{"id":"t","format":{"provider":"parquet","options":{}},"schemaString":"{}","partitionColumns":[],"configuration":{}}}
{"add":{"path":"a%20b.parquet","partitionValues":{},"size":1,"modificationTime":1,"dataChange":true,"stats":"{\"numRecords\":3}"}}
{"add":{"path":"c.parquet","partitionValues":{},"size":2,"modificationTime":1,"dataChange":true}}
"#;

    fn replay(entries: &[&str]) -> Result<Snapshot, String> {
        let mut replay = Replay::new(Log::Delta);
        for entry in entries {
            replay.entry(entry.as_bytes()).map_err(|refusal| refusal.0)?;
        }
        replay.finish().map_err(|refusal| refusal.0)
    }

    fn ours(job: &str, counts: [u32; 2], rest: &str) -> String {
        format!(
            r#"{{"commitInfo":{{"jobId":"{job}","runFiles":["report.json"],"condemned":["x","Not An Id"],"operationMetrics":{{"numFiles":"{}","numRemovedFiles":"{}"}}}}}}
{rest}"#,
            counts[0], counts[1]
        )
    }

    #[test]
    fn the_newest_entry_decides() {
        let table = replay(&[FIRST]).unwrap();
        assert_eq!((table.version, table.rows(), table.ours()), (0, None, false));
        assert_eq!(table.files[0].key.as_deref(), Some("a b.parquet"));

        let second = ours("j", [0, 1], r#"{"remove":{"path":"c.parquet","deletionTimestamp":1,"dataChange":true}}"#);
        let table = replay(&[FIRST, &second]).unwrap();
        assert_eq!((table.version, table.rows()), (1, Some(3)));
        assert!(table.references("a b.parquet") && !table.references("c.parquet"));
        assert_eq!(table.removed.iter().collect::<Vec<_>>(), ["c.parquet"]);
        assert_eq!(table.runs[0].files, ["report.json"]);
        assert_eq!(table.condemned.iter().map(JobId::as_str).collect::<Vec<_>>(), ["x"]);
    }

    #[test]
    fn no_entry_gives_the_log_or_a_run_away() {
        let removes = r#"{"remove":{"path":"_delta_log/00000000000000000000.json","dataChange":true}}
{"remove":{"path":"_runs%2Fx%2Fjob.json","dataChange":true}}"#;
        let files = r#""runFiles":["delta_log/00000000000000000000.json","runs/x/job.json","SUCCESS","job.json","a//b","report.json"]"#;
        let second = ours("j", [0, 2], removes).replace(r#""runFiles":["report.json"]"#, files);
        let table = replay(&[FIRST, &second]).unwrap();
        assert!(table.removed.is_empty(), "{:?}", table.removed);
        assert_eq!(table.runs[0].files, ["report.json"]);
    }

    #[test]
    fn more_rows_than_there_are_numbers_are_unknown() {
        let add = |path: &str| {
            let stats = format!(r#""{{\"numRecords\":{}}}""#, u64::MAX);
            format!(r#"{{"add":{{"path":"{path}","size":1,"modificationTime":1,"dataChange":true,"stats":{stats}}}}}"#)
        };
        let entry = format!("{}\n{}\n{}", FIRST.lines().take(2).collect::<Vec<_>>().join("\n"), add("x"), add("y"));
        let table = replay(&[&entry]).unwrap();
        assert_eq!((table.files[0].rows, table.rows()), (Some(u64::MAX), None));
    }

    #[test]
    fn what_others_removed_is_not_ours_to_delete() {
        let second = r#"{"remove":{"path":"a b.parquet","dataChange":true}}"#;
        let table = replay(&[FIRST, second]).unwrap();
        assert_eq!(table.files.len(), 1, "their paths may be encoded otherwise");
        assert!(table.removed.is_empty());
    }

    #[test]
    fn files_elsewhere_have_no_key() {
        for path in ["s3://other/x.parquet", "../x.parquet", "/x.parquet", "a//b.parquet", "%2e%2e/x"] {
            assert_eq!(key_of(&decoded(path)), None, "{path}");
        }
        assert_eq!(key_of("d=1/x.parquet").as_deref(), Some("d=1/x.parquet"));
    }

    #[test]
    fn a_log_that_is_not_understood_is_refused() {
        let refused = |entries: &[&str], why: &str| {
            let sentence = replay(entries).unwrap_err();
            assert!(sentence.contains(why), "{sentence}");
        };
        refused(&[], "neither protocol nor metadata");
        refused(&[&FIRST[..200]], "entry 0");
        refused(&[FIRST, "{"], "entry 1");
        let cut = ours("j", [1, 1], r#"{"remove":{"path":"c.parquet","dataChange":true}}"#);
        refused(&[FIRST, &cut], "adds 1 files and removes 1, but adds 0");
        refused(&[FIRST, r#"{"protocol":{"minReaderVersion":3,"minWriterVersion":7}}"#], "protocol 3/7");
        refused(
            &[&FIRST.replace("\"configuration\":{}", r#""configuration":{"delta.appendOnly":"true"}"#)],
            "appended",
        );
        refused(&[&FIRST.replace("\"configuration\":{}", r#""configuration":{"mr.table":"2"}"#)], "format is 2");
        refused(&[&FIRST.replace(r#""schemaString":"{}""#, r#""schemaString":"delta.invariants""#)], "invariants");
    }
}
