//! The network alone against onnxruntime: the exact tensors of four photos, and the features that they should have.

mod common;

use std::path::Path;

use common::shared;
use mr_vision::kernels::{Arithmetic, Kernels};
use mr_vision::{Network, Scratch};

#[test]
fn features_are_those_of_onnxruntime() {
    let Some(models) = shared("models") else { return };
    let weights = std::fs::read(models.join("mobilenet_v2_1.0_224.onnx")).expect("the weights");
    let (shape, inputs) = f32s(&models.join("golden/inputs_first4.npy"));
    let (wanted_shape, wanted) = f32s(&models.join("golden/embeddings.npy"));
    assert_eq!((shape.as_slice(), wanted_shape[1]), ([4, 3, 224, 224].as_slice(), 1280));

    for (arithmetic, most) in [(Arithmetic::F32, 1e-5), (Arithmetic::Bf16x3, 5e-4)] {
        let mut first: Option<Vec<Vec<f32>>> = None;
        for kernels in Kernels::available().into_iter().filter(|kernels| kernels.arithmetic() == arithmetic) {
            let network = Network::on(kernels, &weights).expect("the network");
            assert_eq!((network.input_size(), network.features()), ((224, 224), 1280));
            let mut scratch = Scratch::new();
            let features: Vec<Vec<f32>> = inputs
                .chunks_exact(3 * 224 * 224)
                .map(|planes| network.embed(&channels_last(planes), &mut scratch).expect("features"))
                .collect();
            for (features, wanted) in features.iter().zip(wanted.chunks_exact(1280)) {
                let distance = relative_l2(features, wanted);
                println!("{}: relative L2 {distance:.2e}", kernels.name());
                assert!(distance < most, "{}: relative L2 {distance:e}", kernels.name());
            }
            let first = first.get_or_insert_with(|| features.clone());
            assert!(*first == features, "{} gives other bits than plain Rust", kernels.name());
        }
    }
}

fn channels_last(planes: &[f32]) -> Vec<f32> {
    let pixels = planes.len() / 3;
    (0..planes.len()).map(|i| planes[i % 3 * pixels + i / 3]).collect()
}

fn relative_l2(a: &[f32], b: &[f32]) -> f64 {
    let square = |x: f64| x * x;
    let difference: f64 = a.iter().zip(b).map(|(a, b)| square(*a as f64 - *b as f64)).sum();
    let norm: f64 = b.iter().map(|b| square(*b as f64)).sum();
    (difference / norm).sqrt()
}

/// Shape and numbers of a NumPy file of little-endian f32 in C order.
fn f32s(path: &Path) -> (Vec<usize>, Vec<f32>) {
    let bytes = std::fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    assert_eq!(&bytes[..7], b"\x93NUMPY\x01", "{}", path.display());
    let header_len = u16::from_le_bytes([bytes[8], bytes[9]]) as usize;
    let (header, numbers) = bytes[10..].split_at(header_len);
    let header = String::from_utf8_lossy(header);
    assert!(header.contains("'<f4'") && header.contains("'fortran_order': False"), "{header}");
    let shape = header.split_once("'shape': (").and_then(|(_, rest)| rest.split_once(')')).expect("a shape").0;
    let shape: Vec<usize> =
        shape.split(',').map(str::trim).filter(|dim| !dim.is_empty()).map(|dim| dim.parse().expect("a dim")).collect();
    let numbers: Vec<f32> = numbers.as_chunks().0.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect();
    assert_eq!(numbers.len(), shape.iter().product::<usize>(), "{}", path.display());
    (shape, numbers)
}
