//! The end of a job: what its tasks brought becomes the run's folder and the table's next version.

use crate::idle_time::IdleTime;
use crate::job::{Job, Measured};
use bytes::Bytes;
use mr_core::{
    Books, Counters, FRAMEWORK_VERSION, Failure, FileRef, JobId, JobPlan, Quarantined, Report, TaskGraph, TaskOutput,
};
use mr_cost::{Rates, Used, bill};
use mr_scheduler::{JobView, Millis, Scheduler};
use mr_storage::{DynStore, Meter, StoreError, metered};
use mr_table::{Commit, Late, OutputState, PROBES, RunFile, RunSource, StagedPart, TableError};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Everything that a commit needs, taken from the scheduler at the moment it asked for it.
pub struct Finished {
    job: JobId,
    plan: Arc<JobPlan>,
    books: Books,
    counters: Counters,
    parts: Vec<(FileRef, u64)>,
    side: BTreeMap<String, FileRef>,
    /// One of each, by key and message: two stages may have set the same aside. Pieces of an object have one each.
    quarantined: BTreeMap<(String, String), Quarantined>,
    seconds: BTreeMap<String, f64>,
    measured: Measured,
    /// Counts what the job has asked of stores, the commit included.
    meter: Meter,
    idle: IdleTime,
    rates: Rates,
    kernel_family: String,
    started: Instant,
    /// From the job's start to the commit's.
    before_s: f64,
    now_epoch_ms: u64,
}

impl Finished {
    /// # Errors
    /// When tasks made files of one name, or the job is not one that commits: a defect of ours, and the job must not wait for it.
    pub fn gather(
        scheduler: &Scheduler,
        id: &JobId,
        job: Option<&Job>,
        rates: &Rates,
        (now, now_epoch_ms): (Millis, u64),
    ) -> Result<Self, Failure> {
        let lacks = || Failure::permanent("nothing is known of the job's results: this is a defect of the coordinator");
        let (job, view) = (job.ok_or_else(lacks)?, scheduler.job(id).ok_or_else(lacks)?);
        let graph: &TaskGraph = view.graph.ok_or_else(lacks)?;
        let mut finished = Self {
            job: id.clone(),
            plan: job.plan.clone(),
            books: Books { skipped: job.skipped, ..view.books },
            counters: view.counters.clone(),
            parts: Vec::new(),
            side: BTreeMap::new(),
            quarantined: BTreeMap::new(),
            seconds: seconds(&view, job),
            measured: job.measured.clone(),
            meter: job.meter.clone(),
            idle: job.idle.clone(),
            rates: rates.clone(),
            kernel_family: view.family.unwrap_or_default().to_owned(),
            started: Instant::now(),
            before_s: seconds_of(now - view.submitted_at + job.prior_ms),
            now_epoch_ms,
        };
        for (index, stage) in graph.stages.iter().enumerate() {
            for output in scheduler.outputs(id, index as u32) {
                finished.add(stage.writes_output, &output)?;
            }
        }
        Ok(finished)
    }

    fn add(&mut self, writes_output: bool, output: &TaskOutput) -> Result<(), Failure> {
        if writes_output {
            self.parts.extend(output.part.iter().map(|part| (part.clone(), output.rows)));
        }
        for verdict in &output.quarantined {
            let which = (verdict.key.clone(), verdict.message.clone());
            self.quarantined.entry(which).or_insert_with(|| verdict.clone());
        }
        add_side_files(&mut self.side, output)
    }

    fn used(&self) -> Used {
        let Measured { worker_ms, slot_ms, records, taken_over, .. } = self.measured;
        Used {
            idle_seconds: self.idle.until(Instant::now()).as_secs_f64(),
            worker_seconds: worker_ms / 1e3,
            slot_seconds: slot_ms / 1e3,
            records,
            asked: self.meter.counts(),
            whole: !taken_over,
        }
    }

    fn report(&self) -> Report {
        let mut seconds = self.seconds.clone();
        let commit = self.started.elapsed().as_secs_f64();
        seconds.insert("commit".into(), commit);
        seconds.insert("total".into(), self.before_s + commit);
        Report {
            job_id: self.job.clone(),
            books: self.books,
            counters: self.counters.clone(),
            seconds,
            // Of one that was taken over nobody knows whether it had its first before.
            first_image_s: self.measured.first_record_ms.filter(|_| !self.measured.taken_over).map(seconds_of),
            peak_rss_bytes: self.measured.workers.values().map(|(_, rss)| *rss).max().unwrap_or(0),
            busy_s: self.measured.busy_us as f64 / 1e6,
            slots: self.measured.workers.values().map(|(slots, _)| slots).sum(),
            workers: self.measured.workers.len() as u32,
            kernel_family: self.kernel_family.clone(),
            framework_version: FRAMEWORK_VERSION.to_owned(),
            bill: Some(bill(self.used(), self.books.listed, &self.rates)),
            settings: self.plan.spec.clone(),
        }
    }
}

