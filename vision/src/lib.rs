//! Photos to embeddings: the bytes of an image file in, the features of a MobileNetV2 out.
//!
//! Two halves that know nothing of each other. [`image`] makes the network's input of a file: decoding, resizing and
//! scaling, with a verdict on files that hold no photo. [`network`] reads the graph and weights of a MobileNetV2 from an
//! ONNX file and runs it on [`kernels`]; [`weights`] holds the file that a job uses unless it names another. Nothing here
//! knows of jobs or of a store.

pub mod image;
pub mod kernels;
pub mod network;
pub mod weights;

pub use network::{Network, NetworkError, Scratch};
