//! What a typed map emits and a typed reduce is given, on the way to bytes and from them.

use crate::emit::MapOutput;
use crate::job::ValueSource;
use crate::typed::MapReduce;
use crate::typed::codec::{self, Key, Value};
use crate::typed::input::Input;
use crate::typed::keep::{Keeping, Keeps, keep};
use crate::typed::row::{Row, Rows};
use crate::typed::table::Table;
use mr_core::Failure;
use std::marker::PhantomData;
use std::mem::needs_drop;

/// Each table's share of the memory that pairs may take; they take half of it when they are on their way.
const TABLE_SHARE: u64 = 4;

/// What a map task has emitted and not yet sent on.
pub(super) struct Emitted<J: MapReduce> {
    /// With a combiner: one value for each key.
    combined: Option<Table<J::Value>>,
    /// The same of the record at hand, where that may still be set aside.
    staged: Option<Table<J::Value>>,
    /// The key and the value at hand.
    key: Vec<u8>,
    value: Vec<u8>,
    /// Where rows go that it keeps, if a later stage reads them.
    kept: Option<Box<dyn Keeping>>,
}

/// Whether values are combined as they are emitted. Of those with memory of their own nobody knows how much that is, so they
/// are combined when they are sorted.
const fn combines_early<J: MapReduce>() -> bool {
    J::COMBINES && !needs_drop::<J::Value>()
}

impl<J: MapReduce> Emitted<J> {
    pub fn new(kept: Option<Box<dyn Keeping>>) -> Self {
        let combined = combines_early::<J>().then(Table::new);
        Self { combined, staged: None, key: Vec::new(), value: Vec::new(), kept }
    }

    /// Takes what the record at hand emitted and kept for good.
    ///
    /// # Errors
    /// When a row can't be kept.
    pub fn accept(&mut self, job: &J, out: &mut MapOutput) -> Result<(), Failure> {
        self.accept_pairs(job, out);
        self.kept.as_mut().map_or(Ok(()), |kept| kept.accept(out))
    }

    fn accept_pairs(&mut self, job: &J, out: &mut MapOutput) {
        let Some(staged) = self.staged.take() else { return };
        let combine = |sum: &mut _, more| job.combine(sum, more);
        if let Some(combined) = &mut self.combined {
            staged.drain(combine, |key, value| _ = combined.add(key, value, combine));
        }
        self.make_room(job, out);
    }

    /// Drops what the record at hand emitted and kept.
    pub fn refuse(&mut self) {
        self.staged = None;
        self.kept.iter_mut().for_each(|kept| kept.refuse());
    }

    /// Sends on all of it.
    ///
    /// # Errors
    /// When a row can't be kept.
    pub fn finish(&mut self, job: &J, out: &mut MapOutput) -> Result<(), Failure> {
        Self::send(&mut self.value, job, &mut self.combined, out);
        self.kept.as_mut().map_or(Ok(()), |kept| kept.finish(out))
    }

    /// Sends on what is in a table, which is empty then.
    fn send(value: &mut Vec<u8>, job: &J, table: &mut Option<Table<J::Value>>, out: &mut MapOutput) {
        let Some(table) = table else { return };
        let table = std::mem::replace(table, Table::new());
        let combine = |sum: &mut _, more| job.combine(sum, more);
        table.drain(combine, |key, combined| {
            value.clear();
            combined.encode(value);
            out.emit(key, &*value);
        });
    }

    /// Sends on what takes too much memory here.
    fn make_room(&mut self, job: &J, out: &mut MapOutput) {
        let most = out.pairs.memory_max() / TABLE_SHARE;
        let full = |table: &Option<Table<_>>| table.as_ref().is_some_and(|table| table.memory() >= most);
        if full(&self.combined) {
            Self::send(&mut self.value, job, &mut self.combined, out);
        }
        if full(&self.staged) {
            // What earlier records emitted comes before it, and stays whatever becomes of this one.
            if self.combined.as_ref().is_some_and(|combined| !combined.is_empty()) {
                Self::send(&mut self.value, job, &mut self.combined, out);
                out.pairs.accept();
            }
            Self::send(&mut self.value, job, &mut self.staged, out);
        }
    }

