//! One attempt of one task, from its order to what it has to show.
//!
//! Reading and writing overlap with the work of other attempts: fetching begins before a slot is free, and the slot is
//! given back before the results are stored. Nothing that an attempt writes is visible until the coordinator has
//! chosen it, so a second attempt of the same task may run beside it.

use crate::emit::{Attempt, MapOutput, ReduceOutput};
use crate::fetch::{self, Fetched, NotFetched, Wanted};
use crate::host::Host;
use crate::job::{RecordError, StageCode};
use crate::lost;
use crate::made::Made;
use crate::merge::Merge;
use crate::pairs::{Pairs, PairsTo, merge_runs};
use crate::rows::{self, RowsWriter};
use crate::run_stream::{self, Part};
use crate::slots::story;
use crate::spool::Spool;
use mr_core::{
    Failure, FailureClass, FileRef, KERNEL_FAMILY, Object, ObjectsDigest, Order, QuarantineSource, Quarantined,
    TaskOutput, Work,
};
use mr_storage::{DynStore, Meter, metered};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// How far an attempt is, for whoever watches.
#[derive(Debug, Default)]
pub struct Progress {
    pub records: AtomicU64,
    /// Whether it has come into a slot and to its first record.
    pub begun: AtomicBool,
    /// The record that the job's code works on, and since when.
    at: Mutex<Option<(Object, Instant)>>,
}

/// How an attempt is watched and stopped.
#[derive(Clone, Debug, Default)]
pub struct Control {
    pub cancel: CancellationToken,
    pub progress: Arc<Progress>,
    /// It should end at the next record with [`FailureClass::OutOfMemory`].
    pub give_up: Arc<AtomicBool>,
    /// Counts what it asks of stores.
    pub meter: Meter,
}

/// Runs an attempt to its end.
///
/// # Errors
/// The failure, typed by what is to be done about it. A cancelled attempt fails with [`FailureClass::Cancelled`].
pub async fn execute(host: &Host, order: &Order, control: &Control) -> Result<TaskOutput, Failure> {
    let started = Instant::now();
    tokio::select! {
        biased;
        () = control.cancel.cancelled() => Err(cancelled()),
        done = run(host, order, control, started) => done,
    }
}

async fn run(host: &Host, order: &Order, control: &Control, started: Instant) -> Result<TaskOutput, Failure> {
    let state = host.state(order, &control.meter).await?;
    let made = match &order.work {
        Work::MapObjects { objects, .. } | Work::Probe { objects } => {
            map_objects(host, order, objects, &state, control, started).await
        }
        Work::MapKept { rows } => map_kept(host, order, rows, &state, control).await,
        Work::Combine { runs } => combine(host, order, runs, &state, control).await,
        Work::Reduce { runs, partition } => reduce(host, order, runs, *partition, &state, control).await,
    };
    match made {
        Ok(made) => made.store(order, &state, host.settings().work_outlives).await,
        Err(failure) if failure.lost.is_empty() => Err(failure),
        Err(failure) => Err(lost::all(order, &state, failure).await),
    }
}

async fn map_objects(
    host: &Host,
    order: &Order,
    objects: &[Object],
    state: &DynStore,
    control: &Control,
    started: Instant,
) -> Result<Made, Failure> {
    let input = metered(&host.store(&order.input).await?, &control.meter);
    let code = host.code(order, state).await?;
    let out = MapOutput::new(attempt(order, control), Pairs::new(code.clone(), pairs_to(host, order)));
    let rows = rows_writer(host, order)?;
    let (sender, fetched) = mpsc::channel(32);
    let condemned = condemned(order);
    let objects = objects.iter().filter(|object| condemned.iter().all(|verdict| verdict.key != object.key));
    let has_deadline = code.records_have_deadline();
    let reads = code.clone();
    let wanted =
        Wanted { piece: order.piece, bytes_max: code.object_bytes_max(), reads: move |bytes| reads.reads(bytes) };
    let fetching = fetch::objects(input, objects.cloned().collect(), wanted, sender);
    let (work_order, work_control) = (order.clone(), control.clone());
    let work = move || map_fetched(code.as_ref(), &work_order, fetched, (out, rows), &work_control, started);
    let overdue = async {
        match has_deadline {
            true => overdue(order, control).await,
            false => std::future::pending().await,
        }
    };
    let mapping = host.slots.run_until(work, overdue);
    let fetching = async {
        fetching.await;
        std::future::pending().await
    };
    // What is left to be fetched when it ends, nobody wants.
    let made = tokio::select! {
        made = mapping => made,
        never = fetching => never,
    };
    if made.is_err() {
        // A thread that was left to itself is to do no more than the record that it is at.
        control.give_up.store(true, Ordering::Relaxed);
    }
    made
}

