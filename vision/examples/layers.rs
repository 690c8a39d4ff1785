//! Where the network's time goes: every product and depthwise convolution of MobileNetV2 1.0 at 224 x 224, timed alone
//! on one thread, beside what this core's multiply-add units can do.
//!
//! `layers [KERNELS]`. As in a block, layers work in strips that stay in the second-level cache, with warm weights; what
//! else an image costs shows as the difference to `throughput`.

use std::cell::RefCell;
use std::error::Error;
use std::time::Instant;

use mr_vision::kernels::{
    Arithmetic, Clamp, Depthwise, Form, Halves, Kernels, LANES, Layout, Pairs, Patches, Product, TAPS, Work, pack,
    pack_pairs, packed_len, packed_pairs_len,
};

/// What a strip reads and writes at most: numbers in 256 KB, or in 512 KB.
fn strip_len(kernels: Kernels) -> usize {
    match kernels.arithmetic() {
        Arithmetic::F32 => 64 << 10,
        Arithmetic::Bf16x3 => 128 << 10,
    }
}

/// Expansion, outputs, repeats, stride: table 2 of the MobileNetV2 paper, <https://arxiv.org/abs/1801.04381>.
const BLOCKS: [(usize, usize, usize, usize); 7] =
    [(1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1)];

fn main() -> Result<(), Box<dyn Error>> {
    let kernels = match std::env::args().nth(1) {
        Some(name) => Kernels::named(&name).ok_or_else(|| format!("no kernels `{name}` on this machine"))?,
        None => Kernels::f32(),
    };
    // What it reads lies in the nearest cache.
    let limit = Layer::product(kernels, "limit", 120, 128, 32);
    let layers = network(kernels);
    let pairs: Vec<Pair> = layers.iter().map(|layer| Pair::of(layer, &limit, kernels)).collect();
    // Clocks go up and down: times are told as if the fastest of them had been there all along.
    let tile = pairs.iter().map(|pair| pair.limit).fold(f64::MAX, f64::min);
    let peak = limit.flops / tile / 1e9;
    let times: Vec<f64> = pairs.iter().map(|pair| pair.ratio * tile).collect();
    println!("{}: {peak:.1} GFLOP/s in a register tile that meets no edge", kernels.name());
    println!("{:<24} {:>8} {:>8} {:>7} {:>9} {:>6}", "layer", "MFLOP", "us", "share", "GFLOP/s", "limit");
    let (total, flops): (f64, f64) = (times.iter().sum(), layers.iter().map(|layer| layer.flops).sum());
    let line = |name: &str, flops: f64, seconds: f64| {
        println!(
            "{name:<24} {:>8.1} {:>8.0} {:>6.1}% {:>9.1} {:>5.0}%",
            flops / 1e6,
            seconds * 1e6,
            100.0 * seconds / total,
            flops / seconds / 1e9,
            100.0 * flops / seconds / 1e9 / peak
        );
    };
    for (layer, seconds) in layers.iter().zip(&times) {
        line(&layer.name, layer.flops, *seconds);
    }
    line("all", flops, total);
    Ok(())
}

/// Numbers that begin on a cache line, as the network's do.
struct Lines {
    numbers: Vec<f32>,
    skip: usize,
    len: usize,
}

impl Lines {
    fn of(value: f32, len: usize) -> Lines {
        let mut lines = Lines::room(len);
        lines.numbers.resize(lines.skip + len, value);
        lines
    }

    /// Without numbers, but for those in front of the line.
    fn room(len: usize) -> Lines {
        let mut numbers: Vec<f32> = Vec::with_capacity(len + 16);
        let skip = numbers.as_ptr().align_offset(64).min(16);
        numbers.resize(skip, 0.0);
        Lines { numbers, skip, len }
    }

    fn get(&self) -> &[f32] {
        &self.numbers[self.skip..][..self.len]
    }

    fn get_mut(&mut self) -> &mut [f32] {
        &mut self.numbers[self.skip..][..self.len]
    }
}

/// So many at a time that parts of about the same size are `most` at most.
fn evenly(all: usize, most: usize) -> usize {
    all.div_ceil(all.div_ceil(most.max(1)))
}

