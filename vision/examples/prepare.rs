//! Milliseconds that one core takes from a photo's bytes to the network's input: `prepare [--scaled] FILE...`.
//!
//! With `--scaled` large JPEGs are decoded at a smaller scale, as `params.decode = "scaled"` does it. Decoding and resizing apart, the median over the files of each file's fastest run of ten.

use std::error::Error;
use std::fs;
use std::time::Instant;

use mr_vision::image::{Budget, DecodeOptions, Resizer, decode};

/// Height and width of the network's input.
const SIZE: u32 = 224;

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1).peekable();
    let scaled = args.next_if(|arg| arg == "--scaled").is_some();
    let options = DecodeOptions { scaled_to: scaled.then_some((SIZE, SIZE)), ..DecodeOptions::default() };
    let budget = Budget::new(512 << 20);
    let (mut resizer, mut input) = (Resizer::default(), Vec::new());
    let (mut decoding, mut resizing) = (Vec::new(), Vec::new());
    for path in args {
        let bytes = fs::read(&path)?;
        let (mut decode_ms, mut resize_ms) = (f64::MAX, f64::MAX);
        for _ in 0..10 {
            let began = Instant::now();
            let decoded = decode(&bytes, &options, &budget).map_err(|error| format!("{path}: {error}"))?;
            decode_ms = decode_ms.min(began.elapsed().as_secs_f64() * 1e3);
            let began = Instant::now();
            resizer.to_input(decoded.photo(), SIZE, SIZE, &mut input);
            resize_ms = resize_ms.min(began.elapsed().as_secs_f64() * 1e3);
        }
        decoding.push(decode_ms);
        resizing.push(resize_ms);
    }
    if decoding.is_empty() {
        return Err("no files were named".into());
    }
    let (decode_ms, resize_ms) = (median(decoding), median(resizing));
    println!("decode {decode_ms:.3} ms, resize {resize_ms:.3} ms, both {:.3} ms", decode_ms + resize_ms);
    Ok(())
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
