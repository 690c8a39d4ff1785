//! Printed lines as rows of two columns of text.

use super::lines::Fields;
use arrow::array::{ArrayRef, RecordBatch, StringBuilder};
use arrow::datatypes::{DataType, Field, Schema};
use std::sync::Arc;

/// Rows of a batch, and bytes of it.
const ROWS: usize = 8192;
const BYTES: usize = 8 << 20;

#[derive(Default)]
pub struct Pairs {
    keys: StringBuilder,
    values: StringBuilder,
    rows: usize,
    bytes: usize,
}

impl Pairs {
    /// Gives a batch when there is a whole one.
    ///
    /// # Errors
    /// A sentence about a line that is no UTF-8.
    pub fn push(&mut self, Fields { key, value }: Fields<'_>) -> Result<Option<RecordBatch>, String> {
        self.keys.append_value(text(key)?);
        self.values.append_option(value.map(text).transpose()?);
        self.rows += 1;
        self.bytes += key.len() + value.map_or(0, <[u8]>::len);
        Ok((self.rows >= ROWS || self.bytes >= BYTES).then(|| self.rest()))
    }

    /// What is left, and if that is nothing the columns of it.
    pub fn rest(&mut self) -> RecordBatch {
        (self.rows, self.bytes) = (0, 0);
        let field = |name: &str, nullable| Field::new(name, DataType::Utf8, nullable);
        let columns: [ArrayRef; 2] = [Arc::new(self.keys.finish()), Arc::new(self.values.finish())];
        let schema = Schema::new(vec![field("key", false), field("value", true)]);
        RecordBatch::try_new(Arc::new(schema), columns.into()).expect("both columns have their rows")
    }
}

fn text(bytes: &[u8]) -> Result<&str, String> {
    std::str::from_utf8(bytes).map_err(|_| {
        let shown: String = String::from_utf8_lossy(bytes).chars().take(80).collect();
        format!("it printed a line that is no UTF-8: {shown:?}")
    })
}