/// Verdicts that are there already.
fn condemned(order: &Order) -> &[Quarantined] {
    match &order.work {
        Work::MapObjects { condemned, .. } => condemned,
        Work::Probe { .. } | Work::MapKept { .. } | Work::Combine { .. } | Work::Reduce { .. } => &[],
    }
}

/// Ends when a record has taken longer than it may.
async fn overdue(order: &Order, control: &Control) -> Failure {
    let most = Duration::from_secs(u64::from(order.record_seconds_max));
    loop {
        tokio::time::sleep(most.min(Duration::from_secs(1))).await;
        let at = control.progress.at.lock().expect("nothing panics while it is held").clone();
        if let Some((object, since)) = at
            && since.elapsed() > most
        {
            let message = format!("took longer than limits.record_seconds_max = {}", order.record_seconds_max);
            return blaming(&object, order, "deadline", message);
        }
    }
}

/// A failure that is a record's: a verdict, if another worker comes to the same.
fn blaming(object: &Object, order: &Order, class: &str, message: String) -> Failure {
    let verdict = verdict(object, order, class, message.clone(), QuarantineSource::Environment);
    Failure { blames: Some(Box::new(verdict)), ..Failure::application(format!("{}: {message}", object.key)) }
}

fn map_fetched(
    code: &dyn StageCode,
    order: &Order,
    mut fetched: mpsc::Receiver<Fetched>,
    (mut out, mut rows): (MapOutput, RowsWriter),
    control: &Control,
    started: Instant,
) -> Result<Made, Failure> {
    let mut mapper = code.mapper()?;
    let condemned = condemned(order);
    let (records, quarantined) = (condemned.len() as u64, condemned.to_vec());
    let mut output = TaskOutput { records, quarantined, ..TaskOutput::default() };
    let mut digest = ObjectsDigest::default();
    let at = |at| *control.progress.at.lock().expect("nothing panics while it is held") = at;
    while let Some(Fetched { object, content, .. }) = fetched.blocking_recv() {
        check(control)?;
        let mut set_aside = |class: &str, message: String, source| {
            output.quarantined.push(verdict(&object, order, class, message, source));
        };
        match content {
            Ok(record) => {
                let begun = Instant::now();
                at(Some((object.clone(), begun)));
                // The mapper is not used again after a panic.
                let mapped = catch_unwind(AssertUnwindSafe(|| mapper.map(&record, &mut out)));
                at(None);
                let mapped = mapped.map_err(|panic| blaming(&object, order, "panicked", story(panic.as_ref())))?;
                output.times.busy_us += micros(begun.elapsed());
                rows.push_all(out.rows.drain(..))?;
                if let Some(failure) = out.pairs.failed() {
                    return Err(failure);
                }
                match mapped {
                    Ok(()) => {
                        out.pairs.accept();
                        out.attempt.counting.accept();
                        digest.add(&object);
                    }
                    Err(RecordError::Quarantine { class, message }) => {
                        out.pairs.refuse();
                        out.attempt.counting.refuse();
                        set_aside(class, message, QuarantineSource::Content);
                    }
                    Err(RecordError::Fail(failure)) => return Err(failure),
                }
            }
            Err(NotFetched::Verdict { class, message, environment }) => {
                let source = if environment { QuarantineSource::Environment } else { QuarantineSource::Content };
                set_aside(class, message, source);
            }
            Err(NotFetched::Failed(failure)) => return Err(failure),
        }
        if output.times.first_record_us == 0 {
            output.times.first_record_us = micros(started.elapsed());
        }
        output.records += 1;
        control.progress.records.store(output.records, Ordering::Relaxed);
    }
    let asked = match &order.work {
        Work::MapObjects { objects, .. } | Work::Probe { objects } => objects.len() as u64,
        Work::MapKept { .. } | Work::Combine { .. } | Work::Reduce { .. } => output.records,
    };
    if output.records != asked {
        return Err(Failure::transient(format!("only {} of {asked} objects were fetched", output.records)));
    }
    if let Work::Probe { .. } = order.work {
        // The worker has lived through it, which is all that was asked.
        let output = TaskOutput { probed: true, ..TaskOutput::default() };
        return Ok(Made { output, ..Made::default() });
    }
    output.mapped_sha256 = Some(digest.finish());
    mapper.finish(&mut out)?;
    drop(mapper);
    rows.push_all(out.rows.drain(..))?;
    output.rows = rows.rows();
    if order.one_row_per_record && output.rows + output.quarantined.len() as u64 != output.records {
        return Err(Failure::application(format!(
            "{} records gave {} rows and {} quarantined, where each should give one",
            output.records,
            output.rows,
            output.quarantined.len()
        )));
    }
    output.counters = out.attempt.counting.finish()?;
    let (run, log) = (Some(out.pairs.finish()?), out.attempt.log.into());
    Ok(Made { rows: rows.finish()?, run, log, output, ..Made::default() })
}

