//! The records that could not be mapped, as Parquet for people and their tools.

use crate::error::TableError;
use arrow::array::{ArrayRef, Int32Array, Int64Array, StringArray};
use arrow::datatypes::{DataType, Field, Schema};
use arrow::record_batch::RecordBatch;
use bytes::Bytes;
use mr_core::{QuarantineSource, Quarantined};
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;
use std::sync::Arc;

/// One row a record, those that follow from content first, so that the rows two runs agree on lie together; within
/// that in the order of paths. `path` is the whole URI. Integers are signed, as Delta's readers want them.
pub fn quarantine_parquet<'a>(
    rows: impl IntoIterator<Item = &'a Quarantined>,
    input_root_uri: &str,
) -> Result<Bytes, TableError> {
    let mut rows: Vec<_> = rows.into_iter().collect();
    rows.sort_by_key(|row| (row.source, *row));
    write(&rows, input_root_uri).map_err(|error| TableError::Invalid(format!("writing the quarantine: {error}")))
}

fn write(rows: &[&Quarantined], root: &str) -> Result<Bytes, ParquetError> {
    let text = |of: fn(&Quarantined) -> &str| -> ArrayRef {
        Arc::new(StringArray::from_iter_values(rows.iter().map(|row| of(row))))
    };
    let uris = rows.iter().map(|row| format!("{root}{}", row.key));
    let bytes = rows.iter().map(|row| i64::try_from(row.bytes).unwrap_or(i64::MAX));
    let attempts = rows.iter().map(|row| i32::try_from(row.attempts).unwrap_or(i32::MAX));
    let columns: [(&str, ArrayRef); 8] = [
        ("path", Arc::new(StringArray::from_iter_values(uris))),
        ("etag", text(|row| &row.etag)),
        ("bytes", Arc::new(Int64Array::from_iter_values(bytes))),
        ("stage", text(|row| &row.stage)),
        ("class", text(|row| &row.class)),
        ("message", text(|row| &row.message)),
        ("source", text(|row| word(row.source))),
        ("attempts", Arc::new(Int32Array::from_iter_values(attempts))),
    ];
    let fields: Vec<_> =
        columns.iter().map(|(name, column)| Field::new(*name, DataType::clone(column.data_type()), false)).collect();
    let schema = Arc::new(Schema::new(fields));
    let batch = RecordBatch::try_new(schema.clone(), columns.into_iter().map(|(_, column)| column).collect())?;
    let properties = WriterProperties::builder().set_compression(Compression::ZSTD(ZstdLevel::default())).build();
    let mut writer = ArrowWriter::try_new(Vec::new(), schema, Some(properties))?;
    writer.write(&batch)?;
    Ok(writer.into_inner()?.into())
}

/// As it goes over the wire, so that a person finds one word everywhere.
fn word(source: QuarantineSource) -> &'static str {
    match source {
        QuarantineSource::Content => "content",
        QuarantineSource::Environment => "environment",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::AsArray;
    use arrow::datatypes::{Int32Type, Int64Type};
    use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

    fn row(key: &str, source: QuarantineSource) -> Quarantined {
        Quarantined {
            key: key.into(),
            etag: "e".into(),
            bytes: 3,
            stage: "embed".into(),
            class: "undecodable".into(),
            message: "no image".into(),
            source,
            attempts: 1,
        }
    }

    fn read(bytes: Bytes) -> Vec<RecordBatch> {
        let reader = ParquetRecordBatchReaderBuilder::try_new(bytes).unwrap().build().unwrap();
        reader.map(Result::unwrap).collect()
    }

    #[test]
    fn rows_come_out_whole_and_in_order_whatever_order_they_came_in() {
        use QuarantineSource::{Content, Environment};
        let rows = [row("b c/ü.jpg", Content), row("a.jpg", Environment), row("a%20.jpg", Content)];
        let bytes = quarantine_parquet(&rows, "file:///in/").unwrap();
        let batch = read(bytes.clone()).pop().unwrap();
        let text = |name: &str| -> Vec<String> {
            batch[name].as_string::<i32>().iter().map(|value| value.unwrap().to_owned()).collect()
        };
        assert_eq!(text("path"), ["file:///in/a%20.jpg", "file:///in/b c/ü.jpg", "file:///in/a.jpg"]);
        assert_eq!(text("source"), ["content", "content", "environment"]);
        assert_eq!(batch["bytes"].as_primitive::<Int64Type>().values(), &[3, 3, 3]);
        assert_eq!(batch["attempts"].as_primitive::<Int32Type>().values(), &[1, 1, 1]);

        let turned: Vec<_> = rows.iter().rev().cloned().collect();
        assert_eq!(quarantine_parquet(&turned, "file:///in/").unwrap(), bytes);
    }

    #[test]
    fn nobody_in_quarantine_is_still_a_file_with_columns() {
        let bytes = quarantine_parquet(&[], "s3://b/").unwrap();
        let reader = ParquetRecordBatchReaderBuilder::try_new(bytes).unwrap();
        assert_eq!(reader.schema().fields().len(), 8);
        assert_eq!(reader.metadata().file_metadata().num_rows(), 0);
    }
}
