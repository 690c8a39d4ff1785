//! What a job works on and what that is cut into, without a write: as a job is prepared, and for whoever only plans it.

use crate::key_list;
use crate::orders::object_weight;
use crate::prepare::failed;
use mr_core::{Failure, JobPlan, KeyList, Listing, Object, Split, TaskGraph, expand, plan_splits, select};
use mr_storage::{DANGLING, DynStore, StoreError, object_url};

/// What may be said of a split in one message, well below what a message may have.
const SPLIT_WEIGHT_MAX: usize = 16 << 20;

/// The objects that the job works on, and how many it does not. `keys`: what the input's list names, if it has one.
///
/// # Errors
/// `Refused` when there is nothing to do, or too little.
pub async fn listing(input: &DynStore, plan: &JobPlan, keys: Option<KeyList>) -> Result<Listing, Failure> {
    let (objects, skipped) = match keys {
        None => (all_under(input, plan).await?, 0),
        Some(keys) => key_list::objects(input, keys, &plan.filter).await?,
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
    Ok(listing)
}

/// Its splits and tasks.
///
/// # Errors
/// `Refused` when there would be too many, or one that no message could name.
pub fn cut(plan: &JobPlan, listing: &Listing) -> Result<(Vec<Split>, TaskGraph), Failure> {
    let spec = &plan.spec;
    let splits = plan_splits(&listing.objects, &spec.split, plan.cut).map_err(Failure::refused)?;
    if splits
        .iter()
        .any(|split| listing.objects[split.range()].iter().map(object_weight).sum::<usize>() > SPLIT_WEIGHT_MAX)
    {
        let most = spec.split.objects_max;
        return Err(Failure::refused(format!("splits of {most} objects are more than a message can name: use fewer")));
    }
    let count = u32::try_from(splits.len()).map_err(|_| Failure::refused("the input has more splits than 2^32"))?;
    let graph = expand(plan, count).map_err(Failure::refused)?;
    Ok((splits, graph))
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
