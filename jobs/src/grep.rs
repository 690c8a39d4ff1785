//! `grep`: the lines of some text that a regular expression matches.

use mr_core::{Failure, ParamValue, Params};
use mr_mapreduce::{Line, Lines, MapOnly, ParamError, ParamKind, ParamSpec, Rows};
use regex::bytes::{Regex, RegexBuilder};

const PATTERN: &str = "pattern";
const IGNORE_CASE: &str = "ignore_case";
const INVERT: &str = "invert";

/// Columns `path` (of the object, as a URI), `offset` (where the line begins, in bytes of the unpacked object) and `line`, in
/// the order of the input.
pub struct Grep {
    pattern: Regex,
    /// Whether the others are wanted.
    invert: bool,
}

impl MapOnly for Grep {
    const NAME: &str = "grep";
    const VERSION: u32 = 1;
    const ABOUT: &str = "Lines of text files that a regular expression matches";
    const COLUMNS: &[&str] = &["path", "offset", "line"];
    type Input = Lines;
    type Row = (String, u64, String);

    fn params() -> Vec<ParamSpec> {
        vec![
            ParamSpec {
                name: PATTERN,
                kind: ParamKind::Text,
                default: None,
                help: "a regular expression, in the syntax of Rust's `regex`; it matches anywhere in a line",
            },
            ParamSpec {
                name: IGNORE_CASE,
                kind: ParamKind::Bool,
                default: Some(ParamValue::Bool(false)),
                help: "whether letters match whatever their case",
            },
            ParamSpec {
                name: INVERT,
                kind: ParamKind::Bool,
                default: Some(ParamValue::Bool(false)),
                help: "whether the lines are wanted that do not match",
            },
        ]
    }

    fn open(params: &Params) -> Result<Self, ParamError> {
        let flag = |name| match params.get(name) {
            None => Ok(false),
            Some(ParamValue::Bool(set)) => Ok(*set),
            Some(_) => Err(ParamError::new(name, "should be true or false")),
        };
        let Some(ParamValue::Text(pattern)) = params.get(PATTERN) else {
            return Err(ParamError::new(PATTERN, "is missing; say what to look for, such as \"error|warning\""));
        };
        let pattern = RegexBuilder::new(pattern).case_insensitive(flag(IGNORE_CASE)?).build();
        // The library's message shows the place in several lines, the last of which says what is wrong.
        let wrong = |error: regex::Error| {
            let story = error.to_string();
            let last = story.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned();
            ParamError::new(PATTERN, format!("is no regular expression: {last}"))
        };
        Ok(Self { pattern: pattern.map_err(wrong)?, invert: flag(INVERT)? })
    }

    fn map(&self, line: Line<'_>, out: &mut Rows<Self::Row>) -> Result<(), Failure> {
        if self.pattern.is_match(line.bytes) == self.invert {
            return Ok(());
        }
        out.row((line.uri.to_owned(), line.offset, line.text().into_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mr_mapreduce::run_map_only;

    fn found(params: &[(&str, ParamValue)], texts: &[(&str, &str)]) -> Result<Vec<(String, u64, String)>, ParamError> {
        let params = params.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
        Ok(run_map_only(&Grep::open(&params)?, texts).unwrap())
    }

    #[test]
    fn lines_are_found_in_the_order_of_the_input() {
        let texts = [("b.log", "one\nTwo\nthree"), ("a.log", "two\r\n\u{e4}two\n")];
        let row = |key: &str, offset, line: &str| (format!("memory:///{key}"), offset, line.to_owned());
        let pattern = (PATTERN, ParamValue::Text("^two|ree$".into()));
        assert_eq!(
            found(std::slice::from_ref(&pattern), &texts).unwrap(),
            [row("a.log", 0, "two"), row("b.log", 8, "three")]
        );
        let yes = ParamValue::Bool(true);
        let all = found(&[pattern.clone(), (IGNORE_CASE, yes.clone())], &texts).unwrap();
        assert_eq!(all, [row("a.log", 0, "two"), row("b.log", 4, "Two"), row("b.log", 8, "three")]);
        let others = found(&[pattern, (INVERT, yes)], &texts).unwrap();
        assert_eq!(others, [row("a.log", 5, "\u{e4}two"), row("b.log", 0, "one"), row("b.log", 4, "Two")]);
    }

    #[test]
    fn a_pattern_that_is_none_is_refused_in_a_line() {
        let missing = found(&[], &[]).unwrap_err();
        assert_eq!((missing.param, &missing.message[..10]), (PATTERN, "is missing"));
        let wrong = found(&[(PATTERN, ParamValue::Text("a(b".into()))], &[]).unwrap_err();
        assert_eq!(wrong.message, "is no regular expression: unclosed group");
    }
}
