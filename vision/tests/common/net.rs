//! Small MobileNetV2s for tests: drawn from a seed, written as ONNX in many dialects, and run by the plainest loops.

use candle_onnx::onnx::attribute_proto::AttributeType;
use candle_onnx::onnx::tensor_proto::DataType;
use candle_onnx::onnx::tensor_shape_proto::{Dimension, dimension};
use candle_onnx::onnx::{
    AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto, TensorShapeProto, TypeProto, ValueInfoProto,
    type_proto,
};
use prost::Message;

/// What a network looks like.
#[derive(Clone)]
pub struct Shape {
    pub size: [usize; 2],
    pub stem: (usize, [usize; 2]),
    pub blocks: Vec<BlockShape>,
    pub features: usize,
}

#[derive(Clone, Copy)]
pub struct BlockShape {
    pub expand: Option<usize>,
    pub stride: [usize; 2],
    pub outputs: usize,
    pub residual: bool,
}

pub fn block(expand: Option<usize>, stride: usize, outputs: usize, residual: bool) -> BlockShape {
    BlockShape { expand, stride: [stride; 2], outputs, residual }
}

/// A network that has a bit of everything, and odd channel counts.
pub fn small() -> Shape {
    Shape {
        size: [21, 26],
        stem: (8, [2, 2]),
        blocks: vec![
            block(None, 1, 5, false),
            block(Some(17), 2, 6, false),
            block(Some(35), 1, 6, true),
            block(None, 1, 6, true),
            block(Some(18), 2, 7, false),
        ],
        features: 19,
    }
}

/// A convolution's numbers, in ONNX's order.
#[derive(Clone)]
pub struct Conv {
    pub weights: Vec<f32>,
    pub bias: Vec<f32>,
    pub inputs: usize,
    pub outputs: usize,
    pub kernel: usize,
    pub depthwise: bool,
    pub stride: [usize; 2],
    /// Above and below, to the left and to the right; TensorFlow's SAME if nothing is said.
    pub pads: Option<[[usize; 2]; 2]>,
    pub relu6: bool,
    pub norm: Option<Norm>,
    pub begins_block: bool,
    pub residual: bool,
}

/// A batch normalization's four vectors.
#[derive(Clone)]
pub struct Norm {
    pub scale: Vec<f32>,
    pub shift: Vec<f32>,
    pub mean: Vec<f32>,
    pub variance: Vec<f32>,
}

pub const EPSILON: f32 = 1e-3;

/// A network's numbers.
#[derive(Clone)]
pub struct Net {
    pub size: [usize; 2],
    pub convs: Vec<Conv>,
}

impl Net {
    pub fn draw(shape: &Shape, norms: bool, seed: u64) -> Net {
        let mut draw = Draw(seed);
        let mut convs = Vec::new();
        let mut add = |inputs: usize, outputs: usize, kernel: usize, depthwise: bool, stride, relu6| {
            let per_output = if depthwise { kernel * kernel } else { inputs * kernel * kernel };
            let scale = (3.0 / per_output as f32).sqrt();
            let norm = norms.then(|| Norm {
                scale: draw.numbers(outputs, 1.0).iter().map(|n| 1.0 + n / 2.0).collect(),
                shift: draw.numbers(outputs, 1.0),
                mean: draw.numbers(outputs, 1.0),
                variance: draw.numbers(outputs, 1.0).iter().map(|n| 1.1 + n).collect(),
            });
            convs.push(Conv {
                weights: draw.numbers(outputs * per_output, scale * 2.0),
                bias: draw.numbers(outputs, 1.0),
                inputs,
                outputs,
                kernel,
                depthwise,
                stride,
                pads: None,
                relu6,
                norm,
                begins_block: false,
                residual: false,
            });
            convs.len() - 1
        };
        add(3, shape.stem.0, 3, false, shape.stem.1, true);
        let mut channels = shape.stem.0;
        let mut marks = Vec::new();
        for (index, block) in shape.blocks.iter().enumerate() {
            let inner = block.expand.unwrap_or(channels);
            let expand = block.expand.map(|inner| add(channels, inner, 1, false, [1, 1], true));
            let depthwise = add(inner, inner, 3, true, block.stride, true);
            let project = add(inner, block.outputs, 1, false, [1, 1], false);
            marks.push(((index > 0).then(|| expand.unwrap_or(depthwise)), project, block.residual));
            channels = block.outputs;
        }
        add(channels, shape.features, 1, false, [1, 1], true);
        for (begin, project, residual) in marks {
            begin.into_iter().for_each(|begin| convs[begin].begins_block = true);
            convs[project].residual = residual;
        }
        Net { size: shape.size, convs }
    }

