//! What the next entry of the log says. Pure: the same table, parts and time give the same entry.

use crate::action::{Action, Add, Format, MetaData, Protocol, Remove};
use crate::names;
use crate::schema;
use crate::snapshot::{CRC32_TAG, OURS_KEY, OURS_VERSION, Snapshot, crc32_text};
use mr_core::{JobId, OutputFormat};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher};

/// What a path in the log keeps as it is.
const ENCODED: AsciiSet =
    NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b'/').remove(b'=');

/// A part under the name that it has in the output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NewFile {
    pub key: String,
    pub bytes: u64,
    pub rows: u64,
    pub crc32: u32,
}

pub(crate) struct Draft<'a> {
    pub job: &'a JobId,
    /// Of the output, as its users write it.
    pub url: &'a str,
    /// The table that is replaced.
    pub base: Option<&'a Snapshot>,
    /// Keys of Parquet files that no log knows and that go as well.
    pub adopted: &'a [String],
    pub condemned: &'a BTreeSet<JobId>,
    pub schema: &'a str,
    /// Of the files.
    pub format: OutputFormat,
    pub files: &'a [NewFile],
    /// Paths below the run folder, and the checksums of what lies there as far as they are known.
    pub run_files: &'a BTreeMap<String, Option<u32>>,
    pub info: Map<String, Value>,
    pub now_ms: u64,
}

impl Draft<'_> {
    pub(crate) fn version(&self) -> u64 {
        self.base.map_or(0, |base| base.version + 1)
    }

    /// Paths that go, as they are to be written.
    fn removed(&self) -> Vec<String> {
        let known = self.base.iter().flat_map(|base| &base.files).map(|file| file.path.clone());
        let listed: BTreeSet<_> =
            self.base.iter().flat_map(|base| &base.files).filter_map(|f| f.key.as_ref()).collect();
        let unknown = self.adopted.iter().filter(|key| !listed.contains(key)).map(|key| encode(key));
        known.chain(unknown).collect()
    }

    /// A file name that the table has had before, which no entry may add again.
    pub(crate) fn reused(&self) -> Option<&str> {
        let had = |key: &String| {
            self.adopted.contains(key)
                || self.base.is_some_and(|base| base.removed.contains(key) || base.references(key))
        };
        self.files.iter().map(|file| &file.key).find(|key| had(key)).map(String::as_str)
    }

    pub(crate) fn actions(self) -> Vec<Action> {
        let removed = self.removed();
        let now = self.now_ms as i64;
        let mut actions = vec![Action::CommitInfo(self.commit_info(removed.len()))];
        if self.base.is_none() {
            actions.push(Action::Protocol(Protocol::OURS));
        }
        if let Some(metadata) = self.metadata() {
            actions.push(Action::MetaData(metadata));
        }
        actions.extend(self.files.iter().map(|file| {
            Action::Add(Add {
                path: encode(&file.key),
                partition_values: BTreeMap::new(),
                size: file.bytes,
                modification_time: now,
                data_change: true,
                stats: Some(json!({ "numRecords": file.rows }).to_string()),
                tags: Some([(CRC32_TAG.to_owned(), Some(crc32_text(file.crc32)))].into()),
            })
        }));
        actions.extend(
            removed
                .into_iter()
                .map(|path| Action::Remove(Remove { path, deletion_timestamp: Some(now), data_change: true })),
        );
        actions
    }

    /// The words are those that other writers use, so that their tools show our history; ours come beside them.
    fn commit_info(&self, removed: usize) -> Map<String, Value> {
        let sum = |of: fn(&NewFile) -> u64| self.files.iter().map(of).sum::<u64>().to_string();
        let known = self.run_files.iter().filter_map(|(path, crc32)| Some((path, crc32_text((*crc32)?))));
        let checksums: BTreeMap<_, _> = known.collect();
        let mut info = json!({
            "timestamp": self.now_ms,
            "operation": "WRITE",
            "operationParameters": { "mode": "Overwrite", "partitionBy": "[]" },
            "operationMetrics": {
                "numFiles": self.files.len().to_string(),
                "numRemovedFiles": removed.to_string(),
                "numOutputRows": sum(|file| file.rows),
                "numOutputBytes": sum(|file| file.bytes),
            },
            "isBlindAppend": false,
            "engineInfo": format!("mr/{}", env!("CARGO_PKG_VERSION")),
            "jobId": self.job,
            "run": names::run_folder(self.job),
            "runFiles": self.run_files.keys().collect::<Vec<_>>(),
            "runFilesCrc32": checksums,
            "info": self.info,
        });
        let fields = info.as_object_mut().expect("made as one");
        if let Some(base) = self.base {
            fields.insert("readVersion".into(), base.version.into());
        }
        if !self.condemned.is_empty() {
            fields.insert("condemned".into(), json!(self.condemned));
        }
        std::mem::take(fields)
    }

    /// Said again only when something about it changes.
    fn metadata(&self) -> Option<MetaData> {
        let Some(base) = self.base else {
            return Some(MetaData {
                id: table_id(self.job, self.url),
                name: None,
                description: None,
                format: Format { provider: self.format.extension().into(), options: BTreeMap::new() },
                schema_string: self.schema.into(),
                partition_columns: Vec::new(),
                configuration: [(OURS_KEY.into(), Some(OURS_VERSION.into()))].into(),
                created_time: Some(self.now_ms as i64),
            });
        };
        let mut metadata = base.metadata.clone();
        if base.format != self.format {
            metadata.format.provider = self.format.extension().into();
        }
        if !schema::same(&metadata.schema_string, self.schema) {
            metadata.schema_string = self.schema.into();
        }
        metadata.partition_columns.clear();
        metadata.configuration.insert(OURS_KEY.into(), Some(OURS_VERSION.into()));
        (metadata != base.metadata).then_some(metadata)
    }
}

