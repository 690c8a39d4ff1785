//! Coordinators and workers are killed exactly before and exactly after the store has done what they asked, and another
//! takes their place: at the same address, or one that has stood by all along. Every job ends well, with the bytes, the
//! books and the files of a run that nobody troubled.
//!
//! `MR_FAULT_SEEDS=100` runs so many plans drawn by chance, rather than a few.

use mr_tests::{Asks, Chance, Cluster, Heir, House, Point, Running, Signal, When, fault_seeds, submit};

/// Of the commit, in its order, and of what comes after it.
const COMMIT: [Asks; 9] = [
    Asks::Marker,
    Asks::Part,
    Asks::RunFile,
    Asks::Entry,
    Asks::Unmark,
    Asks::OldPart,
    Asks::Beside,
    Asks::Success,
    Asks::ListingGone,
];

fn journal(when: When, numbers: &[u32]) -> Vec<Point> {
    numbers.iter().map(|nth| Point::kill(when, *nth, Asks::Journal)).collect()
}

fn each(when: When, asks: &[Asks]) -> Vec<Point> {
    asks.iter().map(|asks| Point::kill(when, 1, *asks)).collect()
}

#[test]
fn a_coordinator_killed_at_its_journal_is_started_again_and_goes_on() {
    let house = House::enter("killed: at the journal, started again");
    // The first is how it takes over, the second what was submitted.
    house.survives("journal-1", Heir::Restarted, &journal(When::Before, &[1, 3, 5, 7, 9, 12, 15]));
    house.survives("journal-2", Heir::Restarted, &journal(When::After, &[1, 2, 4, 6, 8, 10, 13, 16]));
    let mut listing = each(When::Before, &[Asks::Listing, Asks::Leader]);
    listing.extend(each(When::After, &[Asks::Listing, Asks::Leader]));
    listing.extend(journal(When::Before, &[17]));
    listing.extend(journal(When::After, &[18]));
    house.survives("listing", Heir::Restarted, &listing);
}

#[test]
fn a_coordinator_killed_while_it_commits_is_started_again_and_goes_on() {
    let house = House::enter("killed: in the commit, started again");
    house.survives("commit-1", Heir::Restarted, &each(When::Before, &COMMIT));
    house.survives("commit-2", Heir::Restarted, &each(When::After, &COMMIT));
    let entry = |when| Point::kill(when, 1, Asks::Entry);
    house.survives("entry-1", Heir::Restarted, &[entry(When::Before)]);
    house.survives("entry-2", Heir::Restarted, &[entry(When::After)]);
}

#[test]
fn one_that_has_stood_by_takes_over_from_one_that_is_killed() {
    let house = House::enter("killed: another has stood by");
    house.survives(
        "journal",
        Heir::StoodBy,
        &[journal(When::Before, &[2, 9]), journal(When::After, &[4, 14])].concat(),
    );
    house.survives("listing", Heir::StoodBy, &each(When::After, &[Asks::Listing, Asks::RunFile]));
    house.survives("before", Heir::StoodBy, &each(When::Before, &[Asks::Part, Asks::Entry, Asks::Success]));
    house.survives("after", Heir::StoodBy, &each(When::After, &[Asks::Marker, Asks::Entry, Asks::OldPart]));
}

#[test]
fn workers_are_killed_before_and_after_they_store_what_they_made() {
    let house = House::enter("killed: workers");
    let work = |when, nth| Point::kill(when, nth, Asks::Work);
    house.survives("work-1", Heir::Restarted, &[work(When::Before, 1), work(When::After, 3), work(When::Before, 7)]);
}

