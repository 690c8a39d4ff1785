//! How much memory this process has needed at most.

use crate::gauge::kib;
use std::path::Path;

/// The high-water mark of the resident set, 0 where the system does not tell.
pub fn peak_rss_bytes() -> u64 {
    kib(Path::new("/proc/self/status"), "VmHWM:").unwrap_or(0)
}
