//! What a job's `map` is given: lines of text, whole objects, or what other modules say.

use crate::fetch::LINE_MAX;
use crate::job::{ObjectRecord, RecordError};
use crate::typed::Sealed;
use crate::typed::keep::Keeper;
use arrow::array::RecordBatch;
use memchr::memchr;
use mr_core::{Cut, Failure, FailureClass, Packing};
use std::any::TypeId;
use std::borrow::Cow;
use std::io::{self, Read};

/// A kind of record: [`Lines`], [`Objects`] or [`ParquetRows`](crate::ParquetRows) of the input, or rows of an earlier stage,
/// [`Reduced`](crate::Reduced), [`Mapped`](crate::Mapped) or [`Kept`](crate::Kept).
pub trait Input: Sealed + 'static {
    type Record<'a>;
    /// What a record may be refused with: an object can be set aside, while a line is a part of one.
    type Error: From<Failure> + Into<RecordError>;
    /// Whether what a record emitted is dropped when it is refused.
    #[doc(hidden)]
    const SETS_ASIDE: bool;
    #[doc(hidden)]
    const READS: Reads;

    /// Gives the records of an object or of some rows, one after another.
    ///
    /// # Errors
    /// A verdict on the object, before any record of it was given, or the first error of `map`.
    #[doc(hidden)]
    fn each(chunk: &Chunk<'_>, map: impl FnMut(Self::Record<'_>) -> Result<(), Self::Error>)
    -> Result<(), RecordError>;
}

/// What holds records.
#[doc(hidden)]
pub enum Chunk<'a> {
    Object(&'a ObjectRecord),
    Rows(&'a RecordBatch),
}

impl<'a> Chunk<'a> {
    /// # Errors
    /// When it is none: the plan does not fit the code.
    pub(super) fn object(&self) -> Result<&'a ObjectRecord, Failure> {
        match self {
            Self::Object(object) => Ok(object),
            Self::Rows(_) => Err(Failure::permanent("the stage was given rows, and takes objects")),
        }
    }

    /// # Errors
    /// When they are none: the plan does not fit the code.
    pub(super) fn rows(&self) -> Result<&'a RecordBatch, Failure> {
        match self {
            Self::Rows(rows) => Ok(rows),
            Self::Object(_) => Err(Failure::permanent("the stage was given an object, and takes rows")),
        }
    }
}

/// Where records lie.
#[doc(hidden)]
#[derive(Clone, Copy)]
pub enum Reads {
    /// In the input, whose objects may be cut so.
    Input(Cut),
    /// In the rows of that job's reduce.
    Reduced(Named),
    /// In the rows of that job, which has none.
    Mapped(Named),
    /// In the rows that the map of that job keeps.
    Kept(Named, Keeper),
}

/// A job among the stages of another: two may have one name, and only its type tells it.
#[doc(hidden)]
#[derive(Clone, Copy)]
pub struct Named {
    pub(super) name: &'static str,
    id: fn() -> TypeId,
}

impl Named {
    pub(super) const fn new<J: 'static>(name: &'static str) -> Self {
        Self { name, id: TypeId::of::<J> }
    }

    pub(super) fn is(self, other: Self) -> bool {
        (self.id)() == (other.id)()
    }
}

/// An object is a record. One of more than 256 MiB is set aside.
pub enum Objects {}

impl Sealed for Objects {}

impl Input for Objects {
    type Record<'a> = &'a ObjectRecord;
    type Error = RecordError;
    const SETS_ASIDE: bool = true;
    const READS: Reads = Reads::Input(Cut::Nowhere);

    fn each(
        chunk: &Chunk<'_>,
        mut map: impl FnMut(&ObjectRecord) -> Result<(), RecordError>,
    ) -> Result<(), RecordError> {
        map(chunk.object()?)
    }
}

/// A line is a record. Large objects are cut at the ends of lines, so that several tasks share them. Those whose names end in
/// `.gz` or `.zst` are unpacked instead, and one of more than 256 MiB is set aside; so is any whose lines are longer than 64 MiB.
pub enum Lines {}

#[derive(Clone, Copy, Debug)]
pub struct Line<'a> {
    /// Of the object it is in, whole and not percent-encoded.
    pub uri: &'a str,
    /// The same, relative to the input's root.
    pub key: &'a str,
    /// Where it begins in the object, in bytes, once that is unpacked.
    pub offset: u64,
    /// Without the `\n` or `\r\n` that ends it.
    pub bytes: &'a [u8],
}