#[test]
fn workers_that_stand_still_for_a_while_change_nothing() {
    let house = House::enter("killed: workers that stand still");
    let stop = |when| Point::stop(when, 1, Asks::Work);
    // Shorter than a lease, mostly; and far longer, until the job is done without it.
    for (name, when, long) in
        [("short", When::Before, false), ("long-1", When::Before, true), ("long-2", When::After, true)]
    {
        house.points.arm(&[stop(when)]);
        let mut cluster = Cluster::start(&house, name, Heir::Restarted, &[]);
        let mut submitter = house.submit(&cluster);
        let stopped = cluster.watch("a worker is stopped", |_, struck| struck).client;
        if long {
            cluster.until("the submitter ends", |_| submitter.is_over().then_some(()));
        } else {
            cluster.until("another works on", |_| (house.points.others_asked(&stopped, Asks::Work) > 1).then_some(()));
        }
        cluster.process(&stopped).signal(Signal::Continue);
        cluster.until("the submitter ends", |_| submitter.is_over().then_some(()));
        house.ended_well(submitter);
        house.holds(cluster);
    }

    // All of them, until the coordinator has given all of them up.
    house.points.arm(&[stop(When::After), stop(When::After)]);
    let mut cluster = Cluster::start(&house, "all", Heir::Restarted, &[]);
    let mut submitter = house.submit(&cluster);
    let stopped = [(); 2].map(|()| cluster.watch("a worker is stopped", |_, struck| struck).client);
    let id = submitted(&mut submitter);
    let urls = cluster.urls();
    cluster.until("the coordinator says that nobody works", |_| {
        let shown = submit(&house.scratch, ["--coordinator", &urls, "status", &id]).done();
        shown.stdout.contains("no worker is in touch").then_some(())
    });
    for client in &stopped {
        cluster.process(client).signal(Signal::Continue);
    }
    cluster.until("the submitter ends", |_| submitter.is_over().then_some(()));
    house.ended_well(submitter);
    house.holds(cluster);
}

/// The job's id, once the submitter says it.
fn submitted(submitter: &mut Running) -> String {
    submitter.until("submit its job", |submitter| {
        let said = submitter.stderr();
        let line = said.split_inclusive('\n').find_map(|line| line.strip_prefix("submitted job ")?.strip_suffix('\n'));
        line.map(str::to_owned)
    })
}

#[test]
fn a_coordinator_that_stood_still_finds_that_another_has_taken_over_and_ends() {
    let house = House::enter("killed: a coordinator that stands still");
    house.points.arm(&[Point::stop(When::After, 8, Asks::Journal)]);
    let mut cluster = Cluster::start(&house, "still", Heir::StoodBy, &[]);
    let mut submitter = house.submit(&cluster);
    let stopped = cluster.watch("the coordinator is stopped", |_, struck| struck).client;
    cluster.until("another takes over", |_| (house.points.others_asked(&stopped, Asks::Journal) > 0).then_some(()));
    // In the middle of the job, with an answer of the store still to be read.
    cluster.process(&stopped).signal(Signal::Continue);
    cluster.dismiss(&stopped).stopped(1, &["another coordinator", "has taken over", "this one stops"]);
    cluster.until("the submitter ends", |_| submitter.is_over().then_some(()));
    house.ended_well(submitter);
    house.holds(cluster);
}

#[test]
fn plans_drawn_by_chance_are_survived() {
    let house = House::enter("killed: by chance");
    for seed in 1..=fault_seeds(3) {
        let mut chance = Chance(seed);
        let heir = if chance.below(2) == 0 { Heir::Restarted } else { Heir::StoodBy };
        let count = 1 + chance.below(4);
        let points: Vec<_> = (0..count).map(|_| point(&mut chance)).collect();
        house.survives(&format!("seed-{seed}"), heir, &points);
    }
}

/// One that every run reaches, however many it has reached before.
fn point(chance: &mut Chance) -> Point {
    let when = if chance.below(2) == 0 { When::Before } else { When::After };
    let (asks, most) = match chance.below(16) {
        0..6 => (Asks::Journal, 16),
        6 => (Asks::Listing, 1),
        7 => (Asks::RunFile, 8),
        8 => (Asks::Beside, 8),
        9..12 => (Asks::Work, 10),
        at => (COMMIT[(at as usize * 5 + chance.below(9) as usize) % COMMIT.len()], 1),
    };
    Point::kill(when, 1 + chance.below(most) as u32, asks)
}
