//! Images per second of the network alone, on threads that each embed one image after the other.
//!
//! `throughput [--model FILE.onnx] [--kernels NAME] [--threads N] [--seconds S] [--input FILE] [--features FILE]`
//!
//! Without a model it runs the built-in weights, and without an input on noise, since the time does not depend on it. An
//! input is raw f32, images of height x width x RGB; the features of the first are written, raw as well. The rate goes to
//! stdout, everything else to stderr.

use std::collections::HashMap;
use std::error::Error;
use std::fs;
use std::time::{Duration, Instant};

use mr_vision::kernels::Kernels;
use mr_vision::{Network, Scratch, weights};

const OPTIONS: [&str; 6] = ["--model", "--kernels", "--threads", "--seconds", "--input", "--features"];

fn main() -> Result<(), Box<dyn Error>> {
    let mut given = HashMap::new();
    let mut args = std::env::args().skip(1);
    while let Some(name) = args.next() {
        let known = OPTIONS.iter().find(|option| **option == name).ok_or_else(|| format!("no option {name}"))?;
        given.insert(*known, args.next().ok_or_else(|| format!("{name} wants a value"))?);
    }
    let bytes = match given.get("--model") {
        Some(path) => fs::read(path)?,
        None => weights::BUILTIN.to_vec(),
    };
    let started = Instant::now();
    let kernels = match given.get("--kernels") {
        Some(name) => Kernels::named(name).ok_or_else(|| format!("no kernels `{name}` on this machine"))?,
        None => Kernels::f32(),
    };
    let network = Network::on(kernels, &bytes)?;
    eprintln!("read in {:.0} ms", started.elapsed().as_secs_f64() * 1e3);
    let (height, width) = network.input_size();
    let numbers = match given.get("--input") {
        Some(path) => fs::read(path)?.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect(),
        None => noise(4 * height * width * 3),
    };
    let images: Vec<&[f32]> = numbers.chunks_exact(height * width * 3).collect();
    if images.is_empty() {
        return Err("the input holds no image".into());
    }
    if let Some(path) = given.get("--features") {
        let features = network.embed(images[0], &mut Scratch::new())?;
        fs::write(path, features.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<_>>())?;
    }
    let threads: usize = given.get("--threads").map_or(Ok(1), |text| text.parse())?;
    let measured = Duration::from_secs_f64(given.get("--seconds").map_or(Ok(3.0), |text| text.parse())?);
    let runs: Vec<Run> = std::thread::scope(|scope| {
        let (network, images) = (&network, &images);
        let slots: Vec<_> = (0..threads).map(|_| scope.spawn(move || run(network, images, measured))).collect();
        slots.into_iter().map(|slot| slot.join().expect("embedding does not panic")).collect()
    });
    let rate: f64 = runs.iter().map(|run| run.images_per_s).sum();
    // Where others use the machine too, the fastest image says more than the rate.
    let fastest = runs.iter().map(|run| run.fastest).min().unwrap_or_default().as_secs_f64() * 1e3;
    eprintln!("{}: {threads} threads, {rate:.1} images/s, fastest image {fastest:.2} ms", network.kernels().name());
    println!("{rate}");
    Ok(())
}

/// Numbers between -1 and 1, the same every time.
fn noise(count: usize) -> Vec<f32> {
    let mut state = 1u32;
    let next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as f32 / 127.5 - 1.0
    };
    std::iter::repeat_with(next).take(count).collect()
}

struct Run {
    images_per_s: f64,
    fastest: Duration,
}

fn run(network: &Network, images: &[&[f32]], measured: Duration) -> Run {
    let mut scratch = Scratch::new();
    let mut embed = |image| network.embed(image, &mut scratch).expect("finite pixels have finite features");
    images.iter().for_each(|image| drop(embed(image)));
    let (mut done, mut fastest) = (0, Duration::MAX);
    let started = Instant::now();
    while started.elapsed() < measured {
        let image = Instant::now();
        embed(images[done % images.len()]);
        fastest = fastest.min(image.elapsed());
        done += 1;
    }
    Run { images_per_s: done as f64 / started.elapsed().as_secs_f64(), fastest }
}
