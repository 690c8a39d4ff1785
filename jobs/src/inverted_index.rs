//! `inverted-index`: every word of some text, and the objects that it occurs in.

use mr_core::{Failure, Params};
use mr_mapreduce::{Emit, Line, Lines, MapReduce, ParamError, Rows, Values};

/// Words are runs of letters and digits, as Unicode has them, in lower case. A row for each word and object, columns `word`,
/// `path` (of the object, as a URI) and `count` (how often the word occurs in it), in the byte order of both.
pub struct InvertedIndex;

impl MapReduce for InvertedIndex {
    const NAME: &str = "inverted-index";
    const VERSION: u32 = 1;
    const ABOUT: &str = "Words of text files, the files that each of them occurs in, and how often";
    const COLUMNS: &[&str] = &["word", "path", "count"];
    type Input = Lines;
    type Key = (String, String);
    type Value = u64;
    type Row = (String, String, u64);

    fn open(_: &Params) -> Result<Self, ParamError> {
        Ok(Self)
    }

    const COMBINES: bool = true;

    fn combine(&self, count: &mut u64, more: u64) {
        *count += more;
    }

    fn map(&self, line: Line<'_>, out: &mut Emit<'_, Self>) -> Result<(), Failure> {
        let text = line.text();
        for word in text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()) {
            out.emit((&word.to_lowercase(), line.uri), 1);
        }
        Ok(())
    }

    fn reduce(
        &self,
        (word, object): (String, String),
        counts: Values<'_, u64>,
        out: &mut Rows<Self::Row>,
    ) -> Result<(), Failure> {
        out.row((word, object, counts.sum()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mr_mapreduce::run_local;

    #[test]
    fn words_are_found_where_they_occur() {
        let texts = [("b.txt", "To be, or not to be:\nthat's"), ("a.txt", "be-be"), ("c.txt", "...")];
        let row = |word: &str, key: &str, count| (word.to_owned(), format!("memory:///{key}"), count);
        let rows = [
            row("be", "a.txt", 2),
            row("be", "b.txt", 2),
            row("not", "b.txt", 1),
            row("or", "b.txt", 1),
            row("s", "b.txt", 1),
            row("that", "b.txt", 1),
            row("to", "b.txt", 2),
        ];
        assert_eq!(run_local(&InvertedIndex, &texts).unwrap(), rows);
    }
}
