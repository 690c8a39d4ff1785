//! What the attempts of one process share: slots, stores, broadcasts and the code made from them.

use crate::Registry;
use crate::broadcast::{Broadcast, BroadcastCache};
use crate::codes::Codes;
use crate::fetch::failure;
use crate::job::{Context, StageCode};
use crate::slots::{Slots, beside};
use crate::spool::Scratch;
use mr_core::{Failure, Order};
use mr_storage::{DynStore, Meter, StoreError, metered};
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Mutex;

/// Inputs change from job to job, and each store that stays open has connections of its own.
const STORES_KEPT: usize = 16;

#[derive(Clone, Debug)]
pub struct HostSettings {
    /// Attempts that compute at the same time.
    pub slots: u32,
    /// Where broadcasts are kept on this host, and what has no room in memory.
    pub scratch: PathBuf,
    /// Bytes that all slots together may use for decoding.
    pub decode_budget_bytes: u64,
    /// Whether tasks elsewhere read what tasks here wrote, so that it has to last when this machine goes down.
    pub work_outlives: bool,
}

pub struct Host {
    pub(crate) registry: Registry,
    pub(crate) slots: Slots,
    settings: HostSettings,
    stores: Mutex<BTreeMap<String, DynStore>>,
    /// States, and the landmark that was seen in each.
    seen: std::sync::Mutex<BTreeSet<(String, String)>>,
    broadcasts: BroadcastCache,
    codes: Codes,
    scratch: Scratch,
}

impl Host {
    pub fn new(registry: Registry, settings: HostSettings) -> Self {
        let scratch = Scratch::new(settings.scratch.join("spool"));
        scratch.sweep();
        Self {
            scratch,
            slots: Slots::new(settings.slots),
            broadcasts: BroadcastCache::new(settings.scratch.join("broadcasts")),
            codes: Codes::default(),
            stores: Mutex::default(),
            seen: Default::default(),
            registry,
            settings,
        }
    }

    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    pub fn settings(&self) -> &HostSettings {
        &self.settings
    }

    /// Where an attempt puts what its memory has no room for.
    pub(crate) fn scratch(&self) -> Scratch {
        self.scratch.clone()
    }

    /// Slots that are taken, by records of attempts that have been stopped too.
    pub fn at_work(&self) -> u32 {
        self.settings.slots.saturating_sub(self.slots.free())
    }

    /// Lets go of code that no attempt has asked for in so long, with the weights and the like that it holds.
    pub fn rest(&self, unused_for: Duration) {
        self.codes.forget(unused_for);
    }

    /// The store at that root, opened once.
    pub(crate) async fn store(&self, root: &str) -> Result<DynStore, Failure> {
        let mut stores = self.stores.lock().await;
        if let Some(store) = stores.get(root) {
            return Ok(store.clone());
        }
        if stores.len() >= STORES_KEPT {
            stores.clear(); // those in use stay open
        }
        let store = mr_storage::open(root).await.map_err(|error| failure(&error))?;
        stores.insert(root.to_owned(), store.clone());
        Ok(store)
    }

    /// The order's state store, metered. Whether this process sees what its coordinator does is looked up the first time.
    pub(crate) async fn state(&self, order: &Order, meter: &Meter) -> Result<DynStore, Failure> {
        let state = metered(&self.store(&order.state).await?, meter);
        let this = (order.state.clone(), order.landmark.clone());
        let seen = || self.seen.lock().expect("nothing panics while it is held");
        if !seen().contains(&this) {
            look_for_landmark(order, &state).await?;
            seen().insert(this);
        }
        Ok(state)
    }

    /// The code of the order's stage, made once and shared: weights are read and packed by the first attempt only.
    pub(crate) async fn code(&self, order: &Order, state: &DynStore) -> Result<Arc<dyn StageCode>, Failure> {
        // A coordinator orders nothing that was not announced to it. Were it so, results of different code would be mixed.
        let job = self.registry.find(&order.job).cloned().ok_or_else(|| {
            let known: Vec<_> = self.registry.jobs().map(|job| job.name()).collect();
            Failure::permanent(format!("this worker knows no job `{}`; it knows {}", order.job, known.join(", ")))
        })?;
        if job.version() != order.job_version {
            return Err(Failure::permanent(format!(
                "the job was planned with version {} of `{}` and this worker has version {}: use the same binaries",
                order.job_version,
                order.job,
                job.version()
            )));
        }
        let families = self.registry.kernel_families();
        if !families.contains(&order.kernel_family) {
            return Err(Failure::permanent(format!(
                "the order is for kernels of family `{}`, and this worker has {}",
                order.kernel_family,
                families.join(", ")
            )));
        }
        // A job may begin anew with other kernels, and a task that is done again may broadcast something else.
        let broadcasts: Vec<_> = order.broadcasts.iter().map(|broadcast| &*broadcast.blob.sha256).collect();
        let (job_id, with) = (&order.attempt.task.job, broadcasts.join(","));
        let stage = format!("{job_id}/{}/{}/{with}", order.stage, order.kernel_family);
        let make = async {
            let broadcasts = self.broadcasts.get_all(state.as_ref(), &order.broadcasts).await?;
            let (stage, params) = (order.stage.clone(), order.params.clone());
            let kernel_family = order.kernel_family.clone();
            let (decode_budget_bytes, scratch) = (self.settings.decode_budget_bytes, self.settings.scratch.clone());
            beside(move || {
                let broadcasts: &[Broadcast] = &broadcasts;
                let kernel_family = &kernel_family;
                job.open(&Context {
                    stage: &stage,
                    params: &params,
                    kernel_family,
                    broadcasts,
                    decode_budget_bytes,
                    scratch: &scratch,
                })
            })
            .await
        };
        self.codes.get(&stage, make).await
    }
}

/// # Errors
/// When this process sees another folder under the state's name than its coordinator, or none.
pub(crate) async fn look_for_landmark(order: &Order, state: &DynStore) -> Result<(), Failure> {
    if order.landmark.is_empty() {
        return Ok(());
    }
    match state.head(&order.landmark).await {
        Ok(_) => Ok(()),
        // Nothing is wrong with the task. It waits and goes to another worker, and this one's folder may be mounted meanwhile.
        Err(StoreError::NotFound { .. }) => Err(Failure::transient(format!(
            "this worker does not see the coordinator's state: under {} there is no {}; is that folder mounted here?",
            state.url(),
            order.landmark
        ))),
        Err(error) => Err(failure(&error)),
    }
}
