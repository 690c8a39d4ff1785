//! An inverted residual block as one candle op: expand, 3x3 depthwise, project, and the residual where there is one.
//!
//! The expanded image is up to six times its input and would go out to memory and back. So the block works in strips of
//! output rows: the expanded rows that a strip needs go into a ring (rows shared by two strips are made once), the
//! depthwise rows into a second area, and their projection, with its residual, straight into the result. Strips are cut
//! so that these areas stay in the second-level cache. How they are cut changes no number.

use std::cell::RefCell;
use std::ops::Range;

use candle_core::{CpuStorage, CustomOp2, Device, Layout as Strided, Result, Shape, Storage, Tensor};

use super::Scratch;
use super::expand::{Expand, Ring};
use super::layer::{BlockPlan, Conv, ConvKind, Geometry};
use crate::kernels::{
    Arithmetic, Clamp, Depthwise, Form, Halves, Kernels, LANES, Layout, Pairs, Patches, Product, TAPS, pack,
    pack_pairs, packed_len, packed_pairs_len,
};

/// What a strip's areas may take together: half of a small second-level cache, the rest being for weights, and a quarter
/// of those beside matrix tiles, which are all of 2 MB. Where an expansion's weights take more, a strip may take as much
/// as they do, since they are read anew for each.
fn strip_bytes(arithmetic: Arithmetic) -> usize {
    match arithmetic {
        Arithmetic::F32 => 256 << 10,
        Arithmetic::Bf16x3 => 512 << 10,
    }
}

/// Numbers in a cache line: packed weights start on one, so that no load of sixteen straddles two.
const LINE: usize = 16;

pub struct Block {
    expand: Option<Expand>,
    depthwise: Geometry,
    project: Geometry,
    residual: bool,
    /// How the projection takes what is convolved.
    form: Form,
    /// Output rows of a strip.
    strip: usize,
    /// The packed weights of the three convolutions in one tensor.
    weights: Tensor,
    depthwise_weights: Range<usize>,
    project_weights: Range<usize>,
}

impl Block {
    pub fn new(plan: &BlockPlan, arithmetic: Arithmetic) -> Result<Block> {
        let Geometry { outputs, size_in: [_, width], .. } = plan.project.geometry;
        let form = Form::of(arithmetic, width, outputs);
        let groups = Packing::Groups(arithmetic);
        let expand = plan.expand.as_ref().map(|conv| (conv, groups));
        // Depthwise convolutions are f32 chains in any arithmetic.
        let depthwise = (&plan.depthwise, Packing::Groups(Arithmetic::F32));
        let project = (&plan.project, if form == Form::Pairs { Packing::Pairs } else { groups });
        let expand_bytes = plan.expand.as_ref().map_or(0, |conv| size_of_val(&conv.weights[..]));
        let mut packed = Packed::new(expand.into_iter().chain([depthwise, project]));
        let expand = expand.map(|(conv, packing)| Expand::new(conv, packed.append((conv, packing))));
        Ok(Block {
            expand,
            depthwise: plan.depthwise.geometry,
            project: plan.project.geometry,
            residual: plan.residual,
            form,
            strip: strip_rows(&plan.depthwise.geometry, form, strip_bytes(arithmetic).max(expand_bytes)),
            depthwise_weights: packed.append(depthwise),
            project_weights: packed.append(project),
            weights: packed.into_tensor()?,
        })
    }

    /// The block's result for one image, as 1 x height x width x channels.
    pub fn apply(&self, x: &Tensor, kernels: Kernels, scratch: &RefCell<&mut Scratch>) -> Result<Tensor> {
        x.apply_op2_no_bwd(&self.weights, &Run { block: self, kernels, scratch })
    }

