//! The traits that a job implements.
//!
//! A [`Job`] plans; a [`StageCode`], made once a process for each stage of a running job and shared by its slots, makes
//! a [`Mapper`], [`RowMapper`] or [`Reducer`] for each attempt, which sees one record after another. What a mapper **emits** travels
//! to the reduce of its key; what it **keeps** stays as its task's rows for a later stage.

use crate::Broadcast;
use crate::emit::{MapOutput, ReduceOutput};
use crate::params::{ParamError, ParamSpec};
use crate::run::partition_of;
use arrow::array::RecordBatch;
use bytes::Bytes;
use mr_core::{Failure, JobPlan, JobSpec, Params};
use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

pub trait Job: Send + Sync + 'static {
    /// What `job = "…"` in a job file calls it.
    fn name(&self) -> &'static str;

    /// Raised with every change of the code that changes results, so that old and new are never mixed.
    fn version(&self) -> u32;

    /// A line for `--help`.
    fn about(&self) -> &'static str;

    /// The keys under `[params]`.
    fn params(&self) -> Vec<ParamSpec>;

    /// What has to reach every worker, by what the parameters say.
    ///
    /// # Errors
    /// The parameter that can't be, and why.
    fn broadcasts(&self, params: &Params) -> Result<Vec<BroadcastSource>, ParamError>;

    /// The stages, once the broadcasts are at hand. Checks everything that can be checked before anything is read.
    ///
    /// # Errors
    /// The parameter that can't be, and why.
    fn plan(&self, spec: &JobSpec, broadcasts: &[Broadcast]) -> Result<JobPlan, ParamError>;

    /// Why its rows can't be written as text, as it goes on after "since", where that is known before anything runs.
    fn no_text(&self) -> Option<&'static str> {
        None
    }

    /// Makes again what a stage broadcast, from the files that it put beside the result, by their paths: with that, rows
    /// can be computed again when the job is long over. `None` when those files do not say it.
    ///
    /// # Errors
    /// What is wrong with the files.
    fn restore(&self, _stage: &str, _side: &BTreeMap<String, Bytes>) -> Result<Option<Bytes>, Failure> {
        Ok(None)
    }

    /// How many records (objects, or pieces of them) one slot does in a second, and where that was measured, for whoever plans
    /// a job that has not run yet. `None`: nobody has measured it, and nothing is made up.
    fn usual_speed(&self) -> Option<(f64, &'static str)> {
        None
    }

    /// Makes what the slots of this process share for one stage.
    ///
    /// # Errors
    /// A failure of the attempt that needed it.
    fn open(&self, context: &Context<'_>) -> Result<Arc<dyn StageCode>, Failure>;
}

/// Something to be broadcast, and the hash that the user expects of it.
pub struct BroadcastSource {
    pub name: String,
    pub content: Content,
    /// Lower-case hexadecimal.
    pub sha256: Option<String>,
    /// The parameters that named it and its hash, for messages.
    pub param: &'static str,
    pub sha256_param: &'static str,
}

pub enum Content {
    BuiltIn(&'static [u8]),
    /// A path or URL, read where the job is submitted.
    Url(String),
    /// The same, but a relative path begins where the job file is.
    Beside(String),
}

/// What a stage's code is made from.
pub struct Context<'a> {
    pub stage: &'a str,
    pub params: &'a Params,
    /// One of the registry's: results must be of these bits.
    pub kernel_family: &'a str,
    pub broadcasts: &'a [Broadcast],
    /// Bytes that all slots of this process together may use for decoding.
    pub decode_budget_bytes: u64,
    /// A folder for files that nobody else reads, which may not be there yet.
    pub scratch: &'a Path,
}

impl Context<'_> {
    /// The broadcast of that name.
    ///
    /// # Errors
    /// A permanent failure: the plan does not fit the code.
    pub fn broadcast(&self, name: &str) -> Result<&Broadcast, Failure> {
        self.broadcasts
            .iter()
            .find(|broadcast| broadcast.name == name)
            .ok_or_else(|| Failure::permanent(format!("stage `{}` was given no broadcast `{name}`", self.stage)))
    }
}

