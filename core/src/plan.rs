//! How a job is to be done: stages, what each reads, and what is broadcast to all of them.
//!
//! A plan is made where the job's code is (the submitter) and carried out where it is not (the coordinator), so it
//! says everything that planning tasks and committing needs, and nothing about how a record is mapped.

use crate::{BlobRef, Cut, JobCode, JobSpec};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The footer's key for the kernel family that computed a part.
pub const KERNEL_FAMILY: &str = "mr.kernel_family";
/// Its value in a plan's footer if none has a part in the result: then the bytes are the same on every machine.
pub const NO_KERNELS: &str = "none";

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct JobPlan {
    pub spec: JobSpec,
    /// Of the job's code: workers whose code differs must not mix their results.
    pub job_version: u32,
    pub filter: InputFilter,
    /// Where a large object may be cut, so that several tasks share it.
    #[serde(default)]
    pub cut: Cut,
    /// A job that can do nothing with fewer objects is refused as soon as they are counted.
    pub objects_min: Option<ObjectsMin>,
    /// What the input's list names, as [`KeyList`](crate::KeyList) has it; `None`: the job works on all that is under its input.
    #[serde(default)]
    pub keys: Option<BlobRef>,
    pub kernels: KernelWish,
    pub broadcasts: Vec<BroadcastPlan>,
    pub stages: Vec<StagePlan>,
    /// What shapes the data, for the footer of every part. Never an id, a host, a path or a time.
    pub footer: BTreeMap<String, String>,
}

impl JobPlan {
    /// Which code its tasks are to be run with.
    pub fn code(&self) -> JobCode {
        JobCode::new(&self.spec.job, self.job_version)
    }

    /// The stages that an object passes on its way to its row.
    ///
    /// # Errors
    /// A sentence why there is no such way: then a row is not one object's, and an object may have any number of rows.
    pub fn way(&self) -> Result<Vec<&StagePlan>, String> {
        let mut stage = self.stages.iter().find(|stage| stage.writes_output).ok_or("the job writes no rows")?;
        let mut way = vec![stage];
        loop {
            if !stage.one_row_per_record {
                return Err(format!("stage `{}` does not make one row of one record", stage.name));
            }
            match &stage.source {
                Source::Input => break,
                Source::Kept { stage: before, .. } => {
                    let earlier = self.stages.iter().take_while(|other| other.name != stage.name);
                    let before = earlier.into_iter().find(|other| other.name == *before);
                    stage = before.ok_or_else(|| format!("nothing comes before stage `{}`", stage.name))?;
                    way.push(stage);
                }
                Source::Emitted { stage: before, .. } => {
                    return Err(format!("stage `{}` makes its rows of all that `{before}` emits", stage.name));
                }
            }
        }
        way.reverse();
        Ok(way)
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObjectsMin {
    pub count: u64,
    /// What needs so many and what to do about it, to follow the two numbers.
    pub why: String,
}

/// What a job asks of the kernels that compute it.
///
/// A kernel family is named by its arithmetic and, after a `/`, by whatever else its bits depend on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct KernelWish {
    /// Arithmetics that will do, the one that it would rather have first. None: whatever a worker has first.
    pub arithmetics: Vec<String>,
    /// What the user said to wish for this and what else there is to say, for when nobody has such kernels.
    pub why: String,
}

impl KernelWish {
    /// Whether that family will do.
    pub fn takes(&self, family: &str) -> bool {
        self.arithmetics.is_empty() || self.rank(family).is_some()
    }

    /// How far down the list that family is; `None` if it is not on it.
    pub fn rank(&self, family: &str) -> Option<usize> {
        let arithmetic = family.split('/').next().unwrap_or(family);
        self.arithmetics.iter().position(|wanted| wanted == arithmetic)
    }
}

/// A blob that every worker fetches once by its content hash.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BroadcastPlan {
    pub name: String,
    pub blob: BlobRef,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StagePlan {
    pub name: String,
    pub source: Source,
    /// Names of earlier stages whose broadcast this stage's tasks are given.
    pub broadcasts_of: Vec<String>,
    /// Whether this stage's rows are the job's result.
    pub writes_output: bool,
    /// Every record that is not quarantined gives exactly one row: checked for each task, and again over the whole.
    pub one_row_per_record: bool,
    /// Names of the params that shape what its tasks make, for whoever looks for the output of the same work; `None`: all.
    pub params: Option<Vec<String>>,
}

/// Where the tasks of a stage get their records. Stages are named, since expansion may put others in between.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "kind")]
pub enum Source {
    /// One task for each split of the listing.
    Input,
    /// Over the rows that the tasks of `stage` kept, consecutive tasks together: between `group_min` and `group_max` of
    /// them, so that a large input gives files worth opening and a small one still gives more than one slot work.
    Kept { stage: String, group_min: u32, group_max: u32 },
    /// One task for each partition of what `stage` emitted, its runs combined `fan_in` at a time until few are left.
    Emitted { stage: String, partitions: u32, fan_in: u32 },
}

/// Which objects under the input's root are the job's; the others are counted as skipped.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct InputFilter {
    /// Without a dot; compared without regard to case. Empty: all objects but those of which a segment begins with `_` or `.`, as
    /// what others keep beside data does.
    pub extensions: Vec<String>,
}

impl InputFilter {
    pub fn wants(&self, key: &str) -> bool {
        if self.extensions.is_empty() {
            return !key.split('/').any(|segment| segment.starts_with(['_', '.']));
        }
        let name = key.rsplit('/').next().unwrap_or(key);
        name.rsplit_once('.').is_some_and(|(_, ext)| self.extensions.iter().any(|e| e.eq_ignore_ascii_case(ext)))
    }
}
