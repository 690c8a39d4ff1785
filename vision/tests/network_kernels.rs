//! Every set of kernels against the plainest loops there are, bit for bit, on shapes that nobody would choose.
//!
//! Whatever a kernel reads or writes lies against a page that kills the process when it is touched, at its end or at its
//! beginning; results are full of NaN before.

#[path = "common/guarded.rs"]
mod guarded;

use guarded::{Guarded, Side};
use mr_vision::kernels::{
    Arithmetic, Clamp, Depthwise, Form, Halves, Kernels, LANES, Layout, Pairs, Patches, Product, TAPS, Work, pack,
    pack_pairs, packed_len, packed_pairs_len,
};
use proptest::prelude::*;

#[test]
fn plain_rust_is_always_there_and_the_best_is_detected() {
    let available = Kernels::available();
    assert_eq!(available[0].name(), "portable");
    let of = |arithmetic| available.iter().filter(move |kernels| kernels.arithmetic() == arithmetic);
    assert_eq!(Kernels::detect(Arithmetic::F32), of(Arithmetic::F32).next_back().copied());
    assert_eq!(Kernels::f32(), *of(Arithmetic::F32).next_back().expect("plain Rust"));
    // Split products in plain Rust are for tests, and never chosen.
    assert!(of(Arithmetic::Bf16x3).any(|kernels| kernels.name() == "bf16x3-portable"));
    assert_eq!(Kernels::detect(Arithmetic::Bf16x3).map(Kernels::name), Kernels::named("amx").map(Kernels::name));
    if Kernels::named("amx").is_none() {
        eprintln!("SKIPPED: no AMX here; its instructions are run in the tests of `kernels::trapped`");
    }
    for kernels in available {
        assert_eq!(Kernels::named(kernels.name()), Some(kernels));
    }
    assert_eq!(Kernels::named("abacus"), None);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn products_are_chains(
        pixels in 0usize..70, segments in 1usize..4, segment_len in 1usize..70, channels in 1usize..70,
        gap in 0usize..9, relu6: bool, residual: bool, blocked in proptest::option::of(0usize..20), seed: u64,
    ) {
        let mut draw = Draw(seed);
        // Segments that overlap from pixel to pixel, as those of a convolution do.
        let starts: Vec<usize> = (0..segments).map(|s| s * (segment_len + gap)).collect();
        let stride = 1 + seed as usize % (segment_len + gap + 1);
        let values = draw.numbers(pixels.saturating_sub(1) * stride + starts[segments - 1] + segment_len);
        let depth = segments * segment_len;
        let (bias, weights) = (draw.numbers(channels), draw.numbers(depth * channels));
        let residual = (residual && blocked.is_none()).then(|| draw.numbers(pixels * channels));
        let layout = blocked.map_or(Layout::ChannelsLast, |gap| Layout::Blocked { apart: pixels * LANES + gap });
        let clamp = if relu6 { Clamp::RELU6 } else { Clamp::NONE };

        for arithmetic in Arithmetic::ALL {
            let mut wanted = Vec::new();
            for pixel in 0..pixels {
                for channel in 0..channels {
                    let terms: Vec<(f32, f32)> = (0..depth).map(|k| {
                        let at = pixel * stride + starts[k / segment_len] + k % segment_len;
                        (values[at], weights[k * channels + channel])
                    }).collect();
                    let sum = match arithmetic {
                        Arithmetic::F32 => terms.iter().fold(bias[channel], |sum, (x, w)| x.mul_add(*w, sum)),
                        Arithmetic::Bf16x3 => split_sum(bias[channel], &terms),
                    };
                    let residual = residual.as_ref().map(|r| r[pixel * channels + channel]);
                    wanted.push(residual.map_or(clamped(sum, clamp), |r| clamped(sum, clamp) + r));
                }
            }
            if let Layout::Blocked { apart } = layout {
                wanted = in_blocks(&wanted, pixels, channels, apart);
            }
            let packed = packed(arithmetic, depth, &bias, |k, channel| weights[k * channels + channel]);
            let mut work = Work::default();
            for side in Side::BOTH {
                let [values, packed] = [&values, &packed].map(|numbers| Guarded::of(numbers, side));
                let residual = residual.as_ref().map(|numbers| Guarded::of(numbers, side));
                let x = Patches { values: &values, pixels, stride, segments: &starts, segment_len };
                let residual = residual.as_deref();
                let next = &values[..values.len() / 2];
                let product = Product { x, weights: &packed, channels, clamp, residual, layout, next };
                check(Some(arithmetic), side, &wanted, |kernels, out| {
                    kernels.product(&product, out, &mut work);
                    if blocked.is_some() {
                        return;
                    }
                    let mut appended = vec![7.0];
                    kernels.product_append(&product, &mut appended, &mut work);
                    assert_eq!((appended[0], bits(&appended[1..])), (7.0, bits(out)));
                });
                if layout == Layout::ChannelsLast && arithmetic == Arithmetic::Bf16x3 {
                    let pixel = |pixel: usize| starts.iter().map(move |start| pixel * stride + start);
                    let segment = |at: usize| &x.values[at..][..segment_len];
                    let values: Vec<f32> = (0..pixels).flat_map(pixel).flat_map(segment).copied().collect();
                    let values = Guarded::of(&in_halves(&values, depth), side);
                    let product = Halves { values: &values, pixels, depth, weights: &packed, channels, clamp, residual };
                    check(Some(arithmetic), side, &wanted, |kernels, out| {
                        kernels.halves(&product, out);
                        let mut appended = vec![7.0];
                        kernels.halves_append(&product, &mut appended);
                        assert_eq!((appended[0], bits(&appended[1..])), (7.0, bits(out)));
                    });
                }
            }
        }
    }

    #[test]
    fn products_of_pairs_are_the_same_chains(
        pixels in 0usize..70, depth in 1usize..100, channels in 1usize..70, odd in 0usize..2, relu6: bool, residual: bool,
        seed: u64,
    ) {
        let mut draw = Draw(seed);
        let values = draw.numbers(pixels * depth);
        let (bias, weights) = (draw.numbers(channels), draw.numbers(depth * channels));
        let residual = residual.then(|| draw.numbers(pixels * channels));
        let clamp = if relu6 { Clamp::RELU6 } else { Clamp::NONE };

        let mut wanted = Vec::new();
        for pixel in 0..pixels {
            for channel in 0..channels {
                let terms = (0..depth).map(|k| (values[pixel * depth + k], weights[k * channels + channel]));
                let sum = clamped(terms.fold(bias[channel], |sum, (x, w)| x.mul_add(w, sum)), clamp);
                wanted.push(residual.as_ref().map_or(sum, |residual| sum + residual[pixel * channels + channel]));
            }
        }
        let mut packed = Vec::new();
        pack_pairs(depth, &bias, |k, channel| weights[k * channels + channel], &mut packed);
        assert_eq!(packed.len(), packed_pairs_len(depth, channels));
        // They need not begin where a pair of numbers does.
        let values = [&vec![f32::NAN; odd], &in_pairs(&values, depth)[..]].concat();
        for side in Side::BOTH {
            let [values, packed] = [&values, &packed].map(|numbers| Guarded::of(numbers, side));
            let residual = residual.as_ref().map(|numbers| Guarded::of(numbers, side));
            let residual = residual.as_deref();
            let product = Pairs { values: &values[odd..], pixels, depth, weights: &packed, channels, clamp, residual };
            check(Some(Arithmetic::F32), side, &wanted, |kernels, out| {
                kernels.pairs(&product, out);
                let mut appended = vec![7.0];
                kernels.pairs_append(&product, &mut appended);
                assert_eq!((appended[0], bits(&appended[1..])), (7.0, bits(out)));
            });
        }
    }

    #[test]
    fn depthwise_convolutions_are_chains(
        width in 1usize..50, channels in 1usize..50, stride in (1usize..4, 1usize..4), pads in (0usize..3, 0usize..3),
        rows_out in 1usize..4, more in -3isize..4, gap in 0usize..20, relu6: bool,
        form in prop::sample::select(&[Form::ChannelsLast, Form::Pairs, Form::Halves][..]), seed: u64,
    ) {
        prop_assume!(width + pads.0 + pads.1 >= 3);
        let mut draw = Draw(seed);
        let row_len = width * LANES;
        let count = (rows_out - 1) * stride.0 + 3;
        // Rows lie in a ring that begins anywhere, and some are not there.
        let begin = draw.next() as usize;
        let rows: Vec<Option<usize>> =
            (0..count).map(|row| (!draw.next().is_multiple_of(4)).then_some((begin + row) % count * row_len)).collect();
        let apart = count * row_len + gap;
        let groups = channels.div_ceil(LANES);
        let mut values = draw.numbers((groups - 1) * apart + count * row_len);
        // Lanes that are no channels hold what was there before.
        for (at, value) in values.iter_mut().enumerate() {
            let (group, within) = (at / apart, at % apart);
            if within >= count * row_len || group * LANES + within % LANES >= channels {
                *value = f32::NAN;
            }
        }
        let (bias, weights) = (draw.numbers(channels), draw.numbers(TAPS * channels));
        let clamp = if relu6 { Clamp::RELU6 } else { Clamp::NONE };

        let mut wanted = Vec::new();
        // Fewer pixels than there could be, or more that lie in the padding.
        let width_out = ((width + pads.0 + pads.1 - 3) / stride.1 + 1).saturating_add_signed(more);
        let width_out = if form == Form::Pairs { width_out.next_multiple_of(2) } else { width_out };
        for row in 0..rows_out {
            for pixel in 0..width_out {
                for channel in 0..channels {
                    let mut sum = bias[channel];
                    for tap in 0..TAPS {
                        let column = (pixel * stride.1 + tap % 3) as isize - pads.0 as isize;
                        if let (Some(at), true) = (rows[row * stride.0 + tap / 3], (0..width as isize).contains(&column)) {
                            let at = channel / LANES * apart + at + column as usize * LANES + channel % LANES;
                            sum = values[at].mul_add(weights[tap * channels + channel], sum);
                        }
                    }
                    wanted.push(clamped(sum, clamp));
                }
            }
        }
        wanted = match form {
            Form::ChannelsLast => wanted,
            Form::Pairs => in_pairs(&wanted, channels),
            Form::Halves => in_halves(&wanted, channels),
        };
        assert_eq!(form.numbers(rows_out * width_out, channels), Some(wanted.len()));
        let packed = packed(Arithmetic::F32, TAPS, &bias, |tap, channel| weights[tap * channels + channel]);
        for side in Side::BOTH {
            let [values, packed] = [&values, &packed].map(|numbers| Guarded::of(numbers, side));
            let conv = Depthwise {
                values: &values,
                apart,
                rows: &rows,
                channels,
                width,
                width_out,
                stride: stride.into(),
                pad_left: pads.0,
                weights: &packed,
                clamp,
                form,
            };
            check(None, side, &wanted, |kernels, out| kernels.depthwise(&conv, out));
        }
    }

    #[test]
    fn means_are_chains(pixels in 1usize..60, channels in 1usize..200, seed: u64) {
        let values = Draw(seed).numbers(pixels * channels);
        let mean = |channel| {
            let sum = values.iter().skip(channel).step_by(channels).fold(0f32, |sum, value| sum + value);
            sum / pixels as f32
        };
        let wanted: Vec<f32> = (0..channels).map(mean).collect();
        for side in Side::BOTH {
            let values = Guarded::of(&values, side);
            check(None, side, &wanted, |kernels, out| kernels.mean(&values, out));
        }
    }
}

