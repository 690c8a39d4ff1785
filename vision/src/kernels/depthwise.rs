//! The 3x3 depthwise convolution, one output row at a time: each number is a chain over its nine taps.
//!
//! Chain order is bias, then the taps row by row, then clamp. A tap that falls into the padding is left out of the
//! chain, in every instruction set alike.

use super::lanes::{LANES, Lanes};
use super::{Clamp, DepthwiseRow, TAPS};

/// The most output pixels that [`tile_of`] has an arm for.
pub(super) const PIXELS_MAX: usize = 8;

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
    // Strides that no network of the family has are left to the code for edges.
    let inner_to = if row.stride <= 2 { inner_to } else { inner_from };
    let inner = inner_to - inner_from;
    let tiles = inner.div_ceil(V::DEPTHWISE_PIXELS);
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
                match (row.stride, group.lanes == LANES) {
                    (1, true) => tile_of_stride_1::<V, true>(&group, from, to - from),
                    (1, false) => tile_of_stride_1::<V, false>(&group, from, to - from),
                    (_, true) => tile_of_stride_2::<V, true>(&group, from, to - from),
                    (_, false) => tile_of_stride_2::<V, false>(&group, from, to - from),
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

/// A tile of `pixels` neighbours, which read `(pixels - 1) * stride + 3` columns.
macro_rules! tile_of {
    ($name:ident, $stride:literal) => {
        #[inline(always)]
        unsafe fn $name<V: Lanes, const FULL: bool>(group: &Group, from: usize, pixels: usize) {
            // SAFETY: passed on from `depthwise_row`.
            unsafe {
                match pixels {
                    0 => {}
                    1 => inner::<V, FULL, $stride, 1, 3>(group, from),
                    2 => inner::<V, FULL, $stride, 2, { $stride + 3 }>(group, from),
                    3 => inner::<V, FULL, $stride, 3, { 2 * $stride + 3 }>(group, from),
                    4 => inner::<V, FULL, $stride, 4, { 3 * $stride + 3 }>(group, from),
                    5 => inner::<V, FULL, $stride, 5, { 4 * $stride + 3 }>(group, from),
                    6 => inner::<V, FULL, $stride, 6, { 5 * $stride + 3 }>(group, from),
                    7 => inner::<V, FULL, $stride, 7, { 6 * $stride + 3 }>(group, from),
                    PIXELS_MAX => {
                        inner::<V, FULL, $stride, PIXELS_MAX, { (PIXELS_MAX - 1) * $stride + 3 }>(group, from)
                    }
                    _ => unreachable!("tiles are cut to V::DEPTHWISE_PIXELS"),
                }
            }
        }
    };
}

tile_of!(tile_of_stride_1, 1);
tile_of!(tile_of_stride_2, 2);

/// Pixels whose columns all lie inside the row. A column is loaded once for all the pixels that read it.
#[inline(always)]
unsafe fn inner<V: Lanes, const FULL: bool, const STRIDE: usize, const PIXELS: usize, const COLUMNS: usize>(
    group: &Group,
    from: usize,
) {
    // SAFETY: passed on from `depthwise_row`.
    unsafe {
        let channels = group.row.channels;
        let column = from * STRIDE - group.row.pad_left;
        let mut sums = [V::load(group.weights); PIXELS];
        for (ky, row) in group.rows.iter().enumerate() {
            let Some(row) = row else { continue };
            let x = row.add(column * channels);
            let columns: [V; COLUMNS] = std::array::from_fn(|column| group.load::<V, FULL>(x.add(column * channels)));
            for kx in 0..3 {
                let w = V::load(group.weights.add((1 + ky * 3 + kx) * LANES));
                for (pixel, sum) in sums.iter_mut().enumerate() {
                    *sum = columns[pixel * STRIDE + kx].mul_add(w, *sum);
                }
            }
        }
        for (pixel, sum) in sums.into_iter().enumerate() {
            group.store::<V, FULL>(sum, from + pixel);
        }
    }
}
