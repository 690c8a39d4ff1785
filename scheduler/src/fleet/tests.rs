//! Workers that come, fail, slow down and go, one rule after the other.

use super::*;
use mr_core::{JobId, TaskId};

const LEASE: Millis = 15_000;

fn poll(worker: &str, slots: u32, capacity: u32, families: &[&str]) -> Poll {
    Poll {
        worker: WorkerId(worker.into()),
        seq: 1,
        slots,
        capacity,
        families: families.iter().map(|family| (*family).to_owned()).collect(),
        jobs: [job("toy", 1)].into(),
        draining: false,
        held: Vec::new(),
        lingers: false,
        results: Vec::new(),
    }
}

fn job(name: &str, version: u32) -> JobCode {
    JobCode::new(name, version)
}

/// Those of a family, whatever jobs they have.
fn any<'a>(fleet: &'a Fleet, family: &str) -> Eligible<'a> {
    fleet.eligible(family, None)
}

fn attempt(index: u32) -> AttemptId {
    AttemptId { task: TaskId { job: JobId::parse("job").unwrap(), stage: 0, index }, epoch: 1, number: 1 }
}

/// Workers with a slot each, all of one family.
fn fleet(count: u32) -> (Fleet, Vec<WorkerNo>) {
    let mut fleet = Fleet::default();
    let workers = (0..count).map(|n| fleet.renew(&poll(&format!("w{n}"), 1, 1, &["avx"]), LEASE)).collect();
    (fleet, workers)
}

fn fail(fleet: &mut Fleet, worker: WorkerNo, times: u32, now: Millis) {
    (0..times).for_each(|_| fleet.failed(worker, now));
    fleet.audit().unwrap();
}

#[test]
fn three_failures_in_a_row_set_a_worker_aside_for_twice_as_long_each_time() {
    let (mut fleet, workers) = fleet(2);
    let (bad, mut now) = (workers[0], 1000);
    for seconds in [30, 60, 120, 240, 480, 600, 600] {
        fail(&mut fleet, bad, 2, now);
        assert!(fleet.worker(bad).takes_work(), "two are not three");
        fail(&mut fleet, bad, 1, now);
        assert!(!fleet.worker(bad).takes_work());
        // What it had before still fails, and changes nothing.
        fail(&mut fleet, bad, 3, now + 1);
        let until = now + seconds * 1000;
        assert_eq!(fleet.asides.iter().copied().collect::<Vec<_>>(), [(until, bad)]);
        fleet.extend(workers[0], until + LEASE);
        fleet.extend(workers[1], until + LEASE);
        assert_eq!(fleet.next_deadline(), Some(until));
        fleet.end_asides(until - 1);
        assert!(!fleet.worker(bad).takes_work());
        fleet.end_asides(until);
        assert!(fleet.worker(bad).takes_work());
        fleet.audit().unwrap();
        // Those that came while it was aside count.
        fleet.workers.get_mut(&bad).unwrap().failed_in_a_row = 0;
        now = until;
    }
    fleet.succeeded(bad);
    fail(&mut fleet, bad, 3, now);
    assert_eq!(fleet.asides.first(), Some(&(now + 30_000, bad)), "it is as good as any");
}

#[test]
fn a_success_in_between_begins_the_count_anew() {
    let (mut fleet, workers) = fleet(2);
    fail(&mut fleet, workers[0], 2, 0);
    fleet.succeeded(workers[0]);
    fail(&mut fleet, workers[0], 2, 0);
    assert!(fleet.worker(workers[0]).takes_work());
}

#[test]
fn nobody_is_set_aside_who_is_the_last_of_a_family_and_such_a_one_is_called_back() {
    let mut fleet = Fleet::default();
    let both = fleet.renew(&poll("both", 1, 1, &["avx", "neon"]), LEASE);
    let one = fleet.renew(&poll("one", 1, 1, &["avx"]), LEASE);
    fail(&mut fleet, both, 5, 0);
    assert!(fleet.worker(both).takes_work(), "nobody else has neon");
    let has_others = |family: &str, worker| any(&fleet, family).has_others(worker);
    assert!(has_others("avx", both) && !has_others("neon", both) && !has_others("arm", one));
    let other = fleet.renew(&poll("other", 1, 1, &["neon"]), LEASE);
    fail(&mut fleet, both, 1, 0);
    assert!(!fleet.worker(both).takes_work());
    fleet.recall();
    assert!(!fleet.worker(both).takes_work(), "each of its families has another");
    fleet.lose(other, 0, LEASE);
    fleet.recall();
    assert!(fleet.worker(both).takes_work(), "better a bad worker than none");
    fleet.audit().unwrap();
}

