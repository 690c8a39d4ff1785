//! The rows of some records once more, long after their job: the same code on the same way, from an object through every
//! stage that takes one row and gives one, without what lies beside that way.
//!
//! Work files are in this process's memory, but for rows that there is no room for, which pass through the host's scratch
//! folder. What a stage beside the way broadcast (a fit, say) comes from whoever asks, since making it would take all records.

use crate::attempt::{Control, execute};
use crate::broadcast::Broadcast;
use crate::host::Host;
use bytes::Bytes;
use futures::future::try_join_all;
use mr_core::{
    AttemptId, BlobRef, BroadcastRef, Failure, JobId, JobPlan, Object, Order, Quarantined, Source, StagePlan, TaskId,
    Work,
};
use mr_storage::{DynStore, GetOptions, Put};
use std::sync::atomic::{AtomicU64, Ordering};

#[derive(Debug, Default)]
pub struct Recomputed {
    /// Parquet files that together hold the rows in the order of the objects.
    pub parts: Vec<Bytes>,
    /// Objects that have no row.
    pub quarantined: Vec<Quarantined>,
}

/// Names of the stages whose broadcasts are needed for it.
///
/// # Errors
/// A sentence when rows of that plan are not each of one record.
pub fn broadcasts_on_the_way(plan: &JobPlan) -> Result<Vec<&str>, String> {
    Ok(plan.way()?.into_iter().flat_map(|stage| stage.broadcasts_of.iter().map(String::as_str)).collect())
}

/// Computes the rows of `objects` as the plan's job would. `broadcasts` are the plan's own, and one by the name of each
/// stage in [`broadcasts_on_the_way`].
///
/// # Errors
/// A failure of the job's code or of the input's store.
pub async fn recompute(
    host: &Host,
    plan: &JobPlan,
    kernel_family: &str,
    broadcasts: &[Broadcast],
    objects: &[Object],
) -> Result<Recomputed, Failure> {
    let way = plan.way().map_err(Failure::permanent)?;
    let state = State::open(host).await?;
    let recomputed = along(host, plan, kernel_family, &way, broadcasts, objects, &state).await;
    state.clear().await;
    recomputed
}

async fn along(
    host: &Host,
    plan: &JobPlan,
    kernel_family: &str,
    way: &[&StagePlan],
    broadcasts: &[Broadcast],
    objects: &[Object],
    state: &State,
) -> Result<Recomputed, Failure> {
    let broadcasts = state.put(broadcasts).await?;
    let mut recomputed = Recomputed::default();
    let mut kept = Vec::new();
    for (position, stage) in (0..).zip(way) {
        let works = match stage.source {
            Source::Input => shares(objects, host.settings().slots as usize),
            Source::Kept { .. } | Source::Emitted { .. } => vec![Work::MapKept { rows: std::mem::take(&mut kept) }],
        };
        let order = |(index, work)| Order {
            attempt: AttemptId { task: TaskId { job: state.job.clone(), stage: position, index }, epoch: 1, number: 1 },
            job: plan.spec.job.clone(),
            job_version: plan.job_version,
            kernel_family: kernel_family.to_owned(),
            params: plan.spec.params.clone(),
            stage: stage.name.clone(),
            input: plan.spec.input.clone(),
            state: state.url.clone(),
            landmark: String::new(),
            broadcasts: broadcasts.clone(),
            footer: plan.footer.clone(),
            writes_output: stage.writes_output,
            // Whatever the table has: rows are compared, and not files.
            format: mr_core::OutputFormat::Parquet,
            one_row_per_record: stage.one_row_per_record,
            partitions: 1,
            memory_bytes_max: plan.spec.shuffle.memory_bytes_max,
            record_seconds_max: plan.spec.limits.record_seconds_max,
            // Of what is cut there is no way from an object to its row.
            piece: None,
            work,
        };
        let orders: Vec<_> = (0..).zip(works).map(order).collect();
        let control = Control::default();
        for output in try_join_all(orders.iter().map(|order| execute(host, order, &control))).await? {
            recomputed.quarantined.extend(output.quarantined);
            kept.extend(output.kept);
            if let Some(part) = output.part {
                recomputed.parts.push(state.read(&part.key).await?);
            }
        }
    }
    Ok(recomputed)
}

/// As even as possible, one for each slot, in order.
fn shares(objects: &[Object], slots: usize) -> Vec<Work> {
    let each = objects.len().div_ceil(slots.max(1)).max(1);
    objects.chunks(each).map(|objects| Work::MapObjects { objects: objects.to_vec(), condemned: Vec::new() }).collect()
}

/// Where work files lie meanwhile.
struct State {
    url: String,
    job: JobId,
    store: DynStore,
}

