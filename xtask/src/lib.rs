//! What `cargo xtask` does, one module a command. It builds in seconds, because it is the first thing that a new user
//! compiles: nothing of the framework, no async, no argument library. `photos` is also of use to tests and load runs.

pub mod args;
pub mod bench;
pub mod check;
pub mod demo;
pub mod deny;
pub mod dist;
pub mod fuzz;
pub mod npm;
pub mod photos;
pub mod run_tests;
pub mod setup;
pub mod shell;
pub mod sim;
pub mod texts;
pub mod tidy;
pub mod venv;