    /// The same for an image that is no tensor yet, and is not copied to become one.
    pub fn apply_to(&self, x: &[f32], kernels: Kernels, scratch: &RefCell<&mut Scratch>) -> Result<Tensor> {
        let (weights, layout) = self.weights.storage_and_layout();
        let Storage::Cpu(weights) = &*weights else { candle_core::bail!("weights that are not in memory") };
        let (out, shape) = Run { block: self, kernels, scratch }.run(x, contiguous(weights, layout)?);
        Tensor::from_vec(out, shape, &Device::Cpu)
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

    fn cpu_fwd(&self, x: &CpuStorage, lx: &Strided, w: &CpuStorage, lw: &Strided) -> Result<(CpuStorage, Shape)> {
        let (out, shape) = self.run(contiguous(x, lx)?, contiguous(w, lw)?);
        Ok((CpuStorage::F32(out), shape))
    }
}

impl Run<'_, '_> {
    fn run(&self, x: &[f32], weights: &[f32]) -> (Vec<f32>, Shape) {
        let Block { expand, depthwise, project, strip, form, residual, .. } = self.block;
        let [rows_in, width_in] = depthwise.size_in;
        let [rows_out, width_out] = depthwise.size_out;
        let (row_in, row_ring) = (width_in * depthwise.inputs, width_in * LANES);
        let row_out = width_out * project.outputs;
        let row_mid = form.numbers(width_out, depthwise.outputs).expect("a row within memory");
        let ring_rows = self.block.ring_rows();
        let apart = ring_rows * row_ring;
        let mut scratch = self.scratch.borrow_mut();
        let lines_len = expand.as_ref().map_or(0, Expand::lines_len);
        let lens = [depthwise.inputs.div_ceil(LANES) * apart, strip * row_mid, lines_len];
        let ([ring, mid, lines], work) = scratch.areas(lens);
        let depthwise_weights = &weights[self.block.depthwise_weights.clone()];
        let project_weights = &weights[self.block.project_weights.clone()];

        let mut out = Vec::with_capacity(rows_out * row_out);
        let mut rows = Vec::with_capacity(ring_rows);
        let mut made = 0;
        for from in (0..rows_out).step_by(*strip) {
            let to = (from + strip).min(rows_out);
            let first = from * depthwise.stride[0];
            let reads = first..first + (to - from - 1) * depthwise.stride[0] + 3;
            let wanted = reads.end.saturating_sub(depthwise.pad[0]).min(rows_in);
            while made < wanted {
                let at = made % ring_rows;
                let next = made..wanted.min(made + ring_rows - at);
                made = next.end;
                let ring = Ring { values: &mut ring[at * row_ring..], apart };
                match expand {
                    Some(expand) => expand.rows(self.kernels, x, weights, next, ring, (lines, work)),
                    None => ring.copy(&x[next.start * row_in..next.end * row_in], depthwise.inputs),
                }
            }
            rows.clear();
            rows.extend(reads.map(|row| {
                let row = row.checked_sub(depthwise.pad[0]).filter(|row| *row < rows_in)?;
                Some(row % ring_rows * row_ring)
            }));
            let pixels = (to - from) * width_out;
            let mid = &mut mid[..(to - from) * row_mid];
            let conv = Depthwise {
                values: ring,
                apart,
                rows: &rows,
                channels: depthwise.inputs,
                width: width_in,
                width_out,
                stride: depthwise.stride,
                pad_left: depthwise.pad[1],
                weights: depthwise_weights,
                clamp: Clamp::RELU6,
                form: *form,
            };
            self.kernels.depthwise(&conv, mid);
            let (channels, clamp, weights) = (project.outputs, Clamp::NONE, project_weights);
            let residual = residual.then(|| &x[from * row_out..to * row_out]);
            let (values, depth) = (&*mid, project.inputs);
            match form {
                Form::ChannelsLast => {
                    let (x, layout) = (pointwise(values, depth), Layout::ChannelsLast);
                    let product = Product { x, weights, channels, clamp, residual, layout, next: &[] };
                    self.kernels.product_append(&product, &mut out, work);
                }
                Form::Pairs => {
                    let product = Pairs { values, pixels, depth, weights, channels, clamp, residual };
                    self.kernels.pairs_append(&product, &mut out);
                }
                Form::Halves => {
                    let product = Halves { values, pixels, depth, weights, channels, clamp, residual };
                    self.kernels.halves_append(&product, &mut out);
                }
            }
        }
        (out, Shape::from((1, rows_out, width_out, project.outputs)))
    }
}

/// All pixels of an image, for a 1x1 convolution.
pub(super) fn pointwise(values: &[f32], channels: usize) -> Patches<'_> {
    Patches { values, pixels: values.len() / channels, stride: channels, segments: &[0], segment_len: channels }
}

