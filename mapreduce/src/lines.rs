//! Rows of the result as lines of text or JSON, packed or not.
//!
//! Bytes follow from the rows and their order alone: what packs them is given blocks of one size, whatever batches the rows
//! came in, and archives say nothing of when and where they were made.

use crate::spool::Spool;
use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::DataType;
use arrow::error::ArrowError;
use arrow::json::WriterBuilder;
use arrow::json::writer::LineDelimited;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use flate2::Compression;
use flate2::write::GzEncoder;
use mr_core::{Failure, Packing};
use std::io::{self, Write as _};

/// Given at a time to what packs.
const BLOCK: usize = 128 << 10;
/// The libraries' own defaults, said so that they stay.
const GZIP_LEVEL: u32 = 6;
const ZSTD_LEVEL: i32 = 3;

pub struct LinesWriter {
    kind: Kind,
    to: Packer,
    /// Lines that are not packed yet.
    lines: Vec<u8>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Columns with tabs between them.
    Text,
    /// Objects of columns by their names.
    Json,
}

enum Packer {
    Plain(Spool),
    Gzip(GzEncoder<Spool>),
    Zstd(zstd::Encoder<'static, Spool>),
}

impl LinesWriter {
    /// # Errors
    /// When nothing can be packed here.
    pub fn new(kind: Kind, packing: Option<Packing>, to: Spool) -> Result<Self, Failure> {
        let to = match packing {
            None => Packer::Plain(to),
            Some(Packing::Gzip) => Packer::Gzip(GzEncoder::new(to, Compression::new(GZIP_LEVEL))),
            Some(Packing::Zstd) => {
                let mut zstd = zstd::Encoder::new(to, ZSTD_LEVEL).map_err(unwritten)?;
                zstd.include_checksum(true).map_err(unwritten)?;
                Packer::Zstd(zstd)
            }
        };
        Ok(Self { kind, to, lines: Vec::new() })
    }

    /// # Errors
    /// When a row can't be a line of that kind, or can't be written.
    pub fn push(&mut self, batch: &RecordBatch) -> Result<(), Failure> {
        match self.kind {
            Kind::Text => text(batch, &mut self.lines)?,
            Kind::Json => json(batch, &mut self.lines)?,
        }
        let whole = self.lines.len() / BLOCK * BLOCK;
        self.lines[..whole].chunks(BLOCK).try_for_each(|block| self.to.write(block)).map_err(unwritten)?;
        self.lines.drain(..whole);
        Ok(())
    }

    /// # Errors
    /// When the last rows can't be written.
    pub fn finish(mut self) -> Result<Spool, Failure> {
        self.to.write(&self.lines).map_err(unwritten)?;
        match self.to {
            Packer::Plain(to) => Ok(to),
            Packer::Gzip(to) => to.finish().map_err(unwritten),
            Packer::Zstd(to) => to.finish().map_err(unwritten),
        }
    }
}

impl Packer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Plain(to) => to.write_all(bytes),
            Self::Gzip(to) => to.write_all(bytes),
            Self::Zstd(to) => to.write_all(bytes),
        }
    }
}

fn unwritten(error: io::Error) -> Failure {
    Failure::transient(error.to_string())
}

fn json(batch: &RecordBatch, lines: &mut Vec<u8>) -> Result<(), Failure> {
    let unfit = |error: ArrowError| Failure::permanent(format!("rows can't be JSON: {error}"));
    // What is not there is said, so that each line has all columns.
    let mut writer = WriterBuilder::new().with_explicit_nulls(true).build::<_, LineDelimited>(lines);
    writer.write(batch).and_then(|()| writer.finish()).map_err(unfit)
}

fn text(batch: &RecordBatch, lines: &mut Vec<u8>) -> Result<(), Failure> {
    let schema = batch.schema();
    let columns = schema.fields().iter().zip(batch.columns()).map(|(field, column)| {
        let unfit = || {
            let (name, is) = (field.name(), field.data_type());
            Failure::permanent(format!("column `{name}` is {is}, which is no text: use output_format = \"json\""))
        };
        Column::of(column.as_ref()).ok_or_else(unfit)
    });
    let columns: Vec<_> = columns.collect::<Result<_, Failure>>()?;
    for row in 0..batch.num_rows() {
        for (at, column) in columns.iter().enumerate() {
            if at > 0 {
                lines.push(b'\t');
            }
            let begins = lines.len();
            column.append(row, lines).map_err(|error| Failure::permanent(format!("rows can't be text: {error}")))?;
            if lines[begins..].iter().any(|byte| matches!(byte, b'\n' | b'\r' | b'\t')) {
                let name = schema.field(at).name();
                return Err(Failure::permanent(format!(
                    "a row has a tab or the end of a line in its column `{name}`, so that its line would be read as \
                     another: use output_format = \"json\""
                )));
            }
        }
        lines.push(b'\n');
    }
    Ok(())
}