#[test]
fn what_is_not_a_number_stays_none() {
    for kernels in Kernels::available() {
        let packed = packed(kernels.arithmetic(), 1, &[0.0; LANES + 1], |_, _| 1.0);
        let x = Patches { values: &[f32::NAN], pixels: 1, stride: 1, segments: &[0], segment_len: 1 };
        let mut out = [0.0; LANES + 1];
        let product = Product {
            x,
            weights: &packed,
            channels: LANES + 1,
            clamp: Clamp::RELU6,
            residual: None,
            layout: Layout::ChannelsLast,
            next: &[],
        };
        kernels.product(&product, &mut out, &mut Work::default());
        assert!(out.iter().all(|value| value.is_nan()), "{}", kernels.name());
        if kernels.arithmetic() != Arithmetic::F32 {
            continue;
        }
        let (mut weights, mut out) = (Vec::new(), Vec::new());
        pack_pairs(1, &[0.0; 24], |_, _| 1.0, &mut weights);
        let (values, clamp, residual) = (&[f32::NAN, 1.0], Clamp::RELU6, None);
        let pairs = Pairs { values, pixels: 2, depth: 1, weights: &weights, channels: 24, clamp, residual };
        kernels.pairs_append(&pairs, &mut out);
        assert!(out[..24].iter().all(|value| value.is_nan()), "{}", kernels.name());
        assert_eq!(out[24..], [1.0; 24], "{}", kernels.name());
    }
}

