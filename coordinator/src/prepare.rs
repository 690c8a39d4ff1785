//! What comes before the first task: the output is looked at, the input listed and cut into splits.

use crate::commit::probes;
use crate::job::Input;
use crate::journal::to_listing;
use crate::key_list;
use crate::listing::{cut, listing};
use bytes::Bytes;
use mr_core::{Epoch, Failure, FailureClass, FileRef, JobId, JobPlan, JobSpec, task_keys};
use mr_proto::{journal, v1};
use mr_storage::{DynStore, Meter, Overlap, Put, StoreError, check_conditional_writes, metered, overlap};
use mr_table::{LOG_FOLDERS, OutputState, TableError, inspect, may_write};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

pub struct Prepared {
    pub input: Arc<Input>,
}

/// Where listings are written down.
pub struct ListingPlace {
    pub state: DynStore,
    pub epoch: Epoch,
    /// Counts what that takes.
    pub meter: Meter,
}

/// How often a store that fails for now is asked, and how long the first pause is.
const TRIES_MAX: u32 = 6;
const FIRST_PAUSE: Duration = Duration::from_millis(250);

/// # Errors
/// `Refused` for whatever the user can put right before anything is written.
pub async fn prepare(job: &JobId, plan: &JobPlan, at: &ListingPlace, looks: bool) -> Result<Prepared, Failure> {
    let mut pause = FIRST_PAUSE;
    for _ in 1..TRIES_MAX {
        match once(job, plan, at, looks).await {
            Err(failure) if failure.class.retryable() => tracing::warn!("{failure}; trying again"),
            ended => return ended,
        }
        tokio::time::sleep(pause).await;
        pause *= 2;
    }
    once(job, plan, at, looks).await
}

async fn once(job: &JobId, plan: &JobPlan, at: &ListingPlace, looks: bool) -> Result<Prepared, Failure> {
    let spec = &plan.spec;
    let output = mr_storage::open(&spec.output).await.map_err(|error| failed("opening the output", &error))?;
    apart(at.state.url(), output.url())?;
    let output = metered(&output, &at.meter);
    let state = inspect(&output).await.map_err(|error| match error {
        TableError::Store(error) => failed("looking at the output", &error),
        error => refused(error.failure()),
    })?;
    if let OutputState::Ours(table) = &state
        && let Err(error) = mr_table::repair(&output, table).await
    {
        tracing::warn!("tidying up after an earlier job: {}", error.failure().message);
    }
    fits(&state, &output, spec, Some(job)).await?;
    // A bucket that is not there or may not be written to is found now and not when every photo is embedded, and so
    // is a store that would let two jobs win. A folder is only made when there is something to put into it.
    if spec.output.starts_with("s3://") {
        let probed = check_conditional_writes(output.as_ref(), &probes(job)).await;
        probed.map_err(|error| failed("checking the output", &error))?;
    }

    if let Some(folder) = spec.output.strip_prefix("file://") {
        may_be_made(Path::new(folder)).map_err(|error| {
            Failure::refused(format!("the output {folder} can't be written to: {error}; choose another output"))
        })?;
    }

    let input = mr_storage::open(&spec.input).await.map_err(|error| failed("opening the input", &error))?;
    let input = metered(&input, &at.meter);
    let state = metered(&at.state, &at.meter);
    let keys = match &plan.keys {
        None => None,
        Some(keys) => Some(key_list::read(&state, keys).await?),
    };
    let listing = listing(&input, plan, keys).await?;
    let (splits, graph) = cut(plan, &listing)?;
    let graph = Arc::new(graph);
    let keys = task_keys(plan, &graph, &listing.objects, &splits);
    let file = write_down(job, &state, at.epoch, &to_listing(&listing, &splits)).await?;
    let there = if looks { Some(work_files(&state).await?) } else { None };
    Ok(Prepared { input: Arc::new(Input { listing, splits, graph, keys, file, there }) })
}

/// Why a job would be refused its output, if reading alone can tell; nothing is written.
pub async fn refusal(spec: &JobSpec) -> Option<String> {
    let output = mr_storage::open(&spec.output).await.ok()?;
    let failure = match inspect(&output).await {
        Ok(state) => fits(&state, &output, spec, None).await.err()?,
        Err(error) => refused(error.failure()),
    };
    // A store that does not answer this process may well answer those that would do the job.
    (failure.class == FailureClass::Refused).then_some(failure.message)
}

