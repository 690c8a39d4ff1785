//! The family's grammar: which layer may follow which in a MobileNetV2, and how they make blocks.
//!
//! [`Assembly`] is told of one layer after the other, in the graph's order, and refuses the first that does not fit. It
//! knows nothing of ONNX: names, attributes and tensors are the reader's.
//!
//! ```text
//! network  stem ReLU6, block without expansion, block*, 1x1 ReLU6, mean over the image
//! block    [1x1 ReLU6] depthwise ReLU6, 1x1, [addition of the block's input]
//! ```

use super::layer::{BatchNorm, BlockPlan, Conv, ConvKind, Plan};
use super::onnx::Reason;

/// Where in the network the next layer comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Position {
    /// Nothing yet.
    Start,
    /// After the stem.
    Stem,
    /// After a 1x1 convolution with ReLU6: a block's first, or the network's last.
    Expanded,
    /// After a depthwise convolution.
    Depthwise,
    /// After a block's last convolution.
    Projected,
    /// After the addition of the block's input.
    Added,
    /// After the mean over the image.
    Pooled,
}

/// The network as far as it is known.
pub struct Assembly {
    position: Position,
    blocks: Vec<BlockPlan>,
    expand: Option<Conv>,
    depthwise: Option<Conv>,
    /// What the layer before brings its numbers into; ReLU6 may come in two nodes.
    clamp: (f32, f32),
    /// Channels, height and width of the block's input, unless that is the image.
    block_input: Option<[usize; 3]>,
    /// Channels, height and width at this point.
    shape: [usize; 3],
    image: [usize; 2],
}

const UNCLAMPED: (f32, f32) = (f32::NEG_INFINITY, f32::INFINITY);
const RELU6: (f32, f32) = (0.0, 6.0);

impl Assembly {
    /// A network over an image of this height and width.
    pub fn new(image: [usize; 2]) -> Assembly {
        Assembly {
            position: Position::Start,
            blocks: Vec::new(),
            expand: None,
            depthwise: None,
            clamp: UNCLAMPED,
            block_input: None,
            shape: [3, image[0], image[1]],
            image,
        }
    }

    pub fn position(&self) -> Position {
        self.position
    }

    /// Channels, height and width of what the next layer reads.
    pub fn shape(&self) -> [usize; 3] {
        self.shape
    }

    /// Whether the next layer begins a block.
    pub fn between_blocks(&self) -> bool {
        matches!(self.position, Position::Projected | Position::Added)
    }

