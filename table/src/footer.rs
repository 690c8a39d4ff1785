//! The end of a Parquet file in a store: its schema and its rows, without reading the rest.

use crate::error::TableError;
use crate::schema::delta_schema;
use mr_storage::{DynStore, GetOptions};
use parquet::arrow::parquet_to_arrow_schema;
use parquet::file::metadata::ParquetMetaDataReader;
use parquet::file::reader::ChunkReader;

/// Most footers fit; a longer one costs a second request.
const TAIL_BYTES: u64 = 64 << 10;
/// Its length and the four letters at the very end of the file.
const END_BYTES: u64 = 8;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Footer {
    /// As the log will say it.
    pub schema: String,
    pub rows: u64,
}

/// Reads the footer of a file that has `bytes` bytes. Another size is noticed: no footer then ends there.
pub(crate) async fn footer(store: &DynStore, key: &str, bytes: u64) -> Result<Footer, TableError> {
    let damaged = |why: String| TableError::Lost { keys: vec![key.to_owned()], why };
    let mut start = bytes.saturating_sub(TAIL_BYTES);
    let mut tail = store.get(key, GetOptions::range(start..bytes)).await?.bytes;
    if tail.len() as u64 != bytes - start || tail.len() < END_BYTES as usize || !tail.ends_with(b"PAR1") {
        return Err(damaged("its end is not there".into()));
    }
    let length_at = tail.len() - END_BYTES as usize;
    let length = u32::from_le_bytes(tail[length_at..length_at + 4].try_into().expect("four bytes"));
    let footer_start = bytes.checked_sub(END_BYTES + u64::from(length));
    let footer_start = footer_start.ok_or_else(|| damaged("its footer is longer than it is".into()))?;
    if footer_start < start {
        start = footer_start;
        tail = store.get(key, GetOptions::range(start..bytes)).await?.bytes;
    }
    let from = (footer_start - start) as usize;
    let encoded = tail.get_bytes(from as u64, length as usize).map_err(|e| damaged(e.to_string()))?;
    let metadata = ParquetMetaDataReader::decode_metadata(&encoded).map_err(|e| damaged(e.to_string()))?;
    let file = metadata.file_metadata();
    let schema =
        parquet_to_arrow_schema(file.schema_descr(), file.key_value_metadata()).map_err(|e| damaged(e.to_string()))?;
    let rows = u64::try_from(file.num_rows()).map_err(|_| damaged("it has fewer than no rows".into()))?;
    Ok(Footer { schema: delta_schema(&schema).map_err(TableError::Invalid)?, rows })
}