/// # Errors
/// When there is a file of that name already: one of the two would be lost.
fn add_side_files(side: &mut BTreeMap<String, FileRef>, output: &TaskOutput) -> Result<(), Failure> {
    for (path, file) in &output.side {
        if [QUARANTINE, REPORT].contains(&path.as_str()) {
            return Err(Failure::permanent(format!(
                "the job's side file {path:?} has the name of one of the framework's"
            )));
        }
        if side.insert(path.clone(), file.clone()).is_some() {
            let why = "two tasks made one: put what tells them apart, such as their keys, into the name";
            return Err(Failure::permanent(format!("the job's side file {path:?}: {why}")));
        }
    }
    Ok(())
}

/// The framework's own files beside the result.
const QUARANTINE: &str = "quarantine.parquet";
const REPORT: &str = "report.json";

/// Commits, trying again as long as that is safe. What the output was stays as it was unless this succeeds.
///
/// # Errors
/// Why the job has not become the table. What it has published is to be taken back then.
pub async fn commit(finished: Arc<Finished>, state: DynStore) -> Result<(), Failure> {
    let output = mr_storage::open(&finished.plan.spec.output).await.map_err(|error| of_store(&error))?;
    let (output, state) = (metered(&output, &finished.meter), metered(&state, &finished.meter));
    let quarantine = mr_table::quarantine_parquet(finished.quarantined.values(), &finished.plan.spec.input)
        .map_err(|error| error.failure())?;
    let mut tries = 0;
    // Hours of work wait for this, and nothing is decided yet. A store that is away comes back; a disk that is full needs
    // somebody who is told.
    let patience = if finished.plan.spec.output.starts_with("s3://") { OPEN_TRIES_MAX } else { TRIES_MAX };
    // Whether the entry may be there although nobody said so. Then only the same call can tell, and nothing that was
    // published may be taken away.
    let mut open = false;
    loop {
        let request = request(&finished, &output, &state, &quarantine);
        match mr_table::commit(request).await {
            Ok(_) => break,
            Err(TableError::Unresolved { .. }) if tries < OPEN_TRIES_MAX => open = true,
            Err(TableError::Store(error)) if error.retryable() && tries < patience => {
                if tries.is_multiple_of(SAY_EVERY) {
                    let why = mr_storage::story(&error);
                    tracing::warn!(job = %finished.job, "the commit waits for the output's store: {why}");
                }
            }
            Err(error @ TableError::Conflict { .. }) => return Err(error.failure()),
            Err(error) if open && tries < OPEN_TRIES_MAX => {
                tracing::warn!(job = %finished.job, "looking whether the commit took place: {error}");
            }
            Err(error) if open => return Err(error.failure()),
            Err(error) => match has_committed(&output, &finished.job).await {
                Ok(true) => break,
                Ok(false) => return Err(error.failure()),
                Err(blind) => {
                    tracing::warn!(job = %finished.job, "looking whether the commit took place: {}", blind.failure().message);
                    return Err(error.failure());
                }
            },
        }
        tries += 1;
        tokio::time::sleep(PAUSE * tries.min(20)).await;
    }
    // The job is the table from here on, whatever happens to the old files: the next run goes on where this stops.
    // Until they are gone a plain glob reads old rows beside new ones, so one bad moment of the store is waited out.
    for tries in 1..=TRIES_MAX {
        match tidy_up(&output, &finished).await {
            Ok(()) => return Ok(()),
            Err(error) => {
                tracing::warn!(job = %finished.job, "tidying up after the commit: {}", error.failure().message);
                tokio::time::sleep(PAUSE * tries).await;
            }
        }
    }
    Ok(())
}

/// Removes what the table no longer needs, and what looking at its store has left behind when that was in a bad way.
async fn tidy_up(output: &DynStore, finished: &Finished) -> Result<(), TableError> {
    mr_table::after_commit(output).await?;
    if finished.plan.spec.output.starts_with("s3://") {
        for probe in output.list(&probes(&finished.job)).await? {
            output.delete(&probe.key).await?;
        }
    }
    Ok(())
}

/// Where a job looks whether its output's store honours conditions.
pub fn probes(job: &JobId) -> String {
    format!("{PROBES}{job}/")
}

async fn has_committed(output: &DynStore, job: &JobId) -> Result<bool, TableError> {
    match mr_table::inspect(output).await? {
        OutputState::Ours(table) => Ok(table.has_committed(job)),
        OutputState::Absent | OutputState::Empty | OutputState::Foreign { .. } => Ok(false),
    }
}

