//! When to ask again after an error, and how long to wait before. Without clock or IO.

use crate::StoreError;
use std::time::Duration;

/// How often a request is made before its error is the caller's.
const TRIES_MAX: u32 = 5;

/// After a lost answer or a broken body: perhaps nobody else was hit.
const LOST: BackOff = BackOff::new(Duration::from_millis(100), Duration::from_secs(5));
/// After a throttled answer, which concerns everybody. The pace that follows holds requests back too.
const THROTTLED: BackOff = BackOff::new(Duration::from_millis(250), Duration::from_secs(10));

/// Between tries, doubled from `first` up to `most`.
#[derive(Clone, Copy, Debug)]
pub struct BackOff {
    first: Duration,
    most: Duration,
}

impl BackOff {
    pub const fn new(first: Duration, most: Duration) -> Self {
        Self { first, most }
    }

    /// Anything up to the bound, by `chance` in 0..1: whoever was hit together comes back apart. "Full jitter" spreads
    /// best of what is compared in <https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/>.
    pub fn after(&self, tried: u32, chance: f64) -> Duration {
        let bound = self.first.saturating_mul(2_u32.saturating_pow(tried.saturating_sub(1))).min(self.most);
        bound.mul_f64(chance)
    }
}

/// What may be spent on trying again: a store that is down must not get several times its load. Capacity and cost are
/// those of AWS's SDKs (500 and 14), as is what a success earns.
#[derive(Clone, Debug)]
pub(crate) struct Budget {
    left: u32,
}

impl Budget {
    const MOST: u32 = 500;
    const COST: u32 = 14;

    pub fn earn(&mut self) {
        self.left = (self.left + 1).min(Self::MOST);
    }

    fn spend(&mut self) -> bool {
        let enough = self.left >= Self::COST;
        if enough {
            self.left -= Self::COST;
        }
        enough
    }
}

impl Default for Budget {
    fn default() -> Self {
        Self { left: Self::MOST }
    }
}

/// How long to wait before a request is made again that has been made `tried` times; `None`: not at all.
pub(crate) fn pause(error: &StoreError, tried: u32, budget: &mut Budget, chance: f64) -> Option<Duration> {
    if tried >= TRIES_MAX {
        return None;
    }
    match error {
        // Costs nothing: it waits for its turn, and turns are what the store is asked less by.
        StoreError::Throttled { .. } => Some(THROTTLED.after(tried, chance)),
        StoreError::Transient { .. } => budget.spend().then(|| LOST.after(tried, chance)),
        // The same request would meet the same; what can be done is for whoever knows what it is for.
        StoreError::Conflict { .. }
        | StoreError::NotFound { .. }
        | StoreError::Exists { .. }
        | StoreError::Changed { .. }
        | StoreError::Denied { .. }
        | StoreError::Fatal { .. } => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lost() -> StoreError {
        StoreError::transient("reading", "the answer was lost")
    }

    fn throttled() -> StoreError {
        StoreError::Throttled { doing: "reading".into(), source: None }
    }

    #[test]
    fn bounds_double_and_chance_is_all_below() {
        let back_off = BackOff::new(Duration::from_millis(100), Duration::from_secs(1));
        let bounds: Vec<_> = (1..=6).map(|tried| back_off.after(tried, 1.0).as_millis()).collect();
        assert_eq!(bounds, [100, 200, 400, 800, 1000, 1000]);
        assert_eq!(back_off.after(3, 0.25).as_millis(), 100);
        assert_eq!(back_off.after(3, 0.0), Duration::ZERO);
        assert_eq!(back_off.after(u32::MAX, 1.0).as_millis(), 1000);
        assert_eq!(back_off.after(0, 1.0).as_millis(), 100);
    }

    #[test]
    fn tries_are_counted_and_only_some_errors_pass() {
        let mut budget = Budget::default();
        for error in [lost(), throttled()] {
            let tries = (1..10).take_while(|tried| pause(&error, *tried, &mut budget, 0.5).is_some()).count();
            assert_eq!(tries as u32, TRIES_MAX - 1, "{error:?}");
        }
        for error in [
            StoreError::fatal("writing", "no"),
            StoreError::exists("writing"),
            StoreError::changed("writing", "no"),
            StoreError::not_found("reading"),
            StoreError::Conflict { doing: "writing".into(), source: None },
        ] {
            assert_eq!(pause(&error, 1, &mut budget, 0.5), None, "{error:?}");
        }
    }

    #[test]
    fn a_store_that_is_down_is_soon_left_alone() {
        let mut budget = Budget::default();
        // A thousand requests, each of which would be made five times.
        let again = (0..1000).filter(|_| pause(&lost(), 1, &mut budget, 0.5).is_some()).count();
        assert_eq!(again, 35);
        assert!(pause(&throttled(), 1, &mut budget, 0.5).is_some(), "that is another matter");
        (0..14).for_each(|_| budget.earn());
        assert!(pause(&lost(), 1, &mut budget, 0.5).is_some(), "what works again earns");
        assert!(pause(&lost(), 1, &mut budget, 0.5).is_none());
    }
}
