//! An estimate as people read it: data, for stdout.

use crate::words;
use mr_core::{JobSpec, StoreRequest};
use mr_cost::{Estimate, over_budget};

/// A few lines, each with its word in front.
pub fn of(spec: &JobSpec, estimate: &Estimate) -> String {
    let noun = words::objects(&spec.job);
    let mut objects = format!("{}, {}", words::of(estimate.objects, noun), words::bytes(estimate.bytes));
    if estimate.skipped > 0 {
        objects = format!("{objects}; {} skipped", words::count(estimate.skipped));
    }
    let mut lines = vec![
        format!("job      {}", words::harmless(&spec.job)),
        format!("input    {}", words::harmless(words::place(&spec.input))),
        format!("output   {}", words::harmless(words::place(&spec.output))),
        format!("objects  {objects}"),
        format!("tasks    {}", tasks(estimate)),
    ];
    lines.extend(requests(estimate));
    lines.push(format!("workers  {}", workers(estimate)));
    lines.push(format!("time     {}", time(estimate)));
    lines.extend(dollars(spec, estimate));
    lines.join("\n")
}

fn tasks(estimate: &Estimate) -> String {
    let all: u64 = estimate.tasks.iter().map(|(_, count)| count).sum();
    let each = estimate.tasks.iter().map(|(name, count)| format!("{} {}", words::harmless(name), words::count(*count)));
    format!("{} ({})", words::count(all), each.collect::<Vec<_>>().join(", "))
}

/// One line for each kind.
fn requests(estimate: &Estimate) -> Vec<String> {
    let mut lines = Vec::new();
    for request in StoreRequest::ALL {
        let of = || estimate.requests.iter().filter(|asked| asked.request == request);
        let count: u64 = of().map(|asked| asked.count).sum();
        if count == 0 {
            continue;
        }
        let exact: u64 = of().filter(|asked| asked.exact).map(|asked| asked.count).sum();
        let how = match exact {
            0 => String::new(),
            exact if exact == count => ", exactly".to_owned(),
            exact => format!(", {} of them exactly", words::count(exact)),
        };
        let word = if lines.is_empty() { "requests" } else { "" };
        lines.push(format!("{word:8} {:<16} {}{how}", request.name(), words::count(count)));
    }
    if lines.is_empty() {
        lines.push("requests none: everything is in folders".to_owned());
    }
    lines
}

fn workers(estimate: &Estimate) -> String {
    let workers = &estimate.workers;
    let mut said = format!(
        "{} with {} each, as is assumed",
        words::of(workers.count.into(), "workers"),
        words::of(workers.slots.into(), "slots")
    );
    if workers.start_s > 0.0 {
        said = format!("{said}, {} until they are there", words::about(workers.start_s));
    }
    if workers.idle_s > 0.0 {
        said = format!("{said}, {} more until they go", words::about(workers.idle_s));
    }
    said
}

fn time(estimate: &Estimate) -> String {
    let (Some(likely), Some(speed)) = (&estimate.likely, &estimate.speed) else {
        return format!("unknown: {}", lacks(estimate));
    };
    format!(
        "about {}: {} of a slot at {} records a second ({})",
        words::about(likely.seconds),
        words::about(likely.slot_seconds),
        words::rate(speed.records_per_slot_second),
        words::harmless(&speed.from)
    )
}

/// What would have to be said for an estimate of what workers cost.
pub fn lacks(estimate: &Estimate) -> &'static str {
    match estimate.speed {
        None => {
            "nobody has measured this job; say how fast it is with --records-per-slot-second, or --like an earlier output"
        }
        Some(_) => "nobody said what a worker costs; say it with --usd-per-worker-hour or --instance-type",
    }
}

