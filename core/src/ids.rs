//! Names for things. A type for each kind, so that one cannot be taken for another.

use serde::{Deserialize, Serialize};
use std::fmt;

/// Chosen by whoever submits, so that a submission repeated after a lost answer is recognised as the same.
///
/// Lower-case letters, digits and `-`, at most 64 long: it becomes part of file names.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct JobId(String);

impl JobId {
    pub fn parse(text: &str) -> Result<Self, String> {
        let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        if text.is_empty() || text.len() > 64 || !text.chars().all(fits) || text.starts_with('-') {
            return Err(format!(
                "`{text}` is no job id: lower-case letters, digits and `-`, at most 64, none in front"
            ));
        }
        Ok(Self(text.to_owned()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for JobId {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        Self::parse(&text)
    }
}

impl From<JobId> for String {
    fn from(id: JobId) -> Self {
        id.0
    }
}

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A worker process: a new process is a new worker, whatever host it runs on.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct WorkerId(pub String);

impl fmt::Display for WorkerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Position of a stage in its job, in the order of the expanded graph.
pub type StageIndex = u32;

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TaskId {
    pub job: JobId,
    pub stage: StageIndex,
    pub index: u32,
}

impl fmt::Display for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.job, self.stage, self.index)
    }
}

/// Grows each time a coordinator takes over, so that what each of them gave away can be told apart.
pub type Epoch = u64;

/// One try at a task. Numbers start at 1 in each epoch, and a pair of both is never used twice.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct AttemptId {
    pub task: TaskId,
    /// Of the coordinator that gave it.
    pub epoch: Epoch,
    pub number: u32,
}

impl AttemptId {
    /// Where its files lie in the state store, apart from those of every other attempt; ends in `/`.
    pub fn work_folder(&self) -> String {
        let Self { task: TaskId { job, stage, index }, epoch, number } = self;
        format!("work/{job}/{stage}/{index:06}-{epoch}.{number}/")
    }
}

impl fmt::Display for AttemptId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}#{}.{}", self.task, self.epoch, self.number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_id_can_be_part_of_a_file_name() {
        assert!(JobId::parse("20261124-073112-ab12").is_ok());
        for bad in ["", "A", "a/b", "../a", "-a", "a b", &"a".repeat(65)] {
            assert!(JobId::parse(bad).is_err(), "{bad}");
        }
    }
}