/// Whether the rows of such a job, of this one for instance, may come to what is there.
async fn fits(state: &OutputState, output: &DynStore, spec: &JobSpec, job: Option<&JobId>) -> Result<(), Failure> {
    may_write(state, spec.mode, spec.adopt, spec.format).map_err(|refusal| Failure::refused(refusal.to_string()))?;
    // Where nothing is, nobody has begun either; and of a table it is settled.
    if matches!(state, OutputState::Empty | OutputState::Foreign { .. }) {
        mr_table::may_begin(output, spec.format, job).await.map_err(|error| refused(error.failure()))?;
    }
    let Some(folder) = spec.output.strip_prefix("file://").map(Path::new) else { return Ok(()) };
    let above = folder.ancestors().skip(1).find(|above| LOG_FOLDERS.iter().any(|log| above.join(log).is_dir()));
    match above {
        None => Ok(()),
        Some(table) => Err(Failure::refused(format!(
            "the output {} lies inside the table {}, whose readers would take these rows for its own; choose another output",
            folder.display(),
            table.display()
        ))),
    }
}

/// What a cluster goes on from is nobody's output: whoever may submit may not write there, nor by a link.
fn apart(state: &str, output: &str) -> Result<(), Failure> {
    match overlap(state, output) {
        None => Ok(()),
        Some(Overlap::Same | Overlap::Inside | Overlap::Around) => Err(Failure::refused(format!(
            "the output {output} and the coordinator's state {state} lie within each other; choose another output"
        ))),
    }
}

/// Freezes the listing: whoever goes on with this job works on these objects, whatever has come and gone since.
async fn write_down(job: &JobId, state: &DynStore, epoch: Epoch, listing: &v1::Listing) -> Result<FileRef, Failure> {
    let bytes = Bytes::from(journal::listing_to(listing));
    // A coordinator that does not know yet that it was replaced must not write over the other's.
    let key = format!("jobs/{job}/listing-{epoch}");
    let file = FileRef { key, bytes: bytes.len() as u64, crc32: 0 };
    state.put(&file.key, bytes, Put::Overwrite).await.map_err(|error| failed("writing down the listing", &error))?;
    Ok(file)
}

async fn work_files(state: &DynStore) -> Result<BTreeMap<String, u64>, Failure> {
    match state.list("work/").await {
        Ok(objects) => Ok(objects.into_iter().map(|object| (object.key, object.bytes)).collect()),
        Err(StoreError::NotFound { .. }) => Ok(BTreeMap::new()),
        Err(error) => Err(failed("looking for what other jobs have done", &error)),
    }
}

/// Tries to make something where the output, or the first folder on the way to it, would be made.
fn may_be_made(folder: &Path) -> std::io::Result<()> {
    // What is there but is no folder is an error of `create_dir` below, links to nothing included: with a slash at its end
    // the system would look behind those.
    let folder = folder.components().as_path();
    let there = folder.ancestors().find(|folder| folder.symlink_metadata().is_ok()).unwrap_or(Path::new("/"));
    let probe = there.join(format!(".mr-probe-{}", std::process::id()));
    match std::fs::create_dir(&probe) {
        Ok(()) => std::fs::remove_dir(&probe),
        // Another job of this process is asking the same at this moment, and has its answer.
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error),
    }
}

/// What will not go well another time either is the user's to put right.
pub fn failed(doing: &str, error: &StoreError) -> Failure {
    let failure = refused(crate::commit::of_store(error));
    Failure::new(failure.class, format!("{doing}: {}", failure.message))
}

fn refused(failure: Failure) -> Failure {
    match failure.class {
        FailureClass::Permanent => Failure::refused(failure.message),
        _ => failure,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_to_nothing_is_no_place_for_an_output() {
        let folder = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink("nowhere", folder.path().join("link")).unwrap();
        for (output, may) in [("new/", true), ("new/deep/", true), ("", true), ("link", false), ("link/", false)] {
            assert_eq!(may_be_made(&folder.path().join(output)).is_ok(), may, "{output}");
        }
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "nothing is left behind");
    }
}
