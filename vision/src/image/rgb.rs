//! Pixels of any kind that the decoders give, as 8-bit RGB, within one buffer.
//!
//! As Pillow's `convert("RGB")`: grey is repeated and alpha is dropped, not blended over anything. 16 bits become 8 by
//! their high byte, as Pillow and libpng do it. Floats are taken to span 0 to 1.

use image::ColorType;

/// Turns pixels of kind `color` into RGB in place. Samples wider than a byte are in the machine's byte order.
pub fn to_rgb8(mut pixels: Vec<u8>, color: ColorType) -> Option<Vec<u8>> {
    match color {
        ColorType::Rgb8 => {}
        ColorType::L8 => widen(&mut pixels),
        ColorType::La8 => {
            shrink::<2, 1>(&mut pixels, |pixel| [pixel[0]]);
            widen(&mut pixels);
        }
        ColorType::Rgba8 => shrink::<4, 3>(&mut pixels, |[red, green, blue, _]| [red, green, blue]),
        ColorType::L16 => {
            shrink::<2, 1>(&mut pixels, |pixel| [high(pixel, 0)]);
            widen(&mut pixels);
        }
        ColorType::La16 => {
            shrink::<4, 1>(&mut pixels, |pixel| [high(pixel, 0)]);
            widen(&mut pixels);
        }
        ColorType::Rgb16 => shrink::<6, 3>(&mut pixels, |pixel| [0, 1, 2].map(|sample| high(pixel, sample))),
        ColorType::Rgba16 => shrink::<8, 3>(&mut pixels, |pixel| [0, 1, 2].map(|sample| high(pixel, sample))),
        ColorType::Rgb32F => shrink::<12, 3>(&mut pixels, |pixel| [0, 1, 2].map(|sample| scaled(pixel, sample))),
        ColorType::Rgba32F => shrink::<16, 3>(&mut pixels, |pixel| [0, 1, 2].map(|sample| scaled(pixel, sample))),
        _ => return None, // the enum is open; what may yet be added is unknown to us
    }
    Some(pixels)
}

/// Replaces each `FROM` bytes by `TO` fewer ones, front to back.
fn shrink<const FROM: usize, const TO: usize>(pixels: &mut Vec<u8>, convert: impl Fn([u8; FROM]) -> [u8; TO]) {
    let count = pixels.len() / FROM;
    for index in 0..count {
        let (from, to) = (index * FROM, index * TO);
        let pixel: [u8; FROM] = pixels[from..from + FROM].try_into().expect("the range is FROM long");
        pixels[to..to + TO].copy_from_slice(&convert(pixel));
    }
    pixels.truncate(count * TO);
}

/// Repeats each byte three times, back to front so that none is overwritten before it is read.
fn widen(pixels: &mut Vec<u8>) {
    let count = pixels.len();
    pixels.resize(count * 3, 0);
    for index in (0..count).rev() {
        let grey = pixels[index];
        pixels[index * 3..index * 3 + 3].fill(grey);
    }
}

fn high<const N: usize>(pixel: [u8; N], sample: usize) -> u8 {
    (u16::from_ne_bytes([pixel[sample * 2], pixel[sample * 2 + 1]]) >> 8) as u8
}

fn scaled<const N: usize>(pixel: [u8; N], sample: usize) -> u8 {
    let bytes = pixel[sample * 4..sample * 4 + 4].try_into().expect("the range is 4 long");
    // A float outside 0 to 1 is clamped; NaN becomes 0.
    (f32::from_ne_bytes(bytes).clamp(0.0, 1.0) * 255.0 + 0.5) as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(color: ColorType, pixels: Vec<u8>, expected: &[u8]) {
        assert_eq!(to_rgb8(pixels, color).as_deref(), Some(expected), "{color:?}");
    }

    fn wide(samples: &[u16]) -> Vec<u8> {
        samples.iter().flat_map(|sample| sample.to_ne_bytes()).collect()
    }

    fn floats(samples: &[f32]) -> Vec<u8> {
        samples.iter().flat_map(|sample| sample.to_ne_bytes()).collect()
    }

    #[test]
    fn every_kind_becomes_rgb() {
        check(ColorType::Rgb8, vec![1, 2, 3, 4, 5, 6], &[1, 2, 3, 4, 5, 6]);
        check(ColorType::L8, vec![1, 2, 3], &[1, 1, 1, 2, 2, 2, 3, 3, 3]);
        check(ColorType::La8, vec![1, 9, 2, 0], &[1, 1, 1, 2, 2, 2]);
        check(ColorType::Rgba8, vec![1, 2, 3, 0, 4, 5, 6, 255], &[1, 2, 3, 4, 5, 6]);
        check(ColorType::L16, wide(&[0x01ff, 0xff00]), &[1, 1, 1, 255, 255, 255]);
        check(ColorType::La16, wide(&[0x0280, 7]), &[2, 2, 2]);
        check(ColorType::Rgb16, wide(&[0x0100, 0x02ff, 0x0380]), &[1, 2, 3]);
        check(ColorType::Rgba16, wide(&[0x0100, 0x02ff, 0x0380, 0]), &[1, 2, 3]);
        check(ColorType::Rgb32F, floats(&[0.0, 1.0, 0.5]), &[0, 255, 128]);
        check(ColorType::Rgba32F, floats(&[-3.0, f32::NAN, 1e9, 0.0]), &[0, 0, 255]);
    }
}
