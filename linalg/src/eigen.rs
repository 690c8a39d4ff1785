//! Eigenvalues and eigenvectors of a symmetric matrix, by faer's tridiagonalisation and divide and conquer.
//!
//! What the last bits depend on, read in faer 0.24.4 and tried:
//! - Threads are pinned to one here.
//! - Most loops go through pulp, which takes 256-bit registers wherever it finds x86-64-v3; its 512-bit code is behind
//!   the feature `x86-v4` (faer's `nightly`), which nothing may turn on: sums across lanes would then be cut otherwise.
//! - Larger matrix products go through private-gemm-x86, which takes AVX-512 where it finds it, and no feature pins it.
//!   It needs no pinning: each element is one chain over the depth in steps of 512 whatever the registers and caches,
//!   and an emulated Haswell gives the same bits as AVX-512 does.
//! - Without x86-64-v3 the bits are others. On ARM the gemm crate also cuts the depth by the size of the caches.
//!
//! `fit_arithmetic` names these cases, and a test holds a fit to bytes written down, so that a dependency that changes
//! its mind is seen.

use crate::panels::symmetric_entry;
use faer::dyn_stack::{MemBuffer, MemStack};
use faer::linalg::evd::{ComputeEigenvectors, self_adjoint_evd, self_adjoint_evd_scratch};
use faer::{Mat, Par};

/// Eigenvalues in falling order, and for each its eigenvector of length one.
pub(crate) struct Eigen {
    pub values: Vec<f64>,
    pub vectors: Vec<Vec<f64>>,
}

/// The iteration did not end, or ended in something that is no number.
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
    let finite = |vector: usize| vectors.col(vector).iter().all(|entry| entry.is_finite());
    if !(0..dim).all(|index| values[index].is_finite() && finite(index)) {
        return Err(NoConvergence);
    }
    Ok(Eigen {
        values: (0..dim).rev().map(|index| values[index] / scale).collect(),
        vectors: (0..dim).rev().map(|index| vectors.col(index).iter().copied().collect()).collect(),
    })
}

/// The arithmetic of this machine's fits: on two x86-64 machines of one name the same moments give the same fit, bit for
/// bit. On another architecture, such as `aarch64`, that holds for machines of one model. Moments, merges and projections
/// don't depend on it.
pub fn fit_arithmetic() -> &'static str {
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx2")
        && is_x86_feature_detected!("fma")
        && is_x86_feature_detected!("bmi1")
        && is_x86_feature_detected!("bmi2")
        && is_x86_feature_detected!("lzcnt")
    {
        return "x86-64-v3";
    }
    std::env::consts::ARCH
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
