//! ONNX files of the family in every dialect, and files that are not of it: drawn small, and run by plain loops beside.

#[path = "common/net.rs"]
mod net;

use candle_onnx::onnx::{GraphProto, NodeProto};
use mr_vision::kernels::{Arithmetic, Kernels};
use mr_vision::{Network, NetworkError, Scratch, weights};
use net::*;
use prost::Message;

#[test]
fn features_are_those_of_plain_loops() {
    let check = |what: &str, shape: Shape| compare(what, &Net::draw(&shape, false, 7), PLAIN);
    check("a bit of everything", small());
    check("one pixel", Shape { size: [1, 1], ..small() });
    check("a column", Shape { size: [40, 3], ..small() });
    check("no stride at the stem", Shape { stem: (3, [1, 1]), ..small() });
    check("strides that differ", {
        let mut shape = small();
        shape.stem.1 = [1, 2];
        shape.blocks[1].stride = [2, 1];
        shape.blocks[4].stride = [3, 2];
        shape
    });
    check("a stem that leaves columns out", Shape { size: [21, 28], stem: (8, [5, 4]), ..small() });
    check("strides wider than the kernel", {
        let mut shape = small();
        shape.size = [61, 70];
        shape.blocks[1].stride = [5, 4];
        shape
    });
    // Wide enough to be cut into strips, with the ring going round several times.
    check(
        "many strips",
        Shape {
            size: [90, 110],
            stem: (32, [1, 1]),
            blocks: vec![
                block(None, 1, 16, false),
                block(Some(96), 2, 24, false),
                block(Some(144), 1, 24, true),
                block(None, 2, 20, false),
                block(Some(100), 1, 20, true),
            ],
            features: 40,
        },
    );
}

#[test]
fn padding_may_be_on_any_side() {
    for seed in 0..40usize {
        let mut net = Net::draw(&Shape { size: [21 + seed % 5, 26 + seed % 3], ..small() }, false, 7);
        for (index, conv) in net.convs.iter_mut().enumerate().filter(|(_, conv)| conv.kernel == 3) {
            let drawn = |side: usize| (seed * 7 + index * 5 + side * (3 + seed / 9)) % 3;
            // What keeps its size goes on fitting what is added to it.
            let other = |one: usize, side| if conv.stride == [1, 1] { 2 - one } else { drawn(side) };
            conv.pads = Some([[drawn(0), other(drawn(0), 1)], [drawn(2), other(drawn(2), 3)]]);
        }
        compare(&format!("padding of seed {seed}"), &net, Dialect { pads: Pads::Explicit, ..PLAIN });
    }
}

/// What every set of kernels makes of a network, beside plain loops.
fn compare(what: &str, net: &Net, dialect: Dialect) {
    let (image, file) = (net.image(3), net.onnx(dialect));
    let wanted = net.features(&image);
    assert!(wanted.iter().any(|feature| *feature > 0.0), "{what}: a network that is all zeros shows nothing");
    let network = Network::from_onnx_bytes(&file).expect(what);
    assert_eq!(network.input_size(), (net.size[0], net.size[1]), "{what}");
    assert_eq!(network.features(), wanted.len(), "{what}");
    let mut split: Option<Vec<f32>> = None;
    for kernels in Kernels::available() {
        let network = Network::on(kernels, &file).expect(what);
        let mut scratch = Scratch::new();
        for _ in 0..2 {
            let features = network.embed(&image, &mut scratch).expect(what);
            let wanted = match kernels.arithmetic() {
                Arithmetic::F32 => &wanted,
                Arithmetic::Bf16x3 => {
                    for (feature, wanted) in features.iter().zip(&wanted) {
                        assert!((feature - wanted).abs() < 1e-3, "{what}: {feature} where {wanted} belongs");
                    }
                    split.get_or_insert_with(|| features.clone())
                }
            };
            assert_eq!(features, *wanted, "{what} on {}", kernels.name());
        }
    }
}

#[test]
fn a_scratch_serves_networks_of_all_sizes_in_turn() {
    let mut scratch = Scratch::new();
    for size in [[21, 26], [90, 110], [5, 5], [21, 26]] {
        let net = Net::draw(&Shape { size, ..small() }, false, 11);
        let network = Network::from_onnx_bytes(&net.onnx(PLAIN)).expect("the network");
        let image = net.image(1);
        assert_eq!(network.embed(&image, &mut scratch).expect("features"), net.features(&image), "{size:?}");
    }
}

