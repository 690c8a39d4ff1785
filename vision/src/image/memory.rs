//! How much memory a decoder will want, told from the headers before it runs.
//!
//! The decoders check the size of the picture, but some also keep a working copy whose size is written elsewhere in the
//! file: the coefficients of a progressive JPEG, the first frame of a GIF, the bitstream inside a WebP. This reads just
//! enough of these formats to bound that. A file that is broken where we look bounds nothing here: the decoder stops at
//! the same place.

use image::{ColorType, ImageFormat};

/// Bytes for each pixel along an edge: the intermediate rows and the weights of resizing to up to 300 x 300.
const RESIZE_BYTES_PER_EDGE_PIXEL: u64 = 1024;

/// An upper bound on what decoding and resizing will hold at once, besides the file itself.
pub fn wanted(bytes: &[u8], format: ImageFormat, (width, height): (u32, u32), color: ColorType) -> u64 {
    let pixels = u64::from(width) * u64::from(height);
    let picture = pixels * super::rgb::bytes_per_pixel(color);
    let edges = (u64::from(width) + u64::from(height)) * RESIZE_BYTES_PER_EDGE_PIXEL;
    picture + edges + working_copy(bytes, format, pixels, color)
}

fn working_copy(bytes: &[u8], format: ImageFormat, pixels: u64, color: ColorType) -> u64 {
    match format {
        // The decoder takes a copy of the file.
        ImageFormat::Jpeg => bytes.len() as u64 + jpeg_coefficients(bytes).unwrap_or(0),
        ImageFormat::Gif => gif_first_frame(bytes).unwrap_or(0) * 4,
        ImageFormat::WebP => webp_frames(bytes, pixels),
        // The picture as stored, which has four samples where CMYK becomes three, and a strip or tile.
        ImageFormat::Tiff => tiff_working_copy(pixels, color),
        _ => 0,
    }
}

/// What a TIFF is decoded through; the decoder is held to it.
pub fn tiff_working_copy(pixels: u64, color: ColorType) -> u64 {
    let samples = u64::from(color.channel_count()).max(4);
    let sample_bytes = u64::from(color.bytes_per_pixel() / color.channel_count());
    pixels * samples * sample_bytes * 2 + (1 << 20)
}

/// The coefficients of all components at 2 bytes each, if the whole picture is kept as such until the last scan.
fn jpeg_coefficients(bytes: &[u8]) -> Option<u64> {
    let mut at = 2;
    let (mut coefficients, mut components) = (0, 0);
    loop {
        // A marker is 0xff, perhaps again, and a byte; what else lies between segments is skipped.
        let marker = loop {
            let [before, marker] = *bytes.get(at..at + 2)? else { return None };
            at += 1;
            if before == 0xff && !matches!(marker, 0x00 | 0xff) {
                at += 1;
                break marker;
            }
        };
        let length = usize::from(u16_be(bytes, at)?);
        let segment = bytes.get(at + 2..at + length.max(2))?;
        match marker {
            0xc0..=0xc2 => {
                components = usize::from(*segment.get(5)?);
                coefficients = jpeg_frame_coefficients(segment)?;
                if marker == 0xc2 {
                    return Some(coefficients);
                }
            }
            // Start of scan: with all components in it, rows are finished as they come.
            0xda if usize::from(*segment.first()?) == components => return Some(0),
            0xda => return Some(coefficients),
            _ => {}
        }
        at += length;
    }
}

fn jpeg_frame_coefficients(segment: &[u8]) -> Option<u64> {
    let (height, width) = (u64::from(u16_be(segment, 1)?), u64::from(u16_be(segment, 3)?));
    let samplings = segment.get(6..)?.chunks_exact(3).map(|component| {
        let sampling = u64::from(component[1]);
        (sampling >> 4, sampling & 15)
    });
    let across = samplings.clone().map(|(across, _)| across).max()?.max(1);
    let down = samplings.clone().map(|(_, down)| down).max()?.max(1);
    let blocks: u64 = samplings.map(|(across, down)| across * down).sum();
    Some(width.div_ceil(across * 8) * height.div_ceil(down * 8) * blocks * 64 * 2)
}

/// The pixels of a GIF's first frame, which may be larger than its screen.
fn gif_first_frame(bytes: &[u8]) -> Option<u64> {
    let palette = |flags: u8| if flags & 0x80 != 0 { 3 << ((flags & 7) + 1) } else { 0 };
    let mut at = 13 + palette(*bytes.get(10)?);
    loop {
        match *bytes.get(at)? {
            // An extension: a label and then blocks, each after its length, up to an empty one.
            0x21 => {
                at += 2;
                while *bytes.get(at)? != 0 {
                    at += usize::from(bytes[at]) + 1;
                }
                at += 1;
            }
            0x2c => return Some(u64::from(u16_le(bytes, at + 5)?) * u64::from(u16_le(bytes, at + 7)?)),
            0x3b => return None,
            _ => at += 1, // the decoder skips what it doesn't know
        }
    }
}

/// Planes of lossy frames, RGBA copies of lossless ones, the canvas of an animation.
fn webp_frames(bytes: &[u8], canvas: u64) -> u64 {
    let mut wanted = canvas * 4;
    let mut at = 12;
    while let Some(length) = u32_le(bytes, at + 4) {
        let (length, data) = (length as usize, at + 8);
        match bytes.get(at..at + 4) {
            Some(b"VP8 ") => return wanted + webp_lossy_planes(bytes, data).unwrap_or(0),
            Some(b"VP8L") => return wanted,
            Some(b"ALPH") => wanted += canvas * 6,
            // Only the first frame is decoded; its chunks follow 16 bytes of placing and timing.
            Some(b"ANMF") => {
                wanted += canvas * 8;
                at = data + 16;
                continue;
            }
            _ => {}
        }
        at = data.saturating_add(length).saturating_add(length % 2);
    }
    wanted
}

fn webp_lossy_planes(bytes: &[u8], at: usize) -> Option<u64> {
    let blocks = |size: u16| u64::from(size & 0x3fff).div_ceil(16);
    Some(blocks(u16_le(bytes, at + 6)?) * blocks(u16_le(bytes, at + 8)?) * (16 * 16 + 2 * 8 * 8))
}

fn u16_be(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(bytes.get(at..at.checked_add(2)?)?.try_into().ok()?))
}

fn u16_le(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_le_bytes(bytes.get(at..at.checked_add(2)?)?.try_into().ok()?))
}

fn u32_le(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(at..at.checked_add(4)?)?.try_into().ok()?))
}
