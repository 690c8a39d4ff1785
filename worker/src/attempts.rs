//! The attempts that this worker holds, and the results that the coordinator has not yet been heard to have.

use mr_core::{AttemptId, AttemptProgress, AttemptResult, Failure, FailureClass, Order};
use mr_mapreduce::{Control, Host, execute};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use tokio::task::JoinSet;

pub struct Attempts {
    host: Arc<Host>,
    running: BTreeMap<AttemptId, Control>,
    tasks: JoinSet<AttemptResult>,
    unheard: BTreeMap<AttemptId, AttemptResult>,
}

impl Attempts {
    pub fn new(host: Arc<Host>) -> Self {
        Self { host, running: BTreeMap::new(), tasks: JoinSet::new(), unheard: BTreeMap::new() }
    }

    pub fn held(&self) -> Vec<AttemptProgress> {
        let progress = |(attempt, control): (&AttemptId, &Control)| AttemptProgress {
            attempt: attempt.clone(),
            records: control.progress.records.load(Ordering::Relaxed),
            quarantined: control.progress.quarantined.load(Ordering::Relaxed),
        };
        self.running.iter().map(progress).collect()
    }

    pub fn results(&self) -> Vec<AttemptResult> {
        self.unheard.values().cloned().collect()
    }

    /// The coordinator has these.
    pub fn heard(&mut self, results: &[AttemptResult]) {
        for result in results {
            self.unheard.remove(&result.attempt);
        }
    }

    /// Starts an attempt, unless it runs already or has ended: orders are repeated until they are seen to be held.
    pub fn start(&mut self, order: Order) {
        let attempt = order.attempt.clone();
        if self.running.contains_key(&attempt) || self.unheard.contains_key(&attempt) {
            return;
        }
        let control = Control::default();
        self.running.insert(attempt.clone(), control.clone());
        let host = self.host.clone();
        self.tasks.spawn(async move {
            tracing::debug!(%attempt, stage = order.stage, "started");
            // Its own task, so that a panic on the way is a result too.
            let outcome = tokio::spawn(async move { execute(&host, &order, &control).await }).await;
            let outcome =
                outcome.unwrap_or_else(|error| Err(Failure::application(format!("the attempt broke: {error}"))));
            AttemptResult { attempt, outcome }
        });
    }

    /// Stops an attempt. Nothing more is said of it: whoever asked knows.
    pub fn stop(&mut self, attempt: &AttemptId) {
        if let Some(control) = self.running.remove(attempt) {
            control.cancel.cancel();
        }
        self.unheard.remove(attempt);
    }

    /// Gives every lease back: each attempt that has not ended fails as lost with its worker.
    pub fn hand_back(&mut self, why: &str) {
        let running = std::mem::take(&mut self.running);
        for (attempt, control) in running {
            control.cancel.cancel();
            let outcome = Err(Failure::new(FailureClass::WorkerLost, why));
            self.unheard.insert(attempt.clone(), AttemptResult { attempt, outcome });
        }
    }

    /// Says of an order that it can't be carried out.
    pub fn refuse(&mut self, attempt: AttemptId, failure: Failure) {
        self.unheard.insert(attempt.clone(), AttemptResult { attempt, outcome: Err(failure) });
    }

    /// Waits until an attempt has ended that there is something to say of, unlike those that were stopped.
    pub async fn ended(&mut self) {
        loop {
            match self.tasks.join_next().await {
                Some(Ok(result)) => {
                    if self.keep(result) {
                        return;
                    }
                }
                // A runtime that stops: panics are caught within.
                Some(Err(_)) => {}
                None => std::future::pending().await,
            }
        }
    }

    fn keep(&mut self, result: AttemptResult) -> bool {
        if self.running.remove(&result.attempt).is_none() {
            return false;
        }
        if let Err(failure) = &result.outcome {
            tracing::warn!(attempt = %result.attempt, class = ?failure.class, "failed: {failure}");
        }
        self.unheard.insert(result.attempt.clone(), result);
        true
    }
}