#[test]
fn every_dialect_says_the_same() {
    let net = Net::draw(&small(), false, 5);
    let image = net.image(9);
    let wanted = net.features(&image);
    let mut dialects = vec![
        PLAIN,
        Dialect { channels_last: true, ..PLAIN },
        Dialect { identities: true, ..PLAIN },
        Dialect { initializers_are_inputs: true, ..PLAIN },
    ];
    for pads in [Pads::Explicit, Pads::PadNodes, Pads::PadNodesOfOldOpsets] {
        dialects.push(Dialect { pads, ..PLAIN });
        dialects.push(Dialect { pads, identities: true, channels_last: true, ..PLAIN });
    }
    for relu6 in [Relu6::ClipAttributes, Relu6::ReluMin, Relu6::MinMax, Relu6::HalfClips] {
        dialects.push(Dialect { relu6, ..PLAIN });
    }
    for tail in [
        Tail::Nothing,
        Tail::Reshape,
        Tail::ReshapeByItsOwnShape,
        Tail::Squeeze,
        Tail::AveragePool,
        Tail::ReduceMean,
        Tail::ReduceMeanChannelsLast,
    ] {
        dialects.push(Dialect { tail, ..PLAIN });
        dialects.push(Dialect { tail, identities: true, numbers: Numbers::ConstantNodes, ..PLAIN });
    }
    for numbers in [Numbers::Field, Numbers::ConstantNodes] {
        dialects.push(Dialect { numbers, pads: Pads::PadNodes, ..PLAIN });
    }
    for dialect in dialects {
        let network = Network::from_onnx_bytes(&net.onnx(dialect)).unwrap_or_else(|e| panic!("{dialect:?}: {e}"));
        let features = network.embed(&image, &mut Scratch::new()).expect("features");
        assert_eq!(features, wanted, "{dialect:?}");
    }
}

#[test]
fn batch_normalization_as_nodes_is_that_of_the_folded_file() {
    let net = Net::draw(&small(), true, 13);
    let image = net.image(2);
    let run = |bytes: &[u8]| {
        let network = Network::from_onnx_bytes(bytes).expect("the network");
        network.embed(&image, &mut Scratch::new()).expect("features")
    };
    let features = run(&net.onnx(PLAIN));
    assert_eq!(features, run(&net.folded().onnx(PLAIN)));
    assert_eq!(features, net.folded().features(&image));
}

#[test]
fn the_builtin_weights_are_of_the_family() {
    let network = Network::from_onnx_bytes(weights::BUILTIN).expect("the network");
    assert_eq!((network.input_size(), network.features()), ((224, 224), 1280));
}

#[test]
fn a_network_is_shared_by_slots() {
    let net = Net::draw(&small(), false, 17);
    let network = std::sync::Arc::new(Network::from_onnx_bytes(&net.onnx(PLAIN)).expect("the network"));
    let slots: Vec<_> = (0..4)
        .map(|slot| {
            let (network, net) = (network.clone(), net.clone());
            std::thread::spawn(move || {
                let mut scratch = Scratch::new();
                for seed in 0..20 {
                    let image = net.image(slot * 100 + seed);
                    assert_eq!(network.embed(&image, &mut scratch).expect("features"), net.features(&image));
                }
            })
        })
        .collect();
    for slot in slots {
        slot.join().expect("each slot gets its own features");
    }
}

#[test]
fn an_input_that_does_not_fit_is_refused() {
    let net = Net::draw(&small(), false, 19);
    let network = Network::from_onnx_bytes(&net.onnx(PLAIN)).expect("the network");
    let mut image = net.image(1);
    image[77] = f32::NAN;
    let outcome = network.embed(&image, &mut Scratch::new());
    assert!(matches!(outcome, Err(NetworkError::NotFinite)), "{outcome:?}");
    image.pop();
    let message = network.embed(&image, &mut Scratch::new()).expect_err("a short input").to_string();
    assert_eq!(message, "an input of 1637 numbers where the network takes 1638");
}