#[test]
fn what_is_not_a_number_stays_none_in_any_form() {
    let channels = LANES + 1;
    let weights = packed(Arithmetic::F32, TAPS, &vec![0.0; channels], |_, _| 1.0);
    // Two neighbours that read each other, in two groups; the first channel and the last of one are broken.
    let mut values = [1.0; 4 * LANES];
    (values[LANES], values[2 * LANES]) = (f32::NAN, f32::NAN);
    let pixel: Vec<f32> = (0..channels).map(|at| if at % LANES == 0 { f32::NAN } else { 2.0 }).collect();
    let wanted = pixel.repeat(2);
    for (form, wanted) in [
        (Form::ChannelsLast, wanted.clone()),
        (Form::Pairs, in_pairs(&wanted, channels)),
        (Form::Halves, in_halves(&wanted, channels)),
    ] {
        let conv = Depthwise {
            values: &values,
            apart: 2 * LANES,
            rows: &[None, Some(0), None],
            channels,
            width: 2,
            width_out: 2,
            stride: [1, 1],
            pad_left: 1,
            weights: &weights,
            clamp: Clamp::RELU6,
            form,
        };
        // The two halves of a word, each as a number of its own.
        let broken = |word: &f32| match form {
            Form::Halves => [*word, f32::from_bits(word.to_bits() << 16)].map(f32::is_nan),
            Form::ChannelsLast | Form::Pairs => [word.is_nan(); 2],
        };
        let wanted: Vec<[bool; 2]> = wanted.iter().map(broken).collect();
        assert!(wanted.iter().any(|word| word.contains(&true)));
        for kernels in Kernels::available() {
            let mut out = vec![0.0; wanted.len()];
            kernels.depthwise(&conv, &mut out);
            let is: Vec<[bool; 2]> = out.iter().map(broken).collect();
            assert_eq!(is, wanted, "{}, {form:?}", kernels.name());
        }
    }
}

