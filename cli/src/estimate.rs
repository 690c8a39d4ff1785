//! From a plan to an estimate of what it takes: the input is listed and cut as the coordinator would do it, and what is not
//! known of speed, workers and prices is taken from where somebody measured or said it.

use crate::args::Assumed;
use crate::location::{self, Place};
use crate::plan::Planned;
use crate::stop::Stop;
use crate::submit::utf8;
use mr_core::{Bill, ClusterTerms, Failure, FailureClass, FleetTerms, JobSpec, KeyList, Report, TaskGraph};
use mr_cost::{Estimate, Instance, Job, Places, Prices, Rates, Shape, Speed, Workers, estimate};
use mr_mapreduce::Registry;
use mr_storage::{GetOptions, Meter, metered, story};

/// `terms`: of the cluster that it would run on; `None`: it would run here, with so many slots.
///
/// # Errors
/// When the input can't be listed or cut, or what was said of prices and speed can't be.
pub async fn estimated(
    planned: &Planned,
    registry: &Registry,
    (assumed, place): (&Assumed, &Place),
    terms: Option<&ClusterTerms>,
    slots_here: u32,
) -> Result<Estimate, Stop> {
    let (plan, spec) = (&planned.plan, &planned.plan.spec);
    let (rates, instance) = rates(assumed, terms)?;
    let speed = speed(spec, registry, assumed, place).await?;

    let meter = Meter::default();
    let input = mr_storage::open(&spec.input).await.map_err(|error| Stop::Refused(story(&error)))?;
    let input = metered(&input, &meter);
    let keys = planned.keys.as_ref().map(|bytes| KeyList::decode(bytes)).transpose().map_err(Stop::Failed)?;
    let listing = mr_coordinator::listing(&input, plan, keys).await.map_err(of_failure)?;
    let (splits, graph) = mr_coordinator::cut(plan, &listing).map_err(of_failure)?;

    let records: u64 = splits.iter().map(|split| u64::from(split.count)).sum();
    let slot_seconds = speed.as_ref().map(|speed| records as f64 / speed.records_per_slot_second);
    let workers = workers(assumed, terms, (instance, slots_here), (&graph, slot_seconds))?;
    let shape = Shape {
        plan,
        graph: &graph,
        splits: &splits,
        places: places(spec, terms, assumed),
        finding: &meter.counts(),
        processes: workers.count,
    };
    Ok(estimate(&Job { shape, listing: &listing, speed: speed.as_ref(), workers, rates: &rates }))
}

fn of_failure(failure: Failure) -> Stop {
    match failure.class {
        FailureClass::Refused => Stop::Refused(failure.message),
        _ => Stop::Failed(failure.message),
    }
}

/// Where the tasks' files lie: a run here has a folder for them, a cluster says so itself, and one that is only thought of has
/// them where the output is.
fn places(spec: &JobSpec, terms: Option<&ClusterTerms>, assumed: &Assumed) -> Places {
    let in_s3 = |url: &str| url.starts_with("s3://");
    let state = match terms {
        Some(terms) => terms.state_in_s3,
        None => assumed.workers.is_some() && in_s3(&spec.output),
    };
    Places { input: in_s3(&spec.input), output: in_s3(&spec.output), state }
}

/// What was typed counts more than what the cluster says.
fn rates(assumed: &Assumed, terms: Option<&ClusterTerms>) -> Result<(Rates, Option<Instance>), Stop> {
    let prices = match (&assumed.prices, terms) {
        (Some(path), _) => {
            let shown = path.display();
            let text = std::fs::read_to_string(path)
                .map_err(|error| Stop::Refused(format!("`--prices {shown}` can't be read: {error}")))?;
            Prices::parse(&text).map_err(|error| Stop::Refused(format!("`--prices {shown}`: {error}")))?
        }
        (None, Some(terms)) => Prices::parse(&terms.prices)
            .map_err(|error| Stop::Failed(format!("the coordinator's table of prices: {error}")))?,
        (None, None) => Prices::built_in(),
    };
    let instance = assumed.instance_type.as_ref().map(|name| {
        prices.instance(name).ok_or_else(|| {
            let known = prices.instances().collect::<Vec<_>>().join(", ");
            Stop::Refused(format!("`--instance-type {name}`: the table has no such type; it has {known}"))
        })
    });
    let instance = instance.transpose()?;
    let (usd_per_worker_hour, worker_from) = match (assumed.usd_per_worker_hour, instance, terms) {
        (Some(usd), _, _) => (Some(usd), "as --usd-per-worker-hour says".to_owned()),
        (None, Some(instance), _) => {
            let name = assumed.instance_type.as_deref().unwrap_or_default();
            (Some(instance.usd_per_hour), format!("{name}, {}", prices.instances_from()))
        }
        (None, None, Some(terms)) => (terms.usd_per_worker_hour, terms.worker_from.clone()),
        (None, None, None) => (None, String::new()),
    };
    Ok((Rates { prices, usd_per_worker_hour, worker_from }, instance))
}

