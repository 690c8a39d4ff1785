//! Where a job's code puts what it makes.

use crate::pairs::Pairs;
use arrow::array::RecordBatch;
use bytes::Bytes;

/// What a map task has so far.
pub struct MapOutput {
    pub(crate) pairs: Pairs,
    pub(crate) rows: Vec<RecordBatch>,
}

impl MapOutput {
    pub(crate) fn new(pairs: Pairs) -> Self {
        Self { pairs, rows: Vec::new() }
    }

    /// Sends a value to the reduce of `key`. What a record emitted that is then set aside is dropped.
    pub fn emit(&mut self, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) {
        self.pairs.push(key.as_ref(), value.as_ref());
    }

    /// Keeps rows for a later stage.
    pub fn keep(&mut self, rows: RecordBatch) {
        self.rows.push(rows);
    }
}

/// What a task over kept rows has so far.
#[derive(Default)]
pub struct RowOutput {
    pub(crate) rows: Vec<RecordBatch>,
}

impl RowOutput {
    /// Rows of the result, or rows for a later stage, as the plan says.
    pub fn keep(&mut self, rows: RecordBatch) {
        self.rows.push(rows);
    }
}

/// What a reduce task has so far.
#[derive(Default)]
pub struct ReduceOutput {
    pub(crate) rows: Vec<RecordBatch>,
    pub(crate) side: Vec<(String, Bytes)>,
    pub(crate) broadcast: Option<Bytes>,
}

impl ReduceOutput {
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
