//! From an ONNX graph to the family's layers, node by node in the file's order.
//!
//! A MobileNetV2 is one path with short cuts, so the reader keeps the name of the value that the path has come to and
//! expects every node to read it. Nodes that change nothing (identities, changes of shape at the end) rename it. What a
//! layer may follow is [`family`](super::family)'s to say; here is how ONNX writes it, in the dialects of PyTorch,
//! Keras by tf2onnx, and plain exporters.

use std::collections::{HashMap, HashSet};

use candle_onnx::onnx::tensor_shape_proto::dimension::Value as Dim;
use candle_onnx::onnx::{GraphProto, ModelProto, NodeProto, ValueInfoProto, type_proto};
use prost::Message;

use super::NetworkError;
use super::family::{Assembly, Position};
use super::layer::{BatchNorm, Conv, ConvKind, Geometry, Plan};
use super::onnx::{Constants, Reason, attribute, input, ints, output, text};

/// Height and width where a file leaves them open.
const SIZE_DEFAULT: usize = 224;

/// Sides beyond this are taken for a mistake: nothing is allocated for them.
const SIDE_MAX: usize = 4096;

/// Numbers in a layer's result beyond which a file is taken for a mistake (1 GiB).
const LAYER_NUMBERS_MAX: usize = 1 << 28;

/// Reads a file's bytes.
pub fn read(bytes: &[u8]) -> Result<Plan, NetworkError> {
    let model = ModelProto::decode(bytes).map_err(NetworkError::NotOnnx)?;
    let graph = model.graph.as_ref().ok_or_else(|| NetworkError::Graph("the file has no graph".into()))?;
    let mut reader = Reader::new(graph).map_err(NetworkError::Graph)?;
    for node in &graph.node {
        reader.node(node).map_err(|why| NetworkError::Node {
            name: [&node.name].into_iter().chain(&node.output).find(|n| !n.is_empty()).cloned().unwrap_or_default(),
            op: node.op_type.clone(),
            why,
        })?;
    }
    reader.finish(graph).map_err(NetworkError::Graph)
}

/// The order of axes that a transposition of an image with channels last says.
const TO_CHANNELS_FIRST: [i64; 4] = [0, 3, 1, 2];

struct Reader<'a> {
    constants: Constants<'a>,
    /// Names that stand for an earlier one, already resolved.
    aliases: HashMap<&'a str, &'a str>,
    /// Values that hold dims, which end up in a `Reshape` at most.
    dims: HashSet<&'a str>,
    /// The value that the path has come to.
    tip: &'a str,
    /// The value that the current block began with.
    block_input: &'a str,
    /// Padding that a `Pad` node put before the next convolution: above, left, below, right.
    pads: Option<[usize; 4]>,
    /// Whether the pixel's channels come last at this point.
    channels_last: bool,
    assembly: Assembly,
}

