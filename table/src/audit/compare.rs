//! Rows of the table against the same rows computed again.

use crate::audit::{Row, of_object};
use crate::error::TableError;
use crate::findings::Findings;
use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::compute::concat_batches;
use arrow::datatypes::{DataType, Float32Type, Float64Type};
use arrow::util::display::array_value_to_string;
use bytes::Bytes;
use mr_storage::{DynStore, GetOptions};
use parquet::arrow::arrow_reader::{ParquetRecordBatchReaderBuilder, RowSelection, RowSelector};
use std::collections::BTreeMap;

/// How close is close enough.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Exactness {
    /// The same arithmetic gives the same bits.
    Bits,
    /// Floats, or a list of them as a whole, differ by no more than this share of their length (relative L2); all else
    /// is the same.
    Within(f64),
}

/// Compares rows of the table with `again`, Parquet files that together hold them in the same order. `parts` are the keys of
/// the table's parts.
///
/// # Errors
/// `Store` when the store fails, `Invalid` when `again` does not hold as many rows.
pub async fn compare_rows(
    output: &DynStore,
    parts: &[String],
    rows: &[&Row],
    again: Vec<Bytes>,
    exactness: Exactness,
) -> Result<Findings, TableError> {
    if rows.is_empty() {
        return Ok(Findings::default());
    }
    let count = rows.len();
    let again = blocking(move || all(again, count)).await;
    let again = again.map_err(|what| TableError::Invalid(format!("rows that were computed again: {what}")))?;
    // By part, since each is read once.
    let mut of_part: BTreeMap<u32, Vec<(u32, usize)>> = BTreeMap::new();
    for (place, row) in rows.iter().enumerate() {
        of_part.entry(row.part).or_default().push((row.position, place));
    }
    let mut faults = Findings::default();
    for (part, mut wanted) in of_part {
        wanted.sort_unstable();
        let key = &parts[part as usize];
        let stored = match of_object(output.get(key, GetOptions::default()).await)? {
            Ok(got) => {
                let positions: Vec<_> = wanted.iter().map(|(position, _)| *position).collect();
                blocking(move || selected(got.bytes, &positions)).await
            }
            Err(what) => Err(what),
        };
        match stored {
            Ok(stored) => {
                for (at, (_, place)) in wanted.into_iter().enumerate() {
                    for what in differences(&stored.slice(at, 1), &again.slice(place, 1), exactness) {
                        faults.add(&rows[place].key, what);
                    }
                }
            }
            Err(what) => faults.add(key, what),
        }
    }
    Ok(faults)
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T, String> + Send + 'static) -> Result<T, String> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|_| Err("it can't be decoded".to_owned()))
}

/// The rows of several files, `count` of them.
fn all(files: Vec<Bytes>, count: usize) -> Result<RecordBatch, String> {
    let fault = |error: &dyn std::fmt::Display| format!("they can't be decoded: {error}");
    let mut batches = Vec::new();
    for file in files {
        let reader = ParquetRecordBatchReaderBuilder::try_new(file).and_then(|builder| builder.build());
        for batch in reader.map_err(|error| fault(&error))? {
            batches.push(batch.map_err(|error| fault(&error))?);
        }
    }
    let schema = batches.first().ok_or("there are none")?.schema();
    let rows = concat_batches(&schema, &batches).map_err(|error| fault(&error))?;
    if rows.num_rows() != count {
        return Err(format!("there are {} where {count} were asked for", rows.num_rows()));
    }
    Ok(rows)
}

/// The rows at these positions, which are in order and each there once.
fn selected(file: Bytes, positions: &[u32]) -> Result<RecordBatch, String> {
    let fault = |error: &dyn std::fmt::Display| format!("it can't be decoded: {error}");
    let mut selectors = Vec::new();
    let mut next = 0;
    for position in positions {
        selectors.push(RowSelector::skip((position - next) as usize));
        selectors.push(RowSelector::select(1));
        next = position + 1;
    }
    let builder = ParquetRecordBatchReaderBuilder::try_new(file).map_err(|error| fault(&error))?;
    let schema = builder.schema().clone();
    let reader = builder.with_row_selection(RowSelection::from(selectors)).build().map_err(|error| fault(&error))?;
    let batches: Result<Vec<_>, _> = reader.collect();
    let rows = concat_batches(&schema, &batches.map_err(|error| fault(&error))?).map_err(|error| fault(&error))?;
    if rows.num_rows() != positions.len() {
        return Err(format!("it has {} of {} rows", rows.num_rows(), positions.len()));
    }
    Ok(rows)
}

/// What is not the same in one row, a sentence a column.
fn differences(stored: &RecordBatch, again: &RecordBatch, exactness: Exactness) -> Vec<String> {
    if stored.schema().fields() != again.schema().fields() {
        return vec![format!(
            "its columns are not those that its job makes: {} and {}",
            stored.schema(),
            again.schema()
        )];
    }
    let fields = stored.schema();
    let columns = fields.fields().iter().zip(stored.columns().iter().zip(again.columns()));
    let different = columns.filter_map(|(field, (stored, again))| {
        let what = difference(stored, again, exactness)?;
        Some(format!("`{}` {what}", field.name()))
    });
    different.collect()
}

