//! The JPEG decoder has code of its own for CPUs with AVX2. What it gives there is what it gives anywhere.

use std::fs;
use std::path::{Path, PathBuf};

use mr_vision::image::{Budget, DecodeOptions, decode};
use zune_core::bytestream::ZCursor;
use zune_core::colorspace::ColorSpace;
use zune_core::options::DecoderOptions;
use zune_jpeg::JpegDecoder;

#[allow(dead_code, reason = "each test file uses its part")]
mod common;

/// More than any of these files wants.
const BUDGET_BYTES: u64 = 512 << 20;

#[test]
fn plain_code_gives_the_same_pixels() {
    let mut compared = 0;
    for folder in ["data/photos", "data/fruits/Test", "data/odd"] {
        let Some(folder) = common::shared(folder) else { return };
        for path in files(&folder).iter().step_by(3) {
            let bytes = fs::read(path).expect("it is readable");
            let Ok(decoded) = decode(&bytes, &DecodeOptions::default(), &Budget::new(BUDGET_BYTES)) else { continue };
            if bytes.starts_with(&[0xff, 0xd8]) && decoded.photo().rgb().len() < 10_000_000 {
                assert!(plainly(&bytes) == decoded.photo().rgb(), "{}", path.display());
                compared += 1;
            }
        }
    }
    println!("{compared} photos compared");
    assert!(compared > 500, "only {compared}");
}

fn plainly(bytes: &[u8]) -> Vec<u8> {
    let options = DecoderOptions::default()
        .set_use_unsafe(false)
        .set_strict_mode(false)
        .set_max_width(usize::MAX)
        .set_max_height(usize::MAX)
        .jpeg_set_out_colorspace(ColorSpace::RGB);
    JpegDecoder::new_with_options(ZCursor::new(bytes), options).decode().expect("it was decoded before")
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).expect("the folder is there") {
        let path = entry.expect("it is readable").path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found.sort();
    found
}
