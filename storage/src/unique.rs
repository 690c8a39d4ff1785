//! A word that no other call, process or host comes up with, for names of unfinished files and tokens of writes; and
//! chance, for pauses.
//!
//! Neither ever reaches the bytes of a result.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

/// At random in 0..1.
pub fn chance() -> f64 {
    // As many bits as a float holds.
    (RandomState::new().hash_one(0) >> 11) as f64 / (1_u64 << 53) as f64
}

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chance_is_spread_over_its_range() {
        let tenths: Vec<_> = (0..10_000).map(|_| (chance() * 10.0) as usize).collect();
        for tenth in 0..10 {
            let count = tenths.iter().filter(|&&it| it == tenth).count();
            assert!((700..1300).contains(&count), "{count} of 10,000 in tenth {tenth}");
        }
        assert_eq!(tenths.iter().max(), Some(&9));
    }
}
