//! What products need beside their operands.

#[cfg(target_arch = "x86_64")]
use super::amx::Piece;

/// Working memory of products, one for each thread. It grows to what the largest needs and is used again.
#[derive(Debug, Default)]
pub struct Work {
    #[cfg(target_arch = "x86_64")]
    halves: Vec<u16>,
    #[cfg(target_arch = "x86_64")]
    pieces: Vec<Piece>,
}

#[cfg(target_arch = "x86_64")]
impl Work {
    /// Room for so many halves, from the start of a cache line on, and for pieces. What it holds is left from earlier work.
    pub(super) fn halves(&mut self, len: usize) -> (&mut [u16], &mut Vec<Piece>) {
        const LINE: usize = 64 / size_of::<u16>();
        if self.halves.len() < len + LINE {
            self.halves = vec![0; len + LINE];
        }
        // Alignment is for speed only, and `align_offset` may decline to answer.
        let skip = self.halves.as_ptr().align_offset(64).min(LINE);
        (&mut self.halves[skip..][..len], &mut self.pieces)
    }
}
