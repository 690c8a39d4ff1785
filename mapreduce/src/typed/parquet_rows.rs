//! Rows of Parquet files as what a job maps.

use crate::job::RecordError;
use crate::row_groups::{Sparse, of_record};
use crate::typed::Sealed;
use crate::typed::input::{Chunk, Input, Reads};
use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{
    DataType, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, UInt8Type, UInt16Type, UInt32Type,
    UInt64Type,
};
use mr_core::Cut;
use parquet::arrow::arrow_reader::{ArrowReaderOptions, ParquetRecordBatchReaderBuilder};
use std::fmt::Display;

/// Rows that are decoded together.
const BATCH_ROWS: usize = 1024;

/// A row of a Parquet file is a record. Large files are cut between row groups, so that several tasks share them. What can't be
/// decoded is set aside: the file, or a piece of a large one.
pub enum ParquetRows {}

/// A row, whose columns are asked for by their names.
#[derive(Clone, Copy, Debug)]
pub struct ParquetRow<'a> {
    /// Of the file it is in, whole and not percent-encoded.
    pub uri: &'a str,
    /// The same, relative to the input's root.
    pub key: &'a str,
    /// Its number in the file, from zero.
    pub number: u64,
    batch: &'a RecordBatch,
    at: usize,
}

impl Sealed for ParquetRows {}

impl Input for ParquetRows {
    type Record<'a> = ParquetRow<'a>;
    type Error = RecordError;
    const SETS_ASIDE: bool = true;
    const READS: Reads = Reads::Input(Cut::RowGroups);

    fn each(
        chunk: &Chunk<'_>,
        mut map: impl FnMut(ParquetRow<'_>) -> Result<(), RecordError>,
    ) -> Result<(), RecordError> {
        let object = chunk.object()?;
        // What other programs say of their own types beside Parquet's makes no difference, and there is one type of texts.
        let options = ArrowReaderOptions::new().with_skip_arrow_metadata(true);
        let builder = ParquetRecordBatchReaderBuilder::try_new_with_options(Sparse::of(object), options);
        let builder = builder.map_err(broken)?;
        let (groups, mut number) = of_record(builder.metadata(), object);
        let reader = builder.with_row_groups(groups).with_batch_size(BATCH_ROWS).build().map_err(broken)?;
        for batch in reader {
            let batch = &batch.map_err(broken)?;
            for at in 0..batch.num_rows() {
                map(ParquetRow { uri: &object.uri, key: &object.key, number, batch, at })?;
                number += 1;
            }
        }
        Ok(())
    }
}

fn broken(error: impl Display) -> RecordError {
    RecordError::Quarantine { class: "broken-parquet", message: format!("it can't be read as Parquet: {error}") }
}

impl<'a> ParquetRow<'a> {
    /// A column of texts.
    ///
    /// # Errors
    /// When there is no such column, or one of another type; `None`: there is no value in this row. So it is of the others.
    pub fn text(&self, column: &str) -> Result<Option<&'a str>, RecordError> {
        self.value(column, "text", |values| match values.data_type() {
            DataType::Utf8 => Some(values.as_string::<i32>().value(self.at)),
            _ => None,
        })
    }

    /// A column of bytes, or of texts.
    ///
    /// # Errors
    /// As of [`text`](Self::text).
    pub fn bytes(&self, column: &str) -> Result<Option<&'a [u8]>, RecordError> {
        self.value(column, "bytes", |values| match values.data_type() {
            DataType::Binary => Some(values.as_binary::<i32>().value(self.at)),
            DataType::FixedSizeBinary(_) => Some(values.as_fixed_size_binary().value(self.at)),
            DataType::Utf8 => Some(values.as_string::<i32>().value(self.at).as_bytes()),
            _ => None,
        })
    }

    /// A column of integers. One that an `i64` can't hold is of another type.
    ///
    /// # Errors
    /// As of [`text`](Self::text).
    pub fn integer(&self, column: &str) -> Result<Option<i64>, RecordError> {
        self.value(column, "an integer", |values| integer(values, self.at))
    }

    /// A column of numbers, with a point or without.
    ///
    /// # Errors
    /// As of [`text`](Self::text).
    pub fn number(&self, column: &str) -> Result<Option<f64>, RecordError> {
        self.value(column, "a number", |values| number(values, self.at))
    }

    /// A column of truths.
    ///
    /// # Errors
    /// As of [`text`](Self::text).
    pub fn boolean(&self, column: &str) -> Result<Option<bool>, RecordError> {
        self.value(column, "a boolean", |values| values.as_boolean_opt().map(|values| values.value(self.at)))
    }

    /// A column of lists of numbers, such as embeddings. A number that is not there is not a number.
    ///
    /// # Errors
    /// As of [`text`](Self::text).
    pub fn numbers(&self, column: &str) -> Result<Option<Vec<f64>>, RecordError> {
        self.value(column, "a list of numbers", |values| {
            let list = values.as_list_opt::<i32>()?.value(self.at);
            let at = |at| if list.is_null(at) { Some(f64::NAN) } else { number(&list, at) };
            (0..list.len()).map(at).collect()
        })
    }

    fn value<T>(
        &self,
        column: &str,
        wanted: &str,
        of: impl FnOnce(&'a dyn Array) -> Option<T>,
    ) -> Result<Option<T>, RecordError> {
        let wrong = |message| RecordError::Quarantine { class: "other-columns", message };
        let Some(values) = self.batch.column_by_name(column) else {
            let schema = self.batch.schema();
            let names: Vec<_> = schema.fields().iter().map(|field| field.name().as_str()).collect();
            return Err(wrong(format!("it has no column `{column}`, only {}", names.join(", "))));
        };
        if values.is_null(self.at) {
            return Ok(None);
        }
        match of(values.as_ref()) {
            Some(value) => Ok(Some(value)),
            None => Err(wrong(format!("its column `{column}` is {}, which is not {wanted}", values.data_type()))),
        }
    }
}

fn integer(values: &dyn Array, at: usize) -> Option<i64> {
    Some(match values.data_type() {
        DataType::Int8 => values.as_primitive::<Int8Type>().value(at).into(),
        DataType::Int16 => values.as_primitive::<Int16Type>().value(at).into(),
        DataType::Int32 => values.as_primitive::<Int32Type>().value(at).into(),
        DataType::Int64 => values.as_primitive::<Int64Type>().value(at),
        DataType::UInt8 => values.as_primitive::<UInt8Type>().value(at).into(),
        DataType::UInt16 => values.as_primitive::<UInt16Type>().value(at).into(),
        DataType::UInt32 => values.as_primitive::<UInt32Type>().value(at).into(),
        DataType::UInt64 => values.as_primitive::<UInt64Type>().value(at).try_into().ok()?,
        _ => return None,
    })
}

fn number(values: &dyn Array, at: usize) -> Option<f64> {
    match values.data_type() {
        DataType::Float32 => Some(values.as_primitive::<Float32Type>().value(at).into()),
        DataType::Float64 => Some(values.as_primitive::<Float64Type>().value(at)),
        _ => integer(values, at).map(|value| value as f64),
    }
}
