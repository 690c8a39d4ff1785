//! What a job is written with, and the data plane that runs it.
//!
//! The upper half ([`Job`], [`StageCode`], [`Mapper`], [`Registry`]) is what the author of a job sees: synchronous code
//! over records that knows no storage, retries or threads. The lower half ([`execute`]) runs one attempt of one task:
//! it fetches ahead, feeds the job's code on a slot, and writes what came out into the state store. It reports and
//! never decides: leases and retries are not known here.

mod attempt;
mod broadcast;
mod buffer;
mod codes;
mod counting;
mod emit;
mod fetch;
mod host;
mod job;
mod key_list;
mod lines;
mod lost;
mod made;
mod merge;
mod oracle;
mod pairs;
mod params;
pub mod plans;
mod recompute;
mod registry;
mod row_groups;
mod rows;
mod run;
mod run_stream;
mod slots;
mod spool;
mod typed;

pub use attempt::{Control, Progress, execute};
pub use broadcast::Broadcast;
pub use emit::{Attempt, MapOutput, ReduceOutput};
pub use host::{Host, HostSettings};
pub use job::{
    BroadcastSource, Combiner, Content, Context, Job, Mapper, ObjectRecord, RecordError, Reducer, RowMapper, StageCode,
    ValueSource,
};
pub use key_list::{Inventory, InventoryFile, ListFormat, read_list};
pub use oracle::{Oracle, Told};
pub use params::{ParamError, ParamKind, ParamSpec, extensions, param_key};
pub use recompute::{Recomputed, broadcasts_on_the_way, recompute};
pub use registry::Registry;
pub use run::{Pair, RunReader, RunWriter};
pub use typed::{
    Column, Emit, Given, Input, Keeps, Kept, Key, Line, Lines, MapOnly, MapReduce, Mapped, Objects, ParquetRow,
    ParquetRows, Part, Pipeline, Reduced, Row, Rows, Stage, Stages, Value, Values, run_local, run_map_only,
    run_pipeline,
};
