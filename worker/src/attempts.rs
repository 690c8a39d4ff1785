//! The attempts that this worker holds, and the results that the coordinator has not yet been heard to have.

use crate::Tally;
use futures::FutureExt;
use mr_core::{AttemptId, AttemptProgress, AttemptResult, Failure, FailureClass, Order, StoreCounts};
use mr_mapreduce::{Control, Host, execute};
use std::collections::{BTreeMap, BTreeSet};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use tokio::task::JoinSet;

/// Results that go into one message: well below what a message may have.
const TOLD_BYTES: usize = 8 << 20;

/// What came of the wish for room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Room {
    /// So many that waited for a slot were given up.
    Waiting { count: usize },
    /// One that had begun is to end, and so many are left.
    Begun { left: usize },
    /// There is only one, and it goes on.
    None,
}

pub struct Attempts {
    host: Arc<Host>,
    running: BTreeMap<AttemptId, Control>,
    /// In which they were started; ended ones among them.
    order: Vec<AttemptId>,
    tasks: JoinSet<AttemptResult>,
    unheard: BTreeMap<AttemptId, AttemptResult>,
    tally: Arc<Tally>,
}

impl Attempts {
    pub fn new(host: Arc<Host>, tally: Arc<Tally>) -> Self {
        let (running, unheard) = Default::default();
        Self { host, running, order: Vec::new(), tasks: JoinSet::new(), unheard, tally }
    }

    pub fn held(&self) -> Vec<AttemptProgress> {
        let progress = |(attempt, control): (&AttemptId, &Control)| AttemptProgress {
            attempt: attempt.clone(),
            records: control.progress.records.load(Ordering::Relaxed),
        };
        self.running.iter().map(progress).collect()
    }

    /// As many as fit into a message, the others with the next.
    pub fn results(&self) -> Vec<AttemptResult> {
        let mut told = 0;
        let fits = |result: &&AttemptResult| {
            told += weight(result);
            told <= TOLD_BYTES
        };
        self.unheard.values().take_while(fits).cloned().collect()
    }

    /// Ended ones that are not among these.
    pub fn told_later(&self, results: &[AttemptResult]) -> impl Iterator<Item = AttemptProgress> {
        let told = results.iter().map(|result| &result.attempt).collect::<BTreeSet<_>>();
        let later = self.unheard.keys().filter(move |attempt| !told.contains(attempt));
        later.map(|attempt| AttemptProgress { attempt: attempt.clone(), records: 0 })
    }

    /// The coordinator has these.
    pub fn heard(&mut self, results: &[AttemptResult]) {
        for result in results {
            self.unheard.remove(&result.attempt);
        }
    }

    /// Starts an attempt, unless it runs already or has ended: orders are repeated until they are seen to be held.
    pub fn start(&mut self, order: Order) {
        let (attempt, kernel_family) = (order.attempt.clone(), order.kernel_family.clone());
        if self.running.contains_key(&attempt) || self.unheard.contains_key(&attempt) {
            return;
        }
        let control = Control::default();
        self.order.retain(|started| self.running.contains_key(started));
        self.order.push(attempt.clone());
        self.running.insert(attempt.clone(), control.clone());
        let host = self.host.clone();
        self.tasks.spawn(async move {
            tracing::debug!(%attempt, stage = order.stage, "started");
            // A panic on the way is a result too: an attempt that nobody speaks of any more would never end.
            let outcome = AssertUnwindSafe(execute(&host, &order, &control)).catch_unwind().await;
            let outcome =
                outcome.unwrap_or_else(|_| Err(Failure::application("the attempt broke; see the worker's log")));
            AttemptResult { attempt, kernel_family, outcome, asked: control.meter.counts() }
        });
    }

    /// An order that can't be carried out is an attempt that failed. Its lease is renewed with all others, so without a
    /// word it would be given again and again.
    pub fn refuse(&mut self, attempt: AttemptId, failure: Failure) {
        self.fail(attempt, failure, StoreCounts::default());
    }

