//! Sixteen f32 numbers that are worked on at once, whatever the processor calls them.
//!
//! The kernels are written once over [`Lanes`]; an instruction set is an implementation of it and nothing more. Every
//! operation is exactly rounded (or moves bits), so all implementations give the same bits. Nothing here sums across
//! lanes, and nothing may.

/// How many numbers a [`Lanes`] holds; packed weights are laid out in groups of this many channels.
pub const LANES: usize = 16;

/// Half of them.
pub(super) const HALF: usize = LANES / 2;

/// Sixteen f32, with the size of the register tile that suits the processor.
///
/// # Safety
/// Every method is unsafe: the processor must have the implementation's instructions, and pointers must be good for as
/// many numbers as are read or written.
pub(super) trait Lanes: Copy {
    /// The first eight lanes by themselves: channels that are no full group take half the time on some processors.
    type Half: Copy;
    /// Pixels of a product's register tile, at most [`super::product::PIXELS_MAX`].
    const PIXELS: usize;
    /// Channel groups of a product's register tile: 1 or 2.
    const GROUPS: usize;
    /// Output pixels of a depthwise tile, at most [`super::depthwise::PIXELS_MAX`].
    const DEPTHWISE_PIXELS: usize;

    unsafe fn splat(value: f32) -> Self;
    unsafe fn first_half(self) -> Self::Half;
    unsafe fn load_half(from: *const f32) -> Self::Half;
    unsafe fn mul_add_half(value: Self::Half, factor: Self::Half, sum: Self::Half) -> Self::Half;
    /// With lanes of no matter behind them.
    unsafe fn widen(half: Self::Half) -> Self;
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
    type Half = [f32; HALF];

    const PIXELS: usize = 6;
    const GROUPS: usize = 1;
    const DEPTHWISE_PIXELS: usize = 4;

    #[inline(always)]
    unsafe fn splat(value: f32) -> Self {
        Portable([value; LANES])
    }

    #[inline(always)]
    unsafe fn first_half(self) -> [f32; HALF] {
        std::array::from_fn(|i| self.0[i])
    }

    #[inline(always)]
    unsafe fn load_half(from: *const f32) -> [f32; HALF] {
        // SAFETY: the caller promises eight readable numbers.
        unsafe { from.cast::<[f32; HALF]>().read_unaligned() }
    }

    #[inline(always)]
    unsafe fn mul_add_half(value: [f32; HALF], factor: [f32; HALF], sum: [f32; HALF]) -> [f32; HALF] {
        std::array::from_fn(|i| value[i].mul_add(factor[i], sum[i]))
    }

    #[inline(always)]
    unsafe fn widen(half: [f32; HALF]) -> Self {
        Portable(std::array::from_fn(|i| half[i % HALF]))
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

    // SAFETY (of every block below): the caller promises AVX2 and FMA, and pointers good for sixteen numbers.
    impl Lanes for Avx2 {
        type Half = __m256;

        // 6 x 2 sums, 2 weights and 1 input fill 15 of 16 registers.
        const PIXELS: usize = 6;
        const GROUPS: usize = 1;
        // 3 x 2 sums; weights and columns as they come.
        const DEPTHWISE_PIXELS: usize = 3;

        #[inline(always)]
        unsafe fn splat(value: f32) -> Self {
            unsafe { Avx2(_mm256_set1_ps(value), _mm256_set1_ps(value)) }
        }

        #[inline(always)]
        unsafe fn first_half(self) -> __m256 {
            self.0
        }

        #[inline(always)]
        unsafe fn load_half(from: *const f32) -> __m256 {
            unsafe { _mm256_loadu_ps(from) }
        }

        #[inline(always)]
        unsafe fn mul_add_half(value: __m256, factor: __m256, sum: __m256) -> __m256 {
            unsafe { _mm256_fmadd_ps(value, factor, sum) }
        }

        #[inline(always)]
        unsafe fn widen(half: __m256) -> Self {
            Avx2(half, half)
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

    // SAFETY (of every block below): the caller promises AVX-512F, and pointers good for the lanes that are named.
    impl Lanes for Avx512 {
        type Half = __m256;

        // 12 x 2 sums, 2 weights and 1 input fill 27 of 32 registers.
        const PIXELS: usize = 12;
        const GROUPS: usize = 2;
        // 8 sums, a bias, 9 weights and the 10 columns of stride 1 fill 28 of 32; of the 17 of stride 2 some are read twice.
        const DEPTHWISE_PIXELS: usize = 8;

        #[inline(always)]
        unsafe fn splat(value: f32) -> Self {
            unsafe { Avx512(_mm512_set1_ps(value)) }
        }

        #[inline(always)]
        unsafe fn first_half(self) -> __m256 {
            unsafe { _mm512_castps512_ps256(self.0) }
        }

        #[inline(always)]
        unsafe fn load_half(from: *const f32) -> __m256 {
            unsafe { _mm256_loadu_ps(from) }
        }

        #[inline(always)]
        unsafe fn mul_add_half(value: __m256, factor: __m256, sum: __m256) -> __m256 {
            unsafe { _mm256_fmadd_ps(value, factor, sum) }
        }

        #[inline(always)]
        unsafe fn widen(half: __m256) -> Self {
            unsafe { Avx512(_mm512_castps256_ps512(half)) }
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