#[test]
fn wrong_lengths_are_refused_before_anything_is_read() {
    let values = [0.0; 64];
    let x = Patches { values: &values, pixels: 4, stride: 16, segments: &[0], segment_len: 16 };
    let taps = vec![0.0; packed_len(Arithmetic::F32, TAPS, 20)];
    let rows = [Some(0), None, Some(16)];
    // Two groups of two pixels in two rows each.
    let conv = Depthwise {
        values: &values,
        apart: 32,
        rows: &rows,
        channels: 20,
        width: 1,
        width_out: 2,
        stride: [1, 1],
        pad_left: 1,
        weights: &taps,
        clamp: Clamp::NONE,
        form: Form::ChannelsLast,
    };
    let weights = |k: Kernels| vec![0.0; packed_len(k.arithmetic(), 16, 5)];
    // Five channels of what is read, into a result of so many numbers.
    let product = |k: Kernels, x: Patches, weights: &[f32], residual: Option<&[f32]>, numbers: usize| {
        let layout = Layout::ChannelsLast;
        let product = Product { x, weights, channels: 5, clamp: Clamp::NONE, residual, layout, next: &[] };
        k.product(&product, &mut vec![0.0; numbers], &mut Work::default());
    };
    // The same in blocks.
    let blocked = |k: Kernels, apart: usize, residual: Option<&[f32]>, numbers: usize| {
        let weights = vec![0.0; packed_len(k.arithmetic(), 16, 20)];
        let layout = Layout::Blocked { apart };
        let product = Product { x, weights: &weights, channels: 20, clamp: Clamp::NONE, residual, layout, next: &[] };
        k.product(&product, &mut vec![0.0; numbers], &mut Work::default());
    };
    let append = |k: Kernels| {
        let weights = vec![0.0; packed_len(k.arithmetic(), 16, 5)];
        let layout = Layout::Blocked { apart: 64 };
        let product =
            Product { x, weights: &weights, channels: 5, clamp: Clamp::NONE, residual: None, layout, next: &[] };
        k.product_append(&product, &mut Vec::new(), &mut Work::default());
    };
    let depthwise = |k: Kernels, conv: Depthwise, numbers: usize| k.depthwise(&conv, &mut vec![0.0; numbers]);
    let paired_weights = vec![0.0; packed_pairs_len(16, 5)];
    // Three pixels, and one that is none.
    let pairs = Pairs {
        values: &values,
        pixels: 3,
        depth: 16,
        weights: &paired_weights,
        channels: 5,
        clamp: Clamp::NONE,
        residual: None,
    };
    let paired = |k: Kernels, pairs: Pairs, numbers: usize| k.pairs(&pairs, &mut vec![0.0; numbers]);
    let split_weights = vec![0.0; packed_len(Arithmetic::Bf16x3, 16, 5)];
    // Two pixels that are split.
    let halves = Halves {
        values: &values,
        pixels: 2,
        depth: 16,
        weights: &split_weights,
        channels: 5,
        clamp: Clamp::NONE,
        residual: None,
    };
    let halved = |k: Kernels, halves: Halves, numbers: usize| k.halves(&halves, &mut vec![0.0; numbers]);
    type Call<'a> = &'a dyn Fn(Kernels);
    let calls: &[(&str, Call)] = &[
        ("a short result", &|k| product(k, x, &weights(k), None, 19)),
        ("a long result", &|k| product(k, x, &weights(k), None, 21)),
        ("short weights", &|k| product(k, x, &weights(k)[1..], None, 20)),
        ("a short residual", &|k| product(k, x, &weights(k), Some(&[0.0; 19]), 20)),
        ("too many pixels", &|k| product(k, Patches { pixels: 5, ..x }, &weights(k), None, 25)),
        ("a segment outside", &|k| product(k, Patches { segments: &[1], ..x }, &weights(k), None, 20)),
        ("a stride beyond memory", &|k| {
            product(k, Patches { stride: usize::MAX / 2, ..x }, &weights(k), None, 20);
        }),
        ("patches of no segment", &|k| product(k, Patches { segments: &[], ..x }, &[0.0; LANES], None, 20)),
        ("segments of nothing", &|k| product(k, Patches { segment_len: 0, ..x }, &[0.0; LANES], None, 20)),
        ("groups that overlap", &|k| blocked(k, 63, None, 128)),
        ("too few numbers in blocks", &|k| blocked(k, 64, None, 127)),
        ("groups beyond memory", &|k| blocked(k, usize::MAX, None, 128)),
        ("a residual in blocks", &|k| blocked(k, 64, Some(&[0.0; 128]), 128)),
        ("blocks at the end of a vector", &append),
        ("padding as wide as the kernel", &|k| depthwise(k, Depthwise { pad_left: 3, ..conv }, 40)),
        ("short rows", &|k| depthwise(k, Depthwise { width: 2, ..conv }, 40)),
        ("a row outside", &|k| depthwise(k, Depthwise { rows: &[None, None, Some(17)], ..conv }, 40)),
        ("groups outside", &|k| depthwise(k, Depthwise { apart: 33, ..conv }, 40)),
        ("groups beyond memory", &|k| depthwise(k, Depthwise { apart: usize::MAX, ..conv }, 40)),
        ("rows that are nowhere", &|k| depthwise(k, Depthwise { values: &[], rows: &[None; 3], ..conv }, 40)),
        ("a stride beyond memory", &|k| depthwise(k, Depthwise { stride: [1, 1 << 63], ..conv }, 40)),
        ("two rows", &|k| depthwise(k, Depthwise { rows: &rows[1..], ..conv }, 40)),
        ("a row that nothing reads", &|k| depthwise(k, Depthwise { rows: &[None; 4], stride: [2, 1], ..conv }, 40)),
        ("short taps", &|k| depthwise(k, Depthwise { weights: &taps[1..], ..conv }, 40)),
        ("half a pixel", &|k| depthwise(k, conv, 39)),
        ("no stride down", &|k| depthwise(k, Depthwise { stride: [0, 1], ..conv }, 40)),
        ("no stride across", &|k| depthwise(k, Depthwise { stride: [1, 0], ..conv }, 40)),
        ("no channels", &|k| depthwise(k, Depthwise { channels: 0, weights: &[], ..conv }, 0)),
        ("a pixel that is no pair", &|k| {
            depthwise(k, Depthwise { form: Form::Pairs, width_out: 1, pad_left: 0, ..conv }, 20);
        }),
        ("halves of a part of a line", &|k| depthwise(k, Depthwise { form: Form::Halves, ..conv }, 40)),
        ("a part of a line of halves", &|k| halved(k, Halves { values: &values[16..], ..halves }, 10)),
        ("halves of too few pixels", &|k| halved(k, Halves { pixels: 3, ..halves }, 15)),
        ("halves of nothing", &|k| halved(k, Halves { values: &[], depth: 0, weights: &[0.0; LANES], ..halves }, 10)),
        ("short weights of halves", &|k| halved(k, Halves { weights: &split_weights[1..], ..halves }, 10)),
        ("a short residual of halves", &|k| halved(k, Halves { residual: Some(&[0.0; 9]), ..halves }, 10)),
        ("a short result of halves", &|k| halved(k, halves, 9)),
        ("a long result of halves", &|k| halved(k, halves, 11)),
        ("too few halves at the end of a vector", &|k| {
            k.halves_append(&Halves { values: &values[16..], ..halves }, &mut Vec::new());
        }),
        ("halves beyond memory", &|k| halved(k, Halves { pixels: usize::MAX, ..halves }, 10)),
        ("halves without end", &|k| k.halves_append(&Halves { pixels: usize::MAX, ..halves }, &mut Vec::new())),
        ("half a pair", &|k| paired(k, Pairs { values: &values[16..], ..pairs }, 15)),
        ("too few pairs", &|k| paired(k, Pairs { pixels: 5, ..pairs }, 25)),
        ("pairs of nothing", &|k| {
            paired(k, Pairs { values: &[], depth: 0, weights: &[0.0; LANES], ..pairs }, 15);
        }),
        ("short weights of pairs", &|k| paired(k, Pairs { weights: &paired_weights[1..], ..pairs }, 15)),
        ("a short residual of pairs", &|k| paired(k, Pairs { residual: Some(&[0.0; 14]), ..pairs }, 15)),
        ("a short result of pairs", &|k| paired(k, pairs, 14)),
        ("a long result of pairs", &|k| paired(k, pairs, 16)),
        ("half a pair at the end of a vector", &|k| {
            k.pairs_append(&Pairs { values: &values[16..], ..pairs }, &mut Vec::new());
        }),
        ("pairs beyond memory", &|k| paired(k, Pairs { pixels: usize::MAX, ..pairs }, 15)),
        ("pairs without end", &|k| k.pairs_append(&Pairs { pixels: usize::MAX, ..pairs }, &mut Vec::new())),
        ("a mean of nothing", &|k| k.mean(&[], &mut [0.0; 4])),
        ("a mean of half a pixel", &|k| k.mean(&values[..62], &mut [0.0; 4])),
    ];
    for kernels in Kernels::available() {
        for (what, call) in calls {
            let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| call(kernels)));
            assert!(outcome.is_err(), "{} took {what}", kernels.name());
        }
        // The shapes that the wrong ones are made of are right.
        product(kernels, x, &weights(kernels), None, 20);
        blocked(kernels, 64, None, 128);
        depthwise(kernels, conv, 40);
        depthwise(kernels, Depthwise { form: Form::Pairs, ..conv }, 40);
        depthwise(kernels, Depthwise { form: Form::Halves, ..conv }, 64);
        let pairs_are_taken = std::panic::catch_unwind(|| paired(kernels, pairs, 15)).is_ok();
        assert_eq!(pairs_are_taken, kernels.arithmetic() == Arithmetic::F32, "{}", kernels.name());
        let halves_are_taken = std::panic::catch_unwind(|| halved(kernels, halves, 10)).is_ok();
        assert_eq!(halves_are_taken, kernels.arithmetic() == Arithmetic::Bf16x3, "{}", kernels.name());
    }
}

