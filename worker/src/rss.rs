//! How much memory this process has needed at most.

use crate::memory::kib;

/// The high-water mark of the resident set, 0 where the system does not tell.
pub fn peak_rss_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    kib(&status, "VmHWM:").unwrap_or(0)
}
