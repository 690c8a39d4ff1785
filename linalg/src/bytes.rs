//! How moments and a PCA are written down: a mark, a version, a few integers, then 64-bit floats, all little-endian.
//!
//! What is read back may come from a damaged or foreign object, so every step can say no; nothing here panics or
//! allocates by a length that the bytes themselves do not have.

use thiserror::Error;

/// Why bytes are not what they should be.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum Malformed {
    #[error("{what} should begin with {expected:?}")]
    Mark { what: &'static str, expected: &'static str },
    #[error("{what} of version {found}, and this program knows version {known}")]
    Version { what: &'static str, found: u32, known: u32 },
    #[error("{what} of {found} bytes, and there should be {expected}")]
    Length { what: &'static str, expected: u64, found: u64 },
    #[error("{what} with {problem}")]
    Value { what: &'static str, problem: &'static str },
}

/// The first eight bytes of a kind of object: four letters and a version.
pub(crate) struct Kind {
    pub what: &'static str,
    pub mark: &'static str,
    pub version: u32,
}

pub(crate) struct Writer(Vec<u8>);

impl Writer {
    pub(crate) fn new(kind: &Kind, capacity: usize) -> Self {
        let mut bytes = Vec::with_capacity(capacity);
        bytes.extend_from_slice(kind.mark.as_bytes());
        bytes.extend_from_slice(&kind.version.to_le_bytes());
        Self(bytes)
    }

    pub(crate) fn u64(&mut self, value: u64) {
        self.0.extend_from_slice(&value.to_le_bytes());
    }

    pub(crate) fn f64s(&mut self, values: &[f64]) {
        self.0.extend(values.iter().flat_map(|value| value.to_le_bytes()));
    }

    pub(crate) fn f32s(&mut self, values: &[f32]) {
        self.0.extend(values.iter().flat_map(|value| value.to_le_bytes()));
    }

    pub(crate) fn finish(self) -> Vec<u8> {
        self.0
    }
}

pub(crate) struct Reader<'a> {
    what: &'static str,
    whole: u64,
    rest: &'a [u8],
}

impl Kind {
    pub(crate) fn marks(&self, bytes: &[u8]) -> bool {
        bytes.starts_with(self.mark.as_bytes())
    }
}

impl<'a> Reader<'a> {
    pub(crate) fn new(kind: &Kind, bytes: &'a [u8]) -> Result<Self, Malformed> {
        let what = kind.what;
        let Some(rest) = bytes.strip_prefix(kind.mark.as_bytes()) else {
            return Err(Malformed::Mark { what, expected: kind.mark });
        };
        let mut reader = Self { what, whole: bytes.len() as u64, rest };
        let version = reader.u32()?;
        if version != kind.version {
            return Err(Malformed::Version { what, found: version, known: kind.version });
        }
        Ok(reader)
    }

    pub(crate) fn u32(&mut self) -> Result<u32, Malformed> {
        self.array().map(u32::from_le_bytes)
    }

    pub(crate) fn u64(&mut self) -> Result<u64, Malformed> {
        self.array().map(u64::from_le_bytes)
    }

    /// All that is left as 32-bit floats, which may be anything.
    pub(crate) fn rest_f32s(&mut self) -> Result<Vec<f32>, Malformed> {
        let (chunks, odd) = self.rest.as_chunks();
        if !odd.is_empty() {
            return Err(self.wrong("half a number at its end"));
        }
        self.rest = &[];
        Ok(chunks.iter().map(|chunk| f32::from_le_bytes(*chunk)).collect())
    }

    /// Refuses the bytes unless exactly `count` floats are left: to be asked before any of them is read.
    pub(crate) fn expect_f64s(&self, count: u64) -> Result<(), Malformed> {
        let found = self.rest.len() as u64;
        if count.checked_mul(8) == Some(found) {
            return Ok(());
        }
        Err(Malformed::Length {
            what: self.what,
            expected: count.saturating_mul(8).saturating_add(self.whole - found),
            found: self.whole,
        })
    }

    /// The next `count` floats, all of them finite.
    pub(crate) fn f64s(&mut self, count: usize) -> Result<Vec<f64>, Malformed> {
        let bytes = self.take(count.saturating_mul(8))?;
        let values: Vec<f64> =
            bytes.chunks_exact(8).map(|chunk| f64::from_le_bytes(chunk.try_into().expect("chunks of eight"))).collect();
        if values.iter().all(|value| value.is_finite()) {
            Ok(values)
        } else {
            Err(self.wrong("a number that is not finite"))
        }
    }

    pub(crate) fn wrong(&self, problem: &'static str) -> Malformed {
        Malformed::Value { what: self.what, problem }
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        self.take(N).map(|bytes| bytes.try_into().expect("took as many"))
    }

    fn take(&mut self, count: usize) -> Result<&'a [u8], Malformed> {
        let Some((taken, rest)) = self.rest.split_at_checked(count) else {
            let read = self.whole - self.rest.len() as u64;
            return Err(Malformed::Length {
                what: self.what,
                expected: read.saturating_add(count as u64),
                found: self.whole,
            });
        };
        self.rest = rest;
        Ok(taken)
    }
}
