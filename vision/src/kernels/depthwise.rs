//! The 3x3 depthwise convolution, group by group of sixteen channels: each number is a chain over its nine taps.
//!
//! Chain order is bias, then the taps row by row, then clamp. A tap that falls into the padding is left out of the
//! chain, in every instruction set alike.

use super::lanes::{LANES, Lanes};
use super::{Depthwise, TAPS};

/// All rows of all groups. Groups are outside: a row is then read three times from the nearest cache, and where there are
/// enough registers a group's weights stay in them.
///
/// # Safety
/// The processor must have `V`'s instructions; `Kernels::depthwise` has checked every length.
#[inline(always)]
pub(super) unsafe fn depthwise<V: Lanes>(conv: &Depthwise, out: &mut [f32]) {
    // Two by two where they are put down so.
    let unit = if conv.paired { 2 } else { 1 };
    let plan = Plan::of(conv, V::DEPTHWISE_PIXELS, unit);
    for group in 0..conv.channels.div_ceil(LANES) {
        // SAFETY: lengths were checked for all groups.
        unsafe {
            let group = Group {
                conv,
                values: conv.values.as_ptr().add(group * conv.apart),
                weights: conv.weights.as_ptr().add(group * (TAPS + 1) * LANES),
                out: out.as_mut_ptr().add(group * LANES * unit),
                lanes: (conv.channels - group * LANES).min(LANES),
            };
            if conv.paired { group.columns::<V, true>(&plan) } else { group.columns::<V, false>(&plan) }
        }
    }
}

/// How the output pixels of a row are made: some in tiles, the others one by one.
struct Plan {
    from: usize,
    to: usize,
    /// The tiles between the two, those of one kind together.
    tiles: [Tiles; KINDS],
    kinds: usize,
}

/// A tile may lie at either end and be one pixel, or pair, larger or not, in this order: so many kinds can follow each
/// other.
const KINDS: usize = 4;

/// Tiles of one kind.
#[derive(Clone, Copy, Default, PartialEq)]
struct Tiles {
    count: usize,
    pixels: usize,
    /// Whether the first column of the first pixel lies in the padding.
    left: bool,
    /// Whether the last column of the last pixel does.
    right: bool,
}

impl Plan {
    /// Of up to `most` pixels, and of a multiple of `unit`.
    fn of(conv: &Depthwise, most: usize, unit: usize) -> Plan {
        let Depthwise { width, width_out, pad_left, stride: [_, stride], .. } = *conv;
        // The pixels whose three columns all lie inside the row; none when the row is narrower than the kernel.
        let inner_from = pad_left.div_ceil(stride).min(width_out);
        let inner_to = match (width + pad_left).checked_sub(3) {
            Some(last) => (last / stride + 1).clamp(inner_from, width_out),
            None => inner_from,
        };
        let left = inner_from == 1 && pad_left == 1;
        let right = inner_to + 1 == width_out && inner_to * stride + 2 == pad_left + width;
        let from = (inner_from - usize::from(left)).next_multiple_of(unit);
        let to = (inner_to + usize::from(right)) / unit * unit;
        // Strides that no network of the family has are left to the code for lone pixels.
        if stride > 2 || inner_from == inner_to || from >= to {
            return Plan { from: 0, to: 0, tiles: [Tiles::default(); KINDS], kinds: 0 };
        }
        // Evenly cut: 14 pixels are 7 and 7 rather than 8 and 6.
        let units = (to - from) / unit;
        let count = units.div_ceil(most / unit);
        let (size, larger) = (units / count, units % count);
        let mut tiles = [Tiles::default(); KINDS];
        let mut kinds = 0usize;
        for tile in 0..count {
            let pixels = unit * (size + usize::from(tile < larger));
            let kind = Tiles {
                count: 1,
                pixels,
                left: from < inner_from && tile == 0,
                right: to > inner_to && tile + 1 == count,
            };
            match kinds.checked_sub(1).map(|last| &mut tiles[last]) {
                Some(last) if (Tiles { count: 1, ..*last }) == kind => last.count += 1,
                _ => {
                    tiles[kinds] = kind;
                    kinds += 1;
                }
            }
        }
        Plan { from, to, tiles, kinds }
    }
}

