//! One attempt of one task, from its order to what it has to show.
//!
//! Reading and writing overlap with the work of other attempts: fetching begins before a slot is free, and the slot is
//! given back before the results are stored. Nothing that an attempt writes is visible until the coordinator has
//! chosen it, so a second attempt of the same task may run beside it.

use crate::emit::{MapOutput, ReduceOutput, RowOutput};
use crate::fetch::{self, Fetched, NotFetched};
use crate::host::Host;
use crate::job::{RecordError, StageCode};
use crate::merge::merge;
use crate::rows;
use crate::run::{Pair, RunReader, RunWriter, partition_of};
use crate::sha256_hex;
use arrow::array::RecordBatch;
use bytes::Bytes;
use mr_core::{AttemptId, BlobRef, Failure, FileRef, Object, Order, QuarantineSource, Quarantined, TaskOutput, Work};
use mr_storage::{DynStore, Put};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// How far an attempt is, for whoever watches.
#[derive(Debug, Default)]
pub struct Progress {
    pub records: AtomicU64,
    pub quarantined: AtomicU64,
}

/// How an attempt is watched and stopped.
#[derive(Clone, Debug, Default)]
pub struct Control {
    pub cancel: CancellationToken,
    pub progress: Arc<Progress>,
}

/// Runs an attempt to its end.
///
/// # Errors
/// The failure, typed by what is to be done about it. A cancelled attempt fails with [`mr_core::FailureClass::Cancelled`].
pub async fn execute(host: &Host, order: &Order, control: &Control) -> Result<TaskOutput, Failure> {
    let started = Instant::now();
    tokio::select! {
        biased;
        () = control.cancel.cancelled() => Err(cancelled()),
        done = run(host, order, control, started) => done,
    }
}

async fn run(host: &Host, order: &Order, control: &Control, started: Instant) -> Result<TaskOutput, Failure> {
    let state = host.store(&order.state).await?;
    let made = match &order.work {
        Work::MapObjects { objects } => map_objects(host, order, objects, &state, control, started).await?,
        Work::MapKept { rows } => map_kept(host, order, rows, &state, control).await?,
        Work::Combine { runs } => combine(host, order, runs, &state, control).await?,
        Work::Reduce { runs, partition } => reduce(host, order, runs, *partition, &state, control).await?,
    };
    let mut output = store(order, made, &state).await?;
    output.times.wall_us = micros(started.elapsed());
    Ok(output)
}

/// What an attempt made, encoded and ready to be stored.
#[derive(Default)]
struct Made {
    output: TaskOutput,
    rows: Option<Bytes>,
    run: Option<Bytes>,
    side: Vec<(String, Bytes)>,
    broadcast: Option<Bytes>,
}

async fn map_objects(
    host: &Host,
    order: &Order,
    objects: &[Object],
    state: &DynStore,
    control: &Control,
    started: Instant,
) -> Result<Made, Failure> {
    let input = host.store(&order.input).await?;
    let code = host.code(order, state).await?;
    let family = host.registry.kernel_family();
    let (sender, fetched) = mpsc::channel(32);
    let fetching = fetch::objects(input, objects.to_vec(), code.object_bytes_max(), sender);
    let mapping = compute(host, order, control, move |order, control| {
        map_fetched(code.as_ref(), family, order, fetched, control, started)
    });
    let ((), made) = tokio::join!(fetching, mapping);
    made
}