/// Runs every set of kernels (of that arithmetic) into a result full of NaN against a guarded page.
fn check(arithmetic: Option<Arithmetic>, side: Side, wanted: &[f32], mut run: impl FnMut(Kernels, &mut [f32])) {
    let wanted = bits(wanted);
    for kernels in Kernels::available() {
        if arithmetic.is_some_and(|arithmetic| arithmetic != kernels.arithmetic()) {
            continue;
        }
        let mut out = Guarded::of(&vec![f32::NAN; wanted.len()], side);
        run(kernels, &mut out);
        assert_eq!(bits(&out), wanted, "{}", kernels.name());
        assert!(out.rest_is_untouched(), "{} wrote past its result", kernels.name());
    }
}

/// Numbers with their channels last, in blocks that lie so far apart; nobody writes between those.
fn in_blocks(numbers: &[f32], pixels: usize, channels: usize, apart: usize) -> Vec<f32> {
    let groups = channels.div_ceil(LANES);
    let mut blocks = vec![f32::NAN; (groups - 1) * apart + pixels * LANES];
    for (group, pixel, lane) in
        (0..groups).flat_map(|g| (0..pixels).flat_map(move |p| (0..LANES).map(move |lane| (g, p, lane))))
    {
        let channel = group * LANES + lane;
        let number = if channel < channels { numbers[pixel * channels + channel] } else { 0.0 };
        blocks[group * apart + pixel * LANES + lane] = number;
    }
    blocks
}