#[test]
fn a_worker_is_slow_that_takes_more_than_twice_as_long_of_late() {
    let (mut fleet, workers) = fleet(1);
    let slow = |fleet: &Fleet| fleet.slow().count() == 1;
    fleet.timed(workers[0], 2000, 1000);
    assert!(!slow(&fleet), "twice is not more than twice");
    fleet.timed(workers[0], 2001, 1000);
    assert!(slow(&fleet));
    // Three quarters of what was before: (1500 + 2001) / (750 + 1000), and so on.
    assert_eq!(fleet.worker(workers[0]).pace, Pace { spent_ms: 3501, usual_ms: 1750 });
    assert_eq!(fleet.worker(workers[0]).takes(1000), 2000);
    assert_eq!(fleet.worker(workers[0]).takes(17_500), 35_010);
    fleet.timed(workers[0], 1000, 1000);
    assert!(!slow(&fleet));
    assert_eq!(fleet.worker(workers[0]).pace, Pace { spent_ms: 3626, usual_ms: 2313 });
    fleet.timed(workers[0], 60_000, 1000);
    fleet.lose(workers[0], 0, LEASE);
    fleet.forget(workers[0]);
    assert!(!slow(&fleet), "it is forgotten with the worker");
    assert_eq!(Pace { spent_ms: u64::MAX, usual_ms: 1 }.takes(u64::MAX), u64::MAX);
}

#[test]
fn what_is_given_first_begins_first_and_the_next_when_it_ends() {
    let mut fleet = Fleet::default();
    let worker = fleet.renew(&poll("w", 2, 4, &["avx"]), LEASE);
    for index in [3, 1, 2] {
        fleet.grant(worker, attempt(index), false);
    }
    assert_eq!(fleet.take_begun(), [attempt(3), attempt(1)]);
    assert!(!fleet.release(worker, &attempt(9)) && fleet.take_begun().is_empty());
    assert!(fleet.release(worker, &attempt(1)));
    assert_eq!(fleet.take_begun(), [attempt(2)]);
    fleet.audit().unwrap();
}

#[test]
fn rooms_are_what_the_slots_and_the_capacity_leave() {
    let mut fleet = Fleet::default();
    let worker = fleet.renew(&poll("w", 1, 3, &["avx"]), LEASE);
    let has = |fleet: &Fleet| {
        let all = any(fleet, "avx");
        (all.has(Room::Slot), all.has(Room::Ahead))
    };
    assert_eq!(has(&fleet), (true, true));
    fleet.grant(worker, attempt(0), false);
    assert_eq!(has(&fleet), (false, true));
    fleet.grant(worker, attempt(1), false);
    fleet.grant(worker, attempt(2), false);
    assert_eq!(has(&fleet), (false, false));
    assert!(any(&fleet, "avx").takes_work(), "it will have room again");
    // A probe has its worker for itself.
    let alone = fleet.renew(&poll("x", 4, 4, &["avx"]), LEASE);
    fleet.grant(alone, attempt(7), true);
    assert_eq!(has(&fleet), (false, false));
    fleet.release(alone, &attempt(7));
    assert_eq!(has(&fleet), (true, true));
    fleet.audit().unwrap();
}

#[test]
fn whoever_is_at_something_is_not_idle() {
    let (mut fleet, workers) = fleet(2);
    let [one, other] = workers[..] else { unreachable!() };
    assert_eq!(any(&fleet, "avx").idle(), Some(one));
    fleet.note_held(one, &[attempt(1)], false);
    assert_eq!(any(&fleet, "avx").idle(), Some(other), "it holds what is not leased to it");
    fleet.note_held(one, &[], true);
    fleet.grant(other, attempt(2), false);
    assert_eq!(any(&fleet, "avx").idle(), None, "it is still at a record, and the other one has a lease");
    fleet.note_held(other, &[attempt(2)], false);
    assert!(fleet.revoke(other, &attempt(2)) && !fleet.revoke(other, &attempt(2)));
    assert_eq!(any(&fleet, "avx").idle(), None, "it does not know yet that it has nothing");
    fleet.note_held(one, &[], false);
    assert_eq!(any(&fleet, "avx").idle(), Some(one));
}

#[test]
fn the_lost_are_remembered_for_twenty_leases_with_what_they_had() {
    let (mut fleet, workers) = fleet(1);
    fleet.grant(workers[0], attempt(4), false);
    assert_eq!(fleet.overdue(LEASE - 1), []);
    assert_eq!(fleet.overdue(LEASE), [(LEASE, workers[0])]);
    assert_eq!(fleet.lose(workers[0], LEASE, LEASE), [attempt(4)]);
    assert!(fleet.families().count() == 0 && !fleet.takes_work());
    assert_eq!(fleet.next_deadline(), Some(21 * LEASE));
    assert_eq!(fleet.take_lost(workers[0]), [attempt(4)]);
    assert_eq!(fleet.take_lost(workers[0]), []);
    assert_eq!((fleet.live_count(), fleet.live_without(&job("other", 1))), (0, 0));
    assert_eq!(fleet.renew(&poll("w0", 1, 1, &["avx"]), 30 * LEASE), workers[0], "it is the same one");
    assert_eq!((any(&fleet, "neon").live(), any(&fleet, "avx").live(), fleet.live_count()), (0, 1, 1));
    fleet.audit().unwrap();
}

