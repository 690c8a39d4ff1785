//! The product of pixels in pairs, for results of few channels.
//!
//! A vector holds eight channels of two neighbours, channel by channel. So sixteen and twenty-four channels are two and
//! three vectors for two pixels, where whole groups would be two and four; and each number that is read, one of both
//! pixels side by side, is used by all of them. Chain order is that of any product: bias, then k ascending, then clamp,
//! then residual.

use std::mem::MaybeUninit;

use super::lanes::{HALF, LANES, Lanes};
use super::pack::group_len;
use super::product::{BASE, BASES};
use super::{Arithmetic, Pairs};

/// The product over all pixels and channels.
///
/// # Safety
/// The processor must have `V`'s instructions; `Kernels::pairs` has checked every length.
#[inline(always)]
pub(super) unsafe fn pairs<V: Lanes>(product: &Pairs, out: &mut [MaybeUninit<f32>]) {
    let group_len = group_len(Arithmetic::F32, product.depth);
    let mut channel = 0;
    while channel < product.channels {
        // Four are two and two: a vector alone would use each number once.
        let vectors = match (product.channels - channel).div_ceil(HALF) {
            4 => 2,
            left => left.min(3),
        };
        let mut run = Run {
            product,
            values: product.values.as_ptr(),
            // SAFETY: there are weights for all channels.
            weights: unsafe { product.weights.as_ptr().add(channel / HALF * group_len) },
            group_len,
            pixel: 0,
            channel,
            lanes: (product.channels - channel).min(vectors * HALF),
            out: out.as_mut_ptr().cast(),
        };
        // SAFETY: lengths were checked for all pixels and channels, and the tiles lie within both.
        unsafe {
            match vectors {
                1 => run.all::<V, 1>(),
                2 => run.all::<V, 2>(),
                _ => run.all::<V, 3>(),
            }
        }
        channel += vectors * HALF;
    }
}

/// The next register tile of some channels: where it reads and writes.
struct Run<'a> {
    product: &'a Pairs<'a>,
    /// The first pair's.
    values: *const f32,
    weights: *const f32,
    /// Packed numbers of eight channels.
    group_len: usize,
    /// The first of the first pair.
    pixel: usize,
    channel: usize,
    /// Channels that are written.
    lanes: usize,
    out: *mut f32,
}

impl Run<'_> {
    /// These channels of all pixels.
    #[inline(always)]
    unsafe fn all<V: Lanes, const VECTORS: usize>(&mut self) {
        let pairs = self.product.pixels.div_ceil(2);
        let tiles = pairs.div_ceil(V::PAIRS[VECTORS - 1]);
        // Evenly cut, as those of other products are.
        let (size, larger) = (pairs / tiles, pairs % tiles);
        for (pairs, count) in [(size + 1, larger), (size, tiles - larger)] {
            if count == 0 {
                continue;
            }
            // SAFETY: passed on from `pairs`.
            sized!(pairs of V::PAIRS[VECTORS - 1] => |PAIRS| unsafe { self.tiles::<V, VECTORS, PAIRS>(count) });
        }
    }

    #[inline(always)]
    unsafe fn tiles<V: Lanes, const VECTORS: usize, const PAIRS: usize>(&mut self, count: usize) {
        let Pairs { depth, .. } = *self.product;
        let stride = 2 * depth;
        for _ in 0..count {
            // SAFETY: passed on from `pairs`.
            unsafe {
                let mut weights: [*const f32; VECTORS] =
                    std::array::from_fn(|vector| self.weights.add(vector * self.group_len));
                let bias: [V; VECTORS] = std::array::from_fn(|vector| V::load(weights[vector]));
                let mut sums = [bias; PAIRS];
                let mut bases: [*const f32; BASES] =
                    std::array::from_fn(|base| self.values.wrapping_add(base * BASE * stride));
                for _ in 0..depth {
                    let at = |pair: usize| bases[pair / BASE].wrapping_add(pair % BASE * stride);
                    // Whatever there is less of stays in registers: weights, or numbers of the pairs.
                    if const { PAIRS <= VECTORS } {
                        let values: [V; PAIRS] = std::array::from_fn(|pair| V::load_pair(at(pair)));
                        for vector in 0..VECTORS {
                            weights[vector] = weights[vector].add(LANES);
                            let w = V::load(weights[vector]);
                            unrolled!(pair in PAIRS => {
                                sums[pair][vector] = values[pair].mul_add(w, sums[pair][vector]);
                            });
                        }
                    } else {
                        let w: [V; VECTORS] = std::array::from_fn(|vector| {
                            weights[vector] = weights[vector].add(LANES);
                            V::load(weights[vector])
                        });
                        unrolled!(pair in PAIRS => {
                            let value = V::load_pair(at(pair));
                            for vector in 0..VECTORS {
                                sums[pair][vector] = value.mul_add(w[vector], sums[pair][vector]);
                            }
                        });
                    }
                    for base in &mut bases[..PAIRS.div_ceil(BASE)] {
                        *base = V::opaque(base.wrapping_add(2));
                    }
                }
                unrolled!(pair in PAIRS => self.put::<V, VECTORS>(self.pixel + 2 * pair, sums[pair]));
            }
            self.values = self.values.wrapping_add(PAIRS * stride);
            self.pixel += 2 * PAIRS;
        }
    }

    /// Clamps the sums of a pair, parts its pixels, adds the residual, and writes them down.
    #[inline(always)]
    unsafe fn put<V: Lanes, const VECTORS: usize>(&self, pixel: usize, sums: [V; VECTORS]) {
        let Pairs { clamp, pixels, .. } = *self.product;
        // SAFETY: passed on from `pairs`.
        unsafe {
            let sums = sums.map(|sum| sum.clamp(V::splat(clamp.low), V::splat(clamp.high)));
            let first = if VECTORS == 1 { sums[0].part(sums[0]) } else { sums[0].part(sums[1]) };
            let second = (VECTORS == 3).then(|| sums[VECTORS - 1].part(sums[VECTORS - 1]));
            self.put_pixel(pixel, first.0, second.map(|second| second.0));
            if pixel + 1 < pixels {
                self.put_pixel(pixel + 1, first.1, second.map(|second| second.1));
            }
        }
    }

    /// Sixteen channels of one pixel, and eight more where there are three vectors.
    #[inline(always)]
    unsafe fn put_pixel<V: Lanes>(&self, pixel: usize, first: V, second: Option<V>) {
        let at = pixel * self.product.channels + self.channel;
        let residual = self.product.residual.map(|residual| residual.as_ptr().wrapping_add(at));
        // SAFETY: passed on from `pairs`.
        unsafe {
            first.put_added(residual, self.out.add(at), self.lanes);
            if let Some(second) = second {
                let residual = residual.map(|residual| residual.wrapping_add(LANES));
                second.put_added(residual, self.out.add(at + LANES), self.lanes - LANES);
            }
        }
    }
}
