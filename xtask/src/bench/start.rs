//! `cargo xtask bench start`: how long a worker takes from nothing until the coordinator has heard of it: the programs
//! as they are shipped, stripped, against a coordinator of their own. The end is when the coordinator's metrics count
//! the worker, which is at its first poll; they are asked about every millisecond.
//!
//! Each worker comes alone, with an empty scratch folder, and is drained before the next. Half of the rounds begin with
//! the program out of the system's file cache, as on a machine that has just been started: reading it is then a part of
//! it.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use super::machine::machine;
use super::spread::Spread;
use crate::args::Args;
use crate::setup::setup;
use crate::shell::{cargo, command, output, root, run};

/// Long past what any start takes.
const PATIENCE: Duration = Duration::from_secs(30);
const PAUSE: Duration = Duration::from_micros(500);

pub fn main(mut args: Args) -> Result<()> {
    let rounds: usize = args.option("--rounds")?.unwrap_or(20);
    args.done()?;
    ensure!(rounds > 0, "--rounds must be at least 1");
    setup()?;
    run(&mut cargo(&["build", "--release", "--workspace", "--bins"]))?;
    let folder = root().join("target/bench/start");
    if folder.exists() {
        fs::remove_dir_all(&folder).with_context(|| format!("removing {}", folder.display()))?;
    }
    fs::create_dir_all(&folder).with_context(|| format!("making {}", folder.display()))?;
    let (worker, coordinator) = (stripped("mr-worker", &folder)?, stripped("mr-coordinator", &folder)?);
    let coordinator = Coordinator::start(&coordinator, &folder)?;
    // The first one warms the file cache up.
    round(&worker, &coordinator, &folder)?;
    let (mut warm, mut cold) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        warm.push(round(&worker, &coordinator, &folder)?);
        forget(&worker)?;
        cold.push(round(&worker, &coordinator, &folder)?);
    }
    let megabytes = fs::metadata(&worker)?.len() as f64 / 1e6;
    println!("{}; a program of {megabytes:.0} MB, {rounds} rounds: median (lowest to highest)", machine());
    println!("  in the file cache, ms          {}", Spread::of(warm.into_iter()));
    println!("  not in the file cache, ms      {}", Spread::of(cold.into_iter()));
    Ok(())
}

fn stripped(program: &str, folder: &Path) -> Result<PathBuf> {
    let to = folder.join(program);
    output(command("strip").arg("--strip-all").arg("-o").arg(&to).arg(root().join("target/release").join(program)))?;
    Ok(to)
}

/// Puts a file out of the system's cache: dd asks the system for that, and copies nothing.
fn forget(file: &Path) -> Result<()> {
    output(command("sync").arg(file))?;
    let from = format!("if={}", file.display());
    output(command("dd").args([from.as_str(), "iflag=nocache", "count=0", "status=none"])).map(drop)
}

/// Milliseconds that one worker took.
fn round(worker: &Path, coordinator: &Coordinator, folder: &Path) -> Result<f64> {
    let scratch = folder.join("scratch");
    let mut start = command(worker);
    start.args(["--coordinator", &coordinator.address]).arg("--scratch").arg(&scratch);
    without_settings(&mut start);
    start.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let began = Instant::now();
    let mut process = Process(start.spawn().context("starting mr-worker")?);
    coordinator.wait_for(1)?;
    let took_ms = began.elapsed().as_secs_f64() * 1e3;
    process.stop()?;
    coordinator.wait_for(0)?;
    fs::remove_dir_all(&scratch).with_context(|| format!("removing {}", scratch.display()))?;
    Ok(took_ms)
}

/// What the environment has for other runs is not meant here.
fn without_settings(program: &mut std::process::Command) {
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("MR_") {
            program.env_remove(name);
        }
    }
}

struct Coordinator {
    address: String,
    metrics: String,
    _process: Process,
}

impl Coordinator {
    fn start(program: &Path, folder: &Path) -> Result<Self> {
        let mut start = command(program);
        without_settings(&mut start);
        start.args(["--listen", "127.0.0.1:0", "--metrics", "127.0.0.1:0", "--state"]).arg(folder.join("state"));
        start.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut process = Process(start.spawn().context("starting mr-coordinator")?);
        let (stdout, stderr) = (process.0.stdout.take().context("stdout")?, process.0.stderr.take().context("stderr")?);
        // The log says where the metrics are, and stdout where it listens, when it does.
        let mut log = BufReader::new(stderr).lines();
        let metrics = loop {
            let line = log.next().context("mr-coordinator ended")??;
            if let Some((_, rest)) = line.split_once("metrics are at http://") {
                break rest.trim_end_matches("/metrics").to_owned();
            }
        };
        // Nobody reads the rest, and it must not fill up.
        std::thread::spawn(move || log.for_each(drop));
        let address = BufReader::new(stdout).lines().next().context("mr-coordinator ended")??;
        Ok(Self { address, metrics, _process: process })
    }

    fn wait_for(&self, workers: u64) -> Result<()> {
        let began = Instant::now();
        while self.workers()? != workers {
            ensure!(began.elapsed() < PATIENCE, "the coordinator does not have {workers} workers");
            sleep(PAUSE);
        }
        Ok(())
    }

    fn workers(&self) -> Result<u64> {
        let mut stream = TcpStream::connect(&self.metrics).context("asking mr-coordinator for its metrics")?;
        write!(stream, "GET /metrics HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", self.metrics)?;
        let mut page = String::new();
        stream.read_to_string(&mut page)?;
        counted(&page)
    }
}

/// Workers in touch, whatever they do.
fn counted(page: &str) -> Result<u64> {
    let counts: Vec<_> = page.lines().filter(|line| line.starts_with("mr_workers{")).collect();
    ensure!(!counts.is_empty(), "the coordinator's metrics have no mr_workers");
    let one = |line: &&str| line.rsplit(' ').next().and_then(|count| count.parse::<f64>().ok()).context("no number");
    Ok(counts.iter().map(one).sum::<Result<f64>>()? as u64)
}

/// Ended when it is no longer needed, however that came about.
struct Process(Child);

impl Process {
    /// As a machine stops it: it hands back what it has and says goodbye.
    fn stop(&mut self) -> Result<()> {
        output(command("kill").args(["-TERM", &self.0.id().to_string()]))?;
        let status = self.0.wait()?;
        if !status.success() {
            bail!("mr-worker: {status}");
        }
        Ok(())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        _ = self.0.kill();
        _ = self.0.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::counted;

    #[test]
    fn workers_are_counted_in_all_states() {
        let page = "HTTP/1.1 200 OK\r\n\r\n# TYPE mr_workers gauge\nmr_workers{state=\"idle\"} 1.0\n\
            mr_workers{state=\"busy\"} 2\nmr_workers_other 9\n";
        assert_eq!(counted(page).unwrap(), 3);
        assert!(counted("HTTP/1.1 500 no\r\n\r\n").is_err());
    }
}
