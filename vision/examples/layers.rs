//! Where the network's time goes: every product and depthwise convolution of MobileNetV2 1.0 at 224 x 224, timed alone
//! with warm caches on one thread, beside what this core's multiply-add units can do.
//!
//! `layers [KERNELS]`. What the strips of a block cost beyond that shows as the difference to `throughput`.

use std::cell::RefCell;
use std::error::Error;
use std::time::Instant;

use mr_vision::kernels::{
    Arithmetic, Clamp, Depthwise, Kernels, LANES, Layout, Patches, Product, TAPS, Work, pack, packed_len,
};

/// Expansion, outputs, repeats, stride: table 2 of the MobileNetV2 paper, <https://arxiv.org/abs/1801.04381>.
const BLOCKS: [(usize, usize, usize, usize); 7] =
    [(1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1)];

fn main() -> Result<(), Box<dyn Error>> {
    let kernels = match std::env::args().nth(1) {
        Some(name) => Kernels::named(&name).ok_or_else(|| format!("no kernels `{name}` on this machine"))?,
        None => Kernels::f32(),
    };
    // What it reads lies in the nearest cache.
    let peak = Layer::product(kernels, "limit", 120, 128, 32).rate(kernels);
    println!("{}: {peak:.1} GFLOP/s in a register tile that meets no edge", kernels.name());
    println!("{:<24} {:>8} {:>8} {:>7} {:>9} {:>6}", "layer", "MFLOP", "us", "share", "GFLOP/s", "limit");
    let layers = network(kernels);
    let times: Vec<f64> = layers.iter().map(|layer| layer.seconds(kernels)).collect();
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
    fn product(kernels: Kernels, name: &str, pixels: usize, depth: usize, channels: usize) -> Layer {
        let (x, weights) = (Lines::of(0.5, pixels * depth), packed(kernels.arithmetic(), depth, channels));
        let out = RefCell::new((Lines::of(0.0, pixels * channels), Work::default()));
        Layer {
            name: format!("{name} {pixels}x{depth}x{channels}"),
            flops: (2 * pixels * depth * channels) as f64,
            run: Box::new(move |kernels| {
                let x = Patches { values: x.get(), pixels, stride: depth, segments: &[0], segment_len: depth };
                let (weights, clamp) = (weights.get(), Clamp::RELU6);
                let (out, work) = &mut *out.borrow_mut();
                let layout = Layout::ChannelsLast;
                let product = Product { x, weights, channels, clamp, residual: None, layout, next: &[] };
                kernels.product(&product, out.get_mut(), work);
            }),
        }
    }

    fn depthwise(size: usize, channels: usize, stride: usize) -> Layer {
        let row = size * LANES;
        let apart = size * row;
        let (x, weights) = (Lines::of(0.5, channels / LANES * apart), packed(Arithmetic::F32, TAPS, channels));
        let size_out = size.div_ceil(stride);
        let rows: Vec<Option<usize>> = (0..(size_out - 1) * stride + 3)
            .map(|at| at.checked_sub(1).filter(|at| *at < size).map(|at| at * row))
            .collect();
        let out = RefCell::new(Lines::of(0.0, size_out * size_out * channels));
        Layer {
            name: format!("depthwise {size}x{channels}/{stride}"),
            flops: (2 * size_out * size_out * TAPS * channels) as f64,
            run: Box::new(move |kernels| {
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
                };
                kernels.depthwise(&conv, out.borrow_mut().get_mut());
            }),
        }
    }

    /// The fastest of many runs: others may use the machine too.
    fn seconds(&self, kernels: Kernels) -> f64 {
        let began = Instant::now();
        let mut fastest = f64::MAX;
        while began.elapsed().as_millis() < 100 {
            let run = Instant::now();
            (self.run)(kernels);
            fastest = fastest.min(run.elapsed().as_secs_f64());
        }
        fastest
    }

    fn rate(&self, kernels: Kernels) -> f64 {
        self.flops / self.seconds(kernels) / 1e9
    }
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
            layers.push(Layer::depthwise(size, wide, stride));
            size /= stride;
            layers.push(Layer::product(kernels, "project", size * size, wide, outputs));
            inputs = outputs;
        }
    }
    layers.push(Layer::product(kernels, "head", size * size, inputs, 1280));
    layers
}
