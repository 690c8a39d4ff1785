//! The product of pixels in pairs, for results of few channels.
//!
//! A vector holds eight channels of two neighbours, channel by channel. So sixteen and twenty-four channels are two and
//! three vectors for two pixels, where whole groups would be two and four; and each number that is read, one of both
//! pixels side by side, is used by all of them. Chain order is that of any product: bias, then k ascending, then clamp,
//! then residual.

use std::mem::MaybeUninit;

use super::Pairs;
use super::lanes::{HALF, LANES, Lanes};
use super::product::BASE;

/// The most pairs of a register tile.
pub(super) const PAIRS_MAX: usize = 12;

const _: () = assert!(PAIRS_MAX.is_multiple_of(BASE));

/// The product over all pixels and channels.
///
/// # Safety
/// The processor must have `V`'s instructions; `Kernels::pairs_append` has checked every length.
#[inline(always)]
pub(super) unsafe fn pairs<V: Lanes>(product: &Pairs, out: &mut [MaybeUninit<f32>]) {
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
            weights: unsafe { product.weights.as_ptr().add(channel / HALF * vector_len(product.depth)) },
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

/// Pairs of a register tile, which has as many sums as that of any product.
const fn most<V: Lanes, const VECTORS: usize>() -> usize {
    let pairs = V::PIXELS * V::GROUPS / VECTORS;
    if pairs < PAIRS_MAX { pairs } else { PAIRS_MAX }
}

/// Packed weights of eight channels.
pub(super) fn vector_len(depth: usize) -> usize {
    depth.saturating_mul(LANES).saturating_add(LANES)
}

/// The next register tile of some channels: where it reads and writes.
struct Run<'a> {
    product: &'a Pairs<'a>,
    /// The first pair's.
    values: *const f32,
    weights: *const f32,
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
        let tiles = pairs.div_ceil(most::<V, VECTORS>());
        // Evenly cut, as those of other products are.
        let (size, larger) = (pairs / tiles, pairs % tiles);
        for (pairs, count) in [(size + 1, larger), (size, tiles - larger)] {
            assert!(count == 0 || pairs <= most::<V, VECTORS>(), "tiles are cut to the most there can be");
            // SAFETY: passed on from `pairs`.
            sized!(pairs of most::<V, VECTORS>() => |PAIRS| unsafe { self.tiles::<V, VECTORS, PAIRS>(count) });
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
                    std::array::from_fn(|vector| self.weights.add(vector * vector_len(depth)));
                let bias: [V; VECTORS] = std::array::from_fn(|vector| V::load(weights[vector]));
                let mut sums = [bias; PAIRS];
                let mut bases: [*const f32; PAIRS_MAX / BASE] =
                    std::array::from_fn(|base| self.values.wrapping_add(base * BASE * stride));
                for _ in 0..depth {
                    let w: [V; VECTORS] = std::array::from_fn(|vector| {
                        weights[vector] = weights[vector].add(LANES);
                        V::load(weights[vector])
                    });
                    unrolled!(pair in PAIRS => {
                        let value = V::load_pair(bases[pair / BASE].wrapping_add(pair % BASE * stride));
                        for vector in 0..VECTORS {
                            sums[pair][vector] = value.mul_add(w[vector], sums[pair][vector]);
                        }
                    });
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
        // SAFETY: passed on from `pairs`.
        unsafe {
            self.put_group(at, self.lanes.min(LANES), first);
            if let Some(second) = second {
                self.put_group(at + LANES, self.lanes - LANES, second);
            }
        }
    }

    #[inline(always)]
    unsafe fn put_group<V: Lanes>(&self, at: usize, lanes: usize, mut value: V) {
        let residual = self.product.residual.map(|residual| residual.as_ptr().wrapping_add(at));
        let to = self.out.wrapping_add(at);
        // SAFETY: passed on from `pairs`.
        unsafe {
            if lanes == LANES {
                if let Some(residual) = residual {
                    value = value.add(V::load(residual));
                }
                value.store(to);
            } else {
                if let Some(residual) = residual {
                    value = value.add(V::load_first(residual, lanes));
                }
                value.store_first(to, lanes);
            }
        }
    }
}
