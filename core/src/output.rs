//! What a successful attempt brings back: references to what it wrote, and its part of the books.

use crate::Counters;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

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
    pub counters: Counters,
    pub times: TaskTimes,
    /// It was a probe: there is nothing to show but that its worker has lived through it.
    pub probed: bool,
}

impl TaskOutput {
    /// Its files: their keys in the state store, and their sizes.
    pub fn files(&self) -> impl Iterator<Item = (&str, u64)> {
        let own = [&self.kept, &self.run, &self.part].into_iter().flatten();
        let side = self.side.iter().map(|(_, file)| file);
        let broadcast = self.broadcast.iter().map(|blob| (blob.key.as_str(), blob.bytes));
        own.chain(side).map(|file| (file.key.as_str(), file.bytes)).chain(broadcast)
    }

    /// Whether whoever reads the one gets what it would get from the other: the same bytes under whatever names, and verdicts
    /// on the same objects.
    pub fn is_like(&self, other: &Self) -> bool {
        fn bytes(file: &Option<FileRef>) -> Option<(u64, u32)> {
            file.as_ref().map(|file| (file.bytes, file.crc32))
        }
        let files = |output: &Self| [&output.kept, &output.run, &output.part].map(bytes);
        let blob = |output: &Self| output.broadcast.as_ref().map(|blob| blob.sha256.clone());
        let side = |output: &Self| {
            let side = output.side.iter().map(|(path, file)| (path.clone(), file.bytes, file.crc32));
            side.collect::<Vec<_>>()
        };
        let refused = |output: &Self| output.quarantined.iter().map(|q| q.key.clone()).collect::<BTreeSet<_>>();
        (self.records, self.rows) == (other.records, other.rows)
            && files(self) == files(other)
            && blob(self) == blob(other)
            && side(self) == side(other)
            && refused(self) == refused(other)
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outputs_are_alike_that_differ_in_names_and_times_only() {
        let file = |key: &str, crc32| FileRef { key: key.into(), bytes: 1, crc32 };
        let blob = |sha256: &str| BlobRef { key: "blob".into(), sha256: sha256.into(), bytes: 2 };
        let output = TaskOutput {
            kept: Some(file("one/kept", 1)),
            part: Some(file("one/part", 3)),
            broadcast: Some(blob("a")),
            side: vec![("model".into(), file("one/side", 2))],
            ..TaskOutput::default()
        };
        let renamed = TaskOutput {
            kept: Some(file("two/kept", 1)),
            times: TaskTimes { busy_us: 7, first_record_us: 9 },
            ..output.clone()
        };
        assert!(output.is_like(&renamed));
        let others = [
            TaskOutput { kept: Some(file("one/kept", 2)), ..output.clone() },
            TaskOutput { broadcast: Some(blob("b")), ..output.clone() },
            TaskOutput { side: vec![("model".into(), file("one/side", 4))], ..output.clone() },
            TaskOutput { rows: 1, ..output.clone() },
        ];
        assert!(others.iter().all(|other| !output.is_like(other)));
        let files: Vec<_> = output.files().collect();
        assert_eq!(files, [("one/kept", 1), ("one/part", 1), ("one/side", 1), ("blob", 2)]);
    }
}
