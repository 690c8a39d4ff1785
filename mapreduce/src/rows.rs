//! Rows as files: Arrow IPC for rows that a later stage reads, Parquet or [lines](crate::lines) for the result.
//!
//! A part's bytes follow from its rows, their order and the footer that the plan gives: batch boundaries, the library's
//! own name and everything else that varies is kept out of it. Rows are encoded as they come, so that a large part is
//! never in memory both as rows and as a file.

use crate::lines::{Kind, LinesWriter};
use crate::spool::{Spool, Spooled};
use arrow::array::{Array, AsArray, RecordBatch};
use arrow::buffer::Buffer;
use arrow::compute::concat_batches;
use arrow::datatypes::{DataType, SchemaRef};
use arrow::error::ArrowError;
use arrow::ipc::reader::StreamDecoder;
use arrow::ipc::writer::StreamWriter;
use bytes::Bytes;
use mr_core::{FRAMEWORK_VERSION, Failure, OutputFormat};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_writer::ArrowWriterOptions;
use parquet::basic::{Compression, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::metadata::KeyValue;
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use std::collections::{BTreeMap, HashSet};
use std::io;

/// Rows in a row group: with embeddings of 1280 numbers about 40 MB, which readers skip and parallelise by.
const ROW_GROUP_ROWS: usize = 8192;

/// Takes rows batch by batch and gives their file.
pub struct RowsWriter {
    schema: Option<SchemaRef>,
    rows: u64,
    file: File,
}

/// Until the columns are known, only where it is written to.
enum File {
    Kept(Begins<StreamWriter<Spool>>),
    Part(PartWriter),
    Lines(Box<LinesWriter>),
}

impl RowsWriter {
    /// For rows that a later stage reads.
    pub fn kept(to: Spool) -> Self {
        Self { schema: None, rows: 0, file: File::Kept(Begins::Waits(Some(to))) }
    }

    /// For rows of the result. Parquet alone has a place for the footer.
    ///
    /// # Errors
    /// When nothing can be packed here.
    pub fn part(format: OutputFormat, footer: BTreeMap<String, String>, to: Spool) -> Result<Self, Failure> {
        let file = match format {
            OutputFormat::Parquet => {
                let footer = footer.into_iter().map(|(key, value)| KeyValue::new(key, value)).collect();
                let writer = Begins::Waits(Some(to));
                File::Part(PartWriter { footer, pending: Vec::new(), pending_rows: 0, writer })
            }
            OutputFormat::Text(packing) => File::Lines(Box::new(LinesWriter::new(Kind::Text, packing, to)?)),
            OutputFormat::Json(packing) => File::Lines(Box::new(LinesWriter::new(Kind::Json, packing, to)?)),
        };
        Ok(Self { schema: None, rows: 0, file })
    }

    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// # Errors
    /// When a batch has other columns than those before, or its rows can't be encoded or written.
    pub fn push_all(&mut self, batches: impl IntoIterator<Item = RecordBatch>) -> Result<(), Failure> {
        batches.into_iter().try_for_each(|batch| self.push(batch))
    }

    fn push(&mut self, batch: RecordBatch) -> Result<(), Failure> {
        let schema = self.schema.get_or_insert_with(|| batch.schema());
        if *schema != batch.schema() {
            return Err(Failure::permanent("the job's rows have different columns"));
        }
        self.rows += batch.num_rows() as u64;
        match &mut self.file {
            File::Kept(writer) => {
                let writer = writer.begun(|to| StreamWriter::try_new(to, schema).map_err(of_rows))?;
                writer.write(&batch).map_err(of_rows)
            }
            File::Part(part) => part.push(batch, schema),
            File::Lines(lines) => lines.push(&batch),
        }
    }

    /// `None` when there was not even an empty batch that would tell the columns.
    ///
    /// # Errors
    /// When the rows can't be encoded or written.
    pub fn finish(self) -> Result<Option<Spooled>, Failure> {
        let Some(schema) = self.schema else { return Ok(None) };
        let spool = match self.file {
            File::Kept(writer) => writer.has_begun().into_inner().map_err(of_rows)?,
            File::Part(part) => part.finish(&schema)?,
            File::Lines(lines) => lines.finish()?,
        };
        spool.finish().map(Some)
    }
}

/// A writer that needs to know what it will be given.
enum Begins<W> {
    /// The place is only gone while, and if, the writer could not be made.
    Waits(Option<Spool>),
    Begun(Box<W>),
}

impl<W> Begins<W> {
    fn begun(&mut self, make: impl FnOnce(Spool) -> Result<W, Failure>) -> Result<&mut W, Failure> {
        if let Self::Waits(to) = self {
            let to = to.take().ok_or_else(|| Failure::application("its rows could not be written before"))?;
            *self = Self::Begun(Box::new(make(to)?));
        }
        match self {
            Self::Begun(writer) => Ok(writer),
            Self::Waits(_) => unreachable!("it has begun above"),
        }
    }

    /// Of a file that has its columns.
    fn has_begun(self) -> W {
        match self {
            Self::Begun(writer) => *writer,
            Self::Waits(_) => unreachable!("it begins with the columns"),
        }
    }
}

/// Writes whole row groups only, so that pages do not depend on how the rows came in.
struct PartWriter {
    footer: Vec<KeyValue>,
    pending: Vec<RecordBatch>,
    pending_rows: usize,
    /// Made with the first row group, which tells how columns are encoded.
    writer: Begins<ArrowWriter<Spool>>,
}

impl PartWriter {
    fn push(&mut self, batch: RecordBatch, schema: &SchemaRef) -> Result<(), Failure> {
        self.pending_rows += batch.num_rows();
        self.pending.push(batch);
        while self.pending_rows >= ROW_GROUP_ROWS {
            let all = concat_batches(schema, &self.pending).map_err(of_rows)?;
            self.write(&all.slice(0, ROW_GROUP_ROWS), schema)?;
            self.pending_rows -= ROW_GROUP_ROWS;
            self.pending = vec![all.slice(ROW_GROUP_ROWS, self.pending_rows)];
        }
        Ok(())
    }

    fn finish(mut self, schema: &SchemaRef) -> Result<Spool, Failure> {
        if self.pending_rows > 0 || matches!(self.writer, Begins::Waits(_)) {
            let rest = concat_batches(schema, &std::mem::take(&mut self.pending)).map_err(of_rows)?;
            self.write(&rest, schema)?;
        }
        self.writer.has_begun().into_inner().map_err(of_parts)
    }

    fn write(&mut self, group: &RecordBatch, schema: &SchemaRef) -> Result<(), Failure> {
        let Self { footer, writer, .. } = self;
        let writer = writer.begun(|to| {
            let properties = properties(std::mem::take(footer), group);
            // Parquet's own types say all there is to say; Arrow's would only be one more thing in the footer.
            let options = ArrowWriterOptions::new().with_properties(properties).with_skip_arrow_metadata(true);
            ArrowWriter::try_new_with_options(to, schema.clone(), options).map_err(of_parts)
        })?;
        writer.write(group).map_err(of_parts)
    }
}

fn properties(footer: Vec<KeyValue>, first: &RecordBatch) -> WriterProperties {
    let mut properties = WriterProperties::builder()
        .set_created_by(format!("mr version {FRAMEWORK_VERSION}"))
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(1).expect("1 is a level")))
        // Numbers such as embeddings hardly repeat: a dictionary would be built and thrown away.
        .set_dictionary_enabled(false)
        .set_statistics_enabled(EnabledStatistics::Chunk)
        .set_max_row_group_row_count(Some(ROW_GROUP_ROWS))
        .set_key_value_metadata(Some(footer));
    for (field, column) in first.schema().fields().iter().zip(first.columns()) {
        if repeats(column.as_ref()) {
            properties = properties.set_column_dictionary_enabled(field.name().as_str().into(), true);
        }
    }
    properties.build()
}

