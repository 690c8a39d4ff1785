//! The built-in network against candle's stock layers: other convolutions, another layout, another order of sums.

use candle_core::{DType, Device, Module, Tensor};
use candle_nn::{Conv2d, Conv2dConfig};
use candle_onnx::onnx::{AttributeProto, GraphProto, ModelProto, NodeProto};
use mr_vision::{Network, Scratch, weights};
use prost::Message;
use std::collections::HashMap;

#[test]
fn features_are_those_of_candles_own_convolutions() -> candle_core::Result<()> {
    let model = ModelProto::decode(weights::BUILTIN).expect("the built-in weights are ONNX");
    let graph = model.graph.expect("a model has a graph");
    let network = Network::from_onnx_bytes(weights::BUILTIN).expect("they are of the family");
    let (height, width) = network.input_size();
    let image: Vec<f32> = (0..height * width * 3).map(|i| ((i * 7919 % 256) as f32) / 127.5 - 1.0).collect();

    let ours = network.embed(&image, &mut Scratch::new()).expect("it fits");
    let input = Tensor::from_vec(image, (1, height, width, 3), &Device::Cpu)?.permute((0, 3, 1, 2))?.contiguous()?;
    let stock: Vec<f32> = run(&graph, input)?.flatten_all()?.to_vec1()?;

    let norm = |values: &mut dyn Iterator<Item = f32>| values.map(|v| f64::from(v).powi(2)).sum::<f64>().sqrt();
    let apart = norm(&mut ours.iter().zip(&stock).map(|(a, b)| a - b)) / norm(&mut stock.iter().copied());
    assert_eq!(ours.len(), stock.len());
    assert!(apart < 1e-5, "relative L2 is {apart:e}");
    Ok(())
}

/// Runs the graph node by node as it stands in the file.
fn run(graph: &GraphProto, input: Tensor) -> candle_core::Result<Tensor> {
    let mut values: HashMap<&str, Tensor> = HashMap::new();
    for constant in &graph.initializer {
        let shape: Vec<usize> = constant.dims.iter().map(|&dim| dim as usize).collect();
        let floats: Vec<f32> = match constant.float_data.is_empty() {
            false => constant.float_data.clone(),
            true => constant.raw_data.chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect(),
        };
        if floats.len() == shape.iter().product::<usize>() {
            values.insert(&constant.name, Tensor::from_vec(floats, shape, &Device::Cpu)?);
        }
    }
    values.insert(&graph.input[0].name, input);
    for node in &graph.node {
        let x = values[node.input[0].as_str()].clone();
        let y = match node.op_type.as_str() {
            "Conv" => conv(node, &x, &values)?,
            "Clip" => x.clamp(0f32, 6f32)?,
            "Add" => (&x + &values[node.input[1].as_str()])?,
            "GlobalAveragePool" => x.mean_keepdim((2, 3))?,
            "Flatten" => x.flatten_from(1)?,
            other => panic!("the built-in weights have no {other}"),
        };
        values.insert(&node.output[0], y);
    }
    values[graph.output[0].name.as_str()].to_dtype(DType::F32)
}

fn conv(node: &NodeProto, x: &Tensor, values: &HashMap<&str, Tensor>) -> candle_core::Result<Tensor> {
    let ints = |name: &str| attribute(node, name).map(|a| a.ints.clone());
    let stride = ints("strides").map_or(1, |s| s[0] as usize);
    let groups = attribute(node, "group").map_or(1, |a| a.i as usize);
    let pads = match attribute(node, "auto_pad").map(|a| a.s.as_slice()) {
        Some(b"SAME_UPPER") => same_upper(x, &values[node.input[1].as_str()], stride)?,
        _ => ints("pads").unwrap_or_else(|| vec![0; 4]),
    };
    let x = x.pad_with_zeros(2, pads[0] as usize, pads[2] as usize)?;
    let x = x.pad_with_zeros(3, pads[1] as usize, pads[3] as usize)?;
    let config = Conv2dConfig { stride, groups, ..Conv2dConfig::default() };
    let (weight, bias) = (values[node.input[1].as_str()].clone(), values[node.input[2].as_str()].clone());
    Conv2d::new(weight, Some(bias), config).forward(&x)
}

/// Before and after, so that the output is as large as the input divided by the stride; what is odd goes after.
fn same_upper(x: &Tensor, weight: &Tensor, stride: usize) -> candle_core::Result<Vec<i64>> {
    let pad = |axis: usize| -> candle_core::Result<(i64, i64)> {
        let (size, kernel) = (x.dim(axis)?, weight.dim(axis)?);
        let all = ((size.div_ceil(stride) - 1) * stride + kernel).saturating_sub(size);
        Ok(((all / 2) as i64, (all - all / 2) as i64))
    };
    let ((top, bottom), (left, right)) = (pad(2)?, pad(3)?);
    Ok(vec![top, left, bottom, right])
}

fn attribute<'a>(node: &'a NodeProto, name: &str) -> Option<&'a AttributeProto> {
    node.attribute.iter().find(|attribute| attribute.name == name)
}
