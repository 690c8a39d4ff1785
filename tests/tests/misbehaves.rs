//! Everything at once: a store in a mood, which is away now and then, and processes that are killed meanwhile. By seed, and
//! never more than so much of it; every job ends well, with the bytes, the books and the files of a run that nobody troubled.
//!
//! `MR_FAULT_SEEDS=100` runs so many plans, rather than a few.

use mr_tests::{Asks, Chance, Cluster, Heir, House, Point, When, fault_seeds};
use std::time::{Duration, Instant};

#[test]
fn a_store_in_any_mood_and_kills_beside_it_are_survived() {
    let house = House::enter("misbehaves: by chance");
    for seed in 1..=fault_seeds(4) {
        let mut chance = Chance(seed.wrapping_mul(0x5eed));
        let heir = if chance.below(2) == 0 { Heir::Restarted } else { Heir::StoodBy };
        let points: Vec<_> = (0..chance.below(3)).map(|_| point(&mut chance)).collect();
        let (one_in, budget) = (3 + chance.below(8), 20 + chance.below(60) as u32);
        // When, since the job was submitted, and for how long.
        let mut aways: Vec<_> = (0..chance.below(3))
            .map(|_| (Duration::from_millis(chance.below(3000)), Duration::from_millis(100 + chance.below(1400))))
            .collect();
        aways.sort_unstable();
        let name = format!("mood-{seed}");
        house.tell(&format!("{name}: {heir:?}; {points:?}; one in {one_in}, {budget} at most; away {aways:?}"));
        house.points.arm(&points);
        let mut cluster = Cluster::start(&house, &name, heir, &[]);
        cluster.takes_over = true;
        house.moods.begin(seed, one_in, budget);
        let mut submitter = house.submit(&cluster);
        let began = Instant::now();
        cluster.until("the submitter ends", |_| {
            if aways.first().is_some_and(|(at, _)| *at <= began.elapsed()) {
                let (_, long) = aways.remove(0);
                house.s3.away(|| std::thread::sleep(long));
            }
            submitter.is_over().then_some(())
        });
        let met = house.moods.end();
        house.ended_well(submitter);
        house.holds(cluster);
        house.tell(&format!("{name}: {:.1} s; met {met:?}", began.elapsed().as_secs_f64()));
        assert!(met.values().sum::<u32>() > 5, "the store was in too good a mood: {met:?}");
    }
}

/// Some are not reached, where a job needs fewer tries than it might.
fn point(chance: &mut Chance) -> Point {
    let when = if chance.below(2) == 0 { When::Before } else { When::After };
    let asks = [Asks::Journal, Asks::Work, Asks::Part, Asks::Entry, Asks::Success][chance.below(5) as usize];
    let nth = if asks == Asks::Journal || asks == Asks::Work { 1 + chance.below(8) as u32 } else { 1 };
    Point::kill(when, nth, asks)
}
