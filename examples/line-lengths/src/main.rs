//! How many lines of some text have which length: a job of one's own, in a program of its own.
//!
//! `line-lengths JOB.toml` runs it here, `line-lengths coordinator`, `line-lengths worker` and
//! `line-lengths --coordinator URL JOB.toml` on many machines.

use mr::{Emit, Failure, Line, Lines, MapReduce, ParamError, Params, Registry, Rows, Values};
use std::process::ExitCode;

struct LineLengths;

impl MapReduce for LineLengths {
    const NAME: &str = "line-lengths";
    const VERSION: u32 = 1;
    const ABOUT: &str = "How many lines of text there are of each length";
    const COLUMNS: &[&str] = &["characters", "lines"];
    type Input = Lines;
    type Key = u64;
    type Value = u64;
    type Row = (u64, u64);

    fn open(_: &Params) -> Result<Self, ParamError> {
        Ok(Self)
    }

    const COMBINES: bool = true;

    fn combine(&self, lines: &mut u64, more: u64) {
        *lines += more;
    }

    fn map(&self, line: Line<'_>, out: &mut Emit<'_, Self>) -> Result<(), Failure> {
        out.count("bytes", line.bytes.len() as u64);
        out.emit(line.text().chars().count() as u64, 1);
        Ok(())
    }

    fn reduce(&self, characters: u64, lines: Values<'_, u64>, out: &mut Rows<Self::Row>) -> Result<(), Failure> {
        out.count("lengths", 1);
        out.row((characters, lines.sum()))
    }
}

fn main() -> ExitCode {
    mr::main(Registry::default().with_map_reduce::<LineLengths>())
}

#[test]
fn lines_of_one_length_are_counted_together() {
    let rows = mr::run_local(&LineLengths, &[("a.txt", "to be\nor not\n"), ("b.txt", "Öl an!")]).unwrap();
    assert_eq!(rows, [(5, 1), (6, 2)]);
}