fn workers(
    assumed: &Assumed,
    terms: Option<&ClusterTerms>,
    (instance, slots_here): (Option<Instance>, u32),
    (graph, slot_seconds): (&TaskGraph, Option<f64>),
) -> Result<Workers, Stop> {
    let fleet = terms.and_then(|terms| terms.fleet);
    let in_touch = terms.filter(|terms| terms.workers > 0);
    let slots = assumed
        .worker_slots
        .or(instance.map(|instance| instance.vcpus))
        .or(in_touch.map(|terms| terms.slots.div_ceil(terms.workers)))
        .or(fleet.map(|fleet| fleet.slots))
        // A worker has a slot a core, unless it is told otherwise.
        .unwrap_or(if terms.is_some() { 1 } else { slots_here })
        .max(1);
    let seconds = |of: fn(FleetTerms) -> u64| fleet.map_or(0.0, |fleet| of(fleet) as f64 / 1e3);
    let of_fleet = fleet.map(|fleet| mr_coordinator::workers_alone(&fleet, slots, graph, slot_seconds));
    let of_fleet = of_fleet.transpose().map_err(Stop::Failed)?;
    let count = assumed.workers.or(of_fleet).or(in_touch.map(|terms| terms.workers)).unwrap_or(1);
    let start_s = seconds(|fleet| fleet.start_ms);
    let (idle_s, billed_min_s) = (seconds(|fleet| fleet.idle_ms), seconds(|fleet| fleet.billed_min_ms));
    Ok(Workers { count, slots, start_s, idle_s, billed_min_s })
}

/// Of the first that knows: whoever typed it, the report of a run that it is likened to, that of the output's last run, and
/// those who wrote the job.
async fn speed(spec: &JobSpec, registry: &Registry, assumed: &Assumed, place: &Place) -> Result<Option<Speed>, Stop> {
    if let Some(rate) = assumed.records_per_slot_second {
        let from = "as --records-per-slot-second says".to_owned();
        return Ok(Some(Speed { records_per_slot_second: rate, from }));
    }
    if let Some(like) = &assumed.like {
        let typed = utf8("--like", like)?;
        let refuse = |why: String| Stop::Refused(format!("`--like {typed}`: {why}"));
        let url = location::root_url(typed, place).map_err(refuse)?;
        let report = report(&url).await.map_err(refuse)?;
        let speed = measured(&report, &spec.job).ok_or_else(|| {
            refuse(format!("the run of `{}` that made it says nothing of how fast it was", report.settings.job))
        });
        return speed.map(Some);
    }
    // Mostly there is no output yet, and whatever else is wrong with it the job itself will say.
    let last = report(&spec.output).await.ok().and_then(|report| measured(&report, &spec.job));
    let usual = || {
        let (records_per_slot_second, from) = registry.find(&spec.job)?.usual_speed()?;
        Some(Speed { records_per_slot_second, from: format!("measured with {from}") })
    };
    Ok(last.or_else(usual))
}

async fn report(output: &str) -> Result<Report, String> {
    let store = mr_storage::open(output).await.map_err(|error| story(&error))?;
    let got = store.get("_report.json", GetOptions::default()).await.map_err(|error| story(&error))?;
    serde_json::from_slice(&got.bytes).map_err(|error| format!("its _report.json can't be read: {error}"))
}

/// What a report says of the same job. Of what was taken over from other runs nobody knows how long it took.
fn measured(report: &Report, job: &str) -> Option<Speed> {
    let of_all = |bill: &&Bill| report.settings.job == job && bill.whole && bill.records >= report.books.listed;
    let bill = report.bill.as_ref().filter(of_all)?;
    let rate = bill.records as f64 / bill.slot_seconds;
    let from = format!("as in job {}, {} records", report.job_id, bill.records);
    (rate.is_finite() && rate > 0.0).then_some(Speed { records_per_slot_second: rate, from })
}

#[cfg(test)]
mod tests {
    use super::*;
    use mr_core::{FleetAim, Usd, expand};

    fn terms() -> ClusterTerms {
        ClusterTerms {
            workers: 3,
            slots: 10,
            usd_per_worker_hour: Some(0.05),
            worker_from: "as a test says".into(),
            prices: Prices::built_in().text().to_owned(),
            ..ClusterTerms::default()
        }
    }

    fn fleet() -> FleetTerms {
        FleetTerms {
            workers_min: 0,
            workers_max: 16,
            slots: 2,
            start_ms: 60_000,
            task_ms: 2_000,
            idle_ms: 300_000,
            billed_min_ms: 60_000,
            aim: FleetAim::Within { target_ms: 600_000 },
            usd_per_worker_hour: 0.05,
            budget_usd_per_job: None,
        }
    }

