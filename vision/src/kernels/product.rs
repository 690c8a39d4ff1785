//! Convolution as a matrix product: every output number is one chain of fused multiply-adds.
//!
//! A register tile holds some pixels times one, one and a half or two groups of sixteen channels and runs through all
//! of k at once, so that a number is never put down half-summed: chain order is bias, then k ascending, then clamp,
//! then residual.

use std::mem::MaybeUninit;

use super::lanes::{HALF, LANES, Lanes};
use super::{Clamp, Product};

/// The largest register tile that [`tile_of`] has an arm for.
pub(super) const PIXELS_MAX: usize = 12;

/// The product over all pixels and channels.
///
/// # Safety
/// The processor must have `V`'s instructions; `Kernels::product` has checked every length.
#[inline(always)]
pub(super) unsafe fn product<V: Lanes>(product: &Product, out: &mut [MaybeUninit<f32>]) {
    let Product { x, weights, channels, clamp, residual } = *product;
    let group_len = (x.depth() + 1) * LANES;
    let tiles = x.pixels.div_ceil(V::PIXELS).max(1);
    // Evenly cut: 49 pixels are 10, 10, 10, 10, 9 rather than four times 12 and a lonely one.
    let (size, larger) = (x.pixels / tiles, x.pixels % tiles);
    let mut channel = 0;
    // Weights outside, pixels inside: a group's weights stay in the nearest cache while all pixels pass by.
    while channel < channels {
        let groups = V::GROUPS.min((channels - channel).div_ceil(LANES));
        let mut from = 0;
        for index in 0..tiles {
            let pixels = size + usize::from(index < larger);
            // SAFETY: lengths were checked for all pixels and channels, and the tile lies within both.
            unsafe {
                let tile = Tile {
                    x: x.values.as_ptr().add(from * x.stride),
                    x_stride: x.stride,
                    segments: x.segments,
                    segment_len: x.segment_len,
                    weights: weights.as_ptr().add(channel / LANES * group_len),
                    group_len,
                    // The groups that come next, whose weights may be far away; once is enough.
                    ahead: if index == 0 { groups * group_len } else { 0 },
                    lanes: (channels - channel).min(groups * LANES),
                    clamp,
                    residual: residual.map(|r| r.as_ptr().add(from * channels + channel)),
                    out: out.as_mut_ptr().cast::<f32>().add(from * channels + channel),
                    out_stride: channels,
                };
                match groups {
                    1 => tile_of::<V, 1, false>(&tile, pixels),
                    _ if tile.lanes <= LANES + HALF => tile_of::<V, 1, true>(&tile, pixels),
                    _ => tile_of::<V, 2, false>(&tile, pixels),
                }
            }
            from += pixels;
        }
        channel += groups * LANES;
    }
}

/// Where one register tile reads and writes.
struct Tile<'a> {
    x: *const f32,
    x_stride: usize,
    segments: &'a [usize],
    segment_len: usize,
    weights: *const f32,
    group_len: usize,
    /// How far ahead weights are asked for.
    ahead: usize,
    /// Channels written, counted over all groups: only the last group can be partly filled.
    lanes: usize,
    clamp: Clamp,
    residual: Option<*const f32>,
    out: *mut f32,
    out_stride: usize,
}

#[inline(always)]
unsafe fn tile_of<V: Lanes, const GROUPS: usize, const HALVED: bool>(tile: &Tile, pixels: usize) {
    // SAFETY: passed on from `product`.
    unsafe {
        match pixels {
            0 => {}
            1 => run::<V, 1, GROUPS, HALVED>(tile),
            2 => run::<V, 2, GROUPS, HALVED>(tile),
            3 => run::<V, 3, GROUPS, HALVED>(tile),
            4 => run::<V, 4, GROUPS, HALVED>(tile),
            5 => run::<V, 5, GROUPS, HALVED>(tile),
            6 => run::<V, 6, GROUPS, HALVED>(tile),
            7 => run::<V, 7, GROUPS, HALVED>(tile),
            8 => run::<V, 8, GROUPS, HALVED>(tile),
            9 => run::<V, 9, GROUPS, HALVED>(tile),
            10 => run::<V, 10, GROUPS, HALVED>(tile),
            11 => run::<V, 11, GROUPS, HALVED>(tile),
            PIXELS_MAX => run::<V, PIXELS_MAX, GROUPS, HALVED>(tile),
            _ => unreachable!("tiles are cut to V::PIXELS"),
        }
    }
}

