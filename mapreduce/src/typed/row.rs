//! Rows of Rust types as columns of Arrow.
//!
//! Only types that every reader of a Delta table takes: Polars refuses unsigned integers and lists of fixed size, so
//! unsigned numbers become signed ones of the next size, and a `u64` an `Int64` that it has to fit in.

use crate::emit::{Attempt, ReduceOutput};
use crate::typed::Sealed;
use arrow::array::{
    Array, ArrayBuilder, ArrayRef, BinaryArray, BinaryBuilder, BooleanArray, BooleanBuilder, Float32Array,
    Float32Builder, Float64Array, Float64Builder, Int16Array, Int16Builder, Int32Array, Int32Builder, Int64Array,
    Int64Builder, ListArray, ListBuilder, RecordBatch, StringArray, StringBuilder,
};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use bytes::Bytes;
use mr_core::{Counters, Failure, is_column_name};
use std::sync::Arc;

/// What a column holds.
pub trait Column: Sealed + Sized + Send {
    type Builder: ArrayBuilder + Default;
    /// What the builder makes.
    type Array: Array + 'static;
    const NULLABLE: bool = false;

    fn data_type() -> DataType;

    /// # Errors
    /// When the column has no place for it.
    fn check(&self) -> Result<(), Failure> {
        Ok(())
    }

    /// # Errors
    /// When the column has no place for it.
    fn append(self, to: &mut Self::Builder) -> Result<(), Failure>;

    fn append_null(to: &mut Self::Builder);

    /// What was appended to it in that place; `None`: nothing of this type was.
    fn value(column: &Self::Array, at: usize) -> Option<Self>;
}

/// The columns of a row: a tuple of up to eight.
pub trait Row: Sealed + Sized + Send + 'static {
    type Builders: Default + Send;
    const COLUMNS: usize;

    fn fields(names: &[&str]) -> Vec<Field>;

    /// # Errors
    /// When a column has no place for what is in it.
    fn check(&self) -> Result<(), Failure>;

    /// # Errors
    /// When a column has no place for what is in it.
    fn append(self, to: &mut Self::Builders) -> Result<(), Failure>;

    /// What was appended, a column each; the builders are empty afterwards.
    fn finish(builders: &mut Self::Builders) -> Vec<ArrayRef>;

    /// The rows of a batch that was made of such; `None`: it was made of others.
    fn read(batch: &RecordBatch) -> Option<Vec<Self>>;
}

macro_rules! columns {
    ($($type:ty as $wide:ty: $builder:ty, $array:ty, $data_type:ident);* $(;)?) => {$(
        impl Sealed for $type {}

        impl Column for $type {
            type Builder = $builder;
            type Array = $array;

            fn data_type() -> DataType {
                DataType::$data_type
            }

            fn append(self, to: &mut Self::Builder) -> Result<(), Failure> {
                to.append_value(<$wide>::from(self));
                Ok(())
            }

            fn append_null(to: &mut Self::Builder) {
                to.append_null();
            }

            fn value(column: &Self::Array, at: usize) -> Option<Self> {
                Self::try_from(column.value(at)).ok()
            }
        }
    )*};
}

columns! {
    bool as bool: BooleanBuilder, BooleanArray, Boolean;
    i16 as i16: Int16Builder, Int16Array, Int16;
    u8 as i16: Int16Builder, Int16Array, Int16;
    i32 as i32: Int32Builder, Int32Array, Int32;
    u16 as i32: Int32Builder, Int32Array, Int32;
    i64 as i64: Int64Builder, Int64Array, Int64;
    u32 as i64: Int64Builder, Int64Array, Int64;
    f32 as f32: Float32Builder, Float32Array, Float32;
    f64 as f64: Float64Builder, Float64Array, Float64;
    String as String: StringBuilder, StringArray, Utf8;
    Vec<u8> as Vec<u8>: BinaryBuilder, BinaryArray, Binary;
}

impl Sealed for u64 {}

impl Column for u64 {
    type Builder = Int64Builder;
    type Array = Int64Array;

