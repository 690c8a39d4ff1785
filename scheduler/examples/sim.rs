//! The simulation by hand: `cargo xtask sim --seeds N`, `--seed S`, `--plant NAME`.
//!
//! `--seeds N` runs the seeds 0 to N - 1 on all cores and fails with the first that breaks a law. `--seed S` runs one and
//! tells its story. `--plant NAME` plants a known bug and ends with 1 and the seed that found it; `--plant list` names them.

use mr_scheduler::flaw::Flaw;
use mr_scheduler::sim::{self, Broken, Sights};
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

/// A planted bug that so many seeds don't find is not found.
const PLANTED_SEEDS: u64 = 100_000;
/// Seeds that a thread takes at a time.
const BATCH: u64 = 64;

fn main() -> ExitCode {
    let args: Vec<_> = std::env::args().skip(1).collect();
    let value =
        |name: &str| args.iter().position(|arg| arg == name).and_then(|at| args.get(at + 1)).map(String::as_str);
    let number = |name: &str| {
        let parse = |text: &str| text.parse::<u64>().map_err(|error| format!("{name} {text}: {error}"));
        value(name).map(parse).transpose()
    };
    let wrong = |why: &str| {
        eprintln!("{why}\nsim --seeds N [--plant NAME] | --seed S [--plant NAME] | --plant NAME | --plant list");
        ExitCode::from(2)
    };
    let (seeds, seed) = match (number("--seeds"), number("--seed")) {
        (Ok(seeds), Ok(seed)) => (seeds, seed),
        (Err(why), _) | (_, Err(why)) => return wrong(&why),
    };
    let plant = match value("--plant") {
        None => None,
        Some("list") => {
            Flaw::ALL.iter().for_each(|flaw| println!("{}", flaw.name()));
            return ExitCode::SUCCESS;
        }
        Some(name) => match Flaw::find(name) {
            Some(flaw) => Some(flaw),
            None => return wrong(&format!("no bug is named {name}; see --plant list")),
        },
    };
    match (seed, seeds, plant) {
        (Some(seed), None, plant) => one(seed, plant),
        (None, Some(seeds), plant) => many(seeds, plant),
        (None, None, Some(flaw)) => many(PLANTED_SEEDS, Some(flaw)),
        (Some(_), Some(_), _) | (None, None, None) => wrong("--seeds or --seed?"),
    }
}

fn one(seed: u64, plant: Option<Flaw>) -> ExitCode {
    let (story, outcome) = sim::story(seed, plant);
    story.iter().for_each(|line| println!("{line}"));
    match outcome {
        Ok(sights) => {
            println!("seed {seed}: every law holds: {sights:?}");
            ExitCode::SUCCESS
        }
        Err(law) => {
            println!("seed {seed}: {law}");
            ExitCode::FAILURE
        }
    }
}

fn many(seeds: u64, plant: Option<Flaw>) -> ExitCode {
    let began = Instant::now();
    let next = AtomicU64::new(0);
    let (seen, found) = (Mutex::new(Sights::default()), Mutex::new(None::<Broken>));
    let work = || {
        let mut sights = Sights::default();
        loop {
            let first = next.fetch_add(BATCH, Ordering::Relaxed);
            if first >= seeds || found.lock().expect("no thread panics").as_ref().is_some_and(|b| b.seed < first) {
                break;
            }
            for seed in first..seeds.min(first + BATCH) {
                let outcome = match plant {
                    None => sim::run(seed),
                    Some(flaw) => sim::run_planted(seed, flaw),
                };
                match outcome {
                    Ok(seen) => sights.add(&seen),
                    Err(broken) => {
                        let mut found = found.lock().expect("no thread panics");
                        // The first by number, whichever thread was quicker.
                        if found.as_ref().is_none_or(|other| broken.seed < other.seed) {
                            *found = Some(broken);
                        }
                        break;
                    }
                }
            }
        }
        seen.lock().expect("no thread panics").add(&sights);
    };
    // Planted bugs may make it panic, which is a way of being found.
    std::panic::set_hook(Box::new(|_| {}));
    let threads = std::thread::available_parallelism().map_or(1, |cores| cores.get());
    std::thread::scope(|scope| {
        (0..threads).for_each(|_| {
            scope.spawn(work);
        });
    });
    let seconds = began.elapsed().as_secs_f64();
    match (found.into_inner().expect("no thread panics"), plant) {
        (None, None) => {
            let sights = seen.into_inner().expect("no thread panics");
            println!("{seeds} seeds in {seconds:.0} s: every law holds\n{sights:?}");
            ExitCode::SUCCESS
        }
        (None, Some(flaw)) => {
            println!("{seeds} seeds in {seconds:.0} s did not find {}", flaw.name());
            ExitCode::SUCCESS
        }
        (Some(broken), _) => {
            let planted = plant.map_or(String::new(), |flaw| format!(" --plant {}", flaw.name()));
            println!("{broken}\nthe whole story: cargo xtask sim --seed {}{planted}", broken.seed);
            ExitCode::FAILURE
        }
    }
}
