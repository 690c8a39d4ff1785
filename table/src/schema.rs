//! The Arrow schema of a part as a Delta schema, and what Delta does not know.

use arrow::datatypes::{DataType, Field, Fields, Schema, TimeUnit};
use mr_core::is_column_name;
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// The schema as the log holds it, or a sentence about the column that does not fit.
pub(crate) fn delta_schema(schema: &Schema) -> Result<String, String> {
    Ok(structure(schema.fields(), "")?.to_string())
}

/// Whether two schemas of a log say the same, whatever the order of their JSON.
pub(crate) fn same(one: &str, other: &str) -> bool {
    let parsed = |text: &str| serde_json::from_str::<Value>(text).ok();
    one == other || parsed(one).is_some_and(|one| parsed(other) == Some(one))
}

/// The first column that two schemas of a log don't have in common, in words.
pub(crate) fn difference(one: &str, log: &str) -> String {
    let columns = |text: &str| {
        let schema: Value = serde_json::from_str(text).unwrap_or_default();
        schema["fields"].as_array().cloned().unwrap_or_default()
    };
    let (one, log) = (columns(one), columns(log));
    for place in 0..one.len().max(log.len()) {
        let said = |columns: &[Value]| match columns.get(place) {
            Some(column) => format!("{} {}", column["name"].as_str().unwrap_or("one without a name"), column["type"]),
            None => "absent".to_owned(),
        };
        let (has, says) = (said(&one), said(&log));
        if has != says {
            return format!("column {} is {has}, and the log says {says}", place + 1);
        }
        if one[place] != log[place] {
            return format!("column {} is {}, and the log says {}", place + 1, one[place], log[place]);
        }
    }
    "the log's schema can't be read".to_owned()
}

fn structure(fields: &Fields, within: &str) -> Result<Value, String> {
    let mut names = BTreeSet::new();
    let mut columns = Vec::new();
    for field in fields {
        let name = format!("{within}{}", field.name());
        if !is_column_name(field.name()) {
            return Err(format!("a Delta table can't have a column named `{name}`"));
        }
        if !names.insert(field.name().to_lowercase()) {
            return Err(format!("two columns are named `{name}`, if case is not looked at"));
        }
        columns.push(json!({
            "name": field.name(),
            "type": kind(field, &name)?,
            "nullable": field.is_nullable(),
            "metadata": {},
        }));
    }
    Ok(json!({ "type": "struct", "fields": columns }))
}

fn kind(field: &Field, name: &str) -> Result<Value, String> {
    let unknown = |instead: &str| {
        Err(format!("column `{name}` is {}, which Delta does not know: write {instead}", field.data_type()))
    };
    Ok(match field.data_type() {
        DataType::Boolean => "boolean".into(),
        DataType::Int8 => "byte".into(),
        DataType::Int16 => "short".into(),
        DataType::Int32 => "integer".into(),
        DataType::Int64 => "long".into(),
        DataType::Float32 => "float".into(),
        DataType::Float64 => "double".into(),
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => "string".into(),
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView => "binary".into(),
        DataType::Date32 => "date".into(),
        DataType::Timestamp(TimeUnit::Microsecond, Some(zone)) if matches!(&**zone, "UTC" | "+00:00") => {
            "timestamp".into()
        }
        DataType::Decimal128(precision, scale) if *scale >= 0 => format!("decimal({precision},{scale})").into(),
        DataType::List(item) | DataType::LargeList(item) => json!({
            "type": "array",
            "elementType": kind(item, &format!("{name}[]"))?,
            "containsNull": item.is_nullable(),
        }),
        DataType::Struct(fields) => structure(fields, &format!("{name}."))?,
        DataType::UInt8 | DataType::UInt16 => return unknown("int32"),
        DataType::UInt32 | DataType::UInt64 => return unknown("int64"),
        DataType::Float16 => return unknown("float32"),
        DataType::FixedSizeList(..) | DataType::ListView(_) | DataType::LargeListView(_) => return unknown("list"),
        DataType::FixedSizeBinary(_) => return unknown("binary"),
        DataType::Timestamp(..) | DataType::Date64 => return unknown("timestamp in microseconds with zone UTC"),
        DataType::Dictionary(_, value) => return unknown(&format!("plain {value}")),
        DataType::Map(..) => return unknown("list of struct"),
        _ => return unknown("one of its types"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    fn list(item: DataType, nullable: bool) -> DataType {
        DataType::List(Arc::new(Field::new("item", item, nullable)))
    }

    fn schema(columns: &[(&str, DataType)]) -> Schema {
        Schema::new(columns.iter().map(|(name, kind)| Field::new(*name, kind.clone(), false)).collect::<Vec<_>>())
    }

    #[test]
    fn the_main_jobs_columns() {
        let columns = [
            ("path", DataType::Utf8),
            ("width", DataType::Int32),
            ("bytes", DataType::Int64),
            ("features", list(DataType::Float32, false)),
        ];
        let text = delta_schema(&schema(&columns)).unwrap();
        let expected = json!({"type": "struct", "fields": [
            {"name": "path", "type": "string", "nullable": false, "metadata": {}},
            {"name": "width", "type": "integer", "nullable": false, "metadata": {}},
            {"name": "bytes", "type": "long", "nullable": false, "metadata": {}},
            {"name": "features", "nullable": false, "metadata": {},
             "type": {"type": "array", "elementType": "float", "containsNull": false}},
        ]});
        assert!(same(&text, &expected.to_string()), "{text}");
        assert!(!same(&text, "{}"));
    }

    #[test]
    fn what_delta_does_not_know_is_refused_by_name() {
        let item = Arc::new(Field::new("item", DataType::Float32, false));
        for (kind, why) in [
            (DataType::UInt32, "UInt32, which Delta does not know: write int64"),
            (DataType::FixedSizeList(item, 3), "write list"),
            (list(DataType::UInt8, true), "column `x[]`"),
            (DataType::Timestamp(TimeUnit::Nanosecond, None), "microseconds"),
            (DataType::Float16, "float32"),
        ] {
            let sentence = delta_schema(&schema(&[("x", kind)])).unwrap_err();
            assert!(sentence.contains(why), "{sentence}");
        }
        assert!(delta_schema(&schema(&[("a b", DataType::Int32)])).unwrap_err().contains("`a b`"));
        let twice = [("a", DataType::Int32), ("A", DataType::Int32)];
        assert!(delta_schema(&schema(&twice)).unwrap_err().contains("two columns"));
    }
}
