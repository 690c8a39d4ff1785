//! Sixteen f32 numbers that are worked on at once, whatever the processor calls them.
//!
//! The kernels are written once over [`Lanes`]; an instruction set is an implementation of it and nothing more. Every
//! operation is exactly rounded (or moves bits), so all implementations give the same bits. Nothing here sums across
//! lanes, and nothing may.

use super::bf16::{as_word, split};

/// How many numbers a [`Lanes`] holds; most packed weights are laid out in groups of this many channels.
pub const LANES: usize = 16;

/// Half of them.
pub(super) const HALF: usize = LANES / 2;

/// Sixteen f32, with the size of the register tile that suits the processor.
///
/// # Safety
/// Every method is unsafe: the processor must have the implementation's instructions (`put_halves` says more), and pointers must be good for as
/// many numbers as are read or written.
pub(super) trait Lanes: Copy {
    /// Pixels of a product's register tile, at most [`super::SIZE_MAX`].
    const PIXELS: usize;
    /// Channel groups of a product's register tile: 1 or 2.
    const GROUPS: usize;
    /// Pairs of a register tile of one, two and three vectors of eight channels.
    const PAIRS: [usize; 3];
    /// Output pixels of a depthwise tile, at least two and at most [`super::SIZE_MAX`].
    const DEPTHWISE_PIXELS: usize;

    unsafe fn splat(value: f32) -> Self;
    /// Two numbers side by side, eight times.
    unsafe fn load_pair(from: *const f32) -> Self;
    /// Lanes of both in turn: those of the first half, and those of the second.
    unsafe fn pair(self, other: Self) -> (Self, Self);
    /// The even lanes of both, one after the other, and the odd ones.
    unsafe fn part(self, other: Self) -> (Self, Self);
    unsafe fn load(from: *const f32) -> Self;
    unsafe fn store(self, to: *mut f32);
    /// `self * factor + sum`, rounded once.
    unsafe fn mul_add(self, factor: Self, sum: Self) -> Self;
    /// Asks for a cache line that will be read soon. It may be of no memory at all.
    #[inline(always)]
    unsafe fn prefetch(_line: *const f32) {}
    /// The same pointer, of which the compiler knows nothing any more. Left alone it finds each pixel's address by adding
    /// to that of the pixel before: eleven instructions a tile and k, for which an x86 processor has no room beside the
    /// others.
    #[inline(always)]
    unsafe fn opaque(pointer: *const f32) -> *const f32 {
        pointer
    }
    unsafe fn add(self, other: Self) -> Self;
    /// NaN stays NaN, so that a broken number shows at the end instead of turning into a zero.
    unsafe fn clamp(self, low: Self, high: Self) -> Self;

    /// The first `count` lanes into memory, where that is mostly all of them.
    #[inline(always)]
    unsafe fn put(self, to: *mut f32, count: usize) {
        // SAFETY: passed on to the caller.
        unsafe { if count >= LANES { self.store(to) } else { self.store_first(to, count) } }
    }

    /// The same, after as many numbers of a residual were added.
    #[inline(always)]
    unsafe fn put_added(self, residual: Option<*const f32>, to: *mut f32, count: usize) {
        // SAFETY: passed on to the caller.
        unsafe {
            if count >= LANES {
                let sum = residual.map_or(self, |residual| self.add(Self::load(residual)));
                sum.store(to);
            } else {
                let sum = residual.map_or(self, |residual| self.add(Self::load_first(residual, count)));
                sum.store_first(to, count);
            }
        }
    }

    /// The first `count` lanes, zeros after them.
    #[inline(always)]
    unsafe fn first(self, count: usize) -> Self {
        let mut all = [0f32; LANES];
        // SAFETY: `all` has room for all lanes.
        unsafe {
            self.store(all.as_mut_ptr());
            Self::load_first(all.as_ptr(), count)
        }
    }

    /// Splits these numbers and those of `other` into bf16 halves: a cache line of high ones, then one of low ones. The
    /// two need not begin on a line. On AVX-512 it takes further instructions: [`Avx512::splits`].
    #[inline(always)]
    unsafe fn put_halves(self, other: Self, to: *mut f32) {
        let mut numbers = [0f32; 2 * LANES];
        // SAFETY: `numbers` has room for both, and the caller promises that for all of their halves.
        unsafe {
            self.store(numbers.as_mut_ptr());
            other.store(numbers.as_mut_ptr().add(LANES));
            for (word, [even, odd]) in numbers.as_chunks().0.iter().enumerate() {
                let (even, odd) = (split(*even), split(*odd));
                to.add(word).write(as_word(even.0, odd.0));
                to.add(LANES + word).write(as_word(even.1, odd.1));
            }
        }
    }