/// The numbers of a candle tensor.
pub(super) fn contiguous<'a>(storage: &'a CpuStorage, layout: &Strided) -> Result<&'a [f32]> {
    match layout.contiguous_offsets() {
        Some((from, to)) => Ok(&storage.as_slice::<f32>()?[from..to]),
        None => candle_core::bail!("layers take contiguous tensors only"),
    }
}

/// Output rows of a strip whose areas may take so many bytes.
fn strip_rows(depthwise: &Geometry, form: Form, bytes: usize) -> usize {
    let row_in = depthwise.size_in[1] * depthwise.inputs.next_multiple_of(LANES) * size_of::<f32>();
    let row_mid =
        form.numbers(depthwise.size_out[1], depthwise.outputs).expect("a row within memory") * size_of::<f32>();
    let fixed = 3usize.saturating_sub(depthwise.stride[0]) * row_in;
    let each = depthwise.stride[0] * row_in + row_mid;
    let most = (bytes.saturating_sub(fixed) / each).clamp(1, depthwise.size_out[0]);
    // Strips of even height: 14 rows are 7 + 7 rather than 12 + 2.
    depthwise.size_out[0].div_ceil(depthwise.size_out[0].div_ceil(most))
}

/// How a convolution's weights are packed.
#[derive(Clone, Copy)]
pub(super) enum Packing {
    Groups(Arithmetic),
    Pairs,
}

impl Packing {
    fn len(self, conv: &Conv) -> usize {
        let (depth, channels) = (depth(conv), conv.geometry.outputs);
        match self {
            Packing::Groups(arithmetic) => packed_len(arithmetic, depth, channels),
            Packing::Pairs => packed_pairs_len(depth, channels),
        }
    }
}

/// Packed weights of some convolutions in a row.
pub(super) struct Packed {
    numbers: Vec<f32>,
}

impl Packed {
    /// Room for these convolutions.
    pub fn new<'a>(convs: impl Iterator<Item = (&'a Conv, Packing)>) -> Packed {
        let len: usize = convs.map(|(conv, packing)| packing.len(conv)).sum();
        let mut numbers: Vec<f32> = Vec::with_capacity(len + LINE);
        // The vector never grows past its capacity, so what starts on a cache line stays on it.
        let skip = numbers.as_ptr().align_offset(LINE * size_of::<f32>()).min(LINE);
        numbers.resize(skip, 0.0);
        Packed { numbers }
    }

    /// Packs a convolution and says where its weights lie.
    pub fn append(&mut self, (conv, packing): (&Conv, Packing)) -> Range<usize> {
        let at = self.numbers.len();
        let (depth, inputs) = (depth(conv), conv.geometry.inputs);
        let weight = |k: usize, channel: usize| {
            // ONNX counts channels before taps; patches of an image hold the channels of each tap together.
            let (tap, input, taps) = match conv.kind {
                ConvKind::Dense => (k / inputs, k % inputs, TAPS),
                ConvKind::Depthwise => (k, 0, TAPS),
                ConvKind::Pointwise => (0, k, 1),
            };
            conv.weights[channel * depth + input * taps + tap]
        };
        match packing {
            Packing::Groups(arithmetic) => pack(arithmetic, depth, &conv.bias, weight, &mut self.numbers),
            Packing::Pairs => pack_pairs(depth, &conv.bias, weight, &mut self.numbers),
        }
        at..self.numbers.len()
    }

    pub fn into_tensor(self) -> Result<Tensor> {
        let len = self.numbers.len();
        Tensor::from_vec(self.numbers, len, &Device::Cpu)
    }
}

/// Weights that an output number is summed from.
fn depth(conv: &Conv) -> usize {
    match conv.kind {
        ConvKind::Dense => TAPS * conv.geometry.inputs,
        ConvKind::Depthwise => TAPS,
        ConvKind::Pointwise => conv.geometry.inputs,
    }
}