    /// `asked`: what the attempt has asked of stores until now.
    fn fail(&mut self, attempt: AttemptId, failure: Failure, asked: StoreCounts) {
        // A failure has no bytes, so their kernels don't matter.
        let kernel_family = String::new();
        let result = AttemptResult { attempt, kernel_family, outcome: Err(failure), asked };
        self.tally.attempt(&result);
        self.unheard.insert(result.attempt.clone(), result);
    }

    /// Stops an attempt. Nothing more is said of it: whoever asked knows.
    pub fn stop(&mut self, attempt: &AttemptId) {
        if let Some(control) = self.running.remove(attempt) {
            control.cancel.cancel();
        }
        self.unheard.remove(attempt);
    }

    /// Stops every attempt that runs: nobody waits for it any more. What has ended is still told. Whether there was one.
    pub fn stop_all(&mut self) -> bool {
        self.keep_ended();
        let running = std::mem::take(&mut self.running);
        running.values().for_each(|control| control.cancel.cancel());
        !running.is_empty()
    }

    /// Gives every lease back: each attempt that has not ended fails as lost with its worker.
    pub fn hand_back(&mut self, why: &str) {
        self.hand_back_where(why, |_| true);
    }

    /// Gives back what has not begun, so that others can begin it. How many go on.
    pub fn keep_running(&mut self, why: &str) -> usize {
        self.hand_back_where(why, |control| !begun(control));
        self.running.len()
    }

    fn hand_back_where(&mut self, why: &str, which: impl Fn(&Control) -> bool) {
        self.keep_ended();
        let handed_back: Vec<_> = self.running.extract_if(.., |_, control| which(control)).collect();
        for (attempt, control) in handed_back {
            control.cancel.cancel();
            self.fail(attempt, Failure::new(FailureClass::WorkerLost, why), control.meter.counts());
        }
    }

    pub fn is_empty(&self) -> bool {
        self.running.is_empty()
    }

    /// Whether something runs, and there is nothing else to say.
    pub fn only_runs(&self) -> bool {
        !self.running.is_empty() && self.unheard.is_empty()
    }

    /// Whether nothing runs, and the coordinator has heard of all that did.
    pub fn is_done(&self) -> bool {
        self.running.is_empty() && self.unheard.is_empty()
    }

    /// Whether one that was told to give up has not come to the end of its record yet.
    pub fn makes_room(&self) -> bool {
        self.running.values().any(|control| control.give_up.load(Ordering::Relaxed))
    }

    /// Gives up those that wait for a slot; if there is none, tells the one that was started last to end. One is always left,
    /// or a worker that is always short would never come to anything.
    pub fn make_room(&mut self) -> Room {
        self.keep_ended();
        let nobody = !self.running.values().any(begun);
        let spared = self.order.iter().find(|attempt| nobody && self.running.contains_key(attempt));
        let gives_up = |attempt: &AttemptId, control: &mut Control| !begun(control) && Some(attempt) != spared;
        let waiting: Vec<_> = self.running.extract_if(.., gives_up).collect();
        if !waiting.is_empty() {
            let count = waiting.len();
            for (attempt, control) in waiting {
                control.cancel.cancel();
                let failure = Failure::new(FailureClass::OutOfMemory, "its worker ran out of memory");
                self.fail(attempt, failure, control.meter.counts());
            }
            return Room::Waiting { count };
        }
        if self.running.len() < 2 {
            return Room::None;
        }
        let last = self.order.iter().rev().find_map(|attempt| self.running.get(attempt));
        let last = last.expect("whatever runs was started");
        last.give_up.store(true, Ordering::Relaxed);
        Room::Begun { left: self.running.len() - 1 }
    }

    /// Waits until there is something new to say.
    pub async fn ended(&mut self) {
        loop {
            match self.tasks.join_next().await {
                Some(ended) => {
                    // More may have ended meanwhile, and one message tells of them all.
                    if self.keep(ended) | self.keep_ended() {
                        return;
                    }
                }
                None => return std::future::pending().await,
            }
        }
    }

    /// Of those that have ended by now. Whether there is one of which something is to be said.
    fn keep_ended(&mut self) -> bool {
        let mut news = false;
        while let Some(ended) = self.tasks.try_join_next() {
            news |= self.keep(ended);
        }
        news
    }

