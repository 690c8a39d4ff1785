//! Every set of kernels against the plainest loops there are, bit for bit, on shapes that nobody would choose.

use mr_vision::kernels::{Clamp, DepthwiseRow, Kernels, LANES, Patches, TAPS, pack, packed_len};
use proptest::prelude::*;

/// Numbers around the result that a kernel must leave alone.
const FENCE: usize = 40;

#[test]
fn plain_rust_is_always_there_and_the_best_is_detected() {
    let available = Kernels::available();
    assert_eq!(available[0].name(), "portable");
    assert_eq!(Kernels::detect(), available[available.len() - 1]);
    for kernels in available {
        assert_eq!(Kernels::named(kernels.name()), Some(kernels));
    }
    assert_eq!(Kernels::named("abacus"), None);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn products_are_chains(
        pixels in 0usize..60, segments in 1usize..4, segment_len in 1usize..40, channels in 1usize..70,
        gap in 0usize..9, relu6: bool, residual: bool, seed: u64,
    ) {
        let mut draw = Draw(seed);
        // Segments that overlap from pixel to pixel, as those of a convolution do.
        let starts: Vec<usize> = (0..segments).map(|s| s * (segment_len + gap)).collect();
        let stride = 1 + seed as usize % (segment_len + gap + 1);
        let values = draw.numbers(pixels.saturating_sub(1) * stride + starts[segments - 1] + segment_len);
        let x = Patches { values: &values, pixels, stride, segments: &starts, segment_len };
        let depth = x.depth();
        let (bias, weights) = (draw.numbers(channels), draw.numbers(depth * channels));
        let residual = residual.then(|| draw.numbers(pixels * channels));
        let clamp = if relu6 { Clamp::RELU6 } else { Clamp::NONE };

        let mut wanted = Vec::new();
        for pixel in 0..pixels {
            for channel in 0..channels {
                let mut sum = bias[channel];
                for k in 0..depth {
                    let at = pixel * stride + starts[k / segment_len] + k % segment_len;
                    sum = values[at].mul_add(weights[k * channels + channel], sum);
                }
                let residual = residual.as_ref().map(|r| r[pixel * channels + channel]);
                wanted.push(clamped(sum, clamp) + residual.unwrap_or(-0.0));
            }
        }
        let packed = packed(depth, &bias, |k, channel| weights[k * channels + channel]);
        check(&wanted, |kernels, out| kernels.product(&x, &packed, channels, clamp, residual.as_deref(), out));
    }

    #[test]
    fn depthwise_rows_are_chains(
        width in 1usize..50, channels in 1usize..70, stride in 1usize..4, pads in (0usize..3, 0usize..3),
        there: [bool; 3], relu6: bool, seed: u64,
    ) {
        prop_assume!(width + pads.0 + pads.1 >= 3);
        let mut draw = Draw(seed);
        let rows = there.map(|there| there.then(|| draw.numbers(width * channels)));
        let (bias, weights) = (draw.numbers(channels), draw.numbers(TAPS * channels));
        let clamp = if relu6 { Clamp::RELU6 } else { Clamp::NONE };
        let row = DepthwiseRow {
            rows: [0, 1, 2].map(|tap| rows[tap].as_deref()),
            channels, width, stride, pad_left: pads.0,
        };

        let mut wanted = Vec::new();
        for pixel in 0..(width + pads.0 + pads.1 - 3) / stride + 1 {
            for channel in 0..channels {
                let mut sum = bias[channel];
                for tap in 0..TAPS {
                    let column = (pixel * stride + tap % 3) as isize - pads.0 as isize;
                    if let (Some(row), true) = (&rows[tap / 3], (0..width as isize).contains(&column)) {
                        let x = row[column as usize * channels + channel];
                        sum = x.mul_add(weights[tap * channels + channel], sum);
                    }
                }
                wanted.push(clamped(sum, clamp));
            }
        }
        let packed = packed(TAPS, &bias, |tap, channel| weights[tap * channels + channel]);
        check(&wanted, |kernels, out| kernels.depthwise_row(&row, &packed, clamp, out));
    }

    #[test]
    fn means_are_chains(pixels in 1usize..60, channels in 1usize..70, seed: u64) {
        let values = Draw(seed).numbers(pixels * channels);
        let mean = |channel| {
            let sum = values.iter().skip(channel).step_by(channels).fold(0f32, |sum, value| sum + value);
            sum / pixels as f32
        };
        let wanted: Vec<f32> = (0..channels).map(mean).collect();
        check(&wanted, |kernels, out| kernels.mean(&values, out));
    }
}

#[test]
fn what_is_not_a_number_stays_none() {
    for kernels in Kernels::available() {
        let packed = packed(1, &[0.0; LANES + 1], |_, _| 1.0);
        let x = Patches { values: &[f32::NAN], pixels: 1, stride: 1, segments: &[0], segment_len: 1 };
        let mut out = [0.0; LANES + 1];
        kernels.product(&x, &packed, LANES + 1, Clamp::RELU6, None, &mut out);
        assert!(out.iter().all(|value| value.is_nan()), "{}", kernels.name());
    }
}

