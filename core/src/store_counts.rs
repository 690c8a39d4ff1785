//! What was asked of stores and what came of it, for metrics, and for bills.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Operations of S3 that we ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum StoreRequest {
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

impl StoreRequest {
    pub const ALL: [Self; 10] = [
        Self::AbortUpload,
        Self::CompleteUpload,
        Self::Copy,
        Self::CreateUpload,
        Self::Delete,
        Self::Get,
        Self::Head,
        Self::List,
        Self::Put,
        Self::UploadPart,
    ];

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

    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|request| request.name() == name)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum StoreOutcome {
    Accepted,
    /// Not there, there already, another version, forbidden, or wrong.
    Refused,
    Throttled,
    /// No answer, a broken one, or an error of the server's.
    Failed,
}

impl StoreOutcome {
    pub const ALL: [Self; 4] = [Self::Accepted, Self::Refused, Self::Throttled, Self::Failed];

    pub fn name(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Refused => "refused",
            Self::Throttled => "throttled",
            Self::Failed => "failed",
        }
    }

    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|outcome| outcome.name() == name)
    }
}

/// Requests, of which each try counts, and the bytes of bodies that came or went whole. Sums stay at the largest number
/// that there is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Written", into = "Written")]
pub struct StoreCounts {
    pub requests: BTreeMap<(StoreRequest, StoreOutcome), u64>,
    pub read_bytes: u64,
    pub written_bytes: u64,
}

impl StoreCounts {
    pub fn note(&mut self, request: StoreRequest, outcome: StoreOutcome, count: u64) {
        let sum = self.requests.entry((request, outcome)).or_default();
        *sum = sum.saturating_add(count);
    }

    pub fn moved(&mut self, read: u64, written: u64) {
        self.read_bytes = self.read_bytes.saturating_add(read);
        self.written_bytes = self.written_bytes.saturating_add(written);
    }

    pub fn merge(&mut self, more: &Self) {
        more.requests.iter().for_each(|(&(request, outcome), &count)| self.note(request, outcome, count));
        self.moved(more.read_bytes, more.written_bytes);
    }

    /// Of that kind, whatever came of them.
    pub fn of(&self, request: StoreRequest) -> u64 {
        let counts = self.requests.iter().filter(|((of, _), _)| *of == request).map(|(_, count)| *count);
        counts.fold(0, u64::saturating_add)
    }
}

/// As it stands in a report.
#[derive(Deserialize, Serialize)]
struct Written {
    /// By operation, and by what came of it.
    requests: BTreeMap<String, BTreeMap<String, u64>>,
    read_bytes: u64,
    written_bytes: u64,
}

impl From<StoreCounts> for Written {
    fn from(counts: StoreCounts) -> Self {
        let mut requests = BTreeMap::<String, BTreeMap<String, u64>>::new();
        for ((request, outcome), count) in counts.requests {
            requests.entry(request.name().to_owned()).or_default().insert(outcome.name().to_owned(), count);
        }
        Self { requests, read_bytes: counts.read_bytes, written_bytes: counts.written_bytes }
    }
}

impl TryFrom<Written> for StoreCounts {
    type Error = String;

    fn try_from(written: Written) -> Result<Self, String> {
        let mut counts =
            Self { read_bytes: written.read_bytes, written_bytes: written.written_bytes, ..Self::default() };
        for (name, outcomes) in &written.requests {
            let request = StoreRequest::named(name).ok_or_else(|| format!("there is no request `{name}`"))?;
            for (name, count) in outcomes {
                let outcome = StoreOutcome::named(name).ok_or_else(|| format!("no request is `{name}`"))?;
                counts.note(request, outcome, *count);
            }
        }
        Ok(counts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_added_up_is_written_by_name_and_read_again() {
        let mut counts = StoreCounts::default();
        counts.note(StoreRequest::Get, StoreOutcome::Accepted, 2);
        counts.note(StoreRequest::Get, StoreOutcome::Throttled, 1);
        counts.moved(10, 0);
        let mut all = counts.clone();
        all.merge(&counts);
        all.note(StoreRequest::Put, StoreOutcome::Accepted, u64::MAX);
        all.note(StoreRequest::Put, StoreOutcome::Accepted, 1);
        assert_eq!((all.of(StoreRequest::Get), all.of(StoreRequest::Put), all.read_bytes), (6, u64::MAX, 20));
        let text = serde_json::to_string(&counts).unwrap();
        let expected = r#"{"requests":{"GetObject":{"accepted":2,"throttled":1}},"read_bytes":10,"written_bytes":0}"#;
        assert_eq!(text, expected);
        assert_eq!(serde_json::from_str::<StoreCounts>(&text).unwrap(), counts);
        let strange = text.replace("throttled", "lost");
        assert!(
            serde_json::from_str::<StoreCounts>(&strange).unwrap_err().to_string().contains("no request is `lost`")
        );
    }

    #[test]
    fn names_are_of_one_thing_each() {
        assert!(StoreRequest::ALL.into_iter().all(|request| StoreRequest::named(request.name()) == Some(request)));
        assert!(StoreOutcome::ALL.into_iter().all(|outcome| StoreOutcome::named(outcome.name()) == Some(outcome)));
        assert_eq!((StoreRequest::named("get"), StoreOutcome::named("")), (None, None));
    }
}
