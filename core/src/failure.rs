//! Why an attempt or a job failed, typed by what is to be done about it.

use crate::Quarantined;
use serde::{Deserialize, Serialize};
use std::fmt;

/// What whoever decides does differently. Set where the error is born and kept across the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FailureClass {
    /// The job's own code failed: another attempt may help, and `attempts_max` bounds how many.
    Application,
    /// No attempt can succeed (a wrong hash, fewer images than components): the job fails at once.
    Permanent,
    /// What was asked for can't be done to begin with (no input, an output that may not be touched): nothing was written.
    Refused,
    /// The store or the network failed for now.
    Transient,
    /// The worker went away, or gave its lease back. Never charged to the application.
    WorkerLost,
    /// The worker had not enough memory for it beside everything else: it may do later, or elsewhere.
    OutOfMemory,
    /// The user took the job back.
    Cancelled,
}

impl FailureClass {
    pub const ALL: [Self; 7] = [
        Self::Application,
        Self::Permanent,
        Self::Refused,
        Self::Transient,
        Self::WorkerLost,
        Self::OutOfMemory,
        Self::Cancelled,
    ];

    /// One word for each, for labels.
    pub fn name(self) -> &'static str {
        match self {
            Self::Application => "application",
            Self::Permanent => "permanent",
            Self::Refused => "refused",
            Self::Transient => "transient",
            Self::WorkerLost => "worker-lost",
            Self::OutOfMemory => "out-of-memory",
            Self::Cancelled => "cancelled",
        }
    }

    /// Whether another attempt of the same task may succeed.
    pub fn retryable(self) -> bool {
        match self {
            Self::Application | Self::Transient | Self::WorkerLost | Self::OutOfMemory => true,
            Self::Permanent | Self::Refused | Self::Cancelled => false,
        }
    }
}

/// A failure with its story: one line for a person, the class for the machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    pub class: FailureClass,
    pub message: String,
    /// The record that it happened on, as a verdict that holds if another worker comes to the same.
    pub blames: Option<Box<Quarantined>>,
    /// Files of other tasks that it could not read, since they are gone or damaged: their keys in the state store.
    pub lost: Vec<String>,
}

impl Failure {
    pub fn new(class: FailureClass, message: impl Into<String>) -> Self {
        Self { class, message: message.into(), blames: None, lost: Vec::new() }
    }

    pub fn permanent(message: impl Into<String>) -> Self {
        Self::new(FailureClass::Permanent, message)
    }

    pub fn application(message: impl Into<String>) -> Self {
        Self::new(FailureClass::Application, message)
    }

    pub fn transient(message: impl Into<String>) -> Self {
        Self::new(FailureClass::Transient, message)
    }

    pub fn refused(message: impl Into<String>) -> Self {
        Self::new(FailureClass::Refused, message)
    }

    /// Another task's file is gone or damaged: another attempt helps once that task has made it again.
    pub fn lost(key: &str, message: impl Into<String>) -> Self {
        Self { lost: vec![key.to_owned()], ..Self::application(message) }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Failure {}
