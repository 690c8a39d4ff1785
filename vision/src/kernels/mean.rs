//! The mean over all pixels of each channel: a chain of additions in pixel order, divided once.
//!
//! Plain Rust, compiled once for each instruction set: nothing is summed across channels, so that all give the same bits.

use super::LANES;

/// Channels whose sums stay in registers while all pixels pass by.
const SUMS: usize = 4 * LANES;

/// Lengths are checked by `Kernels::mean`.
#[inline(always)]
pub(super) fn mean(pixels: &[f32], out: &mut [f32]) {
    let channels = out.len();
    let count = (pixels.len() / channels) as f32;
    let mut first = 0;
    while let Some(out) = out[first..].first_chunk_mut::<SUMS>() {
        let mut sums = [0f32; SUMS];
        for pixel in pixels.chunks_exact(channels) {
            let values: &[f32; SUMS] = pixel[first..].first_chunk().expect("as many as there are sums");
            for (sum, value) in sums.iter_mut().zip(values) {
                *sum += value;
            }
        }
        *out = sums.map(|sum| sum / count);
        first += SUMS;
    }
    for (channel, mean) in out.iter_mut().enumerate().skip(first) {
        let sum = pixels[channel..].iter().step_by(channels).fold(0f32, |sum, value| sum + value);
        *mean = sum / count;
    }
}
