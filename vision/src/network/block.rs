//! An inverted residual block as one candle op: expand, 3x3 depthwise, project, and the residual where there is one.
//!
//! The expanded image is up to six times its input and would go out to memory and back. So the block works in strips of
//! output rows: the expanded rows that a strip needs go into a ring (rows shared by two strips are made once), the
//! depthwise rows into a second area, and their projection, with its residual, straight into the result. Strips are cut
//! so that both areas stay in the second-level cache. How they are cut changes no number.

use std::cell::RefCell;

use candle_core::{CpuStorage, CustomOp2, Device, Layout, Result, Shape, Tensor};

use super::Scratch;
use super::layer::{BlockPlan, Conv, ConvKind};
use crate::kernels::{Arithmetic, Clamp, DepthwiseRow, Kernels, Patches, Product, TAPS, Work, pack, packed_len};

/// What a strip's two areas may take together: half of a small second-level cache, the rest being for weights.
const STRIP_BYTES: usize = 256 << 10;

/// Numbers in a cache line: packed weights start on one, so that no load of sixteen straddles two.
const LINE: usize = 16;

pub struct Block {
    expand: Option<Expand>,
    depthwise: Geometry,
    project: Geometry,
    residual: bool,
    /// Output rows of a strip.
    strip: usize,
    /// The packed weights of the three convolutions in one tensor.
    weights: Tensor,
    depthwise_at: usize,
    project_at: usize,
}

/// The shape of a convolution.
#[derive(Clone, Copy)]
struct Geometry {
    inputs: usize,
    outputs: usize,
    stride: [usize; 2],
    pad: [usize; 2],
    size_in: [usize; 2],
    size_out: [usize; 2],
}

impl From<&Conv> for Geometry {
    fn from(conv: &Conv) -> Geometry {
        Geometry {
            inputs: conv.inputs,
            outputs: conv.outputs,
            stride: conv.stride,
            pad: conv.pad,
            size_in: conv.size_in,
            size_out: conv.size_out,
        }
    }
}

/// How the rows that the depthwise convolution reads are made.
struct Expand {
    geometry: Geometry,
    weights_at: usize,
    /// Where a pixel's patch begins in each row of the kernel: [0] if pointwise.
    segments: Vec<usize>,
}

impl Block {
    pub fn new(plan: &BlockPlan, arithmetic: Arithmetic) -> Result<Block> {
        let mut packed = Packed::new(arithmetic, plan.expand.iter().chain([&plan.depthwise, &plan.project]));
        let expand = plan.expand.as_ref().map(|conv| Expand {
            geometry: conv.into(),
            weights_at: packed.append(conv),
            segments: match conv.kind {
                ConvKind::Dense => (0..3).map(|row| row * padded_size(&conv.into())[1] * conv.inputs).collect(),
                ConvKind::Depthwise | ConvKind::Pointwise => vec![0],
            },
        });
        let depthwise = Geometry::from(&plan.depthwise);
        Ok(Block {
            expand,
            depthwise,
            project: (&plan.project).into(),
            residual: plan.residual,
            strip: strip_rows(&depthwise),
            depthwise_at: packed.append(&plan.depthwise),
            project_at: packed.append(&plan.project),
            weights: packed.into_tensor()?,
        })
    }

    /// The image as the first block reads it: with the stem's padding around it.
    pub fn image(&self, input: &[f32], size: [usize; 2], device: &Device) -> Result<Tensor> {
        let stem = &self.expand.as_ref().expect("the reader makes the stem the first block's expansion").geometry;
        let [height, width] = padded_size(stem);
        // Written once, from front to back: filling it with zeros first would take as long again.
        let mut padded = Vec::with_capacity(height * width * 3);
        padded.resize(stem.pad[0] * width * 3, 0.0);
        for row in input.chunks_exact(size[1] * 3).take(height - stem.pad[0]) {
            let end = padded.len() + width * 3;
            padded.resize(padded.len() + stem.pad[1] * 3, 0.0);
            padded.extend_from_slice(&row[..row.len().min(end - padded.len())]);
            padded.resize(end, 0.0);
        }
        padded.resize(height * width * 3, 0.0);
        Tensor::from_vec(padded, (1, height, width, 3), device)
    }

    /// The block's result for one image, as 1 x height x width x channels.
    pub fn apply(&self, x: &Tensor, kernels: Kernels, scratch: &RefCell<&mut Scratch>) -> Result<Tensor> {
        x.apply_op2_no_bwd(&self.weights, &Run { block: self, kernels, scratch })
    }