/// Numbers with their channels last, as pixels in pairs; a last one that is alone has something beside it.
fn in_pairs(numbers: &[f32], channels: usize) -> Vec<f32> {
    let mut pairs = Vec::new();
    for pair in numbers.chunks(2 * channels) {
        let (one, other) = pair.split_at(channels);
        pairs.extend((0..channels).flat_map(|k| [one[k], other.get(k).copied().unwrap_or(f32::NAN)]));
    }
    pairs
}

/// Numbers with their channels last, split: for every 32 of a pixel high halves, then low ones, zeros behind the last.
fn in_halves(numbers: &[f32], channels: usize) -> Vec<f32> {
    let mut words = Vec::new();
    for numbers in numbers.chunks(channels).flat_map(|pixel| pixel.chunks(32)) {
        let halves = |k: usize| halves(numbers.get(k).copied().unwrap_or(0.0));
        for half in 0..2 {
            let word = |k: usize| halves(k + 1)[half].to_bits() & 0xffff_0000 | halves(k)[half].to_bits() >> 16;
            words.extend((0..32).step_by(2).map(|k| f32::from_bits(word(k))));
        }
    }
    words
}

fn bits(numbers: &[f32]) -> Vec<u32> {
    numbers.iter().map(|number| number.to_bits()).collect()
}