    /// The first `count` lanes from memory, zeros after them.
    #[inline(always)]
    unsafe fn load_first(from: *const f32, count: usize) -> Self {
        let mut all = [0f32; LANES];
        // SAFETY: the caller promises `count` readable numbers, and `all` has room for a full group of them.
        unsafe {
            std::ptr::copy_nonoverlapping(from, all.as_mut_ptr(), count.min(LANES));
            Self::load(all.as_ptr())
        }
    }

    /// The first `count` lanes into memory; what lies behind them stays untouched.
    #[inline(always)]
    unsafe fn store_first(self, to: *mut f32, count: usize) {
        let mut all = [0f32; LANES];
        // SAFETY: as for `load_first`.
        unsafe {
            self.store(all.as_mut_ptr());
            std::ptr::copy_nonoverlapping(all.as_ptr(), to, count.min(LANES));
        }
    }
}

/// Plain Rust: the reference, and what ARM runs (its compiler makes four-lane fused multiply-adds of these loops).
#[derive(Clone, Copy)]
pub(super) struct Portable([f32; LANES]);

impl Lanes for Portable {
    const PIXELS: usize = 6;
    const GROUPS: usize = 1;
    const PAIRS: [usize; 3] = [4, 2, 2];
    const DEPTHWISE_PIXELS: usize = 4;

    #[inline(always)]
    unsafe fn splat(value: f32) -> Self {
        Portable([value; LANES])
    }

    #[inline(always)]
    unsafe fn load_pair(from: *const f32) -> Self {
        // SAFETY: the caller promises two readable numbers.
        let pair = unsafe { from.cast::<[f32; 2]>().read_unaligned() };
        Portable(std::array::from_fn(|i| pair[i % 2]))
    }

    #[inline(always)]
    unsafe fn pair(self, other: Self) -> (Self, Self) {
        let of = |lane: usize| if lane.is_multiple_of(2) { self.0[lane / 2] } else { other.0[lane / 2] };
        (Portable(std::array::from_fn(of)), Portable(std::array::from_fn(|i| of(LANES + i))))
    }

    #[inline(always)]
    unsafe fn part(self, other: Self) -> (Self, Self) {
        let of = |lane: usize| if lane < LANES { self.0[lane] } else { other.0[lane - LANES] };
        (Portable(std::array::from_fn(|i| of(2 * i))), Portable(std::array::from_fn(|i| of(2 * i + 1))))
    }

    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        // SAFETY: the caller promises sixteen readable numbers.
        Portable(unsafe { from.cast::<[f32; LANES]>().read_unaligned() })
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        // SAFETY: the caller promises room for sixteen numbers.
        unsafe { to.cast::<[f32; LANES]>().write_unaligned(self.0) }
    }

    #[inline(always)]
    unsafe fn mul_add(self, factor: Self, sum: Self) -> Self {
        Portable(std::array::from_fn(|i| self.0[i].mul_add(factor.0[i], sum.0[i])))
    }

    #[inline(always)]
    unsafe fn add(self, other: Self) -> Self {
        Portable(std::array::from_fn(|i| self.0[i] + other.0[i]))
    }

    #[inline(always)]
    unsafe fn clamp(self, low: Self, high: Self) -> Self {
        Portable(std::array::from_fn(|i| {
            let raised = if low.0[i] > self.0[i] { low.0[i] } else { self.0[i] };
            if high.0[i] < raised { high.0[i] } else { raised }
        }))
    }
}

/// Which of 32 words are the upper words of sixteen numbers: those of the first half, and of the second.
#[cfg(target_arch = "x86_64")]
const UPPER: [[u16; 2 * LANES]; 2] = {
    let mut words = [[0; 2 * LANES]; 2];
    let mut lane = 0;
    while lane < LANES {
        words[0][2 * lane + 1] = lane as u16;
        words[1][2 * lane + 1] = (LANES + lane) as u16;
        lane += 1;
    }
    words
};

