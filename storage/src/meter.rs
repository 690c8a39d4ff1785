//! Counting what is asked through some handles to a store alone: of an attempt, or of a job.
//!
//! What a process asks in all is counted by place ([`pace::counts`](crate::pace::counts)); that is no bill of any one job,
//! since several share a process. A metered handle is the same store, with the same connections, places and pace, and
//! notes each of its requests here as well. Clones of a meter are one meter.

use crate::DynStore;
use mr_core::{StoreCounts, StoreOutcome, StoreRequest};
use std::sync::{Arc, Mutex, MutexGuard};

#[derive(Clone, Debug, Default)]
pub struct Meter(Arc<Mutex<StoreCounts>>);

impl Meter {
    /// All that was counted so far.
    pub fn counts(&self) -> StoreCounts {
        self.lock().clone()
    }

    /// Adds what was counted elsewhere.
    pub fn merge(&self, more: &StoreCounts) {
        self.lock().merge(more);
    }

    pub(crate) fn note(&self, request: StoreRequest, outcome: StoreOutcome) {
        self.lock().note(request, outcome, 1);
    }

    pub(crate) fn moved(&self, read: u64, written: u64) {
        self.lock().moved(read, written);
    }

    fn lock(&self) -> MutexGuard<'_, StoreCounts> {
        self.0.lock().expect("nothing panics while it is held")
    }
}

/// The same store, whose requests through this handle and its clones that meter counts, in place of any other. A store
/// that makes no requests is just that.
pub fn metered(store: &DynStore, meter: &Meter) -> DynStore {
    store.metered(meter).unwrap_or_else(|| store.clone())
}