fn dollars(spec: &JobSpec, estimate: &Estimate) -> Vec<String> {
    let usd = &estimate.usd;
    let workers = match usd.workers {
        Some(workers) => format!("{} for workers", words::usd(workers)),
        None => format!("workers unknown ({})", lacks(estimate)),
    };
    let mut lines =
        vec![format!("dollars  {}: {} for requests, {workers}", words::usd(usd.total), words::usd(usd.requests))];
    if let Some(million) = usd.per_million_objects {
        lines.push(format!("         {} a million {}", words::usd(million), words::objects(&spec.job)));
    }
    let prices = estimate.prices.iter().map(|from| format!("prices   {}", words::harmless(from)));
    lines.extend(prices);
    lines.push(
        "         without data transfer, storage, disks, taxes and what is tried again; as if nothing were done yet"
            .to_owned(),
    );
    if let Some(budget) = spec.limits.budget_max_usd {
        let within = match (over_budget(usd, budget), usd.workers) {
            (Some(_), _) => "above it",
            (None, Some(_)) => "within it",
            (None, None) => "within it by requests alone",
        };
        lines.push(format!("budget   limits.budget_max_usd = {budget}: {within}"));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use mr_core::Usd;
    use mr_cost::{Asked, Likely, Speed, Workers};

    fn estimate() -> Estimate {
        let asked = |request, count, exact| Asked { what: "reading", request, count, exact, after_report: false };
        Estimate {
            objects: 4020,
            skipped: 3,
            bytes: 12_345_678,
            tasks: vec![("embed".into(), 81), ("fit".into(), 1)],
            requests: vec![
                asked(StoreRequest::Get, 4020, true),
                asked(StoreRequest::Get, 81, false),
                asked(StoreRequest::List, 5, true),
                asked(StoreRequest::Put, 163, false),
            ],
            workers: Workers { count: 2, slots: 4, start_s: 60.0, idle_s: 300.0, billed_min_s: 60.0 },
            speed: Some(Speed { records_per_slot_second: 148.0, from: "measured by a test".into() }),
            likely: Some(Likely { slot_seconds: 27.2, seconds: 63.4, instance_seconds: 726.8 }),
            usd: Usd::of(0.0025, Some(0.0182), 4020),
            prices: vec!["requests: list prices of a day".into(), "workers: 0.09 an hour, c7i.large".into()],
        }
    }

    #[test]
    fn an_estimate_says_what_it_rests_on() {
        let mut spec = crate::testing::plan().spec;
        spec.limits.budget_max_usd = Some(0.03);
        let said = of(&spec, &estimate());
        let wanted = "\
job      count
input    /in
output   /out
objects  4,020 objects, 12.3 MB; 3 skipped
tasks    82 (embed 81, fit 1)
requests GetObject        4,101, 4,020 of them exactly
         ListObjectsV2    5, exactly
         PutObject        163
workers  2 workers with 4 slots each, as is assumed, 60 s until they are there, 5 min more until they go
time     about 64 s: 28 s of a slot at 148 records a second (measured by a test)
dollars  $0.0207: $0.0025 for requests, $0.0182 for workers
         $5.15 a million objects
prices   requests: list prices of a day
prices   workers: 0.09 an hour, c7i.large
         without data transfer, storage, disks, taxes and what is tried again; as if nothing were done yet
budget   limits.budget_max_usd = 0.03: within it";
        assert_eq!(said, wanted);
    }

    #[test]
    fn what_is_not_known_is_said_to_be() {
        let unknown = Estimate { speed: None, likely: None, usd: Usd::of(0.0, None, 4020), ..estimate() };
        let folders = Estimate { requests: Vec::new(), ..unknown };
        let said = of(&crate::testing::plan().spec, &folders);
        assert!(said.contains("requests none: everything is in folders"), "{said}");
        assert!(said.contains("time     unknown: nobody has measured this job; say how fast it is"), "{said}");
        assert!(said.contains("workers unknown (nobody has measured this job"), "{said}");
        let unpriced = Estimate { usd: Usd::of(0.0, None, 4020), ..estimate() };
        assert!(
            of(&crate::testing::plan().spec, &unpriced).contains("workers unknown (nobody said what a worker costs")
        );
    }
}