fn difference(stored: &ArrayRef, again: &ArrayRef, exactness: Exactness) -> Option<String> {
    // Of floats this compares bits.
    if stored.to_data() == again.to_data() {
        return None;
    }
    let (Some(was), Some(is)) = (floats(stored), floats(again)) else {
        return Some(format!("is {}, and is computed as {}", shown(stored), shown(again)));
    };
    if was.len() != is.len() {
        return Some(format!("is of length {}, and is computed with length {}", was.len(), is.len()));
    }
    let distance = relative(&was, &is);
    match exactness {
        Exactness::Within(most) if distance <= most => None,
        Exactness::Within(most) => {
            Some(format!("is a relative L2 of {distance:.1e} away from what is computed, more than {most}"))
        }
        Exactness::Bits => {
            let count = was.iter().zip(&is).filter(|(was, is)| was.to_bits() != is.to_bits()).count();
            let (numbers, of) = (if count == 1 { "number" } else { "numbers" }, was.len());
            Some(format!("has {count} {numbers} of {of} that are computed otherwise (a relative L2 of {distance:.1e})"))
        }
    }
}

/// The numbers of a row that is a float or a list of them.
fn floats(row: &ArrayRef) -> Option<Vec<f64>> {
    if row.is_null(0) {
        return None;
    }
    match row.data_type() {
        DataType::Float32 => Some(row.as_primitive::<Float32Type>().iter().flatten().map(f64::from).collect()),
        DataType::Float64 => Some(row.as_primitive::<Float64Type>().iter().flatten().collect()),
        DataType::List(_) => {
            let items = row.as_list::<i32>().value(0);
            match items.data_type() {
                _ if items.null_count() > 0 => None,
                DataType::Float32 => {
                    Some(items.as_primitive::<Float32Type>().iter().flatten().map(f64::from).collect())
                }
                DataType::Float64 => Some(items.as_primitive::<Float64Type>().iter().flatten().collect()),
                _ => None,
            }
        }
        _ => None,
    }
}

/// How far they are from each other, in lengths of the longer one. What is no number is far from everything.
fn relative(one: &[f64], other: &[f64]) -> f64 {
    let norm = |numbers: &mut dyn Iterator<Item = f64>| numbers.map(|x| x * x).sum::<f64>().sqrt();
    let length = norm(&mut one.iter().copied()).max(norm(&mut other.iter().copied()));
    let distance = norm(&mut one.iter().zip(other).map(|(a, b)| a - b));
    match distance / length {
        share if share.is_nan() && distance == 0.0 => 0.0,
        share if share.is_nan() => f64::INFINITY,
        share => share,
    }
}

fn shown(row: &ArrayRef) -> String {
    const CHARS: usize = 80;
    let text = array_value_to_string(row, 0).unwrap_or_else(|_| row.data_type().to_string());
    let text = if row.is_null(0) { "null".to_owned() } else { format!("{text:?}") };
    match text.char_indices().nth(CHARS) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{Float32Array, Int64Array, ListArray, StringArray};
    use std::sync::Arc;

    fn check(one: ArrayRef, other: ArrayRef, exactness: Exactness) -> String {
        let batch = |column| RecordBatch::try_from_iter_with_nullable([("x", column, true)]).unwrap();
        differences(&batch(one), &batch(other), exactness).join("; ")
    }

    fn list(numbers: &[f32]) -> ArrayRef {
        Arc::new(ListArray::from_iter_primitive::<Float32Type, _, _>([Some(numbers.iter().copied().map(Some))]))
    }

    fn float(number: f32) -> ArrayRef {
        Arc::new(Float32Array::from(vec![number]))
    }

    #[test]
    fn bits_are_the_same_or_not() {
        use Exactness::Bits;
        let next = f32::from_bits(1.0f32.to_bits() + 1);
        assert_eq!(check(list(&[1.0, f32::NAN]), list(&[1.0, f32::NAN]), Bits), "");
        assert_eq!(
            check(list(&[1.0, 2.0]), list(&[next, 2.0]), Bits),
            "`x` has 1 number of 2 that are computed otherwise (a relative L2 of 5.3e-8)"
        );
        assert!(check(float(0.0), float(-0.0), Bits).contains("1 number of 1"));
        assert_eq!(check(list(&[1.0]), list(&[1.0, 2.0]), Bits), "`x` is of length 1, and is computed with length 2");
    }

    #[test]
    fn within_a_tolerance_only_floats_may_differ() {
        let within = Exactness::Within(0.01);
        assert_eq!(check(list(&[1.0, 2.0]), list(&[1.001, 2.0]), within), "");
        assert!(check(list(&[1.0, 2.0]), list(&[1.1, 2.0]), within).contains("more than 0.01"));
        assert_eq!(check(list(&[0.0]), list(&[-0.0]), within), "");
        assert!(check(list(&[1.0]), list(&[f32::NAN]), within).contains("inf away"));
        let (one, other) = (Arc::new(Int64Array::from(vec![1])), Arc::new(Int64Array::from(vec![2])));
        assert_eq!(check(one, other, within), "`x` is \"1\", and is computed as \"2\"");
        let (one, other) =
            (Arc::new(StringArray::from(vec!["a\u{1b}[0m"])), Arc::new(StringArray::from(vec![None::<&str>])));
        let said = check(one, other, within);
        assert!(said.contains(r#""a\u{1b}[0m""#), "{said}");
    }

    #[test]
    fn rows_are_taken_from_where_they_are() {
        let column: ArrayRef = Arc::new(Int64Array::from_iter_values(0..5000));
        let batch = RecordBatch::try_from_iter([("x", column)]).unwrap();
        let mut writer = parquet::arrow::ArrowWriter::try_new(Vec::new(), batch.schema(), None).unwrap();
        writer.write(&batch).unwrap();
        let file: Bytes = writer.into_inner().unwrap().into();
        let rows = selected(file.clone(), &[0, 7, 8, 4999]).unwrap();
        let numbers = rows["x"].as_primitive::<arrow::datatypes::Int64Type>().values().to_vec();
        assert_eq!(numbers, [0, 7, 8, 4999]);
        assert!(selected(file, &[1, 5000]).unwrap_err().contains("1 of 2 rows"));
    }
}
