//! The output as a Delta table: plain Parquet parts in one flat folder, and a log whose entries say which are the rows. Rows
//! may be lines of text or JSON as well; their log has the same entries, but lies elsewhere and is none of Delta's.
//!
//! A commit publishes parts under names that nobody used before and then makes them the table with one put-if-absent of
//! the next log entry, so every reader sees all of the old rows or all of the new ones, and of two racing jobs one
//! wins. Old parts go after that, never before, so that a plain `*.parquet` glob then reads the same rows.
//!
//! The folder:
//!
//! | what | is |
//! | --- | --- |
//! | `part-NNNNN-<job id>.parquet`, or `.txt`, `.jsonl.gz` and the like | rows, in name order |
//! | `_delta_log/NN….json`, or `_mr_log/NN….json` of lines | the log; the only truth about what belongs to the table |
//! | `_runs/<job id>/` | what else a job brought, complete before its entry; `job.json` in it comes before any part |
//! | `_<path>` | a copy of each file of the newest run, for people; `_SUCCESS` comes last |
//! | `_<name>.parquet/<name>.parquet` | the same for Parquet, in a folder so that no `*.parquet` takes it for rows |
//!
//! What may be deleted is written in the log, and nothing else is: files that an entry of ours removed, and whatever
//! lies there under the name of a *condemned* job. An entry condemns every job that had published something, but had
//! not committed, when the entry was made. This is safe when jobs race, die and come back: a job fixes the version it
//! builds on before it publishes, so if the condemning entry wins, the entry that the other job is about to write is
//! taken, and if that job starts its commit afresh it reads its sentence in the log and gives up. Sweeping is thus a
//! function of the log and a listing, and whoever comes next finishes what another was killed in.
//!
//! The log also holds the CRC-32 of each part and of what a run brought: a flipped bit in compressed numbers would
//! otherwise be read as another number. A job's report has none, since it is made while the entry is.
//!
//! The protocol is written by hand: reader 1 and writer 2 need five actions, while a Delta crate would bring 76 to 218
//! more crates, and with some of them a second arrow. Deliberately absent: checkpoints (an entry of ours replaces all
//! rows, so logs stay short; a log that has only a checkpoint left is refused), partitions, deletion vectors, statistics
//! other than the row count.

mod action;
mod audit;
mod begin;
mod commit;
mod entry;
mod error;
mod findings;
mod footer;
mod names;
mod parallel;
mod quarantine;
mod schema;
mod seal;
mod settle;
mod snapshot;
mod state;
mod survey;

pub use audit::{Audit, Audited, Exactness, Records, Row, SetAside, audit, compare_rows};
pub use begin::may_begin;
pub use commit::{Commit, Committed, Late, RunFile, RunSource, StagedPart, commit};
pub use error::{Refusal, TableError};
pub use findings::{Finding, Findings};
pub use names::{LOG_FOLDERS, PROBES, part_name, run_folder};
pub use quarantine::quarantine_parquet;
pub use settle::{Abandoned, RUNS_KEPT, Settled, abandon, after_commit, repair};
pub use snapshot::{AddFile, Snapshot};
pub use state::{OutputState, may_write};
pub use survey::{Verified, inspect, verify};
