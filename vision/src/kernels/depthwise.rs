//! The 3x3 depthwise convolution, one output row at a time: each number is a chain over its nine taps.
//!
//! Chain order is bias, then the taps row by row, then clamp. A tap that falls into the padding is left out of the
//! chain, in every instruction set alike.

use super::lanes::{LANES, Lanes};
use super::{Clamp, DepthwiseRow, TAPS};

/// Output pixels that are summed side by side, so that a tap's weights are loaded once for all of them.
const PIXELS: usize = 8;

/// One output row.
///
/// # Safety
/// The processor must have `V`'s instructions; `Kernels::depthwise_row` has checked every length.
#[inline(always)]
pub(super) unsafe fn depthwise_row<V: Lanes>(row: &DepthwiseRow, weights: &[f32], clamp: Clamp, out: &mut [f32]) {
    let out_width = out.len() / row.channels;
    // The output pixels whose three columns all lie inside the row; none when the row is narrower than the kernel.
    let inner_from = row.pad_left.div_ceil(row.stride).min(out_width);
    let inner_to = match (row.width + row.pad_left).checked_sub(3) {
        Some(last) => (last / row.stride + 1).clamp(inner_from, out_width),
        None => inner_from,
    };
    let inner = inner_to - inner_from;
    let tiles = inner.div_ceil(PIXELS);
    for channel in (0..row.channels).step_by(LANES) {
        // SAFETY: lengths were checked for the whole row and all groups.
        unsafe {
            let group = Group {
                weights: weights.as_ptr().add(channel * (TAPS + 1)),
                rows: row.rows.map(|r| r.map(|r| r.as_ptr().add(channel))),
                out: out.as_mut_ptr().add(channel),
                row,
                clamp,
                lanes: (row.channels - channel).min(LANES),
            };
            for pixel in (0..inner_from).chain(inner_to..out_width) {
                edge::<V>(&group, pixel);
            }
            for index in 0..tiles {
                let from = inner_from + inner * index / tiles;
                let to = inner_from + inner * (index + 1) / tiles;
                if group.lanes == LANES {
                    tile_of::<V, true>(&group, from, to - from);
                } else {
                    tile_of::<V, false>(&group, from, to - from);
                }
            }
        }
    }
}

/// One group of channels of the row that is being made.
struct Group<'a> {
    weights: *const f32,
    rows: [Option<*const f32>; 3],
    out: *mut f32,
    row: &'a DepthwiseRow<'a>,
    clamp: Clamp,
    lanes: usize,
}

impl Group<'_> {
    #[inline(always)]
    unsafe fn load<V: Lanes, const FULL: bool>(&self, from: *const f32) -> V {
        // SAFETY: passed on from `depthwise_row`.
        unsafe { if FULL { V::load(from) } else { V::load_first(from, self.lanes) } }
    }

    #[inline(always)]
    unsafe fn store<V: Lanes, const FULL: bool>(&self, sum: V, pixel: usize) {
        // SAFETY: passed on from `depthwise_row`.
        unsafe {
            let value = sum.clamp(V::splat(self.clamp.low), V::splat(self.clamp.high));
            let to = self.out.add(pixel * self.row.channels);
            if FULL { value.store(to) } else { value.store_first(to, self.lanes) }
        }
    }
}

/// A pixel with columns in the padding.
#[inline(always)]
unsafe fn edge<V: Lanes>(group: &Group, pixel: usize) {
    // SAFETY: passed on from `depthwise_row`.
    unsafe {
        let mut sum = V::load(group.weights);
        for (ky, row) in group.rows.iter().enumerate() {
            let Some(row) = row else { continue };
            for kx in 0..3 {
                let column = (pixel * group.row.stride + kx).wrapping_sub(group.row.pad_left);
                // A column left of the row wraps to a huge number.
                if column < group.row.width {
                    let x: V = group.load::<V, false>(row.add(column * group.row.channels));
                    sum = x.mul_add(V::load(group.weights.add((1 + ky * 3 + kx) * LANES)), sum);
                }
            }
        }
        group.store::<V, false>(sum, pixel);
    }
}

#[inline(always)]
unsafe fn tile_of<V: Lanes, const FULL: bool>(group: &Group, from: usize, pixels: usize) {
    // SAFETY: passed on from `depthwise_row`.
    unsafe {
        match pixels {
            0 => {}
            1 => inner::<V, FULL, 1>(group, from),
            2 => inner::<V, FULL, 2>(group, from),
            3 => inner::<V, FULL, 3>(group, from),
            4 => inner::<V, FULL, 4>(group, from),
            5 => inner::<V, FULL, 5>(group, from),
            6 => inner::<V, FULL, 6>(group, from),
            7 => inner::<V, FULL, 7>(group, from),
            PIXELS => inner::<V, FULL, PIXELS>(group, from),
            _ => unreachable!("tiles are cut to PIXELS"),
        }
    }
}

/// Pixels whose columns all lie inside the row.
#[inline(always)]
unsafe fn inner<V: Lanes, const FULL: bool, const PIXELS: usize>(group: &Group, from: usize) {
    // SAFETY: passed on from `depthwise_row`.
    unsafe {
        let channels = group.row.channels;
        let step = group.row.stride * channels;
        let column = from * group.row.stride - group.row.pad_left;
        let mut sums = [V::load(group.weights); PIXELS];
        for (ky, row) in group.rows.iter().enumerate() {
            let Some(row) = row else { continue };
            for kx in 0..3 {
                let w = V::load(group.weights.add((1 + ky * 3 + kx) * LANES));
                let x = row.add((column + kx) * channels);
                for (pixel, sum) in sums.iter_mut().enumerate() {
                    *sum = group.load::<V, FULL>(x.add(pixel * step)).mul_add(w, *sum);
                }
            }
        }
        for (pixel, sum) in sums.into_iter().enumerate() {
            group.store::<V, FULL>(sum, from + pixel);
        }
    }
}