    fn data_type() -> DataType {
        DataType::Int64
    }

    fn check(&self) -> Result<(), Failure> {
        let fits = i64::try_from(*self).is_ok();
        fits.then_some(()).ok_or_else(|| Failure::permanent(format!("{self} is more than a column can hold")))
    }

    fn append(self, to: &mut Self::Builder) -> Result<(), Failure> {
        self.check()?;
        to.append_value(self as i64);
        Ok(())
    }

    fn append_null(to: &mut Self::Builder) {
        to.append_null();
    }

    fn value(column: &Self::Array, at: usize) -> Option<Self> {
        column.value(at).try_into().ok()
    }
}

impl<C: Column> Sealed for Option<C> {}

impl<C: Column> Column for Option<C> {
    type Builder = C::Builder;
    type Array = C::Array;
    const NULLABLE: bool = true;

    fn data_type() -> DataType {
        const { assert!(!C::NULLABLE, "an `Option` of an `Option`: a column knows one kind of nothing") };
        C::data_type()
    }

    fn check(&self) -> Result<(), Failure> {
        self.as_ref().map_or(Ok(()), C::check)
    }

    fn append(self, to: &mut Self::Builder) -> Result<(), Failure> {
        match self {
            Some(value) => value.append(to),
            None => {
                C::append_null(to);
                Ok(())
            }
        }
    }

    fn append_null(to: &mut Self::Builder) {
        C::append_null(to);
    }

    fn value(column: &Self::Array, at: usize) -> Option<Self> {
        if column.is_null(at) { Some(None) } else { C::value(column, at).map(Some) }
    }
}

macro_rules! lists {
    ($($type:ty),*) => {$(
        impl Sealed for Vec<$type> {}

        impl Column for Vec<$type> {
            type Builder = ListBuilder<<$type as Column>::Builder>;
            type Array = ListArray;

            fn data_type() -> DataType {
                DataType::List(Arc::new(Field::new_list_field(<$type>::data_type(), true)))
            }

            fn append(self, to: &mut Self::Builder) -> Result<(), Failure> {
                self.into_iter().try_for_each(|value| value.append(to.values()))?;
                to.append(true);
                Ok(())
            }

            fn append_null(to: &mut Self::Builder) {
                to.append_null();
            }

            fn value(column: &Self::Array, at: usize) -> Option<Self> {
                let list = column.value(at);
                let values = list.as_any().downcast_ref::<<$type as Column>::Array>()?;
                (0..values.len()).map(|at| <$type>::value(values, at)).collect()
            }
        }
    )*};
}

lists!(i32, i64, f32, f64, String);

macro_rules! rows {
    ($count:literal: $($name:ident $at:tt),*) => {
        impl<$($name: Column),*> Sealed for ($($name,)*) {}

        impl<$($name: Column + 'static),*> Row for ($($name,)*) {
            type Builders = ($($name::Builder,)*);
            const COLUMNS: usize = $count;

            fn fields(names: &[&str]) -> Vec<Field> {
                vec![$(Field::new(names[$at], $name::data_type(), $name::NULLABLE)),*]
            }

            fn check(&self) -> Result<(), Failure> {
                $(self.$at.check()?;)*
                Ok(())
            }

            fn append(self, to: &mut Self::Builders) -> Result<(), Failure> {
                $(self.$at.append(&mut to.$at)?;)*
                Ok(())
            }

            fn finish(builders: &mut Self::Builders) -> Vec<ArrayRef> {
                vec![$(ArrayBuilder::finish(&mut builders.$at)),*]
            }

            fn read(batch: &RecordBatch) -> Option<Vec<Self>> {
                let columns: [&ArrayRef; $count] = batch.columns().iter().collect::<Vec<_>>().try_into().ok()?;
                let columns = ($(columns[$at].as_any().downcast_ref::<$name::Array>()?,)*);
                (0..batch.num_rows()).map(|row| Some(($($name::value(columns.$at, row)?,)*))).collect()
            }
        }
    };
}