#[inline(always)]
unsafe fn run<V: Lanes, const PIXELS: usize, const GROUPS: usize, const HALVED: bool>(tile: &Tile) {
    // SAFETY: passed on from `product`.
    unsafe { if HALVED { run_halved::<V, PIXELS>(tile) } else { run_whole::<V, PIXELS, GROUPS>(tile) } }
}

/// A tile of whole groups, the last of which may be partly filled.
#[inline(always)]
unsafe fn run_whole<V: Lanes, const PIXELS: usize, const GROUPS: usize>(tile: &Tile) {
    // SAFETY: passed on from `product`.
    unsafe {
        let mut weights: [*const f32; GROUPS] = std::array::from_fn(|g| tile.weights.add(g * tile.group_len));
        let bias: [V; GROUPS] = std::array::from_fn(|g| V::load(weights[g]));
        let mut sums = [bias; PIXELS];
        for &segment in tile.segments {
            let x = tile.x.add(segment);
            for k in 0..tile.segment_len {
                let w: [V; GROUPS] = std::array::from_fn(|g| {
                    weights[g] = weights[g].add(LANES);
                    V::prefetch(weights[g].wrapping_add(tile.ahead));
                    V::load(weights[g])
                });
                for (pixel, sums) in sums.iter_mut().enumerate() {
                    let value = V::splat(*x.add(pixel * tile.x_stride + k));
                    for g in 0..GROUPS {
                        sums[g] = value.mul_add(w[g], sums[g]);
                    }
                }
            }
        }
        unrolled!(pixel in PIXELS => {
            for (g, sum) in sums[pixel].iter().enumerate() {
                tile.put(pixel, g, *sum);
            }
        });
    }
}

/// A tile of one group and half of another.
#[inline(always)]
unsafe fn run_halved<V: Lanes, const PIXELS: usize>(tile: &Tile) {
    // SAFETY: passed on from `product`.
    unsafe {
        let mut weights = tile.weights;
        let mut sums = [V::load(weights); PIXELS];
        let mut halves = [V::load_half(weights.add(tile.group_len)); PIXELS];
        for &segment in tile.segments {
            let x = tile.x.add(segment);
            for k in 0..tile.segment_len {
                weights = weights.add(LANES);
                let (w, w_half) = (V::load(weights), V::load_half(weights.add(tile.group_len)));
                unrolled!(pixel in PIXELS => {
                    let value = V::splat(*x.add(pixel * tile.x_stride + k));
                    sums[pixel] = value.mul_add(w, sums[pixel]);
                    halves[pixel] = V::mul_add_half(value.first_half(), w_half, halves[pixel]);
                });
            }
        }
        unrolled!(pixel in PIXELS => tile.put(pixel, 0, sums[pixel]));
        unrolled!(pixel in PIXELS => tile.put(pixel, 1, V::widen(halves[pixel])));
    }
}

impl Tile<'_> {
    /// Clamps a sum, adds the residual, and writes it down.
    #[inline(always)]
    unsafe fn put<V: Lanes>(&self, pixel: usize, group: usize, sum: V) {
        let at = pixel * self.out_stride + group * LANES;
        let lanes = self.lanes - group * LANES;
        // SAFETY: passed on from `product`.
        unsafe {
            let mut value = sum.clamp(V::splat(self.clamp.low), V::splat(self.clamp.high));
            if lanes >= LANES {
                if let Some(residual) = self.residual {
                    value = value.add(V::load(residual.add(at)));
                }
                value.store(self.out.add(at));
            } else {
                if let Some(residual) = self.residual {
                    value = value.add(V::load_first(residual.add(at), lanes));
                }
                value.store_first(self.out.add(at), lanes);
            }
        }
    }
}
