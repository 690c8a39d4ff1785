//! What comes before the first task: the output is looked at, the input listed and cut into splits.

use crate::commit::probes;
use crate::job::Input;
use crate::journal::to_listing;
use crate::key_list;
use crate::orders::object_weight;
use bytes::Bytes;
use mr_core::{Epoch, Failure, FailureClass, FileRef, JobId, JobPlan, Object, expand, plan_splits, select, task_keys};
use mr_proto::{journal, v1};
use mr_storage::{DANGLING, DynStore, Put, StoreError, check_conditional_writes, object_url};
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
}

/// How often a store that fails for now is asked, and how long the first pause is.
const TRIES_MAX: u32 = 6;
const FIRST_PAUSE: Duration = Duration::from_millis(250);

/// What may be said of a split in one message, well below what a message may have.
const SPLIT_WEIGHT_MAX: usize = 16 << 20;

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
    let state = inspect(&output).await.map_err(|error| match error {
        TableError::Store(error) => failed("looking at the output", &error),
        error => refused(error.failure()),
    })?;
    if let OutputState::Ours(table) = &state
        && let Err(error) = mr_table::repair(&output, table).await
    {
        tracing::warn!("tidying up after an earlier job: {}", error.failure().message);
    }
    may_write(&state, spec.mode, spec.adopt, spec.format).map_err(|refusal| Failure::refused(refusal.to_string()))?;
    // Where nothing is, nobody has begun either; and of a table it is settled.
    if matches!(state, OutputState::Empty | OutputState::Foreign { .. }) {
        mr_table::may_begin(&output, spec.format, Some(job)).await.map_err(|error| refused(error.failure()))?;
    }
    // A bucket that is not there or may not be written to is found now and not when every photo is embedded, and so
    // is a store that would let two jobs win. A folder is only made when there is something to put into it.
    if spec.output.starts_with("s3://") {
        let probed = check_conditional_writes(output.as_ref(), &probes(job)).await;
        probed.map_err(|error| failed("checking the output", &error))?;
    }

    if let Some(folder) = spec.output.strip_prefix("file://") {
        let folder = Path::new(folder);
        if let Some(table) =
            folder.ancestors().skip(1).find(|above| LOG_FOLDERS.iter().any(|log| above.join(log).is_dir()))
        {
            return Err(Failure::refused(format!(
                "the output {} lies inside the table {}, whose readers would take these rows for its own; choose another \
                 output",
                folder.display(),
                table.display()
            )));
        }
        may_be_made(folder).map_err(|error| {
            let folder = folder.display();
            Failure::refused(format!("the output {folder} can't be written to: {error}; choose another output"))
        })?;
    }

    let input = mr_storage::open(&spec.input).await.map_err(|error| failed("opening the input", &error))?;
    let (objects, skipped) = match &plan.keys {
        None => (all_under(&input, plan).await?, 0),
        Some(keys) => key_list::objects(&at.state, &input, keys, &plan.filter).await?,
    };
    let mut listing = select(objects, &plan.filter);
    listing.skipped += skipped;
    if listing.objects.is_empty() {
        return Err(Failure::refused(nothing_to_do(plan, listing.skipped)));
    }
    let objects = listing.objects.len() as u64;
    if let Some(min) = plan.objects_min.as_ref().filter(|min| objects < min.count) {
        let (noun, count, why) = (if objects == 1 { "object" } else { "objects" }, min.count, &min.why);
        return Err(Failure::refused(format!("the input has {objects} {noun}, and {count} are needed: {why}")));
    }
    let splits = plan_splits(&listing.objects, &spec.split, plan.cut).map_err(Failure::refused)?;
    if splits
        .iter()
        .any(|split| listing.objects[split.range()].iter().map(object_weight).sum::<usize>() > SPLIT_WEIGHT_MAX)
    {
        let most = spec.split.objects_max;
        return Err(Failure::refused(format!("splits of {most} objects are more than a message can name: use fewer")));
    }
    let count = u32::try_from(splits.len()).map_err(|_| Failure::refused("the input has more splits than 2^32"))?;
    let graph = Arc::new(expand(plan, count).map_err(Failure::refused)?);
    let keys = task_keys(plan, &graph, &listing.objects, &splits);
    let file = write_down(job, at, &to_listing(&listing, &splits)).await?;
    let there = if looks { Some(work_files(&at.state).await?) } else { None };
    Ok(Prepared { input: Arc::new(Input { listing, splits, graph, keys, file, there }) })
}

/// All that is there now.
async fn all_under(input: &DynStore, plan: &JobPlan) -> Result<Vec<Object>, Failure> {
    let objects = input.list("").await.map_err(|error| match error {
        StoreError::NotFound { .. } => Failure::refused(no_input(&plan.spec.input)),
        error => failed("listing the input", &error),
    })?;
    // Whatever was behind it, a folder of photos perhaps, the job would be done without it and nobody would know.
    if let Some(link) = objects.iter().find(|object| object.etag == DANGLING && !plan.filter.wants(&object.key)) {
        let url = object_url(&plan.spec.input, &link.key);
        return Err(Failure::refused(format!(
            "{url} is a link to something that is not there: bring that back, or remove the link"
        )));
    }
    Ok(objects)
}

/// Freezes the listing: whoever goes on with this job works on these objects, whatever has come and gone since.
async fn write_down(job: &JobId, at: &ListingPlace, listing: &v1::Listing) -> Result<FileRef, Failure> {
    let bytes = Bytes::from(journal::listing_to(listing));
    // A coordinator that does not know yet that it was replaced must not write over the other's.
    let key = format!("jobs/{job}/listing-{}", at.epoch);
    let file = FileRef { key, bytes: bytes.len() as u64, crc32: 0 };
    at.state.put(&file.key, bytes, Put::Overwrite).await.map_err(|error| failed("writing down the listing", &error))?;
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
    // What is there but is no folder is an error of `create_dir` below, links to nothing included.
    let there = folder.ancestors().find(|folder| folder.symlink_metadata().is_ok()).unwrap_or(Path::new("/"));
    let probe = there.join(format!(".mr-probe-{}", std::process::id()));
    match std::fs::create_dir(&probe) {
        Ok(()) => std::fs::remove_dir(&probe),
        // Another job of this process is asking the same at this moment, and has its answer.
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error),
    }
}

fn no_input(url: &str) -> String {
    // A prefix with nothing under it is no error to S3.
    let lacking = if url.starts_with("s3://") { "bucket" } else { "folder" };
    format!("there is no input at {url}: the {lacking} does not exist")
}

fn nothing_to_do(plan: &JobPlan, skipped: u64) -> String {
    let wanted = plan.filter.extensions.iter().map(|ext| format!(".{ext}")).collect::<Vec<_>>().join(", ");
    match (skipped, wanted.as_str()) {
        _ if plan.keys.is_some() => format!(
            "the list names no object for this job to work on, and {skipped} that it does not: check `input_list` and \
             `params.extensions`"
        ),
        (0, _) => format!("the input at {} is empty", plan.spec.input),
        (_, wanted) => format!(
            "none of the {skipped} objects at {} ends in {wanted}: check `input` and `params.extensions`",
            plan.spec.input
        ),
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
