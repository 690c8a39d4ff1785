//! Coordinator, workers, submitter and store are on hosts of their own, and the links between them are cut: both ways or
//! one, for less and for longer than whoever waits has patience, and healed. Lines are slow and lose packets. Every job
//! ends well, with the bytes, the books and the files of a run that nobody troubles.
//!
//! `MR_FAULT_SEEDS=100` runs so many plans drawn by chance, rather than a few; `MR_LONG_CUTS=1` also such cuts as take
//! minutes.

use mr_tests::{Chance, REPLACED, Site, Spread, Weather, between, fault_seeds};

const ALONE: [&str; 1] = ["coordinator"];
const WITH_STANDBY: [&str; 2] = ["coordinator", "standby"];
const WORKERS: [&str; 3] = ["worker-1", "worker-2", "worker-3"];
/// All but the store.
const CALLERS: [&str; 4] = ["submitter", "worker-1", "worker-2", "worker-3"];

const GIVEN_UP: &str = "nothing was heard for 4 leases: what was running is given up";
const LOST: &str = "can't be reached, trying again";
const BACK: &str = "the coordinator is back after";

fn long_cuts() -> bool {
    std::env::var_os("MR_LONG_CUTS").is_some()
}

/// How many seconds cuts take.
fn lengths(usual: &[f64], long: &[f64]) -> Vec<f64> {
    if long_cuts() { [usual, long].concat() } else { usual.to_vec() }
}

#[test]
fn workers_and_their_coordinator_that_are_cut_off_from_each_other_find_back() {
    let Some(site) = Site::enter("cut off: workers from the coordinator") else { return };
    site.survives("short", &ALONE, |spread| {
        spread.until_made(3);
        let cut = site.hosts.cut(&between("coordinator", &WORKERS));
        spread.lasts(1.0);
        cut.heal();
    });
    // The others do its work, and it is taken back.
    site.survives("one", &ALONE, |spread| {
        spread.until_made(3);
        let cut = site.hosts.cut(&between("coordinator", &["worker-1"]));
        spread.until("the job ends without it", Spread::submitter_is_over);
        cut.heal();
        spread.until_said("worker-1", BACK);
    });
    // Each in another way, and nobody is left.
    site.survives("all", &ALONE, |spread| {
        spread.until_made(3);
        let mut ways = between("coordinator", &["worker-1"]);
        // What it has begun can't end either, so that there is something to give up.
        ways.extend(between("store", &["worker-1"]));
        ways.extend([("coordinator", "worker-2"), ("worker-3", "coordinator")]);
        let cut = site.hosts.cut(&ways);
        for worker in WORKERS {
            spread.until_said(worker, LOST);
        }
        spread.until_said("worker-1", GIVEN_UP);
        cut.heal();
        for worker in WORKERS {
            spread.until_said(worker, BACK);
        }
    });
    // By nobody at all, for longer than a connection is believed in. The store hears it all the while, so none takes over.
    site.survives("everybody", &WITH_STANDBY, |spread| {
        spread.until_made(3);
        let cut = site.hosts.cut(&between("coordinator", &CALLERS));
        spread.until_said("submitter", "lost touch with");
        cut.heal();
    });
}

#[test]
fn a_coordinator_that_is_cut_off_from_the_store_goes_on_or_is_replaced() {
    let Some(site) = Site::enter("cut off: the coordinator from the store") else { return };
    for seconds in lengths(&[3.0, 11.0], &[60.0]) {
        site.survives(&format!("for-{seconds}"), &ALONE, |spread| {
            spread.until_made(3);
            let cut = site.hosts.cut(&between("coordinator", &["store"]));
            spread.lasts(seconds);
            cut.heal();
        });
    }
    // Another waits for longer than this.
    site.survives("waited-for", &WITH_STANDBY, |spread| {
        spread.until_made(3);
        let cut = site.hosts.cut(&[("store", "coordinator")]);
        spread.lasts(3.0);
        cut.heal();
    });
    // Longer than that. It hears of the other at once, or when the job is done without it.
    for (name, done) in [("at-once", false), ("when-done", true)] {
        site.survives(name, &WITH_STANDBY, |spread| {
            spread.until_made(3);
            let cut = site.hosts.cut(&between("coordinator", &["store"]));
            spread.until_said("standby", "leading in epoch");
            if done {
                spread.until("the job ends without it", Spread::submitter_is_over);
            }
            cut.heal();
            spread.dismiss("coordinator").stopped(1, &REPLACED);
        });
    }
}