impl<'a> Reader<'a> {
    fn new(graph: &'a GraphProto) -> Result<Reader<'a>, Reason> {
        let constants = Constants::of(graph);
        let mut images = graph.input.iter().filter(|input| !constants.contains(&input.name));
        let (Some(image), None) = (images.next(), images.next()) else {
            return Err("it does not have one input".into());
        };
        // Channels last is written as a transposition before everything else.
        let channels_last = graph
            .node
            .iter()
            .any(|node| input(node, 0) == Some(&image.name) && ints::<4>(node, "perm") == Ok(Some(TO_CHANNELS_FIRST)));
        let [height, width] = image_size(image, channels_last)?;
        Ok(Reader {
            constants,
            aliases: HashMap::new(),
            dims: HashSet::new(),
            tip: &image.name,
            block_input: &image.name,
            pads: None,
            channels_last,
            assembly: Assembly::new([height, width]),
        })
    }

    fn node(&mut self, node: &'a NodeProto) -> Result<(), Reason> {
        if !matches!(node.domain.as_str(), "" | "ai.onnx") {
            return Err(format!("an operator of the domain `{}`", node.domain));
        }
        let op = node.op_type.as_str();
        if op == "Constant" {
            return self.constants.add(node);
        }
        if self.assembly.position() == Position::Pooled && self.is_about_dims(node, op) {
            self.dims.extend(node.output.iter().map(String::as_str));
            return Ok(());
        }
        if self.pads.is_some() && op != "Conv" {
            return Err("a convolution belongs after padding".into());
        }
        if self.channels_last && !matches!(op, "Transpose" | "ReduceMean" | "Identity") && !self.is_pooled() {
            return Err("channels come last here".into());
        }
        match op {
            "Identity" => self.rename(node),
            "Transpose" => self.transpose(node),
            "Pad" => self.pad(node),
            "Conv" => self.conv(node),
            "BatchNormalization" => self.norm(node),
            "Clip" | "Relu" | "Min" | "Max" => self.clamp(node, op),
            "Add" => self.add(node),
            "GlobalAveragePool" | "AveragePool" | "ReduceMean" => self.pool(node, op),
            "Flatten" | "Reshape" | "Squeeze" | "Unsqueeze" if self.is_pooled() => self.rename(node),
            _ => Err(format!("no operator of this family here: {}", self.assembly.expected())),
        }
    }

    fn finish(self, graph: &GraphProto) -> Result<Plan, Reason> {
        let tip = self.tip;
        let [output] = graph.output.as_slice() else {
            return Err(format!("{} outputs where one belongs", graph.output.len()));
        };
        let plan = self.assembly.finish()?;
        match self.aliases.get(output.name.as_str()).copied().unwrap_or(&output.name) == tip {
            true => Ok(plan),
            false => Err(format!("its output `{}` is not the pooled features", output.name)),
        }
    }

    fn is_pooled(&self) -> bool {
        self.assembly.position() == Position::Pooled
    }

    fn resolve(&self, name: &'a str) -> &'a str {
        self.aliases.get(name).copied().unwrap_or(name)
    }

    /// Checks that the node's first input is what the path has come to.
    fn reads_tip(&self, node: &'a NodeProto) -> Result<(), Reason> {
        match input(node, 0) {
            Some(name) if self.resolve(name) == self.tip => Ok(()),
            Some(name) => Err(format!("reads `{name}`, where the path has come to `{}`", self.tip)),
            None => Err("reads nothing".into()),
        }
    }

    /// The node's output is the tip under another name.
    fn rename(&mut self, node: &'a NodeProto) -> Result<(), Reason> {
        self.reads_tip(node)?;
        self.aliases.insert(output(node)?, self.tip);
        Ok(())
    }

    /// The node's output is what the path has come to.
    fn advance(&mut self, node: &'a NodeProto) -> Result<(), Reason> {
        self.tip = output(node)?;
        Ok(())
    }

    /// Exporters compute the last `Reshape`'s shape from the features' own; it can only be theirs, so it isn't followed.
    fn is_about_dims(&self, node: &'a NodeProto, op: &str) -> bool {
        let known = |name: &String| self.dims.contains(name.as_str()) || self.constants.contains(name);
        match op {
            "Shape" => self.reads_tip(node).is_ok(),
            "Gather" | "Slice" | "Cast" | "Concat" | "Unsqueeze" | "Squeeze" => {
                node.input.first().is_some_and(|name| self.dims.contains(name.as_str()))
                    || op == "Concat" && node.input.iter().all(known)
            }
            _ => false,
        }
    }

    /// Channels last to channels first at the start, back before a mean, anything once every value has one pixel.
    fn transpose(&mut self, node: &'a NodeProto) -> Result<(), Reason> {
        let order = ints::<4>(node, "perm")?.ok_or("no order of axes")?;
        match (self.assembly.position(), order) {
            (Position::Start, TO_CHANNELS_FIRST) if self.channels_last => self.channels_last = false,
            (Position::Expanded, [0, 2, 3, 1]) if !self.channels_last => self.channels_last = true,
            (Position::Pooled, [0, ..]) => {}
            _ => return Err(format!("an order of axes {order:?} that does not belong here")),
        }
        self.rename(node)
    }

    fn pad(&mut self, node: &'a NodeProto) -> Result<(), Reason> {
        if text(node, "mode").is_some_and(|mode| mode != "constant") {
            return Err("padding with something else than a constant".into());
        }
        let value = match (attribute(node, "value"), input(node, 2)) {
            (Some(attribute), _) => attribute.f,
            (None, Some(name)) => self.constants.float(name)?,
            (None, None) => 0.0,
        };
        let pads = match (attribute(node, "pads"), input(node, 1)) {
            (Some(attribute), _) => attribute.ints.clone(),
            (None, Some(name)) => self.constants.ints(name)?,
            (None, None) => return Err("no widths of padding".into()),
        };
        match (value == 0.0, pads.as_slice()) {
            (true, &[0, 0, top, left, 0, 0, bottom, right]) if input(node, 3).is_none() => {
                let pads = [top, left, bottom, right].map(|pad| usize::try_from(pad).ok().filter(|pad| *pad < 3));
                let [Some(top), Some(left), Some(bottom), Some(right)] = pads else {
                    return Err(format!("padding {pads:?}, where a 3x3 convolution has 0 to 2"));
                };
                self.rename(node)?;
                self.pads = Some([top, left, bottom, right]);
                Ok(())
            }
            _ => Err(format!("padding {pads:?} with {value}, where zeros belong around the image")),
        }
    }

    fn conv(&mut self, node: &'a NodeProto) -> Result<(), Reason> {
        self.reads_tip(node)?;
        let [channels, height, width] = self.assembly.shape();
        let (dims, weights) = self.constants.floats(input(node, 1).ok_or("no weights")?)?;
        let [outputs, group_inputs, kernel @ ..] = dims.as_slice() else {
            return Err(format!("weights of dims {dims:?}"));
        };
        let groups = attribute(node, "group").map_or(1, |group| group.i);
        let kind = match (groups, kernel) {
            (1, [1, 1]) => ConvKind::Pointwise,
            (1, [3, 3]) => ConvKind::Dense,
            (_, [3, 3]) if groups == channels as i64 => ConvKind::Depthwise,
            _ => return Err(format!("a kernel {kernel:?} in {groups} groups over {channels} channels")),
        };
        let wanted = if kind == ConvKind::Depthwise { [channels, 1] } else { [*outputs, channels] };
        if [*outputs, *group_inputs] != wanted || *outputs == 0 {
            return Err(format!("weights of dims {dims:?} over {channels} channels"));
        }
        if ints::<2>(node, "kernel_shape")?.is_some_and(|shape| shape.map(|k| k as usize) != *kernel) {
            return Err(format!("a kernel_shape that differs from the weights' {kernel:?}"));
        }
        if ints::<2>(node, "dilations")?.is_some_and(|dilations| dilations != [1, 1]) {
            return Err("a dilated convolution".into());
        }
        let stride = ints::<2>(node, "strides")?.unwrap_or([1, 1]);
        let stride = match stride.map(|s| usize::try_from(s).unwrap_or(0)) {
            stride if stride.iter().all(|s| (1..=SIDE_MAX).contains(s)) => stride,
            _ => return Err(format!("strides {stride:?}")),
        };
        let bias = match input(node, 2) {
            Some(name) => self.constants.vector(name, *outputs)?,
            None => vec![0.0; *outputs],
        };
        let size_in = [height, width];
        let window = Window { kernel: kernel[0], stride, before: self.pads.take().unwrap_or([0; 4]) };
        let (pad, size_out) = window.place(node, size_in)?;
        if kind == ConvKind::Pointwise && (stride != [1, 1] || size_out != size_in) {
            return Err("a 1x1 convolution with strides or padding".into());
        }
        let numbers = size_out.iter().try_fold(*outputs, |a, &b| a.checked_mul(b));
        if numbers.is_none_or(|numbers| numbers > LAYER_NUMBERS_MAX) {
            return Err(format!("a result of {outputs} x {} x {} numbers", size_out[0], size_out[1]));
        }
        if self.assembly.between_blocks() {
            self.block_input = self.tip;
        }
        let (inputs, outputs) = (channels, *outputs);
        let geometry = Geometry { inputs, outputs, stride, pad, size_in, size_out };
        self.assembly.conv(Conv { kind, weights, bias, geometry })?;
        self.advance(node)
    }

    fn norm(&mut self, node: &'a NodeProto) -> Result<(), Reason> {
        self.reads_tip(node)?;
        if attribute(node, "training_mode").is_some_and(|mode| mode.i != 0) {
            return Err("batch normalization in training mode".into());
        }
        let channels = self.assembly.shape()[0];
        let vector = |index| self.constants.vector(input(node, index).ok_or("too few inputs")?, channels);
        self.assembly.norm(&BatchNorm {
            scale: vector(1)?,
            shift: vector(2)?,
            mean: vector(3)?,
            variance: vector(4)?,
            epsilon: attribute(node, "epsilon").map_or(1e-5, |epsilon| epsilon.f),
        })?;
        self.advance(node)
    }

    fn clamp(&mut self, node: &'a NodeProto, op: &str) -> Result<(), Reason> {
        const OPEN: (f32, f32) = (f32::NEG_INFINITY, f32::INFINITY);
        let (low, high) = match op {
            "Relu" => (0.0, OPEN.1),
            "Clip" => {
                let bound = |name, index, open| match (attribute(node, name), input(node, index)) {
                    (Some(attribute), _) => Ok(attribute.f),
                    (None, Some(name)) => self.constants.float(name),
                    (None, None) => Ok(open),
                };
                // The largest finite numbers are how older files say that a side is open.
                let low = bound("min", 1, OPEN.0)?;
                let high = bound("max", 2, OPEN.1)?;
                (if low == f32::MIN { OPEN.0 } else { low }, if high == f32::MAX { OPEN.1 } else { high })
            }
            _ => {
                let [a, b] = node.input.as_slice() else {
                    return Err(format!("{} inputs where two belong", node.input.len()));
                };
                let (value, bound) = if self.constants.contains(a) { (b, a) } else { (a, b) };
                if self.resolve(value) != self.tip {
                    return Err(format!("reads `{value}`, where the path has come to `{}`", self.tip));
                }
                let bound = self.constants.float(bound)?;
                self.assembly
                    .clamp(if op == "Max" { bound } else { OPEN.0 }, if op == "Min" { bound } else { OPEN.1 })?;
                return self.advance(node);
            }
        };
        self.reads_tip(node)?;
        self.assembly.clamp(low, high)?;
        self.advance(node)
    }

    fn add(&mut self, node: &'a NodeProto) -> Result<(), Reason> {
        let [a, b] = node.input.as_slice() else {
            return Err(format!("{} inputs where two belong", node.input.len()));
        };
        let (a, b) = (self.resolve(a), self.resolve(b));
        if [a, b] != [self.tip, self.block_input] && [b, a] != [self.tip, self.block_input] {
            return Err(format!("adds `{a}` and `{b}`, where a block's input `{}` belongs", self.block_input));
        }
        self.assembly.residual()?;
        self.advance(node)
    }

    fn pool(&mut self, node: &'a NodeProto, op: &str) -> Result<(), Reason> {
        self.reads_tip(node)?;
        let [_, height, width] = self.assembly.shape();
        match op {
            "AveragePool" => {
                let whole = ints::<2>(node, "kernel_shape")? == Some([height as i64, width as i64]);
                let padded = ints::<4>(node, "pads")?.is_some_and(|pads| pads != [0; 4]);
                let automatic = text(node, "auto_pad").is_some_and(|pad| pad != "NOTSET" && pad != "VALID");
                if !whole || padded || automatic {
                    return Err("pooling over less, or more, than the whole image".into());
                }
            }
            "ReduceMean" => {
                let mut axes = match (attribute(node, "axes"), input(node, 1)) {
                    (Some(attribute), _) => attribute.ints.clone(),
                    (None, Some(name)) => self.constants.ints(name)?,
                    (None, None) => return Err("a mean over everything".into()),
                };
                axes.iter_mut().filter(|axis| **axis < 0).for_each(|axis| *axis = axis.saturating_add(4));
                axes.sort_unstable();
                if axes != if self.channels_last { [1, 2] } else { [2, 3] } {
                    return Err(format!("a mean over the axes {axes:?}"));
                }
            }
            _ => {}
        }
        self.assembly.pool()?;
        self.channels_last = false;
        self.advance(node)
    }
}

/// A convolution's kernel on its way over the image.
struct Window {
    /// Its side.
    kernel: usize,
    stride: [usize; 2],
    /// Padding that the image came with: above, left, below, right.
    before: [usize; 4],
}

impl Window {
    /// Padding above and to the left, and the result's height and width.
    fn place(&self, node: &NodeProto, size: [usize; 2]) -> Result<([usize; 2], [usize; 2]), Reason> {
        let automatic = text(node, "auto_pad").unwrap_or("NOTSET".into());
        let explicit = ints::<4>(node, "pads")?.unwrap_or([0; 4]);
        let mut pad = [0; 2];
        let mut size_out = [0; 2];
        for axis in 0..2 {
            let padded = self.before[axis] + size[axis] + self.before[axis + 2];
            let stride = self.stride[axis];
            let (above, below) = match automatic.as_ref() {
                "NOTSET" => {
                    let [above, below] = [explicit[axis], explicit[axis + 2]].map(|pad| usize::try_from(pad).ok());
                    let (Some(above), Some(below)) = (above, below) else {
                        return Err(format!("padding {explicit:?}"));
                    };
                    (above, below)
                }
                "SAME_UPPER" | "SAME_LOWER" => {
                    let all = ((padded.div_ceil(stride) - 1) * stride + self.kernel).saturating_sub(padded);
                    let less = all / 2;
                    if automatic == "SAME_UPPER" { (less, all - less) } else { (all - less, less) }
                }
                "VALID" => (0, 0),
                other => return Err(format!("padding `{other}`")),
            };
            let (above, below) = (above.saturating_add(self.before[axis]), below.saturating_add(self.before[axis + 2]));
            if above >= self.kernel || below >= self.kernel {
                return Err(format!("padding of {above} and {below} around a kernel of {}", self.kernel));
            }
            pad[axis] = above;
            size_out[axis] = match (above + size[axis] + below).checked_sub(self.kernel) {
                Some(way) => way / stride + 1,
                None => return Err(format!("an image of {size:?}, smaller than the kernel")),
            };
        }
        Ok((pad, size_out))
    }
}

/// Height and width of the image that the graph takes in.
fn image_size(image: &ValueInfoProto, channels_last: bool) -> Result<[usize; 2], Reason> {
    let Some(type_proto::Value::TensorType(tensor)) = image.r#type.as_ref().and_then(|of| of.value.as_ref()) else {
        return Err(format!("its input `{}` is no tensor", image.name));
    };
    let Some(shape) = &tensor.shape else { return Ok([SIZE_DEFAULT; 2]) };
    let dims: Vec<Option<i64>> = shape
        .dim
        .iter()
        .map(|dim| match dim.value {
            // Some exporters write an open dim as 0 or -1.
            Some(Dim::DimValue(value)) if value > 0 => Some(value),
            _ => None,
        })
        .collect();
    let (channels, height, width) = match (dims.as_slice(), channels_last) {
        (&[_, c, h, w], false) | (&[_, h, w, c], true) => (c, h, w),
        _ => return Err(format!("its input `{}` has {} dims where 4 belong", image.name, dims.len())),
    };
    if channels.is_some_and(|channels| channels != 3) {
        return Err(format!("its input `{}` does not have 3 channels", image.name));
    }
    let side = |side: Option<i64>| match side.map(usize::try_from) {
        None => Ok(SIZE_DEFAULT),
        Some(Ok(side)) if side <= SIDE_MAX => Ok(side),
        Some(_) => Err(format!("its input `{}` is larger than {SIDE_MAX} pixels", image.name)),
    };
    Ok([side(height)?, side(width)?])
}
