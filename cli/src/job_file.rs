//! What was typed: the job file's keys and values with their places, and what `--set` and the short forms put over them.
//!
//! Nothing is judged here but TOML itself. A [`JobFile`] may hold any key with any value; `meant` decides what it means.

use crate::mistake::{At, Mistake, Source};
use std::collections::BTreeMap;
use std::ops::Range;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// Tables whose keys are known by a name of two parts, such as `params.label`.
pub const TABLES: [&str; 6] = ["params", "limits", "split", "shuffle", "map", "reduce"];
/// Those of them whose keys are the job's.
pub const JOB_TABLES: [&str; 3] = ["params", "map", "reduce"];

#[derive(Clone, Debug)]
pub struct JobFile {
    /// By the whole name of the key.
    pub entries: BTreeMap<String, Entry>,
}

#[derive(Clone, Debug)]
pub struct Entry {
    /// Where the key is.
    pub key_at: At,
    pub value: Value,
    /// What was typed after `=` on the command line. There a value without quotes may well be meant as a text.
    pub typed: Option<String>,
}

#[derive(Clone, Debug)]
pub struct Value {
    pub at: At,
    pub kind: Kind,
}

#[derive(Clone, Debug, PartialEq)]
pub enum KindError {
    TooLarge,
    NoNumber,
}

#[derive(Clone, Debug)]
pub enum Kind {
    Bool(bool),
    Integer(i64),
    Number(f64),
    Text(String),
    List(Vec<Value>),
    Date,
    Table,
    /// Written as a number, but none that can be held.
    Unfit(KindError),
}

impl Kind {
    pub fn describe(&self) -> &'static str {
        match self {
            Self::Bool(true) => "true",
            Self::Bool(false) => "false",
            Self::Integer(_) => "an integer",
            Self::Number(_) => "a number with a point",
            Self::Text(_) => "a text",
            Self::List(_) => "a list",
            Self::Date => "a date",
            Self::Table => "a table",
            Self::Unfit(KindError::TooLarge) => "an integer that is too large",
            Self::Unfit(KindError::NoNumber) => "no finite number",
        }
    }
}

impl JobFile {
    /// # Errors
    /// What is no TOML, all of it that can be told apart.
    pub fn parse(source: &Source) -> Result<Self, Vec<Mistake>> {
        let (table, errors) = DeTable::parse_recoverable(&source.text);
        if !errors.is_empty() {
            return Err(syntax_mistakes(&errors, &source.text));
        }
        let mut entries = BTreeMap::new();
        for (key, value) in table.get_ref() {
            match value.get_ref() {
                DeValue::Table(inner) if TABLES.contains(&key.get_ref().as_ref()) => {
                    for (name, value) in inner {
                        entries.insert(
                            format!("{}.{}", key.get_ref(), name.get_ref()),
                            Entry::of_file(name.span(), value),
                        );
                    }
                }
                _ => {
                    entries.insert(key.get_ref().to_string(), Entry::of_file(key.span(), value));
                }
            }
        }
        Ok(Self { entries })
    }

    /// Takes the argument of `--set`, `key=value`. The value is read as TOML, and as a plain text where that fails.
    ///
    /// # Errors
    /// When it is no key and value.
    pub fn set(&mut self, argument: &str) -> Result<(), Mistake> {
        let at = At::Argument(format!("--set {argument}"));
        let (key, typed) = argument
            .split_once('=')
            .map(|(key, value)| (key.trim(), value.trim()))
            .filter(|(key, _)| !key.is_empty())
            .ok_or_else(|| Mistake::new(&at, "write a key and a value: `--set params.components=0.95`"))?;
        if TABLES.contains(&key) {
            return Err(Mistake::new(&at, format!("`{key}` is a table; set one of its keys: `--set {key}.KEY=VALUE`")));
        }
        let mut kind = match DeValue::parse(typed) {
            Ok(value) => Value::of_file(&value).kind,
            Err(_) => Kind::Text(typed.to_owned()),
        };
        // Neither is ever asked for, while a text may happen to look like one.
        if matches!(kind, Kind::Date | Kind::Table) {
            kind = Kind::Text(typed.to_owned());
        }
        self.put(key, Entry::typed(at, kind, typed));
        Ok(())
    }

    /// Takes a short form, such as `--input`.
    pub fn put_text(&mut self, key: &str, flag: &str, text: &str) {
        self.put(key, Entry::typed(At::Argument(format!("{flag} {text}")), Kind::Text(text.to_owned()), text));
    }

    fn put(&mut self, key: &str, entry: Entry) {
        self.entries.insert(key.to_owned(), entry);
    }

    /// Where the value of that key came from, if it was typed at all.
    pub fn value_at(&self, key: &str) -> At {
        self.entries.get(key).map_or(At::Whole, |entry| entry.value.at.clone())
    }
}

impl Entry {
    fn of_file(key: Range<usize>, value: &Spanned<DeValue<'_>>) -> Self {
        Self { key_at: At::File(key), value: Value::of_file(value), typed: None }
    }

    fn typed(at: At, kind: Kind, typed: &str) -> Self {
        // The list's items are where the whole argument is: there are no lines to point into.
        fn moved(at: &At, kind: Kind) -> Value {
            let kind = match kind {
                Kind::List(items) => Kind::List(items.into_iter().map(|item| moved(at, item.kind)).collect()),
                other => other,
            };
            Value { at: at.clone(), kind }
        }
        Self { value: moved(&at, kind), key_at: at, typed: Some(typed.to_owned()) }
    }
}

impl Value {
    fn of_file(value: &Spanned<DeValue<'_>>) -> Self {
        let kind = match value.get_ref() {
            DeValue::Boolean(value) => Kind::Bool(*value),
            DeValue::Integer(value) => match i64::from_str_radix(value.as_str(), value.radix()) {
                Ok(value) => Kind::Integer(value),
                Err(_) => Kind::Unfit(KindError::TooLarge),
            },
            DeValue::Float(value) => match value.as_str().parse::<f64>() {
                Ok(value) if value.is_finite() => Kind::Number(value),
                _ => Kind::Unfit(KindError::NoNumber),
            },
            DeValue::String(value) => Kind::Text(value.to_string()),
            DeValue::Array(items) => Kind::List(items.iter().map(Self::of_file).collect()),
            DeValue::Datetime(_) => Kind::Date,
            DeValue::Table(_) => Kind::Table,
        };
        Self { at: At::File(value.span()), kind }
    }
}

/// The parser goes on after an error, and what it then finds on the same line is mostly its own echo.
fn syntax_mistakes(errors: &[toml::de::Error], text: &str) -> Vec<Mistake> {
    const SHOWN: usize = 5;
    errors
        .iter()
        .take(SHOWN)
        .map(|error| {
            let word = error.span().and_then(|span| text.get(span)).unwrap_or_default();
            let said = error.message();
            // The parser takes a word for a number or a boolean that went wrong.
            let bare = said.starts_with("invalid") || said.contains("must be quoted");
            let why = match bare && word.starts_with(char::is_alphabetic) && !word.contains('\n') {
                true => format!("a text stands in quotes, \"{word}\""),
                false => said.replace('\n', ", "),
            };
            Mistake { at: error.span().map_or(At::Whole, At::File), message: format!("this is no TOML: {why}") }
        })
        .collect()
}