fn map_fetched(
    code: &dyn StageCode,
    family: &str,
    order: &Order,
    mut fetched: mpsc::Receiver<Fetched>,
    control: &Control,
    started: Instant,
) -> Result<Made, Failure> {
    let mut mapper = code.mapper()?;
    let mut out = MapOutput::default();
    let mut output = TaskOutput::default();
    while let Some(Fetched { object, content, .. }) = fetched.blocking_recv() {
        check(control)?;
        let mut set_aside = |class: &str, message: String, source| {
            control.progress.quarantined.fetch_add(1, Ordering::Relaxed);
            output.quarantined.push(verdict(&object, order, class, message, source));
        };
        match content {
            Ok(record) => {
                let begun = Instant::now();
                let mapped = mapper.map(&record, &mut out);
                output.times.busy_us += micros(begun.elapsed());
                match mapped {
                    Ok(()) => {}
                    Err(RecordError::Quarantine { class, message }) => {
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
        if output.records == 0 {
            output.times.first_record_us = micros(started.elapsed());
        }
        output.records += 1;
        control.progress.records.store(output.records, Ordering::Relaxed);
    }
    let asked = match &order.work {
        Work::MapObjects { objects } => objects.len() as u64,
        Work::MapKept { .. } | Work::Combine { .. } | Work::Reduce { .. } => output.records,
    };
    if output.records != asked {
        return Err(Failure::transient(format!("only {} of {asked} objects were fetched", output.records)));
    }
    mapper.finish(&mut out)?;
    output.rows = rows::count(&out.rows);
    if order.one_row_per_record && output.rows + output.quarantined.len() as u64 != output.records {
        return Err(Failure::application(format!(
            "{} records gave {} rows and {} quarantined, where each should give one",
            output.records,
            output.rows,
            output.quarantined.len()
        )));
    }
    let run = encode_run(code, out.pairs, order.partitions)?;
    Ok(Made { rows: encode_rows(order, family, &out.rows)?, run: Some(run), output, ..Made::default() })
}

async fn map_kept(
    host: &Host,
    order: &Order,
    files: &[FileRef],
    state: &DynStore,
    control: &Control,
) -> Result<Made, Failure> {
    let code = host.code(order, state).await?;
    let files = fetch::files(state, files).await?;
    let family = host.registry.kernel_family();
    compute(host, order, control, move |order, control| {
        let mut mapper = code.row_mapper()?;
        let mut out = RowOutput::default();
        let mut output = TaskOutput::default();
        for file in &files {
            for batch in rows::from_ipc(file)? {
                check(control)?;
                mapper.map(&batch, &mut out)?;
                output.records += batch.num_rows() as u64;
                control.progress.records.store(output.records, Ordering::Relaxed);
            }
        }
        output.rows = rows::count(&out.rows);
        if order.one_row_per_record && output.rows != output.records {
            return Err(Failure::application(format!("{} rows became {}", output.records, output.rows)));
        }
        Ok(Made { rows: encode_rows(order, family, &out.rows)?, output, ..Made::default() })
    })
    .await
}

async fn combine(
    host: &Host,
    order: &Order,
    runs: &[FileRef],
    state: &DynStore,
    control: &Control,
) -> Result<Made, Failure> {
    let code = host.code(order, state).await?;
    let runs = fetch::files(state, runs).await?;
    compute(host, order, control, move |order, control| {
        let runs = open_runs(runs)?;
        let mut output = TaskOutput::default();
        let mut writer = RunWriter::new(0);
        for partition in 0..order.partitions {
            merge(partition_of_runs(&runs, partition)?, |key, values| {
                check(control)?;
                output.records += values.len() as u64;
                push_combined(code.as_ref(), &mut writer, &key, values)
            })?;
            writer.end_partition();
        }
        Ok(Made { run: Some(writer.finish()), output, ..Made::default() })
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
    let runs = fetch::files(state, runs).await?;
    let family = host.registry.kernel_family();
    compute(host, order, control, move |order, control| {
        let runs = open_runs(runs)?;
        let mut out = ReduceOutput::default();
        let mut output = TaskOutput::default();
        merge(partition_of_runs(&runs, partition)?, |key, values| {
            check(control)?;
            output.records += 1;
            code.reduce(&key, values, &mut out)
        })?;
        output.rows = rows::count(&out.rows);
        let rows = encode_rows(order, family, &out.rows)?;
        Ok(Made { rows, side: out.side, broadcast: out.broadcast, output, ..Made::default() })
    })
    .await
}

/// Waits for a slot and runs the job's code on it.
async fn compute(
    host: &Host,
    order: &Order,
    control: &Control,
    work: impl FnOnce(&Order, &Control) -> Result<Made, Failure> + Send + 'static,
) -> Result<Made, Failure> {
    let (order, control) = (order.clone(), control.clone());
    host.slots.run(move || work(&order, &control)).await
}

fn open_runs(runs: Vec<Bytes>) -> Result<Vec<RunReader>, Failure> {
    runs.into_iter().map(|run| RunReader::open(run).map_err(|error| Failure::transient(error.to_string()))).collect()
}

fn partition_of_runs(runs: &[RunReader], partition: u32) -> Result<Vec<Vec<Pair>>, Failure> {
    runs.iter().map(|run| run.partition(partition).map_err(|error| Failure::transient(error.to_string()))).collect()
}

/// Sorts pairs by partition and key, keeping the order of those with the same key, and combines each key's values.
fn encode_run(code: &dyn StageCode, pairs: Vec<(Vec<u8>, Bytes)>, partitions: u32) -> Result<Bytes, Failure> {
    let mut parts: Vec<Vec<Pair>> = vec![Vec::new(); partitions as usize];
    let mut size = 0;
    for (key, value) in pairs {
        size += key.len() + value.len() + 8;
        parts[partition_of(&key, partitions) as usize].push(Pair { key: key.into(), value });
    }
    let mut writer = RunWriter::new(size);
    for mut part in parts {
        part.sort_by(|a, b| a.key.cmp(&b.key));
        merge(vec![part], |key, values| push_combined(code, &mut writer, &key, values))?;
        writer.end_partition();
    }
    Ok(writer.finish())
}

fn push_combined(code: &dyn StageCode, writer: &mut RunWriter, key: &Bytes, values: Vec<Bytes>) -> Result<(), Failure> {
    let values = if values.len() > 1 { code.combine(key, values)? } else { values };
    for value in values {
        writer.push(key, &value).map_err(|error| Failure::permanent(error.to_string()))?;
    }
    Ok(())
}

fn encode_rows(order: &Order, family: &str, batches: &[RecordBatch]) -> Result<Option<Bytes>, Failure> {
    if !order.writes_output {
        return rows::to_ipc(batches);
    }
    let mut footer = order.footer.clone();
    // Not the planner's word: these rows were computed here.
    footer.insert("mr.kernel_family".into(), family.into());
    rows::to_parquet(batches, &footer)
}

/// Puts everything into the state store under names of this attempt's own.
async fn store(order: &Order, made: Made, state: &DynStore) -> Result<TaskOutput, Failure> {
    let Made { mut output, rows, run, side, broadcast } = made;
    let base = work_key(&order.attempt);
    let put = |name: String, bytes: Bytes| {
        let key = format!("{base}/{name}");
        async move {
            let file = FileRef { key, bytes: bytes.len() as u64, crc32: crc32fast::hash(&bytes) };
            state.put(&file.key, bytes, Put::Overwrite).await.map_err(|error| fetch::failure(&error))?;
            Ok::<_, Failure>(file)
        }
    };
    if let Some(rows) = rows {
        if order.writes_output {
            output.part = Some(put("part.parquet".into(), rows).await?);
        } else {
            output.kept = Some(put("kept.arrow".into(), rows).await?);
        }
    }
    if let Some(run) = run {
        output.run = Some(put("pairs.run".into(), run).await?);
    }
    for (path, bytes) in side {
        let file = put(format!("side/{path}"), bytes).await?;
        output.side.push((path, file));
    }
    if let Some(bytes) = broadcast {
        let sha256 = sha256_hex(&bytes);
        let file = put("broadcast".into(), bytes).await?;
        output.broadcast = Some(BlobRef { key: file.key, sha256, bytes: file.bytes });
    }
    Ok(output)
}

/// Where an attempt's files lie in the state store: apart from those of every other attempt.
fn work_key(attempt: &AttemptId) -> String {
    let task = &attempt.task;
    format!("work/{}/{}/{:06}-{}", task.job, task.stage, task.index, attempt.number)
}

fn verdict(object: &Object, order: &Order, class: &str, message: String, source: QuarantineSource) -> Quarantined {
    const MESSAGE_CHARS: usize = 300;
    Quarantined {
        key: object.key.clone(),
        etag: object.etag.clone(),
        bytes: object.bytes,
        stage: order.stage.clone(),
        class: class.to_owned(),
        message: message.chars().take(MESSAGE_CHARS).collect(),
        source,
        attempts: order.attempt.number,
    }
}

fn check(control: &Control) -> Result<(), Failure> {
    if control.cancel.is_cancelled() { Err(cancelled()) } else { Ok(()) }
}

fn cancelled() -> Failure {
    Failure::new(mr_core::FailureClass::Cancelled, "the attempt was stopped")
}

fn micros(duration: Duration) -> u64 {
    duration.as_micros() as u64
}
