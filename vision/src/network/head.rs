//! The last layer as one candle op: a 1x1 convolution, and the mean of its result over the image.

use std::cell::RefCell;
use std::ops::Range;

use candle_core::{CpuStorage, CustomOp2, Layout as Strided, Result, Shape, Tensor};

use super::Scratch;
use super::block::{Packed, Packing, contiguous, pointwise};
use super::layer::{Conv, Geometry};
use crate::kernels::{Arithmetic, Clamp, Kernels, Layout, Product};

pub struct Head {
    inputs: usize,
    features: usize,
    pixels: usize,
    weights: Tensor,
    weights_at: Range<usize>,
}

impl Head {
    pub fn new(conv: &Conv, arithmetic: Arithmetic) -> Result<Head> {
        let Geometry { inputs, outputs, size_out, .. } = conv.geometry;
        let conv = (conv, Packing::Groups(arithmetic));
        let mut packed = Packed::new([conv].into_iter());
        Ok(Head {
            inputs,
            features: outputs,
            pixels: size_out[0] * size_out[1],
            weights_at: packed.append(conv),
            weights: packed.into_tensor()?,
        })
    }

    pub fn features(&self) -> usize {
        self.features
    }

    pub fn apply(&self, x: &Tensor, kernels: Kernels, scratch: &RefCell<&mut Scratch>) -> Result<Tensor> {
        x.apply_op2_no_bwd(&self.weights, &Run { head: self, kernels, scratch })
    }
}

struct Run<'a, 'b> {
    head: &'a Head,
    kernels: Kernels,
    scratch: &'a RefCell<&'b mut Scratch>,
}

impl CustomOp2 for Run<'_, '_> {
    fn name(&self) -> &'static str {
        "pooled-features"
    }

    fn cpu_fwd(&self, x: &CpuStorage, lx: &Strided, w: &CpuStorage, lw: &Strided) -> Result<(CpuStorage, Shape)> {
        let Head { inputs, features, pixels, ref weights_at, .. } = *self.head;
        let (x, weights) = (contiguous(x, lx)?, contiguous(w, lw)?);
        let weights = &weights[weights_at.clone()];
        let mut scratch = self.scratch.borrow_mut();
        let ([image], work) = scratch.areas([pixels * features]);
        let x = pointwise(x, inputs);
        let layout = Layout::ChannelsLast;
        let product =
            Product { x, weights, channels: features, clamp: Clamp::RELU6, residual: None, layout, next: &[] };
        self.kernels.product(&product, image, work);
        let mut out = vec![0f32; features];
        self.kernels.mean(image, &mut out);
        Ok((CpuStorage::F32(out), Shape::from(features)))
    }
}
