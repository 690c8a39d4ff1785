//! What an output is before a job writes to it, and whether the job may.

use crate::error::Refusal;
use crate::names::{self, Log};
use crate::snapshot::Snapshot;
use mr_core::{JobId, Mode, Object, OutputFormat};
use std::collections::BTreeSet;

/// How many names a sentence shows.
const NAMED: usize = 3;

#[derive(Clone, Debug, PartialEq)]
pub enum OutputState {
    Absent,
    /// Nothing that anybody would miss: hidden files, or what jobs that never committed left behind.
    Empty,
    Ours(Snapshot),
    Foreign {
        /// A Delta table that somebody else made.
        table: Option<Snapshot>,
        /// Parquet directly in the folder, all of it.
        parquet: Vec<String>,
        /// Parquet further down that no log of this folder knows.
        below: Vec<String>,
        /// How many other files there are.
        other: usize,
    },
}

/// Sorts a listing of the output, given what its log says.
pub(crate) fn classify(listing: &[Object], table: Option<Snapshot>) -> OutputState {
    if let Some(snapshot) = &table
        && snapshot.ours()
    {
        return OutputState::Ours(table.expect("it is some"));
    }
    // With a mark of success they are a result whose log was lost, which somebody would miss.
    let finished = listing.iter().any(|object| object.key == names::SUCCESS);
    let left = if finished { BTreeSet::new() } else { uncommitted(listing, table.as_ref()) };
    let leftover = |key: &str| names::job_of_part(key).is_some_and(|job| left.contains(&job));
    let known: BTreeSet<&str> = table.iter().flat_map(|t| &t.files).filter_map(|f| f.key.as_deref()).collect();
    let (mut parquet, mut below, mut other) = (Vec::new(), Vec::new(), 0);
    for key in listing.iter().map(|object| object.key.as_str()).filter(|key| names::visible(key) && !leftover(key)) {
        match (names::is_parquet(key), key.contains('/')) {
            (true, false) => parquet.push(key.to_owned()),
            (true, true) if known.contains(key) => {}
            (true, true) => below.push(key.to_owned()),
            (false, _) => other += 1,
        }
    }
    if table.is_none() && parquet.is_empty() && below.is_empty() && other == 0 {
        return OutputState::Empty;
    }
    OutputState::Foreign { table, parquet, below, other }
}

/// Jobs that published something here and have not committed, in their order.
pub(crate) fn uncommitted(listing: &[Object], table: Option<&Snapshot>) -> BTreeSet<JobId> {
    let marked = listing.iter().filter_map(|object| match names::job_of_run_file(&object.key) {
        Some((job, names::MARKER)) => Some(job),
        _ => None,
    });
    marked.filter(|job| table.is_none_or(|table| table.run_of(job).is_none())).collect()
}

