//! A job as its author writes it: typed records, keys, values and rows.
//!
//! [`MapReduce`] is one map and one reduce over a folder of text or of objects, and [`MapOnly`] does without the reduce. A
//! [`Pipeline`] has several of them as its stages. The registry makes a [`Job`](crate::Job) of each, which is what the engine
//! runs.

mod codec;
mod emit;
mod given;
mod input;
mod job;
mod keep;
mod local;
mod map_only;
mod map_reduce;
mod parquet_rows;
mod pipeline;
mod row;
mod stage_rows;
mod table;

pub use codec::{Key, Part, Value};
pub use emit::{Emit, Values};
pub use given::Given;
pub use input::{Input, Line, Lines, Objects};
pub(crate) use job::TypedJob;
pub use keep::Keeps;
pub use local::{run_local, run_map_only, run_pipeline};
pub use parquet_rows::{ParquetRow, ParquetRows};
pub use pipeline::{Pipeline, Stage, Stages};
pub use row::{Column, Row, Rows};
pub use stage_rows::{Kept, Mapped, Reduced};

use crate::params::{ParamError, ParamSpec};
use mr_core::{Failure, Params};

/// Of what there are the kinds that are here, and no others.
#[doc(hidden)]
pub trait Sealed {}

/// A map over every record, and a reduce over all values of each key.
///
/// The same records give the same rows, in the same order and bytes, however many workers there are, as long as the code
/// draws from nothing but its arguments. Rows are in the order of their keys within a partition.
///
/// ```
/// use mr_core::{Failure, Params};
/// use mr_mapreduce::{Emit, Line, Lines, MapReduce, ParamError, Rows, Values, run_local};
///
/// struct Lengths;
///
/// impl MapReduce for Lengths {
///     const NAME: &str = "line-lengths";
///     const VERSION: u32 = 1;
///     const ABOUT: &str = "how many lines there are of each length";
///     const COLUMNS: &[&str] = &["length", "lines"];
///     type Input = Lines;
///     type Key = u64;
///     type Value = u64;
///     type Row = (u64, u64);
///
///     fn open(_: &Params) -> Result<Self, ParamError> {
///         Ok(Self)
///     }
///
///     const COMBINES: bool = true;
///
///     fn combine(&self, lines: &mut u64, more: u64) {
///         *lines += more;
///     }
///
///     fn map(&self, line: Line<'_>, out: &mut Emit<'_, Self>) -> Result<(), Failure> {
///         out.emit(line.text().chars().count() as u64, 1);
///         Ok(())
///     }
///
///     fn reduce(&self, length: u64, lines: Values<'_, u64>, out: &mut Rows<Self::Row>) -> Result<(), Failure> {
///         out.row((length, lines.sum()))
///     }
/// }
///
/// let rows = run_local(&Lengths, &[("a.txt", "to be\nor not\n"), ("b.txt", "to be")]).unwrap();
/// assert_eq!(rows, [(5, 2), (6, 1)]);
/// ```
pub trait MapReduce: Send + Sync + Sized + 'static {
    /// What `job = "…"` in a job file calls it, and a [`Pipeline`] its stage.
    const NAME: &'static str;
    /// Raised with every change of the code that changes results, so that old and new are never mixed.
    const VERSION: u32;
    /// A line for `--help`.
    const ABOUT: &'static str;
    /// The names of the row's columns.
    const COLUMNS: &'static [&'static str];
    /// Endings of names, such as `"jpg"`, that `params.extensions` has if nothing else is said; without any, all objects are read.
    const EXTENSIONS: &'static [&'static str] = &[];

    type Input: Input;
    type Key: Key;
    type Value: Value;
    /// What `reduce` makes, and the result has.
    type Row: Row;

    /// The keys under `[params]`. There are also `extensions` and `partitions`, which every such job has.
    fn params() -> Vec<ParamSpec> {
        Vec::new()
    }

    /// Made once for each stage in each process, and shared by its slots.
    ///
    /// # Errors
    /// The parameter that can't be, and why.
    fn open(params: &Params) -> Result<Self, ParamError>;

    /// Takes what this stage of a [`Pipeline`] is [given](Stage::given), before its first record.
    ///
    /// # Errors
    /// A failure of the attempt.
    fn receive(&mut self, _given: &Given<'_>) -> Result<(), Failure> {
        Ok(())
    }

    /// Whether there is a [`combine`](Self::combine).
    const COMBINES: bool = false;

    /// Adds a value to one of the same key that came before it, so that a map task sends one for each key. The reduce is then
    /// given what was combined, of tasks and of some of them together, so it has to come to the same whichever were: a sum or
    /// a largest one does, a mean does not. Sums of numbers with a point are rounded as the input is split, which the
    /// settings of the split alone decide.
    fn combine(&self, _sum: &mut Self::Value, _more: Self::Value) {
        panic!("job `{}`: `COMBINES` is true, and there is no `combine`", Self::NAME)
    }

    /// # Errors
    /// A failure of the attempt; for objects, a verdict that sets this one aside as well.
    fn map(
        &self,
        record: <Self::Input as Input>::Record<'_>,
        out: &mut Emit<'_, Self>,
    ) -> Result<(), <Self::Input as Input>::Error>;

    /// Whether there is a [`partition`](Self::partition).
    const PARTITIONS: bool = false;

    /// Which of so many partitions a key goes to, and so which part of the result its rows are in: less than `partitions`, and
    /// by the key alone. Without it, keys are spread by a hash of them.
    fn partition(&self, _key: Self::Key, _partitions: u32) -> u32 {
        panic!("job `{}`: `PARTITIONS` is true, and there is no `partition`", Self::NAME)
    }

    /// All values of one key, in the order of the input, or of the rows that the stage reads.
    ///
    /// # Errors
    /// A failure of the attempt.
    fn reduce(&self, key: Self::Key, values: Values<'_, Self::Value>, out: &mut Rows<Self::Row>)
    -> Result<(), Failure>;
}

/// A map over every record, whose rows are the result.
///
/// Rows are in the order of the input: of its objects by the byte order of their keys, and of the lines in each.
pub trait MapOnly: Send + Sync + Sized + 'static {
    /// What `job = "…"` in a job file calls it, and a [`Pipeline`] its stage.
    const NAME: &'static str;
    /// Raised with every change of the code that changes results, so that old and new are never mixed.
    const VERSION: u32;
    /// A line for `--help`.
    const ABOUT: &'static str;
    /// The names of the row's columns.
    const COLUMNS: &'static [&'static str];
    /// Endings of names, such as `"jpg"`, that `params.extensions` has if nothing else is said; without any, all objects are read.
    const EXTENSIONS: &'static [&'static str] = &[];

    type Input: Input;
    type Row: Row;

    /// The keys under `[params]`. There is also `extensions`, which every such job has.
    fn params() -> Vec<ParamSpec> {
        Vec::new()
    }

    /// Made once for each stage in each process, and shared by its slots.
    ///
    /// # Errors
    /// The parameter that can't be, and why.
    fn open(params: &Params) -> Result<Self, ParamError>;

    /// Takes what this stage of a [`Pipeline`] is [given](Stage::given), before its first record.
    ///
    /// # Errors
    /// A failure of the attempt.
    fn receive(&mut self, _given: &Given<'_>) -> Result<(), Failure> {
        Ok(())
    }

    /// # Errors
    /// A failure of the attempt; for objects, a verdict that sets this one aside as well, with the rows that it gave.
    fn map(
        &self,
        record: <Self::Input as Input>::Record<'_>,
        out: &mut Rows<Self::Row>,
    ) -> Result<(), <Self::Input as Input>::Error>;
}
