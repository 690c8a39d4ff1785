//! What a crate with jobs of its own depends on: the SDK, and a `main` for each of the three programs.
//!
//! [`MapReduce`] is what a job implements, and [`main`] the program around it:
//!
//! ```no_run
//! fn main() -> std::process::ExitCode {
//!     mr::main(mr::Registry::default()) // .with_map_reduce::<MyJob>()
//! }
//! ```
//!
//! `examples/line-lengths` is a crate with such a job.

/// Its listings are compiled and run.
#[cfg(doctest)]
#[doc = include_str!("../../docs/writing-a-job.md")]
struct WritingAJob;

mod certs;
mod coordinator;
mod fleet;
mod heed;
mod main_of;
mod metrics;
mod prices;
mod process;
mod secure;
mod settings;
mod worker;

pub use coordinator::coordinator;
pub use main_of::main;
pub use mr_cli::submit_main as submit;
pub use mr_core as core;
pub use mr_core::{Failure, ParamValue, Params};
pub use mr_mapreduce::{
    // A job of several stages.
    Attempt,
    Broadcast,
    BroadcastSource,
    // A job with types, and its test.
    Column,
    Combiner,
    Content,
    Context,
    Emit,
    Given,
    Input,
    Job,
    Keeps,
    Kept,
    Key,
    Line,
    Lines,
    MapOnly,
    MapOutput,
    MapReduce,
    Mapped,
    Mapper,
    // What both kinds of jobs have.
    ObjectRecord,
    Objects,
    Oracle,
    ParamError,
    ParamKind,
    ParamSpec,
    ParquetRow,
    ParquetRows,
    Part,
    Pipeline,
    RecordError,
    ReduceOutput,
    Reduced,
    Reducer,
    Registry,
    Row,
    RowMapper,
    Rows,
    Stage,
    StageCode,
    Stages,
    Told,
    Value,
    ValueSource,
    Values,
    plans,
    run_local,
    run_map_only,
    run_pipeline,
};
pub use process::refuse;
pub use worker::worker;
