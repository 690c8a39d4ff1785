//! Keeping the heap as large as what is in it.
//!
//! glibc gives threads heaps of their own, up to eight for each core, and each keeps some of what was freed in it. Runs
//! are read on whichever thread is free, so all those heaps end up holding room for one. Measured on 4,020 photos with
//! two slots: 320 MB at most with glibc's choice, 190 MB with four heaps, in the same time.
//!
//! What is as large as a piece of a file or a buffer of pairs has no place in them at all: once such memory was freed, glibc
//! puts the like, up to 32 MiB, between what is small, and the holes that it leaves there grow with the job. Mapped by
//! itself it goes back when it is freed. Sorts of 1, 2 and 4 GB take 337 to 368 MB then, and 406 to 533 MB with glibc's
//! choice, in the same time. The bound is that high because pixels of a photo are mapped anew from there on: at 1 MiB small
//! photos take a fifth longer, at 16 MiB those of six megapixels a twelfth.

/// A piece of memory of so many bytes is mapped by itself.
const MAPPED_MIN: usize = 24 << 20;
/// So many bytes that are free at a heap's end stay there, for the next photo or chunk.
const FREE_MAX: usize = 48 << 20;

/// Lets the process have a heap for each slot and two more, with nothing large in them. To be called before there are many
/// threads, since a heap that is there already stays.
pub fn bound_heaps(slots: u32) {
    imp::set(slots.saturating_add(2) as usize, MAPPED_MIN, FREE_MAX);
}

/// Gives what was freed back to the system.
pub fn trim() {
    imp::trim();
}

#[cfg(all(target_os = "linux", target_env = "gnu"))]
mod imp {
    use std::ffi::c_int;

    const M_TRIM_THRESHOLD: c_int = -1;
    const M_MMAP_THRESHOLD: c_int = -3;
    const M_ARENA_MAX: c_int = -8;

    // SAFETY: these are their signatures in malloc.h. The first takes any two numbers and refuses what it does not know; of
    // these it stores the number, which other threads read when they are about to make a heap, allocate or free. The second
    // takes any number, locks each heap in turn, and gives back to the system only pages that no allocation is in.
    unsafe extern "C" {
        safe fn mallopt(parameter: c_int, value: c_int) -> c_int;
        safe fn malloc_trim(pad: usize) -> c_int;
    }

    pub fn trim() {
        malloc_trim(0);
    }

    pub fn set(heaps: usize, mapped_min: usize, free_max: usize) {
        for (parameter, value) in [(M_ARENA_MAX, heaps), (M_MMAP_THRESHOLD, mapped_min), (M_TRIM_THRESHOLD, free_max)] {
            if mallopt(parameter, c_int::try_from(value).unwrap_or(c_int::MAX)) == 0 {
                tracing::debug!("the allocator does not take {value} for its parameter {parameter}");
            }
        }
    }
}

#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
mod imp {
    pub fn set(_: usize, _: usize, _: usize) {}

    pub fn trim() {}
}
