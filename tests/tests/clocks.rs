//! Wall clocks that jump, ahead and back, while coordinators and workers run: a job ends with the bytes, the books and the
//! files of one whose clocks were right.

use mr_tests::{Asks, Chance, Cluster, Heir, House, Point, When, fault_seeds};
use std::time::{Duration, Instant};

const MINUTE: i64 = 60;
const DAY: i64 = 24 * 60 * MINUTE;
/// Less and more than a lease, than silence that makes a standby take over, than what is kept for the next run.
const JUMPS: [i64; 10] = [0, 3, -3, 12, -12, 10 * MINUTE, -10 * MINUTE, 5 * DAY, -5 * DAY, 400 * DAY];

#[test]
fn clocks_that_jump_change_nothing() {
    let house = House::with_clocks("clocks: by chance");
    for seed in 1..=fault_seeds(3) {
        let mut chance = Chance(seed.wrapping_mul(0xc10c));
        // One that takes over finds what another has written by another clock.
        let heir = if chance.below(2) == 0 { Heir::Restarted } else { Heir::StoodBy };
        let name = format!("clocks-{seed}");
        house.points.arm(&[Point::kill(When::After, 6 + chance.below(6) as u32, Asks::Journal)]);
        // A host whose clock was never right: one of the workers, whichever heir there is.
        house.clocks().set("worker-3", if seed % 2 == 0 { 5 * DAY } else { -5 * DAY });
        let mut cluster = Cluster::start(&house, &name, heir, &[]);
        let mut submitter = house.submit(&cluster);
        let (mut told, mut jumps) = (Instant::now(), 0);
        cluster.until("the submitter ends", |cluster| {
            if told.elapsed() > Duration::from_millis(150) {
                let clients = cluster.clients();
                let client = &clients[chance.below(clients.len() as u64) as usize];
                let seconds = JUMPS[chance.below(JUMPS.len() as u64) as usize];
                house.clocks().set(client, seconds);
                (told, jumps) = (Instant::now(), jumps + 1);
            }
            submitter.is_over().then_some(())
        });
        house.ended_well(submitter);
        cluster.until("the coordinator is killed", |_| house.points.left().is_empty().then_some(()));
        house.holds(cluster);
        house.tell(&format!("{name}: {heir:?}, {jumps} jumps"));
        assert!(jumps > 0, "the job was over before any clock jumped");
    }
}
