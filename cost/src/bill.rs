//! What a job has cost, from what was measured while it ran.

use crate::prices::Prices;
use mr_core::{Bill, StoreCounts, Usd};

/// What is paid for.
#[derive(Clone, Debug, PartialEq)]
pub struct Rates {
    pub prices: Prices,
    /// What a worker costs; `None`: nobody said.
    pub usd_per_worker_hour: Option<f64>,
    /// Where that comes from.
    pub worker_from: String,
}

/// Requests by the repository's prices, and workers that cost nobody knows what.
impl Default for Rates {
    fn default() -> Self {
        Self { prices: Prices::built_in(), usd_per_worker_hour: None, worker_from: String::new() }
    }
}

impl Rates {
    pub fn of_workers(&self, instance_seconds: f64) -> Option<f64> {
        self.usd_per_worker_hour.map(|usd| usd * instance_seconds / 3600.0)
    }

    /// Where the prices come from, one sentence each.
    pub fn from(&self) -> Vec<String> {
        let requests = format!("requests: {}", self.prices.requests_from());
        let workers = match self.usd_per_worker_hour {
            Some(usd) => format!("workers: {usd} an hour, {}", self.worker_from),
            None => "workers: nobody said what one costs".to_owned(),
        };
        vec![requests, workers]
    }
}

/// What was used.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Used {
    /// Of machines that were there and had no attempt.
    pub idle_seconds: f64,
    pub worker_seconds: f64,
    pub slot_seconds: f64,
    /// Of the input, that were worked on.
    pub records: u64,
    pub asked: StoreCounts,
    /// Whether that is all.
    pub whole: bool,
}

/// For a job over so many objects.
pub fn bill(used: Used, objects: u64, rates: &Rates) -> Bill {
    let Used { idle_seconds, worker_seconds, slot_seconds, records, asked, whole } = used;
    let instance_seconds = worker_seconds + idle_seconds;
    let usd = Usd::of(rates.prices.of_requests(&asked), rates.of_workers(instance_seconds), objects);
    Bill { instance_seconds, worker_seconds, slot_seconds, records, asked, usd, whole, prices: rates.from() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mr_core::{StoreOutcome, StoreRequest};
    use proptest::prelude::*;

    fn used(gets: u64, worker_seconds: f64) -> Used {
        let mut asked = StoreCounts::default();
        asked.note(StoreRequest::Get, StoreOutcome::Accepted, gets);
        let slot_seconds = 2.0 * worker_seconds;
        Used { idle_seconds: 0.0, worker_seconds, slot_seconds, records: gets, asked, whole: true }
    }

    fn rates(usd_per_worker_hour: Option<f64>) -> Rates {
        Rates { usd_per_worker_hour, worker_from: "as a test says".to_owned(), ..Rates::default() }
    }

    #[test]
    fn a_bill_is_requests_and_workers_and_what_a_million_objects_come_to() {
        let bill = bill(used(500_000, 1800.0), 500_000, &rates(Some(0.1)));
        let near = |is: f64, wanted: f64| assert!((is - wanted).abs() < 1e-9, "{is} instead of {wanted}");
        near(bill.usd.requests, 0.2);
        near(bill.usd.workers.unwrap(), 0.05);
        near(bill.usd.total, 0.25);
        near(bill.usd.per_million_objects.unwrap(), 0.5);
        assert_eq!(bill.prices[1], "workers: 0.1 an hour, as a test says");
    }

    #[test]
    fn machines_that_are_there_are_paid_for_whether_or_not_they_work() {
        let bill = bill(Used { idle_seconds: 5400.0, ..used(0, 1800.0) }, 1, &rates(Some(0.1)));
        assert_eq!((bill.worker_seconds, bill.instance_seconds, bill.usd.workers), (1800.0, 7200.0, Some(0.2)));
    }

    #[test]
    fn what_nobody_knows_the_price_of_is_not_nothing() {
        let bill = bill(used(1000, 1800.0), 0, &rates(None));
        assert_eq!((bill.usd.workers, bill.usd.per_million_objects), (None, None));
        assert!((bill.usd.total - 0.0004).abs() < 1e-12);
        assert_eq!(bill.prices[1], "workers: nobody said what one costs");
    }

    proptest! {
        #[test]
        fn bills_of_parts_add_up_to_the_bill_of_all(
            one in 0u64..1_000_000_000, other in 0u64..1_000_000_000, seconds in 0u32..10_000_000, usd in 0u32..1_000,
        ) {
            let rates = rates(Some(f64::from(usd) / 100.0));
            let (one_s, other_s) = (f64::from(seconds), f64::from(seconds) / 3.0);
            let parts = bill(used(one, one_s), 1, &rates).usd.total + bill(used(other, other_s), 1, &rates).usd.total;
            let all = bill(used(one + other, one_s + other_s), 1, &rates).usd.total;
            prop_assert!((parts - all).abs() <= 1e-9 * all.max(1.0));
        }
    }
}