    #[test]
    fn what_was_typed_counts_more_than_what_a_cluster_says() {
        let of = |assumed: &Assumed, terms: Option<&ClusterTerms>| rates(assumed, terms).unwrap().0.usd_per_worker_hour;
        let typed = Assumed { usd_per_worker_hour: Some(0.01), ..Assumed::default() };
        let kind = Assumed { instance_type: Some("c7i.large".into()), ..Assumed::default() };
        assert_eq!(
            [&typed, &kind, &Assumed::default()].map(|assumed| of(assumed, Some(&terms()))),
            [Some(0.01), Some(0.08925), Some(0.05)]
        );
        assert_eq!(of(&Assumed::default(), None), None, "nobody said what this machine costs");
        let unknown = Assumed { instance_type: Some("c7i.tiny".into()), ..Assumed::default() };
        let Err(Stop::Refused(said)) = rates(&unknown, None) else { panic!("there is none") };
        assert!(
            said.starts_with("`--instance-type c7i.tiny`: the table has no such type; it has c6a.2xlarge, "),
            "{said}"
        );
        let lacking = Assumed { prices: Some("/not/there".into()), ..Assumed::default() };
        let Err(Stop::Refused(said)) = rates(&lacking, None) else { panic!("there is none") };
        assert!(said.starts_with("`--prices /not/there` can't be read: "), "{said}");
    }

    #[test]
    fn workers_are_those_that_are_there_or_that_a_fleet_would_start() {
        let graph = expand(&crate::testing::plan(), 100).unwrap();
        let of = |assumed: &Assumed, terms: Option<&ClusterTerms>, instance, work| {
            let Workers { count, slots, start_s, .. } = workers(assumed, terms, (instance, 8), (&graph, work)).unwrap();
            (count, slots, start_s)
        };
        let nothing = Assumed::default();
        assert_eq!(of(&nothing, None, None, None), (1, 8, 0.0));
        assert_eq!(of(&nothing, Some(&terms()), None, None), (3, 4, 0.0));
        let empty = ClusterTerms { workers: 0, slots: 0, fleet: Some(fleet()), ..terms() };
        assert_eq!(of(&nothing, Some(&empty), None, Some(5_400.0)), (5, 2, 60.0));
        assert_eq!(
            of(&nothing, Some(&empty), None, None),
            (1, 2, 60.0),
            "a task takes two seconds, as far as it knows"
        );
        let free = FleetTerms { aim: FleetAim::Cheapest { usd_per_hour_waited: 0.0 }, ..fleet() };
        let free = ClusterTerms { fleet: Some(free), ..empty.clone() };
        assert_eq!(of(&nothing, Some(&free), None, Some(5_400.0)), (1, 2, 60.0), "nobody minds to wait");
        let wrong = ClusterTerms { fleet: Some(FleetTerms { workers_max: 0, ..fleet() }), ..empty.clone() };
        let said = workers(&nothing, Some(&wrong), (None, 8), (&graph, None));
        assert!(matches!(said, Err(Stop::Failed(said)) if said.starts_with("the coordinator's fleet: ")));
        let typed = Assumed { workers: Some(7), worker_slots: Some(3), ..Assumed::default() };
        assert_eq!(of(&typed, Some(&empty), None, Some(5_400.0)), (7, 3, 60.0));
        let instance = Some(Instance { vcpus: 4, usd_per_hour: 1.0 });
        assert_eq!(of(&Assumed { workers: Some(7), ..Assumed::default() }, None, instance, None), (7, 4, 0.0));
    }

    #[test]
    fn files_of_tasks_are_in_s3_where_a_cluster_has_them_there() {
        let mut spec = crate::testing::plan().spec;
        spec.output = "s3://b/out/".into();
        let state = |terms: Option<&ClusterTerms>, assumed: &Assumed| places(&spec, terms, assumed).state;
        assert!(!state(None, &Assumed::default()), "a run here has a folder for them");
        assert!(state(None, &Assumed { workers: Some(2), ..Assumed::default() }));
        assert!(!state(Some(&terms()), &Assumed::default()));
        assert!(state(Some(&ClusterTerms { state_in_s3: true, ..terms() }), &Assumed::default()));
    }

    #[test]
    fn a_report_tells_the_speed_of_its_own_job_and_of_what_was_done_in_it() {
        let mut report = crate::verify::tests::report();
        assert_eq!(measured(&report, "count"), None, "it has no bill");
        let bill = Bill {
            instance_seconds: 7.0,
            worker_seconds: 5.0,
            slot_seconds: 10.0,
            records: 50,
            asked: Default::default(),
            usd: Usd::default(),
            whole: true,
            prices: Vec::new(),
        };
        report.bill = Some(bill.clone());
        let speed = measured(&report, "count").unwrap();
        assert_eq!((speed.records_per_slot_second, &*speed.from), (5.0, "as in job j, 50 records"));
        assert_eq!(measured(&report, "other"), None);
        report.bill = Some(Bill { records: 0, slot_seconds: 0.0, ..bill });
        assert_eq!(measured(&report, "count"), None, "all of it was taken over");
    }
}
