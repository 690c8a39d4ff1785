//! Messages to core types and back.

use crate::bounds::NAME_BYTES_MAX;
use crate::v1;
use mr_core as core;
use std::collections::BTreeMap;
use thiserror::Error;

#[derive(Debug, Error, PartialEq, Eq)]
pub enum WireError {
    #[error("the message lacks `{0}`")]
    Missing(&'static str),
    #[error("`{0}` is out of range")]
    OutOfRange(&'static str),
    #[error("{0}")]
    Invalid(String),
}

type Wire<T> = Result<T, WireError>;

fn need<T>(field: Option<T>, name: &'static str) -> Wire<T> {
    field.ok_or(WireError::Missing(name))
}

fn each<A, B>(items: Vec<A>, convert: impl Fn(A) -> Wire<B>) -> Wire<Vec<B>> {
    items.into_iter().map(convert).collect()
}

pub fn job_id(text: &str) -> Wire<core::JobId> {
    core::JobId::parse(text).map_err(WireError::Invalid)
}

fn param_to(value: core::ParamValue) -> v1::Param {
    use v1::param::Value;
    v1::Param {
        value: Some(match value {
            core::ParamValue::Bool(b) => Value::Boolean(b),
            core::ParamValue::Integer(i) => Value::Integer(i),
            core::ParamValue::Number(n) => Value::Number(n),
            core::ParamValue::Text(t) => Value::Text(t),
            core::ParamValue::List(items) => {
                Value::List(v1::ParamList { items: items.into_iter().map(param_to).collect() })
            }
        }),
    }
}

/// Lists of lists are of no use to any job; a bound keeps a hostile message from using up the stack.
fn param_from(param: v1::Param, depth: u32) -> Wire<core::ParamValue> {
    use v1::param::Value;
    Ok(match need(param.value, "param.value")? {
        Value::Boolean(b) => core::ParamValue::Bool(b),
        Value::Integer(i) => core::ParamValue::Integer(i),
        Value::Number(n) if n.is_finite() => core::ParamValue::Number(n),
        Value::Number(_) => return Err(WireError::OutOfRange("param.number")),
        Value::Text(t) => core::ParamValue::Text(t),
        Value::List(_) if depth == 0 => return Err(WireError::OutOfRange("param.list")),
        Value::List(list) => core::ParamValue::List(each(list.items, |item| param_from(item, depth - 1))?),
    })
}

fn params_from(params: BTreeMap<String, v1::Param>) -> Wire<core::Params> {
    params.into_iter().map(|(key, value)| Ok((key, param_from(value, 4)?))).collect()
}

fn params_to(params: core::Params) -> BTreeMap<String, v1::Param> {
    params.into_iter().map(|(key, value)| (key, param_to(value))).collect()
}

pub fn blob_to(blob: core::BlobRef) -> v1::Blob {
    v1::Blob { key: blob.key, sha256: blob.sha256, bytes: blob.bytes }
}

pub fn blob_from(blob: v1::Blob) -> Wire<core::BlobRef> {
    let hex = |c: u8| c.is_ascii_digit() || (b'a'..=b'f').contains(&c);
    if blob.sha256.len() != 64 || !blob.sha256.bytes().all(hex) {
        return Err(WireError::Invalid(format!("`{}` is no SHA-256 in lower-case hexadecimal", blob.sha256)));
    }
    Ok(core::BlobRef { key: blob.key, sha256: blob.sha256, bytes: blob.bytes })
}

fn format_to(format: core::OutputFormat) -> String {
    format.extension().to_owned()
}

/// One that is not named is that of before there were others.
fn format_from(extension: String, field: &'static str) -> Wire<core::OutputFormat> {
    match extension.as_str() {
        "" => Ok(core::OutputFormat::Parquet),
        extension => core::OutputFormat::of_extension(extension).ok_or(WireError::OutOfRange(field)),
    }
}

fn spec_to(spec: core::JobSpec) -> v1::JobSpec {
    v1::JobSpec {
        job: spec.job,
        input: spec.input,
        input_list: spec.input_list,
        output: spec.output,
        mode: match spec.mode {
            core::Mode::Fail => v1::Mode::Fail,
            core::Mode::Overwrite => v1::Mode::Overwrite,
        } as i32,
        adopt: spec.adopt,
        params: params_to(spec.params),
        quarantine_share_max: spec.limits.quarantine_share_max,
        attempts_max: spec.limits.attempts_max,
        split_objects_max: spec.split.objects_max,
        split_bytes_max: spec.split.bytes_max,
        record_seconds_max: spec.limits.record_seconds_max,
        budget_max_usd: spec.limits.budget_max_usd,
        shuffle_memory_bytes_max: spec.shuffle.memory_bytes_max,
        format: format_to(spec.format),
    }
}

fn spec_from(spec: v1::JobSpec) -> Wire<core::JobSpec> {
    let mode = match v1::Mode::try_from(spec.mode).map_err(|_| WireError::OutOfRange("spec.mode"))? {
        v1::Mode::Fail => core::Mode::Fail,
        v1::Mode::Overwrite => core::Mode::Overwrite,
    };
    if !(0.0..=1.0).contains(&spec.quarantine_share_max) {
        return Err(WireError::OutOfRange("spec.quarantine_share_max"));
    }
    for (name, value) in [
        ("spec.attempts_max", u64::from(spec.attempts_max)),
        ("spec.split_objects_max", u64::from(spec.split_objects_max)),
        ("spec.split_bytes_max", spec.split_bytes_max),
        ("spec.record_seconds_max", u64::from(spec.record_seconds_max)),
    ] {
        if value == 0 {
            return Err(WireError::OutOfRange(name));
        }
    }
    if spec.budget_max_usd.is_some_and(|usd| !usd.is_finite() || usd <= 0.0) {
        return Err(WireError::OutOfRange("spec.budget_max_usd"));
    }
    for (name, root) in [("spec.input", &spec.input), ("spec.output", &spec.output)] {
        if !root.contains("://") || !root.ends_with('/') {
            return Err(WireError::Invalid(format!("{name} `{root}` is no URL that ends in `/`")));
        }
    }
    Ok(core::JobSpec {
        job: spec.job,
        input: spec.input,
        input_list: spec.input_list,
        output: spec.output,
        mode,
        format: format_from(spec.format, "spec.format")?,
        adopt: spec.adopt,
        params: params_from(spec.params)?,
        limits: core::Limits {
            quarantine_share_max: spec.quarantine_share_max,
            attempts_max: spec.attempts_max,
            record_seconds_max: spec.record_seconds_max,
            budget_max_usd: spec.budget_max_usd,
        },
        split: core::SplitSettings { objects_max: spec.split_objects_max, bytes_max: spec.split_bytes_max },
        // A plan from before this was part of it has none.
        shuffle: match spec.shuffle_memory_bytes_max {
            0 => core::ShuffleSettings::default(),
            memory_bytes_max => core::ShuffleSettings { memory_bytes_max },
        },
    })
}

fn broadcast_to(name: String, blob: core::BlobRef) -> v1::Broadcast {
    v1::Broadcast { name, blob: Some(blob_to(blob)) }
}

fn broadcast_from(broadcast: v1::Broadcast) -> Wire<(String, core::BlobRef)> {
    Ok((broadcast.name, blob_from(need(broadcast.blob, "broadcast.blob")?)?))
}

fn stage_to(stage: core::StagePlan) -> v1::Stage {
    use v1::stage::Source;
    v1::Stage {
        name: stage.name,
        source: Some(match stage.source {
            core::Source::Input => Source::Input(v1::InputSource {}),
            core::Source::Kept { stage, group_min, group_max } => {
                Source::Kept(v1::KeptSource { stage, group_min, group_max })
            }
            core::Source::Emitted { stage, partitions, fan_in } => {
                Source::Emitted(v1::EmittedSource { stage, partitions, fan_in })
            }
        }),
        broadcasts_of: stage.broadcasts_of,
        writes_output: stage.writes_output,
        one_row_per_record: stage.one_row_per_record,
        params: stage.params.map(|names| v1::ParamNames { names }),
    }
}

fn stage_from(stage: v1::Stage) -> Wire<core::StagePlan> {
    use v1::stage::Source;
    Ok(core::StagePlan {
        name: stage.name,
        source: match need(stage.source, "stage.source")? {
            Source::Input(v1::InputSource {}) => core::Source::Input,
            Source::Kept(v1::KeptSource { stage, group_min, group_max }) => {
                core::Source::Kept { stage, group_min, group_max }
            }
            Source::Emitted(v1::EmittedSource { stage, partitions, fan_in }) => {
                core::Source::Emitted { stage, partitions, fan_in }
            }
        },
        broadcasts_of: stage.broadcasts_of,
        writes_output: stage.writes_output,
        one_row_per_record: stage.one_row_per_record,
        params: stage.params.map(|params| params.names),
    })
}

pub fn plan_to(plan: core::JobPlan) -> v1::JobPlan {
    v1::JobPlan {
        spec: Some(spec_to(plan.spec)),
        job_version: plan.job_version,
        extensions: plan.filter.extensions,
        cut: match plan.cut {
            core::Cut::Nowhere => None,
            core::Cut::Lines => Some(v1::job_plan::Cut::CutAtLines(true)),
            core::Cut::Records(bytes) => Some(v1::job_plan::Cut::CutAtRecordsOf(bytes)),
            core::Cut::RowGroups => Some(v1::job_plan::Cut::CutAtRowGroups(true)),
        },
        objects_min: plan.objects_min.map(|min| v1::ObjectsMin { count: min.count, why: min.why }),
        keys: plan.keys.map(blob_to),
        kernels: Some(v1::KernelWish { arithmetics: plan.kernels.arithmetics, why: plan.kernels.why }),
        broadcasts: plan.broadcasts.into_iter().map(|b| broadcast_to(b.name, b.blob)).collect(),
        stages: plan.stages.into_iter().map(stage_to).collect(),
        footer: plan.footer,
    }
}

pub fn plan_from(plan: v1::JobPlan) -> Wire<core::JobPlan> {
    Ok(core::JobPlan {
        spec: spec_from(need(plan.spec, "plan.spec")?)?,
        job_version: plan.job_version,
        filter: core::InputFilter { extensions: plan.extensions },
        cut: match plan.cut {
            None | Some(v1::job_plan::Cut::CutAtLines(false) | v1::job_plan::Cut::CutAtRowGroups(false)) => {
                core::Cut::Nowhere
            }
            Some(v1::job_plan::Cut::CutAtRowGroups(true)) => core::Cut::RowGroups,
            Some(v1::job_plan::Cut::CutAtLines(true)) => core::Cut::Lines,
            Some(v1::job_plan::Cut::CutAtRecordsOf(0)) => return Err(WireError::OutOfRange("plan.cut")),
            Some(v1::job_plan::Cut::CutAtRecordsOf(bytes)) => core::Cut::Records(bytes),
        },
        objects_min: plan.objects_min.map(|min| core::ObjectsMin { count: min.count, why: min.why }),
        keys: plan.keys.map(blob_from).transpose()?,
        kernels: plan
            .kernels
            .map(|wish| core::KernelWish { arithmetics: wish.arithmetics, why: wish.why })
            .unwrap_or_default(),
        broadcasts: each(plan.broadcasts, |b| {
            let (name, blob) = broadcast_from(b)?;
            Ok(core::BroadcastPlan { name, blob })
        })?,
        stages: each(plan.stages, stage_from)?,
        footer: plan.footer,
    })
}

pub fn failure_to(failure: core::Failure) -> v1::Failure {
    use v1::FailureClass as Class;
    let class = match failure.class {
        core::FailureClass::Application => Class::Application,
        core::FailureClass::Permanent => Class::Permanent,
        core::FailureClass::Refused => Class::Refused,
        core::FailureClass::Transient => Class::Transient,
        core::FailureClass::WorkerLost => Class::WorkerLost,
        core::FailureClass::OutOfMemory => Class::OutOfMemory,
        core::FailureClass::Cancelled => Class::Cancelled,
    };
    let blames = failure.blames.map(|blamed| quarantined_to(*blamed));
    v1::Failure { class: class as i32, message: failure.message, blames, lost: failure.lost }
}

pub fn failure_from(failure: v1::Failure) -> Wire<core::Failure> {
    use v1::FailureClass as Class;
    let class = match Class::try_from(failure.class).map_err(|_| WireError::OutOfRange("failure.class"))? {
        Class::Unspecified => return Err(WireError::Missing("failure.class")),
        Class::Application => core::FailureClass::Application,
        Class::Permanent => core::FailureClass::Permanent,
        Class::Refused => core::FailureClass::Refused,
        Class::Transient => core::FailureClass::Transient,
        Class::WorkerLost => core::FailureClass::WorkerLost,
        Class::OutOfMemory => core::FailureClass::OutOfMemory,
        Class::Cancelled => core::FailureClass::Cancelled,
    };
    let blames = failure.blames.map(|blamed| Box::new(quarantined_from(blamed)));
    Ok(core::Failure { class, message: failure.message, blames, lost: failure.lost })
}

pub fn quarantined_to(q: core::Quarantined) -> v1::Quarantined {
    v1::Quarantined {
        key: q.key,
        etag: q.etag,
        bytes: q.bytes,
        stage: q.stage,
        class: q.class,
        message: q.message,
        environment: q.source == core::QuarantineSource::Environment,
        attempts: q.attempts,
    }
}

pub fn quarantined_from(q: v1::Quarantined) -> core::Quarantined {
    core::Quarantined {
        key: q.key,
        etag: q.etag,
        bytes: q.bytes,
        stage: q.stage,
        class: q.class,
        message: q.message,
        source: if q.environment { core::QuarantineSource::Environment } else { core::QuarantineSource::Content },
        attempts: q.attempts,
    }
}

pub fn terms_to(terms: core::ClusterTerms) -> v1::TermsResponse {
    let fleet = |fleet: core::FleetTerms| {
        let (target_ms, usd_per_hour_waited) = match fleet.aim {
            core::FleetAim::Within { target_ms } => (Some(target_ms), 0.0),
            core::FleetAim::Cheapest { usd_per_hour_waited } => (None, usd_per_hour_waited),
        };
        v1::FleetTerms {
            workers_max: fleet.workers_max,
            slots: fleet.slots,
            start_ms: fleet.start_ms,
            target_ms,
            usd_per_hour_waited,
            workers_min: fleet.workers_min,
            task_ms: fleet.task_ms,
            idle_ms: fleet.idle_ms,
            billed_min_ms: fleet.billed_min_ms,
            usd_per_worker_hour: fleet.usd_per_worker_hour,
            budget_usd_per_job: fleet.budget_usd_per_job,
        }
    };
    v1::TermsResponse {
        workers: terms.workers,
        slots: terms.slots,
        fleet: terms.fleet.map(fleet),
        usd_per_worker_hour: terms.usd_per_worker_hour,
        worker_from: terms.worker_from,
        prices: terms.prices,
        state_in_s3: terms.state_in_s3,
    }
}

pub fn terms_from(terms: v1::TermsResponse) -> Wire<core::ClusterTerms> {
    let fleet = |fleet: v1::FleetTerms| core::FleetTerms {
        workers_min: fleet.workers_min,
        workers_max: fleet.workers_max,
        slots: fleet.slots,
        start_ms: fleet.start_ms,
        task_ms: fleet.task_ms,
        idle_ms: fleet.idle_ms,
        billed_min_ms: fleet.billed_min_ms,
        aim: match fleet.target_ms {
            Some(target_ms) => core::FleetAim::Within { target_ms },
            None => core::FleetAim::Cheapest { usd_per_hour_waited: fleet.usd_per_hour_waited },
        },
        usd_per_worker_hour: fleet.usd_per_worker_hour,
        budget_usd_per_job: fleet.budget_usd_per_job,
    };
    let impossible = |usd: f64| !usd.is_finite() || usd < 0.0;
    if terms.usd_per_worker_hour.is_some_and(impossible) {
        return Err(WireError::OutOfRange("terms.usd_per_worker_hour"));
    }
    let usd_of = |fleet: &v1::FleetTerms| [fleet.usd_per_hour_waited, fleet.usd_per_worker_hour];
    let usd = terms.fleet.iter().flat_map(usd_of).chain(terms.fleet.and_then(|fleet| fleet.budget_usd_per_job));
    if usd.into_iter().any(impossible) {
        return Err(WireError::OutOfRange("terms.fleet"));
    }
    Ok(core::ClusterTerms {
        workers: terms.workers,
        slots: terms.slots,
        fleet: terms.fleet.map(fleet),
        usd_per_worker_hour: terms.usd_per_worker_hour,
        worker_from: terms.worker_from,
        prices: terms.prices,
        state_in_s3: terms.state_in_s3,
    })
}

pub fn status_to(status: core::JobStatus) -> v1::JobStatus {
    let phase = match status.phase {
        core::JobPhase::Listing => v1::JobPhase::Listing,
        core::JobPhase::Running => v1::JobPhase::Running,
        core::JobPhase::Committing => v1::JobPhase::Committing,
        core::JobPhase::Committed => v1::JobPhase::Committed,
        core::JobPhase::Failed => v1::JobPhase::Failed,
        core::JobPhase::Cancelled => v1::JobPhase::Cancelled,
    };
    let stage = |s: core::StageStatus| v1::StageStatus {
        name: s.name,
        tasks: s.tasks,
        tasks_done: s.tasks_done,
        tasks_running: s.tasks_running,
        records: s.records,
        records_total: s.records_total,
    };
    v1::JobStatus {
        job_id: status.id.into(),
        job: status.job,
        input: status.input,
        input_list: status.input_list,
        output: status.output,
        format: format_to(status.format),
        counters: status.counters.into(),
        phase: phase as i32,
        submitted_ms: status.submitted_ms,
        elapsed_ms: status.elapsed_ms,
        listed: status.books.listed,
        embedded: status.books.embedded,
        quarantined: status.books.quarantined,
        skipped: status.books.skipped,
        stages: status.stages.into_iter().map(stage).collect(),
        workers: status.workers,
        slots: status.slots,
        quarantined_first: status.quarantined_first.into_iter().map(quarantined_to).collect(),
        failure: status.failure.map(failure_to),
        note: status.note,
    }
}

pub fn status_from(status: v1::JobStatus) -> Wire<core::JobStatus> {
    let phase = match v1::JobPhase::try_from(status.phase).map_err(|_| WireError::OutOfRange("status.phase"))? {
        v1::JobPhase::Unspecified => return Err(WireError::Missing("status.phase")),
        v1::JobPhase::Listing => core::JobPhase::Listing,
        v1::JobPhase::Running => core::JobPhase::Running,
        v1::JobPhase::Committing => core::JobPhase::Committing,
        v1::JobPhase::Committed => core::JobPhase::Committed,
        v1::JobPhase::Failed => core::JobPhase::Failed,
        v1::JobPhase::Cancelled => core::JobPhase::Cancelled,
    };
    let stage = |s: v1::StageStatus| core::StageStatus {
        name: s.name,
        tasks: s.tasks,
        tasks_done: s.tasks_done,
        tasks_running: s.tasks_running,
        records: s.records,
        records_total: s.records_total,
    };
    Ok(core::JobStatus {
        id: job_id(&status.job_id)?,
        job: status.job,
        input: status.input,
        input_list: status.input_list,
        output: status.output,
        format: format_from(status.format, "status.format")?,
        counters: status.counters.into(),
        phase,
        submitted_ms: status.submitted_ms,
        elapsed_ms: status.elapsed_ms,
        books: core::Books {
            listed: status.listed,
            embedded: status.embedded,
            quarantined: status.quarantined,
            skipped: status.skipped,
        },
        stages: status.stages.into_iter().map(stage).collect(),
        workers: status.workers,
        slots: status.slots,
        quarantined_first: status.quarantined_first.into_iter().map(quarantined_from).collect(),
        failure: status.failure.map(failure_from).transpose()?,
        note: status.note,
    })
}

pub fn attempt_to(attempt: core::AttemptId) -> v1::AttemptId {
    let core::AttemptId { task: core::TaskId { job, stage, index }, epoch, number } = attempt;
    v1::AttemptId { job_id: job.into(), stage, index, epoch, number }
}

pub fn attempt_from(attempt: v1::AttemptId) -> Wire<core::AttemptId> {
    let task = core::TaskId { job: job_id(&attempt.job_id)?, stage: attempt.stage, index: attempt.index };
    Ok(core::AttemptId { task, epoch: attempt.epoch, number: attempt.number })
}

pub fn progress_to(progress: core::AttemptProgress) -> v1::Progress {
    v1::Progress { attempt: Some(attempt_to(progress.attempt)), records: progress.records }
}

pub fn progress_from(progress: v1::Progress) -> Wire<core::AttemptProgress> {
    Ok(core::AttemptProgress {
        attempt: attempt_from(need(progress.attempt, "progress.attempt")?)?,
        records: progress.records,
    })
}

pub fn store_usage_to(usage: core::StoreUsage) -> v1::StoreUsage {
    let core::StoreAnswers { accepted, throttled } = usage.answers;
    v1::StoreUsage { place: usage.place, accepted, throttled }
}

pub fn store_usage_from(usage: v1::StoreUsage) -> Wire<core::StoreUsage> {
    let answers = core::StoreAnswers { accepted: usage.accepted, throttled: usage.throttled };
    Ok(core::StoreUsage { place: place(usage.place, "store_usage.place")?, answers })
}

pub fn store_share_to(share: core::StoreShare) -> v1::StoreShare {
    v1::StoreShare { place: share.place, requests_per_second: share.requests_per_second }
}

pub fn store_share_from(share: v1::StoreShare) -> Wire<core::StoreShare> {
    let requests_per_second = share.requests_per_second;
    // Nothing at all, or a number that is none, would be a store that is never asked again.
    if !requests_per_second.is_finite() || requests_per_second <= 0.0 {
        return Err(WireError::OutOfRange("store_share.requests_per_second"));
    }
    Ok(core::StoreShare { place: place(share.place, "store_share.place")?, requests_per_second })
}

fn place(name: String, field: &'static str) -> Wire<String> {
    if (1..=1024).contains(&name.len()) { Ok(name) } else { Err(WireError::OutOfRange(field)) }
}

pub fn job_code_to(code: core::JobCode) -> v1::JobCode {
    v1::JobCode { name: code.name, version: code.version }
}

pub fn job_code_from(code: v1::JobCode) -> Wire<core::JobCode> {
    match code.name.len() {
        1..=NAME_BYTES_MAX => Ok(core::JobCode { name: code.name, version: code.version }),
        _ => Err(WireError::OutOfRange("job_code.name")),
    }
}

pub fn file_to(file: core::FileRef) -> v1::File {
    v1::File { key: file.key, bytes: file.bytes, crc32: file.crc32 }
}

pub fn file_from(file: v1::File) -> Wire<core::FileRef> {
    Ok(core::FileRef { key: file.key, bytes: file.bytes, crc32: file.crc32 })
}

/// As many as a job may have, and one more that says that there were others.
fn counters_from(counters: BTreeMap<String, u64>) -> Wire<core::Counters> {
    match counters.len() <= core::Counters::NAMES_MAX + 1 {
        true => Ok(counters.into()),
        false => Err(WireError::OutOfRange("output.counters")),
    }
}

pub fn output_to(output: core::TaskOutput) -> v1::TaskOutput {
    v1::TaskOutput {
        records: output.records,
        rows: output.rows,
        kept: output.kept.map(file_to),
        run: output.run.map(file_to),
        part: output.part.map(file_to),
        broadcast: output.broadcast.map(blob_to),
        side: output.side.into_iter().map(|(path, f)| v1::SideFile { path, file: Some(file_to(f)) }).collect(),
        quarantined: output.quarantined.into_iter().map(quarantined_to).collect(),
        mapped_sha256: output.mapped_sha256,
        busy_us: output.times.busy_us,
        first_record_us: output.times.first_record_us,
        counters: output.counters.into(),
        probed: output.probed,
    }
}

pub fn output_from(output: v1::TaskOutput) -> Wire<core::TaskOutput> {
    Ok(core::TaskOutput {
        records: output.records,
        rows: output.rows,
        kept: output.kept.map(file_from).transpose()?,
        run: output.run.map(file_from).transpose()?,
        part: output.part.map(file_from).transpose()?,
        broadcast: output.broadcast.map(blob_from).transpose()?,
        side: each(output.side, |side| Ok((side.path, file_from(need(side.file, "side.file")?)?)))?,
        quarantined: output.quarantined.into_iter().map(quarantined_from).collect(),
        mapped_sha256: output.mapped_sha256,
        times: core::TaskTimes { busy_us: output.busy_us, first_record_us: output.first_record_us },
        counters: counters_from(output.counters)?,
        probed: output.probed,
    })
}

pub fn result_to(result: core::AttemptResult) -> v1::Result {
    use v1::result::Outcome;
    let outcome = match result.outcome {
        Ok(output) => Outcome::Output(output_to(output)),
        Err(failure) => Outcome::Failure(failure_to(failure)),
    };
    let kernel_family = result.kernel_family;
    let asked = Some(counts_to(result.asked));
    v1::Result { attempt: Some(attempt_to(result.attempt)), kernel_family, outcome: Some(outcome), asked }
}

fn counts_to(counts: core::StoreCounts) -> v1::StoreCounts {
    let count = |((request, outcome), count): ((core::StoreRequest, core::StoreOutcome), u64)| v1::StoreCount {
        operation: request.name().to_owned(),
        outcome: outcome.name().to_owned(),
        count,
    };
    v1::StoreCounts {
        requests: counts.requests.into_iter().map(count).collect(),
        read_bytes: counts.read_bytes,
        written_bytes: counts.written_bytes,
    }
}

/// What comes twice is added up.
fn counts_from(counts: v1::StoreCounts) -> Wire<core::StoreCounts> {
    let mut known = core::StoreCounts::default();
    known.moved(counts.read_bytes, counts.written_bytes);
    for v1::StoreCount { operation, outcome, count } in counts.requests {
        let request = core::StoreRequest::named(&operation).ok_or(WireError::OutOfRange("counts.operation"))?;
        let outcome = core::StoreOutcome::named(&outcome).ok_or(WireError::OutOfRange("counts.outcome"))?;
        known.note(request, outcome, count);
    }
    Ok(known)
}

pub fn result_from(result: v1::Result) -> Wire<core::AttemptResult> {
    use v1::result::Outcome;
    let attempt = attempt_from(need(result.attempt, "result.attempt")?)?;
    let outcome = match need(result.outcome, "result.outcome")? {
        Outcome::Output(output) => Ok(output_from(output)?),
        Outcome::Failure(failure) => Err(failure_from(failure)?),
    };
    // A failure has no bytes, so nobody asks with which kernels they were made.
    let kernel_family = match outcome {
        Ok(_) => family(result.kernel_family, "result.kernel_family")?,
        Err(_) => result.kernel_family,
    };
    let asked = counts_from(result.asked.unwrap_or_default())?;
    Ok(core::AttemptResult { attempt, kernel_family, outcome, asked })
}

pub fn object_to(object: core::Object) -> v1::Object {
    v1::Object { key: object.key, bytes: object.bytes, etag: object.etag }
}

pub fn object_from(object: v1::Object) -> core::Object {
    core::Object { key: object.key, bytes: object.bytes, etag: object.etag }
}

pub fn piece_to(piece: core::Piece) -> v1::Piece {
    let has = match piece.has {
        core::PieceHas::Bytes => v1::PieceHas::Bytes,
        core::PieceHas::Lines => v1::PieceHas::Lines,
        core::PieceHas::RowGroups => v1::PieceHas::RowGroups,
    };
    v1::Piece { start: piece.start, end: piece.end, has: has as i32 }
}

pub fn piece_from(piece: v1::Piece) -> Wire<core::Piece> {
    let has = match v1::PieceHas::try_from(piece.has).map_err(|_| WireError::OutOfRange("piece.has"))? {
        v1::PieceHas::Unspecified => return Err(WireError::Missing("piece.has")),
        v1::PieceHas::Bytes => core::PieceHas::Bytes,
        v1::PieceHas::Lines => core::PieceHas::Lines,
        v1::PieceHas::RowGroups => core::PieceHas::RowGroups,
    };
    let v1::Piece { start, end, .. } = piece;
    if start < end { Ok(core::Piece { start, end, has }) } else { Err(WireError::OutOfRange("piece.end")) }
}

pub fn order_to(order: core::Order) -> v1::Order {
    use v1::order::Work;
    let files = |files: Vec<core::FileRef>| files.into_iter().map(file_to).collect();
    v1::Order {
        attempt: Some(attempt_to(order.attempt)),
        job: order.job,
        job_version: order.job_version,
        kernel_family: order.kernel_family,
        params: params_to(order.params),
        stage: order.stage,
        input: order.input,
        state: order.state,
        broadcasts: order.broadcasts.into_iter().map(|b| broadcast_to(b.name, b.blob)).collect(),
        footer: order.footer,
        writes_output: order.writes_output,
        one_row_per_record: order.one_row_per_record,
        format: format_to(order.format),
        partitions: order.partitions,
        record_seconds_max: order.record_seconds_max,
        memory_bytes_max: order.memory_bytes_max,
        landmark: order.landmark,
        piece: order.piece.map(piece_to),
        work: Some(match order.work {
            core::Work::MapObjects { objects, condemned } => Work::MapObjects(v1::MapObjects {
                objects: objects.into_iter().map(object_to).collect(),
                condemned: condemned.into_iter().map(quarantined_to).collect(),
            }),
            core::Work::Probe { objects } => {
                Work::Probe(v1::Probe { objects: objects.into_iter().map(object_to).collect() })
            }
            core::Work::MapKept { rows } => Work::MapKept(v1::MapKept { rows: files(rows) }),
            core::Work::Combine { runs } => Work::Combine(v1::Combine { runs: files(runs) }),
            core::Work::Reduce { runs, partition } => Work::Reduce(v1::Reduce { runs: files(runs), partition }),
        }),
    }
}

fn family(family: String, field: &'static str) -> Wire<String> {
    match family.len() {
        0 => Err(WireError::Missing(field)),
        1..=NAME_BYTES_MAX => Ok(family),
        _ => Err(WireError::OutOfRange(field)),
    }
}

pub fn order_from(order: v1::Order) -> Wire<core::Order> {
    use v1::order::Work;
    let files = |files| each(files, file_from);
    Ok(core::Order {
        attempt: attempt_from(need(order.attempt, "order.attempt")?)?,
        job: order.job,
        job_version: order.job_version,
        kernel_family: family(order.kernel_family, "order.kernel_family")?,
        params: params_from(order.params)?,
        stage: order.stage,
        input: order.input,
        state: order.state,
        broadcasts: each(order.broadcasts, |b| {
            let (name, blob) = broadcast_from(b)?;
            Ok(core::BroadcastRef { name, blob })
        })?,
        footer: order.footer,
        writes_output: order.writes_output,
        one_row_per_record: order.one_row_per_record,
        format: format_from(order.format, "order.format")?,
        partitions: order.partitions,
        record_seconds_max: order.record_seconds_max,
        memory_bytes_max: order.memory_bytes_max,
        landmark: order.landmark,
        piece: order.piece.map(piece_from).transpose()?,
        work: match need(order.work, "order.work")? {
            Work::MapObjects(map) => core::Work::MapObjects {
                objects: map.objects.into_iter().map(object_from).collect(),
                condemned: map.condemned.into_iter().map(quarantined_from).collect(),
            },
            Work::Probe(probe) => core::Work::Probe { objects: probe.objects.into_iter().map(object_from).collect() },
            Work::MapKept(map) => core::Work::MapKept { rows: files(map.rows)? },
            Work::Combine(combine) => core::Work::Combine { runs: files(combine.runs)? },
            Work::Reduce(reduce) => core::Work::Reduce { runs: files(reduce.runs)?, partition: reduce.partition },
        },
    })
}
