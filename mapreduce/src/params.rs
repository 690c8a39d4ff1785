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

impl ParamSpec {
    /// Whether both are the same parameter, however they are told of.
    pub(crate) fn is_like(&self, other: &Self) -> bool {
        (self.name, self.kind, &self.default) == (other.name, other.kind, &other.default)
    }
}

/// The whole key of a parameter in a job file: under `[params]`, or in a table of its own if its name says one, as
/// `map.command` does.
pub fn param_key(name: &str) -> String {
    if name.contains('.') { name.to_owned() } else { format!("params.{name}") }
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
        write!(f, "`{}`: {}", param_key(self.param), self.message)
    }
}

impl std::error::Error for ParamError {}

/// Endings of names, for an [`InputFilter`](mr_core::InputFilter): without a leading dot, in lower case, each once and
/// sorted, since however they were typed they mean the same objects.
///
/// # Errors
/// When one is no ending.
pub fn extensions(param: &'static str, items: &[ParamValue]) -> Result<Vec<String>, ParamError> {
    let wrong =
        || ParamError::new(param, "should be a list of endings such as \"jpg\": what follows the last dot of a name");
    let mut extensions = Vec::new();
    for item in items {
        let ParamValue::Text(text) = item else { return Err(wrong()) };
        let ending = text.trim_start_matches('.').to_ascii_lowercase();
        if ending.is_empty() || ending.contains(['/', '.']) {
            return Err(wrong());
        }
        extensions.push(ending);
    }
    extensions.sort();
    extensions.dedup();
    Ok(extensions)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endings_mean_the_same_however_they_are_typed() {
        let typed = |names: &[&str]| {
            let items: Vec<_> = names.iter().map(|name| ParamValue::Text((*name).into())).collect();
            extensions("e", &items)
        };
        assert_eq!(typed(&[".JPG", "png", "jpg"]).unwrap(), ["jpg", "png"]);
        for wrong in ["", ".", "a/b", "txt.gz"] {
            assert!(typed(&["jpg", wrong]).unwrap_err().message.contains("what follows the last dot"), "{wrong:?}");
        }
        assert!(extensions("e", &[ParamValue::Integer(1)]).is_err());
    }
}