    /// What may come next, for the reason that something else does not.
    pub fn expected(&self) -> &'static str {
        match self.position {
            Position::Start => "the network begins with a 3x3 convolution over all channels",
            Position::Stem if self.clamp != RELU6 => "ReLU6 belongs after the first convolution",
            Position::Stem => "a depthwise convolution belongs after the first convolution",
            Position::Expanded if self.clamp != RELU6 => "ReLU6 belongs after an expanding 1x1 convolution",
            Position::Expanded => "a depthwise convolution, or the last pooling, belongs after an expansion",
            Position::Depthwise if self.clamp != RELU6 => "ReLU6 belongs after a depthwise convolution",
            Position::Depthwise => "a projecting 1x1 convolution belongs after a depthwise one",
            Position::Projected => "an addition of the block's input or the next block belongs after a projection",
            Position::Added => "the next block belongs after an addition",
            Position::Pooled => "only changes of shape belong after the last pooling",
        }
    }

    pub fn conv(&mut self, conv: Conv) -> Result<(), Reason> {
        use ConvKind::{Dense, Depthwise, Pointwise};
        let position = match (self.position, conv.kind) {
            (Position::Start, Dense) => Position::Stem,
            (Position::Stem | Position::Expanded, Depthwise) if self.clamp == RELU6 => Position::Depthwise,
            (Position::Depthwise, Pointwise) if self.clamp == RELU6 => Position::Projected,
            (Position::Projected | Position::Added, Pointwise) => Position::Expanded,
            (Position::Projected | Position::Added, Depthwise) => Position::Depthwise,
            _ => return Err(format!("a {} convolution, but {}", kind_name(conv.kind), self.expected())),
        };
        if self.between_blocks() {
            self.block_input = Some(self.shape);
        }
        self.shape = [conv.geometry.outputs, conv.geometry.size_out[0], conv.geometry.size_out[1]];
        self.position = position;
        self.clamp = UNCLAMPED;
        match position {
            Position::Stem | Position::Expanded => self.expand = Some(conv),
            Position::Depthwise => self.depthwise = Some(conv),
            _ => self.blocks.push(BlockPlan {
                expand: self.expand.take(),
                depthwise: self.depthwise.take().expect("a projection follows a depthwise convolution"),
                project: conv,
                residual: false,
            }),
        }
        Ok(())
    }

    /// Folds a batch normalization into the convolution before it.
    pub fn norm(&mut self, norm: &BatchNorm) -> Result<(), Reason> {
        let clamped = self.clamp != UNCLAMPED;
        match self.last_conv() {
            Some(conv) if !clamped => conv.fold(norm),
            _ => return Err("batch normalization belongs directly after a convolution".into()),
        }
        match self.last_conv() {
            Some(conv) if conv.weights.iter().chain(&conv.bias).any(|number| !number.is_finite()) => {
                Err("folded into its convolution it gives numbers that are not finite".into())
            }
            _ => Ok(()),
        }
    }

    fn last_conv(&mut self) -> Option<&mut Conv> {
        match self.position {
            Position::Stem | Position::Expanded => self.expand.as_mut(),
            Position::Depthwise => self.depthwise.as_mut(),
            Position::Projected => self.blocks.last_mut().map(|block| &mut block.project),
            Position::Start | Position::Added | Position::Pooled => None,
        }
    }

    /// A clamp, whole or a half of it.
    pub fn clamp(&mut self, low: f32, high: f32) -> Result<(), Reason> {
        if !matches!(self.position, Position::Stem | Position::Expanded | Position::Depthwise) {
            return Err(format!("an activation, but {}", self.expected()));
        }
        let clamp = (self.clamp.0.max(low), self.clamp.1.min(high));
        if matches!(clamp.0, f32::NEG_INFINITY | 0.0) && matches!(clamp.1, f32::INFINITY | 6.0) {
            self.clamp = clamp;
            Ok(())
        } else {
            Err(format!("clamps to {} to {}, where ReLU6 clamps to 0 to 6", clamp.0, clamp.1))
        }
    }

    /// The addition of the block's input.
    pub fn residual(&mut self) -> Result<(), Reason> {
        match (self.position, self.block_input) {
            (Position::Projected, Some(shape)) if shape == self.shape => {}
            (Position::Projected, Some(shape)) => {
                return Err(format!("adds an input of shape {shape:?} to a result of shape {:?}", self.shape));
            }
            (Position::Projected, None) => return Err("the first block adds nothing".into()),
            _ => return Err(format!("an addition, but {}", self.expected())),
        }
        self.blocks.last_mut().expect("a projection made a block").residual = true;
        self.position = Position::Added;
        Ok(())
    }

    /// The mean over the image.
    pub fn pool(&mut self) -> Result<(), Reason> {
        if self.position != Position::Expanded || self.clamp != RELU6 {
            return Err(format!("a mean over the image, but {}", self.expected()));
        }
        self.position = Position::Pooled;
        Ok(())
    }

    /// The network, once the graph has ended.
    pub fn finish(self) -> Result<Plan, Reason> {
        match (self.position, self.expand) {
            (Position::Pooled, Some(head)) => Ok(Plan { size: self.image, blocks: self.blocks, head }),
            (position, _) => Err(format!("it ends early ({position:?}): no mean over the image")),
        }
    }
}

pub fn kind_name(kind: ConvKind) -> &'static str {
    match kind {
        ConvKind::Dense => "dense 3x3",
        ConvKind::Depthwise => "depthwise",
        ConvKind::Pointwise => "1x1",
    }
}