    /// Of the record at hand.
    fn emit(&mut self, job: &J, key: &[u8], value: J::Value, out: &mut MapOutput) {
        if !combines_early::<J>() {
            self.value.clear();
            value.encode(&mut self.value);
            return out.emit(key, &self.value);
        }
        let table = match J::Input::SETS_ASIDE {
            true => self.staged.get_or_insert_with(Table::new),
            false => self.combined.as_mut().expect("it is there until it is finished"),
        };
        if table.add(key, value, |sum, more| job.combine(sum, more)) {
            self.make_room(job, out);
        }
    }
}

/// Where `map` puts its pairs.
pub struct Emit<'a, J: MapReduce> {
    pub(super) job: &'a J,
    pub(super) emitted: &'a mut Emitted<J>,
    pub(super) out: &'a mut MapOutput,
}

impl<J: MapReduce> Emit<'_, J> {
    /// Adds to a counter, as [`Attempt::count`](crate::Attempt::count) does.
    pub fn count(&mut self, name: &str, by: u64) {
        self.out.attempt.count(name, by);
    }

    /// Sends a value to the reduce of `key`.
    pub fn emit(&mut self, key: <J::Key as Key>::Borrowed<'_>, value: J::Value) {
        if let Some(bytes) = J::Key::bytes(&key) {
            return self.emitted.emit(self.job, bytes, value, self.out);
        }
        let mut bytes = std::mem::take(&mut self.emitted.key);
        bytes.clear();
        J::Key::encode(key, &mut bytes);
        self.emitted.emit(self.job, &bytes, value, self.out);
        self.emitted.key = bytes;
    }
}

impl<J: Keeps> Emit<'_, J> {
    /// Keeps a row for a later stage, which reads it as [`Kept`](crate::Kept). Where none does it goes nowhere.
    ///
    /// # Errors
    /// When a number does not fit into its column.
    pub fn keep(&mut self, row: J::Kept) -> Result<(), Failure> {
        match &mut self.emitted.kept {
            Some(kept) => keep::<J>(kept.as_mut(), row),
            None => row.check(),
        }
    }
}

/// The values of one key, each made of its bytes when it is asked for.
pub struct Values<'a, V> {
    pub(super) source: &'a mut (dyn ValueSource + 'a),
    /// Bytes that can't be read or are no value end it; whoever called the reduce looks here.
    pub(super) failed: &'a mut Option<Failure>,
    pub(super) kind: PhantomData<V>,
}

impl<V: Value> Iterator for Values<'_, V> {
    type Item = V;

    fn next(&mut self) -> Option<V> {
        if self.failed.is_some() {
            return None;
        }
        let value = self.source.next().and_then(|bytes| bytes.map(codec::value).transpose());
        value.unwrap_or_else(|failure| {
            *self.failed = Some(failure);
            None
        })
    }
}

/// What a job combines of some values.
///
/// # Errors
/// When their bytes are none of its values.
pub(super) fn combined<J: MapReduce>(job: &J, values: &mut dyn ValueSource, into: &mut Vec<u8>) -> Result<(), Failure> {
    let Some(first) = values.next()? else { return Ok(()) };
    let mut sum: J::Value = codec::value(first)?;
    while let Some(value) = values.next()? {
        job.combine(&mut sum, codec::value(value)?);
    }
    sum.encode(into);
    Ok(())
}

/// The rows that a job makes of one key.
///
/// # Errors
/// What it fails with, or what was wrong with the bytes that it was given.
pub(super) fn reduced<J: MapReduce>(
    job: &J,
    key: &[u8],
    source: &mut dyn ValueSource,
    rows: &mut Rows<J::Row>,
) -> Result<(), Failure> {
    let mut failed = None;
    job.reduce(codec::key(key)?, Values { source, failed: &mut failed, kind: PhantomData }, rows)?;
    failed.map_or(Ok(()), Err)
}
