//! What the programs tell of themselves is what the documentation names, and adds up.

use mr_tests::{Certs, Coordinator, S3Server, Scratch, Signal, Submit, Worker, drawn, wait_until};
use std::collections::BTreeSet;
use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

/// What is answered at a URL without a path of more than one part.
fn get(url: &str) -> String {
    let (address, path) = url.strip_prefix("http://").and_then(|rest| rest.split_once('/')).expect("it is a URL");
    let mut stream = TcpStream::connect(address).expect("somebody listens");
    write!(stream, "GET /{path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n").expect("it is heard");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("it is answered");
    answer
}

/// Where a program says that its metrics are.
fn url(said: &str) -> &str {
    let (_, url) = said.split_once("metrics are at ").expect("it says so");
    url.split_whitespace().next().expect("a word follows")
}

/// The families of a page, with what they are.
fn families(page: &str) -> BTreeSet<(String, String)> {
    let types = page.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '));
    types.map(|(name, kind)| (name.to_owned(), kind.to_owned())).collect()
}

/// Those in the documentation, in the sections that hold for a program.
fn documented(headings: &[&str]) -> BTreeSet<(String, String)> {
    let text = fs::read_to_string(xtask::shell::root().join("docs/metrics.md")).expect("it is there");
    let sections = text.split("\n## ").filter(|section| headings.iter().any(|heading| section.starts_with(heading)));
    let rows = sections.flat_map(str::lines).filter_map(|line| line.strip_prefix("| `mr_"));
    let cells = rows.map(|row| row.split('|').map(|cell| cell.trim().trim_matches('`').to_owned()).collect::<Vec<_>>());
    cells.map(|cells| (format!("mr_{}", cells[0]), cells[1].clone())).collect()
}

/// The scaler's queries, as the documentation has them.
fn queries() -> Vec<String> {
    let text = fs::read_to_string(xtask::shell::root().join("docs/metrics.md")).expect("it is there");
    text.lines().filter_map(|line| line.trim_start().strip_prefix("query: ")).map(str::to_owned).collect()
}

#[track_caller]
fn has(page: &str, line: &str) {
    assert!(page.lines().any(|found| found == line), "{line} is not in\n{page}");
}

#[test]
fn what_is_told_is_what_is_documented_and_adds_up() {
    let scratch = Scratch::enter("metrics");
    let photos = drawn(&scratch, "photos", 80, 4);
    let s3 = S3Server::start(&scratch, &photos, 1000);
    // The fleet has a worker of its own beside ours.
    let own = scratch.join("own-scratch");
    let certs = Certs::init(&scratch);
    let worker_certs = certs.of("worker");
    scratch.write("coordinator.toml", format!(
        "metrics = \"127.0.0.1:0\"\ncerts = \"certs/coordinator\"\n[fleet]\nprovider = \"local\"\nworkers_min = 1\nworkers_max = 1\n\
         args = [\"--scratch\", {own:?}]\ncerts = {worker_certs:?}\n"
    ));
    let args = ["--config", "coordinator.toml"];
    let coordinator = Coordinator::start(&scratch, "s3://photos/state/", Some(&s3), &args);
    let mut worker = Worker::start_with_metrics(Some(&worker_certs), &scratch, &coordinator, Some(&s3));
    let worker_url = worker.until_it_says("metrics are at ");
    let worker_url = url(&worker_url);
    let job = Submit::job(&scratch, s3.input(), "s3://photos/out/")
        .set("split.objects_max=5")
        .certs(&certs.of("submitter"))
        .to(&coordinator);
    let ended = job.run().done();
    assert!(ended.stdout.starts_with("80 images embedded"), "{ended}");

    let said = coordinator.stderr();
    let page = get(url(&said));
    assert!(page.starts_with("HTTP/1.1 200 OK") && page.contains("application/openmetrics-text"), "{page}");
    assert!(page.ends_with("# EOF\n"), "{page}");
    assert_eq!(families(&page), documented(&["The coordinator", "Both"]));
    has(&page, "mr_leads 1.0");
    has(&page, "mr_jobs_ended_total{outcome=\"committed\"} 1.0");
    has(&page, "mr_jobs{phase=\"running\"} 0.0");
    has(&page, "mr_tasks{state=\"waiting\"} 0.0");
    has(&page, "mr_fleet_wanted 1.0");
    has(&page, "mr_attempts_total{outcome=\"application\"} 0.0");
    // 16 splits, and what comes after them.
    let done = page.lines().find_map(|line| line.strip_prefix("mr_attempts_total{outcome=\"done\"} "));
    assert!(done.is_some_and(|done| done.parse::<f64>().is_ok_and(|done| done > 16.0)), "{page}");
    assert!(page.contains("operation=\"ListObjectsV2\",outcome=\"accepted\"} "), "{page}");

    // Both are well, the one with a coordinator that leads, the other with one that it hears of.
    let healthz = |url: &str| get(&url.replace("/metrics", "/healthz"));
    let well = healthz(url(&said));
    assert!(well.starts_with("HTTP/1.1 200 OK") && well.ends_with("it leads\n"), "{well}");
    let well = healthz(worker_url);
    assert!(well.starts_with("HTTP/1.1 200 OK") && well.ends_with("it hears of a coordinator\n"), "{well}");

    let page = get(worker_url);
    assert_eq!(families(&page), documented(&["A worker", "Both"]));
    has(&page, "mr_worker_slots 1.0");
    assert!(get(&worker_url.replace("/metrics", "/other")).starts_with("HTTP/1.1 404"), "there is nothing else");
    worker.terminate();
    coordinator.terminate();
}

