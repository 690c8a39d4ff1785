//! `cargo xtask`: what a developer, a new user and CI type. This file is the table of contents; each command is a module
//! of the library beside it.

use std::process::ExitCode;

use xtask::args::Args;
use xtask::{bench, check, demo, deny, dist, fuzz, npm, photos, run_tests, setup, sim, tidy, venv};

const HELP: &str = "\
cargo xtask COMMAND [OPTIONS]

Getting started
  setup      get what a fresh machine lacks (protoc), without root
  demo       build, draw a few hundred photos, run the main job on them, say how to read the results
               [--count 300] [--seed 1] [--dir target/demo]
  photos     draw fruit-like photos; the same seed gives the same bytes everywhere
               --out DIR [--count 300] [--seed 1] [--labels 24] [--threads N]

Working on it
  test       all tests, in release; what follows is passed to the test runner
  check      formatting, tidy, deny, and clippy with warnings denied
  ci         test, then check: what CI runs
  sim        the scheduler through simulated bad weather  --seeds N | --seed S [--plant NAME] | --plant NAME|list
  fuzz       hostile input for what reads bytes from outside, by libFuzzer
               [TARGET] [--seconds 600, for each]
  tidy       which room may import which, and other house rules (see ARCHITECTURE.md)
  deny       licences, sources and doubled versions of the crates in Cargo.lock (see deny.toml), and known holes in them
               where the list of these can be had
  dist       a release: one archive under target/dist, unpacked and looked at  [--version THE_ONE_IT_MUST_BE]
  venv       a Python with the Parquet readers that the tests use, in target/venv
  npm        the programs of npm's that the tests run, in target/npm
  bench data       time all of it, or one: a word count beside DuckDB, Polars and PySpark; a sort beside GNU sort and
                   PySpark, and how it grows; two programs in Python beside the same in a pipe
                     [words|sort|stream] [--rounds 5|3|3] [--megabytes 1000|1000|100] [--spark-rounds 1]
  bench job        time the whole job  [--rounds 5] [--slots N] [--input DIR] [--markdown]
  bench peers      time it beside a Python process and PySpark  [--rounds 5] [--spark-rounds 1]
  bench kernel     time the network beside onnxruntime and OpenVINO  [--rounds 5] [--seconds 3] [--model FILE.onnx]
                     [--kernels avx512|avx2|portable|amx|bf16x3-portable]
  bench scheduler  task completions a second, in the state machine and over gRPC; the paper's sort in simulated time
  bench start      from a worker's start until its coordinator has heard of it  [--rounds 20]
  bench workers    what a killed worker and a slow one cost a job whose tasks sleep  [--rounds N]
  bench precision  how far the features of `fast` are from those of f32  [--input DIR, of 50 photos or more]
";

fn main() -> ExitCode {
    let mut args = Args::from_command_line();
    let outcome = match args.word().as_deref() {
        Some("setup") => setup::main(args),
        Some("demo") => demo::main(args),
        Some("photos") => photos::main(args),
        Some("sim") => sim::main(args),
        Some("fuzz") => fuzz::main(args),
        Some("test") => run_tests::main(args),
        Some("check") => check::main(args),
        Some("ci") => check::ci(args),
        Some("deny") => deny::main(args),
        Some("dist") => dist::main(args),
        Some("tidy") => tidy::main(args),
        Some("npm") => npm::main(args),
        Some("venv") => venv::main(args),
        Some("bench") => bench::main(args),
        Some("help" | "--help" | "-h") => {
            print!("{HELP}");
            return ExitCode::SUCCESS;
        }
        Some(other) => {
            eprintln!("xtask: no command named {other:?}\n\n{HELP}");
            return ExitCode::from(2);
        }
        None => {
            eprint!("{HELP}");
            return ExitCode::from(2);
        }
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}