/// Whether a job may replace what is there with rows of that format. A refusal says what to do.
pub fn may_write(state: &OutputState, mode: Mode, adopt: bool, format: OutputFormat) -> Result<(), Refusal> {
    let refuse = |sentence: String| Err(Refusal(format!("{sentence}, or choose another output")));
    match state {
        OutputState::Absent | OutputState::Empty => Ok(()),
        OutputState::Ours(table) if table.log() != Log::of(format) => refuse(format!(
            "the output is a table of {}, and this job writes {}: remove it, or set output_format as it was",
            table.format.word(),
            format.word()
        )),
        // Whoever reads a folder of lines reads all of it.
        OutputState::Foreign { parquet, below, other, .. } if Log::of(format) == Log::Lines => {
            let (count, word) = (parquet.len() + below.len() + other, format.word());
            let (files, them) = if count == 1 {
                ("1 file that is not".to_owned(), "it")
            } else {
                (format!("{count} files that are not"), "them")
            };
            refuse(format!(
                "the output holds {files} of a table of ours, and readers of {word} would read {them}, too: move {them} away"
            ))
        }
        OutputState::Ours(table) => match mode {
            Mode::Overwrite => Ok(()),
            Mode::Fail => {
                let rows = table.rows().map_or("an unknown number of".to_owned(), |rows| rows.to_string());
                refuse(format!(
                    "the output exists: it is a table with {rows} rows (version {}); replace them with \
                     `--set mode=overwrite`",
                    table.version
                ))
            }
        },
        OutputState::Foreign { below, .. } if !below.is_empty() => refuse(format!(
            "the output has Parquet in folders below it ({}), and a table lies flat in its own folder; move that away",
            several(below)
        )),
        OutputState::Foreign { table, parquet, .. } if table.is_some() || !parquet.is_empty() => {
            let what = match table {
                Some(table) => format!("a Delta table of another program (version {})", table.version),
                None => format!("Parquet that is no table of ours ({})", several(parquet)),
            };
            match (mode, adopt) {
                (Mode::Overwrite, true) => Ok(()),
                (Mode::Overwrite, false) => {
                    refuse(format!("the output holds {what}; replace it, old files and all, with `--adopt`"))
                }
                (Mode::Fail, _) => refuse(format!(
                    "the output exists: it holds {what}; replace it, old files and all, with `--adopt --set \
                     mode=overwrite`"
                )),
            }
        }
        OutputState::Foreign { other, .. } => match mode {
            Mode::Overwrite => Ok(()),
            Mode::Fail => {
                let (files, them) = if *other == 1 {
                    ("1 file, which is not".into(), "it")
                } else {
                    (format!("{other} files, none of them"), "them")
                };
                refuse(format!(
                    "the output exists: it holds {files} Parquet; write beside {them} with `--set mode=overwrite`"
                ))
            }
        },
    }
}

fn several(names: &[String]) -> String {
    let mut text = names.iter().take(NAMED).map(String::as_str).collect::<Vec<_>>().join(", ");
    if names.len() > NAMED {
        text.push_str(&format!(" and {} more", names.len() - NAMED));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(keys: &[&str]) -> OutputState {
        let listing: Vec<_> =
            keys.iter().map(|key| Object { key: (*key).into(), bytes: 1, etag: String::new() }).collect();
        classify(&listing, None)
    }

    fn verdicts(keys: &[&str]) -> [bool; 4] {
        let state = state(keys);
        [(Mode::Fail, false), (Mode::Fail, true), (Mode::Overwrite, false), (Mode::Overwrite, true)]
            .map(|(mode, adopt)| may_write(&state, mode, adopt, OutputFormat::Parquet).is_ok())
    }

    #[test]
    fn what_may_be_written_to() {
        let (always, never) = ([true; 4], [false; 4]);
        assert_eq!(verdicts(&[]), always);
        assert_eq!(verdicts(&[".gitkeep", "_temporary/x.parquet", "_SUCCESS"]), always);
        assert_eq!(verdicts(&["_runs/j/job.json", "part-00000-j.parquet"]), always, "a killed job's leftovers");
        assert_eq!(verdicts(&["part-00000-j.parquet"]), [false, false, false, true], "anybody's");
        let finished = ["_runs/j/job.json", "part-00000-j.parquet", "_SUCCESS"];
        assert_eq!(verdicts(&finished), [false, false, false, true], "a result whose log is lost");
        assert_eq!(verdicts(&["a.parquet", "notes.txt"]), [false, false, false, true]);
        assert_eq!(verdicts(&["notes.txt"]), [false, false, true, true]);
        assert_eq!(verdicts(&["a.parquet", "year=1/a.parquet"]), never);
    }

    #[test]
    fn a_refusal_says_what_to_do() {
        let keys = ["a.parquet", "b.parquet", "c.parquet", "d.parquet", "e.parquet"];
        assert_eq!(
            may_write(&state(&keys), Mode::Overwrite, false, OutputFormat::Parquet).unwrap_err().0,
            "the output holds Parquet that is no table of ours (a.parquet, b.parquet, c.parquet and 2 more); replace \
             it, old files and all, with `--adopt`, or choose another output"
        );
    }
}