/// Nobody runs the scaler here. One that asks for what there is not scales nothing.
#[test]
fn a_scaler_asks_for_metrics_of_the_coordinator_by_their_names_on_the_wire() {
    let told = documented(&["The coordinator", "Both"]).into_iter().map(|(name, kind)| match kind.as_str() {
        "counter" => format!("{name}_total"),
        _ => name,
    });
    let told: BTreeSet<_> = told.collect();
    let queries = queries();
    assert_eq!(queries.len(), 1, "{queries:?}");
    for query in queries {
        let words = query.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
        let asked: BTreeSet<_> = words.filter(|word| word.starts_with("mr_")).map(str::to_owned).collect();
        assert!(!asked.is_empty() && asked.is_subset(&told), "{query} asks for {asked:?}, and there is {told:?}");
    }
}

#[test]
fn one_that_stands_by_is_well_and_a_worker_that_hears_nothing_is_not() {
    let scratch = Scratch::enter("metrics: health");
    let args = ["--lease-ms", "1000", "--metrics", "127.0.0.1:0"];
    let coordinator = Coordinator::start(&scratch, "state", None, &args);
    let healthz = |said: &str| get(&url(said).replace("/metrics", "/healthz"));
    let heir = Coordinator::start(&scratch, "state", None, &args);
    let told = healthz(&heir.stderr());
    assert!(
        told.starts_with("HTTP/1.1 200") && told.ends_with("it stands by for the coordinator that leads\n"),
        "{told}"
    );
    heir.terminate();

    let mut worker = Worker::start_with_metrics(None, &scratch, &coordinator, None);
    let said = worker.until_it_says("metrics are at ");
    wait_until("it hears of the coordinator", || healthz(&said).contains("it hears of").then_some(()));
    // Stopped in the middle, a coordinator answers neither its workers nor whoever asks for its health.
    coordinator.signal(Signal::Stop);
    let began = Instant::now();
    let told = wait_until("the worker misses it", || Some(healthz(&said)).filter(|told| told.contains(" 503 ")));
    assert!(told.contains("it has heard of no coordinator for "), "{told}");
    assert!(began.elapsed() > Duration::from_secs(3), "four leases of a second");
    let said_by_it = coordinator.stderr();
    let (address, _) = url(&said_by_it).trim_start_matches("http://").split_once('/').expect("it has a path");
    let mut stream = TcpStream::connect(address).expect("the system takes it");
    stream.set_read_timeout(Some(Duration::from_secs(4))).expect("it is not nothing");
    write!(stream, "GET /healthz HTTP/1.1\r\nhost: h\r\n\r\n").expect("the system takes it");
    assert!(stream.read(&mut [0; 64]).is_err(), "nobody answers");
    coordinator.signal(Signal::Continue);
    wait_until("the worker is well again", || healthz(&said).contains(" 200 ").then_some(()));
    worker.terminate();
    coordinator.terminate();
}
