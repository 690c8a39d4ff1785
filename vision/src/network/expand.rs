//! The first convolution of a block: it makes the rows that the depthwise convolution reads.
//!
//! They lie in blocks of sixteen channels. A depthwise convolution of one group then walks through memory in steps of one
//! cache line, whatever the number of channels.

use std::ops::Range;

use super::block::pointwise;
use super::layer::{Conv, ConvKind, Geometry};
use crate::kernels::{Clamp, Kernels, LANES, Layout, Patches, Product, Work};

/// Numbers that are asked for while rows are made: the depthwise weights of 960 channels, and of the projection those
/// of two groups, which it reads before it can ask for more; or all, where it is of pairs and asks for none.
const NEXT: usize = 40 << 10;

/// How the rows that the depthwise convolution reads are made.
pub(super) struct Expand {
    geometry: Geometry,
    weights: Range<usize>,
    /// Where a pixel's patch begins in each row of the kernel: [0] if pointwise.
    segments: Vec<usize>,
}

/// Rows that the depthwise convolution reads, in blocks, from the next one on that is to be made.
pub(super) struct Ring<'a> {
    pub values: &'a mut [f32],
    /// Numbers from one group of channels to the next.
    pub apart: usize,
}

impl Ring<'_> {
    /// Puts down pixels that come with their channels last. Lanes that are no channels get zeros, which cost less than what
    /// could be left there.
    pub fn copy(self, x: &[f32], channels: usize) {
        for (group, first) in (0..channels).step_by(LANES).enumerate() {
            let lanes = LANES.min(channels - first);
            let places = self.values[group * self.apart..].chunks_exact_mut(LANES);
            for (pixel, place) in x.chunks_exact(channels).zip(places) {
                place[..lanes].copy_from_slice(&pixel[first..][..lanes]);
                place[lanes..].fill(0.0);
            }
        }
    }
}

impl Expand {
    /// With weights that lie there in the packed ones of the block.
    pub fn new(conv: &Conv, weights: Range<usize>) -> Expand {
        let geometry = conv.geometry;
        let segments = match conv.kind {
            ConvKind::Dense => (0..3).map(|row| row * padded_width(&geometry) * geometry.inputs).collect(),
            ConvKind::Depthwise | ConvKind::Pointwise => vec![0],
        };
        Expand { geometry, weights, segments }
    }

    /// Numbers of the input that a row of the stem reads, padding included.
    pub fn lines_len(&self) -> usize {
        match self.segments.len() {
            1 => 0,
            rows => rows * padded_width(&self.geometry) * self.geometry.inputs,
        }
    }

    /// Makes these rows of the expanded image. To spare: [`lines_len`](Self::lines_len) numbers, and what products need.
    pub fn rows(
        &self,
        kernels: Kernels,
        x: &[f32],
        weights: &[f32],
        rows: Range<usize>,
        ring: Ring,
        spare: (&mut [f32], &mut Work),
    ) {
        let (lines, work) = spare;
        let Geometry { inputs, outputs, stride, pad, size_in, size_out } = self.geometry;
        let kernel_rows = self.segments.len();
        // The depthwise weights and the first that are projected with lie behind.
        let behind = &weights[self.weights.end..];
        let (weights, next) = (&weights[self.weights.clone()], &behind[..behind.len().min(NEXT)]);
        let layout = Layout::Blocked { apart: ring.apart };
        let (channels, clamp, residual) = (outputs, Clamp::RELU6, None);
        if kernel_rows == 1 {
            let x = pointwise(&x[rows.start * size_out[1] * inputs..rows.end * size_out[1] * inputs], inputs);
            kernels.product(&Product { x, weights, channels, clamp, residual, layout, next }, ring.values, work);
            return;
        }
        let (image, row_in) = (x, size_in[1] * inputs);
        for (index, row) in rows.enumerate() {
            // A few rows with padding around them lie in the nearest cache; the whole image would not.
            for (tap, line) in lines.chunks_exact_mut(lines.len() / kernel_rows).enumerate() {
                let (before, line) = line.split_at_mut(pad[1] * inputs);
                before.fill(0.0);
                let row = (row * stride[0] + tap).checked_sub(pad[0]).filter(|row| *row < size_in[0]);
                let there = row.map_or(&[][..], |row| &image[row * row_in..][..row_in.min(line.len())]);
                line[..there.len()].copy_from_slice(there);
                line[there.len()..].fill(0.0);
            }
            let x = Patches {
                values: lines,
                pixels: size_out[1],
                stride: stride[1] * inputs,
                segments: &self.segments,
                segment_len: kernel_rows * inputs,
            };
            let next = &image[((row + 1) * stride[0] * row_in).min(image.len())..];
            let next = &next[..next.len().min(row_in * kernel_rows)];
            let product = Product { x, weights, channels, clamp, residual, layout, next };
            kernels.product(&product, &mut ring.values[index * size_out[1] * LANES..], work);
        }
    }
}

/// Width of the image that a 3x3 convolution reads, padding included.
fn padded_width(conv: &Geometry) -> usize {
    (conv.size_out[1] - 1) * conv.stride[1] + 3
}
