//! What the MapReduce paper says of its sort: slow machines cost a great deal without second attempts and little with them,
//! and so do dead ones. In simulated time, so that the figures are always the same.

use mr_scheduler::sim::sort::{self, Sort};

#[test]
fn backups_save_what_slow_machines_cost_and_dead_ones_cost_little() {
    for seed in [1, 2] {
        let ratio = |sort: Sort| {
            let well = sort::run(Sort { seed, ..Sort::WELL });
            sort::run(Sort { seed, ..sort }).millis as f64 / well.millis as f64
        };
        let alone = ratio(Sort { backups: false, ..Sort::SLOW });
        let (slow, killed) = (ratio(Sort::SLOW), ratio(Sort { killed: 200, ..Sort::SLOW }));
        let told = format!("seed {seed}: without backups {alone:.3}, with {slow:.3}, 200 killed {killed:.3}");
        println!("{told}");
        assert!((1.40..1.48).contains(&alone), "{told}");
        assert!(slow <= 1.05 && killed <= 1.05, "{told}");
    }
}