/// The group that is being made.
struct Group<'a> {
    conv: &'a Depthwise<'a>,
    values: *const f32,
    weights: *const f32,
    out: *mut f32,
    /// Channels that are written.
    lanes: usize,
}

impl Group<'_> {
    /// All columns, those of one kind through all rows.
    #[inline(always)]
    unsafe fn columns<V: Lanes, const PAIRED: bool>(&self, plan: &Plan) {
        // SAFETY: passed on from `depthwise`.
        unsafe {
            (0..plan.from).chain(plan.to..self.conv.width_out).for_each(|pixel| self.lone::<V, PAIRED>(pixel));
            let mut from = plan.from;
            for Tiles { count, pixels, left, right } in &plan.tiles[..plan.kinds] {
                match (self.conv.stride[1], left, right) {
                    (1, false, false) => tiles_of_stride_1::<V, PAIRED, false, false>(self, from, *pixels, *count),
                    (1, true, false) => tiles_of_stride_1::<V, PAIRED, true, false>(self, from, *pixels, *count),
                    (1, false, true) => tiles_of_stride_1::<V, PAIRED, false, true>(self, from, *pixels, *count),
                    (1, true, true) => tiles_of_stride_1::<V, PAIRED, true, true>(self, from, *pixels, *count),
                    (_, false, false) => tiles_of_stride_2::<V, PAIRED, false, false>(self, from, *pixels, *count),
                    (_, true, false) => tiles_of_stride_2::<V, PAIRED, true, false>(self, from, *pixels, *count),
                    (_, false, true) => tiles_of_stride_2::<V, PAIRED, false, true>(self, from, *pixels, *count),
                    (_, true, true) => tiles_of_stride_2::<V, PAIRED, true, true>(self, from, *pixels, *count),
                }
                from += count * pixels;
            }
        }
    }

    /// Each row of the result: the three that it reads, and where it goes.
    #[inline(always)]
    fn rows(&self) -> impl Iterator<Item = ([Option<*const f32>; 3], *mut f32)> {
        let Depthwise { rows, stride: [stride, _], width_out, channels, .. } = *self.conv;
        rows.windows(3).step_by(stride).enumerate().map(move |(index, rows)| {
            let read = std::array::from_fn(|tap| rows[tap].map(|at| self.values.wrapping_add(at)));
            (read, self.out.wrapping_add(index * width_out * channels))
        })
    }

    /// One pixel of all rows, whatever of it lies in the padding.
    #[inline(always)]
    unsafe fn lone<V: Lanes, const PAIRED: bool>(&self, pixel: usize) {
        let Depthwise { width, pad_left, stride: [_, stride], .. } = *self.conv;
        // SAFETY: passed on from `depthwise`.
        unsafe {
            for (rows, out) in self.rows() {
                let mut sum = V::load(self.weights);
                for (ky, row) in rows.iter().enumerate() {
                    let Some(row) = row else { continue };
                    for kx in 0..3 {
                        let column = (pixel * stride + kx).wrapping_sub(pad_left);
                        // A column left of the row wraps to a huge number.
                        if column < width {
                            let w = V::load(self.weights.add((1 + ky * 3 + kx) * LANES));
                            sum = V::load(row.add(column * LANES)).mul_add(w, sum);
                        }
                    }
                }
                if PAIRED {
                    self.put_half(out, pixel, sum);
                } else {
                    self.put(out.add(pixel * self.conv.channels), sum);
                }
            }
        }
    }

    /// Clamps the sums of a pixel and writes them down.
    #[inline(always)]
    unsafe fn put<V: Lanes>(&self, to: *mut f32, sum: V) {
        // SAFETY: passed on from `depthwise`.
        unsafe { self.clamped(sum).put(to, self.lanes) }
    }

    /// The same for two neighbours that are a pair.
    #[inline(always)]
    unsafe fn put_pair<V: Lanes>(&self, to: *mut f32, sums: [V; 2]) {
        // SAFETY: passed on from `depthwise`.
        unsafe {
            let (first, second) = self.clamped(sums[0]).pair(self.clamped(sums[1]));
            let numbers = 2 * self.lanes;
            first.put(to, numbers);
            if numbers > LANES {
                second.put(to.add(LANES), numbers - LANES);
            }
        }
    }

    /// The same for one of a pair.
    #[inline(always)]
    unsafe fn put_half<V: Lanes>(&self, out: *mut f32, pixel: usize, sum: V) {
        // SAFETY: passed on from `depthwise`.
        unsafe {
            let mut lanes = [0f32; LANES];
            self.clamped(sum).store(lanes.as_mut_ptr());
            // Beside the numbers of its neighbour.
            let to = out.add(pixel / 2 * 2 * self.conv.channels + pixel % 2);
            for (lane, value) in lanes[..self.lanes].iter().enumerate() {
                to.add(2 * lane).write(*value);
            }
        }
    }

    #[inline(always)]
    unsafe fn clamped<V: Lanes>(&self, sum: V) -> V {
        // SAFETY: passed on from `depthwise`.
        unsafe { sum.clamp(V::splat(self.conv.clamp.low), V::splat(self.conv.clamp.high)) }
    }
}

