//! What a worker does about what its machine is told of its own end: it leaves in time, and not in a hurry where there is
//! none.

use mr_fleet::ec2::Notice;
use mr_worker::Leave;
use std::time::Duration;
use tokio::time::{Instant, sleep};

const TEN_MINUTES: Duration = Duration::from_secs(10 * 60);

/// How a worker takes notices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Heed {
    /// What running tasks have to end when the machine goes.
    drain: Duration,
    /// The same when it is recommended to go: then there is no hurry.
    drain_of_rebalance: Duration,
    /// Recommended to go is not told to: whoever has just come would be followed by another from the same pools.
    stays_min: Duration,
}

impl Heed {
    pub fn with(drain: Duration) -> Self {
        Self { drain, drain_of_rebalance: TEN_MINUTES.max(drain), stays_min: TEN_MINUTES }
    }

    /// After how long the worker begins to leave that has been there for so long, and what it has then.
    fn leaves(&self, notice: Notice, been: Duration) -> (Duration, Duration) {
        match notice {
            Notice::Spot | Notice::Terminated => (Duration::ZERO, self.drain),
            Notice::Rebalance => (self.stays_min.saturating_sub(been), self.drain_of_rebalance),
        }
    }

    /// Has the worker leave in time. `next` waits for a notice other than that one.
    pub async fn notices<F: Future<Output = Notice>>(self, next: impl Fn(Option<Notice>) -> F, leave: Leave) {
        let came = Instant::now();
        let mut notice = next(None).await;
        if notice == Notice::Rebalance {
            let (after, within) = self.leaves(notice, came.elapsed());
            tracing::warn!("this machine may go, for {notice}: the worker leaves in {} s", after.as_secs());
            let leaves = async {
                sleep(after).await;
                leave.within(within);
                std::future::pending().await
            };
            // What is said meanwhile is more urgent, and may still be when the worker leaves.
            notice = tokio::select! {
                notice = next(Some(notice)) => notice,
                notice = leaves => notice,
            };
        }
        tracing::warn!("this machine goes, for {notice}: the worker leaves");
        let (_, within) = self.leaves(notice, came.elapsed());
        leave.within(within);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Notice::{Rebalance, Spot, Terminated};
    use std::sync::Arc;
    use tokio::sync::{Notify, mpsc};

    const MINUTE: Duration = Duration::from_secs(60);
    const HOUR: Duration = Duration::from_secs(3600);

    /// In minutes: what tasks have to end, how long the worker has been there, when it begins to leave, and what it has
    /// then.
    #[track_caller]
    fn check(drain: u32, been: u32, notice: Notice, after: u32, within: u32) {
        let left = Heed::with(drain * MINUTE).leaves(notice, been * MINUTE);
        assert_eq!(left, (after * MINUTE, within * MINUTE));
    }

    #[test]
    fn a_machine_that_is_recommended_to_go_stays_for_ten_minutes_and_has_ten_to_drain() {
        check(2, 0, Rebalance, 10, 10);
        check(2, 4, Rebalance, 6, 10);
        check(2, 10, Rebalance, 0, 10);
        check(2, 600, Rebalance, 0, 10);
        // Of two times to drain it has the longer.
        check(0, 4, Rebalance, 6, 10);
        check(60, 4, Rebalance, 6, 60);
    }

    #[test]
    fn a_machine_that_goes_is_left_at_once() {
        for been in [0, 4, 600] {
            for notice in [Spot, Terminated] {
                check(0, been, notice, 0, 0);
                check(2, been, notice, 0, 2);
                check(60, been, notice, 0, 60);
            }
        }
    }

    /// A machine that is told something now and then.
    struct Told {
        began: Instant,
        leave: Leave,
        /// The first notice was heard, and another is waited for.
        waits: Arc<Notify>,
        tell: mpsc::UnboundedSender<Notice>,
        heeds: tokio::task::JoinHandle<()>,
    }

    impl Told {
        fn at_first(first: Notice, stays_min: Duration) -> Self {
            let (leave, waits) = (Leave::default(), Arc::new(Notify::new()));
            let (tell, hear) = mpsc::unbounded_channel();
            let (began, hear) = (Instant::now(), Arc::new(tokio::sync::Mutex::new(hear)));
            let heed = Heed { drain: MINUTE, drain_of_rebalance: 10 * MINUTE, stays_min };
            let waiting = waits.clone();
            let next = move |heard: Option<Notice>| {
                let (hear, waiting) = (hear.clone(), waiting.clone());
                async move {
                    if heard.is_none() {
                        return first;
                    }
                    assert_eq!(heard, Some(first), "it is told no other twice");
                    waiting.notify_one();
                    hear.lock().await.recv().await.expect("the test is there")
                }
            };
            let heeds = tokio::spawn(heed.notices(next, leave.clone()));
            Self { began, leave, waits, tell, heeds }
        }

        /// It is to be gone so long after some moment between the beginning and now.
        #[track_caller]
        fn leaves_within(&self, time: Duration) {
            let by = self.leave.by().expect("it is to leave");
            assert!(self.began + time <= by && by <= Instant::now() + time, "{:?}", by - self.began);
        }
    }

    #[tokio::test]
    async fn a_rebalance_alone_has_the_worker_leave_when_it_has_stayed_long_enough() {
        let young = Told::at_first(Rebalance, HOUR);
        young.waits.notified().await;
        assert!(young.leave.by().is_none() && !young.heeds.is_finished());

        let old = Told::at_first(Rebalance, Duration::ZERO);
        old.leave.told().await;
        old.leaves_within(10 * MINUTE);
        assert!(!old.heeds.is_finished(), "it listens for a notice that is more urgent");
    }

    #[tokio::test]
    async fn a_spot_notice_after_a_rebalance_counts_though_the_worker_stays_or_leaves_already() {
        let stays = Told::at_first(Rebalance, HOUR);
        stays.waits.notified().await;
        assert_eq!(stays.leave.by(), None);
        stays.tell.send(Spot).expect("it listens");
        stays.leave.told().await;
        stays.leaves_within(MINUTE);
        stays.heeds.await.expect("it has ended");

        let mut leaves = Told::at_first(Rebalance, Duration::ZERO);
        leaves.leave.told().await;
        leaves.leaves_within(10 * MINUTE);
        leaves.tell.send(Spot).expect("it listens");
        (&mut leaves.heeds).await.expect("it has ended");
        leaves.leaves_within(MINUTE);
    }

    #[tokio::test]
    async fn a_spot_notice_alone_has_the_worker_leave_at_once() {
        let mut told = Told::at_first(Spot, HOUR);
        (&mut told.heeds).await.expect("it has ended");
        told.leaves_within(MINUTE);
    }
}
