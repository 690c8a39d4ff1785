//! The jobs that a worker's program has, kept once for all workers of that program.

use mr_core::JobCode;
use std::borrow::Borrow;
use std::cmp::Ordering;
use std::collections::BTreeSet;
use std::sync::Arc;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Registry(Arc<BTreeSet<JobCode>>);

impl Registry {
    pub fn new(jobs: &BTreeSet<JobCode>) -> Self {
        Self(Arc::new(jobs.clone()))
    }

    pub fn jobs(&self) -> &BTreeSet<JobCode> {
        &self.0
    }
}

/// As the jobs are: those of one program are mostly the very same.
impl Ord for Registry {
    fn cmp(&self, other: &Self) -> Ordering {
        if Arc::ptr_eq(&self.0, &other.0) { Ordering::Equal } else { self.0.cmp(&other.0) }
    }
}

impl PartialOrd for Registry {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Borrow<BTreeSet<JobCode>> for Registry {
    fn borrow(&self) -> &BTreeSet<JobCode> {
        &self.0
    }
}
