//! The actions of a Delta log entry that we write and read, and their lines.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// One line of an entry. Kinds that are not here are none of ours to understand: the protocol says to skip them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Action {
    CommitInfo(Map<String, Value>),
    Protocol(Protocol),
    MetaData(MetaData),
    Add(Add),
    Remove(Remove),
}

const KINDS: [&str; 5] = ["commitInfo", "protocol", "metaData", "add", "remove"];

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Protocol {
    pub min_reader_version: u32,
    pub min_writer_version: u32,
}

impl Protocol {
    pub(crate) const OURS: Protocol = Protocol { min_reader_version: 1, min_writer_version: 2 };
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct MetaData {
    pub id: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    pub format: Format,
    pub schema_string: String,
    pub partition_columns: Vec<String>,
    #[serde(default)]
    pub configuration: BTreeMap<String, Option<String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created_time: Option<i64>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Format {
    pub provider: String,
    #[serde(default)]
    pub options: BTreeMap<String, String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Add {
    /// Percent-encoded, relative to the table's folder.
    pub path: String,
    #[serde(default)]
    pub partition_values: BTreeMap<String, Option<String>>,
    pub size: u64,
    pub modification_time: i64,
    pub data_change: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stats: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tags: Option<BTreeMap<String, Option<String>>>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Remove {
    pub path: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deletion_timestamp: Option<i64>,
    pub data_change: bool,
}

pub(crate) fn write(actions: &[Action]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for action in actions {
        serde_json::to_writer(&mut bytes, action).expect("keys are strings and a Vec takes every write");
        bytes.push(b'\n');
    }
    bytes
}

/// The actions we know, in their order, or what is wrong with the entry.
pub(crate) fn read(bytes: &[u8]) -> Result<Vec<Action>, String> {
    let mut actions = Vec::new();
    let mut empty = true;
    for (number, line) in bytes.split(|b| *b == b'\n').enumerate() {
        if line.trim_ascii().is_empty() {
            continue;
        }
        empty = false;
        let fault = |what: String| format!("line {}: {what}", number + 1);
        let value: Map<String, Value> = serde_json::from_slice(line).map_err(|e| fault(e.to_string()))?;
        let mut kinds = value.keys();
        match (kinds.next(), kinds.next()) {
            (Some(kind), None) if KINDS.contains(&kind.as_str()) => {
                actions.push(serde_json::from_value(Value::Object(value)).map_err(|e| fault(e.to_string()))?);
            }
            (Some(_), None) => {}
            _ => return Err(fault("it is not one action".into())),
        }
    }
    if empty {
        return Err("it holds no action".into());
    }
    Ok(actions)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_again() {
        let actions = vec![
            Action::CommitInfo([("jobId".to_string(), Value::from("j"))].into_iter().collect()),
            Action::Protocol(Protocol::OURS),
            Action::Add(Add {
                path: "a%20b.parquet".into(),
                partition_values: BTreeMap::new(),
                size: 7,
                modification_time: 8,
                data_change: true,
                stats: None,
                tags: None,
            }),
            Action::Remove(Remove { path: "c".into(), deletion_timestamp: Some(9), data_change: true }),
        ];
        let bytes = write(&actions);
        assert_eq!(
            String::from_utf8(bytes.clone()).unwrap(),
            concat!(
                r#"{"commitInfo":{"jobId":"j"}}"#,
                "\n",
                r#"{"protocol":{"minReaderVersion":1,"minWriterVersion":2}}"#,
                "\n",
                r#"{"add":{"path":"a%20b.parquet","partitionValues":{},"size":7,"modificationTime":8,"dataChange":true}}"#,
                "\n",
                r#"{"remove":{"path":"c","deletionTimestamp":9,"dataChange":true}}"#,
                "\n",
            )
        );
        assert_eq!(read(&bytes).unwrap(), actions);
    }

    #[test]
    fn what_others_write_is_read_and_unknown_kinds_are_skipped() {
        let text = r#"{"txn":{"appId":"x","version":1}}
{"add":{"path":"p","partitionValues":{"d":null},"size":1,"modificationTime":1,"dataChange":false,"tags":{"a":"b"},"stats":"{}"}}"#;
        assert_eq!(read(text.as_bytes()).unwrap().len(), 1);
    }

    #[test]
    fn a_torn_entry_is_told_from_a_whole_one() {
        let whole = write(&[Action::Protocol(Protocol::OURS)]);
        for end in 0..whole.len() - 1 {
            assert!(read(&whole[..end]).is_err(), "{end}");
        }
        assert!(read(br#"{"add":{},"remove":{}}"#).is_err());
        assert!(read(br#"{"add":{"path":"p"}}"#).is_err());
        assert!(read(b"[]").is_err());
    }
}