/// So many tiles in a row of `pixels` neighbours each, which read `(pixels - 1) * stride + 3` columns.
macro_rules! tiles_of {
    ($name:ident, $stride:literal) => {
        #[inline(always)]
        unsafe fn $name<V: Lanes, const PAIRED: bool, const LEFT: bool, const RIGHT: bool>(
            group: &Group,
            from: usize,
            pixels: usize,
            count: usize,
        ) {
            sized!(pixels of V::DEPTHWISE_PIXELS => |PIXELS| {
                const COLUMNS: usize = (PIXELS - 1) * $stride + 3;
                if const { !PAIRED || PIXELS.is_multiple_of(2) } {
                    // SAFETY: passed on from `depthwise`.
                    unsafe { tiles::<V, PAIRED, LEFT, RIGHT, $stride, PIXELS, COLUMNS>(group, from, count) };
                } else {
                    unreachable!("tiles of pairs are cut so");
                }
            });
        }
    };
}

tiles_of!(tiles_of_stride_1, 1);
tiles_of!(tiles_of_stride_2, 2);

/// Neighbours whose columns all lie inside the row, but perhaps for the first of all and the last of all. A column is
/// loaded once for all the pixels that read it.
#[inline(always)]
unsafe fn tiles<
    V: Lanes,
    const PAIRED: bool,
    const LEFT: bool,
    const RIGHT: bool,
    const STRIDE: usize,
    const PIXELS: usize,
    const COLUMNS: usize,
>(
    group: &Group,
    from: usize,
    count: usize,
) {
    // SAFETY: passed on from `depthwise`.
    unsafe {
        let bias = V::load(group.weights);
        let weights: [V; TAPS] = std::array::from_fn(|tap| V::load(group.weights.add((1 + tap) * LANES)));
        // Left of the row in a tile that begins in the padding.
        let first = (from * STRIDE).wrapping_sub(group.conv.pad_left).wrapping_mul(LANES);
        for (rows, out) in group.rows() {
            for tile in 0..count {
                let first = first.wrapping_add(tile * PIXELS * STRIDE * LANES);
                let mut sums = [bias; PIXELS];
                for (ky, row) in rows.iter().enumerate() {
                    let Some(row) = row else { continue };
                    let columns: [V; COLUMNS] = std::array::from_fn(|column| {
                        let there = !(LEFT && column == 0 || RIGHT && column == COLUMNS - 1);
                        let at = row.wrapping_add(first).wrapping_add(column * LANES);
                        if there { V::load(at) } else { V::splat(0.0) }
                    });
                    for kx in 0..3 {
                        unrolled!(pixel in PIXELS => {
                            let in_padding = LEFT && pixel == 0 && kx == 0 || RIGHT && pixel == PIXELS - 1 && kx == 2;
                            if !in_padding {
                                sums[pixel] = columns[pixel * STRIDE + kx].mul_add(weights[ky * 3 + kx], sums[pixel]);
                            }
                        });
                    }
                }
                let mut to = out.add((from + tile * PIXELS) * group.conv.channels);
                unrolled!(pixel in PIXELS => {
                    if !PAIRED {
                        group.put(to, sums[pixel]);
                        to = to.wrapping_add(group.conv.channels);
                    } else if pixel % 2 == 1 {
                        group.put_pair(to, [sums[pixel & !1], sums[pixel]]);
                        to = to.wrapping_add(2 * group.conv.channels);
                    }
                });
            }
        }
    }
}