fn packed(arithmetic: Arithmetic, depth: usize, bias: &[f32], weight: impl Fn(usize, usize) -> f32) -> Vec<f32> {
    let mut packed = Vec::new();
    pack(arithmetic, depth, bias, weight, &mut packed);
    assert_eq!(packed.len(), packed_len(arithmetic, depth, bias.len()));
    packed
}

/// Zero, of the same sign, in place of what is too small to be normal.
fn zeroed(x: f32) -> f32 {
    if x.is_subnormal() { 0f32.copysign(x) } else { x }
}

/// The nearest number of bf16, the even one of two that are as near.
fn bf16(x: f32) -> f32 {
    let (x, bits) = (zeroed(x), zeroed(x).to_bits());
    let (below, above) = (f32::from_bits(bits & !0xffff), f32::from_bits((bits & !0xffff).wrapping_add(0x1_0000)));
    match (x - below).abs().total_cmp(&(above - x).abs()) {
        std::cmp::Ordering::Less => below,
        std::cmp::Ordering::Greater => above,
        std::cmp::Ordering::Equal if bits & 0x1_0000 == 0 => below,
        std::cmp::Ordering::Equal => above,
    }
}

/// High and low.
fn halves(x: f32) -> [f32; 2] {
    [bf16(x), bf16(x - bf16(x))]
}

