//! The 3x3 depthwise convolution, one output row at a time: each number is a chain over its nine taps.
//!
//! Chain order is bias, then the taps row by row, then clamp. A tap that falls into the padding is left out of the
//! chain, in every instruction set alike.

use super::lanes::{LANES, Lanes};
use super::{Clamp, DepthwiseRow, TAPS};

/// The most output pixels that a tile has an arm for.
pub(super) const PIXELS_MAX: usize = 8;

/// One output row.
///
/// # Safety
/// The processor must have `V`'s instructions; `Kernels::depthwise_row` has checked every length.
#[inline(always)]
pub(super) unsafe fn depthwise_row<V: Lanes>(row: &DepthwiseRow, weights: &[f32], clamp: Clamp, out: &mut [f32]) {
    let out_width = out.len() / row.channels;
    let plan = Plan::of(row, out_width);
    let whole = row.channels / LANES * LANES;
    // SAFETY: lengths were checked for the whole row and all groups.
    unsafe {
        let run = Run {
            weights: weights.as_ptr(),
            rows: row.rows.map(|r| r.map(<[f32]>::as_ptr)),
            out: out.as_mut_ptr(),
            row,
            clamp,
        };
        for pixel in 0..out_width {
            // Networks have whole groups; others need not be fast.
            let from = if (plan.from..plan.to).contains(&pixel) { whole } else { 0 };
            (from..row.channels).step_by(LANES).for_each(|channel| lone::<V>(&run, pixel, channel));
        }
        // Evenly cut: 14 pixels are 7 and 7 rather than 8 and 6. Those of one kind are run together.
        let (pixels, tiles) = (plan.to - plan.from, (plan.to - plan.from).div_ceil(V::DEPTHWISE_PIXELS));
        let (size, larger) = (pixels / tiles.max(1), pixels % tiles.max(1));
        let kind = |tile| (size + usize::from(tile < larger), plan.left && tile == 0, plan.right && tile + 1 == tiles);
        let (mut tile, mut from) = (0, plan.from);
        while tile < tiles {
            let alike = (tile..tiles).take_while(|other| kind(*other) == kind(tile)).count();
            let (size, left, right) = kind(tile);
            match (row.stride, left, right) {
                (1, false, false) => tiles_of_stride_1::<V, false, false>(&run, from, size, alike),
                (1, true, false) => tiles_of_stride_1::<V, true, false>(&run, from, size, alike),
                (1, false, true) => tiles_of_stride_1::<V, false, true>(&run, from, size, alike),
                (1, true, true) => tiles_of_stride_1::<V, true, true>(&run, from, size, alike),
                (_, false, false) => tiles_of_stride_2::<V, false, false>(&run, from, size, alike),
                (_, true, false) => tiles_of_stride_2::<V, true, false>(&run, from, size, alike),
                (_, false, true) => tiles_of_stride_2::<V, false, true>(&run, from, size, alike),
                (_, true, true) => tiles_of_stride_2::<V, true, true>(&run, from, size, alike),
            }
            tile += alike;
            from += alike * size;
        }
    }
}

/// Which output pixels are made in tiles; the others one by one.
struct Plan {
    from: usize,
    to: usize,
    /// Whether the first column of the first of them lies in the padding.
    left: bool,
    /// Whether the last column of the last of them does.
    right: bool,
}

impl Plan {
    fn of(row: &DepthwiseRow, out_width: usize) -> Plan {
        // Strides that no network of the family has are left to the code for lone pixels.
        if row.stride > 2 {
            return Plan { from: 0, to: 0, left: false, right: false };
        }
        // The pixels whose three columns all lie inside the row; none when the row is narrower than the kernel.
        let inner_from = row.pad_left.div_ceil(row.stride).min(out_width);
        let inner_to = match (row.width + row.pad_left).checked_sub(3) {
            Some(last) => (last / row.stride + 1).clamp(inner_from, out_width),
            None => inner_from,
        };
        if inner_from == inner_to {
            return Plan { from: 0, to: 0, left: false, right: false };
        }
        let left = inner_from == 1 && row.pad_left == 1;
        let right = inner_to + 1 == out_width && inner_to * row.stride + 2 == row.pad_left + row.width;
        Plan { from: inner_from - usize::from(left), to: inner_to + usize::from(right), left, right }
    }
}

/// The row that is being made.
struct Run<'a> {
    weights: *const f32,
    rows: [Option<*const f32>; 3],
    out: *mut f32,
    row: &'a DepthwiseRow<'a>,
    clamp: Clamp,
}