    /// `false` for one that had been stopped.
    fn keep(&mut self, ended: Result<AttemptResult, tokio::task::JoinError>) -> bool {
        let mut result = ended.expect("panics are caught within, and nobody aborts a single attempt");
        if self.running.remove(&result.attempt).is_none() {
            return false;
        }
        if weight(&result) > TOLD_BYTES {
            let story = "the list of what this task quarantines is too long to be told: use smaller splits";
            result.outcome = Err(Failure::permanent(story));
        }
        if let Err(failure) = &result.outcome {
            tracing::warn!(attempt = %result.attempt, class = ?failure.class, "failed: {failure}");
        }
        self.tally.attempt(&result);
        self.unheard.insert(result.attempt.clone(), result);
        true
    }
}

fn begun(control: &Control) -> bool {
    control.progress.begun.load(Ordering::Relaxed)
}

/// About how many bytes a result has in a message.
fn weight(result: &AttemptResult) -> usize {
    const FIXED: usize = 256;
    match &result.outcome {
        Ok(output) => {
            let quarantined = output.quarantined.iter();
            let quarantined = quarantined.map(|q| {
                q.key.len() + q.etag.len() + q.stage.len() + q.class.len() + q.message.len() + FIXED / 4 //
            });
            let side = output.side.iter().map(|(path, file)| path.len() + file.key.len() + FIXED / 4);
            FIXED + quarantined.sum::<usize>() + side.sum::<usize>()
        }
        Err(failure) => FIXED + failure.message.len(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mr_core::{JobId, QuarantineSource, Quarantined, TaskId, TaskOutput};
    use mr_mapreduce::{HostSettings, Registry};

    fn attempts() -> Attempts {
        let settings =
            HostSettings { slots: 1, scratch: "/nowhere".into(), decode_budget_bytes: 0, work_outlives: true };
        Attempts::new(Arc::new(Host::new(Registry::new("test"), settings)), Arc::default())
    }

    fn attempt(index: u32) -> AttemptId {
        let job = JobId::parse("job").unwrap();
        AttemptId { task: TaskId { job, stage: 0, index }, epoch: 1, number: 1 }
    }

    fn quarantining(attempt: AttemptId, objects: usize) -> AttemptResult {
        let one = Quarantined {
            key: "k".repeat(500),
            etag: "e".repeat(30),
            bytes: 1,
            stage: "map".into(),
            class: "bad".into(),
            message: "m".repeat(300),
            source: QuarantineSource::Content,
            attempts: 1,
        };
        let outcome = Ok(TaskOutput { quarantined: vec![one; objects], ..TaskOutput::default() });
        AttemptResult { attempt, kernel_family: "test".into(), outcome, asked: StoreCounts::default() }
    }

    #[test]
    fn a_message_carries_as_many_results_as_fit_and_the_rest_come_next() {
        let mut attempts = attempts();
        for index in 0..5 {
            let result = quarantining(attempt(index), 4000);
            attempts.running.insert(result.attempt.clone(), Control::default());
            assert!(attempts.keep(Ok(result)));
        }
        let mut told = Vec::new();
        while !attempts.results().is_empty() {
            let results = attempts.results();
            let bytes: usize = results.iter().map(weight).sum();
            assert!(bytes <= TOLD_BYTES, "{bytes}");
            let later = attempts.told_later(&results).map(|held| held.attempt.task.index);
            let all: Vec<_> = results.iter().map(|result| result.attempt.task.index).chain(later).collect();
            assert_eq!(all, (told.len() as u32..5).collect::<Vec<_>>());
            attempts.heard(&results);
            told.extend(results.into_iter().map(|result| result.attempt.task.index));
        }
        assert_eq!(told, [0, 1, 2, 3, 4]);
    }

    #[test]
    fn what_no_message_could_carry_is_a_failure() {
        let mut attempts = attempts();
        attempts.running.insert(attempt(0), Control::default());
        attempts.keep(Ok(quarantining(attempt(0), 20_000)));
        let results = attempts.results();
        let failure = results[0].outcome.as_ref().unwrap_err();
        assert_eq!(failure.class, FailureClass::Permanent, "{failure}");
    }

    #[tokio::test]
    async fn one_that_is_cut_off_stops_what_runs_and_still_tells_what_has_ended() {
        let mut attempts = attempts();
        let running = Control::default();
        attempts.running.insert(attempt(0), running.clone());
        let ended = quarantining(attempt(1), 0);
        attempts.running.insert(ended.attempt.clone(), Control::default());
        attempts.tasks.spawn(async { ended });
        tokio::task::yield_now().await;
        assert!(attempts.stop_all());
        assert!(running.cancel.is_cancelled() && attempts.held().is_empty());
        let told: Vec<_> = attempts.results().into_iter().map(|result| result.attempt.task.index).collect();
        assert_eq!(told, [1]);
        assert!(!attempts.stop_all());
    }

    #[tokio::test]
    async fn what_waits_is_given_up_first_then_what_was_started_last_and_never_the_only_one() {
        let mut attempts = attempts();
        for (index, begun) in [(2, true), (0, true), (1, false), (3, false)] {
            let control = Control::default();
            control.progress.begun.store(begun, Ordering::Relaxed);
            attempts.running.insert(attempt(index), control);
            attempts.order.push(attempt(index));
        }
        assert_eq!(attempts.make_room(), Room::Waiting { count: 2 });
        let told: Vec<_> = attempts.results();
        let told: Vec<_> =
            told.iter().map(|told| (told.attempt.task.index, told.outcome.as_ref().unwrap_err().class)).collect();
        assert_eq!(told, [(1, FailureClass::OutOfMemory), (3, FailureClass::OutOfMemory)]);
        assert!(!attempts.makes_room());
        assert_eq!(attempts.make_room(), Room::Begun { left: 1 });
        // It is held until its record is done.
        assert!(attempts.makes_room() && attempts.held().len() == 2);
        assert!(attempts.running[&attempt(0)].give_up.load(Ordering::Relaxed));
        attempts.running.remove(&attempt(0));
        assert_eq!(attempts.make_room(), Room::None);
        assert!(!attempts.makes_room());
    }

    #[tokio::test]
    async fn one_that_leaves_goes_on_with_what_has_begun_and_hands_back_what_waits() {
        let mut attempts = attempts();
        for (index, begun) in [(0, true), (1, false)] {
            let control = Control::default();
            control.progress.begun.store(begun, Ordering::Relaxed);
            attempts.running.insert(attempt(index), control);
        }
        let ended = quarantining(attempt(2), 0);
        attempts.running.insert(ended.attempt.clone(), Control::default());
        attempts.tasks.spawn(async { ended });
        tokio::task::yield_now().await;
        assert_eq!(attempts.keep_running("it leaves"), 1);
        let told = attempts.results();
        let told: Vec<_> =
            told.iter().map(|told| (told.attempt.task.index, told.outcome.as_ref().err().map(|f| f.class))).collect();
        assert_eq!(told, [(1, Some(FailureClass::WorkerLost)), (2, None)]);
        assert!(!attempts.running[&attempt(0)].cancel.is_cancelled());
        attempts.heard(&attempts.results());
        assert!(attempts.only_runs() && !attempts.is_done());
        attempts.hand_back("there is no more time");
        assert!(attempts.is_empty() && !attempts.only_runs() && !attempts.is_done());
        attempts.heard(&attempts.results());
        assert!(attempts.is_done() && !attempts.only_runs());
    }

    #[tokio::test]
    async fn with_none_in_a_slot_the_first_that_waits_is_left() {
        let mut attempts = attempts();
        for index in [2, 0, 1] {
            attempts.running.insert(attempt(index), Control::default());
            attempts.order.push(attempt(index));
        }
        assert_eq!(attempts.make_room(), Room::Waiting { count: 2 });
        assert!(attempts.running.keys().eq([&attempt(2)]));
        assert_eq!(attempts.make_room(), Room::None);
    }

    #[tokio::test]
    async fn nothing_is_said_of_what_was_stopped() {
        let mut attempts = attempts();
        let result = quarantining(attempt(0), 0);
        attempts.tasks.spawn(async { result });
        tokio::time::timeout(std::time::Duration::from_millis(50), attempts.ended()).await.unwrap_err();
        assert!(attempts.results().is_empty());
    }
}
