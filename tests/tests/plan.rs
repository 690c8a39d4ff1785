//! What a job is said to take and what its bill says that it took, and that a job above its budget is not begun.

use mr_core::{Bill, StoreRequest};
use mr_tests::{Coordinator, Ended, S3Server, Scratch, Submit, Worker, drawn, tree};
use serde_json::Value;
use std::fs;

/// How far requests may be from what was said, of those that depend on more than the splits: files beside the result, and
/// entries of the journal, of which several may go in one.
const TOLERANCE: f64 = 0.25;

fn planned(ended: &Ended) -> Value {
    serde_json::from_str(&ended.stdout).unwrap_or_else(|error| panic!("{error}: {ended}"))
}

/// Requests of that kind that were foreseen up to the report.
fn foreseen(plan: &Value, request: StoreRequest, exact: Option<bool>) -> u64 {
    let asked = plan["requests"].as_array().expect("a list").iter();
    let of_kind = asked.filter(|asked| asked["request"] == request.name() && asked["after_report"] == false);
    let wanted = of_kind.filter(|asked| exact.is_none_or(|exact| asked["exact"] == exact));
    wanted.map(|asked| asked["count"].as_u64().expect("a number")).sum()
}

fn billed(bill: &Bill, request: StoreRequest) -> u64 {
    bill.asked.of(request)
}

#[track_caller]
fn near(plan: &Value, bill: &Bill, request: StoreRequest) {
    let (said, was) = (foreseen(plan, request, None), billed(bill, request));
    println!("{}: {said} foreseen, {was} billed", request.name());
    let off = said.abs_diff(was) as f64;
    assert!(off <= TOLERANCE * was as f64 + 8.0, "{}: {said} foreseen and {was} billed", request.name());
}

#[test]
fn a_bill_is_what_was_foreseen_on_a_cluster_over_s3() {
    let scratch = Scratch::enter("plan: a cluster over S3");
    let photos = drawn(&scratch, "photos", 90, 4);
    let s3 = S3Server::start(&scratch, &photos, 40);
    scratch.write("coordinator.toml", "[prices]\ninstance_type = \"c7i.large\"\n");
    let coordinator = Coordinator::start(&scratch, "s3://photos/state/", Some(&s3), &["--config", "coordinator.toml"]);
    let mut worker = Worker::start_with_metrics(None, &scratch, &coordinator, Some(&s3));
    worker.until_it_says("working");
    let settings = ["split.objects_max=4", "params.components=3"];

    let plan = Submit::plan(&scratch, s3.input(), "s3://photos/out/", Some(&s3)).to(&coordinator);
    let plan = settings.iter().fold(plan, |plan, setting| plan.set(setting));
    let plan = plan.args(["--json"]).run().done();
    let (plan, plan_said) = (planned(&plan), plan.stderr);
    assert_eq!(
        (&plan["objects"], &plan["workers"]["count"], &plan["workers"]["slots"]),
        (&90.into(), &1.into(), &1.into())
    );
    assert_eq!(foreseen(&plan, StoreRequest::Get, Some(true)), 90, "each photo once");
    assert_eq!(foreseen(&plan, StoreRequest::List, Some(true)), 3, "90 photos are three pages of 40");
    assert!(plan["usd"]["workers"].as_f64().is_some_and(|usd| usd > 0.0), "{plan}");

    let job = Submit::job(&scratch, s3.input(), "s3://photos/out/").to(&coordinator);
    let job = settings.iter().fold(job, |job, setting| job.set(setting));
    let ended = job.run().done();
    assert!(ended.stdout.starts_with("90 images embedded, 0 quarantined"), "{ended}");
    let output = s3.output(&scratch, "out/");
    let bill = output.report.bill.expect("it has one");
    for request in [StoreRequest::Get, StoreRequest::List, StoreRequest::Put, StoreRequest::Copy, StoreRequest::Head] {
        near(&plan, &bill, request);
    }
    // Nobody has left work files for others yet, so they are not listed.
    assert_eq!(billed(&bill, StoreRequest::List) + 1, foreseen(&plan, StoreRequest::List, None), "{bill:?}");
    assert!(bill.whole && bill.records == 90, "{bill:?}");
    let photos: usize = tree(&photos).values().map(Vec::len).sum();
    assert!(bill.asked.read_bytes >= photos as u64, "{bill:?}");
    assert!(bill.asked.written_bytes > 0 && bill.worker_seconds > 0.0, "{bill:?}");
    assert_eq!(bill.instance_seconds, bill.worker_seconds, "there is no fleet: {bill:?}");
    assert!((bill.slot_seconds - bill.worker_seconds).abs() < 1e-9, "the worker has one slot: {bill:?}");
    // What has been said of prices holds for the bill.
    let of_workers = bill.worker_seconds / 3600.0 * 0.08925;
    assert!(bill.usd.workers.is_some_and(|usd| (usd - of_workers).abs() < 1e-9), "{bill:?}");
    let total = bill.usd.requests + of_workers;
    assert!((bill.usd.total - total).abs() < 1e-9, "{bill:?}");
    assert!(bill.usd.per_million_objects.is_some_and(|usd| (usd - total / 90.0 * 1e6).abs() < 1e-6), "{bill:?}");
    assert!(bill.prices[1].contains("c7i.large, list prices of 2"), "{bill:?}");

    // What that job took says how fast the next one is.
    let next = Submit::plan(&scratch, s3.input(), "s3://photos/out/", Some(&s3)).to(&coordinator).run().done();
    assert!(next.stdout.contains(&format!("as in job {}, 90 records", output.report.job_id)), "{next}");
    assert!(!next.stderr.contains("refused") && !plan_said.contains("refused"), "{next}");
    let refused = Submit::plan(&scratch, s3.input(), "s3://photos/out/", Some(&s3)).set("mode=fail").to(&coordinator);
    let refused = refused.run().done();
    let why = "as it stands the job would be refused: the output exists: it is a table with 90 rows";
    assert!(refused.stderr.contains(why), "{refused}");
    assert!(plan["refused"].is_null() && plan["over_budget"].is_null(), "{plan}");
    worker.terminate();
    coordinator.terminate();
}

