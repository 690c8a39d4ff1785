//! Moments of rows, eigenvectors of symmetric matrices, and the PCA they give.
//!
//! Numbers go in and numbers come out: this room knows no job, no store and no file. Every sum has one order of
//! additions, written in the code and not chosen by the machine, so that the same rows give the same bytes on any
//! number of cores and on any x86-64 with fused multiply-add. `eigen` says what holds beyond that.

mod bytes;
mod eigen;
mod moments;
pub mod npy;
mod panels;
mod pca;
mod simd;

pub use bytes::Malformed;
pub use moments::{DIM_MAX, Moments, MomentsError};
pub use pca::{Certificate, Components, Pca, PcaError};
