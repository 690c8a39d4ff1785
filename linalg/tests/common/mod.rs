//! Numbers to test with: a fixed sequence, and the embeddings that lie beside a checkout.

#![allow(dead_code, reason = "each test file uses some of it")]

use std::path::PathBuf;

/// Numbers between -0.5 and 0.5, the same for a seed everywhere.
pub fn numbers(seed: u64) -> impl FnMut() -> f32 {
    let mut state = seed;
    move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1 << 24) as f32 - 0.5
    }
}

/// Rows around 3 whose columns spread ever wider.
pub fn rows(dim: usize, count: usize, seed: u64) -> Vec<f32> {
    let mut number = numbers(seed);
    (0..count * dim).map(|place| 3.0 + number() * (1.0 + (place % dim) as f32 / 10.0)).collect()
}

/// The 96 golden embeddings, row after row, or nothing when `../shared` is missing: loudly, and never in CI.
pub fn golden_embeddings() -> Option<Vec<f32>> {
    let shared = std::env::var_os("MR_SHARED")
        .map_or_else(|| PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared")), PathBuf::from);
    let path = shared.join("models/golden/embeddings.npy");
    let Ok(file) = std::fs::read(&path) else {
        assert!(std::env::var_os("CI").is_none(), "{} is missing", path.display());
        println!("SKIPPED: this test needs ../shared ({} is missing)", path.display());
        return None;
    };
    let (header, values) = file.split_at(128);
    assert!(
        String::from_utf8_lossy(header).contains("'descr': '<f4', 'fortran_order': False, 'shape': (96, 1280)"),
        "another file than the one this test knows"
    );
    Some(values.chunks_exact(4).map(|chunk| f32::from_le_bytes(chunk.try_into().expect("chunks of four"))).collect())
}
