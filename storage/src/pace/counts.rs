//! What was asked of a place since the process began, and what came of it.

use crate::StoreError;
pub use mr_core::{StoreCounts as Counts, StoreOutcome as Outcome, StoreRequest as Request};

pub(super) fn outcome_of<T>(outcome: &Result<T, StoreError>) -> Outcome {
    match outcome {
        Ok(_) => Outcome::Accepted,
        Err(StoreError::Throttled { .. }) => Outcome::Throttled,
        Err(StoreError::Transient { .. }) => Outcome::Failed,
        Err(
            StoreError::NotFound { .. }
            | StoreError::Exists { .. }
            | StoreError::Changed { .. }
            | StoreError::Conflict { .. }
            | StoreError::Denied { .. }
            | StoreError::Fatal { .. },
        ) => Outcome::Refused,
    }
}
