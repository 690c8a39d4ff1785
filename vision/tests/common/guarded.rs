//! Numbers that lie against a page which kills the process when it is touched.

use std::ops::{Deref, DerefMut};

/// Where the forbidden page is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    Before,
    Behind,
}

impl Side {
    pub const BOTH: [Side; 2] = [Side::Before, Side::Behind];
}

/// Bytes of the map that are no numbers.
const UNTOUCHED: u8 = 0xa5;

pub struct Guarded {
    map: *mut u8,
    /// Of the whole map, a forbidden page at either end.
    bytes: usize,
    page: usize,
    numbers: *mut f32,
    len: usize,
}

impl Guarded {
    pub fn of(numbers: &[f32], side: Side) -> Guarded {
        // SAFETY: a fresh map of our own; all that is written lies between its two forbidden pages.
        unsafe {
            let page = libc::sysconf(libc::_SC_PAGESIZE) as usize;
            let used = size_of_val(numbers);
            let room = used.next_multiple_of(page).max(page);
            let bytes = room + 2 * page;
            let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
            let map = libc::mmap(std::ptr::null_mut(), bytes, libc::PROT_READ | libc::PROT_WRITE, flags, -1, 0);
            assert_ne!(map, libc::MAP_FAILED, "{}", std::io::Error::last_os_error());
            let map = map.cast::<u8>();
            map.add(page).write_bytes(UNTOUCHED, room);
            let start = if side == Side::Before { page } else { page + room - used };
            let to = map.add(start).cast::<f32>();
            to.copy_from_nonoverlapping(numbers.as_ptr(), numbers.len());
            for forbidden in [map, map.add(page + room)] {
                assert_eq!(libc::mprotect(forbidden.cast(), page, libc::PROT_NONE), 0);
            }
            Guarded { map, bytes, page, numbers: to, len: numbers.len() }
        }
    }

    /// Whether the bytes between the forbidden pages that are no numbers are as they were.
    pub fn rest_is_untouched(&self) -> bool {
        // SAFETY: all of it lies between the forbidden pages.
        unsafe {
            let (from, to) = (self.map.add(self.page), self.map.add(self.bytes - self.page));
            let (first, last) = (self.numbers.cast::<u8>(), self.numbers.add(self.len).cast::<u8>());
            let before = std::slice::from_raw_parts(from, first.offset_from_unsigned(from));
            let behind = std::slice::from_raw_parts(last, to.offset_from_unsigned(last));
            before.iter().chain(behind).all(|byte| *byte == UNTOUCHED)
        }
    }
}

impl Deref for Guarded {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        // SAFETY: written by `of`, and alive as long as the map.
        unsafe { std::slice::from_raw_parts(self.numbers, self.len) }
    }
}

impl DerefMut for Guarded {
    fn deref_mut(&mut self) -> &mut [f32] {
        // SAFETY: as for `deref`, and borrowed by nobody else.
        unsafe { std::slice::from_raw_parts_mut(self.numbers, self.len) }
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        // SAFETY: the map is ours, and nothing borrows from it any more.
        unsafe { libc::munmap(self.map.cast(), self.bytes) };
    }
}
