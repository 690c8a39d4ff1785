//! Moments of rows, eigenvectors of symmetric matrices, and the PCA they give.
//!
//! Numbers go in and numbers come out: this room knows no job, no store and no file. Every sum has one order of
//! additions, written in the code and not chosen by the machine: moments, merges and projections give the same bits
//! everywhere, and fits do on machines whose `fit_arithmetic` has one name.

mod bytes;
mod eigen;
mod moments;
pub mod npy;
mod panels;
mod pca;
mod simd;

pub use bytes::Malformed;
pub use eigen::fit_arithmetic;
pub use moments::{DIM_MAX, Moments, MomentsError};
pub use pca::{Certificate, Components, Fitted, Pca, PcaError};