async fn map_kept(
    host: &Host,
    order: &Order,
    files: &[FileRef],
    state: &DynStore,
    control: &Control,
) -> Result<Made, Failure> {
    let code = host.code(order, state).await?;
    let asked = files.len();
    let (sender, mut fetched) = mpsc::channel(1);
    let fetching = fetch::files_ahead(state.clone(), files.to_vec(), sender);
    let mut written = rows_writer(host, order)?;
    let pairs = Pairs::new(code.clone(), pairs_to(host, order));
    let mapping = compute(host, order, control, move |order, control| {
        let mut mapper = code.row_mapper()?;
        let mut out = MapOutput::new(attempt(order, control), pairs);
        let mut output = TaskOutput::default();
        let mut files = 0;
        while let Some(file) = fetched.blocking_recv() {
            for batch in rows::from_ipc(file?)? {
                check(control)?;
                mapper.map(&batch, &mut out)?;
                written.push_all(out.rows.drain(..))?;
                if let Some(failure) = out.pairs.failed() {
                    return Err(failure);
                }
                out.pairs.accept();
                output.records += batch.num_rows() as u64;
                control.progress.records.store(output.records, Ordering::Relaxed);
            }
            files += 1;
        }
        if files != asked {
            return Err(Failure::transient(format!("only {files} of {asked} files of rows were fetched")));
        }
        mapper.finish(&mut out)?;
        drop(mapper);
        written.push_all(out.rows.drain(..))?;
        output.rows = written.rows();
        if order.one_row_per_record && output.rows != output.records {
            return Err(Failure::application(format!("{} rows became {}", output.records, output.rows)));
        }
        output.counters = out.attempt.counting.finish()?;
        // Most such stages emit nothing.
        let run = (!out.pairs.is_empty()).then(|| out.pairs.finish()).transpose()?;
        Ok(Made { rows: written.finish()?, run, log: out.attempt.log.into(), output, ..Made::default() })
    });
    let ((), made) = tokio::join!(fetching, mapping);
    made
}

async fn combine(
    host: &Host,
    order: &Order,
    runs: &[FileRef],
    state: &DynStore,
    control: &Control,
) -> Result<Made, Failure> {
    let code = host.code(order, state).await?;
    let to = pairs_to(host, order);
    let (runs, records) =
        run_stream::open(state, runs, Part::Whole(order.partitions), run_stream::share(order.memory_bytes_max)).await?;
    compute(host, order, control, move |_, control| {
        let run = merge_runs(code.as_ref(), runs, &to, || check(control))?;
        let output = TaskOutput { records, ..TaskOutput::default() };
        Ok(Made { run: Some(run), output, ..Made::default() })
    })
    .await
}