/// Whether a column is text of which each occurs twice or more on average.
fn repeats(column: &dyn Array) -> bool {
    if *column.data_type() != DataType::Utf8 {
        return false;
    }
    let distinct: HashSet<_> = column.as_string::<i32>().iter().flatten().collect();
    distinct.len() * 2 <= column.len()
}

/// Batches as a file of kept rows; none of them are nothing at all.
///
/// # Errors
/// When they can't be encoded.
pub fn to_ipc(batches: &[RecordBatch]) -> Result<Bytes, Failure> {
    let Some(first) = batches.first() else { return Ok(Bytes::new()) };
    let mut writer = StreamWriter::try_new(Vec::new(), &first.schema()).map_err(of_rows)?;
    batches.iter().try_for_each(|batch| writer.write(batch)).map_err(of_rows)?;
    writer.into_inner().map(Bytes::from).map_err(of_rows)
}

/// The batches of a file of kept rows. They share its memory.
///
/// # Errors
/// When the bytes are no such file.
pub fn from_ipc(bytes: Bytes) -> Result<Vec<RecordBatch>, Failure> {
    let mut bytes = Buffer::from(bytes);
    let mut decoder = StreamDecoder::new();
    let mut batches = Vec::new();
    while !bytes.is_empty() {
        batches.extend(decoder.decode(&mut bytes).map_err(of_rows)?);
    }
    decoder.finish().map_err(of_rows)?;
    Ok(batches)
}