impl State {
    /// Of a name that no other has: what a host keeps, it keeps by the name of the job.
    async fn open(host: &Host) -> Result<Self, Failure> {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let name = format!("recompute-{}", NUMBER.fetch_add(1, Ordering::Relaxed));
        let url = format!("memory://{name}/");
        let store = host.store(&url).await?;
        let job = JobId::parse(&name).map_err(Failure::permanent)?;
        Ok(Self { url, job, store })
    }

    /// Not under their hashes, as what is shared by jobs lies: a host would keep those on its disk.
    async fn put(&self, broadcasts: &[Broadcast]) -> Result<Vec<BroadcastRef>, Failure> {
        let mut refs = Vec::new();
        for (number, Broadcast { name, blob, bytes }) in broadcasts.iter().enumerate() {
            let blob = BlobRef { key: format!("broadcasts/{number}"), ..blob.clone() };
            let put = self.store.put(&blob.key, bytes.clone(), Put::Temporary).await;
            put.map_err(|error| crate::fetch::failure(&error))?;
            refs.push(BroadcastRef { name: name.clone(), blob });
        }
        Ok(refs)
    }

    async fn read(&self, key: &str) -> Result<Bytes, Failure> {
        let got = self.store.get(key, GetOptions::default()).await;
        Ok(got.map_err(|error| crate::fetch::failure(&error))?.bytes)
    }

    /// Memory never fails, and what would be left in it goes with the process.
    async fn clear(&self) {
        for object in self.store.list("").await.unwrap_or_default() {
            _ = self.store.delete(&object.key).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mr_core::{InputFilter, JobSpec, Limits, Mode, Params, SplitSettings};

    fn plan(stages: &[(&str, Source, bool)]) -> JobPlan {
        let stage = |(name, source, one_row_per_record): &(&str, Source, bool)| StagePlan {
            name: (*name).into(),
            source: source.clone(),
            broadcasts_of: if *name == "project" { vec!["fit".into()] } else { Vec::new() },
            writes_output: *name == stages.last().unwrap().0,
            one_row_per_record: *one_row_per_record,
            params: None,
        };
        JobPlan {
            spec: JobSpec {
                job: "j".into(),
                input: "file:///in/".into(),
                output: "file:///out/".into(),
                mode: Mode::Fail,
                format: Default::default(),
                input_list: None,
                adopt: false,
                params: Params::new(),
                limits: Limits::default(),
                split: SplitSettings::default(),
                shuffle: Default::default(),
            },
            job_version: 1,
            filter: InputFilter::default(),
            cut: Default::default(),
            objects_min: None,
            keys: None,
            kernels: Default::default(),
            broadcasts: Vec::new(),
            stages: stages.iter().map(stage).collect(),
            footer: Default::default(),
        }
    }

    fn check(stages: &[(&str, Source, bool)]) -> Result<String, String> {
        let plan = plan(stages);
        let names: Vec<_> = plan.way()?.iter().map(|stage| stage.name.clone()).collect();
        Ok(format!("{} given {}", names.join(" > "), broadcasts_on_the_way(&plan)?.join(", ")))
    }

    #[test]
    fn the_way_of_a_record_leaves_out_what_takes_them_all() {
        let kept = |stage: &str| Source::Kept { stage: stage.into(), group_min: 1, group_max: 1 };
        let emitted = |stage: &str| Source::Emitted { stage: stage.into(), partitions: 1, fan_in: 2 };
        let fit = ("fit", emitted("embed"), false);
        let embed = ("embed", Source::Input, true);
        assert_eq!(
            check(&[embed.clone(), fit.clone(), ("project", kept("embed"), true)]).unwrap(),
            "embed > project given fit"
        );
        assert_eq!(check(std::slice::from_ref(&embed)).unwrap(), "embed given ");
        assert!(check(&[embed, fit]).unwrap_err().contains("does not make one row"));
        let words = [("words", Source::Input, false), ("count", emitted("words"), true)];
        assert!(check(&words).unwrap_err().contains("all that `words` emits"));
        let selves = [("a", Source::Input, true), ("b", kept("b"), true)];
        assert!(check(&selves).unwrap_err().contains("nothing comes before"));
    }

    #[test]
    fn slots_share_the_objects_in_order() {
        let objects: Vec<_> = ["a", "b", "c"].map(|key| Object { key: key.into(), bytes: 1, etag: "e".into() }).into();
        let keys = |slots| -> Vec<String> {
            let of = |work: Work| match work {
                Work::MapObjects { objects, .. } => objects.into_iter().map(|object| object.key).collect(),
                _ => unreachable!(),
            };
            shares(&objects, slots).into_iter().map(of).collect()
        };
        assert_eq!(keys(1), ["abc"]);
        assert_eq!(keys(2), ["ab", "c"]);
        assert_eq!(keys(9), ["a", "b", "c"]);
    }
}
