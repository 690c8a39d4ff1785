//! What `cargo xtask bench data` is asked for: which parts, how many rounds of each, and how much they read.

use anyhow::{Result, bail, ensure};

use crate::args::Args;

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Part {
    Words,
    Sort,
    Stream,
}

/// What is asked of one part.
#[derive(Debug, PartialEq)]
pub struct Asked {
    pub part: Part,
    pub rounds: usize,
    /// Spark takes so long that it is left out of the rounds after these.
    pub spark_rounds: usize,
    pub megabytes: u64,
}

impl Part {
    /// Its rounds, those with Spark, and megabytes where nothing else is asked for.
    fn usual(self) -> Asked {
        let (rounds, spark_rounds, megabytes) = match self {
            Part::Words => (5, 1, 1000),
            Part::Sort => (3, 1, 1000),
            Part::Stream => (3, 0, 100),
        };
        Asked { part: self, rounds, spark_rounds, megabytes }
    }
}

/// All parts in turn, or the one that is named. An option is for each of them.
pub fn read(mut args: Args) -> Result<Vec<Asked>> {
    let rounds: Option<usize> = args.option("--rounds")?;
    let spark_rounds: Option<usize> = args.option("--spark-rounds")?;
    let megabytes: Option<u64> = args.option("--megabytes")?;
    let parts = match args.word().as_deref() {
        None => vec![Part::Words, Part::Sort, Part::Stream],
        Some("words") => vec![Part::Words],
        Some("sort") => vec![Part::Sort],
        Some("stream") => vec![Part::Stream],
        Some(other) => bail!("cargo xtask bench data has words, sort and stream, not {other:?}"),
    };
    args.done()?;
    ensure!(rounds != Some(0), "--rounds must be at least 1");
    ensure!(megabytes != Some(0), "--megabytes must be at least 1");
    ensure!(
        parts != [Part::Stream] || spark_rounds.is_none(),
        "there is no Spark beside stream: leave --spark-rounds out"
    );
    let asked = parts.into_iter().map(Part::usual).map(|usual| Asked {
        rounds: rounds.unwrap_or(usual.rounds),
        spark_rounds: spark_rounds.filter(|_| usual.spark_rounds > 0).unwrap_or(usual.spark_rounds),
        megabytes: megabytes.unwrap_or(usual.megabytes),
        ..usual
    });
    Ok(asked.collect())
}

#[cfg(test)]
mod tests {
    use super::{Asked, Part, read};
    use crate::args::Args;

    #[track_caller]
    fn refused(args: &[&str], reason: &str) {
        let error = read(Args::new(args.iter().copied())).unwrap_err().to_string();
        assert!(error.contains(reason), "{error}");
    }

    #[test]
    fn without_a_name_all_parts_are_meant_as_usual() {
        let asked = read(Args::new([""; 0])).unwrap();
        let parts = [Part::Words, Part::Sort, Part::Stream];
        assert_eq!(asked, parts.map(Part::usual));
        assert_eq!(asked.iter().map(|asked| asked.megabytes).collect::<Vec<_>>(), [1000, 1000, 100]);
    }

    #[test]
    fn options_are_for_each_part_and_spark_is_not_beside_stream() {
        let asked = read(Args::new(["--rounds", "2", "--megabytes=10", "--spark-rounds", "0"])).unwrap();
        assert!(
            asked.iter().all(|asked| (asked.rounds, asked.spark_rounds, asked.megabytes) == (2, 0, 10)),
            "{asked:?}"
        );
        let asked = read(Args::new(["--spark-rounds", "2"])).unwrap();
        assert_eq!(asked.iter().map(|asked| asked.spark_rounds).collect::<Vec<_>>(), [2, 2, 0]);
    }

    #[test]
    fn a_part_can_be_had_alone() {
        for args in [["sort", "--rounds", "7"], ["--rounds", "7", "sort"]] {
            let expected = Asked { part: Part::Sort, rounds: 7, spark_rounds: 1, megabytes: 1000 };
            assert_eq!(read(Args::new(args)).unwrap(), [expected]);
        }
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        refused(&["word"], "has words, sort and stream, not \"word\"");
        refused(&["words", "sort"], "\"sort\" is not understood");
        refused(&["--cores", "2"], "not \"--cores\"");
        refused(&["--rounds", "0"], "at least 1");
        refused(&["stream", "--megabytes", "0"], "at least 1");
        refused(&["stream", "--spark-rounds", "1"], "no Spark beside stream");
    }
}
