//! What a typed map emits and a typed reduce is given, on the way to bytes and from them.

use crate::buffer::{Mark, PairBuffer};
use crate::typed::MapReduce;
use crate::typed::codec::{self, Key, Value};
use crate::typed::input::Input;
use crate::typed::table::Table;
use bytes::Bytes;
use mr_core::Failure;

/// What a map task has emitted so far.
pub(super) struct Emitted<J: MapReduce> {
    /// With a combiner: one value for each key.
    combined: Option<Table<J::Value>>,
    /// The same of the record at hand, where that may still be set aside.
    staged: Option<Table<J::Value>>,
    /// Without a combiner.
    pairs: PairBuffer,
    /// Where the record at hand begins in them.
    accepted: Mark,
    /// The key and the value at hand.
    key: Vec<u8>,
    value: Vec<u8>,
}

impl<J: MapReduce> Emitted<J> {
    pub fn new() -> Self {
        let pairs = PairBuffer::default();
        Self {
            combined: J::COMBINES.then(Table::new),
            staged: None,
            accepted: pairs.mark(),
            pairs,
            key: Vec::new(),
            value: Vec::new(),
        }
    }

    /// Takes what the record at hand emitted for good.
    pub fn accept(&mut self, job: &J) {
        self.accepted = self.pairs.mark();
        if let (Some(staged), Some(combined)) = (self.staged.take(), &mut self.combined) {
            let combine = |sum: &mut _, more| job.combine(sum, more);
            staged.drain(combine, |key, value| combined.add(key, value, combine));
        }
    }

    /// Drops what the record at hand emitted.
    pub fn refuse(&mut self) {
        self.pairs.truncate(self.accepted);
        self.staged = None;
    }

    /// All of it.
    pub fn pairs(mut self, job: &J) -> PairBuffer {
        if let Some(combined) = self.combined.take() {
            combined.drain(|sum, more| job.combine(sum, more), |key, value| self.push(key, &value));
        }
        self.pairs
    }

    fn push(&mut self, key: &[u8], value: &J::Value) {
        self.value.clear();
        value.encode(&mut self.value);
        self.pairs.push(key, &self.value);
    }

    /// Of the record at hand.
    fn emit(&mut self, job: &J, key: &[u8], value: J::Value) {
        let to = match J::Input::SETS_ASIDE && J::COMBINES {
            true => Some(self.staged.get_or_insert_with(Table::new)),
            false => self.combined.as_mut(),
        };
        match to {
            Some(table) => table.add(key, value, |sum, more| job.combine(sum, more)),
            None => self.push(key, &value),
        }
    }
}

/// Where `map` puts its pairs.
pub struct Emit<'a, J: MapReduce> {
    pub(super) job: &'a J,
    pub(super) emitted: &'a mut Emitted<J>,
}

impl<J: MapReduce> Emit<'_, J> {
    /// Sends a value to the reduce of `key`.
    pub fn emit(&mut self, key: <J::Key as Key>::Borrowed<'_>, value: J::Value) {
        if let Some(bytes) = J::Key::bytes(&key) {
            return self.emitted.emit(self.job, bytes, value);
        }
        let mut bytes = std::mem::take(&mut self.emitted.key);
        bytes.clear();
        J::Key::encode(key, &mut bytes);
        self.emitted.emit(self.job, &bytes, value);
        self.emitted.key = bytes;
    }
}

/// The values of one key, each made of its bytes when it is asked for.
pub struct Values<'a, V> {
    pub(super) bytes: std::vec::IntoIter<Bytes>,
    /// Bytes that were no value end it; whoever called the reduce looks here.
    pub(super) failed: &'a mut Option<Failure>,
    pub(super) kind: std::marker::PhantomData<V>,
}

impl<V: Value> Iterator for Values<'_, V> {
    type Item = V;

    fn next(&mut self) -> Option<V> {
        if self.failed.is_some() {
            return None;
        }
        match codec::value(&self.bytes.next()?) {
            Ok(value) => Some(value),
            Err(failure) => {
                *self.failed = Some(failure);
                None
            }
        }
    }
}