/// Takes away what a job has published that has failed. Only when its failure is in the journal: until then another
/// coordinator may be committing it.
pub async fn take_back(plan: &JobPlan, job: &JobId) {
    let taken = async {
        let output = mr_storage::open(&plan.spec.output).await?;
        mr_table::abandon(&output, job).await
    };
    if let Err(left) = taken.await {
        // The next job's sweep finds it.
        tracing::warn!(%job, "taking back what was published: {}", left.failure().message);
    }
}

/// About half an hour.
const OPEN_TRIES_MAX: u32 = 400;
/// About a quarter of a minute in all.
const TRIES_MAX: u32 = 10;
/// Tries after which the log says again that the store is away.
const SAY_EVERY: u32 = 20;
const PAUSE: Duration = Duration::from_millis(250);

fn request<'a>(finished: &'a Arc<Finished>, output: &'a DynStore, state: &DynStore, quarantine: &Bytes) -> Commit<'a> {
    let stored = |file: &FileRef| RunSource::Stored { store: state.clone(), key: file.key.clone(), crc32: file.crc32 };
    let mut run_files: Vec<_> =
        finished.side.iter().map(|(path, file)| RunFile { path: path.clone(), source: stored(file) }).collect();
    let named = |path: &str, source| RunFile { path: path.to_owned(), source };
    run_files.push(named(QUARANTINE, RunSource::Bytes(quarantine.clone())));
    let report = finished.clone();
    let report = move || Bytes::from(serde_json::to_vec_pretty(&report.report()).expect("a report is plain data"));
    run_files.push(named(REPORT, RunSource::Late(Late(Arc::new(report)))));
    let staged = |(part, rows): &(FileRef, u64)| StagedPart {
        store: state.clone(),
        key: part.key.clone(),
        bytes: part.bytes,
        rows: *rows,
        crc32: part.crc32,
    };
    Commit {
        job: &finished.job,
        output,
        mode: finished.plan.spec.mode,
        adopt: finished.plan.spec.adopt,
        format: finished.plan.spec.format,
        parts: finished.parts.iter().map(staged).collect(),
        schema: None,
        run_files,
        info: info(finished),
        now_ms: finished.now_epoch_ms,
    }
}

fn info(finished: &Finished) -> Map<String, Value> {
    let books = &finished.books;
    let info = json!({
        "job": finished.plan.spec.job,
        "listed": books.listed,
        "embedded": books.embedded,
        "quarantined": books.quarantined,
        "skipped": books.skipped,
        "one_row_per_object": finished.plan.way().is_ok(),
    });
    match info {
        Value::Object(info) => info,
        _ => unreachable!("written as an object above"),
    }
}

/// Where the time went, phase after phase, so that they add up: a stage's seconds are from the end of what came before
/// it to the end of its last task, though its first tasks may have run beside the stage before.
fn seconds(view: &JobView<'_>, job: &Job) -> BTreeMap<String, f64> {
    let mut ends: Vec<(&str, Millis)> = Vec::new();
    for stage in &view.stages {
        let end = stage.ended_at.unwrap_or(view.submitted_at);
        match ends.iter_mut().find(|(name, _)| *name == stage.name) {
            Some((_, last)) => *last = end.max(*last),
            None => ends.push((&stage.name, end)),
        }
    }
    let mut before = view.prepared_at.unwrap_or(view.submitted_at);
    let mut seconds = BTreeMap::from([("list".to_owned(), seconds_of(before - view.submitted_at + job.prior_ms))]);
    for (name, end) in ends {
        seconds.insert(name.to_owned(), seconds_of(end.saturating_sub(before)));
        before = before.max(end);
    }
    seconds
}

fn seconds_of(millis: u64) -> f64 {
    millis as f64 / 1e3
}

pub fn of_store(error: &StoreError) -> Failure {
    let story = mr_storage::story(error);
    if error.retryable() { Failure::transient(story) } else { Failure::permanent(story) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_file_beside_the_result_is_written_over_another() {
        let output = |path: &str| {
            let file = FileRef { key: format!("work/{path}"), bytes: 1, crc32: 0 };
            TaskOutput { side: vec![(path.to_owned(), file)], ..TaskOutput::default() }
        };
        let mut side = BTreeMap::new();
        add_side_files(&mut side, &output("a.txt")).unwrap();
        add_side_files(&mut side, &output("b.txt")).unwrap();
        assert_eq!(side.keys().collect::<Vec<_>>(), ["a.txt", "b.txt"]);
        let twice = add_side_files(&mut side, &output("a.txt")).unwrap_err();
        assert!(twice.message.starts_with("the job's side file \"a.txt\": two tasks made one"), "{twice}");
        let own = add_side_files(&mut side, &output("report.json")).unwrap_err();
        assert!(own.message.ends_with("has the name of one of the framework's"), "{own}");
    }
}
