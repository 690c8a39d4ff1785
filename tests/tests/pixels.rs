//! JPEGs as libjpeg-turbo has them, by way of Pillow: photos from shops and of fruits, and the hostile ones.

use mr_tests::{Python, Scratch, need, tree};
use mr_vision::image::{Budget, DecodeOptions, decode};
use std::fs;

#[test]
fn jpeg_pixels_are_those_of_libjpeg_turbo() {
    let scratch = Scratch::enter("pixels: against libjpeg-turbo");
    let Some(python) = Python::ready() else { return };
    let Some(data) = need("data") else { return };
    let budget = Budget::new(512 << 20);
    let mut list = String::new();
    for (folder, step) in [("fruits", 10), ("photos", 4), ("odd", 1)] {
        for name in tree(&data.join(folder)).into_keys().step_by(step) {
            let path = data.join(folder).join(name);
            let bytes = fs::read(&path).expect("it is readable");
            if !bytes.starts_with(&[0xff, 0xd8]) {
                continue;
            }
            let Ok(decoded) = decode(&bytes, &DecodeOptions::default(), &budget) else { continue };
            let pixels = scratch.join(format!("{}.rgb", list.lines().count()));
            fs::write(&pixels, decoded.photo().rgb()).expect("writable");
            list += &format!("{}\t{}\n", path.display(), pixels.display());
        }
    }
    assert!(list.lines().count() > 550, "{list}");
    let list = scratch.write("list.tsv", &list);
    python.run(&scratch, "check_pixels.py", [list]);
}
