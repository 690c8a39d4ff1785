//! What the reader makes of a file, and the layers are built from: convolutions with their shapes and weights.

/// The whole network.
pub struct Plan {
    /// Height and width of the image.
    pub size: [usize; 2],
    pub blocks: Vec<BlockPlan>,
    /// The 1x1 convolution before the pooling.
    pub head: Conv,
}

/// An inverted residual block; the first one's expansion is the stem.
pub struct BlockPlan {
    pub expand: Option<Conv>,
    pub depthwise: Conv,
    pub project: Conv,
    pub residual: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConvKind {
    /// 3x3 over all channels.
    Dense,
    /// 3x3 over each channel by itself.
    Depthwise,
    /// 1x1 over all channels.
    Pointwise,
}

pub struct Conv {
    pub kind: ConvKind,
    /// As ONNX has them: out, in (1 if depthwise), height, width.
    pub weights: Vec<f32>,
    pub bias: Vec<f32>,
    pub geometry: Geometry,
}

/// The shape of a convolution, over height and width where there are two numbers.
#[derive(Clone, Copy)]
pub struct Geometry {
    pub inputs: usize,
    pub outputs: usize,
    pub stride: [usize; 2],
    /// Padding above and to the left; below and to the right `size_out` tells.
    pub pad: [usize; 2],
    pub size_in: [usize; 2],
    pub size_out: [usize; 2],
}

impl Conv {
    /// Brings a batch normalization into weights and bias. In f64, rounded once.
    pub fn fold(&mut self, norm: &BatchNorm) {
        let per_channel = self.weights.len() / self.geometry.outputs;
        for (channel, weights) in self.weights.chunks_exact_mut(per_channel).enumerate() {
            let scale = norm.scale[channel] as f64 / (norm.variance[channel] as f64 + norm.epsilon as f64).sqrt();
            for weight in weights {
                *weight = (*weight as f64 * scale) as f32;
            }
            let centred = self.bias[channel] as f64 - norm.mean[channel] as f64;
            self.bias[channel] = (centred * scale + norm.shift[channel] as f64) as f32;
        }
    }
}

/// A batch normalization's numbers, one a channel.
pub struct BatchNorm {
    pub scale: Vec<f32>,
    pub shift: Vec<f32>,
    pub mean: Vec<f32>,
    pub variance: Vec<f32>,
    pub epsilon: f32,
}
