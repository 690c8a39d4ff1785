//! How fast this process may ask a store, by what the store answers and by what the cluster allots.
//!
//! A place is a bucket at an endpoint. All stores of a process that are in one place ([`S3`](crate::S3)) wait for their
//! turn here, and tell here how they were answered. Decisions are [`Governor`]'s and [`Pacer`]'s, which know no clock; a
//! coordinator uses the same two. The state is the process's, as the limit concerns all that it sends.
//!
//! [`usage`] is what a process tells its coordinator, [`obey`] takes what comes back.

mod counts;
mod governor;
mod pacer;

pub use counts::{Counts, Outcome, Request};
pub use governor::{CALM, FLOOR, Governor};
pub use pacer::{Pacer, Ticket};

use crate::StoreError;
use crate::retry::{Budget, pause};
use crate::unique::{chance, unique};
use counts::outcome_of;
use mr_core::{StoreAnswers, StoreShare, StoreUsage};
use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock, Mutex, MutexGuard};
use std::time::{Duration, Instant};
use tokio::sync::Notify;

/// Rates rise by themselves, and then waits are shorter than they were reckoned.
const LOOK_AGAIN: Duration = Duration::from_millis(250);

static PLACES: Mutex<BTreeMap<String, Arc<Place>>> = Mutex::new(BTreeMap::new());
static START: LazyLock<Instant> = LazyLock::new(Instant::now);

/// A name for this process that no other has: a coordinator and a worker in one process are one client of a store.
pub fn process() -> &'static str {
    static NAME: LazyLock<String> = LazyLock::new(unique);
    &NAME
}

/// The places that have answered lately.
pub fn usage() -> Vec<StoreUsage> {
    let now = START.elapsed();
    let places = places();
    let used = places.values().filter(|place| place.state().pacer.answered_within(now, CALM));
    used.map(|place| StoreUsage { place: place.name.clone(), answers: place.state().pacer.answers() }).collect()
}

/// What was asked of each place since the process began.
pub fn counts() -> Vec<(String, Counts)> {
    places().values().map(|place| (place.name.clone(), place.state().counts.clone())).collect()
}

/// Takes the shares of this process, until they are renewed; a place that is not among them has no limit but our own.
pub fn obey(shares: &[StoreShare]) {
    let now = START.elapsed();
    for place in places().values() {
        let share = shares.iter().find(|share| share.place == place.name);
        place.state().pacer.allot(now, share.map(|share| share.requests_per_second));
        place.changed.notify_waiters();
    }
}

fn places() -> MutexGuard<'static, BTreeMap<String, Arc<Place>>> {
    PLACES.lock().expect("nothing panics while it is held")
}

/// One bucket at one endpoint.
#[derive(Debug)]
pub(crate) struct Place {
    name: String,
    /// The rate may be another, so that whoever waits has to reckon anew.
    changed: Notify,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    pacer: Pacer,
    budget: Budget,
    counts: Counts,
}

impl Place {
    /// The same for every store of this process that is there.
    pub fn named(name: &str) -> Arc<Self> {
        let new = || {
            let (changed, state) = Default::default();
            Arc::new(Self { name: name.into(), changed, state })
        };
        places().entry(name.into()).or_insert_with(new).clone()
    }

    /// Waits until a request may go. Nothing is held meanwhile: whoever waits may not be looked at for as long as a slot is
    /// busy, and the slot may be busy with a request.
    pub async fn turn(&self) {
        let ticket = self.state().pacer.queue(START.elapsed());
        loop {
            let changed = self.changed.notified();
            let Err(wait) = self.state().pacer.ready(START.elapsed(), ticket) else { return };
            _ = tokio::time::timeout(wait.min(LOOK_AGAIN), changed).await;
        }
    }

    /// Takes in how a request was answered, and says how that counts.
    pub fn note<T>(&self, request: Request, outcome: &Result<T, StoreError>) -> Outcome {
        let mut state = self.state();
        let outcome = outcome_of(outcome);
        state.counts.note(request, outcome, 1);
        let answers = match outcome {
            Outcome::Accepted => {
                state.budget.earn();
                StoreAnswers { accepted: 1, throttled: 0 }
            }
            Outcome::Refused => StoreAnswers { accepted: 1, throttled: 0 },
            Outcome::Throttled => StoreAnswers { accepted: 0, throttled: 1 },
            // Perhaps there was no answer at all.
            Outcome::Failed => return outcome,
        };
        state.pacer.note(START.elapsed(), answers);
        outcome
    }

    /// Bytes of a body that came or went.
    pub fn moved(&self, read: u64, written: u64) {
        self.state().counts.moved(read, written);
    }

    /// How long to wait before the request is made again, after so many tries; `None`: not at all.
    pub fn again(&self, error: &StoreError, tried: u32) -> Option<Duration> {
        pause(error, tried, &mut self.state().budget, chance())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nothing panics while it is held")
    }
}
