//! A word that no other call, process or host comes up with: for names of unfinished files and tokens of writes.
//!
//! It never reaches the bytes of a result.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

pub(crate) fn unique() -> String {
    static CALLS: AtomicU64 = AtomicU64::new(0);
    let call = CALLS.fetch_add(1, Ordering::Relaxed);
    // The standard library seeds its hashers from the system's random source, once a thread.
    let mut hasher = RandomState::new().build_hasher();
    hasher.write_u64(call);
    hasher.write_u32(std::process::id());
    let nanos = SystemTime::UNIX_EPOCH.elapsed().map_or(0, |d| d.as_nanos() as u64);
    format!("{:016x}{nanos:016x}{call:x}", hasher.finish())
}
