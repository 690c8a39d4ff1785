//! Images per second of the network alone, on one thread and on two: `throughput [FILE.onnx] [KERNELS]`.
//! Without a file it runs the built-in weights; the input is noise, for the time does not depend on it.

use std::error::Error;
use std::time::{Duration, Instant};

use mr_vision::kernels::Kernels;
use mr_vision::{Network, Scratch, weights};

const MEASURE: Duration = Duration::from_secs(3);

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    let bytes = match args.next() {
        Some(path) => std::fs::read(path)?,
        None => weights::BUILTIN.to_vec(),
    };
    let started = Instant::now();
    let mut network = Network::from_onnx_bytes(&bytes)?;
    println!("read in {:.0} ms", started.elapsed().as_secs_f64() * 1e3);
    if let Some(name) = args.next() {
        let kernels = Kernels::named(&name).ok_or_else(|| format!("no kernels `{name}` on this machine"))?;
        network = network.with_kernels(kernels);
    }
    for threads in [1, 2] {
        let runs: Vec<Run> = std::thread::scope(|scope| {
            let network = &network;
            let slots: Vec<_> = (0..threads).map(|seed| scope.spawn(move || run(network, seed))).collect();
            slots.into_iter().map(|slot| slot.join().expect("embedding noise does not fail")).collect()
        });
        let rate: f64 = runs.iter().map(|run| run.images_per_s).sum();
        // Where others use the machine too, the fastest image says more than the rate.
        let fastest = runs.iter().map(|run| run.fastest).min().unwrap_or_default().as_secs_f64() * 1e3;
        println!("{}: {threads} threads, {rate:.1} images/s, fastest image {fastest:.2} ms", network.kernels().name());
    }
    Ok(())
}

struct Run {
    images_per_s: f64,
    fastest: Duration,
}

fn run(network: &Network, seed: u32) -> Run {
    let (height, width) = network.input_size();
    let mut state = seed;
    let input: Vec<f32> = (0..height * width * 3)
        .map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as f32 / 127.5 - 1.0
        })
        .collect();
    let mut scratch = Scratch::new();
    let (mut images, mut fastest) = (0, Duration::MAX);
    let started = Instant::now();
    while started.elapsed() < MEASURE {
        let image = Instant::now();
        network.embed(&input, &mut scratch).expect("noise has finite features");
        fastest = fastest.min(image.elapsed());
        images += 1;
    }
    Run { images_per_s: images as f64 / started.elapsed().as_secs_f64(), fastest }
}
