//! How a worker is told to leave: at once, or when what runs is done, and then by some time.

use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

const DAY: Duration = Duration::from_secs(86_400);

/// Clones are of the same worker.
#[derive(Clone, Debug, Default)]
pub struct Leave {
    now: CancellationToken,
    /// When it is to be gone.
    by: watch::Sender<Option<Instant>>,
}

/// It leaves at once when that is cancelled.
impl From<CancellationToken> for Leave {
    fn from(now: CancellationToken) -> Self {
        Self { now, ..Self::default() }
    }
}

impl Leave {
    /// It begins nothing from now on, and what runs has so much time, no more than a day. Of several times the first to pass counts.
    pub fn within(&self, time: Duration) {
        let by = Instant::now() + time.min(DAY);
        self.by.send_if_modified(|before| {
            let sooner = before.is_none_or(|before| by < before);
            if sooner {
                *before = Some(by);
            }
            sooner
        });
    }

    /// Whether it was told to, and when it is to be gone.
    pub fn by(&self) -> Option<Instant> {
        let told = *self.by.borrow();
        if self.now.is_cancelled() { Some(Instant::now()) } else { told }
    }

    /// Waits until it is told to.
    pub async fn told(&self) {
        let mut by = self.by.subscribe();
        tokio::select! {
            () = self.now.cancelled() => {}
            // It can't be closed: this is one that sends.
            _ = by.wait_for(Option::is_some) => {}
        }
    }

    /// Waits until there is no more time.
    pub async fn over(&self) {
        let mut by = self.by.subscribe();
        let passed = async {
            loop {
                let at = *by.borrow_and_update();
                tokio::select! {
                    () = sleep_until(at.unwrap_or_else(Instant::now)), if at.is_some() => return,
                    _ = by.changed() => {}
                }
            }
        };
        tokio::select! {
            () = self.now.cancelled() => {}
            () = passed => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::time::timeout;

    const HOUR: Duration = Duration::from_secs(3600);
    const MOMENT: Duration = Duration::from_millis(20);

    #[tokio::test]
    async fn the_first_of_several_times_counts() {
        let leave = Leave::default();
        assert_eq!(leave.by(), None);
        assert!(timeout(MOMENT, leave.told()).await.is_err());
        let (other, waits) = (leave.clone(), leave.clone());
        let over = tokio::spawn(async move { waits.over().await });
        other.within(2 * HOUR);
        leave.told().await;
        let first = leave.by().unwrap();
        other.within(HOUR);
        let sooner = leave.by().unwrap();
        other.within(3 * HOUR);
        assert!(sooner < first && leave.by() == Some(sooner));
        assert!(timeout(MOMENT, leave.over()).await.is_err() && !over.is_finished());
        other.within(Duration::ZERO);
        over.await.unwrap();
    }

    #[tokio::test]
    async fn one_that_is_to_stop_has_no_time_at_all() {
        let stop = CancellationToken::new();
        let leave = Leave::from(stop.clone());
        leave.within(HOUR);
        stop.cancel();
        leave.told().await;
        leave.over().await;
        assert!(leave.by().unwrap() <= Instant::now());
    }
}