/// One group of channels of a pixel, whatever of it lies in the padding.
#[inline(always)]
unsafe fn lone<V: Lanes>(run: &Run, pixel: usize, channel: usize) {
    let DepthwiseRow { channels, width, stride, pad_left, .. } = *run.row;
    let lanes = (channels - channel).min(LANES);
    // SAFETY: passed on from `depthwise_row`.
    unsafe {
        let weights = run.weights.add(channel * (TAPS + 1));
        let mut sum = V::load(weights);
        for (ky, row) in run.rows.iter().enumerate() {
            let Some(row) = row else { continue };
            for kx in 0..3 {
                let column = (pixel * stride + kx).wrapping_sub(pad_left);
                // A column left of the row wraps to a huge number.
                if column < width {
                    let x = V::load_first(row.add(column * channels + channel), lanes);
                    sum = x.mul_add(V::load(weights.add((1 + ky * 3 + kx) * LANES)), sum);
                }
            }
        }
        let value = sum.clamp(V::splat(run.clamp.low), V::splat(run.clamp.high));
        value.store_first(run.out.add(pixel * channels + channel), lanes);
    }
}

/// So many tiles in a row of `pixels` neighbours each, which read `(pixels - 1) * stride + 3` columns.
macro_rules! tiles_of {
    ($name:ident, $stride:literal) => {
        #[inline(always)]
        unsafe fn $name<V: Lanes, const LEFT: bool, const RIGHT: bool>(
            run: &Run,
            from: usize,
            pixels: usize,
            count: usize,
        ) {
            // SAFETY: passed on from `depthwise_row`.
            unsafe {
                match pixels {
                    0 => {}
                    1 => tiles::<V, LEFT, RIGHT, $stride, 1, 3>(run, from, count),
                    2 => tiles::<V, LEFT, RIGHT, $stride, 2, { $stride + 3 }>(run, from, count),
                    3 => tiles::<V, LEFT, RIGHT, $stride, 3, { 2 * $stride + 3 }>(run, from, count),
                    4 => tiles::<V, LEFT, RIGHT, $stride, 4, { 3 * $stride + 3 }>(run, from, count),
                    5 => tiles::<V, LEFT, RIGHT, $stride, 5, { 4 * $stride + 3 }>(run, from, count),
                    6 => tiles::<V, LEFT, RIGHT, $stride, 6, { 5 * $stride + 3 }>(run, from, count),
                    7 => tiles::<V, LEFT, RIGHT, $stride, 7, { 6 * $stride + 3 }>(run, from, count),
                    PIXELS_MAX => tiles::<V, LEFT, RIGHT, $stride, PIXELS_MAX, { (PIXELS_MAX - 1) * $stride + 3 }>(
                        run, from, count,
                    ),
                    _ => unreachable!("tiles are cut to V::DEPTHWISE_PIXELS"),
                }
            }
        }
    };
}

tiles_of!(tiles_of_stride_1, 1);
tiles_of!(tiles_of_stride_2, 2);

/// Neighbours whose columns all lie inside the row, but perhaps for the first of all and the last of all: group by
/// group, all groups that are whole. A column is loaded once for all the pixels that read it.
#[inline(always)]
unsafe fn tiles<
    V: Lanes,
    const LEFT: bool,
    const RIGHT: bool,
    const STRIDE: usize,
    const PIXELS: usize,
    const COLUMNS: usize,
>(
    run: &Run,
    from: usize,
    count: usize,
) {
    // SAFETY: passed on from `depthwise_row`.
    unsafe {
        let channels = run.row.channels;
        let clamp = (V::splat(run.clamp.low), V::splat(run.clamp.high));
        for tile in 0..count {
            let from = from + tile * PIXELS;
            // Left of the row in a tile that begins in the padding.
            let mut first = (from * STRIDE).wrapping_sub(run.row.pad_left).wrapping_mul(channels);
            let (mut weights, mut out) = (run.weights, run.out.add(from * channels));
            for _ in 0..channels / LANES {
                let mut sums = [V::load(weights); PIXELS];
                weights = weights.add(LANES);
                for row in run.rows {
                    let Some(row) = row else {
                        weights = weights.add(3 * LANES);
                        continue;
                    };
                    let mut x = row.wrapping_add(first);
                    let columns: [V; COLUMNS] = std::array::from_fn(|column| {
                        let there = !(LEFT && column == 0 || RIGHT && column == COLUMNS - 1);
                        let loaded = if there { V::load(x) } else { V::splat(0.0) };
                        x = x.wrapping_add(channels);
                        loaded
                    });
                    for kx in 0..3 {
                        let w = V::load(weights);
                        weights = weights.add(LANES);
                        unrolled!(pixel in PIXELS => {
                            let in_padding = LEFT && pixel == 0 && kx == 0 || RIGHT && pixel == PIXELS - 1 && kx == 2;
                            if !in_padding {
                                sums[pixel] = columns[pixel * STRIDE + kx].mul_add(w, sums[pixel]);
                            }
                        });
                    }
                }
                let mut to = out;
                unrolled!(pixel in PIXELS => {
                    sums[pixel].clamp(clamp.0, clamp.1).store(to);
                    to = to.wrapping_add(channels);
                });
                first = first.wrapping_add(LANES);
                out = out.add(LANES);
            }
        }
    }
}
