//! Before a table's first entry: whether nobody is about to make one of another kind in the same folder.
//!
//! Of jobs that write to one log one wins, since its next entry is written once. A table of Parquet and one of lines have two
//! logs, and nothing would keep both from being written.

use crate::error::{Refusal, TableError};
use crate::names::{self, Log};
use crate::state::uncommitted;
use crate::survey::survey;
use mr_core::{JobId, OutputFormat};
use mr_storage::{DynStore, GetOptions, StoreError};

/// Asked before anything is done for `job`, and again when it has set its mark and is about to write its entry: of two that do
/// so at once one sees the other, if not both.
///
/// # Errors
/// `Refused` when a job that wants rows of another kind has begun to write, and has not committed.
pub async fn may_begin(output: &DynStore, format: OutputFormat, job: Option<&JobId>) -> Result<(), TableError> {
    let own = Log::of(format);
    let survey = survey(output).await?;
    if let Some(table) = survey.table().filter(|table| table.log() != own) {
        let word = table.format.word();
        return Err(Refusal(format!(
            "another job has made the output a table of {word} meanwhile: choose another output"
        ))
        .into());
    }
    for other in uncommitted(&survey.listing, survey.table()).iter().filter(|other| Some(*other) != job) {
        let theirs = match output.get(&names::marker(other), GetOptions::default()).await {
            Ok(mark) => names::format_in(&mark.bytes),
            // It has given up since.
            Err(StoreError::NotFound { .. }) => continue,
            Err(error) => return Err(error.into()),
        };
        if Log::of(theirs) != own {
            let (folder, theirs, ours) = (names::run_folder(other), theirs.word(), format.word());
            return Err(Refusal(format!(
                "job {other} has begun to write {theirs} to the output, and this one writes {ours}: wait for it, or if it runs no \
                 more remove {folder} and the parts that have its id, or choose another output"
            ))
            .into());
        }
    }
    Ok(())
}