async fn reduce(
    host: &Host,
    order: &Order,
    runs: &[FileRef],
    partition: u32,
    state: &DynStore,
    control: &Control,
) -> Result<Made, Failure> {
    let code = host.code(order, state).await?;
    let mut written = rows_writer(host, order)?;
    let (runs, _) =
        run_stream::open(state, runs, Part::Partition(partition), run_stream::share(order.memory_bytes_max)).await?;
    compute(host, order, control, move |order, control| {
        let mut out = ReduceOutput::new(attempt(order, control));
        let mut output = TaskOutput::default();
        let mut reducer = code.reducer()?;
        Merge::new(runs)?.each(|_, key, values| {
            check(control)?;
            output.records += 1;
            control.progress.records.store(output.records, Ordering::Relaxed);
            reducer.reduce(key, values, &mut out)?;
            written.push_all(out.rows.drain(..))
        })?;
        reducer.finish(&mut out)?;
        drop(reducer);
        written.push_all(out.rows.drain(..))?;
        output.rows = written.rows();
        let ReduceOutput { attempt, rows: _, side, broadcast } = out;
        output.counters = attempt.counting.finish()?;
        Ok(Made { rows: written.finish()?, side, broadcast, log: attempt.log.into(), output, ..Made::default() })
    })
    .await
}

fn attempt(order: &Order, control: &Control) -> Attempt {
    Attempt::new(order.attempt.clone(), control)
}

fn pairs_to(host: &Host, order: &Order) -> PairsTo {
    PairsTo { partitions: order.partitions, memory_max: order.memory_bytes_max, scratch: host.scratch() }
}

/// Waits for a slot and runs the job's code on it.
async fn compute(
    host: &Host,
    order: &Order,
    control: &Control,
    work: impl FnOnce(&Order, &Control) -> Result<Made, Failure> + Send + 'static,
) -> Result<Made, Failure> {
    let (order, control) = (order.clone(), control.clone());
    // Only records have a deadline: a merge takes as long as it takes.
    host.slots.run_until(move || work(&order, &control), std::future::pending()).await
}

fn rows_writer(host: &Host, order: &Order) -> Result<RowsWriter, Failure> {
    let to = Spool::new(host.scratch());
    if !order.writes_output {
        return Ok(RowsWriter::kept(to));
    }
    let mut footer = order.footer.clone();
    // Unless the plan says that no kernels have a part in it.
    footer.entry(KERNEL_FAMILY.into()).or_insert_with(|| order.kernel_family.clone());
    RowsWriter::part(order.format, footer, to)
}

fn verdict(object: &Object, order: &Order, class: &str, message: String, source: QuarantineSource) -> Quarantined {
    const MESSAGE_CHARS: usize = 300;
    let mut message: String = message.chars().take(MESSAGE_CHARS).collect();
    message.extend(order.piece.map(|piece| piece.told()));
    Quarantined {
        key: object.key.clone(),
        etag: object.etag.clone(),
        bytes: object.bytes,
        stage: order.stage.clone(),
        class: class.to_owned(),
        message,
        source,
        attempts: order.attempt.number,
    }
}

/// Between two records, in a slot: notes that the attempt has begun, and says whether it is to go on.
fn check(control: &Control) -> Result<(), Failure> {
    control.progress.begun.store(true, Ordering::Relaxed);
    if control.cancel.is_cancelled() {
        Err(cancelled())
    } else if control.give_up.load(Ordering::Relaxed) {
        Err(Failure::new(FailureClass::OutOfMemory, "its worker ran out of memory and gave it up"))
    } else {
        Ok(())
    }
}

fn cancelled() -> Failure {
    Failure::new(FailureClass::Cancelled, "the attempt was stopped")
}

fn micros(duration: Duration) -> u64 {
    duration.as_micros() as u64
}