#[test]
fn wrong_lengths_are_refused_before_anything_is_read() {
    let values = [0.0; 64];
    let x = Patches { values: &values, pixels: 4, stride: 16, segments: &[0], segment_len: 16 };
    let weights = vec![0.0; packed_len(16, 5)];
    let row = DepthwiseRow { rows: [Some(&values), None, None], channels: 8, width: 8, stride: 1, pad_left: 1 };
    let taps = vec![0.0; packed_len(TAPS, 8)];
    type Call<'a> = &'a dyn Fn(Kernels);
    let calls: &[(&str, Call)] = &[
        ("a short result", &|k| k.product(&x, &weights, 5, Clamp::NONE, None, &mut [0.0; 19])),
        ("a long result", &|k| k.product(&x, &weights, 5, Clamp::NONE, None, &mut [0.0; 21])),
        ("short weights", &|k| k.product(&x, &weights[1..], 5, Clamp::NONE, None, &mut [0.0; 20])),
        ("a short residual", &|k| k.product(&x, &weights, 5, Clamp::NONE, Some(&[0.0; 19]), &mut [0.0; 20])),
        ("too many pixels", &|k| {
            k.product(&Patches { pixels: 5, ..x }, &weights, 5, Clamp::NONE, None, &mut [0.0; 25]);
        }),
        ("a segment outside", &|k| {
            k.product(&Patches { segments: &[1], ..x }, &weights, 5, Clamp::NONE, None, &mut [0.0; 20]);
        }),
        ("a stride beyond memory", &|k| {
            k.product(&Patches { stride: usize::MAX / 2, ..x }, &weights, 5, Clamp::NONE, None, &mut [0.0; 20]);
        }),
        ("patches of nothing", &|k| {
            k.product(&Patches { segments: &[], ..x }, &[0.0; LANES], 5, Clamp::NONE, None, &mut [0.0; 20]);
        }),
        ("padding as wide as the kernel", &|k| {
            k.depthwise_row(&DepthwiseRow { pad_left: 3, ..row }, &taps, Clamp::NONE, &mut [0.0; 64]);
        }),
        ("a short row", &|k| {
            k.depthwise_row(&DepthwiseRow { width: 9, ..row }, &taps, Clamp::NONE, &mut [0.0; 64]);
        }),
        ("short taps", &|k| k.depthwise_row(&row, &taps[1..], Clamp::NONE, &mut [0.0; 64])),
        ("half a pixel", &|k| k.depthwise_row(&row, &taps, Clamp::NONE, &mut [0.0; 63])),
        ("no stride", &|k| {
            k.depthwise_row(&DepthwiseRow { stride: 0, ..row }, &taps, Clamp::NONE, &mut [0.0; 64]);
        }),
        ("a mean of nothing", &|k| k.mean(&[], &mut [0.0; 4])),
        ("a mean of half a pixel", &|k| k.mean(&values[..62], &mut [0.0; 4])),
    ];
    for kernels in Kernels::available() {
        for (what, call) in calls {
            let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| call(kernels)));
            assert!(outcome.is_err(), "{} took {what}", kernels.name());
        }
        // The shapes that the wrong ones are made of are right.
        kernels.product(&x, &weights, 5, Clamp::NONE, None, &mut [0.0; 20]);
        kernels.depthwise_row(&row, &taps, Clamp::NONE, &mut [0.0; 64]);
    }
}

/// Runs every set of kernels into a result full of NaN, fenced on both sides.
fn check(wanted: &[f32], run: impl Fn(Kernels, &mut [f32])) {
    let fence = f32::from_bits(0x7fc1_2345);
    for kernels in Kernels::available() {
        let mut out = vec![fence; wanted.len() + 2 * FENCE];
        run(kernels, &mut out[FENCE..][..wanted.len()]);
        let bits: Vec<u32> = out.iter().map(|value| value.to_bits()).collect();
        let wanted: Vec<u32> = wanted.iter().map(|value| value.to_bits()).collect();
        assert_eq!(&bits[FENCE..][..wanted.len()], &wanted, "{}", kernels.name());
        let around = bits[..FENCE].iter().chain(&bits[FENCE + wanted.len()..]);
        assert!(around.clone().all(|bits| *bits == fence.to_bits()), "{} wrote past its result", kernels.name());
    }
}

fn packed(depth: usize, bias: &[f32], weight: impl Fn(usize, usize) -> f32) -> Vec<f32> {
    let mut packed = Vec::new();
    pack(depth, bias, weight, &mut packed);
    packed
}

fn clamped(value: f32, clamp: Clamp) -> f32 {
    value.clamp(clamp.low, clamp.high)
}

/// Numbers of many sizes, a zero of either sign now and then.
struct Draw(u64);

impl Draw {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        self.0 >> 33
    }

    fn number(&mut self) -> f32 {
        let number = (self.next() % 20_001) as f32 / 10_000.0 - 1.0;
        match self.next() % 16 {
            0 => 0.0,
            1 => -0.0,
            size => number * 2f32.powi(size as i32 - 8),
        }
    }

    fn numbers(&mut self, len: usize) -> Vec<f32> {
        (0..len).map(|_| self.number()).collect()
    }
}
