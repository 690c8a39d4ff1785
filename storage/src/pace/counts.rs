//! What was asked of a place since the process began, and what came of it: for metrics, and for bills.

use crate::StoreError;
use std::collections::BTreeMap;

/// Operations of S3 that we ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Request {
    AbortUpload,
    CompleteUpload,
    Copy,
    CreateUpload,
    Delete,
    Get,
    Head,
    List,
    Put,
    UploadPart,
}

impl Request {
    /// As S3's reference names it.
    pub fn name(self) -> &'static str {
        match self {
            Self::AbortUpload => "AbortMultipartUpload",
            Self::CompleteUpload => "CompleteMultipartUpload",
            Self::Copy => "CopyObject",
            Self::CreateUpload => "CreateMultipartUpload",
            Self::Delete => "DeleteObject",
            Self::Get => "GetObject",
            Self::Head => "HeadObject",
            Self::List => "ListObjectsV2",
            Self::Put => "PutObject",
            Self::UploadPart => "UploadPart",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Outcome {
    Accepted,
    /// Not there, there already, another version, forbidden, or wrong.
    Refused,
    Throttled,
    /// No answer, a broken one, or an error of the server's.
    Failed,
}

impl Outcome {
    pub fn name(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Refused => "refused",
            Self::Throttled => "throttled",
            Self::Failed => "failed",
        }
    }

    pub(super) fn of<T>(outcome: &Result<T, StoreError>) -> Self {
        match outcome {
            Ok(_) => Self::Accepted,
            Err(StoreError::Throttled { .. }) => Self::Throttled,
            Err(StoreError::Transient { .. }) => Self::Failed,
            Err(
                StoreError::NotFound { .. }
                | StoreError::Exists { .. }
                | StoreError::Changed { .. }
                | StoreError::Conflict { .. }
                | StoreError::Denied { .. }
                | StoreError::Fatal { .. },
            ) => Self::Refused,
        }
    }
}

/// Of one place. Each try counts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    pub requests: BTreeMap<(Request, Outcome), u64>,
    /// Of bodies that came or went whole.
    pub read_bytes: u64,
    pub written_bytes: u64,
}
