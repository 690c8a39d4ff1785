//! MobileNetV2 as a feature extractor: one prepared image in, its features out.
//!
//! [`Network::from_onnx_bytes`] reads the graph of an ONNX file and packs its weights once; the network is then shared by
//! all slots, each with a [`Scratch`] of its own. Tensors, weights and the row of layers are candle's; a layer is a
//! candle custom op that runs a whole inverted residual block, strip by strip, on the kernels of [`crate::kernels`]. The first
//! takes the image before it is a tensor.
//!
//! Invariant: features depend on the file, the image and the kernels' arithmetic alone, bit for bit: not on the
//! instruction set, the thread, the machine, or what the scratch was used for before. Deliberately absent: batches and
//! threads. One call is one image on the calling thread; whoever has more cores calls from more threads.

mod block;
mod expand;
mod family;
mod head;
mod layer;
mod onnx;
mod reader;
mod scratch;

use rayon::prelude::*;
use std::cell::RefCell;

use crate::kernels::Kernels;
use block::Block;
use head::Head;

pub use scratch::Scratch;

/// Why a file makes no network, or an image no features.
#[derive(Debug, thiserror::Error)]
pub enum NetworkError {
    #[error("the weights are no ONNX file")]
    NotOnnx(#[source] prost::DecodeError),
    #[error("the graph is no MobileNetV2 feature extractor: {0}")]
    Graph(String),
    /// The first node that is not as the family has it.
    #[error("the graph is no MobileNetV2 feature extractor: node `{name}` ({op}): {why}")]
    Node { name: String, op: String, why: String },
    #[error("an input of {got} numbers where the network takes {wanted}")]
    InputLength { wanted: usize, got: usize },
    #[error("the features of this input are not finite")]
    NotFinite,
    #[error("running the network")]
    Compute(#[from] candle_core::Error),
}

/// A MobileNetV2 up to its pooled features.
pub struct Network {
    kernels: Kernels,
    blocks: Vec<Block>,
    head: Head,
    size: [usize; 2],
}

impl Network {
    /// Reads an ONNX file, to be run in f32 on the best kernels there are.
    pub fn from_onnx_bytes(bytes: &[u8]) -> Result<Network, NetworkError> {
        Network::on(Kernels::f32(), bytes)
    }

    /// Reads an ONNX file, and refuses one that is not of the family with the first node that differs.
    pub fn on(kernels: Kernels, bytes: &[u8]) -> Result<Network, NetworkError> {
        let plan = reader::read(bytes)?;
        let arithmetic = kernels.arithmetic();
        // A job waits for its weights to be packed before its first image, so all cores take part.
        let blocks = plan.blocks.par_iter().map(|block| Block::new(block, arithmetic)).collect::<Result<_, _>>()?;
        Ok(Network { kernels, size: plan.size, head: Head::new(&plan.head, arithmetic)?, blocks })
    }

    pub fn kernels(&self) -> Kernels {
        self.kernels
    }

    /// Height and width of the image that goes in.
    pub fn input_size(&self) -> (usize, usize) {
        (self.size[0], self.size[1])
    }

    /// How many numbers come out.
    pub fn features(&self) -> usize {
        self.head.features()
    }

    /// The features of one image: height x width x RGB, each number x / 127.5 - 1.
    pub fn embed(&self, input: &[f32], scratch: &mut Scratch) -> Result<Vec<f32>, NetworkError> {
        let wanted = self.size[0] * self.size[1] * 3;
        if input.len() != wanted {
            return Err(NetworkError::InputLength { wanted, got: input.len() });
        }
        let scratch = RefCell::new(scratch);
        let (first, rest) = self.blocks.split_first().expect("the reader makes no network without blocks");
        let mut x = first.apply_to(input, self.kernels, &scratch)?;
        for block in rest {
            x = block.apply(&x, self.kernels, &scratch)?;
        }
        let features = self.head.apply(&x, self.kernels, &scratch)?.to_vec1::<f32>()?;
        if features.iter().all(|value| value.is_finite()) { Ok(features) } else { Err(NetworkError::NotFinite) }
    }
}