impl<'a> Line<'a> {
    /// What is no UTF-8 in it becomes U+FFFD.
    pub fn text(&self) -> Cow<'a, str> {
        String::from_utf8_lossy(self.bytes)
    }
}

impl Sealed for Lines {}

impl Input for Lines {
    type Record<'a> = Line<'a>;
    type Error = Failure;
    const SETS_ASIDE: bool = false;
    const READS: Reads = Reads::Input(Cut::Lines);

    fn each(chunk: &Chunk<'_>, map: impl FnMut(Line<'_>) -> Result<(), Failure>) -> Result<(), RecordError> {
        Self::of(chunk.object()?, map)
    }
}

impl Lines {
    /// Gives the lines of an object, one after another.
    ///
    /// # Errors
    /// A verdict on the object, before any line of it was given, or the first error of `map`.
    pub fn of(object: &ObjectRecord, mut map: impl FnMut(Line<'_>) -> Result<(), Failure>) -> Result<(), RecordError> {
        let mut given = |offset, block: &[u8]| {
            lines(block, |at, bytes| map(Line { uri: &object.uri, key: &object.key, offset: offset + at, bytes }))
        };
        let Some(packing) = Packing::of(&object.key) else {
            return Ok(given(object.range.start, &object.bytes)?);
        };
        // Once to see that it is whole, and only then for good: a line can't be taken back.
        let unpacked = || mr_storage::unpacked(packing, &object.bytes);
        let broken = |error: io::Error| match is_for_want_of_memory(&error) {
            // It says nothing of the object.
            true => Failure::new(FailureClass::OutOfMemory, format!("unpacking {}: {error}", object.key)).into(),
            false => RecordError::Quarantine {
                class: "broken-archive",
                message: format!("its name ends in .{} and it can't be unpacked: {error}", packing.extension()),
            },
        };
        blocks(unpacked().map_err(broken)?, |_, _| Ok(())).map_err(|error| match error {
            BlockError::Read(error) => broken(error),
            BlockError::Long => RecordError::Quarantine {
                class: "line-too-long",
                message: format!("it has a line of more than {} MiB", LINE_MAX >> 20),
            },
            BlockError::Given(failure) => failure.into(),
        })?;
        blocks(unpacked().map_err(broken)?, given).map_err(|error| match error {
            BlockError::Given(failure) => failure.into(),
            BlockError::Read(_) | BlockError::Long => Failure::application("it was unpacked before").into(),
        })
    }
}

/// `zstd` says so in words alone.
fn is_for_want_of_memory(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::OutOfMemory || error.to_string().contains("Allocation error")
}

/// Calls `each` with every line and where it begins. The last one need not be ended.
fn lines<E>(block: &[u8], mut each: impl FnMut(u64, &[u8]) -> Result<(), E>) -> Result<(), E> {
    let mut at = 0;
    while at < block.len() {
        let rest = &block[at..];
        let (line, bytes) = match memchr(b'\n', rest) {
            Some(end) => (rest[..end].strip_suffix(b"\r").unwrap_or(&rest[..end]), end + 1),
            None => (rest, rest.len()),
        };
        each(at as u64, line)?;
        at += bytes;
    }
    Ok(())
}

/// Read at a time from what is unpacked.
const BLOCK: usize = 1 << 20;

enum BlockError {
    Read(io::Error),
    Long,
    Given(Failure),
}

/// Calls `each` with whole lines, many at a time, and where the first of them begins.
fn blocks(mut from: impl Read, mut each: impl FnMut(u64, &[u8]) -> Result<(), Failure>) -> Result<(), BlockError> {
    let mut buffer = Vec::with_capacity(2 * BLOCK);
    let mut begins = 0;
    loop {
        let before = buffer.len();
        let read = from.by_ref().take(BLOCK as u64).read_to_end(&mut buffer).map_err(BlockError::Read)?;
        let ended = read < BLOCK;
        let whole = match memchr::memrchr(b'\n', &buffer[before..]) {
            _ if ended => buffer.len(),
            Some(last) => before + last + 1,
            None if buffer.len() > LINE_MAX => return Err(BlockError::Long),
            None => continue,
        };
        each(begins, &buffer[..whole]).map_err(BlockError::Given)?;
        if ended {
            return Ok(());
        }
        begins += whole as u64;
        buffer.drain(..whole);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn object(key: &str, bytes: impl Into<bytes::Bytes>) -> ObjectRecord {
        let bytes = bytes.into();
        let size = bytes.len() as u64;
        ObjectRecord {
            uri: format!("file:///in/{key}"),
            key: key.into(),
            size,
            range: 0..size,
            bytes,
            from: std::iter::once(0..size).collect(),
        }
    }

    fn read(object: &ObjectRecord) -> Result<Vec<(u64, String)>, RecordError> {
        let mut found = Vec::new();
        Lines::of(object, |line| {
            found.push((line.offset, line.text().into_owned()));
            Ok(())
        })?;
        Ok(found)
    }

    fn packed(packing: Packing, text: &[u8]) -> Vec<u8> {
        match packing {
            Packing::Gzip => {
                let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
                gzip.write_all(text).unwrap();
                gzip.finish().unwrap()
            }
            Packing::Zstd => {
                let mut zstd = zstd::Encoder::new(Vec::new(), 1).unwrap();
                // As the program `zstd` does.
                zstd.include_checksum(true).unwrap();
                zstd.write_all(text).unwrap();
                zstd.finish().unwrap()
            }
        }
    }

    #[test]
    fn lines_end_at_newlines_and_with_the_object() {
        let found = |text: &str| read(&object("a.txt", text.to_owned())).unwrap();
        let lines =
            |lines: &[(u64, &str)]| lines.iter().map(|(at, line)| (*at, (*line).to_owned())).collect::<Vec<_>>();
        assert_eq!(found(""), lines(&[]));
        assert_eq!(found("\n"), lines(&[(0, "")]));
        assert_eq!(found("one\r\n\ntwo"), lines(&[(0, "one"), (5, ""), (6, "two")]));
        assert_eq!(found("one\rtwo\n\r"), lines(&[(0, "one\rtwo"), (8, "\r")]));
        let odd = object("a", &b"a\xffb\n"[..]);
        assert_eq!(read(&odd).unwrap(), lines(&[(0, "a\u{fffd}b")]));
    }

    #[test]
    fn what_is_packed_reads_as_what_is_not() {
        // Lines that lie across blocks, and one that is longer than a block.
        let mut text = Vec::new();
        for n in 0..300_000 {
            writeln!(text, "line {n}").unwrap();
        }
        text.extend(std::iter::repeat_n(b'x', 3 * BLOCK));
        text.extend(b"\nlast");
        let plain = read(&object("a", text.clone())).unwrap();
        assert_eq!(plain.len(), 300_002);
        for packing in [Packing::Gzip, Packing::Zstd] {
            let key = format!("a.{}", packing.extension().to_uppercase());
            assert!(read(&object(&key, packed(packing, &text))).unwrap() == plain, "{packing:?}");
            // Two, one after another.
            let two = [packed(packing, b"a\nb"), packed(packing, b"c\n")].concat();
            let found: Vec<_> = read(&object(&key, two)).unwrap().into_iter().map(|(_, line)| line).collect();
            assert_eq!(found, ["a", "bc"]);
            assert_eq!(read(&object(&key, packed(packing, b""))).unwrap(), []);
        }
    }

    #[test]
    fn an_archive_that_is_not_whole_gives_no_line_and_a_verdict() {
        let text = "a line of text\n".repeat(200_000);
        for packing in [Packing::Gzip, Packing::Zstd] {
            let whole = packed(packing, text.as_bytes());
            let mut flipped = whole.clone();
            let middle = flipped.len() / 2;
            flipped[middle] ^= 1;
            for broken in [whole[..whole.len() / 2].to_vec(), flipped, b"no archive at all".to_vec()] {
                let key = format!("a.{}", packing.extension());
                let mut given = 0;
                let verdict = Lines::of(&object(&key, broken), |_| {
                    given += 1;
                    Ok(())
                });
                let Err(RecordError::Quarantine { class: "broken-archive", message }) = verdict else {
                    panic!("{packing:?}: {verdict:?}");
                };
                assert!(message.starts_with(&format!("its name ends in .{} and", packing.extension())));
                assert_eq!(given, 0);
            }
        }
    }

    #[test]
    fn a_line_that_would_fill_the_memory_is_a_verdict() {
        let long = packed(Packing::Zstd, &vec![b'x'; LINE_MAX + 2 * BLOCK]);
        let verdict = read(&object("a.zst", long));
        assert!(matches!(verdict, Err(RecordError::Quarantine { class: "line-too-long", .. })), "{verdict:?}");
    }
}