#[test]
fn a_run_here_is_billed_for_its_requests_alone() {
    let scratch = Scratch::enter("plan: a run here over S3");
    let photos = drawn(&scratch, "photos", 30, 4);
    let s3 = S3Server::start(&scratch, &photos, 1000);
    let plan = Submit::plan(&scratch, s3.input(), "s3://photos/out/", Some(&s3)).set("params.components=3");
    let plan = planned(&plan.args(["--json"]).run().done());
    let ended =
        Submit::over(&scratch, s3.input(), "s3://photos/out/", Some(&s3)).set("params.components=3").run().done();
    assert!(ended.stdout.starts_with("30 images embedded"), "{ended}");
    let bill = s3.output(&scratch, "out/").report.bill.expect("it has one");
    assert_eq!(billed(&bill, StoreRequest::Get), foreseen(&plan, StoreRequest::Get, None), "{bill:?}");
    assert_eq!(billed(&bill, StoreRequest::List), foreseen(&plan, StoreRequest::List, None), "{bill:?}");
    near(&plan, &bill, StoreRequest::Put);
    assert_eq!((bill.usd.workers, plan["usd"]["workers"].is_null()), (None, true), "this machine has no price");

    // Folders are asked nothing.
    let here = Submit::job(&scratch, &photos, "here").set("params.components=3").done();
    let bill = here.report.bill.expect("it has one");
    assert!(bill.asked.requests.is_empty() && bill.usd.requests == 0.0, "{bill:?}");
    let plan = Submit::plan(&scratch, &photos, "there", None).set("params.components=3").run().done();
    assert!(plan.stdout.contains("requests none: everything is in folders"), "{plan}");
    assert!(!scratch.join("there").exists(), "a plan writes nothing");
}

