//! Eigenvalues and eigenvectors of a symmetric matrix, by faer's tridiagonalisation and divide and conquer.

use crate::panels::symmetric_entry;
use faer::dyn_stack::{MemBuffer, MemStack};
use faer::linalg::evd::{ComputeEigenvectors, self_adjoint_evd, self_adjoint_evd_scratch};
use faer::{Mat, Par};

/// Eigenvalues in falling order, and for each its eigenvector of length one.
pub(crate) struct Eigen {
    pub values: Vec<f64>,
    pub vectors: Vec<Vec<f64>>,
}

/// The iteration did not end.
pub(crate) struct NoConvergence;

/// All eigenpairs of the matrix whose upper triangle is packed in `triangle`.
pub(crate) fn decompose(dim: usize, triangle: &[f64]) -> Result<Eigen, NoConvergence> {
    // One thread: with two, blocks are cut and summed otherwise.
    let par = Par::Seq;
    let scale = scale(dim, triangle);
    let matrix = Mat::from_fn(dim, dim, |row, column| scale * symmetric_entry(triangle, dim, row, column));
    let mut values = faer::Col::<f64>::zeros(dim);
    let mut vectors = Mat::<f64>::zeros(dim, dim);
    let scratch = self_adjoint_evd_scratch::<f64>(dim, ComputeEigenvectors::Yes, par, Default::default());
    self_adjoint_evd(
        matrix.as_ref(),
        values.as_diagonal_mut(),
        Some(vectors.as_mut()),
        par,
        MemStack::new(&mut MemBuffer::new(scratch)),
        Default::default(),
    )
    .map_err(|_| NoConvergence)?;
    Ok(Eigen {
        values: (0..dim).rev().map(|index| values[index] / scale).collect(),
        vectors: (0..dim).rev().map(|index| vectors.col(index).iter().copied().collect()).collect(),
    })
}

/// A power of two that brings the largest diagonal entry near one: faer compares entries with a tolerance that is
/// right only there. Scaling by it is exact.
fn scale(dim: usize, triangle: &[f64]) -> f64 {
    let largest = (0..dim).map(|index| symmetric_entry(triangle, dim, index, index).abs()).fold(0.0, f64::max);
    if largest == 0.0 {
        return 1.0;
    }
    let exponent = largest.to_bits() >> 52;
    f64::from_bits((2046 - exponent).clamp(1, 2045) << 52)
}