#[test]
fn workers_that_are_cut_off_from_the_store_cost_time_only() {
    let Some(site) = Site::enter("cut off: workers from the store") else { return };
    for seconds in lengths(&[2.0, 11.0], &[60.0, 150.0]) {
        site.survives(&format!("all-for-{seconds}"), &ALONE, |spread| {
            spread.until_made(3);
            let cut = site.hosts.cut(&between("store", &WORKERS));
            spread.lasts(seconds);
            cut.heal();
        });
    }
    // It hears nothing of the store.
    site.survives("one", &ALONE, |spread| {
        spread.until_made(3);
        let cut = site.hosts.cut(&[("store", "worker-1")]);
        spread.lasts(8.0);
        cut.heal();
    });
    // For as long as the job takes: others do its work, once what it was given has failed.
    if long_cuts() {
        site.survives("one-to-the-end", &ALONE, |spread| {
            spread.until_made(3);
            let cut = site.hosts.cut(&between("store", &["worker-1"]));
            spread.until("the job ends without it", Spread::submitter_is_over);
            cut.heal();
        });
    }
}

#[test]
fn a_job_ends_well_over_slow_lines_that_lose_packets() {
    let Some(site) = Site::with("cut off: delay and loss", 16, 15_000) else { return };
    site.survives("weather", &ALONE, |spread| {
        // The weights went up before, which would take most of the time and show little.
        spread.until_said("submitter", "submitted job");
        let weather = Weather::over(&site.hosts, &[&["store", "coordinator"], &CALLERS[..]].concat());
        spread.until("the job ends", Spread::submitter_is_over);
        drop(weather);
    });
}

#[test]
fn cuts_drawn_by_chance_are_survived() {
    let Some(site) = Site::enter("cut off: by chance") else { return };
    for seed in 1..=fault_seeds(2) {
        let mut chance = Chance(seed);
        let coordinators: &[&str] = if chance.below(2) == 0 { &ALONE } else { &WITH_STANDBY };
        site.survives(&format!("seed-{seed}"), coordinators, |spread| {
            spread.replaces = true;
            spread.until_made(1);
            let mut cuts = Vec::new();
            for _ in 0..=chance.below(4) {
                spread.lasts(chance.below(2000) as f64 / 1e3);
                cuts.push(site.hosts.cut(&ways(&mut chance)));
                // Some lie over others.
                if chance.below(2) == 0 {
                    spread.lasts([0.5, 2.0, 5.0, 11.0][chance.below(4) as usize]);
                    cuts.clear();
                }
            }
        });
    }
}

/// What is cut at once.
fn ways(chance: &mut Chance) -> Vec<(&'static str, &'static str)> {
    let all = match chance.below(6) {
        0 => between("coordinator", &WORKERS[..1 + chance.below(3) as usize]),
        1 => between("store", &WORKERS[..1 + chance.below(3) as usize]),
        2 => between("coordinator", &["submitter"]),
        3 => between("coordinator", &CALLERS),
        _ => between("store", &["coordinator"]),
    };
    // Pairs of there and back.
    match chance.below(4) {
        0 => all.into_iter().step_by(2).collect(),
        1 => all.into_iter().skip(1).step_by(2).collect(),
        _ => all,
    }
}