#[test]
fn a_job_above_its_budget_is_refused_and_leaves_nothing() {
    let scratch = Scratch::enter("plan: above the budget");
    let photos = drawn(&scratch, "photos", 30, 4);
    let s3 = S3Server::start(&scratch, &photos, 1000);
    let coordinator = Coordinator::start(&scratch, "s3://photos/state/", Some(&s3), &[]);
    let (before, dear) = (s3.keys(""), ["--usd-per-worker-hour", "100000", "--workers", "3"]);
    let job = || {
        let job = Submit::over(&scratch, s3.input(), "s3://photos/out/", Some(&s3)).set("params.components=3");
        job.set("limits.budget_max_usd=0.01").args(dear)
    };
    let above = "US dollars (requests 0.00";
    for job in [job().to(&coordinator), job()] {
        let ended = job.run();
        assert_eq!(ended.status.code(), Some(2), "{ended}");
        for words in [above, "`limits.budget_max_usd` is 0.01: raise that", "Nothing was submitted"] {
            assert!(ended.stderr.contains(words), "{words}: {ended}");
        }
    }
    let without_journal = |keys: Vec<String>| {
        // The coordinator that is there goes on saying so.
        keys.into_iter().filter(|key| !key.starts_with("state/journal/")).collect::<Vec<_>>()
    };
    assert_eq!(without_journal(s3.keys("")), without_journal(before), "nothing is left");

    let plan = Submit::plan(&scratch, s3.input(), "s3://photos/out/", Some(&s3)).set("limits.budget_max_usd=0.01");
    let ended = plan.set("params.components=3").args(dear).run();
    assert_eq!(ended.status.code(), Some(2), "{ended}");
    assert!(ended.stdout.contains("limits.budget_max_usd = 0.01: above it"), "{ended}");
    assert!(ended.stderr.contains(above), "{ended}");

    // With a budget that is enough, nobody is kept.
    let job = Submit::over(&scratch, s3.input(), "s3://photos/out/", Some(&s3)).set("params.components=3");
    let ended = job.set("limits.budget_max_usd=1").run().done();
    assert!(ended.stderr.contains("is held against requests alone: nobody said what a worker costs"), "{ended}");
    coordinator.terminate();
}

#[test]
fn what_can_not_be_is_told_in_a_sentence() {
    let scratch = Scratch::enter("plan: mistakes");
    let photos = drawn(&scratch, "photos", 3, 4);
    fs::write(scratch.join("prices.toml"), "region = 3\n").expect("there is room");
    let said = |args: &[&str], set: &str| {
        let ended = Submit::plan(&scratch, &photos, "out", None).set(set).args(args).run();
        assert_eq!(ended.status.code(), Some(2), "{ended}");
        ended.stderr
    };
    let fine = "params.components=1";
    for (args, set, words) in [
        (&[][..], "limits.budget_max_usd=0", "`limits.budget_max_usd` is in US dollars, more than none of them, not 0"),
        (&[], "limits.budget_max_usd=-1", "more than none of them, not -1"),
        (&[], "limits.budget_max_usd=nan", "`limits.budget_max_usd` takes a number; this is no finite number"),
        (&[], "limits.budget_max_usd=lots", "`limits.budget_max_usd` takes a number, not a text"),
        (&["--prices", "prices.toml"], fine, "`--prices prices.toml`: it is no table of prices: "),
        (&["--prices", "nowhere.toml"], fine, "`--prices nowhere.toml` can't be read: "),
        (&["--instance-type", "c7i.tiny"], fine, "`--instance-type c7i.tiny`: the table has no such type"),
        (&["--like", "nowhere"], fine, "`--like nowhere`: "),
        (&["--workers", "0"], fine, "0 is not in 1..="),
    ] {
        let stderr = said(args, set);
        assert!(stderr.contains(words), "{words}: {stderr}");
    }
    let none = Submit::plan(&scratch, scratch.join("none"), "out", None).run();
    assert!(none.status.code() == Some(2) && none.stderr.contains("there is no input at"), "{none}");
    assert!(!scratch.join("out").exists(), "a plan writes nothing");
}
