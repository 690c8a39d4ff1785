//! What tells texts apart: words by how often they are in a text and in how few texts they are. A job of one's own in three
//! stages, in a program of its own.
//!
//! `tf-idf JOB.toml` runs it here, `tf-idf coordinator`, `tf-idf worker` and `tf-idf --coordinator URL JOB.toml` on many
//! machines.

use mr::{
    Emit, Failure, Given, Line, Lines, MapReduce, ParamError, ParamKind, ParamSpec, ParamValue, Params, Pipeline,
    Reduced, Registry, Rows, Stage, Stages, Values,
};
use std::collections::BTreeMap;
use std::process::ExitCode;

/// How often each word is in each text.
struct Counts;

impl MapReduce for Counts {
    const NAME: &str = "counts";
    const VERSION: u32 = 1;
    const ABOUT: &str = "How often each word is in each text";
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
        let text = line.text().to_lowercase();
        let words = text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty());
        words.for_each(|word| out.emit((word, line.key), 1));
        Ok(())
    }

    fn reduce(
        &self,
        (word, path): Self::Key,
        counts: Values<'_, u64>,
        out: &mut Rows<Self::Row>,
    ) -> Result<(), Failure> {
        out.row((word, path, counts.sum()))
    }
}

/// How many words each text has.
struct Texts;

impl MapReduce for Texts {
    const NAME: &str = "texts";
    const VERSION: u32 = 1;
    const ABOUT: &str = "How many words each text has";
    const COLUMNS: &[&str] = &["path", "words"];
    type Input = Reduced<Counts>;
    type Key = String;
    type Value = u64;
    type Row = (String, u64);

    fn open(_: &Params) -> Result<Self, ParamError> {
        Ok(Self)
    }

    const COMBINES: bool = true;

    fn combine(&self, words: &mut u64, more: u64) {
        *words += more;
    }

    fn map(&self, (_, path, count): (String, String, u64), out: &mut Emit<'_, Self>) -> Result<(), Failure> {
        out.emit(&path, count);
        Ok(())
    }

    fn reduce(&self, path: String, words: Values<'_, u64>, out: &mut Rows<Self::Row>) -> Result<(), Failure> {
        out.row((path, words.sum()))
    }
}

/// The share of a word among those of a text, times the logarithm of how many texts there are to one that has it.
struct Scores {
    count_min: u64,
    /// Words of each text.
    texts: BTreeMap<String, u64>,
}

impl MapReduce for Scores {
    const NAME: &str = "scores";
    const VERSION: u32 = 1;
    const ABOUT: &str = "How much each word tells of each text";
    const COLUMNS: &[&str] = &["word", "path", "count", "score"];
    type Input = Reduced<Counts>;
    type Key = String;
    type Value = (String, u64);
    type Row = (String, String, u64, f64);

    fn params() -> Vec<ParamSpec> {
        let default = Some(ParamValue::Integer(1));
        let help = "words that a text has less often are left out of it";
        vec![ParamSpec { name: "count_min", kind: ParamKind::Integer, default, help }]
    }

    fn open(params: &Params) -> Result<Self, ParamError> {
        match params.get("count_min") {
            Some(ParamValue::Integer(count @ 1..)) => Ok(Self { count_min: *count as u64, texts: BTreeMap::new() }),
            _ => Err(ParamError::new("count_min", "should be at least 1")),
        }
    }

    fn receive(&mut self, given: &Given<'_>) -> Result<(), Failure> {
        self.texts = given.reduced::<Texts>()?.into_iter().collect();
        Ok(())
    }

    fn map(&self, (word, path, count): (String, String, u64), out: &mut Emit<'_, Self>) -> Result<(), Failure> {
        out.emit(&word, (path, count));
        Ok(())
    }

    fn reduce(&self, word: String, found: Values<'_, (String, u64)>, out: &mut Rows<Self::Row>) -> Result<(), Failure> {
        let found: Vec<_> = found.collect();
        // Of this crate and not of the system's library, so that every machine comes to the same last bit.
        let rarity = libm::log(self.texts.len() as f64 / found.len() as f64);
        for (path, count) in found.into_iter().filter(|(_, count)| *count >= self.count_min) {
            let share = count as f64 / self.texts[&path] as f64;
            out.row((word.clone(), path, count, share * rarity))?;
        }
        Ok(())
    }
}

struct TfIdf;

impl Pipeline for TfIdf {
    const NAME: &str = "tf-idf";
    const VERSION: u32 = 1;
    const ABOUT: &str = "Words that tell texts apart";
    type Row = (String, String, u64, f64);

    fn stages(stages: &mut Stages) -> Stage<'_, Self::Row> {
        stages.map_reduce::<Counts>();
        stages.map_reduce::<Texts>();
        stages.map_reduce::<Scores>().given::<Texts>()
    }
}

fn main() -> ExitCode {
    mr::main(Registry::default().with_pipeline::<TfIdf>())
}

#[test]
fn a_word_that_every_text_has_tells_nothing() {
    let texts = [("a.txt", "To be or not to be"), ("b.txt", "be\nquick")];
    let rows = mr::run_pipeline::<TfIdf>(&Params::new(), &texts).unwrap();
    let score =
        |of: &str| rows.iter().find(|(word, ..)| word == of).map(|(_, path, count, score)| (&**path, *count, *score));
    assert_eq!(score("be"), Some(("a.txt", 2, 0.0)));
    assert_eq!(score("to"), Some(("a.txt", 2, 2.0 / 6.0 * std::f64::consts::LN_2)));
    assert_eq!(score("quick"), Some(("b.txt", 1, 0.5 * std::f64::consts::LN_2)));
}