#[cfg(target_arch = "x86_64")]
pub(super) use x86::{Avx2, Avx512};

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::asm;
    use std::arch::x86_64::*;

    use super::{LANES, Lanes};

    /// Two registers of eight lanes.
    #[derive(Clone, Copy)]
    pub(in super::super) struct Avx2(__m256, __m256);

    // SAFETY (of every block below): the caller promises AVX2 and FMA, and pointers good for what is read or written.
    impl Lanes for Avx2 {
        // 6 x 2 sums, 2 weights and 1 input fill 15 of 16 registers.
        const PIXELS: usize = 6;
        const GROUPS: usize = 1;
        // Up to 2 x 6 sums, 2 numbers and a weight.
        const PAIRS: [usize; 3] = [4, 2, 2];
        // 3 x 2 sums; weights and columns as they come.
        const DEPTHWISE_PIXELS: usize = 3;

        #[inline(always)]
        unsafe fn splat(value: f32) -> Self {
            unsafe { Avx2(_mm256_set1_ps(value), _mm256_set1_ps(value)) }
        }

        #[inline(always)]
        unsafe fn load_pair(from: *const f32) -> Self {
            unsafe {
                let pair = _mm256_castpd_ps(_mm256_set1_pd(from.cast::<f64>().read_unaligned()));
                Avx2(pair, pair)
            }
        }

        #[inline(always)]
        unsafe fn pair(self, other: Self) -> (Self, Self) {
            #[inline(always)]
            unsafe fn pair(one: __m256, other: __m256) -> Avx2 {
                unsafe {
                    let (low, high) = (_mm256_unpacklo_ps(one, other), _mm256_unpackhi_ps(one, other));
                    Avx2(_mm256_permute2f128_ps::<0x20>(low, high), _mm256_permute2f128_ps::<0x31>(low, high))
                }
            }
            unsafe { (pair(self.0, other.0), pair(self.1, other.1)) }
        }

        #[inline(always)]
        unsafe fn part(self, other: Self) -> (Self, Self) {
            #[inline(always)]
            unsafe fn part<const CHOICE: i32>(of: Avx2) -> __m256 {
                unsafe {
                    let mixed = _mm256_castps_pd(_mm256_shuffle_ps::<CHOICE>(of.0, of.1));
                    _mm256_castpd_ps(_mm256_permute4x64_pd::<0b11_01_10_00>(mixed))
                }
            }
            const EVEN: i32 = 0b10_00_10_00;
            const ODD: i32 = 0b11_01_11_01;
            unsafe { (Avx2(part::<EVEN>(self), part::<EVEN>(other)), Avx2(part::<ODD>(self), part::<ODD>(other))) }
        }

        #[inline(always)]
        unsafe fn load(from: *const f32) -> Self {
            unsafe { Avx2(_mm256_loadu_ps(from), _mm256_loadu_ps(from.add(8))) }
        }

        #[inline(always)]
        unsafe fn store(self, to: *mut f32) {
            unsafe {
                _mm256_storeu_ps(to, self.0);
                _mm256_storeu_ps(to.add(8), self.1);
            }
        }

        #[inline(always)]
        unsafe fn mul_add(self, factor: Self, sum: Self) -> Self {
            unsafe { Avx2(_mm256_fmadd_ps(self.0, factor.0, sum.0), _mm256_fmadd_ps(self.1, factor.1, sum.1)) }
        }

        #[inline(always)]
        unsafe fn prefetch(line: *const f32) {
            unsafe { _mm_prefetch::<_MM_HINT_T1>(line.cast()) }
        }

        #[inline(always)]
        unsafe fn opaque(pointer: *const f32) -> *const f32 {
            opaque(pointer)
        }

        #[inline(always)]
        unsafe fn add(self, other: Self) -> Self {
            unsafe { Avx2(_mm256_add_ps(self.0, other.0), _mm256_add_ps(self.1, other.1)) }
        }

        #[inline(always)]
        unsafe fn clamp(self, low: Self, high: Self) -> Self {
            // maxps and minps answer with their second operand when either is NaN.
            unsafe {
                Avx2(
                    _mm256_min_ps(high.0, _mm256_max_ps(low.0, self.0)),
                    _mm256_min_ps(high.1, _mm256_max_ps(low.1, self.1)),
                )
            }
        }
    }

    /// One register.
    #[derive(Clone, Copy)]
    pub(in super::super) struct Avx512(__m512);

    impl Avx512 {
        /// Whether the processor has what `put_halves` takes besides AVX-512F: the instructions for words and for bf16.
        pub fn splits() -> bool {
            is_x86_feature_detected!("avx512f")
                && is_x86_feature_detected!("avx512bw")
                && is_x86_feature_detected!("avx512bf16")
        }

        /// The same lanes but for those that have a bit, which come from memory. Nothing of the others is read, wherever
        /// `from` lies.
        ///
        /// # Safety
        /// The processor must have AVX-512F, and those lanes be good to read, counted from `from` on.
        #[inline(always)]
        pub unsafe fn load_lanes(self, from: *const f32, lanes: u16) -> Self {
            // SAFETY: the caller's promise.
            unsafe { Avx512(_mm512_mask_loadu_ps(self.0, lanes, from)) }
        }

        /// Lanes by their numbers, those of `other` from sixteen on.
        #[inline(always)]
        unsafe fn chosen(self, lanes: __m512i, other: Self) -> Self {
            // SAFETY: the caller promises AVX-512F.
            unsafe { Avx512(_mm512_permutex2var_ps(self.0, lanes, other.0)) }
        }
    }

    // SAFETY (of every block below): the caller promises AVX-512F, for `put_halves` that [`Avx512::splits`] has said yes, and
    // pointers good for the lanes that are named.
    impl Lanes for Avx512 {
        // 12 x 2 sums, 2 weights and 1 input fill 27 of 32 registers.
        const PIXELS: usize = 12;
        const GROUPS: usize = 2;
        // Up to 24 sums, 3 weights and a number.
        const PAIRS: [usize; 3] = [12, 12, 8];
        // 8 sums, a bias, 9 weights and the 10 columns of stride 1 fill 28 of 32; of the 17 of stride 2 some are read twice.
        const DEPTHWISE_PIXELS: usize = 8;

        #[inline(always)]
        unsafe fn splat(value: f32) -> Self {
            unsafe { Avx512(_mm512_set1_ps(value)) }
        }

        #[inline(always)]
        unsafe fn load_pair(from: *const f32) -> Self {
            unsafe { Avx512(_mm512_castpd_ps(_mm512_set1_pd(from.cast::<f64>().read_unaligned()))) }
        }

        #[inline(always)]
        unsafe fn pair(self, other: Self) -> (Self, Self) {
            unsafe {
                let low = _mm512_setr_epi32(0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
                let high = _mm512_setr_epi32(8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
                (self.chosen(low, other), self.chosen(high, other))
            }
        }

        #[inline(always)]
        unsafe fn part(self, other: Self) -> (Self, Self) {
            unsafe {
                let even = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
                let odd = _mm512_setr_epi32(1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31);
                (self.chosen(even, other), self.chosen(odd, other))
            }
        }

        #[inline(always)]
        unsafe fn load(from: *const f32) -> Self {
            unsafe { Avx512(_mm512_loadu_ps(from)) }
        }

        #[inline(always)]
        unsafe fn store(self, to: *mut f32) {
            unsafe { _mm512_storeu_ps(to, self.0) }
        }

        #[inline(always)]
        unsafe fn mul_add(self, factor: Self, sum: Self) -> Self {
            unsafe { Avx512(_mm512_fmadd_ps(self.0, factor.0, sum.0)) }
        }

        #[inline(always)]
        unsafe fn prefetch(line: *const f32) {
            unsafe { _mm_prefetch::<_MM_HINT_T1>(line.cast()) }
        }

        #[inline(always)]
        unsafe fn opaque(pointer: *const f32) -> *const f32 {
            opaque(pointer)
        }

        #[inline(always)]
        unsafe fn add(self, other: Self) -> Self {
            unsafe { Avx512(_mm512_add_ps(self.0, other.0)) }
        }

        #[inline(always)]
        unsafe fn clamp(self, low: Self, high: Self) -> Self {
            unsafe { Avx512(_mm512_min_ps(high.0, _mm512_max_ps(low.0, self.0))) }
        }

        #[inline(always)]
        unsafe fn put_halves(self, other: Self, to: *mut f32) {
            unsafe {
                let high: __m512i = std::mem::transmute(_mm512_cvtne2ps_pbh(other.0, self.0));
                // A half is the upper word of the number that it stands for.
                let [these, those] = super::UPPER.map(|words| {
                    let words = _mm512_loadu_si512(words.as_ptr().cast());
                    _mm512_castsi512_ps(_mm512_maskz_permutexvar_epi16(0xaaaa_aaaa, words, high))
                });
                let low = _mm512_cvtne2ps_pbh(_mm512_sub_ps(other.0, those), _mm512_sub_ps(self.0, these));
                _mm512_storeu_si512(to.cast(), high);
                _mm512_storeu_si512(to.add(LANES).cast(), std::mem::transmute::<__m512bh, __m512i>(low));
            }
        }

        #[inline(always)]
        unsafe fn load_first(from: *const f32, count: usize) -> Self {
            unsafe { Avx512(_mm512_maskz_loadu_ps(first(count), from)) }
        }

        #[inline(always)]
        unsafe fn store_first(self, to: *mut f32, count: usize) {
            unsafe { _mm512_mask_storeu_ps(to, first(count), self.0) }
        }
    }

    #[inline(always)]
    fn opaque(pointer: *const f32) -> *const f32 {
        let same;
        // SAFETY: it is a comment to the assembler.
        #[expect(clippy::pointers_in_nomem_asm_block, reason = "nothing is read there")]
        unsafe {
            asm!("/* {0} */", inlateout(reg) pointer => same, options(pure, nomem, nostack, preserves_flags));
        }
        same
    }

    #[inline(always)]
    fn first(count: usize) -> __mmask16 {
        ((1u32 << count.min(LANES)) - 1) as __mmask16
    }
}