    /// The same network with its batch normalizations in its convolutions.
    pub fn folded(&self) -> Net {
        let mut net = self.clone();
        for conv in &mut net.convs {
            let Some(norm) = conv.norm.take() else { continue };
            let per_output = conv.weights.len() / conv.outputs;
            for channel in 0..conv.outputs {
                let scale =
                    f64::from(norm.scale[channel]) / (f64::from(norm.variance[channel]) + f64::from(EPSILON)).sqrt();
                for weight in &mut conv.weights[channel * per_output..][..per_output] {
                    *weight = (f64::from(*weight) * scale) as f32;
                }
                let centred = f64::from(conv.bias[channel]) - f64::from(norm.mean[channel]);
                conv.bias[channel] = (centred * scale + f64::from(norm.shift[channel])) as f32;
            }
        }
        net
    }

    /// The features of an image, by loops that know nothing of strips or vectors.
    pub fn features(&self, image: &[f32]) -> Vec<f32> {
        let (mut x, mut size) = (image.to_vec(), self.size);
        let mut block_input = Vec::new();
        for conv in &self.convs {
            if conv.begins_block {
                block_input = x.clone();
            }
            (x, size) = conv.run(&x, size);
            if conv.residual {
                x.iter_mut().zip(&block_input).for_each(|(x, input)| *x += input);
            }
        }
        let channels = x.len() / (size[0] * size[1]);
        let sum = |channel| x.iter().skip(channel).step_by(channels).fold(0f32, |sum, value| sum + value);
        (0..channels).map(|channel| sum(channel) / (size[0] * size[1]) as f32).collect()
    }

    pub fn image(&self, seed: u64) -> Vec<f32> {
        Draw(seed).numbers(self.size[0] * self.size[1] * 3, 1.0)
    }
}

impl Conv {
    /// Padding above or to the left, and below or to the right.
    pub fn pads(&self, size: [usize; 2]) -> [[usize; 2]; 2] {
        self.pads.unwrap_or_else(|| {
            [0, 1].map(|axis| {
                let out = size[axis].div_ceil(self.stride[axis]);
                let all = ((out - 1) * self.stride[axis] + self.kernel).saturating_sub(size[axis]);
                [all / 2, all - all / 2]
            })
        })
    }

    pub fn size_out(&self, size: [usize; 2]) -> [usize; 2] {
        let pads = self.pads(size);
        [0, 1].map(|axis| (pads[axis][0] + size[axis] + pads[axis][1] - self.kernel) / self.stride[axis] + 1)
    }

    fn run(&self, x: &[f32], size: [usize; 2]) -> (Vec<f32>, [usize; 2]) {
        let out_size = self.size_out(size);
        let pads = self.pads(size);
        let group_inputs = if self.depthwise { 1 } else { self.inputs };
        let mut out = Vec::new();
        for place in 0..out_size[0] * out_size[1] {
            let place = [place / out_size[1], place % out_size[1]];
            for channel in 0..self.outputs {
                let mut sum = self.bias[channel];
                for tap in 0..self.kernel * self.kernel {
                    let tap_at = [tap / self.kernel, tap % self.kernel];
                    let at =
                        [0, 1].map(|axis| (place[axis] * self.stride[axis] + tap_at[axis]).wrapping_sub(pads[axis][0]));
                    if at[0] >= size[0] || at[1] >= size[1] {
                        continue;
                    }
                    for input in 0..group_inputs {
                        let from = if self.depthwise { channel } else { input };
                        let weight = self.weights[(channel * group_inputs + input) * self.kernel * self.kernel + tap];
                        sum = x[(at[0] * size[1] + at[1]) * self.inputs + from].mul_add(weight, sum);
                    }
                }
                out.push(if self.relu6 { sum.clamp(0.0, 6.0) } else { sum });
            }
        }
        (out, out_size)
    }
}

