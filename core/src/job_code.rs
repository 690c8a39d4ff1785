//! Which code a job's tasks are run with: its name and its version.

use std::fmt;

/// A job as a program has it. Two of one name and version do the same.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct JobCode {
    pub name: String,
    pub version: u32,
}

impl JobCode {
    pub fn new(name: impl Into<String>, version: u32) -> Self {
        Self { name: name.into(), version }
    }
}

impl fmt::Display for JobCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "job `{}` version {}", self.name, self.version)
    }
}
