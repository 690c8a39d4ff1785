//! A list as Parquet: a table with a column of keys, such as a query gives or S3 writes as an inventory.

use crate::key_list::columns::Columns;
use crate::key_list::gathered::{Gathered, Row};
use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{DataType, Int32Type, Int64Type, UInt32Type, UInt64Type};
use bytes::Bytes;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ArrowReaderOptions, ParquetRecordBatchReaderBuilder};
use std::fmt::Display;

/// # Errors
/// A sentence with the number of the row, from one.
pub(super) fn read(bytes: Bytes, gathered: &mut Gathered) -> Result<(), String> {
    // What other programs say of their own types beside Parquet's makes no difference here.
    let options = ArrowReaderOptions::new().with_skip_arrow_metadata(true);
    let builder = ParquetRecordBatchReaderBuilder::try_new_with_options(bytes, options).map_err(broken)?;
    let schema = builder.schema().clone();
    let names: Vec<_> = schema.fields().iter().map(|field| field.name().as_str()).collect();
    let Some(columns) = Columns::of(&names)? else {
        return Err(format!("it has no column `key` (or `uri`, or `path`), only {}", names.join(", ")));
    };
    if columns.bucket.is_some() {
        gathered.wants_bucket()?;
    }
    // The others need not even be readable, nor fit into memory.
    let wanted =
        [Some(columns.key), columns.bucket, columns.bytes, columns.etag, columns.is_latest, columns.is_delete_marker];
    let mask = ProjectionMask::roots(builder.parquet_schema(), wanted.into_iter().flatten());
    let mut number = 0_u64;
    for batch in builder.with_projection(mask).build().map_err(broken)? {
        let batch = batch.map_err(broken)?;
        let cells = Cells { batch: &batch, names: &names };
        for at in 0..batch.num_rows() {
            number += 1;
            let taken = cells.row(&columns, at).and_then(|row| gathered.row(row));
            taken.map_err(|why| format!("row {number}: {why}"))?;
        }
    }
    Ok(())
}

fn broken(error: impl Display) -> String {
    format!("it can't be read as Parquet: {error}")
}

struct Cells<'a> {
    batch: &'a RecordBatch,
    /// Of all columns of the file, those that were not read among them.
    names: &'a [&'a str],
}

impl<'a> Cells<'a> {
    fn row(&self, columns: &Columns, at: usize) -> Result<Row<'a>, String> {
        let no_key = || format!("there is no value in its column `{}`", self.names[columns.key]);
        Ok(Row {
            key: self.text(Some(columns.key), at)?.ok_or_else(no_key)?,
            bucket: match columns.bucket {
                None => None,
                // An object is in some bucket: in none that is known here.
                Some(_) => Some(self.text(columns.bucket, at)?.unwrap_or_default()),
            },
            bytes: self.value(columns.bytes, at, "a number of bytes", |values| bytes(values, at))?,
            etag: self.text(columns.etag, at)?,
            is_latest: self.truth(columns.is_latest, at)?,
            is_delete_marker: self.truth(columns.is_delete_marker, at)?,
        })
    }

    fn text(&self, column: Option<usize>, at: usize) -> Result<Option<&'a str>, String> {
        self.value(column, at, "a text", |values| match values.data_type() {
            DataType::Utf8 => Some(values.as_string::<i32>().value(at)),
            // Of writers that do not say that their texts are some.
            DataType::Binary => std::str::from_utf8(values.as_binary::<i32>().value(at)).ok(),
            _ => None,
        })
    }

    fn truth(&self, column: Option<usize>, at: usize) -> Result<Option<bool>, String> {
        self.value(column, at, "true or false", |values| values.as_boolean_opt().map(|values| values.value(at)))
    }

    fn value<T>(
        &self,
        column: Option<usize>,
        at: usize,
        wanted: &str,
        of: impl FnOnce(&'a dyn Array) -> Option<T>,
    ) -> Result<Option<T>, String> {
        let Some(name) = column.map(|column| self.names[column]) else { return Ok(None) };
        let values = self.batch.column_by_name(name).ok_or_else(|| format!("its column `{name}` was not read"))?;
        if values.is_null(at) {
            return Ok(None);
        }
        let wrong = || format!("what is in its column `{name}` ({}) is not {wanted}", values.data_type());
        of(values.as_ref()).map(Some).ok_or_else(wrong)
    }
}

