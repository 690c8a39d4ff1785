//! The keys that a job knows, so that a job file can be checked before anything is read.

use mr_core::ParamValue;
use std::fmt;

#[derive(Clone, Debug)]
pub struct ParamSpec {
    pub name: &'static str,
    pub kind: ParamKind,
    /// What holds when the file does not say. `None`: the key may be absent and then means nothing.
    pub default: Option<ParamValue>,
    pub help: &'static str,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ParamKind {
    Bool,
    Integer,
    /// An integer or a number with a point; the job tells them apart.
    Number,
    Text,
    TextList,
}

impl ParamKind {
    pub fn accepts(self, value: &ParamValue) -> bool {
        match (self, value) {
            (Self::Bool, ParamValue::Bool(_))
            | (Self::Integer, ParamValue::Integer(_))
            | (Self::Number, ParamValue::Integer(_) | ParamValue::Number(_))
            | (Self::Text, ParamValue::Text(_)) => true,
            (Self::TextList, ParamValue::List(items)) => items.iter().all(|item| matches!(item, ParamValue::Text(_))),
            _ => false,
        }
    }
}

impl fmt::Display for ParamKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Bool => "true or false",
            Self::Integer => "an integer",
            Self::Number => "a number",
            Self::Text => "a text in quotes",
            Self::TextList => "a list of texts",
        })
    }
}

/// A parameter that can't be, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParamError {
    pub param: &'static str,
    pub message: String,
}

impl ParamError {
    pub fn new(param: &'static str, message: impl Into<String>) -> Self {
        Self { param, message: message.into() }
    }
}

impl fmt::Display for ParamError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`params.{}`: {}", self.param, self.message)
    }
}

impl std::error::Error for ParamError {}
