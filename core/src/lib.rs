//! The words of the framework: what a job is, what it is cut into, what an attempt brings back, and how it fails.
//!
//! Plain values and pure functions only. There is no IO here, nothing async and nothing of the wire; every other room
//! speaks in these types, so they hold what is true after the door and need no second check.

mod bill;
mod columns;
mod counters;
mod digest;
mod failure;
mod format;
mod graph;
mod ids;
mod job_code;
mod key_list;
mod listing;
mod output;
mod packing;
mod plan;
mod report;
mod shown_url;
mod spec;
mod split;
mod status;
mod store;
mod store_counts;
mod task_key;
mod terms;
mod work;

pub use bill::{Bill, Usd};
pub use columns::is_column_name;
pub use counters::Counters;
pub use digest::{ObjectsDigest, sha256_hex};
pub use failure::{Failure, FailureClass};
pub use format::OutputFormat;
pub use graph::{TaskGraph, TaskKind, TaskNode, TaskStage, expand};
pub use ids::{AttemptId, Epoch, JobId, StageIndex, TaskId, WorkerId};
pub use job_code::JobCode;
pub use key_list::{KeyList, ListedKey, ListedVersion};
pub use listing::{Listing, Object, select};
pub use output::{BlobRef, FileRef, QuarantineSource, Quarantined, TaskOutput, TaskTimes};
pub use packing::Packing;
pub use plan::{
    BroadcastPlan, InputFilter, JobPlan, KERNEL_FAMILY, KernelWish, NO_KERNELS, ObjectsMin, Source, StagePlan,
};
pub use report::{Books, Report};
pub use shown_url::{lacks_query, masked, shown_url, without_query};
pub use spec::{JobSpec, Limits, Mode, ParamValue, Params, ShuffleSettings, SplitSettings};
pub use split::{Cut, Piece, PieceHas, Split, SplitObjects, plan_splits};
pub use status::{JobPhase, JobStatus, StageStatus};
pub use store::{StoreAnswers, StoreShare, StoreUsage};
pub use store_counts::{StoreCounts, StoreOutcome, StoreRequest};
pub use task_key::{TaskKey, task_keys};
pub use terms::{ClusterTerms, FleetAim, FleetTerms};
pub use work::{AttemptProgress, AttemptResult, BroadcastRef, Order, Work};

/// The version that goes into footers: it shapes the data, so it is the workspace's and not a build's.
pub const FRAMEWORK_VERSION: &str = env!("CARGO_PKG_VERSION");
