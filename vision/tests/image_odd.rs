//! Hostile and unusual files, in a process of their own so that its memory is theirs.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use mr_vision::image::{Budget, DecodeOptions, ImageErrorClass, decode};

#[allow(dead_code, reason = "each test file uses its part")]
mod common;

/// What a worker has by default.
const BUDGET_BYTES: u64 = 512 << 20;

/// Where our verdict is not Pillow's.
const DECODED_THOUGH_PILLOW_REFUSES: &[&str] = &[
    // Cut short within the pixels: the rest is grey.
    "no_eoi.jpg",
    "truncated_half.jpg",
    // What is wrong is in a text chunk, which doesn't matter here.
    "Pillow__png_decompression_dos.png",
    // The compression method's byte is wrong and the data is not.
    "Pillow__unknown_compression_method.png",
];
const REFUSED_THOUGH_PILLOW_DECODES: &[&str] = &[
    // There is no colour for its index.
    "Pillow__no_palette.gif",
];

/// What is kept of a decoded file: its size and a checksum of its pixels.
type Verdict = Result<(u32, u32, u64), (ImageErrorClass, String)>;

#[test]
fn every_file_is_decoded_or_refused_and_twice_alike() {
    let Some(folder) = common::shared("data/odd") else { return };
    let (options, budget) =
        (DecodeOptions { exif_orientation: true, ..DecodeOptions::default() }, Budget::new(BUDGET_BYTES));
    let verdicts = verdicts(&folder, &options, &budget);
    assert!(verdicts.len() >= 131, "only {} files", verdicts.len());
    assert_eq!(budget.free(), BUDGET_BYTES);

    // Again, with a budget that everything exceeds.
    assert_eq!(verdicts, self::verdicts(&folder, &options, &Budget::new(1)));

    let expected = fs::read_to_string(folder.join("EXPECTED.csv")).expect("the list is there");
    let pillow: BTreeMap<&str, bool> = expected.lines().skip(1).map(file_and_verdict).collect();
    let differs = |name: &&&str, ours: bool| verdicts[**name].is_ok() == ours && pillow[**name] != ours;
    let mut names: Vec<&str> = verdicts.keys().map(String::as_str).collect();
    names.sort_unstable();
    let decoded: Vec<&str> = names.iter().filter(|name| differs(name, true)).copied().collect();
    let refused: Vec<&str> = names.iter().filter(|name| differs(name, false)).copied().collect();
    assert_eq!(decoded, sorted(DECODED_THOUGH_PILLOW_REFUSES));
    assert_eq!(refused, sorted(REFUSED_THOUGH_PILLOW_DECODES));

    for (name, class) in [
        ("empty.jpg", ImageErrorClass::Empty),
        ("text.jpg", ImageErrorClass::NotAnImage),
        ("header_only.jpg", ImageErrorClass::Undecodable),
        ("Pillow__ultrahdr.jpg", ImageErrorClass::Undecodable),
        ("libjpeg-turbo__monkey12.jpg", ImageErrorClass::Unsupported),
        ("jpeg-decoder__jpeg_lossless_sel4.jpg", ImageErrorClass::Unsupported),
        ("Pillow__truncated_image.png", ImageErrorClass::Undecodable),
        ("sof_65500x65500.jpg", ImageErrorClass::TooLarge),
        ("bomb_30000x30000_1bit.png", ImageErrorClass::TooLarge),
        ("bomb_header_2e9.png", ImageErrorClass::TooLarge),
    ] {
        assert_eq!(verdicts[name].as_ref().map_err(|refusal| refusal.0), Err(class), "{name}");
    }

    let peak = peak_resident_bytes();
    println!("{} files, {} decoded; peak {} MB", verdicts.len(), verdicts.values().flatten().count(), peak >> 20);
    assert!(peak < 1 << 30, "{peak} bytes");
}

fn verdicts(folder: &Path, options: &DecodeOptions, budget: &Budget) -> BTreeMap<String, Verdict> {
    let files = fs::read_dir(folder).expect("the folder is there").map(|entry| entry.expect("it is readable").path());
    let images = files.filter(|path| path.extension().is_none_or(|extension| extension != "csv"));
    images
        .map(|path| {
            let bytes = fs::read(&path).expect("it is readable");
            let verdict = match decode(&bytes, options, budget) {
                Ok(decoded) => {
                    let photo = decoded.photo();
                    let checksum = photo.rgb().iter().fold(0u64, |sum, &sample| {
                        (sum ^ u64::from(sample)).wrapping_mul(0x0000_0100_0000_01b3).rotate_left(5)
                    });
                    Ok((photo.width(), photo.height(), checksum))
                }
                Err(error) => Err((error.class, error.message)),
            };
            (path.file_name().expect("it is a file").to_string_lossy().into_owned(), verdict)
        })
        .collect()
}

/// A line's file and whether Pillow decodes it; a name with a comma stands in quotation marks.
fn file_and_verdict(line: &str) -> (&str, bool) {
    let (name, rest) = match line.strip_prefix('"') {
        Some(quoted) => quoted.split_once("\",").expect("the mark is closed"),
        None => line.split_once(',').expect("there are columns"),
    };
    (name, rest.split(',').nth(1) == Some("decodes"))
}

fn sorted(names: &[&'static str]) -> Vec<&'static str> {
    let mut names = names.to_vec();
    names.sort_unstable();
    names
}

fn peak_resident_bytes() -> u64 {
    let status = fs::read_to_string("/proc/self/status").expect("this is Linux");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("the kernel tells");
    line.trim().trim_end_matches(" kB").parse::<u64>().expect("it is a number") * 1024
}
