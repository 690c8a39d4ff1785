//! Rows as files: Arrow IPC for rows that a later stage reads, Parquet for the result.
//!
//! The bytes follow from the rows, their order and the footer that the plan gives; batch boundaries, the library's own
//! name and everything else that varies is kept out of them.

use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use arrow::datatypes::SchemaRef;
use arrow::ipc::reader::StreamReader;
use arrow::ipc::writer::StreamWriter;
use bytes::Bytes;
use mr_core::{FRAMEWORK_VERSION, Failure};
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::metadata::KeyValue;
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use std::collections::BTreeMap;

/// Rows in a row group: with embeddings of 1280 numbers about 40 MB, which readers skip and parallelise by.
const ROW_GROUP_ROWS: usize = 8192;

pub fn count(batches: &[RecordBatch]) -> u64 {
    batches.iter().map(|batch| batch.num_rows() as u64).sum()
}

/// `None` when there is not even an empty batch that would tell the schema.
pub fn to_ipc(batches: &[RecordBatch]) -> Result<Option<Bytes>, Failure> {
    let Some(schema) = schema(batches)? else { return Ok(None) };
    let mut writer = StreamWriter::try_new(Vec::new(), &schema).map_err(of_rows)?;
    for batch in batches {
        writer.write(batch).map_err(of_rows)?;
    }
    Ok(Some(writer.into_inner().map_err(of_rows)?.into()))
}

pub fn from_ipc(bytes: &Bytes) -> Result<Vec<RecordBatch>, Failure> {
    let reader = StreamReader::try_new(bytes.as_ref(), None).map_err(of_rows)?;
    reader.collect::<Result<_, _>>().map_err(of_rows)
}

pub fn to_parquet(batches: &[RecordBatch], footer: &BTreeMap<String, String>) -> Result<Option<Bytes>, Failure> {
    let Some(schema) = schema(batches)? else { return Ok(None) };
    let footer = footer.iter().map(|(key, value)| KeyValue::new(key.clone(), value.clone())).collect();
    let properties = WriterProperties::builder()
        .set_created_by(format!("mr version {FRAMEWORK_VERSION}"))
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(1).expect("1 is a level")))
        // Embeddings hardly repeat: a dictionary would be built and thrown away.
        .set_dictionary_enabled(false)
        .set_column_dictionary_enabled("label".into(), true)
        .set_statistics_enabled(EnabledStatistics::Chunk)
        .set_max_row_group_row_count(Some(ROW_GROUP_ROWS))
        .set_key_value_metadata(Some(footer))
        .build();
    let mut writer = ArrowWriter::try_new(Vec::new(), schema.clone(), Some(properties)).map_err(of_parts)?;
    // One batch, so that pages do not depend on how the rows came in.
    writer.write(&concat_batches(&schema, batches).map_err(of_rows)?).map_err(of_parts)?;
    Ok(Some(writer.into_inner().map_err(of_parts)?.into()))
}

fn schema(batches: &[RecordBatch]) -> Result<Option<SchemaRef>, Failure> {
    let Some(first) = batches.first() else { return Ok(None) };
    match batches.iter().find(|batch| batch.schema() != first.schema()) {
        Some(_) => Err(Failure::permanent("the job's rows have different columns")),
        None => Ok(Some(first.schema())),
    }
}

fn of_rows(error: arrow::error::ArrowError) -> Failure {
    Failure::application(format!("reading or writing rows: {error}"))
}

fn of_parts(error: parquet::errors::ParquetError) -> Failure {
    Failure::application(format!("writing Parquet: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{Float32Array, Int32Array};
    use arrow::datatypes::{DataType, Field, Schema};
    use std::sync::Arc;

    fn batch(from: i32, count: i32) -> RecordBatch {
        let schema =
            Schema::new(vec![Field::new("n", DataType::Int32, false), Field::new("x", DataType::Float32, false)]);
        let numbers: Vec<i32> = (from..from + count).collect();
        let floats = Float32Array::from_iter_values(numbers.iter().map(|&n| n as f32 / 3.0));
        RecordBatch::try_new(Arc::new(schema), vec![Arc::new(Int32Array::from(numbers)), Arc::new(floats)]).unwrap()
    }

    #[test]
    fn kept_rows_come_back() {
        let batches = [batch(0, 3), batch(3, 0), batch(3, 5)];
        let bytes = to_ipc(&batches).unwrap().unwrap();
        assert_eq!(from_ipc(&bytes).unwrap(), batches);
        assert_eq!(to_ipc(&[]).unwrap(), None);
        assert!(from_ipc(&bytes.slice(..bytes.len() / 2)).is_err());
    }

    #[test]
    fn a_parts_bytes_do_not_depend_on_how_its_rows_came_in() {
        let footer = BTreeMap::from([("job".to_owned(), "test".to_owned())]);
        let at_once = to_parquet(&[batch(0, 100)], &footer).unwrap();
        let bit_by_bit = to_parquet(&[batch(0, 1), batch(1, 0), batch(1, 98), batch(99, 1)], &footer).unwrap();
        assert_eq!(at_once, bit_by_bit);
    }

    #[test]
    fn different_columns_are_refused() {
        let other = batch(0, 1).project(&[0]).unwrap();
        assert!(to_ipc(&[batch(0, 1), other]).is_err());
    }
}
