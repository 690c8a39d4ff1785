//! What a typed map emits and a typed reduce is given, on the way to bytes and from them.

use crate::buffer::PairBuffer;
use crate::typed::MapReduce;
use crate::typed::codec::{self, Key, Value};
use crate::typed::input::Input;
use crate::typed::table::Table;
use bytes::Bytes;
use mr_core::Failure;

/// What a map task has emitted so far. With a combiner there is one value for each key.
pub(super) struct Emitted<J: MapReduce> {
    /// With a combiner.
    combined: Option<Table<J::Value>>,
    /// Without one.
    pairs: PairBuffer,
    /// The value at hand.
    value: Vec<u8>,
    /// Of the record at hand, as long as it may still be set aside.
    staged: Vec<(Box<[u8]>, J::Value)>,
    /// The key at hand.
    key: Vec<u8>,
}

impl<J: MapReduce> Emitted<J> {
    pub fn new() -> Self {
        Self { combined: J::combine().map(Table::new), ..Self::uncombined() }
    }

    /// As if the job had no combiner.
    pub fn uncombined() -> Self {
        let (pairs, staged) = (PairBuffer::default(), Vec::new());
        Self { combined: None, pairs, value: Vec::new(), staged, key: Vec::new() }
    }

    /// Takes what the record at hand emitted for good.
    pub fn accept(&mut self) {
        let mut staged = std::mem::take(&mut self.staged);
        for (key, value) in staged.drain(..) {
            self.put(&key, value);
        }
        self.staged = staged;
    }

    /// Drops what the record at hand emitted.
    pub fn refuse(&mut self) {
        self.staged.clear();
    }

    /// All of it.
    pub fn pairs(mut self) -> PairBuffer {
        if let Some(combined) = self.combined.take() {
            combined.drain(|key, value| self.push(key, &value));
        }
        self.pairs
    }

    fn put(&mut self, key: &[u8], value: J::Value) {
        match &mut self.combined {
            Some(combined) => combined.add(key, value),
            None => self.push(key, &value),
        }
    }

    fn push(&mut self, key: &[u8], value: &J::Value) {
        self.value.clear();
        value.encode(&mut self.value);
        self.pairs.push(key, &self.value);
    }

    /// Of the record at hand.
    fn emit(&mut self, key: &[u8], value: J::Value) {
        if J::Input::SETS_ASIDE {
            self.staged.push((key.into(), value));
        } else {
            self.put(key, value);
        }
    }
}

/// Where `map` puts its pairs.
pub struct Emit<'a, J: MapReduce> {
    pub(super) emitted: &'a mut Emitted<J>,
}

impl<J: MapReduce> Emit<'_, J> {
    /// Sends a value to the reduce of `key`.
    pub fn emit(&mut self, key: &<J::Key as Key>::Borrowed, value: J::Value) {
        if let Some(bytes) = J::Key::bytes(key) {
            return self.emitted.emit(bytes, value);
        }
        let mut bytes = std::mem::take(&mut self.emitted.key);
        bytes.clear();
        J::Key::encode(key, &mut bytes);
        self.emitted.emit(&bytes, value);
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
