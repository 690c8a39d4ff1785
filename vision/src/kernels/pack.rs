//! The order in which kernels read weights: for each group of sixteen channels its biases, then its weights k by k.
//!
//! One layout serves products (k runs over the patch) and depthwise rows (k runs over the nine taps), and every
//! instruction set. The last group is filled up with zeros, so that kernels read whole groups only.

use super::LANES;

/// Length of [`pack`]'s result.
pub fn packed_len(depth: usize, channels: usize) -> usize {
    // What is too long to count is longer than any slice, which is all that this is compared with.
    channels.div_ceil(LANES).saturating_mul(LANES).saturating_mul(depth.saturating_add(1))
}

/// Appends the weights `weight(k, channel)` for `k < depth`, and the biases, in the kernels' order.
pub fn pack(depth: usize, bias: &[f32], weight: impl Fn(usize, usize) -> f32, packed: &mut Vec<f32>) {
    for group in (0..bias.len()).step_by(LANES) {
        let channels = group..group + LANES;
        packed.extend(channels.clone().map(|c| bias.get(c).copied().unwrap_or(0.0)));
        for k in 0..depth {
            packed.extend(channels.clone().map(|c| if c < bias.len() { weight(k, c) } else { 0.0 }));
        }
    }
}
