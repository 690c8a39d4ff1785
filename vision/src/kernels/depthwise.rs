//! The 3x3 depthwise convolution, group by group of sixteen channels: each number is a chain over its nine taps.
//!
//! Chain order is bias, then the taps row by row, then clamp. A tap that falls into the padding is left out of the
//! chain, in every instruction set alike.

use super::lanes::{LANES, Lanes};
use super::{Depthwise, Form, TAPS};

/// Packed numbers of a group: its biases, and its weights tap by tap.
const TAPS_LEN: usize = (1 + TAPS) * LANES;

/// All rows of all groups. Groups are outside: a row is then read three times from the nearest cache, and where there are
/// enough registers a group's weights stay in them. Two groups at a time are split, which makes whole cache lines.
///
/// # Safety
/// The processor must have `V`'s instructions, and to split those of its `put_halves` too; `Kernels::depthwise` has
/// checked every length, and the form is that of the convolution.
#[inline(always)]
pub(super) unsafe fn depthwise<V: Lanes, const FORM: Forms>(conv: &Depthwise, out: &mut [f32]) {
    // Two by two where they are put down so.
    let unit = if FORM == PAIRS { 2 } else { 1 };
    let together = if FORM == HALVES { 2 } else { 1 };
    let plan = Plan::of(conv, V::DEPTHWISE_PIXELS, unit);
    for group in (0..conv.channels.div_ceil(LANES)).step_by(together) {
        // SAFETY: lengths were checked for all groups.
        unsafe {
            let out = out.as_mut_ptr().add(group * LANES * unit);
            Group::of::<FORM>(conv, group, out).columns::<V, FORM>(&plan);
        }
    }
}

/// [`Form`] as a constant that code can be compiled for, each form in a function of its own: the constants of one would
/// take registers from the tiles of another.
pub(super) type Forms = u8;
pub(super) const LAST: Forms = Form::ChannelsLast as Forms;
pub(super) const PAIRS: Forms = Form::Pairs as Forms;
pub(super) const HALVES: Forms = Form::Halves as Forms;

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
    /// Numbers from one pixel of the result to the next.
    pixel: usize,
    /// Channels that are written, from this group's first on.
    lanes: usize,
}