    /// Rows of the expanded image that a strip of output rows reads.
    fn ring_rows(&self) -> usize {
        (self.strip - 1) * self.depthwise.stride[0] + 3
    }
}

/// A block at work on one image.
struct Run<'a, 'b> {
    block: &'a Block,
    kernels: Kernels,
    // candle hands an op out shared; it is used by this call alone.
    scratch: &'a RefCell<&'b mut Scratch>,
}

impl CustomOp2 for Run<'_, '_> {
    fn name(&self) -> &'static str {
        "inverted-residual"
    }

    fn cpu_fwd(&self, x: &CpuStorage, lx: &Layout, w: &CpuStorage, lw: &Layout) -> Result<(CpuStorage, Shape)> {
        let (x, weights) = (contiguous(x, lx)?, contiguous(w, lw)?);
        let [height, width] = self.block.project.size_out;
        let channels = self.block.project.outputs;
        let mut out = Vec::with_capacity(height * width * channels);
        self.run(x, weights, &mut out);
        Ok((CpuStorage::F32(out), Shape::from((1, height, width, channels))))
    }
}

impl Run<'_, '_> {
    fn run(&self, x: &[f32], weights: &[f32], out: &mut Vec<f32>) {
        let Block { depthwise, project, strip, .. } = self.block;
        let [rows_in, width_in] = depthwise.size_in;
        let [rows_out, width_out] = depthwise.size_out;
        let row_in = width_in * depthwise.inputs;
        let row_mid = width_out * depthwise.outputs;
        let row_out = width_out * project.outputs;
        let ring_rows = self.block.ring_rows();
        let ring_len = if self.block.expand.is_some() { ring_rows * row_in } else { 0 };
        let mut scratch = self.scratch.borrow_mut();
        let (ring, mid, work) = scratch.areas(ring_len, strip * row_mid);
        let project_len = packed_len(self.kernels.arithmetic(), project.inputs, project.outputs);
        let project_weights = &weights[self.block.project_at..][..project_len];
        let depthwise_len = packed_len(Arithmetic::F32, TAPS, depthwise.outputs);
        let depthwise_weights = &weights[self.block.depthwise_at..][..depthwise_len];

        let mut made = 0;
        for from in (0..rows_out).step_by(*strip) {
            let to = (from + strip).min(rows_out);
            if let Some(expand) = &self.block.expand {
                let wanted = ((to - 1) * depthwise.stride[0] + 3).saturating_sub(depthwise.pad[0]).min(rows_in);
                while made < wanted {
                    let at = made % ring_rows;
                    let count = (wanted - made).min(ring_rows - at);
                    let rows = &mut ring[at * row_in..][..count * row_in];
                    expand.rows(self.kernels, x, weights, made, rows, work);
                    made += count;
                }
            }
            for row in from..to {
                let rows = std::array::from_fn(|tap| {
                    let row = (row * depthwise.stride[0] + tap).checked_sub(depthwise.pad[0])?;
                    (row < rows_in).then(|| match self.block.expand {
                        Some(_) => &ring[row % ring_rows * row_in..][..row_in],
                        None => &x[row * row_in..][..row_in],
                    })
                });
                let input = DepthwiseRow {
                    rows,
                    channels: depthwise.inputs,
                    width: width_in,
                    stride: depthwise.stride[1],
                    pad_left: depthwise.pad[1],
                };
                let row_mid = &mut mid[(row - from) * row_mid..][..row_mid];
                self.kernels.depthwise_row(&input, depthwise_weights, Clamp::RELU6, row_mid);
            }
            let product = Product {
                x: pointwise(&mid[..(to - from) * row_mid], project.inputs),
                weights: project_weights,
                channels: project.outputs,
                clamp: Clamp::NONE,
                residual: self.block.residual.then(|| &x[from * row_out..to * row_out]),
            };
            self.kernels.product_append(&product, out, work);
        }
    }
}

impl Expand {
    /// Rows of the expanded image, from this one on.
    fn rows(&self, kernels: Kernels, x: &[f32], weights: &[f32], from: usize, out: &mut [f32], work: &mut Work) {
        let Geometry { inputs, outputs, stride, size_out, .. } = self.geometry;
        let kernel_rows = self.segments.len();
        let len = packed_len(kernels.arithmetic(), kernel_rows * kernel_rows * inputs, outputs);
        let weights = &weights[self.weights_at..][..len];
        let product = |x| Product { x, weights, channels: outputs, clamp: Clamp::RELU6, residual: None };
        if kernel_rows == 1 {
            let pixels = out.len() / outputs;
            let x = &x[from * size_out[1] * inputs..][..pixels * inputs];
            kernels.product(&product(pointwise(x, inputs)), out, work);
            return;
        }
        let row_in = padded_size(&self.geometry)[1] * inputs;
        for (index, out) in out.chunks_exact_mut(size_out[1] * outputs).enumerate() {
            let patches = Patches {
                values: &x[(from + index) * stride[0] * row_in..][..kernel_rows * row_in],
                pixels: size_out[1],
                stride: stride[1] * inputs,
                segments: &self.segments,
                segment_len: kernel_rows * inputs,
            };
            kernels.product(&product(patches), out, work);
        }
    }
}

