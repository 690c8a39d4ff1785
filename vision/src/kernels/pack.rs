//! The order in which kernels read weights: group by group of sixteen channels, so that a group's numbers lie in a row; of
//! eight, each twice, for products of pairs.
//!
//! - [`Arithmetic::F32`]: the group's biases, then its weights k by k. One layout serves products (k runs over the patch),
//!   depthwise rows (k runs over the nine taps) and every instruction set; a group of pairs is laid out like any other.
//! - [`Arithmetic::Bf16x3`]: the group's biases, then for every 32 of k one tile of high halves and one of low halves. A
//!   tile is 16 rows of 16 words, a word the weights of two neighbours in k: bits of bf16, the even one below.
//!
//! The last group is filled up with zeros, as are the last 32 of k, so that kernels read whole groups only. To all but
//! the kernels, packed weights are words of 32 bits that mean nothing.

use super::bf16::{as_word, flushed, split};
use super::{Arithmetic, LANES};

/// How far a tile reaches in k.
pub(super) const TILE_DEPTH: usize = 32;

/// Words of a tile: 16 rows of 16.
pub(super) const TILE: usize = TILE_DEPTH / 2 * LANES;

/// Words of a group of channels.
pub(super) fn group_len(arithmetic: Arithmetic, depth: usize) -> usize {
    // What is too long to count is longer than any slice, which is all that this is compared with.
    match arithmetic {
        Arithmetic::F32 => depth.saturating_mul(LANES).saturating_add(LANES),
        Arithmetic::Bf16x3 => depth.div_ceil(TILE_DEPTH).saturating_mul(2 * TILE).saturating_add(LANES),
    }
}

/// Length of [`pack`]'s result.
pub fn packed_len(arithmetic: Arithmetic, depth: usize, channels: usize) -> usize {
    channels.div_ceil(LANES).saturating_mul(group_len(arithmetic, depth))
}

/// Appends the weights `weight(k, channel)` for `k < depth`, and the biases, in the kernels' order.
pub fn pack(
    arithmetic: Arithmetic,
    depth: usize,
    bias: &[f32],
    weight: impl Fn(usize, usize) -> f32,
    packed: &mut Vec<f32>,
) {
    let padded = |k, channel| if k < depth && channel < bias.len() { weight(k, channel) } else { 0.0 };
    for group in (0..bias.len()).step_by(LANES) {
        let channels = group..group + LANES;
        let biases = channels.clone().map(|channel| bias.get(channel).copied().unwrap_or(0.0));
        match arithmetic {
            Arithmetic::F32 => {
                packed.extend(biases);
                (0..depth).for_each(|k| packed.extend(channels.clone().map(|channel| padded(k, channel))));
            }
            Arithmetic::Bf16x3 => {
                packed.extend(biases.map(flushed));
                for first in (0..depth).step_by(TILE_DEPTH) {
                    for half in [|(high, _): (u16, u16)| high, |(_, low)| low] {
                        for k in (first..first + TILE_DEPTH).step_by(2) {
                            packed.extend(channels.clone().map(|channel| {
                                as_word(half(split(padded(k, channel))), half(split(padded(k + 1, channel))))
                            }));
                        }
                    }
                }
            }
        }
    }
}

/// Length of [`pack_pairs`]'s result.
pub fn packed_pairs_len(depth: usize, channels: usize) -> usize {
    packed_len(Arithmetic::F32, depth, channels.saturating_mul(2))
}

/// The same as a product of pairs reads them: as if every channel came twice, so that a group is of eight.
pub fn pack_pairs(depth: usize, bias: &[f32], weight: impl Fn(usize, usize) -> f32, packed: &mut Vec<f32>) {
    let twice: Vec<f32> = bias.iter().flat_map(|bias| [*bias; 2]).collect();
    pack(Arithmetic::F32, depth, &twice, |k, lane| weight(k, lane / 2), packed);
}
