//! How much memory something holds at most, told by the allocator of every program that links this room.
//!
//! Counted is all that the process holds, so whoever asks runs alone.

use peak_alloc::PeakAlloc;

#[global_allocator]
static HEAP: PeakAlloc = PeakAlloc;

/// What `work` returns, and how many bytes more than before were held while it ran.
pub fn peak_of<T>(work: impl FnOnce() -> T) -> (T, u64) {
    let before = HEAP.current_usage();
    HEAP.reset_peak_usage();
    let result = work();
    (result, HEAP.peak_usage().saturating_sub(before) as u64)
}