/// A column whose values are texts; one that is not there is an empty one.
enum Column<'a> {
    Bytes(&'a dyn Array, Box<dyn Fn(usize) -> &'a [u8] + 'a>),
    Shown(ArrayFormatter<'a>),
}

impl<'a> Column<'a> {
    fn of(column: &'a dyn Array) -> Option<Self> {
        Some(match column.data_type() {
            DataType::Utf8 => {
                let texts = column.as_string::<i32>();
                Self::Bytes(column, Box::new(move |row| texts.value(row).as_bytes()))
            }
            DataType::Binary => {
                let bytes = column.as_binary::<i32>();
                Self::Bytes(column, Box::new(move |row| bytes.value(row)))
            }
            shown if shown.is_primitive() || *shown == DataType::Boolean => {
                Self::Shown(ArrayFormatter::try_new(column, &FormatOptions::new()).ok()?)
            }
            _ => return None,
        })
    }

    fn append(&self, row: usize, to: &mut Vec<u8>) -> Result<(), ArrowError> {
        match self {
            Self::Bytes(column, of) if column.is_valid(row) => to.extend_from_slice(of(row)),
            Self::Bytes(..) => {}
            Self::Shown(column) => to.extend_from_slice(column.value(row).try_to_string()?.as_bytes()),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spool::{Content, Scratch};
    use arrow::array::{ArrayRef, BooleanArray, Float32Array, Int64Array, ListArray, StringArray};
    use arrow::datatypes::Float32Type;
    use std::sync::Arc;

    fn batch(columns: Vec<(&str, ArrayRef)>) -> RecordBatch {
        RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(name, column)| (name, column, true)))
            .unwrap()
    }

    fn written(kind: Kind, packing: Option<Packing>, batches: &[RecordBatch]) -> Result<Vec<u8>, Failure> {
        let mut writer = LinesWriter::new(kind, packing, Spool::new(Scratch::new("".into())))?;
        batches.iter().try_for_each(|batch| writer.push(batch))?;
        match writer.finish()?.finish()?.content {
            Content::Memory(bytes) => Ok(bytes.to_vec()),
            Content::File(_) => unreachable!("it is small"),
        }
    }

    fn lines(kind: Kind, batch: &RecordBatch) -> String {
        String::from_utf8(written(kind, None, std::slice::from_ref(batch)).unwrap()).unwrap()
    }

    fn rows() -> RecordBatch {
        let words: ArrayRef = Arc::new(StringArray::from(vec![Some("über \"x\""), Some(""), None]));
        let counts: ArrayRef = Arc::new(Int64Array::from(vec![Some(-7), None, Some(i64::MAX)]));
        let shares: ArrayRef = Arc::new(Float32Array::from(vec![0.1, 1.0, 2.5e-9]));
        let known: ArrayRef = Arc::new(BooleanArray::from(vec![true, false, true]));
        batch(vec![("word", words), ("count", counts), ("share", shares), ("known", known)])
    }

    #[test]
    fn a_row_is_a_line_with_all_its_columns() {
        assert_eq!(
            lines(Kind::Text, &rows()),
            "über \"x\"\t-7\t0.1\ttrue\n\t\t1.0\tfalse\n\t9223372036854775807\t2.5e-9\ttrue\n"
        );
        assert_eq!(
            lines(Kind::Json, &rows()),
            concat!(
                r#"{"word":"über \"x\"","count":-7,"share":0.1,"known":true}"#,
                "\n",
                r#"{"word":"","count":null,"share":1.0,"known":false}"#,
                "\n",
                r#"{"word":null,"count":9223372036854775807,"share":2.5e-9,"known":true}"#,
                "\n"
            )
        );
    }

    #[test]
    fn what_would_be_read_as_another_row_is_refused_with_what_to_do() {
        let text = |texts: [&str; 2]| {
            let [key, value] = texts.map(|text| Arc::new(StringArray::from(vec![text])) as ArrayRef);
            written(Kind::Text, None, &[batch(vec![("key", key), ("value", value)])])
        };
        assert_eq!(text(["a", "b c"]).unwrap(), b"a\tb c\n");
        for (texts, column) in
            [(["a\tb", "c"], "`key`"), (["a", "b\tc"], "`value`"), (["a", "b\nc"], "`value`"), (["a\r", "b"], "`key`")]
        {
            let failure = text(texts).unwrap_err();
            assert_eq!(failure.class, mr_core::FailureClass::Permanent);
            assert!(failure.message.contains(column) && failure.message.contains("output_format = \"json\""));
        }
        let list = ListArray::from_iter_primitive::<Float32Type, _, _>([Some([Some(1.5), Some(2.0)])]);
        let list = batch(vec![("features", Arc::new(list))]);
        let refused = written(Kind::Text, None, std::slice::from_ref(&list)).unwrap_err();
        assert!(refused.message.starts_with("column `features` is List("), "{refused}");
        assert_eq!(lines(Kind::Json, &list), "{\"features\":[1.5,2.0]}\n");
    }

    #[test]
    fn bytes_do_not_depend_on_how_rows_came_in_and_unpack_to_the_same() {
        let many = |from: i64, to: i64| {
            let numbers: ArrayRef =
                Arc::new(Int64Array::from_iter_values((from..to).map(|n| n.wrapping_mul(0x9e37_79b9))));
            batch(vec![("n", numbers)])
        };
        let in_pieces = [many(0, 1), many(1, 30_000), many(30_000, 30_000), many(30_000, 60_000)];
        for kind in [Kind::Text, Kind::Json] {
            let plain = lines(kind, &many(0, 60_000));
            assert!(plain.len() > 3 * BLOCK && plain.lines().count() == 60_000);
            for packing in [None, Some(Packing::Gzip), Some(Packing::Zstd)] {
                let at_once = written(kind, packing, &[many(0, 60_000)]).unwrap();
                assert!(at_once == written(kind, packing, &in_pieces).unwrap());
                let Some(packing) = packing else { continue };
                assert!(at_once.len() * 2 < plain.len());
                let unpacked = io::read_to_string(mr_storage::unpacked(packing, &at_once).unwrap()).unwrap();
                assert!(unpacked == plain);
            }
        }
        // There is an archive of no rows.
        let none = written(Kind::Text, Some(Packing::Gzip), &[many(0, 0)]).unwrap();
        assert_eq!(io::read_to_string(mr_storage::unpacked(Packing::Gzip, &none).unwrap()).unwrap(), "");
    }
}
