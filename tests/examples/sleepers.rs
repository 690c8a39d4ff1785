//! Ten workers whose tasks sleep rather than compute: what it costs that one is killed half-way, or takes ten times as long.
//! `cargo xtask bench workers`.
//!
//! Coordinator, workers and submitter are processes, as they are on a fleet; sleeping takes no core, so ten of them run on
//! a laptop. This program is all three, by what `SLEEPERS_ROLE` says.

use anyhow::{Context as _, Result, ensure};
use arrow::array::{ArrayRef, Int64Array, RecordBatch};
use mr::core::{Failure, InputFilter, JobPlan, JobSpec, Params, Source, StagePlan};
use mr::{
    Broadcast, BroadcastSource, Context, Job, MapOutput, Mapper, ObjectRecord, ParamError, ParamSpec, RecordError,
    Registry, StageCode,
};
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::Arc;
use std::thread::sleep;
use std::time::{Duration, Instant};

const WORKERS: usize = 10;
const TASKS: usize = 600;
const TASK: Duration = Duration::from_millis(500);
const SLOWER: u32 = 10;

fn main() -> ExitCode {
    let registry = || Registry::new("none").with(Sleep);
    match std::env::var("SLEEPERS_ROLE").as_deref() {
        Ok("coordinator") => mr::coordinator(),
        Ok("worker") => mr::worker(registry()),
        Ok("submit") => mr::submit(registry()),
        Ok(_) | Err(_) => match measure() {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("sleepers: {error:#}");
                ExitCode::FAILURE
            }
        },
    }
}

/// What happens to one of the workers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Well,
    Killed,
    Slow,
}

fn measure() -> Result<()> {
    let rounds: usize = std::env::args().nth(1).map_or(Ok(3), |rounds| rounds.parse()).context("how many rounds?")?;
    let folder = tempfile::tempdir()?;
    let input = folder.path().join("input");
    std::fs::create_dir(&input)?;
    for task in 0..TASKS {
        std::fs::write(input.join(format!("{task:04}.txt")), "x")?;
    }
    let job = "job = \"sleep\"\nmode = \"overwrite\"\n[split]\nobjects_max = 1\n";
    std::fs::write(folder.path().join("job.toml"), job)?;
    println!(
        "{TASKS} tasks of {:.1} s on {WORKERS} workers of one slot, seconds from submission to end",
        TASK.as_secs_f64()
    );
    let mut ratios: [Vec<f64>; 2] = Default::default();
    for round in 0..rounds {
        let run = |fate| run(&folder.path().join(format!("{round}-{fate:?}")), folder.path(), fate);
        let (well, killed, slow) = (run(Fate::Well)?, run(Fate::Killed)?, run(Fate::Slow)?);
        println!(
            "round {}: well {well:.1}, one killed half-way {killed:.1}, one {SLOWER} times slower {slow:.1}",
            round + 1
        );
        for (ratios, seconds) in ratios.iter_mut().zip([killed, slow]) {
            ratios.push(seconds / well);
        }
    }
    for (name, mut ratios) in
        ["one killed half-way".to_owned(), format!("one {SLOWER} times slower")].into_iter().zip(ratios)
    {
        ratios.sort_by(f64::total_cmp);
        let (median, lowest, highest) = (ratios[ratios.len() / 2], ratios[0], ratios[ratios.len() - 1]);
        println!("{name} / well: {median:.3} ({lowest:.3} to {highest:.3})");
    }
    Ok(())
}

/// One run of the job on a cluster of its own, in seconds.
fn run(state: &Path, folder: &Path, fate: Fate) -> Result<f64> {
    let mut coordinator =
        Process::start("coordinator", &["--listen", "127.0.0.1:0", "--state", &state.display().to_string()], 1)?;
    let stdout = coordinator.0.stdout.take().context("it is piped")?;
    let mut url = String::new();
    BufReader::new(stdout).read_line(&mut url)?;
    let url = url.trim();
    let mut workers = Vec::new();
    for number in 0..WORKERS {
        let scratch = state.join(format!("scratch-{number}")).display().to_string();
        let slower = if fate == Fate::Slow && number == WORKERS / 2 { SLOWER } else { 1 };
        workers.push(Process::start("worker", &["--coordinator", url, "--slots", "1", "--scratch", &scratch], slower)?);
    }
    let (job, input, output) = (folder.join("job.toml"), folder.join("input"), state.join("output"));
    let [job, input, output] = [job, input, output].map(|path| path.display().to_string());
    // Its time includes the workers' start, which is the same for all.
    let began = Instant::now();
    let args = [&job, "--input", &input, "--output", &output, "--coordinator", url];
    let mut submit = Process::start("submit", &args, 1)?;
    if fate == Fate::Killed {
        sleep(TASK * (TASKS / WORKERS / 2) as u32);
        workers[WORKERS / 2].0.kill()?;
    }
    let status = submit.0.wait()?;
    let seconds = began.elapsed().as_secs_f64();
    ensure!(status.success(), "the job ended with {status}; see {}", state.display());
    Ok(seconds)
}

/// Killed when it is dropped.
struct Process(Child);

impl Process {
    fn start(role: &str, args: &[&str], slower: u32) -> Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        command.env("SLEEPERS_ROLE", role).env("SLEEPERS_SLOWER", slower.to_string()).args(args);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        Ok(Self(command.spawn()?))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself.
        _ = self.0.kill();
        _ = self.0.wait();
    }
}

/// Sleeps for each object, and writes its length.
struct Sleep;

impl Job for Sleep {
    fn name(&self) -> &'static str {
        "sleep"
    }

    fn version(&self) -> u32 {
        1
    }

    fn about(&self) -> &'static str {
        "sleeps for each object"
    }

    fn params(&self) -> Vec<ParamSpec> {
        Vec::new()
    }

    fn broadcasts(&self, _: &Params) -> Result<Vec<BroadcastSource>, ParamError> {
        Ok(Vec::new())
    }

    fn plan(&self, spec: &JobSpec, _: &[Broadcast]) -> Result<JobPlan, ParamError> {
        let stage = StagePlan {
            name: "sleep".into(),
            source: Source::Input,
            broadcasts_of: Vec::new(),
            writes_output: true,
            one_row_per_record: true,
            params: None,
        };
        Ok(JobPlan {
            spec: spec.clone(),
            job_version: 1,
            filter: InputFilter::default(),
            cut: Default::default(),
            objects_min: None,
            keys: None,
            kernels: Default::default(),
            broadcasts: Vec::new(),
            stages: vec![stage],
            footer: Default::default(),
        })
    }

    fn open(&self, _: &Context<'_>) -> Result<Arc<dyn StageCode>, Failure> {
        let slower = std::env::var("SLEEPERS_SLOWER").ok().and_then(|slower| slower.parse().ok()).unwrap_or(1);
        Ok(Arc::new(Sleeper(TASK * slower)))
    }
}

struct Sleeper(Duration);

impl StageCode for Sleeper {
    fn mapper(&self) -> Result<Box<dyn Mapper + '_>, Failure> {
        Ok(Box::new(self))
    }
}

impl Mapper for &Sleeper {
    fn map(&mut self, object: &ObjectRecord, out: &mut MapOutput) -> Result<(), RecordError> {
        sleep(self.0);
        let bytes: ArrayRef = Arc::new(Int64Array::from(vec![object.bytes.len() as i64]));
        let row =
            RecordBatch::try_from_iter([("bytes", bytes)]).map_err(|error| Failure::permanent(error.to_string()))?;
        out.keep(row);
        Ok(())
    }
}
