//! Convolution as a matrix product: every output number is one chain of fused multiply-adds.
//!
//! A register tile holds some pixels times one or two groups of sixteen channels and runs through all of k at once, so
//! that a number is never put down half-summed: chain order is bias, then k ascending, then clamp, then residual.

use std::mem::MaybeUninit;

use super::lanes::{LANES, Lanes};
use super::pack::group_len;
use super::{Arithmetic, Clamp, Patches, Product, SIZE_MAX};

/// Pixels that one pointer serves: an address of x86 is a pointer and once or twice an index register.
pub(super) const BASE: usize = 3;

/// Pointers of the largest tile.
pub(super) const BASES: usize = SIZE_MAX.div_ceil(BASE);

/// The product over all pixels and channels.
///
/// # Safety
/// The processor must have `V`'s instructions; `Kernels::product` has checked every length.
#[inline(always)]
pub(super) unsafe fn product<V: Lanes>(product: &Product, out: &mut [MaybeUninit<f32>]) {
    let Product { x, weights, channels, clamp, residual, layout, next } = *product;
    let group_len = group_len(Arithmetic::F32, x.depth());
    let (out_stride, out_apart) = layout.strides(channels);
    let written = layout.written(channels);
    let tiles = x.pixels.div_ceil(V::PIXELS);
    // Evenly cut: 49 pixels are 10, 10, 10, 10, 9 rather than four times 12 and a lonely one.
    let (size, larger) = (x.pixels / tiles, x.pixels % tiles);
    let steps = tiles * x.depth();
    let mut next = Ahead::of(next, weights, channels.div_ceil(V::GROUPS * LANES) * steps);
    let mut channel = 0;
    // Weights outside, pixels inside: a group's weights stay in the nearest cache while all pixels pass by.
    while channel < channels {
        let groups = V::GROUPS.min((channels - channel).div_ceil(LANES));
        // SAFETY: lengths were checked for all pixels and channels, and the tiles lie within both.
        unsafe {
            let (these, behind) = weights[channel / LANES * group_len..].split_at(groups * group_len);
            let behind = &behind[..behind.len().min(these.len())];
            let mut run = Run {
                x: &x,
                values: x.values.as_ptr(),
                weights: these.as_ptr(),
                group_len,
                ahead: [Ahead::of(behind, weights, steps), next],
                lanes: (written - channel).min(groups * LANES),
                clamp,
                residual: residual.map(|r| r.as_ptr().add(channel)),
                out: out.as_mut_ptr().cast::<f32>().add(channel / LANES * out_apart),
                out_stride,
                out_apart,
            };
            for (pixels, count) in [(size + 1, larger), (size, tiles - larger)] {
                match groups {
                    1 => tiles_of::<V, 1>(&mut run, pixels, count),
                    _ => tiles_of::<V, 2>(&mut run, pixels, count),
                }
            }
            next = run.ahead[1];
        }
        channel += groups * LANES;
    }
}

/// The next register tile of some groups of channels: where it reads and writes.
struct Run<'a> {
    x: &'a Patches<'a>,
    /// The first pixel's.
    values: *const f32,
    weights: *const f32,
    group_len: usize,
    /// What comes next: the weights after these, and what is read after the product.
    ahead: [Ahead; 2],
    /// Channels written, counted over all groups: only the last group can be partly filled.
    lanes: usize,
    clamp: Clamp,
    residual: Option<*const f32>,
    out: *mut f32,
    /// Numbers from one pixel to the next, and from one group to the next.
    out_stride: usize,
    out_apart: usize,
}

/// Memory that will be read soon: where it is asked for at the next k, and how far to go on in it.
#[derive(Clone, Copy)]
struct Ahead {
    from: *const f32,
    step: usize,
}

impl Ahead {
    /// As much of these numbers as there are steps for, a line at each; `near` is asked for where there are none, since
    /// no address costs as much as one that is nowhere.
    fn of(numbers: &[f32], near: &[f32], steps: usize) -> Ahead {
        match numbers {
            [] => Ahead { from: near.as_ptr(), step: 0 },
            _ => Ahead { from: numbers.as_ptr(), step: numbers.len().div_ceil(steps).min(LANES) },
        }
    }
}

/// So many tiles of so many pixels each.
#[inline(always)]
unsafe fn tiles_of<V: Lanes, const GROUPS: usize>(run: &mut Run, pixels: usize, count: usize) {
    if count == 0 {
        return;
    }
    // SAFETY: passed on from `product`.
    sized!(pixels of V::PIXELS => |PIXELS| unsafe { tiles::<V, PIXELS, GROUPS>(run, count) });
}

#[inline(always)]
unsafe fn tiles<V: Lanes, const PIXELS: usize, const GROUPS: usize>(run: &mut Run, count: usize) {
    // SAFETY: passed on from `product`.
    unsafe {
        for _ in 0..count {
            tile::<V, PIXELS, GROUPS>(run);
            run.values = run.values.wrapping_add(PIXELS * run.x.stride);
            run.out = run.out.wrapping_add(PIXELS * run.out_stride);
            run.residual = run.residual.map(|residual| residual.wrapping_add(PIXELS * run.out_stride));
        }
    }
}

/// One tile of groups, the last of which may be partly filled.
#[inline(always)]
unsafe fn tile<V: Lanes, const PIXELS: usize, const GROUPS: usize>(run: &mut Run) {
    // SAFETY: passed on from `product`.
    unsafe {
        let mut weights: [*const f32; GROUPS] = std::array::from_fn(|g| run.weights.add(g * run.group_len));
        let bias: [V; GROUPS] = std::array::from_fn(|g| V::load(weights[g]));
        let mut sums = [bias; PIXELS];
        let mut ahead = run.ahead;
        for &segment in run.x.segments {
            let x = run.values.add(segment);
            let mut bases: [*const f32; BASES] = std::array::from_fn(|base| x.wrapping_add(base * BASE * run.x.stride));
            for _ in 0..run.x.segment_len {
                for ahead in &mut ahead {
                    V::prefetch(ahead.from);
                    ahead.from = ahead.from.wrapping_add(ahead.step);
                }
                let w: [V; GROUPS] = std::array::from_fn(|g| {
                    weights[g] = weights[g].add(LANES);
                    V::load(weights[g])
                });
                unrolled!(pixel in PIXELS => {
                    let value = V::splat(*bases[pixel / BASE].wrapping_add(pixel % BASE * run.x.stride));
                    for g in 0..GROUPS {
                        sums[pixel][g] = value.mul_add(w[g], sums[pixel][g]);
                    }
                });
                for base in &mut bases[..PIXELS.div_ceil(BASE)] {
                    *base = V::opaque(base.wrapping_add(1));
                }
            }
        }
        run.ahead = ahead;
        unrolled!(pixel in PIXELS => {
            for (g, sum) in sums[pixel].iter().enumerate() {
                run.put(pixel, g, *sum);
            }
        });
    }
}

impl Run<'_> {
    /// Clamps a sum, adds the residual, and writes it down.
    #[inline(always)]
    unsafe fn put<V: Lanes>(&self, pixel: usize, group: usize, sum: V) {
        let at = pixel * self.out_stride + group * self.out_apart;
        let lanes = self.lanes - group * LANES;
        // SAFETY: passed on from `product`.
        unsafe {
            let value = sum.clamp(V::splat(self.clamp.low), V::splat(self.clamp.high));
            let residual = self.residual.map(|residual| residual.wrapping_add(at));
            value.put_added(residual, self.out.add(at), lanes);
        }
    }
}