rows!(1: A 0);
rows!(2: A 0, B 1);
rows!(3: A 0, B 1, C 2);
rows!(4: A 0, B 1, C 2, D 3);
rows!(5: A 0, B 1, C 2, D 3, E 4);
rows!(6: A 0, B 1, C 2, D 3, E 4, F 5);
rows!(7: A 0, B 1, C 2, D 3, E 4, F 5, G 6);
rows!(8: A 0, B 1, C 2, D 3, E 4, F 5, G 6, H 7);

/// Whether the columns of a row can have these names.
///
/// # Errors
/// A sentence about the one that can't be.
pub fn columns<R: Row>(names: &[&str]) -> Result<(), String> {
    if names.len() != R::COLUMNS {
        return Err(format!("`COLUMNS` names {names:?}, and a row has {} columns", R::COLUMNS));
    }
    for (place, name) in names.iter().enumerate() {
        if !is_column_name(name) {
            return Err(format!("`COLUMNS` names {name:?}, which no column of a Delta table can be named"));
        }
        if names[..place].iter().any(|before| before.to_lowercase() == name.to_lowercase()) {
            return Err(format!("`COLUMNS` names {name:?} twice, if case is not looked at"));
        }
    }
    Ok(())
}

/// Rows that become a batch together. Large enough for Arrow, small enough to be held by every slot.
const BATCH_ROWS: usize = 8192;

/// Takes rows one by one.
pub struct Rows<R: Row> {
    to: To<R>,
    counted: Counters,
    /// Files beside the result, if this is where some can come from.
    side: Option<Vec<(String, Bytes)>>,
}

enum To<R: Row> {
    Columns { schema: SchemaRef, builders: R::Builders, pending: usize, full: Vec<RecordBatch> },
    Plain(Vec<R>),
}

impl<R: Row> Rows<R> {
    /// For batches of columns with these names, which have been [looked at](columns).
    pub(super) fn columns(names: &[&str]) -> Self {
        let schema = Arc::new(Schema::new(R::fields(names)));
        let to = To::Columns { schema, builders: R::Builders::default(), pending: 0, full: Vec::new() };
        Self { to, counted: Counters::default(), side: None }
    }

    /// For rows as they are.
    pub(super) fn plain() -> Self {
        Self { to: To::Plain(Vec::new()), counted: Counters::default(), side: None }
    }

    /// With room for files beside the result, as a reduce has it.
    pub(super) fn with_side_files(self) -> Self {
        Self { side: Some(Vec::new()), ..self }
    }

    /// One row more.
    ///
    /// # Errors
    /// When a number does not fit into its column.
    pub fn row(&mut self, row: R) -> Result<(), Failure> {
        match &mut self.to {
            To::Plain(rows) => {
                row.check()?;
                rows.push(row);
            }
            To::Columns { builders, pending, .. } => {
                row.append(builders)?;
                *pending += 1;
                if *pending == BATCH_ROWS {
                    self.close()?;
                }
            }
        }
        Ok(())
    }

    /// Adds to a counter, as [`Attempt::count`](crate::Attempt::count) does.
    pub fn count(&mut self, name: &str, by: u64) {
        self.counted.add(name, by);
    }

    /// A file beside the result, such as `totals/summary.json`, which readers of the rows do not see: of a reduce. Its path
    /// is relative, without `..`, and no other task of the job may give the same.
    ///
    /// # Errors
    /// In a map: tasks of that there may be any number of, by how the input is split.
    pub fn side_file(&mut self, path: impl Into<String>, bytes: impl Into<Bytes>) -> Result<(), Failure> {
        let path = path.into();
        let Some(side) = &mut self.side else {
            return Err(Failure::permanent(format!(
                "the map puts {path:?} beside the result, which only a reduce does"
            )));
        };
        side.push((path, bytes.into()));
        Ok(())
    }

    /// Hands on what was counted, and files.
    pub(super) fn beside_to(&mut self, out: &mut ReduceOutput) {
        self.counted_to(&mut out.attempt);
        self.side.iter_mut().flat_map(|side| side.drain(..)).for_each(|(path, bytes)| out.side_file(path, bytes));
    }