fn of_rows(error: ArrowError) -> Failure {
    match &error {
        ArrowError::IoError(_, unwritten) => Failure::transient(unwritten.to_string()),
        _ => Failure::application(format!("reading or writing rows: {error}")),
    }
}

fn of_parts(error: ParquetError) -> Failure {
    // A disk that is full is no fault of the rows.
    match &error {
        ParquetError::External(inner) if inner.is::<io::Error>() => Failure::transient(inner.to_string()),
        _ => Failure::application(format!("writing Parquet: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spool::Scratch;
    use arrow::array::{Float32Array, Int32Array, StringArray};
    use arrow::datatypes::{Field, Schema};
    use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
    use parquet::file::reader::FileReader;
    use parquet::file::serialized_reader::SerializedFileReader;
    use std::io::Read;
    use std::sync::Arc;

    fn batch(from: i32, count: i32) -> RecordBatch {
        let schema = Schema::new(vec![
            Field::new("n", DataType::Int32, false),
            Field::new("x", DataType::Float32, false),
            Field::new("name", DataType::Utf8, false),
            Field::new("label", DataType::Utf8, false),
        ]);
        let numbers: Vec<i32> = (from..from + count).collect();
        let floats = Float32Array::from_iter_values(numbers.iter().map(|&n| n as f32 / 3.0));
        let names = StringArray::from_iter_values(numbers.iter().map(|n| format!("name {n}")));
        let labels = StringArray::from_iter_values(numbers.iter().map(|n| format!("label {}", n % 7)));
        let columns: [Arc<dyn Array>; 4] =
            [Arc::new(Int32Array::from(numbers)), Arc::new(floats), Arc::new(names), Arc::new(labels)];
        RecordBatch::try_new(Arc::new(schema), columns.into()).unwrap()
    }

    fn written(mut writer: RowsWriter, batches: &[RecordBatch]) -> Option<Bytes> {
        writer.push_all(batches.iter().cloned()).unwrap();
        assert_eq!(writer.rows(), batches.iter().map(|batch| batch.num_rows() as u64).sum::<u64>());
        let spooled = writer.finish().unwrap()?;
        let mut bytes = Vec::new();
        spooled.open().unwrap().read_to_end(&mut bytes).unwrap();
        Some(bytes.into())
    }

    fn spool() -> Spool {
        Spool::new(Scratch::new(std::env::temp_dir()))
    }

    fn part(batches: &[RecordBatch]) -> Bytes {
        let footer = BTreeMap::from([("job".to_owned(), "test".to_owned())]);
        written(RowsWriter::part(OutputFormat::Parquet, footer, spool()).unwrap(), batches).unwrap()
    }

    #[test]
    fn kept_rows_come_back() {
        let batches = [batch(0, 3), batch(3, 0), batch(3, 5)];
        let bytes = written(RowsWriter::kept(spool()), &batches).unwrap();
        assert_eq!(from_ipc(bytes.clone()).unwrap(), batches);
        // Wherever they lie in memory.
        let shifted: Bytes = [b"x", bytes.as_ref()].concat().into();
        assert_eq!(from_ipc(shifted.slice(1..)).unwrap(), batches);
        assert!(from_ipc(bytes.slice(..bytes.len() / 2)).is_err());
        assert!(from_ipc(Bytes::from_static(b"no rows at all")).is_err());
    }

    #[test]
    fn without_a_batch_there_is_no_file_and_an_empty_one_tells_the_columns() {
        assert_eq!(written(RowsWriter::kept(spool()), &[]), None);
        for format in OutputFormat::ALL {
            let writer = RowsWriter::part(format, BTreeMap::new(), spool()).unwrap();
            assert_eq!(written(writer, &[]), None);
        }
        let reader = ParquetRecordBatchReaderBuilder::try_new(part(&[batch(0, 0)])).unwrap();
        assert_eq!(reader.schema().fields(), batch(0, 0).schema().fields());
        assert_eq!(reader.build().unwrap().count(), 0);
    }

    #[test]
    fn a_parts_bytes_do_not_depend_on_how_its_rows_came_in() {
        let at_once = part(&[batch(0, 100)]);
        assert_eq!(at_once, part(&[batch(0, 1), batch(1, 0), batch(1, 98), batch(99, 1)]));
        // Across row groups too.
        let most = ROW_GROUP_ROWS as i32;
        let at_once = part(&[batch(0, 2 * most + 5)]);
        let bit_by_bit: Vec<_> = (0..2 * most + 5).step_by(999).map(|n| batch(n, 999.min(2 * most + 5 - n))).collect();
        assert_eq!(at_once, part(&bit_by_bit));
        assert_eq!(at_once, part(&[batch(0, most), batch(most, most), batch(2 * most, 5)]));
        let groups = SerializedFileReader::new(at_once.clone()).unwrap();
        let groups: Vec<_> = groups.metadata().row_groups().iter().map(|group| group.num_rows()).collect();
        assert_eq!(groups, [i64::from(most), i64::from(most), 5]);
        let reader = ParquetRecordBatchReaderBuilder::try_new(at_once).unwrap().with_batch_size(1 << 20).build();
        let read: Vec<_> = reader.unwrap().map(Result::unwrap).collect();
        let all = batch(0, 2 * most + 5);
        assert_eq!(concat_batches(&all.schema(), &read).unwrap(), all);
    }

    #[test]
    fn only_text_that_repeats_has_a_dictionary() {
        let file = SerializedFileReader::new(part(&[batch(0, 100)])).unwrap();
        let group = file.metadata().row_group(0);
        let has: Vec<_> = group.columns().iter().map(|c| c.dictionary_page_offset().is_some()).collect();
        assert_eq!(has, [false, false, false, true]);
    }

    #[test]
    fn a_disk_that_takes_nothing_is_no_fault_of_the_rows() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let nowhere = || Spool::aside(Scratch::new(file.path().join("in")));
        let part = |format| RowsWriter::part(format, BTreeMap::new(), nowhere()).unwrap();
        for mut writer in OutputFormat::ALL.into_iter().map(part).chain([RowsWriter::kept(nowhere())]) {
            let batches = (0..12).map(|n| batch(n * 8192, 8192));
            let failed = writer.push_all(batches).and_then(|()| writer.finish().map(drop)).unwrap_err();
            assert_eq!(failed.class, mr_core::FailureClass::Transient, "{failed}");
            assert!(failed.message.contains("writing to "), "{failed}");
        }
    }

    #[test]
    fn different_columns_are_refused() {
        let other = batch(0, 1).project(&[0]).unwrap();
        let part = |format| RowsWriter::part(format, BTreeMap::new(), spool()).unwrap();
        for mut writer in OutputFormat::ALL.into_iter().map(part).chain([RowsWriter::kept(spool())]) {
            let refused = writer.push_all([batch(0, 1), other.clone()]).unwrap_err();
            assert_eq!(refused, Failure::permanent("the job's rows have different columns"));
        }
    }
}
