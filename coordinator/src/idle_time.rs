//! For how long machines of the fleet that were starting or idle were there for a job, for its bill.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// Shared by whoever tells how many there are and whoever writes the bill, since they are paid for until the very end.
#[derive(Clone, Debug, Default)]
pub struct IdleTime(Arc<Mutex<Meter>>);

#[derive(Debug, Default)]
struct Meter {
    paid: Duration,
    /// So many, a share of one included, since then.
    now: Option<(f64, Instant)>,
}

impl IdleTime {
    /// From now on there are so many.
    pub fn set(&self, machines: f64, now: Instant) {
        let mut meter = self.0.lock().expect("nobody panics while it is held");
        meter.paid = meter.until(now);
        meter.now = Some((machines, now));
    }

    pub fn until(&self, now: Instant) -> Duration {
        self.0.lock().expect("nobody panics while it is held").until(now)
    }
}

impl Meter {
    fn until(&self, now: Instant) -> Duration {
        let since = self.now.map(|(machines, since)| now.saturating_duration_since(since).mul_f64(machines));
        self.paid + since.unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn machines_are_paid_for_until_somebody_asks_and_on() {
        let (start, time) = (Instant::now(), IdleTime::default());
        let at = |seconds| start + Duration::from_secs(seconds);
        let paid = |seconds| time.clone().until(at(seconds)).as_secs_f64();
        assert_eq!(paid(5), 0.0);
        time.set(1.5, at(10));
        assert_eq!((paid(10), paid(12), paid(20)), (0.0, 3.0, 15.0));
        time.set(0.25, at(20));
        assert_eq!((paid(20), paid(24)), (15.0, 16.0));
        time.set(0.0, at(24));
        assert_eq!(paid(1000), 16.0);
    }
}
