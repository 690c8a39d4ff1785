//! How long the pieces of a PCA take here: `cargo run --release -p mr-linalg --example timings`.
//!
//! The best of several goes on one thread, with as many columns as MobileNetV2 has features.

use mr_linalg::{Components, Moments, Pca};
use std::hint::black_box;
use std::time::Instant;

const DIM: usize = 1280;
const ROWS: usize = 64;
const COMPONENTS: usize = 50;

fn main() {
    let rows = rows(2 * DIM);
    let task = &rows[..ROWS * DIM];
    let part = Moments::from_rows(DIM, task).expect("rows are whole and finite");
    let whole = Moments::from_rows(DIM, &rows).expect("rows are whole and finite");
    let pca = fit(&whole);
    let mut out = vec![0.0; ROWS * COMPONENTS];
    let bytes = part.to_bytes();

    report("moments of 64 rows", 20, || {
        drop(black_box(Moments::from_rows(DIM, black_box(task))));
    });
    let mut merged = whole.clone();
    report("merge of two moments", 20, || {
        merged.merge(black_box(&part)).expect("of the same columns");
    });
    report("moments to bytes", 20, || drop(black_box(part.to_bytes())));
    report("moments from bytes", 20, || {
        drop(black_box(Moments::from_bytes(black_box(&bytes))));
    });
    report("fit of 50 components", 5, || drop(black_box(fit(&whole))));
    report("projection of 64 rows", 50, || {
        pca.project(black_box(task), &mut out).expect("room for each row");
    });
    report("projection of one row", 50, || {
        pca.project(black_box(&task[..DIM]), &mut out[..COMPONENTS]).expect("room for each row");
    });
    println!("{:?}", pca.certificate());
}

fn fit(moments: &Moments) -> Pca {
    Pca::fit(moments, Components::Count(COMPONENTS)).expect("more rows than components")
}

fn report(what: &str, goes: usize, mut go: impl FnMut()) {
    let best_ms = (0..goes)
        .map(|_| {
            let start = Instant::now();
            go();
            start.elapsed().as_secs_f64() * 1e3
        })
        .fold(f64::INFINITY, f64::min);
    println!("{what:24} {best_ms:9.3} ms");
}

/// Rows with a few strong directions and a large mean, as features have: a fixed sequence of numbers.
fn rows(count: usize) -> Vec<f32> {
    let mut state = 1u64;
    let mut number = move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1 << 24) as f32 - 0.5
    };
    let mut rows = Vec::with_capacity(count * DIM);
    for _ in 0..count {
        let (slow, fast) = (number(), number());
        for column in 0..DIM {
            let phase = column as f32 / DIM as f32;
            rows.push(5.0 + slow * phase + fast * (1.0 - phase) + 0.1 * number());
        }
    }
    rows
}