fn packed(arithmetic: Arithmetic, depth: usize, channels: usize) -> Lines {
    let mut lines = Lines::room(packed_len(arithmetic, depth, channels));
    pack(arithmetic, depth, &vec![0.01; channels], |_, _| 0.01, &mut lines.numbers);
    lines
}

/// One convolution, as its shape and what it takes to run it.
struct Layer {
    name: String,
    flops: f64,
    run: Box<dyn Fn(Kernels)>,
}

impl Layer {
    /// A product that makes so many of its pixels at a time.
    fn in_strips(name: &str, shape: [usize; 3], strip: usize, run: impl Fn(Kernels, usize) + 'static) -> Layer {
        let [pixels, depth, channels] = shape;
        Layer {
            name: format!("{name} {pixels}x{depth}x{channels}"),
            flops: (2 * pixels * depth * channels) as f64,
            run: Box::new(move |kernels| {
                (0..pixels).step_by(strip).for_each(|from| run(kernels, strip.min(pixels - from)));
            }),
        }
    }

    fn product(kernels: Kernels, name: &'static str, pixels: usize, depth: usize, channels: usize) -> Layer {
        let strip = evenly(pixels, strip_len(kernels) / (depth + channels));
        let (x, weights) = (Lines::of(0.5, strip * depth), packed(kernels.arithmetic(), depth, channels));
        let groups = channels.div_ceil(LANES);
        let out = RefCell::new((Lines::of(0.0, strip * groups * LANES), Work::default()));
        // What is expanded lies in blocks.
        let blocked = matches!(name, "stem" | "expand");
        let layout = if blocked { Layout::Blocked { apart: strip * LANES } } else { Layout::ChannelsLast };
        let clamp = if name == "project" { Clamp::NONE } else { Clamp::RELU6 };
        Layer::in_strips(name, [pixels, depth, channels], strip, move |kernels, pixels| {
            let values = &x.get()[..pixels * depth];
            let x = match name {
                "stem" => Patches { values, pixels, stride: depth, segments: &[0, 9, 18], segment_len: 9 },
                _ => Patches { values, pixels, stride: depth, segments: &[0], segment_len: depth },
            };
            let weights = weights.get();
            let product = Product { x, weights, channels, clamp, residual: None, layout, next: &[] };
            let (out, work) = &mut *out.borrow_mut();
            let numbers = if blocked { strip * groups * LANES } else { pixels * channels };
            kernels.product(&product, &mut out.get_mut()[..numbers], work);
        })
    }

    /// The same product of pixels in pairs.
    fn product_of_pairs(kernels: Kernels, name: &str, pixels: usize, depth: usize, channels: usize) -> Layer {
        let strip = evenly(pixels, strip_len(kernels) / (depth + channels)).next_multiple_of(2);
        let x = Lines::of(0.5, strip * depth);
        let mut weights = Lines::room(packed_pairs_len(depth, channels));
        pack_pairs(depth, &vec![0.01; channels], |_, _| 0.01, &mut weights.numbers);
        let out = RefCell::new(Lines::of(0.0, strip * channels));
        Layer::in_strips(name, [pixels, depth, channels], strip, move |kernels, pixels| {
            let (values, weights) = (&x.get()[..pixels * depth], weights.get());
            let (clamp, residual) = (Clamp::NONE, None);
            let product = Pairs { values, pixels, depth, weights, channels, clamp, residual };
            kernels.pairs(&product, &mut out.borrow_mut().get_mut()[..pixels * channels]);
        })
    }

    /// The same product of split pixels.
    fn product_of_halves(kernels: Kernels, name: &str, pixels: usize, depth: usize, channels: usize) -> Layer {
        let pixel = Form::Halves.numbers(1, depth).expect("a pixel within memory");
        let strip = evenly(pixels, strip_len(kernels) / (pixel + channels));
        let (x, weights) = (Lines::of(0.5, strip * pixel), packed(Arithmetic::Bf16x3, depth, channels));
        let out = RefCell::new(Lines::of(0.0, strip * channels));
        Layer::in_strips(name, [pixels, depth, channels], strip, move |kernels, pixels| {
            let (values, weights) = (&x.get()[..pixels * pixel], weights.get());
            let (clamp, residual) = (Clamp::NONE, None);
            let product = Halves { values, pixels, depth, weights, channels, clamp, residual };
            kernels.halves(&product, &mut out.borrow_mut().get_mut()[..pixels * channels]);
        })
    }

