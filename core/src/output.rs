//! What a successful attempt brings back: references to what it wrote, and its part of the books.

use serde::{Deserialize, Serialize};

/// A file that an attempt wrote into the state store, with what is needed to know it again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileRef {
    /// Relative to the state store's root.
    pub key: String,
    pub bytes: u64,
    pub crc32: u32,
}

/// A blob known by its content, wherever it lies.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct BlobRef {
    /// Relative to the state store's root.
    pub key: String,
    /// Lower-case hexadecimal.
    pub sha256: String,
    pub bytes: u64,
}

impl BlobRef {
    /// A blob that is kept for all jobs, under its hash.
    pub fn shared(sha256: String, bytes: u64) -> Self {
        Self { key: format!("blobs/{sha256}"), sha256, bytes }
    }
}

/// All that an attempt has to show. Only the winner's becomes part of the job.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskOutput {
    /// Records that were given to the task: objects of a split, kept rows, or groups of a reduce.
    pub records: u64,
    /// Rows that were kept or written.
    pub rows: u64,
    /// Rows for a later stage.
    pub kept: Option<FileRef>,
    /// Emitted pairs, sorted.
    pub run: Option<FileRef>,
    /// Rows of the result, staged as Parquet.
    pub part: Option<FileRef>,
    /// A blob for later stages.
    pub broadcast: Option<BlobRef>,
    /// Files that belong beside the result, by their path under the run's folder.
    pub side: Vec<(String, FileRef)>,
    pub quarantined: Vec<Quarantined>,
    /// The other objects of a split, in its order, as [`ObjectsDigest`](crate::ObjectsDigest) has them.
    pub mapped_sha256: Option<String>,
    pub times: TaskTimes,
    /// It was a probe: there is nothing to show but that its worker has lived through it.
    pub probed: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskTimes {
    /// In the job's code for records: what a slot can't do less of.
    pub busy_us: u64,
    /// From the attempt's start to the end of its first record.
    pub first_record_us: u64,
}

/// A record that could not be mapped and does not stop the job.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Quarantined {
    pub key: String,
    pub etag: String,
    pub bytes: u64,
    /// Name of the stage.
    pub stage: String,
    /// A short word in kebab-case for machines, such as `undecodable`.
    pub class: String,
    pub message: String,
    pub source: QuarantineSource,
    pub attempts: u32,
}

/// Whether the verdict would be the same anywhere, at any time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum QuarantineSource {
    /// It follows from the object's bytes.
    Content,
    /// It follows from what happened meanwhile: the object was changed or removed after it was listed.
    Environment,
}
