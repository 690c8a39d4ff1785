//! A file of rows read whole: every column of every row group of Parquet is decoded, whether or not anyone asks for it, and
//! every line is counted.

use crate::audit::{SetAside, of_object};
use crate::schema::delta_schema;
use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{DataType, Int64Type};
use bytes::Bytes;
use mr_core::OutputFormat;
use mr_storage::{DynStore, GetOptions, StoreError};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use std::collections::BTreeMap;
use std::io::{self, Read};

/// Rows that are decoded together: with embeddings a few megabytes.
const BATCH_ROWS: usize = 1024;

/// What is kept of the rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Columns {
    /// Which objects they are of.
    Objects,
    /// That, as the quarantine has it.
    Quarantine,
}

#[derive(Debug, PartialEq)]
pub(crate) struct Part {
    pub rows: u64,
    /// As the log would say it; lines have none.
    pub schema: Option<String>,
    /// What the footer says beside the schema.
    pub footer: BTreeMap<String, String>,
    /// URI and size of each row's object, if rows say it.
    pub objects: Option<Vec<(String, Option<u64>)>>,
    /// Keys are whole URIs here.
    pub set_aside: Option<Vec<SetAside>>,
}

/// Reads a part. The inner error is a sentence about the file.
pub(crate) async fn read(
    store: &DynStore,
    key: &str,
    crc32: Option<u32>,
    format: OutputFormat,
) -> Result<Result<Part, String>, StoreError> {
    let bytes = match of_object(store.get(key, GetOptions::default()).await)? {
        Ok(got) => got.bytes,
        Err(what) => return Ok(Err(what)),
    };
    let decoding = tokio::task::spawn_blocking(move || {
        match crc32.filter(|crc32| *crc32 != crc32fast::hash(&bytes)) {
            // Nothing that damaged bytes say is of use, and a decoder may not be ready for them.
            Some(_) => Err("its bytes are not those that were committed: they have another CRC-32".to_owned()),
            None if format == OutputFormat::Parquet => decoded(bytes, Columns::Objects),
            None => lines(&bytes, format),
        }
    });
    Ok(decoding.await.unwrap_or_else(|_| Err("it can't be decoded".to_owned())))
}

/// # Errors
/// A sentence about the file.
pub(crate) fn decoded(bytes: Bytes, columns: Columns) -> Result<Part, String> {
    let fault = |error: &dyn std::fmt::Display| format!("it can't be decoded: {error}");
    let builder = ParquetRecordBatchReaderBuilder::try_new(bytes).map_err(|error| fault(&error))?;
    let schema = delta_schema(builder.schema()).map_err(|error| fault(&error))?;
    let file = builder.metadata().file_metadata();
    let said = file.num_rows();
    let pairs = file.key_value_metadata().into_iter().flatten();
    let footer = pairs.map(|pair| (pair.key.clone(), pair.value.clone().unwrap_or_default())).collect();
    let mut objects = has(builder.schema(), "path", &DataType::Utf8).then(Vec::new);
    let mut set_aside = (columns == Columns::Quarantine).then(Vec::new);
    let reader = builder.with_batch_size(BATCH_ROWS).build().map_err(|error| fault(&error))?;
    let mut rows = 0;
    for batch in reader {
        let batch = batch.map_err(|error| fault(&error))?;
        rows += batch.num_rows() as u64;
        match (&mut set_aside, &mut objects) {
            (Some(set_aside), _) => set_aside.extend(quarantined(&batch).ok_or("its columns are not a quarantine's")?),
            (None, Some(objects)) => objects.extend(of_objects(&batch)),
            (None, None) => {}
        }
    }
    if u64::try_from(said) != Ok(rows) {
        return Err(format!("{rows} rows can be read, and its footer says {said}"));
    }
    Ok(Part { rows, schema: Some(schema), footer, objects, set_aside })
}

/// # Errors
/// A sentence about the file.
fn lines(bytes: &[u8], format: OutputFormat) -> Result<Part, String> {
    let fault = |error: io::Error| format!("it can't be unpacked: {error}");
    let mut from: Box<dyn Read + '_> = match format.packing() {
        Some(packing) => mr_storage::unpacked(packing, bytes).map_err(fault)?,
        None => Box::new(bytes),
    };
    let (mut rows, mut ended, mut block) = (0, true, vec![0; 64 << 10]);
    loop {
        let read = match from.read(&mut block) {
            Ok(0) if ended => {
                return Ok(Part { rows, schema: None, footer: BTreeMap::new(), objects: None, set_aside: None });
            }
            Ok(0) => return Err("its last line has no end".to_owned()),
            Ok(read) => &block[..read],
            Err(error) => return Err(fault(error)),
        };
        rows += read.iter().filter(|byte| **byte == b'\n').count() as u64;
        ended = read.ends_with(b"\n");
    }
}

fn has(schema: &arrow::datatypes::Schema, name: &str, kind: &DataType) -> bool {
    schema.field_with_name(name).is_ok_and(|field| field.data_type() == kind)
}

/// A null is no URI, and will be found not to be below the input.
fn of_objects(batch: &RecordBatch) -> Vec<(String, Option<u64>)> {
    let sizes = batch.column_by_name("bytes").and_then(|column| column.as_primitive_opt::<Int64Type>());
    let size = |row: usize| sizes.filter(|sizes| sizes.is_valid(row)).and_then(|s| u64::try_from(s.value(row)).ok());
    let paths = batch["path"].as_string::<i32>();
    paths.iter().enumerate().map(|(row, path)| (path.unwrap_or_default().to_owned(), size(row))).collect()
}

fn quarantined(batch: &RecordBatch) -> Option<Vec<SetAside>> {
    let text = |name: &str| batch.column_by_name(name)?.as_string_opt::<i32>();
    let (paths, etags) = (text("path")?, text("etag")?);
    let sizes = batch.column_by_name("bytes")?.as_primitive_opt::<Int64Type>()?;
    let row = |row: usize| SetAside {
        key: paths.value(row).to_owned(),
        bytes: u64::try_from(sizes.value(row)).unwrap_or_default(),
        etag: etags.value(row).to_owned(),
    };
    Some((0..batch.num_rows()).map(row).collect())
}