    /// Whose result is projected to so many channels.
    fn depthwise(kernels: Kernels, size: usize, channels: usize, stride: usize, outputs: usize) -> Layer {
        let size_out = size.div_ceil(stride);
        let form = Form::of(kernels.arithmetic(), size_out, outputs);
        let (row, row_out) = (size * LANES, form.numbers(size_out, channels).expect("a row within memory"));
        let strip = evenly(size_out, strip_len(kernels) / (stride * size * channels + row_out));
        let apart = ((strip - 1) * stride + 3) * row;
        let (x, weights) = (Lines::of(0.5, channels / LANES * apart), packed(Arithmetic::F32, TAPS, channels));
        let out = RefCell::new(Lines::of(0.0, strip * row_out));
        Layer {
            name: format!("depthwise {size}x{channels}/{stride}"),
            flops: (2 * size_out * size_out * TAPS * channels) as f64,
            run: Box::new(move |kernels| {
                for from in (0..size_out).step_by(strip) {
                    let strip = strip.min(size_out - from);
                    let reads = (strip - 1) * stride + 3;
                    let there = |read: &usize| (1..=size).contains(&(from * stride + read));
                    let rows: Vec<Option<usize>> =
                        (0..reads).map(|read| Some(read).filter(there).map(|read| read * row)).collect();
                    let conv = Depthwise {
                        values: x.get(),
                        apart,
                        rows: &rows,
                        channels,
                        width: size,
                        width_out: size_out,
                        stride: [stride; 2],
                        pad_left: 1,
                        weights: weights.get(),
                        clamp: Clamp::RELU6,
                        form,
                    };
                    kernels.depthwise(&conv, &mut out.borrow_mut().get_mut()[..strip * row_out]);
                }
            }),
        }
    }

    fn seconds(&self, kernels: Kernels) -> f64 {
        let run = Instant::now();
        (self.run)(kernels);
        run.elapsed().as_secs_f64()
    }
}

/// A layer beside the tile that meets no edge.
struct Pair {
    /// Seconds of the layer in those of the tile.
    ratio: f64,
    /// Seconds of the tile.
    limit: f64,
}

impl Pair {
    /// The median of many rounds, one after the other in each: others may use the machine too.
    fn of(layer: &Layer, limit: &Layer, kernels: Kernels) -> Pair {
        let began = Instant::now();
        let (mut ratios, mut tiles) = (Vec::new(), Vec::new());
        while began.elapsed().as_millis() < 100 {
            // A tile alone is short to be timed, and the first of some finds what it reads far away.
            let tile = (0..4).map(|_| limit.seconds(kernels)).fold(f64::MAX, f64::min);
            ratios.push(layer.seconds(kernels) / tile);
            tiles.push(tile);
        }
        Pair { ratio: median(ratios), limit: median(tiles) }
    }
}

fn median(mut numbers: Vec<f64>) -> f64 {
    numbers.sort_by(f64::total_cmp);
    numbers[numbers.len() / 2]
}

fn network(kernels: Kernels) -> Vec<Layer> {
    let mut layers = vec![Layer::product(kernels, "stem", 112 * 112, 27, 32)];
    let (mut size, mut inputs) = (112, 32);
    for (expansion, outputs, repeats, stride) in BLOCKS {
        for repeat in 0..repeats {
            let stride = if repeat == 0 { stride } else { 1 };
            let wide = inputs * expansion;
            if expansion > 1 {
                layers.push(Layer::product(kernels, "expand", size * size, inputs, wide));
            }
            layers.push(Layer::depthwise(kernels, size, wide, stride, outputs));
            size /= stride;
            layers.push(match Form::of(kernels.arithmetic(), size, outputs) {
                Form::ChannelsLast => Layer::product(kernels, "project", size * size, wide, outputs),
                Form::Pairs => Layer::product_of_pairs(kernels, "project", size * size, wide, outputs),
                Form::Halves => Layer::product_of_halves(kernels, "project", size * size, wide, outputs),
            });
            inputs = outputs;
        }
    }
    layers.push(Layer::product(kernels, "head", size * size, inputs, 1280));
    layers
}
