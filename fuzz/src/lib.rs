//! What comes from outside, as hostile as a fuzzer makes it: one plain function for each door that bytes come in by.
//!
//! Each function takes any bytes and panics when a promise is broken: a panic behind the door, more memory than is allowed,
//! or something accepted that does not survive being written and read again. `fuzz_targets` holds them as programs of
//! libFuzzer, which `cargo xtask fuzz` runs; a test calls them with the seeds and with all that was found.

mod delta_log;
mod job_file;
mod journal;
mod key_list;
mod memory;
mod photo;
mod pieces;
mod run_file;
pub mod seeds;
mod store;
mod wire;

pub use delta_log::delta_log;
pub use job_file::job_file;
pub use journal::journal;
pub use key_list::key_list;
pub use photo::photo;
pub use run_file::run_file;
pub use wire::wire;

pub type Target = fn(&[u8]);

/// All of them, by name.
pub const TARGETS: [(&str, Target); 7] = [
    ("delta_log", delta_log),
    ("job_file", job_file),
    ("journal", journal),
    ("key_list", key_list),
    ("photo", photo),
    ("run_file", run_file),
    ("wire", wire),
];
