//! Products of numbers that are split into bf16 halves, as plain loops: what [`Arithmetic::Bf16x3`] is defined by.
//!
//! A number is `high + low` ([`super::bf16`]). Of the four products of two such numbers the three larger ones are taken;
//! the fourth is below what f32 sums keep. Order for an output number: it starts at the bias; for every 32 of k come
//! high x low, high x high and low x high (inputs first), each one instruction `TDPBF16PS` of an AMX tile: a chain of
//! fused multiply-adds over the even k and one over the odd k, both from zero; the two chains are added and the result is
//! added to the number. Every step rounds to the nearest f32 and takes what is not normal for zero (Intel, Architecture
//! Instruction Set Extensions Programming Reference, TDPBF16PS). Then clamp, then residual.
//!
//! Deliberately slow and plain: matrix tiles are held to it bit for bit, and a machine without them can compute what they
//! would. The one difference known: a step whose exact result lies within 2^-150 below the smallest normal number.

use std::mem::MaybeUninit;

use super::bf16::{flushed, of_word, split, widened};
use super::pack::{TILE, TILE_DEPTH, packed_len};
use super::{Arithmetic, Clamp, Form, Halves, LANES, Layout, Patches, Product};

/// Halves of one pixel's vector: for every 32 of k the high ones, then the low ones.
pub(super) fn halves_len(depth: usize) -> usize {
    2 * Form::Halves.numbers(1, depth).expect("a pixel within memory")
}

/// Puts down a pixel's halves, zeros after them.
#[inline(always)]
pub(super) fn split_pixel(x: &Patches, pixel: usize, halves: &mut [u16]) {
    halves.fill(0);
    let segments = x.segments.iter().map(|segment| &x.values[pixel * x.stride + segment..][..x.segment_len]);
    for (k, value) in segments.flatten().enumerate() {
        let (high, low) = split(*value);
        let at = k / TILE_DEPTH * 2 * TILE_DEPTH + k % TILE_DEPTH;
        (halves[at], halves[at + TILE_DEPTH]) = (high, low);
    }
}

/// What a product makes of split pixels, and where it goes.
#[derive(Clone, Copy)]
pub(super) struct Target<'a> {
    pub depth: usize,
    pub weights: &'a [f32],
    pub channels: usize,
    pub clamp: Clamp,
    pub residual: Option<&'a [f32]>,
    pub layout: Layout,
}

impl<'a> Target<'a> {
    pub fn of(product: &Product<'a>) -> Target<'a> {
        let Product { x, weights, channels, clamp, residual, layout, .. } = *product;
        Target { depth: x.depth(), weights, channels, clamp, residual, layout }
    }

    pub fn of_halves(product: &Halves<'a>) -> Target<'a> {
        let Halves { depth, weights, channels, clamp, residual, .. } = *product;
        Target { depth, weights, channels, clamp, residual, layout: Layout::ChannelsLast }
    }

    /// All channels of one pixel.
    #[inline(always)]
    fn pixel(&self, pixel: usize, halves: &[u16], out: &mut [MaybeUninit<f32>]) {
        let Target { depth, weights, channels, clamp, residual, layout } = *self;
        let (stride, apart) = layout.strides(channels);
        let written = layout.written(channels);
        let groups = weights.chunks_exact(packed_len(Arithmetic::Bf16x3, depth, LANES));
        for (first, group) in (0..channels).step_by(LANES).zip(groups) {
            let (bias, tiles) = group.split_at(LANES);
            let mut sums: [f32; LANES] = bias.try_into().expect("a group of biases");
            for (inputs, tiles) in halves.chunks_exact(2 * TILE_DEPTH).zip(tiles.chunks_exact(2 * TILE)) {
                let (x_high, x_low) = inputs.split_at(TILE_DEPTH);
                let (w_high, w_low) = tiles.split_at(TILE);
                add_tile(x_high, w_low, &mut sums);
                add_tile(x_high, w_high, &mut sums);
                add_tile(x_low, w_high, &mut sums);
            }
            let lanes = LANES.min(written - first);
            let at = pixel * stride + first / LANES * apart;
            for (lane, sum) in sums[..lanes].iter().enumerate() {
                // In this order NaN stays NaN.
                let raised = if clamp.low > *sum { clamp.low } else { *sum };
                let value = if clamp.high < raised { clamp.high } else { raised };
                out[at + lane].write(residual.map_or(value, |residual| value + residual[at + lane]));
            }
        }
    }
}

/// The product over all pixels and channels; lengths are checked by `Kernels::product`.
#[inline(always)]
pub(super) fn product(product: &Product, out: &mut [MaybeUninit<f32>]) {
    let target = Target::of(product);
    let mut halves = vec![0; halves_len(target.depth)];
    for pixel in 0..product.x.pixels {
        split_pixel(&product.x, pixel, &mut halves);
        target.pixel(pixel, &halves, out);
    }
}

/// The same of pixels that are split already; lengths are checked by `Kernels::halves`.
#[inline(always)]
pub(super) fn halves(product: &Halves, out: &mut [MaybeUninit<f32>]) {
    let target = Target::of_halves(product);
    let mut halves = vec![0; halves_len(target.depth)];
    for (pixel, words) in product.values.chunks_exact(halves.len() / 2).enumerate() {
        for (halves, word) in halves.as_chunks_mut().0.iter_mut().zip(words) {
            *halves = of_word(*word);
        }
        target.pixel(pixel, &halves, out);
    }
}

/// One row of `TDPBF16PS`.
#[inline(always)]
fn add_tile(x: &[u16], tile: &[f32], sums: &mut [f32; LANES]) {
    let mut even = [0f32; LANES];
    let mut odd = [0f32; LANES];
    for (x, words) in x.as_chunks::<2>().0.iter().zip(tile.as_chunks::<LANES>().0) {
        let (x_even, x_odd) = (widened(x[0]), widened(x[1]));
        for lane in 0..LANES {
            let word = words[lane].to_bits();
            even[lane] = flushed(x_even.mul_add(f32::from_bits(word << 16), even[lane]));
            odd[lane] = flushed(x_odd.mul_add(f32::from_bits(word & 0xffff_0000), odd[lane]));
        }
    }
    for lane in 0..LANES {
        sums[lane] = flushed(sums[lane] + flushed(even[lane] + odd[lane]));
    }
}