/// How a file says what it says.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Dialect {
    pub pads: Pads,
    pub relu6: Relu6,
    pub tail: Tail,
    pub numbers: Numbers,
    pub channels_last: bool,
    pub identities: bool,
    pub initializers_are_inputs: bool,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Pads {
    SameUpper,
    Explicit,
    PadNodes,
    PadNodesOfOldOpsets,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Relu6 {
    ClipInputs,
    ClipAttributes,
    ReluMin,
    MinMax,
    HalfClips,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Tail {
    Flatten,
    Nothing,
    Reshape,
    ReshapeByItsOwnShape,
    Squeeze,
    AveragePool,
    ReduceMean,
    ReduceMeanChannelsLast,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Numbers {
    Raw,
    Field,
    ConstantNodes,
}

pub const PLAIN: Dialect = Dialect {
    pads: Pads::SameUpper,
    relu6: Relu6::ClipInputs,
    tail: Tail::Flatten,
    numbers: Numbers::Raw,
    channels_last: false,
    identities: false,
    initializers_are_inputs: false,
};

impl Net {
    pub fn onnx(&self, dialect: Dialect) -> Vec<u8> {
        self.model(dialect).encode_to_vec()
    }

    pub fn model(&self, dialect: Dialect) -> ModelProto {
        let mut writer = Writer { dialect, graph: GraphProto::default(), count: 0 };
        let dims =
            if dialect.channels_last { [1, self.size[0], self.size[1], 3] } else { [1, 3, self.size[0], self.size[1]] };
        writer.graph.input.push(value("image", &dims));
        writer.floats("zero", &[], &[0.0]);
        writer.floats("six", &[], &[6.0]);
        let mut tip = "image".to_string();
        if dialect.channels_last {
            tip = writer.node("Transpose", &[&tip], vec![ints("perm", &[0, 3, 1, 2])]);
        }
        let mut size = self.size;
        let mut block_input = String::new();
        for (index, conv) in self.convs.iter().enumerate() {
            if conv.begins_block {
                block_input = tip.clone();
            }
            tip = writer.conv(index, conv, &tip, size);
            size = conv.size_out(size);
            if let Some(norm) = &conv.norm {
                tip = writer.norm(index, norm, &tip);
            }
            if conv.relu6 {
                tip = writer.relu6(&tip);
            }
            if dialect.identities {
                tip = writer.node("Identity", &[&tip], vec![]);
            }
            if conv.residual {
                tip = writer.node("Add", &[&tip, &block_input], vec![]);
            }
        }
        let features = writer.tail(&tip, size);
        writer.graph.output.push(value(&features, &[1, self.convs.last().expect("a head").outputs]));
        ModelProto { ir_version: 8, graph: Some(writer.graph), ..ModelProto::default() }
    }
}

struct Writer {
    dialect: Dialect,
    graph: GraphProto,
    count: usize,
}

impl Writer {
    fn node(&mut self, op: &str, inputs: &[&str], attribute: Vec<AttributeProto>) -> String {
        self.count += 1;
        let name = format!("{}_{}", op.to_lowercase(), self.count);
        self.graph.node.push(NodeProto {
            input: inputs.iter().map(|input| input.to_string()).collect(),
            output: vec![name.clone()],
            name: name.clone(),
            op_type: op.to_string(),
            attribute,
            ..NodeProto::default()
        });
        name
    }

    fn floats(&mut self, name: &str, dims: &[usize], numbers: &[f32]) {
        let raw = numbers.iter().flat_map(|number| number.to_le_bytes()).collect();
        self.tensor(name, dims, DataType::Float, raw, |tensor| tensor.float_data = numbers.to_vec());
    }

    fn integers(&mut self, name: &str, numbers: &[i64]) {
        let raw = numbers.iter().flat_map(|number| number.to_le_bytes()).collect();
        self.tensor(name, &[numbers.len()], DataType::Int64, raw, |tensor| tensor.int64_data = numbers.to_vec());
    }

    fn tensor(&mut self, name: &str, dims: &[usize], of: DataType, raw: Vec<u8>, fill: impl FnOnce(&mut TensorProto)) {
        let mut tensor = TensorProto {
            name: name.to_string(),
            dims: dims.iter().map(|dim| *dim as i64).collect(),
            data_type: of as i32,
            ..TensorProto::default()
        };
        match self.dialect.numbers {
            Numbers::Raw | Numbers::ConstantNodes => tensor.raw_data = raw,
            Numbers::Field => fill(&mut tensor),
        }
        if self.dialect.numbers == Numbers::ConstantNodes {
            self.graph.node.push(NodeProto {
                output: vec![name.to_string()],
                op_type: "Constant".to_string(),
                attribute: vec![AttributeProto { t: Some(tensor), ..attribute("value", AttributeType::Tensor) }],
                ..NodeProto::default()
            });
        } else {
            if self.dialect.initializers_are_inputs {
                self.graph.input.insert(0, value(name, dims));
            }
            self.graph.initializer.push(tensor);
        }
    }

    fn conv(&mut self, index: usize, conv: &Conv, tip: &str, size: [usize; 2]) -> String {
        let group_inputs = if conv.depthwise { 1 } else { conv.inputs };
        let (weights, bias) = (format!("w{index}"), format!("b{index}"));
        self.floats(&weights, &[conv.outputs, group_inputs, conv.kernel, conv.kernel], &conv.weights);
        self.floats(&bias, &[conv.outputs], &conv.bias);
        let [[top, bottom], [left, right]] = conv.pads(size).map(|pads| pads.map(|pad| pad as i64));
        let mut attributes = vec![
            ints("kernel_shape", &[conv.kernel as i64; 2]),
            ints("strides", &conv.stride.map(|stride| stride as i64)),
            int("group", if conv.depthwise { conv.inputs as i64 } else { 1 }),
        ];
        let mut tip = tip.to_string();
        match self.dialect.pads {
            Pads::SameUpper => attributes.push(text("auto_pad", "SAME_UPPER")),
            Pads::Explicit => attributes.push(ints("pads", &[top, left, bottom, right])),
            _ if conv.kernel == 1 => {}
            Pads::PadNodes => {
                let pads = format!("pads{index}");
                self.integers(&pads, &[0, 0, top, left, 0, 0, bottom, right]);
                tip = self.node("Pad", &[&tip, &pads, "zero"], vec![text("mode", "constant")]);
            }
            Pads::PadNodesOfOldOpsets => {
                tip = self.node("Pad", &[&tip], vec![ints("pads", &[0, 0, top, left, 0, 0, bottom, right])]);
            }
        }
        self.node("Conv", &[&tip, &weights, &bias], attributes)
    }

    fn norm(&mut self, index: usize, norm: &Norm, tip: &str) -> String {
        let vectors = [&norm.scale, &norm.shift, &norm.mean, &norm.variance];
        let names = [0, 1, 2, 3].map(|vector| format!("norm{index}_{vector}"));
        for (name, numbers) in names.iter().zip(vectors) {
            self.floats(name, &[numbers.len()], numbers);
        }
        let [scale, shift, mean, variance] = &names;
        self.node("BatchNormalization", &[tip, scale, shift, mean, variance], vec![float("epsilon", EPSILON)])
    }

    fn relu6(&mut self, tip: &str) -> String {
        match self.dialect.relu6 {
            Relu6::ClipInputs => self.node("Clip", &[tip, "zero", "six"], vec![]),
            Relu6::ClipAttributes => self.node("Clip", &[tip], vec![float("min", 0.0), float("max", 6.0)]),
            Relu6::ReluMin => {
                let half = self.node("Relu", &[tip], vec![]);
                self.node("Min", &[&half, "six"], vec![])
            }
            Relu6::MinMax => {
                let half = self.node("Min", &["six", tip], vec![]);
                self.node("Max", &[&half, "zero"], vec![])
            }
            Relu6::HalfClips => {
                let half = self.node("Clip", &[tip, "", "six"], vec![]);
                self.node("Clip", &[&half], vec![float("min", 0.0), float("max", f32::MAX)])
            }
        }
    }

    fn tail(&mut self, tip: &str, size: [usize; 2]) -> String {
        let mean = match self.dialect.tail {
            Tail::AveragePool => {
                self.node("AveragePool", &[tip], vec![ints("kernel_shape", &size.map(|side| side as i64))])
            }
            Tail::ReduceMean => self.node("ReduceMean", &[tip], vec![ints("axes", &[-1, -2]), int("keepdims", 0)]),
            Tail::ReduceMeanChannelsLast => {
                let turned = self.node("Transpose", &[tip], vec![ints("perm", &[0, 2, 3, 1])]);
                self.integers("axes", &[1, 2]);
                self.node("ReduceMean", &[&turned, "axes"], vec![int("keepdims", 0)])
            }
            _ => self.node("GlobalAveragePool", &[tip], vec![]),
        };
        match self.dialect.tail {
            Tail::Flatten | Tail::AveragePool => self.node("Flatten", &[&mean], vec![int("axis", 1)]),
            Tail::Nothing | Tail::ReduceMean | Tail::ReduceMeanChannelsLast => mean,
            Tail::Reshape => {
                self.integers("shape", &[0, -1]);
                self.node("Reshape", &[&mean, "shape"], vec![])
            }
            Tail::ReshapeByItsOwnShape => {
                self.integers("first", &[0]);
                self.integers("rest", &[-1]);
                let shape = self.node("Shape", &[&mean], vec![]);
                let batch = self.node("Gather", &[&shape, "first"], vec![int("axis", 0)]);
                let shape = self.node("Concat", &[&batch, "rest"], vec![int("axis", 0)]);
                self.node("Reshape", &[&mean, &shape], vec![])
            }
            Tail::Squeeze => {
                let turned = self.node("Transpose", &[&mean], vec![ints("perm", &[0, 2, 3, 1])]);
                self.node("Squeeze", &[&turned], vec![ints("axes", &[1, 2])])
            }
        }
    }
}

pub fn attribute(name: &str, of: AttributeType) -> AttributeProto {
    AttributeProto { name: name.to_string(), r#type: of as i32, ..AttributeProto::default() }
}

pub fn int(name: &str, i: i64) -> AttributeProto {
    AttributeProto { i, ..attribute(name, AttributeType::Int) }
}

pub fn ints(name: &str, ints: &[i64]) -> AttributeProto {
    AttributeProto { ints: ints.to_vec(), ..attribute(name, AttributeType::Ints) }
}

pub fn float(name: &str, f: f32) -> AttributeProto {
    AttributeProto { f, ..attribute(name, AttributeType::Float) }
}

pub fn text(name: &str, s: &str) -> AttributeProto {
    AttributeProto { s: s.as_bytes().to_vec(), ..attribute(name, AttributeType::String) }
}

fn value(name: &str, dims: &[usize]) -> ValueInfoProto {
    let dim = |dim: &usize| Dimension { value: Some(dimension::Value::DimValue(*dim as i64)), ..Dimension::default() };
    let shape = TensorShapeProto { dim: dims.iter().map(dim).collect() };
    let tensor = type_proto::Tensor { elem_type: DataType::Float as i32, shape: Some(shape) };
    ValueInfoProto {
        name: name.to_string(),
        r#type: Some(TypeProto { value: Some(type_proto::Value::TensorType(tensor)), ..TypeProto::default() }),
        ..ValueInfoProto::default()
    }
}

/// Numbers between -1 and 1, times a scale.
struct Draw(u64);

impl Draw {
    fn numbers(&mut self, len: usize, scale: f32) -> Vec<f32> {
        (0..len)
            .map(|_| {
                self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                ((self.0 >> 40) as f32 / (1u64 << 23) as f32 - 1.0) * scale
            })
            .collect()
    }
}