fn encode(key: &str) -> String {
    utf8_percent_encode(key, &ENCODED).to_string()
}

/// A UUID (version 8: of our own making). A job makes a table once at one place, so no other has these two.
fn table_id(job: &JobId, url: &str) -> String {
    let half = |salt: u8| {
        let mut hasher = DefaultHasher::new();
        (salt, job, url).hash(&mut hasher);
        hasher.finish()
    };
    let (high, low) = (half(0) & !0xf000 | 0x8000, half(1) & (!0 >> 2) | (1 << 63));
    let (a, b, c) = (high >> 32, high >> 16 & 0xffff, high & 0xffff);
    format!("{a:08x}-{b:04x}-{c:04x}-{:04x}-{:012x}", low >> 48, low & 0xffff_ffff_ffff)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::names::Log;
    use crate::snapshot::Replay;

    fn job(id: &str) -> JobId {
        JobId::parse(id).unwrap()
    }

    fn draft<'a>(job: &'a JobId, base: Option<&'a Snapshot>, files: &'a [NewFile], schema: &'a str) -> Draft<'a> {
        static NONE: BTreeSet<JobId> = BTreeSet::new();
        static NO_FILES: BTreeMap<String, Option<u32>> = BTreeMap::new();
        Draft {
            job,
            url: "file:///out/",
            base,
            adopted: &[],
            condemned: &NONE,
            schema,
            format: OutputFormat::Parquet,
            files,
            run_files: &NO_FILES,
            info: Map::new(),
            now_ms: 1_700_000_000_000,
        }
    }

    fn replayed(entries: &[Vec<Action>]) -> Snapshot {
        let mut replay = Replay::new(Log::Delta);
        for actions in entries {
            replay.entry(&crate::action::write(actions)).unwrap();
        }
        replay.finish().unwrap()
    }

    fn kinds(actions: &[Action]) -> String {
        let kind = |action: &Action| match action {
            Action::CommitInfo(_) => 'i',
            Action::Protocol(_) => 'p',
            Action::MetaData(_) => 'm',
            Action::Add(_) => 'a',
            Action::Remove(_) => 'r',
        };
        actions.iter().map(kind).collect()
    }

    #[test]
    fn an_entry_replaces_all_files_and_says_only_what_is_new() {
        let [one, two, three] = ["one", "two", "three"].map(job);
        let file = |key: &str| [NewFile { key: key.into(), bytes: 5, rows: 2, crc32: 0 }];
        let first = draft(&one, None, &file("a"), r#"{"x":1,"y":2}"#).actions();
        assert_eq!(kinds(&first), "ipma");
        let table = replayed(std::slice::from_ref(&first));
        assert!(table.ours());

        let second = draft(&two, Some(&table), &file("b"), r#"{"y":2, "x":1}"#).actions();
        assert_eq!(kinds(&second), "iar", "the same schema in another order is no news");
        let newer = replayed(&[first.clone(), second.clone()]);
        assert_eq!(newer.files.iter().map(|f| f.path.as_str()).collect::<Vec<_>>(), ["b"]);

        let third = draft(&three, Some(&newer), &file("c"), r#"{"x":1}"#).actions();
        assert_eq!(kinds(&third), "imar");
        let newest = replayed(&[first, second, third]);
        assert_eq!((newest.table_id, newest.schema.as_str()), (table.table_id, r#"{"x":1}"#));
        assert_eq!(newest.metadata.created_time, Some(1_700_000_000_000));
    }

    #[test]
    fn adopted_files_go_with_the_first_entry() {
        let one = job("one");
        let adopted = ["old ü.parquet".to_owned()];
        let actions = Draft { adopted: &adopted, ..draft(&one, None, &[], "{}") }.actions();
        let Some(Action::Remove(remove)) = actions.last() else { panic!("{actions:?}") };
        assert_eq!(remove.path, "old%20%C3%BC.parquet");
        assert!(replayed(&[actions]).removed.contains("old ü.parquet"));
    }

    #[test]
    fn a_name_is_used_once() {
        let [one, two] = ["one", "two"].map(job);
        let (a, b) = (
            [NewFile { key: "a".into(), bytes: 1, rows: 1, crc32: 0 }],
            [NewFile { key: "b".into(), bytes: 1, rows: 1, crc32: 0 }],
        );
        let first = draft(&one, None, &a, "{}").actions();
        let table = replayed(std::slice::from_ref(&first));
        assert_eq!(draft(&two, Some(&table), &a, "{}").reused(), Some("a"));
        let second = draft(&two, Some(&table), &b, "{}").actions();
        let newer = replayed(&[first, second]);
        assert_eq!(draft(&two, Some(&newer), &a, "{}").reused(), Some("a"), "not after its removal either");
        let adopted = ["a".to_owned()];
        assert_eq!(Draft { adopted: &adopted, ..draft(&one, None, &a, "{}") }.reused(), Some("a"));
    }

    #[test]
    fn a_table_id_is_a_uuid() {
        let id = table_id(&job("one"), "file:///out/");
        let lengths: Vec<_> = id.split('-').map(str::len).collect();
        assert_eq!(lengths, [8, 4, 4, 4, 12]);
        assert_eq!(&id[14..15], "8");
        assert!(matches!(&id[19..20], "8" | "9" | "a" | "b"), "{id}");
        assert_ne!(id, table_id(&job("two"), "file:///out/"));
        assert_ne!(id, table_id(&job("one"), "file:///out2/"));
    }
}
