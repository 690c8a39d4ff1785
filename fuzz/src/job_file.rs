//! Any text as a job file, and any words as `--set`: a job, or sentences about every mistake.

use crate::memory::peak_of;
use mr_cli::job_spec;
use mr_core::{JobSpec, OutputFormat, Packing, ParamValue, expand};
use mr_mapreduce::{Broadcast, Registry};
use mr_proto::{convert, v1};
use prost::Message;
use std::fmt::Write;
use std::sync::LazyLock;

/// What follows this line is one argument of `--set` a line.
pub const SETS: &str = "\n%%\n";

/// For a file of some kilobytes.
const MEMORY_MAX_BYTES: u64 = 64 << 20;

static REGISTRY: LazyLock<Registry> = LazyLock::new(|| mr_jobs::registry().expect("nobody chose kernels"));

pub fn job_file(data: &[u8]) {
    let at = data.windows(SETS.len()).position(|window| window == SETS.as_bytes());
    let (file, rest) = at.map_or((data, &[][..]), |at| (&data[..at], &data[at + SETS.len()..]));
    let set: Vec<_> = String::from_utf8_lossy(rest).lines().map(str::to_owned).collect();
    let registry = &*REGISTRY;
    let (spec, peak) = peak_of(|| job_spec(file, &set, registry));
    assert!(peak <= MEMORY_MAX_BYTES, "{peak} bytes for a file of {}", data.len());
    match spec {
        Ok(spec) => {
            let printed = printed(&spec);
            assert_eq!(job_spec(printed.as_bytes(), &[], registry).as_ref(), Ok(&spec), "{printed}");
            planned(spec, registry);
        }
        Err(said) => {
            assert!(!said.trim().is_empty());
            let obeyed = |c: char| c.is_control() && !matches!(c, '\n' | '\t');
            assert!(!said.contains(obeyed), "a terminal would obey this: {said:?}");
        }
    }
}

/// The same job as a file.
fn printed(spec: &JobSpec) -> String {
    let mut file = String::new();
    let mode = match spec.mode {
        mr_core::Mode::Fail => "fail",
        mr_core::Mode::Overwrite => "overwrite",
    };
    let (job, input, output) = (quoted(&spec.job), quoted(&spec.input), quoted(&spec.output));
    writeln!(file, "job = {job}\ninput = {input}\noutput = {output}\nmode = \"{mode}\"").expect("it is a text");
    if let Some(list) = &spec.input_list {
        writeln!(file, "input_list = {}", quoted(list)).expect("it is a text");
    }
    let format = match spec.format {
        OutputFormat::Parquet => None,
        OutputFormat::Text(packing) => Some(("text", packing)),
        OutputFormat::Json(packing) => Some(("json", packing)),
    };
    if let Some((format, packing)) = format {
        let packing = match packing {
            None => "none",
            Some(Packing::Gzip) => "gzip",
            Some(Packing::Zstd) => "zstd",
        };
        writeln!(file, "output_format = \"{format}\"\noutput_compression = \"{packing}\"").expect("it is a text");
    }
    writeln!(file, "[params]").expect("it is a text");
    for (name, value) in &spec.params {
        writeln!(file, "{name} = {}", param(value)).expect("it is a text");
    }
    let (limits, split) = (&spec.limits, &spec.split);
    let budget = limits.budget_max_usd.map_or(String::new(), |usd| format!("budget_max_usd = {usd:?}\n"));
    write!(
        file,
        "[limits]\n{budget}quarantine_share_max = {:?}\nattempts_max = {}\nrecord_seconds_max = {}\n[split]\nobjects_max = {}\n\
         bytes_max = {}\n[shuffle]\nmemory_bytes_max = {}\n",
        limits.quarantine_share_max,
        limits.attempts_max,
        limits.record_seconds_max,
        split.objects_max,
        split.bytes_max,
        spec.shuffle.memory_bytes_max
    )
    .expect("it is a text");
    file
}

fn param(value: &ParamValue) -> String {
    match value {
        ParamValue::Bool(value) => value.to_string(),
        ParamValue::Integer(value) => value.to_string(),
        ParamValue::Number(value) => format!("{value:?}"),
        ParamValue::Text(text) => quoted(text),
        ParamValue::List(items) => format!("[{}]", items.iter().map(param).collect::<Vec<_>>().join(", ")),
    }
}

/// JSON's escapes are TOML's, and one more character needs one.
fn quoted(text: &str) -> String {
    serde_json::to_string(text).expect("it is a text").replace('\u{7f}', "\\u007f")
}

/// What the job makes of it, with the weights that are built in: a plan with tasks that goes over the wire, or a refusal.
fn planned(spec: JobSpec, registry: &Registry) {
    let job = registry.find(&spec.job).expect("it was checked");
    if spec.params.get("weights") != Some(&ParamValue::Text("builtin".into())) {
        return;
    }
    let broadcasts: Vec<Broadcast> = builtin();
    let Ok(plan) = job.plan(&spec, &broadcasts) else { return };
    expand(&plan, 1_000).expect("a job of ours makes plans that can be");
    let said = convert::plan_to(plan.clone()).encode_to_vec();
    let heard = v1::JobPlan::decode(said.as_slice()).expect("we have said it ourselves");
    assert_eq!(convert::plan_from(heard), Ok(plan));
}

fn builtin() -> Vec<Broadcast> {
    static WEIGHTS: LazyLock<Vec<Broadcast>> = LazyLock::new(|| {
        let bytes = bytes::Bytes::from_static(mr_vision::weights::BUILTIN);
        let blob = mr_core::BlobRef::shared(mr_core::sha256_hex(&bytes), bytes.len() as u64);
        vec![Broadcast { name: "weights".into(), blob, bytes }]
    });
    WEIGHTS.clone()
}
