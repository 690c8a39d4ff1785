//! All that is said of a job before it runs, and whether it is within its budget.

use crate::bill::Rates;
use crate::requests::{Asked, Shape, counts, requests};
use crate::time::{Likely, Speed, Workers, likely};
use mr_core::{Listing, TaskGraph, Usd};
use serde::Serialize;

/// A job, and what is assumed about who does it.
#[derive(Clone, Debug)]
pub struct Job<'a> {
    pub shape: Shape<'a>,
    pub listing: &'a Listing,
    /// `None`: nobody knows, and nothing is said of time then.
    pub speed: Option<&'a Speed>,
    pub workers: Workers,
    pub rates: &'a Rates,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Estimate {
    pub objects: u64,
    pub skipped: u64,
    /// Of these objects.
    pub bytes: u64,
    /// Stage after stage, levels of combining with the stage that they are for.
    pub tasks: Vec<(String, u64)>,
    pub requests: Vec<Asked>,
    pub workers: Workers,
    pub speed: Option<Speed>,
    pub likely: Option<Likely>,
    pub usd: Usd,
    /// Where the prices come from, one sentence each.
    pub prices: Vec<String>,
}

pub fn estimate(job: &Job<'_>) -> Estimate {
    let Job { shape, listing, speed, workers, rates } = job;
    let objects = listing.objects.len() as u64;
    let requests = requests(shape);
    let widest = shape.graph.stages.iter().map(|stage| stage.tasks.len()).max().unwrap_or(0) as u32;
    let records = shape.splits.iter().map(|split| u64::from(split.count)).sum();
    let likely = speed.map(|speed| likely(records, widest, speed, *workers));
    let of_workers = likely.and_then(|likely| rates.of_workers(likely.instance_seconds));
    let usd = Usd::of(rates.prices.of_requests(&counts(&requests)), of_workers, objects);
    Estimate {
        objects,
        skipped: listing.skipped,
        bytes: listing.objects.iter().map(|object| object.bytes).fold(0, u64::saturating_add),
        tasks: tasks(shape.graph),
        requests,
        workers: *workers,
        speed: speed.cloned(),
        likely,
        usd,
        prices: rates.from(),
    }
}

fn tasks(graph: &TaskGraph) -> Vec<(String, u64)> {
    let mut tasks: Vec<(String, u64)> = Vec::new();
    for stage in &graph.stages {
        let count = stage.tasks.len() as u64;
        match tasks.last_mut().filter(|(name, _)| *name == stage.name) {
            Some((_, sum)) => *sum += count,
            None => tasks.push((stage.name.clone(), count)),
        }
    }
    tasks
}

/// What is to be said of a job that is estimated to cost more than it may; nothing of one that is within its budget.
pub fn over_budget(usd: &Usd, budget_usd: f64) -> Option<String> {
    let Usd { requests, workers, total, .. } = *usd;
    let of_workers = workers.map_or("workers, whose price nobody said".to_owned(), |usd| format!("workers {usd:.4}"));
    (total > budget_usd).then(|| {
        format!(
            "the job is estimated at {total:.4} US dollars (requests {requests:.4}, {of_workers}), and \
             `limits.budget_max_usd` is {budget_usd}: raise that, or give it less input"
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::requests::Places;
    use crate::testing::{plan, splits};
    use mr_core::{Object, StoreCounts, StoreRequest, expand};
    use proptest::prelude::*;

    fn estimated(count: u32, speed: Option<f64>, usd_per_worker_hour: Option<f64>) -> Estimate {
        let plan = plan();
        let splits = splits(&vec![10; count as usize]);
        let graph = expand(&plan, count).unwrap();
        let object = |n: u32| Object { key: format!("{n:09}"), bytes: 10, etag: String::new() };
        let listing = Listing { objects: (0..10 * count).map(object).collect(), skipped: 2 };
        let speed = speed.map(|speed| Speed { records_per_slot_second: speed, from: "a test".into() });
        let rates = Rates { usd_per_worker_hour, worker_from: "as a test says".into(), ..Rates::default() };
        let places = Places { input: true, output: true, state: true };
        let workers = Workers { count: 2, slots: 4, start_s: 60.0, idle_s: 300.0, billed_min_s: 60.0 };
        let finding = StoreCounts::default();
        let shape =
            Shape { plan: &plan, graph: &graph, splits: &splits, places, finding: &finding, processes: workers.count };
        estimate(&Job { shape, listing: &listing, speed: speed.as_ref(), workers, rates: &rates })
    }

    #[test]
    fn a_job_is_counted_and_priced() {
        let estimate = estimated(100, Some(10.0), Some(0.36));
        assert_eq!((estimate.objects, estimate.skipped, estimate.bytes), (1000, 2, 10_000));
        // A hundred runs are combined by eight, and what comes of it again.
        let tasks = [("embed".to_owned(), 100), ("fit".to_owned(), 13 + 2 + 1), ("project".to_owned(), 100)];
        assert_eq!(estimate.tasks, tasks);
        let likely = estimate.likely.unwrap();
        assert_eq!((likely.slot_seconds, likely.seconds, likely.instance_seconds), (100.0, 72.5, 745.0));
        assert!((estimate.usd.workers.unwrap() - 0.0745).abs() < 1e-12);
        assert!((estimate.usd.total - estimate.usd.requests - 0.0745).abs() < 1e-12);
    }

    #[test]
    fn of_a_job_that_nobody_knows_no_time_is_said() {
        let estimate = estimated(3, None, Some(1.0));
        assert_eq!((estimate.likely, estimate.usd.workers), (None, None));
        assert!(estimate.usd.total > 0.0, "its requests are known");
    }

    #[test]
    fn a_budget_is_held_against_what_is_known() {
        let usd = Usd::of(1.0, Some(2.0), 10);
        assert_eq!(over_budget(&usd, 3.0), None);
        let said = over_budget(&usd, 2.5).unwrap();
        let wanted = "the job is estimated at 3.0000 US dollars (requests 1.0000, workers 2.0000), and `limits.budget_max_usd` \
                      is 2.5: raise that, or give it less input";
        assert_eq!(said, wanted);
        assert!(over_budget(&Usd::of(1.0, None, 10), 0.5).unwrap().contains("whose price nobody said"));
    }

    proptest! {
        #[test]
        fn more_objects_never_cost_less(count in 1u32..300, more in 1u32..50) {
            let [some, all] = [count, count + more].map(|count| estimated(count, Some(10.0), Some(0.5)));
            prop_assert!(all.usd.total >= some.usd.total);
            let of = |estimate: &Estimate, request| counts(&estimate.requests).of(request);
            for request in StoreRequest::ALL {
                prop_assert!(of(&all, request) >= of(&some, request), "{request:?}");
            }
            prop_assert!(of(&some, StoreRequest::Get) >= some.objects);
        }
    }
}
