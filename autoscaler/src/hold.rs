//! Holding back: what has not worked several times is tried again one at a time, after pauses that grow.

use crate::Millis;

/// So many failures, one after another, are no chance any more.
const FAILURES: u32 = 3;
const PAUSE: Millis = 30_000;
const PAUSE_MAX: Millis = 900_000;

#[derive(Clone, Copy, Debug, Default)]
pub struct Hold {
    failures: u32,
    retry_at: Millis,
}

impl Hold {
    /// So many have failed. Those that do so together were tried together, before anyone could know: they are enough to hold back,
    /// and no more than that.
    pub fn failed(&mut self, times: u32, now: Millis) {
        if times > 0 {
            self.failures = self.failures.saturating_add(times.min(FAILURES));
            let doublings = self.failures.saturating_sub(FAILURES).min(10);
            self.retry_at = now.saturating_add((PAUSE << doublings).min(PAUSE_MAX));
        }
    }

    pub fn worked(&mut self) {
        *self = Self::default();
    }

    pub fn holds(&self) -> bool {
        self.failures >= FAILURES
    }

    /// Of so many that are lacking, how many may be tried now, where so many are being tried.
    pub fn allowed(&self, now: Millis, lacking: u32, tried: u32) -> u32 {
        match self.holds() {
            false => lacking,
            true if now < self.retry_at => 0,
            true => lacking.min(1u32.saturating_sub(tried)),
        }
    }
}