#[test]
fn a_pool_gives_the_roomiest_and_any_but_the_one_to_be_avoided_if_it_can() {
    let mut fleet = Fleet::default();
    let small = fleet.renew(&poll("small", 1, 1, &["avx"]), LEASE);
    let large = fleet.renew(&poll("large", 3, 3, &["avx", "neon"]), LEASE);
    let avx = any(&fleet, "avx");
    assert_eq!(avx.roomiest(Room::Slot, None), Some(large));
    assert_eq!(avx.roomiest(Room::Slot, Some(large)), Some(small));
    assert_eq!(any(&fleet, "neon").roomiest(Room::Slot, Some(large)), Some(large), "there is no other");
    assert_eq!(any(&fleet, "neon").roomiest(Room::Slot, Some(small)), Some(large));
    assert_eq!((avx.live(), avx.slots(), avx.is_first()), (2, 4, true));
    let neon = any(&fleet, "neon");
    assert_eq!((neon.live(), neon.slots(), neon.is_first()), (1, 3, false));
    assert_eq!(avx.quick(small), Some(large));
    fleet.timed(large, 9000, 1000);
    assert_eq!(any(&fleet, "avx").quick(small), None, "it is slow");
    // One that drains is in touch and takes nothing.
    fleet.renew(&Poll { draining: true, ..poll("large", 3, 3, &["avx", "neon"]) }, LEASE);
    assert_eq!((any(&fleet, "neon").live(), any(&fleet, "neon").takes_work()), (1, false));
    let takes_work = |family: &str| any(&fleet, family).takes_work();
    assert!(takes_work("avx") && !takes_work("neon") && !takes_work("arm"));
    fleet.audit().unwrap();
}

#[test]
fn old_polls_are_known_by_their_number() {
    let (fleet, _) = fleet(1);
    assert!(fleet.stale(&poll("w0", 1, 1, &["avx"])));
    assert!(!fleet.stale(&Poll { seq: 2, ..poll("w0", 1, 1, &["avx"]) }));
    assert!(!fleet.stale(&poll("nobody", 1, 1, &["avx"])));
}

#[test]
fn a_job_has_the_workers_of_all_programs_that_have_it() {
    let mut fleet = Fleet::default();
    let program = |jobs: &[JobCode]| jobs.iter().cloned().collect::<BTreeSet<_>>();
    let (old, new) = (program(&[job("toy", 1)]), program(&[job("toy", 1), job("toy", 2)]));
    let small = fleet.renew(&Poll { jobs: old.clone(), ..poll("small", 1, 1, &["avx"]) }, LEASE);
    let large = fleet.renew(&Poll { jobs: new, ..poll("large", 3, 3, &["avx"]) }, LEASE);
    let other = fleet.renew(&Poll { jobs: old, ..poll("other", 2, 2, &["avx"]) }, LEASE);
    fleet.audit().unwrap();
    assert_eq!(fleet.programs.values().copied().collect::<Vec<_>>(), [2, 1]);
    let (first, second, third) = (job("toy", 1), job("toy", 2), job("toy", 3));
    let with = |code| fleet.eligible("avx", Some(code));
    assert_eq!((with(&first).live(), with(&first).slots(), with(&second).slots()), (3, 6, 3));
    assert_eq!(with(&first).roomiest(Room::Slot, None), Some(large));
    assert_eq!(with(&first).roomiest(Room::Slot, Some(large)), Some(other), "the roomiest of all pools");
    assert_eq!(with(&second).roomiest(Room::Slot, Some(large)), Some(large), "nobody else has it");
    assert!(with(&first).has_others(small) && with(&second).has_others(small) && !with(&second).has_others(large));
    assert!(!with(&third).takes_work() && with(&third).roomiest(Room::Ahead, None).is_none());
    assert_eq!((fleet.live_without(&first), fleet.live_without(&second), fleet.live_without(&third)), (0, 2, 3));
    // The only one that has the new version is not spared, though there are others of its family.
    fail(&mut fleet, large, 5, 0);
    assert!(fleet.worker(large).takes_work());
    fail(&mut fleet, small, 3, 0);
    assert!(!fleet.worker(small).takes_work());
    // A worker whose program is another now leaves the pool of the one before.
    fleet.renew(&Poll { seq: 2, jobs: program(&[job("toy", 3)]), ..poll("large", 3, 3, &["avx"]) }, LEASE);
    fleet.audit().unwrap();
    assert_eq!(fleet.eligible("avx", Some(&second)).live(), 0);
    assert_eq!(fleet.eligible("avx", Some(&third)).idle(), Some(large));
}
