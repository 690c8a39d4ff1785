//! What a user means: checked once by whoever read it, and then true everywhere.

use crate::OutputFormat;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A parameter of a job as its file may hold it. Ordered maps and no floats that are not numbers, so that the same
/// parameters are always the same bytes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum ParamValue {
    Bool(bool),
    Integer(i64),
    Number(f64),
    Text(String),
    List(Vec<ParamValue>),
}

pub type Params = BTreeMap<String, ParamValue>;

/// A job as it can be run: URLs are absolute, values are possible.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct JobSpec {
    /// Name in the registry.
    pub job: String,
    /// Root of the input, ending in `/`: `file:///…/` or `s3://bucket/prefix/`.
    pub input: String,
    /// URL of a list that names the objects of the input which the job works on; `None`: all that are there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub input_list: Option<String>,
    /// Root of the output, ending in `/`.
    pub output: String,
    pub mode: Mode,
    /// How its rows are written down.
    #[serde(default)]
    pub format: OutputFormat,
    /// Take over an output folder that holds Parquet which is no table of ours.
    pub adopt: bool,
    pub params: Params,
    pub limits: Limits,
    pub split: SplitSettings,
    #[serde(default)]
    pub shuffle: ShuffleSettings,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Refuse an output that exists.
    #[default]
    Fail,
    /// Replace its rows in one commit.
    Overwrite,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Limits {
    /// Share of the listed objects that may be quarantined before the job fails, 0 to 1.
    pub quarantine_share_max: f64,
    /// Attempts a task may have before its application's failures fail the job.
    pub attempts_max: u32,
    /// How long one record may take in the job's code: one that is not done then is quarantined, if it takes as long on
    /// another worker.
    pub record_seconds_max: u32,
    /// A job that is estimated to cost more US dollars is refused by whoever submits it; `None`: it may cost what it likes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub budget_max_usd: Option<f64>,
}

impl Default for Limits {
    fn default() -> Self {
        Self { quarantine_share_max: 0.01, attempts_max: 4, record_seconds_max: 300, budget_max_usd: None }
    }
}

/// A split ends when it holds this many objects or this many bytes, whichever comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SplitSettings {
    pub objects_max: u32,
    pub bytes_max: u64,
}

impl Default for SplitSettings {
    fn default() -> Self {
        Self { objects_max: 64, bytes_max: 256 << 20 }
    }
}

/// How pairs travel from map tasks to reduce tasks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShuffleSettings {
    /// Memory in bytes that the pairs of one attempt may take: what a map task emits beyond it is put aside on its host's disk.
    /// Values are combined as often as that happens, so a result may depend on it as on the split.
    pub memory_bytes_max: u64,
}

impl Default for ShuffleSettings {
    fn default() -> Self {
        Self { memory_bytes_max: 256 << 20 }
    }
}