/// A sum of products in bf16 halves, by the letter of Intel's manual for `TDPBF16PS`, three times for every 32 terms.
fn split_sum(bias: f32, terms: &[(f32, f32)]) -> f32 {
    let mut sum = zeroed(bias);
    for terms in terms.chunks(32) {
        for (x_half, w_half) in [(0, 1), (0, 0), (1, 0)] {
            let mut chains = [0f32; 2];
            for (k, (x, w)) in terms.iter().enumerate() {
                chains[k % 2] = zeroed(halves(*x)[x_half].mul_add(halves(*w)[w_half], chains[k % 2]));
            }
            sum = zeroed(sum + zeroed(chains[0] + chains[1]));
        }
    }
    sum
}

fn clamped(value: f32, clamp: Clamp) -> f32 {
    value.clamp(clamp.low, clamp.high)
}

/// Numbers of many sizes, a zero of either sign now and then, or one so small that its products are not normal.
struct Draw(u64);

impl Draw {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        self.0 >> 33
    }

    fn number(&mut self) -> f32 {
        let number = (self.next() % 20_001) as f32 / 10_000.0 - 1.0;
        match self.next() % 20 {
            0 => 0.0,
            1 => -0.0,
            16 => number * 2f32.powi(-70),
            17 => number * 2f32.powi(-120),
            18 => number * 2f32.powi(-130),
            size => number * 2f32.powi(size as i32 - 8),
        }
    }

    fn numbers(&mut self, len: usize) -> Vec<f32> {
        (0..len).map(|_| self.number()).collect()
    }
}