/// The code of one stage. A stage implements what its source in the plan calls for.
pub trait StageCode: Send + Sync {
    /// For a stage over objects.
    fn mapper(&self) -> Result<Box<dyn Mapper + '_>, Failure> {
        Err(unfit("objects"))
    }

    /// For a stage over rows that an earlier one kept.
    fn row_mapper(&self) -> Result<Box<dyn RowMapper + '_>, Failure> {
        Err(unfit("kept rows"))
    }

    /// What makes one value of several of the same key, if anything does. Without it, values stay as they are.
    fn combiner(&self) -> Option<&dyn Combiner> {
        None
    }

    /// Which of so many partitions a key that it emits goes to. It follows from the key alone, or from that and what was
    /// broadcast, so that all of one key come together.
    fn partition(&self, key: &[u8], partitions: u32) -> u32 {
        partition_of(key, partitions)
    }

    /// For a stage over emitted pairs.
    fn reducer(&self) -> Result<Box<dyn Reducer + '_>, Failure> {
        Err(unfit("emitted pairs"))
    }

    /// Which of these bytes of an object its mapper is given, one after another; `None`: all. A stage that draws a sample need
    /// not read everything. What lies elsewhere is not there.
    fn reads(&self, _bytes: Range<u64>) -> Option<Vec<Range<u64>>> {
        None
    }

    /// Whether an object that its mapper works on for longer than `limits.record_seconds_max` is given up. Not where what
    /// takes long need not be the object's doing.
    fn records_have_deadline(&self) -> bool {
        true
    }

    /// Objects larger than this are quarantined unread.
    fn object_bytes_max(&self) -> u64 {
        256 << 20
    }
}

fn unfit(what: &str) -> Failure {
    Failure::permanent(format!("the plan gives this stage {what}, which its code does not take"))
}

/// One object of the input, or a piece of one where the plan says how objects may be cut.
pub struct ObjectRecord {
    /// The whole URI, not percent-encoded.
    pub uri: String,
    /// Relative to the input's root.
    pub key: String,
    /// Bytes that the object has.
    pub size: u64,
    /// Which of them this record is about: all, or a piece's. Of a piece that has lines, from the beginning of the first to the
    /// end of the last.
    pub range: Range<u64>,
    /// Those, or [what the stage reads](StageCode::reads) of them, one range after another.
    pub bytes: Bytes,
    /// Where in the object `bytes` come from.
    pub from: Vec<Range<u64>>,
}

pub trait Mapper {
    /// # Errors
    /// A verdict on the record, or a failure of the attempt.
    fn map(&mut self, record: &ObjectRecord, out: &mut MapOutput) -> Result<(), RecordError>;

    /// After the split's last record.
    ///
    /// # Errors
    /// A failure of the attempt.
    fn finish(&mut self, _out: &mut MapOutput) -> Result<(), Failure> {
        Ok(())
    }
}

pub trait RowMapper {
    /// # Errors
    /// A failure of the attempt.
    fn map(&mut self, rows: &RecordBatch, out: &mut MapOutput) -> Result<(), Failure>;

    /// After the task's last rows.
    ///
    /// # Errors
    /// A failure of the attempt.
    fn finish(&mut self, _out: &mut MapOutput) -> Result<(), Failure> {
        Ok(())
    }
}

/// Values of one key, one after another: there may be more of them than fit into memory.
pub trait ValueSource {
    /// `None` after the last.
    ///
    /// # Errors
    /// A failure of the attempt: it can't be read.
    fn next(&mut self) -> Result<Option<&[u8]>, Failure>;
}

/// Makes one value of several of the same key, on their way to the reduce.
pub trait Combiner {
    /// Two values or more, in the order of tasks and in that in which a task emitted them, and where their sum goes.
    ///
    /// # Errors
    /// A failure of the attempt.
    fn combine(&self, key: &[u8], values: &mut dyn ValueSource, into: &mut Vec<u8>) -> Result<(), Failure>;
}

/// What reduces the keys of one task, one after another in their order.
pub trait Reducer {
    /// All values of one key, in task order.
    ///
    /// # Errors
    /// A failure of the attempt.
    fn reduce(&mut self, key: &[u8], values: &mut dyn ValueSource, out: &mut ReduceOutput) -> Result<(), Failure>;

    /// After the task's last key.
    ///
    /// # Errors
    /// A failure of the attempt.
    fn finish(&mut self, _out: &mut ReduceOutput) -> Result<(), Failure> {
        Ok(())
    }
}

/// Why a record gave nothing.
#[derive(Debug)]
pub enum RecordError {
    /// The record itself is at fault, anywhere and always: it is set aside with the reason and the job goes on.
    Quarantine {
        class: &'static str,
        message: String,
    },
    Fail(Failure),
}

impl RecordError {
    /// Of rows, none of which can be set aside: their objects are long behind.
    pub(crate) fn of_rows(self) -> Failure {
        match self {
            Self::Fail(failure) => failure,
            Self::Quarantine { class, message } => Failure::application(format!("{class}: {message}")),
        }
    }
}

impl From<Failure> for RecordError {
    fn from(failure: Failure) -> Self {
        Self::Fail(failure)
    }
}