impl<'a> Group<'a> {
    /// From that number of the result on.
    ///
    /// # Safety
    /// `Kernels::depthwise` must have checked every length.
    #[inline(always)]
    unsafe fn of<const FORM: Forms>(conv: &'a Depthwise<'a>, group: usize, out: *mut f32) -> Group<'a> {
        let (pixel, most) = match FORM {
            HALVES => (conv.channels.next_multiple_of(2 * LANES), 2 * LANES),
            _ => (conv.channels, LANES),
        };
        // SAFETY: there are values and weights for all groups.
        unsafe {
            Group {
                conv,
                values: conv.values.as_ptr().add(group * conv.apart),
                weights: conv.weights.as_ptr().add(group * TAPS_LEN),
                out,
                pixel,
                lanes: (conv.channels - group * LANES).min(most),
            }
        }
    }

    /// All columns, those of one kind through all rows.
    #[inline(always)]
    unsafe fn columns<V: Lanes, const FORM: Forms>(&self, plan: &Plan) {
        // SAFETY: passed on from `depthwise`.
        unsafe {
            (0..plan.from).chain(plan.to..self.conv.width_out).for_each(|pixel| self.lone::<V, FORM>(pixel));
            let mut from = plan.from;
            for Tiles { count, pixels, left, right } in &plan.tiles[..plan.kinds] {
                match (self.conv.stride[1], left, right) {
                    (1, false, false) => tiles_of_stride_1::<V, FORM, false, false>(self, from, *pixels, *count),
                    (1, true, false) => tiles_of_stride_1::<V, FORM, true, false>(self, from, *pixels, *count),
                    (1, false, true) => tiles_of_stride_1::<V, FORM, false, true>(self, from, *pixels, *count),
                    (1, true, true) => tiles_of_stride_1::<V, FORM, true, true>(self, from, *pixels, *count),
                    (_, false, false) => tiles_of_stride_2::<V, FORM, false, false>(self, from, *pixels, *count),
                    (_, true, false) => tiles_of_stride_2::<V, FORM, true, false>(self, from, *pixels, *count),
                    (_, false, true) => tiles_of_stride_2::<V, FORM, false, true>(self, from, *pixels, *count),
                    (_, true, true) => tiles_of_stride_2::<V, FORM, true, true>(self, from, *pixels, *count),
                }
                from += count * pixels;
            }
        }
    }

    /// Each row of the result: the three that it reads, and where it goes.
    #[inline(always)]
    fn rows(&self) -> impl Iterator<Item = ([Option<*const f32>; 3], *mut f32)> {
        let Depthwise { rows, stride: [stride, _], width_out, .. } = *self.conv;
        rows.windows(3).step_by(stride).enumerate().map(move |(index, rows)| {
            let read = std::array::from_fn(|tap| rows[tap].map(|at| self.values.wrapping_add(at)));
            (read, self.out.wrapping_add(index * width_out * self.pixel))
        })
    }

    /// Where that column begins in a row, padding counted: left of the row in a tile that begins there.
    #[inline(always)]
    fn first(&self, column: usize) -> usize {
        column.wrapping_sub(self.conv.pad_left).wrapping_mul(LANES)
    }

    /// One pixel of all rows, whatever of it lies in the padding.
    #[inline(always)]
    unsafe fn lone<V: Lanes, const FORM: Forms>(&self, pixel: usize) {
        // SAFETY: passed on from `depthwise`.
        unsafe {
            for (rows, out) in self.rows() {
                let sum = self.lone_sum::<V>(self.weights, rows, pixel);
                match FORM {
                    PAIRS => self.put_half(out, pixel, sum),
                    HALVES => {
                        let other = match self.beside(rows) {
                            Some((weights, rows)) => self.lone_sum::<V>(weights, rows, pixel),
                            None => V::splat(0.0),
                        };
                        self.put_halves(out.add(pixel * self.pixel), [sum, other]);
                    }
                    _ => self.put(out.add(pixel * self.pixel), sum),
                }
            }
        }
    }

    /// One pixel of one row, not clamped yet.
    #[inline(always)]
    unsafe fn lone_sum<V: Lanes>(&self, weights: *const f32, rows: [Option<*const f32>; 3], pixel: usize) -> V {
        let Depthwise { width, pad_left, stride: [_, stride], .. } = *self.conv;
        // SAFETY: passed on from `depthwise`.
        unsafe {
            let mut sum = V::load(weights);
            for (ky, row) in rows.iter().enumerate() {
                let Some(row) = row else { continue };
                for kx in 0..3 {
                    let column = (pixel * stride + kx).wrapping_sub(pad_left);
                    // A column left of the row wraps to a huge number.
                    if column < width {
                        let w = V::load(weights.add((1 + ky * 3 + kx) * LANES));
                        sum = V::load(row.add(column * LANES)).mul_add(w, sum);
                    }
                }
            }
            sum
        }
    }

    /// Weights and rows of the next group, if there is one.
    #[inline(always)]
    fn beside(&self, rows: [Option<*const f32>; 3]) -> Option<(*const f32, [Option<*const f32>; 3])> {
        let rows = || rows.map(|row| row.map(|row| row.wrapping_add(self.conv.apart)));
        (self.lanes > LANES).then(|| (self.weights.wrapping_add(TAPS_LEN), rows()))
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

    /// The same, split, for a pixel of two groups.
    #[inline(always)]
    unsafe fn put_halves<V: Lanes>(&self, to: *mut f32, sums: [V; 2]) {
        // SAFETY: passed on from `depthwise`.
        unsafe {
            let [mut these, mut those] = [self.clamped(sums[0]), self.clamped(sums[1])];
            // Lanes that are no channels count as numbers from here on.
            if self.lanes < 2 * LANES {
                these = these.first(self.lanes);
                those = those.first(self.lanes.saturating_sub(LANES));
            }
            these.put_halves(those, to);
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
        unsafe fn $name<V: Lanes, const FORM: Forms, const LEFT: bool, const RIGHT: bool>(
            group: &Group,
            from: usize,
            pixels: usize,
            count: usize,
        ) {
            sized!(pixels of V::DEPTHWISE_PIXELS => |PIXELS| {
                const COLUMNS: usize = (PIXELS - 1) * $stride + 3;
                if const { FORM != PAIRS || PIXELS.is_multiple_of(2) } {
                    // SAFETY: passed on from `depthwise`.
                    unsafe {
                        match FORM {
                            HALVES => tiles_of_two::<V, LEFT, RIGHT, $stride, PIXELS, COLUMNS>(group, from, count),
                            _ => tiles::<V, FORM, LEFT, RIGHT, $stride, PIXELS, COLUMNS>(group, from, count),
                        }
                    };
                } else {
                    unreachable!("tiles of pairs are cut so");
                }
            });
        }
    };
}

tiles_of!(tiles_of_stride_1, 1);
tiles_of!(tiles_of_stride_2, 2);

/// Neighbours whose columns all lie inside the row, but perhaps for the first of all and the last of all.
#[inline(always)]
unsafe fn tiles<
    V: Lanes,
    const FORM: Forms,
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
        let taps = Taps::<V>::load(group.weights);
        let first = group.first(from * STRIDE);
        for (rows, out) in group.rows() {
            for tile in 0..count {
                let first = first.wrapping_add(tile * PIXELS * STRIDE * LANES);
                let mut to = out.add((from + tile * PIXELS) * group.pixel);
                let sums = taps.sums::<LEFT, RIGHT, STRIDE, PIXELS, COLUMNS>(rows, first);
                unrolled!(pixel in PIXELS => {
                    if FORM == LAST {
                        group.put(to, sums[pixel]);
                        to = to.wrapping_add(group.pixel);
                    } else if pixel % 2 == 1 {
                        group.put_pair(to, [sums[pixel & !1], sums[pixel]]);
                        to = to.wrapping_add(2 * group.pixel);
                    }
                });
            }
        }
    }
}

