//! The JPEG decoder has code of its own for CPUs with AVX2. What it gives there is what it gives anywhere.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use mr_vision::image::{Budget, DecodeOptions, decode};

#[allow(dead_code, reason = "each test file uses its part")]
mod common;

/// More than any of these files wants.
const BUDGET_BYTES: u64 = 512 << 20;
/// Tells the decoder to use plain code, as libjpeg-turbo's own variable does.
const PLAIN: &str = "JSIMD_FORCENONE";

/// Runs itself once more as another process, since the decoder asks the environment.
#[test]
fn plain_code_gives_the_same_pixels() {
    let Some(data) = common::shared("data") else { return };
    let here = checksums(&data);
    if std::env::var_os(PLAIN).is_some() {
        here.iter().for_each(|line| println!("{line}"));
        return;
    }
    let mut again = Command::new(std::env::current_exe().expect("it runs"));
    again.args(["--exact", "plain_code_gives_the_same_pixels", "--nocapture"]).env(PLAIN, "1");
    let plain = again.output().expect("it starts");
    assert!(plain.status.success());
    let plain = String::from_utf8(plain.stdout).expect("texts");
    let plain: Vec<_> = plain.lines().filter(|line| line.starts_with("pixels ")).collect();
    assert!(here.len() > 500, "only {} photos", here.len());
    assert_eq!(plain, here);
}

fn checksums(data: &Path) -> Vec<String> {
    let mut sums = Vec::new();
    for folder in ["photos", "fruits/Test", "odd"] {
        for path in files(&data.join(folder)).iter().step_by(3) {
            let bytes = fs::read(path).expect("it is readable");
            let Ok(decoded) = decode(&bytes, &DecodeOptions::default(), &Budget::new(BUDGET_BYTES)) else { continue };
            if bytes.starts_with(&[0xff, 0xd8]) {
                let sum = decoded.photo().rgb().iter().fold(0u64, |sum, &sample| {
                    (sum ^ u64::from(sample)).wrapping_mul(0x0000_0100_0000_01b3).rotate_left(5)
                });
                sums.push(format!("pixels {sum:016x} of {}", path.display()));
            }
        }
    }
    sums
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