fn bytes(values: &dyn Array, at: usize) -> Option<u64> {
    match values.data_type() {
        DataType::Int32 => values.as_primitive::<Int32Type>().value(at).try_into().ok(),
        DataType::Int64 => values.as_primitive::<Int64Type>().value(at).try_into().ok(),
        DataType::UInt32 => Some(values.as_primitive::<UInt32Type>().value(at).into()),
        DataType::UInt64 => Some(values.as_primitive::<UInt64Type>().value(at)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use crate::key_list::{ListFormat, read_list};
    use arrow::array::{ArrayRef, BinaryArray, BooleanArray, Int64Array, RecordBatch, StringArray};
    use bytes::Bytes;
    use mr_core::KeyList;
    use parquet::arrow::ArrowWriter;
    use std::sync::Arc;

    fn parquet(columns: &[(&str, ArrayRef)]) -> Bytes {
        let batch = RecordBatch::try_from_iter_with_nullable(
            columns.iter().map(|(name, values)| (*name, values.clone(), true)),
        );
        let batch = batch.unwrap();
        let mut writer = ArrowWriter::try_new(Vec::new(), batch.schema(), None).unwrap();
        writer.write(&batch).unwrap();
        writer.into_inner().unwrap().into()
    }

    fn list(columns: &[(&str, ArrayRef)], input: &str) -> Result<KeyList, String> {
        read_list(ListFormat::Parquet, parquet(columns), input)
    }

    fn texts(values: &[Option<&str>]) -> ArrayRef {
        Arc::new(StringArray::from(values.to_vec()))
    }

    #[test]
    fn an_inventory_is_taken_at_its_word_and_a_query_over_our_results_is_a_list() {
        let inventory: [(&str, ArrayRef); 6] = [
            ("bucket", texts(&[Some("b"), Some("b"), Some("c"), None])),
            ("key", texts(&[Some("p/a+%41"), Some("p/b"), Some("p/c"), Some("p/d")])),
            ("is_latest", Arc::new(BooleanArray::from(vec![Some(true), Some(false), Some(true), None]))),
            ("size", Arc::new(Int64Array::from(vec![Some(3), Some(4), Some(5), None]))),
            ("e_tag", texts(&[Some("e"), Some("f"), Some("g"), None])),
            ("storage_class", texts(&[None; 4])),
        ];
        let read = list(&inventory, "s3://b/p/").unwrap();
        assert_eq!(String::from_utf8(read.encode()).unwrap(), "3\n[\"a+%41\",3,\"e\"]\n");
        let result: [(&str, ArrayRef); 2] = [
            ("label", texts(&[Some("x"), Some("y")])),
            ("path", Arc::new(BinaryArray::from(vec![&b"file:///in/b c.jpg"[..], b"file:///in/a.jpg"]))),
        ];
        let read = list(&result, "file:///in/").unwrap();
        assert_eq!(String::from_utf8(read.encode()).unwrap(), "0\n[\"a.jpg\"]\n[\"b c.jpg\"]\n");
    }

    #[test]
    fn what_is_wrong_has_its_row() {
        let key = || ("key", texts(&[Some("a"), Some("b")]));
        let sizes = |values: Vec<i64>| ("size", Arc::new(Int64Array::from(values)) as ArrayRef);
        for (columns, expected) in [
            (
                vec![("name", texts(&[Some("a")])), ("n", texts(&[None]))],
                "it has no column `key` (or `uri`, or `path`), only name, n",
            ),
            (vec![("key", texts(&[Some("a"), None]))], "row 2: there is no value in its column `key`"),
            (vec![("key", texts(&[Some("a"), Some("")]))], "row 2: an entry is empty"),
            (vec![("key", texts(&[Some("/x/a")]))], "row 1: \"/x/a\" does not lie under the input"),
            (
                vec![key(), ("bucket", texts(&[Some("b"), Some("b")]))],
                "it has a column `bucket`, and the input is in none",
            ),
            (
                vec![key(), ("size", texts(&[None, Some("3")]))],
                "row 2: what is in its column `size` (Utf8) is not a number of bytes",
            ),
            (vec![key(), sizes(vec![1, -1])], "row 2: what is in its column `size` (Int64) is not a number of bytes"),
            (vec![("key", sizes(vec![1]).1)], "row 1: what is in its column `key` (Int64) is not a text"),
            (vec![("key", Arc::new(BinaryArray::from(vec![&b"\xff"[..]])))], "(Binary) is not a text"),
        ] {
            let error = list(&columns, "file:///in/").unwrap_err();
            assert!(error.contains(expected), "{error}");
        }
        let error = read_list(ListFormat::Parquet, Bytes::from_static(b"key\na\n"), "file:///in/").unwrap_err();
        assert!(error.starts_with("it can't be read as Parquet: "), "{error}");
    }
}
