//! What must be known of a machine to compare its figures with another's.

use std::fs;

use crate::photos::cores;

/// Whether this processor has the instructions that `params.precision = "fast"` is for.
pub fn has_amx() -> bool {
    has("amx_bf16")
}

/// Whether the system knows the processor to have these instructions.
fn has(set: &str) -> bool {
    let cpu = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let flags = cpu.lines().find(|line| line.starts_with("flags") || line.starts_with("Features")).unwrap_or_default();
    flags.split_whitespace().any(|flag| flag == set)
}

/// The processor, its instruction sets that matter here, cores and memory.
pub fn machine() -> String {
    let cpu = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let value = |name: &str| {
        let line = cpu.lines().find(|line| line.starts_with(name))?;
        line.split_once(':').map(|(_, value)| value.trim().to_owned())
    };
    let sets = ["avx2", "avx512f", "amx_bf16", "asimd"].into_iter().filter(|set| has(set));
    let memory = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let kilobytes =
        memory.lines().find_map(|line| line.strip_prefix("MemTotal:")?.trim().strip_suffix(" kB")?.parse::<f64>().ok());
    format!(
        "{} ({}), {} cores, {:.0} GB",
        value("model name").unwrap_or_else(|| std::env::consts::ARCH.to_owned()),
        sets.collect::<Vec<_>>().join(", "),
        cores(),
        kilobytes.unwrap_or_default() / 1e6,
    )
}