#[test]
fn what_is_not_of_the_family_is_refused_with_its_first_difference() {
    let mut wrong = Vec::new();
    let mut check = |what, change: &dyn Fn(&mut GraphProto), message| wrong.extend(taken(what, change, message));
    check(
        "a sigmoid for ReLU6",
        &|g| node(g, 1).op_type = "Sigmoid".into(),
        "node `clip_2` (Sigmoid): no operator of this family here: ReLU6 belongs after the first convolution",
    );
    check(
        "another operator set",
        &|g| node(g, 1).domain = "com.example".into(),
        "node `clip_2` (Clip): an operator of the domain `com.example`",
    );
    check(
        "a node without a name",
        &|g| {
            node(g, 1).op_type = "Selu".into();
            node(g, 1).name.clear()
        },
        "node `clip_2` (Selu): no operator",
    );
    check(
        "a larger clamp",
        &|g| number(g, "six", 8.0),
        "node `clip_2` (Clip): clamps to 0 to 8, where ReLU6 clamps to 0 to 6",
    );
    check(
        "half a ReLU6",
        &|g| node(g, 3).op_type = "Relu".into(),
        "node `conv_5` (Conv): a 1x1 convolution, but ReLU6 belongs after a depthwise convolution",
    );
    check(
        "a missing ReLU6",
        &|g| {
            g.node.remove(3);
            node(g, 3).input[0] = "conv_3".into()
        },
        "node `conv_5` (Conv): a 1x1 convolution, but ReLU6 belongs after a depthwise convolution",
    );
    check(
        "an activation after a projection",
        &|g| {
            let tip = g.node[4].output[0].clone();
            insert(g, 5, "Relu", &[&tip])
        },
        "node `new` (Relu): an activation, but an addition",
    );
    check(
        "a dilated convolution",
        &|g| node(g, 2).attribute.push(ints("dilations", &[2, 2])),
        "node `conv_3` (Conv): a dilated convolution",
    );
    check(
        "half the groups",
        &|g| node(g, 2).attribute[2].i = 4,
        "node `conv_3` (Conv): a kernel [3, 3] in 4 groups over 8 channels",
    );
    check("no stride", &|g| node(g, 0).attribute[1].ints = vec![0, 2], "node `conv_1` (Conv): strides [0, 2]");
    check(
        "three strides",
        &|g| node(g, 0).attribute[1].ints = vec![1, 2, 2],
        "node `conv_1` (Conv): strides [1, 2, 2], where 2 numbers belong",
    );
    check(
        "a stride at a 1x1 convolution",
        &|g| node(g, 4).attribute[1].ints = vec![2, 2],
        "node `conv_5` (Conv): a 1x1 convolution with strides or padding",
    );
    check(
        "another kernel_shape",
        &|g| node(g, 0).attribute[0].ints = vec![5, 5],
        "node `conv_1` (Conv): a kernel_shape that differs from the weights' [3, 3]",
    );
    check(
        "unknown padding",
        &|g| node(g, 0).attribute[3] = text("auto_pad", "MIRROR"),
        "node `conv_1` (Conv): padding `MIRROR`",
    );
    check(
        "negative padding",
        &|g| node(g, 0).attribute[3] = ints("pads", &[-1, 0, 1, 1]),
        "node `conv_1` (Conv): padding [-1, 0, 1, 1]",
    );
    check(
        "padding for miles",
        &|g| node(g, 0).attribute[3] = ints("pads", &[0, 0, i64::MAX, 1]),
        "node `conv_1` (Conv): padding of 0 and 9223372036854775807 around a kernel of 3",
    );
    check(
        "a stem of one pixel",
        &|g| {
            tensor(g, "w0").dims = vec![72, 3, 1, 1];
            node(g, 0).attribute[0].ints = vec![1, 1];
            node(g, 0).input.pop();
        },
        "node `conv_1` (Conv): a 1x1 convolution with strides or padding",
    );
    check(
        "too few weights",
        &|g| tensor(g, "w0").dims = vec![9, 3, 3, 3],
        "node `conv_1` (Conv): constant `w0`: 216 numbers for dims [9, 3, 3, 3]",
    );
    check(
        "weights of negative size",
        &|g| tensor(g, "w0").dims = vec![-8, 3, 3, 3],
        "node `conv_1` (Conv): constant `w0`: impossible dims [-8, 3, 3, 3]",
    );
    check(
        "weights beyond counting",
        &|g| tensor(g, "w0").dims = vec![i64::MAX, i64::MAX, 3, 3],
        "node `conv_1` (Conv): constant `w0`: impossible dims",
    );
    check(
        "weights of no output",
        &|g| {
            tensor(g, "w0").dims = vec![0, 3, 3, 3];
            tensor(g, "w0").raw_data.clear()
        },
        "node `conv_1` (Conv): weights of dims [0, 3, 3, 3] over 3 channels",
    );
    check(
        "half a number",
        &|g| {
            tensor(g, "w0").raw_data.pop();
        },
        "node `conv_1` (Conv): constant `w0`: 863 bytes, which is no whole number of 4",
    );
    check(
        "half-precision weights",
        &|g| tensor(g, "w0").data_type = 10,
        "node `conv_1` (Conv): constant `w0`: numbers of type FLOAT16",
    );
    check(
        "weights of no known type",
        &|g| tensor(g, "w0").data_type = 99,
        "node `conv_1` (Conv): constant `w0`: numbers of type unknown",
    );
    check(
        "weights elsewhere",
        &|g| tensor(g, "w0").data_location = 1,
        "node `conv_1` (Conv): constant `w0`: its numbers lie in another file",
    );
    check(
        "a weight that is infinite",
        &|g| tensor(g, "w3").raw_data[..4].copy_from_slice(&f32::INFINITY.to_le_bytes()),
        "node `conv_6` (Conv): constant `w3`: a number in it is not finite",
    );
    check(
        "weights that are computed",
        &|g| node(g, 0).input[1] = "image".into(),
        "node `conv_1` (Conv): `image` is not a constant",
    );
    check("no weights", &|g| node(g, 0).input.truncate(1), "node `conv_1` (Conv): no weights");
    check(
        "a bias too long",
        &|g| node(g, 0).input[2] = "b3".into(),
        "node `conv_1` (Conv): constant `b3`: dims [17] where [8] belongs",
    );
    check(
        "an addition of something else",
        &|g| {
            let at = position(g, "Add");
            node(g, at).input[1] = "clip_2".into()
        },
        "(Add): adds `conv_15` and `clip_2`, where a block's input `conv_10` belongs",
    );
    check(
        "an addition of two shapes",
        &|g| insert(g, 10, "Add", &["conv_10", "conv_5"]),
        "node `new` (Add): adds an input of shape [5, 11, 13] to a result of shape [6, 6, 7]",
    );
    check(
        "a path that forks",
        &|g| node(g, 5).input[0] = "clip_4".into(),
        "node `conv_6` (Conv): reads `clip_4`, where the path has come to `conv_5`",
    );
    check(
        "a mean too early",
        &|g| insert(g, 5, "GlobalAveragePool", &["conv_5"]),
        "node `new` (GlobalAveragePool): a mean over the image, but an addition of the block's input or the next block belongs",
    );
    check(
        "a maximum for the mean",
        &|g| {
            let at = position(g, "GlobalAveragePool");
            node(g, at).op_type = "GlobalMaxPool".into()
        },
        "(GlobalMaxPool): no operator of this family here: a depthwise convolution, or the last pooling, belongs after an expansion",
    );
    check(
        "a mean over a part",
        &|g| {
            let at = position(g, "GlobalAveragePool");
            node(g, at).op_type = "AveragePool".into();
            node(g, at).attribute.push(ints("kernel_shape", &[2, 2]))
        },
        "(AveragePool): pooling over less, or more, than the whole image",
    );
    check(
        "a mean over channels",
        &|g| {
            let at = position(g, "GlobalAveragePool");
            node(g, at).op_type = "ReduceMean".into();
            node(g, at).attribute.push(ints("axes", &[1, 2]))
        },
        "(ReduceMean): a mean over the axes [1, 2]",
    );
    check(
        "a classifier",
        &|g| {
            let tip = g.output[0].name.clone();
            let end = g.node.len();
            insert(g, end, "Gemm", &[&tip])
        },
        "node `new` (Gemm): no operator of this family here: only changes of shape belong after the last pooling",
    );
    check(
        "picked features",
        &|g| {
            let tip = g.output[0].name.clone();
            let end = g.node.len();
            insert(g, end, "Gather", &[&tip, "zero"])
        },
        "node `new` (Gather): no operator of this family here",
    );
    check(
        "an image turned about",
        &|g| insert(g, 0, "Transpose", &["image"]),
        "node `new` (Transpose): no order of axes",
    );
    check(
        "two images",
        &|g| {
            let image = g.input[0].clone();
            g.input.push(image)
        },
        "it does not have one input",
    );
    check("grey images", &|g| dim(g, 1, 1), "its input `image` does not have 3 channels");
    check("images by the mile", &|g| dim(g, 2, 1 << 40), "its input `image` is larger than 4096 pixels");
    check("no shape of four", &|g| shape(g).dim.truncate(3), "its input `image` has 3 dims where 4 belong");
    check(
        "two outputs",
        &|g| {
            let features = g.output[0].clone();
            g.output.push(features)
        },
        "2 outputs where one belongs",
    );
    check(
        "an output from halfway",
        &|g| g.output[0].name = "conv_5".into(),
        "its output `conv_5` is not the pooled features",
    );
    check("half a network", &|g| g.node.truncate(6), "it ends early (Expanded): no mean over the image");
    check("nothing at all", &|g| g.node.clear(), "it ends early (Start): no mean over the image");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn bytes_that_are_no_model_are_refused() {
    let refuse = |bytes: &[u8]| Network::from_onnx_bytes(bytes).err().expect("no network").to_string();
    assert_eq!(refuse(b""), "the graph is no MobileNetV2 feature extractor: the file has no graph");
    assert_eq!(refuse(b"\xff\xd8\xff\xe0 a photo"), "the weights are no ONNX file");
    assert_eq!(refuse(b"<!DOCTYPE html><html>not found</html>"), "the weights are no ONNX file");
}

#[test]
fn broken_files_give_errors_and_no_panics() {
    let shape = Shape { size: [9, 9], blocks: vec![block(None, 1, 2, false), block(Some(4), 1, 2, true)], ..small() };
    let net = Net::draw(&Shape { stem: (3, [2, 2]), features: 5, ..shape }, true, 23);
    let image = net.image(1);
    let whole = net.onnx(Dialect { pads: Pads::PadNodes, ..PLAIN });
    for len in 0..whole.len() {
        assert!(Network::from_onnx_bytes(&whole[..len]).is_err(), "a file cut at byte {len} of {}", whole.len());
    }
    let mut state = 1u64;
    let mut draw = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize
    };
    let mut networks = 0;
    for _ in 0..20_000 {
        let mut bytes = whole.clone();
        for _ in 0..1 + draw() % 3 {
            let at = draw() % bytes.len();
            bytes[at] = draw() as u8;
        }
        // Whatever still is a network must run; a changed name or weight may well be one.
        if let Ok(network) = Network::from_onnx_bytes(&bytes) {
            networks += 1;
            if network.input_size() == (9, 9) {
                let _ = network.embed(&image, &mut Scratch::new());
            }
        }
    }
    assert!(networks > 0, "some changes hit weights only");
}

