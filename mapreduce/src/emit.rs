//! Where a job's code puts what it makes.

use crate::attempt::Control;
use crate::counting::Counting;
use crate::pairs::Pairs;
use arrow::array::RecordBatch;
use bytes::Bytes;
use mr_core::AttemptId;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio_util::sync::CancellationToken;

/// Which attempt this is, and what it leaves for whoever looks into it.
#[derive(Debug)]
pub struct Attempt {
    id: AttemptId,
    cancel: CancellationToken,
    give_up: Arc<AtomicBool>,
    pub(crate) log: Vec<u8>,
    pub(crate) counting: Counting,
}

impl Attempt {
    pub(crate) fn new(id: AttemptId, control: &Control) -> Self {
        let (cancel, give_up) = (control.cancel.clone(), control.give_up.clone());
        Self { id, cancel, give_up, log: Vec::new(), counting: Counting::default() }
    }

    /// Nothing that becomes part of a result may follow from it.
    pub fn id(&self) -> &AttemptId {
        &self.id
    }

    /// Whether nobody waits for it any more. Code that waits for others, such as processes, looks here now and then.
    pub fn is_stopped(&self) -> bool {
        self.cancel.is_cancelled() || self.give_up.load(Ordering::Relaxed)
    }

    /// The same question, for whoever can't have this beside it.
    pub fn watch(&self) -> Box<dyn Fn() -> bool + Send> {
        let (cancel, give_up) = (self.cancel.clone(), self.give_up.clone());
        Box::new(move || cancel.is_cancelled() || give_up.load(Ordering::Relaxed))
    }

    /// Adds to a counter of the job's: what attempts have counted that became the result is added up, told while the job runs,
    /// and written into its report. What is counted for a record that is then set aside is dropped.
    pub fn count(&mut self, name: &str, by: u64) {
        self.counting.count(name, by);
    }

    /// Adds to the text that is kept with the attempt's files.
    pub fn log(&mut self, text: &[u8]) {
        self.log.extend_from_slice(text);
    }
}

/// What a map task has so far, over objects or over rows.
pub struct MapOutput {
    pub attempt: Attempt,
    pub(crate) pairs: Pairs,
    pub(crate) rows: Vec<RecordBatch>,
}

impl MapOutput {
    pub(crate) fn new(attempt: Attempt, pairs: Pairs) -> Self {
        Self { attempt, pairs, rows: Vec::new() }
    }

    /// Sends a value to the reduce of `key`. What a record emitted that is then set aside is dropped.
    pub fn emit(&mut self, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) {
        self.pairs.push(key.as_ref(), value.as_ref());
    }

    /// Rows of the result, or rows for a later stage, as the plan says.
    pub fn keep(&mut self, rows: RecordBatch) {
        self.rows.push(rows);
    }
}

/// What a reduce task has so far.
pub struct ReduceOutput {
    pub attempt: Attempt,
    pub(crate) rows: Vec<RecordBatch>,
    pub(crate) side: Vec<(String, Bytes)>,
    pub(crate) broadcast: Option<Bytes>,
}

impl ReduceOutput {
    pub(crate) fn new(attempt: Attempt) -> Self {
        Self { attempt, rows: Vec::new(), side: Vec::new(), broadcast: None }
    }

    pub fn keep(&mut self, rows: RecordBatch) {
        self.rows.push(rows);
    }

    /// A file beside the result, such as `pca/mean.npy`. Relative, without `..`.
    pub fn side_file(&mut self, path: impl Into<String>, bytes: impl Into<Bytes>) {
        self.side.push((path.into(), bytes.into()));
    }

    /// A blob for later stages; the last one counts.
    pub fn broadcast(&mut self, bytes: impl Into<Bytes>) {
        self.broadcast = Some(bytes.into());
    }
}