/// The same of this group and the next, if there is one, to be split. The weights of both would not stay in registers, and
/// are loaded for each tile.
#[inline(always)]
unsafe fn tiles_of_two<
    V: Lanes,
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
        let first = group.first(from * STRIDE);
        for (rows, out) in group.rows() {
            for tile in 0..count {
                let first = first.wrapping_add(tile * PIXELS * STRIDE * LANES);
                let taps = Taps::<V>::load(group.weights);
                let these = taps.sums::<LEFT, RIGHT, STRIDE, PIXELS, COLUMNS>(rows, first);
                let those = match group.beside(rows) {
                    Some((weights, rows)) => {
                        Taps::load(weights).sums::<LEFT, RIGHT, STRIDE, PIXELS, COLUMNS>(rows, first)
                    }
                    None => [V::splat(0.0); PIXELS],
                };
                let mut to = out.add((from + tile * PIXELS) * group.pixel);
                unrolled!(pixel in PIXELS => {
                    group.put_halves(to, [these[pixel], those[pixel]]);
                    to = to.wrapping_add(group.pixel);
                });
            }
        }
    }
}

/// The bias and the weights of a group.
struct Taps<V> {
    bias: V,
    weights: [V; TAPS],
}

impl<V: Lanes> Taps<V> {
    #[inline(always)]
    unsafe fn load(from: *const f32) -> Taps<V> {
        // SAFETY: passed on from `depthwise`.
        unsafe {
            let weights = std::array::from_fn(|tap| V::load(from.add((1 + tap) * LANES)));
            Taps { bias: V::load(from), weights }
        }
    }

    /// The sums of a tile, which begins at that number of each row. A column is loaded once for all the pixels that read
    /// it.
    #[inline(always)]
    unsafe fn sums<
        const LEFT: bool,
        const RIGHT: bool,
        const STRIDE: usize,
        const PIXELS: usize,
        const COLUMNS: usize,
    >(
        &self,
        rows: [Option<*const f32>; 3],
        first: usize,
    ) -> [V; PIXELS] {
        let mut sums = [self.bias; PIXELS];
        for (ky, row) in rows.iter().enumerate() {
            let Some(row) = row else { continue };
            // SAFETY: passed on from `depthwise`.
            unsafe {
                let columns: [V; COLUMNS] = std::array::from_fn(|column| {
                    let there = !(LEFT && column == 0 || RIGHT && column == COLUMNS - 1);
                    let at = row.wrapping_add(first).wrapping_add(column * LANES);
                    if there { V::load(at) } else { V::splat(0.0) }
                });
                for kx in 0..3 {
                    unrolled!(pixel in PIXELS => {
                        let in_padding = LEFT && pixel == 0 && kx == 0 || RIGHT && pixel == PIXELS - 1 && kx == 2;
                        if !in_padding {
                            let column = columns[pixel * STRIDE + kx];
                            sums[pixel] = column.mul_add(self.weights[ky * 3 + kx], sums[pixel]);
                        }
                    });
                }
            }
        }
        sums
    }
}
