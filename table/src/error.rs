//! What can go wrong with an output, sorted by what the caller does next.

use mr_core::{Failure, FailureClass};
use mr_storage::StoreError;
use std::fmt;

/// Why an output may not be touched: a sentence that also says what to do about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal(pub String);

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Refusal {}

#[derive(Debug, thiserror::Error)]
pub enum TableError {
    /// Nothing was touched, and nothing will be until somebody decides.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// This job can't commit any more. What it had published is gone, or is to be abandoned once nobody else can be at the same
    /// commit: a coordinator that was replaced may be told this while its successor has yet to win.
    #[error(
        "another job committed to this output meanwhile ({by}): to replace its rows, run this one again with `--set mode=overwrite`"
    )]
    Conflict { by: String },
    /// The job's results don't fit a table. Another attempt would bring the same ones.
    #[error("{0}")]
    Invalid(String),
    /// Files that were to become part of the table are gone or damaged where they were staged. Nothing was written to the log;
    /// once they have been made again, the same job may commit. `why` is that of the first.
    #[error("{} is gone or damaged where it was staged: {why}", few(keys))]
    Lost { keys: Vec<String>, why: String },
    /// The log entry may be there or come to be: commit again, and abandon nothing.
    #[error("whether version {version} was committed is not known")]
    Unresolved { version: u64, source: StoreError },
    /// The store failed before the entry was written. Committing again is safe, and so is abandoning.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl TableError {
    /// The same for those who only tell users and decide whether to try again.
    pub fn failure(&self) -> Failure {
        let class = match self {
            TableError::Refused(_) => FailureClass::Refused,
            TableError::Conflict { .. } | TableError::Invalid(_) => FailureClass::Permanent,
            TableError::Unresolved { .. } => FailureClass::Transient,
            TableError::Store(error) if error.retryable() => FailureClass::Transient,
            TableError::Store(_) => FailureClass::Permanent,
            TableError::Lost { .. } => FailureClass::Application,
        };
        let mut message = self.to_string();
        let mut cause = std::error::Error::source(self);
        while let Some(error) = cause {
            message = format!("{message}: {error}");
            cause = error.source();
        }
        let lost = match self {
            TableError::Lost { keys, .. } => keys.clone(),
            TableError::Refused(_)
            | TableError::Conflict { .. }
            | TableError::Invalid(_)
            | TableError::Unresolved { .. }
            | TableError::Store(_) => Vec::new(),
        };
        Failure { lost, ..Failure::new(class, message) }
    }
}

/// The first of them: there may be as many as there are parts.
fn few(keys: &[String]) -> String {
    const SHOWN: usize = 3;
    let first = keys[..keys.len().min(SHOWN)].join(", ");
    if keys.len() > SHOWN { format!("{first} and {} more", keys.len() - SHOWN) } else { first }
}