/// All pixels of an image, for a 1x1 convolution.
pub(super) fn pointwise(values: &[f32], channels: usize) -> Patches<'_> {
    Patches { values, pixels: values.len() / channels, stride: channels, segments: &[0], segment_len: channels }
}

/// The numbers of a candle tensor.
pub(super) fn contiguous<'a>(storage: &'a CpuStorage, layout: &Layout) -> Result<&'a [f32]> {
    match layout.contiguous_offsets() {
        Some((from, to)) => Ok(&storage.as_slice::<f32>()?[from..to]),
        None => candle_core::bail!("layers take contiguous tensors only"),
    }
}

/// Height and width of the image that a 3x3 convolution reads, padding included.
fn padded_size(conv: &Geometry) -> [usize; 2] {
    [0, 1].map(|axis| (conv.size_out[axis] - 1) * conv.stride[axis] + 3)
}

fn strip_rows(depthwise: &Geometry) -> usize {
    let row_in = depthwise.size_in[1] * depthwise.inputs * size_of::<f32>();
    let row_mid = depthwise.size_out[1] * depthwise.outputs * size_of::<f32>();
    let fixed = 3usize.saturating_sub(depthwise.stride[0]) * row_in;
    let each = depthwise.stride[0] * row_in + row_mid;
    let most = (STRIP_BYTES.saturating_sub(fixed) / each).clamp(1, depthwise.size_out[0]);
    // Strips of even height: 14 rows are 7 + 7 rather than 12 + 2.
    depthwise.size_out[0].div_ceil(depthwise.size_out[0].div_ceil(most))
}

/// Packed weights of some convolutions in a row.
pub(super) struct Packed {
    arithmetic: Arithmetic,
    numbers: Vec<f32>,
}

impl Packed {
    /// Room for these convolutions.
    pub fn new<'a>(arithmetic: Arithmetic, convs: impl Iterator<Item = &'a Conv>) -> Packed {
        let len: usize = convs.map(|conv| packed_len(arithmetic_of(conv, arithmetic), depth(conv), conv.outputs)).sum();
        let mut numbers: Vec<f32> = Vec::with_capacity(len + LINE);
        // The vector never grows past its capacity, so what starts on a cache line stays on it.
        let skip = numbers.as_ptr().align_offset(LINE * size_of::<f32>()).min(LINE);
        numbers.resize(skip, 0.0);
        Packed { arithmetic, numbers }
    }

    /// Packs a convolution and says where it begins.
    pub fn append(&mut self, conv: &Conv) -> usize {
        let at = self.numbers.len();
        let depth = depth(conv);
        pack(
            arithmetic_of(conv, self.arithmetic),
            depth,
            &conv.bias,
            |k, channel| {
                // ONNX counts channels before taps; patches of an image hold the channels of each tap together.
                let (tap, input, taps) = match conv.kind {
                    ConvKind::Dense => (k / conv.inputs, k % conv.inputs, TAPS),
                    ConvKind::Depthwise => (k, 0, TAPS),
                    ConvKind::Pointwise => (0, k, 1),
                };
                conv.weights[channel * depth + input * taps + tap]
            },
            &mut self.numbers,
        );
        at
    }

    pub fn into_tensor(self) -> Result<Tensor> {
        let len = self.numbers.len();
        Tensor::from_vec(self.numbers, len, &Device::Cpu)
    }
}

/// Depthwise convolutions are f32 chains in any arithmetic.
fn arithmetic_of(conv: &Conv, products: Arithmetic) -> Arithmetic {
    match conv.kind {
        ConvKind::Dense | ConvKind::Pointwise => products,
        ConvKind::Depthwise => Arithmetic::F32,
    }
}

/// Weights that an output number is summed from.
fn depth(conv: &Conv) -> usize {
    match conv.kind {
        ConvKind::Dense => TAPS * conv.inputs,
        ConvKind::Depthwise => TAPS,
        ConvKind::Pointwise => conv.inputs,
    }
}
