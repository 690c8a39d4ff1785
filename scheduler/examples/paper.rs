//! The paper's sort on machines of which some are slow and some die: `cargo xtask bench scheduler`, or
//! `cargo run --release -p mr-scheduler --example paper`.

use mr_scheduler::sim::sort::{self, Sort};

fn main() {
    println!("{:<42} {:>9} {:>9} {:>9}  paper", "sort, in simulated time", "s", "to well", "attempts");
    let well = sort::run(Sort::WELL);
    for (name, sort, paper) in [
        ("all is well", Sort::WELL, "891 s, slow machines among them"),
        ("some are slow", Sort::SLOW, ""),
        ("some are slow, no backup attempts", Sort { backups: false, ..Sort::SLOW }, "1283 s, 44 % more"),
        ("200 of 1,746 are killed", Sort { killed: 200, ..Sort::WELL }, ""),
        ("some are slow, 200 are killed", Sort { killed: 200, ..Sort::SLOW }, "933 s, 5 % more"),
    ] {
        let took = sort::run(sort);
        let (seconds, ratio) = (took.millis as f64 / 1e3, took.millis as f64 / well.millis as f64);
        println!("{name:<42} {seconds:>9.1} {ratio:>9.3} {:>9}  {paper}", took.attempts);
    }
}