    /// Hands on what was counted.
    pub(super) fn counted_to(&mut self, attempt: &mut Attempt) {
        self.counted.iter().for_each(|(name, by)| attempt.count(name, by));
        self.counted.clear();
    }

    /// Batches that are full.
    pub(super) fn full(&mut self) -> impl Iterator<Item = RecordBatch> + '_ {
        match &mut self.to {
            To::Columns { full, .. } => Some(full.drain(..)),
            To::Plain(_) => None,
        }
        .into_iter()
        .flatten()
    }

    /// All batches that are left, the last of which may be empty and tells the columns.
    pub(super) fn rest(&mut self) -> Result<impl Iterator<Item = RecordBatch> + '_, Failure> {
        self.close()?;
        Ok(self.full())
    }

    /// The rows as they came, if they are not columns.
    pub(super) fn take_plain(&mut self) -> Vec<R> {
        match &mut self.to {
            To::Plain(rows) => std::mem::take(rows),
            To::Columns { .. } => Vec::new(),
        }
    }

    fn close(&mut self) -> Result<(), Failure> {
        let To::Columns { schema, builders, pending, full } = &mut self.to else { return Ok(()) };
        *pending = 0;
        let columns = R::finish(builders);
        let batch = RecordBatch::try_new(schema.clone(), columns);
        full.push(batch.map_err(|error| Failure::permanent(format!("the job's rows: {error}")))?);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::AsArray;
    use arrow::datatypes::{Int16Type, Int64Type};

    #[test]
    fn rows_become_columns_in_batches() {
        let mut rows = Rows::<(String, u64, Option<u8>, Vec<f32>)>::columns(&["name", "count", "grade", "x"]);
        for n in 0..BATCH_ROWS as u64 + 1 {
            rows.row((format!("name {n}"), n, (n % 2 == 0).then_some(7), vec![n as f32; (n % 3) as usize])).unwrap();
        }
        assert_eq!(rows.full().map(|batch| batch.num_rows()).collect::<Vec<_>>(), [BATCH_ROWS]);
        let rest: Vec<_> = rows.rest().unwrap().collect();
        assert_eq!(rest.iter().map(RecordBatch::num_rows).collect::<Vec<_>>(), [1]);
        let [name, count, grade, x] = rest[0].columns() else { panic!("four columns") };
        let last = BATCH_ROWS as u64;
        assert_eq!(name.as_string::<i32>().value(0), format!("name {last}"));
        assert_eq!(count.as_primitive::<Int64Type>().value(0), last as i64);
        assert_eq!(grade.as_primitive::<Int16Type>().value(0), 7);
        assert_eq!(x.as_list::<i32>().value(0).len(), (last % 3) as usize);
        let fields = rest[0].schema();
        assert_eq!(
            fields.fields().iter().map(|field| field.is_nullable()).collect::<Vec<_>>(),
            [false, false, true, false]
        );
    }

    #[test]
    fn what_does_not_fit_is_said_and_no_rows_still_tell_their_columns() {
        let mut rows = Rows::<(u64,)>::columns(&["n"]);
        assert!(rows.row((u64::MAX,)).unwrap_err().message.contains("18446744073709551615 is more"));
        let batches: Vec<_> = Rows::<(u64,)>::columns(&["n"]).rest().unwrap().collect();
        assert_eq!((batches.len(), batches[0].num_rows(), batches[0].num_columns()), (1, 0, 1));
        assert!(Rows::<(u64,)>::plain().row((u64::MAX,)).is_err());
    }

    #[test]
    fn names_that_no_table_can_have_are_found_before_anything_is_read() {
        let wrong = |names: &[&str]| columns::<(String, u64)>(names).unwrap_err();
        assert_eq!(wrong(&["word"]), "`COLUMNS` names [\"word\"], and a row has 2 columns");
        assert!(wrong(&["word", "how often"]).contains("\"how often\", which no column"));
        assert!(wrong(&["word", "Word"]).contains("twice"));
        assert_eq!(columns::<(String, u64)>(&["word", "count"]), Ok(()));
    }
}
