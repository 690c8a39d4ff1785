//! What a crate with jobs of its own depends on: the SDK, and a `main` for each of the three programs.
//!
//! ```no_run
//! fn main() -> std::process::ExitCode {
//!     mr::submit(mr::Registry::new("my-jobs")) // .with(MyJob)
//! }
//! ```

mod coordinator;
mod process;
mod settings;
mod worker;

pub use coordinator::coordinator;
pub use mr_cli::submit_main as submit;
pub use mr_core as core;
pub use mr_mapreduce::*;
pub use process::refuse;
pub use worker::worker;
