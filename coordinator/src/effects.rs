//! What takes time and runs beside the shell: listings, commits, clean-ups. Each comes back as a message, whatever
//! happens to it: a job waits for its listing and its commit, and would wait for ever for one that broke in silence.

use crate::clean::{clean_up, listed, remove};
use crate::commit::{Finished, commit, take_back};
use crate::journal::{self, Fenced};
use crate::prepare::{ListingPlace, Prepared, prepare};
use futures::FutureExt;
use mr_core::{Failure, JobId, JobPlan};
use mr_proto::v1;
use mr_storage::{DynStore, Object};
use std::collections::BTreeSet;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::{JoinError, JoinSet};

pub enum Effect {
    Prepared(JobId, Result<Prepared, Failure>),
    /// In which round.
    Committed(JobId, u32, Result<(), Failure>),
    Appended(Result<(), Fenced>),
    /// All work files.
    WorkListed(Vec<Object>),
    CleanedUp,
}

/// Between a commit that broke down and the next try.
const COMMIT_PAUSE: Duration = Duration::from_secs(1);

#[derive(Default)]
pub struct Effects {
    /// They write nothing and are given up when the coordinator stops.
    listings: JoinSet<Effect>,
    writing: JoinSet<Effect>,
    /// What is being added to the journal: one entry at a time.
    appending: JoinSet<Effect>,
}

impl Effects {
    /// `looks`: also for what other jobs have left.
    pub fn prepare(&mut self, job: JobId, plan: Arc<JobPlan>, at: ListingPlace, looks: bool) {
        self.listings.spawn(async move {
            let prepared = caught("listing the input", prepare(&job, &plan, &at, looks)).await;
            Effect::Prepared(job, prepared.unwrap_or_else(Err))
        });
    }

    pub fn commit(&mut self, job: JobId, round: u32, finished: Result<Finished, Failure>, state: DynStore) {
        let finished = finished.map(Arc::new);
        self.writing.spawn(async move {
            let finished = match finished {
                Ok(finished) => finished,
                Err(failure) => return Effect::Committed(job, round, Err(failure)),
            };
            loop {
                match caught("the commit", commit(finished.clone(), state.clone())).await {
                    Ok(outcome) => return Effect::Committed(job, round, outcome),
                    // Perhaps after the entry was written: only the same call can tell.
                    Err(broken) => tracing::error!(%job, "{broken}; asking again"),
                }
                tokio::time::sleep(COMMIT_PAUSE).await;
            }
        });
    }

    /// Removes from the output what a job has published whose commit has failed.
    pub fn take_back(&mut self, job: JobId, plan: Arc<JobPlan>) {
        self.clean(async move { take_back(&plan, &job).await });
    }

    pub fn append(&mut self, number: u64, entry: v1::JournalEntry, state: DynStore) {
        self.appending.spawn(async move { Effect::Appended(journal::append(state, number, entry).await) });
    }

    pub fn rebase(&mut self, number: u64, base: v1::JournalEntry, state: DynStore) {
        self.clean(async move {
            if let Err(error) = journal::rebase(state, number, base).await {
                // It stays longer than it need be, until the next time.
                tracing::warn!("shortening the journal: {}", mr_storage::story(&error));
            }
        });
    }

    pub fn look_at_work(&mut self, state: DynStore) {
        self.listings.spawn(async move { Effect::WorkListed(listed(&state, "work/").await) });
    }

    /// Removes a job's listing, and its work files but for those to be kept.
    pub fn clean_up(&mut self, job: JobId, kept: BTreeSet<String>, state: DynStore) {
        self.clean(async move { clean_up(&state, &job, &kept).await });
    }

    pub fn remove(&mut self, objects: Vec<Object>, state: DynStore) {
        self.clean(async move { remove(&state, objects).await });
    }

    fn clean(&mut self, work: impl Future<Output = ()> + Send + 'static) {
        self.writing.spawn(async move {
            if let Err(broken) = caught("removing work files", work).await {
                tracing::error!("{broken}");
            }
            Effect::CleanedUp
        });
    }

    /// The next that has ended; for ever while there is none.
    pub async fn next(&mut self) -> Effect {
        tokio::select! {
            Some(ended) = self.listings.join_next() => effect(ended),
            Some(ended) = self.writing.join_next() => effect(ended),
            Some(ended) = self.appending.join_next() => effect(ended),
            else => std::future::pending().await,
        }
    }

    /// Gives listings up and lets the others end, in a bounded time: what is cut short is repaired by the next run.
    pub async fn finish(&mut self, bound: Duration) {
        self.listings.shutdown().await;
        let all = async {
            while self.appending.join_next().await.is_some() {}
            while self.writing.join_next().await.is_some() {}
        };
        if tokio::time::timeout(bound, all).await.is_err() {
            tracing::warn!("stopping before {} commits or clean-ups have ended", self.writing.len());
        }
        self.abandon().await;
    }

    /// Gives everything up at once.
    pub async fn abandon(&mut self) {
        self.listings.shutdown().await;
        self.appending.shutdown().await;
        self.writing.shutdown().await;
    }
}

fn effect(ended: Result<Effect, JoinError>) -> Effect {
    ended.expect("panics are caught within, and none is aborted before the end")
}

/// A panic becomes a failure of what was being done.
async fn caught<T>(doing: &str, work: impl Future<Output = T>) -> Result<T, Failure> {
    AssertUnwindSafe(work).catch_unwind().await.map_err(|panic| {
        let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
        let text = text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default();
        Failure::permanent(format!("{doing} broke down: {text}"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_comes_back_as_a_failure() {
        let broken = caught("listing", async { panic!("no {}", "luck") }).await;
        assert_eq!(broken, Err::<(), _>(Failure::permanent("listing broke down: no luck")));
        assert_eq!(caught("listing", async { 3 }).await, Ok(3));
    }
}