/// Changes a small file and says what is wrong with the answer if it is no refusal that says this.
fn taken(what: &str, change: &dyn Fn(&mut GraphProto), message: &str) -> Option<String> {
    let net = Net::draw(&small(), false, 5);
    let mut model = net.model(PLAIN);
    change(model.graph.as_mut().expect("a graph"));
    match Network::from_onnx_bytes(&model.encode_to_vec()) {
        Ok(_) => Some(format!("{what}: taken")),
        Err(error) if error.to_string().contains(message) => None,
        Err(error) => Some(format!("{what}: {error}")),
    }
}

fn node(graph: &mut GraphProto, index: usize) -> &mut NodeProto {
    &mut graph.node[index]
}

fn position(graph: &GraphProto, op: &str) -> usize {
    graph.node.iter().position(|node| node.op_type == op).expect("such a node")
}

fn insert(graph: &mut GraphProto, at: usize, op: &str, inputs: &[&str]) {
    let input = inputs.iter().map(|input| input.to_string()).collect();
    let (name, output) = ("new".to_string(), vec!["new".to_string()]);
    graph.node.insert(at, NodeProto { input, output, name, op_type: op.to_string(), ..NodeProto::default() });
}

fn tensor<'a>(graph: &'a mut GraphProto, name: &str) -> &'a mut candle_onnx::onnx::TensorProto {
    graph.initializer.iter_mut().find(|tensor| tensor.name == name).expect("such a constant")
}

fn number(graph: &mut GraphProto, name: &str, number: f32) {
    tensor(graph, name).raw_data = number.to_le_bytes().to_vec();
}

fn shape(graph: &mut GraphProto) -> &mut candle_onnx::onnx::TensorShapeProto {
    use candle_onnx::onnx::type_proto::Value;
    let Some(Value::TensorType(tensor)) = graph.input[0].r#type.as_mut().and_then(|of| of.value.as_mut()) else {
        panic!("the image is a tensor");
    };
    tensor.shape.as_mut().expect("the image has a shape")
}

fn dim(graph: &mut GraphProto, axis: usize, value: i64) {
    use candle_onnx::onnx::tensor_shape_proto::dimension::Value;
    shape(graph).dim[axis].value = Some(Value::DimValue(value));
}
