//! `word-count`: every word of some text, and how often it occurs.

use mr_core::{Failure, ParamValue, Params};
use mr_mapreduce::{Emit, Line, Lines, MapReduce, ParamError, ParamKind, ParamSpec, Rows, Values};

const LOWERCASE: &str = "lowercase";

/// Words are what is between white space, as Unicode has it. Columns `word` and `count`, in the byte order of the words.
pub struct WordCount {
    lowercase: bool,
}

impl MapReduce for WordCount {
    const NAME: &str = "word-count";
    const VERSION: u32 = 1;
    const ABOUT: &str = "Words of text files, and how often each of them occurs";
    const COLUMNS: &[&str] = &["word", "count"];
    type Input = Lines;
    type Key = String;
    type Value = u64;
    type Row = (String, u64);

    fn params() -> Vec<ParamSpec> {
        vec![ParamSpec {
            name: LOWERCASE,
            kind: ParamKind::Bool,
            default: Some(ParamValue::Bool(false)),
            help: "whether words that differ in case only are one",
        }]
    }

    fn open(params: &Params) -> Result<Self, ParamError> {
        match params.get(LOWERCASE) {
            None => Ok(Self { lowercase: false }),
            Some(ParamValue::Bool(lowercase)) => Ok(Self { lowercase: *lowercase }),
            Some(_) => Err(ParamError::new(LOWERCASE, "should be true or false")),
        }
    }

    const COMBINES: bool = true;

    fn combine(&self, count: &mut u64, more: u64) {
        *count += more;
    }

    fn map(&self, line: Line<'_>, out: &mut Emit<'_, Self>) -> Result<(), Failure> {
        for word in line.text().split_whitespace() {
            if self.lowercase {
                out.emit(&word.to_lowercase(), 1);
            } else {
                out.emit(word, 1);
            }
        }
        Ok(())
    }

    fn reduce(&self, word: String, counts: Values<'_, u64>, out: &mut Rows<Self::Row>) -> Result<(), Failure> {
        out.row((word, counts.sum()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mr_mapreduce::run_local;

    fn count(lowercase: bool, texts: &[(&str, &str)]) -> Vec<(String, u64)> {
        run_local(&WordCount { lowercase }, texts).unwrap()
    }

    #[test]
    fn words_are_counted_over_all_files_in_their_order() {
        let texts = [("b.txt", "to be\nor not"), ("a.txt", "\tTo  be \u{3000}Öl\r\n\r\n"), ("empty.txt", "")];
        let row = |word: &str, count| (word.to_owned(), count);
        let rows = [row("To", 1), row("be", 2), row("not", 1), row("or", 1), row("to", 1), row("Öl", 1)];
        assert_eq!(count(false, &texts), rows);
        let rows = [row("be", 2), row("not", 1), row("or", 1), row("to", 2), row("öl", 1)];
        assert_eq!(count(true, &texts), rows);
        assert_eq!(count(true, &[]), []);
    }
}
