//! How much memory a decoder will want, told from the headers before it runs.
//!
//! The decoders check the size of the picture, but some also keep a working copy whose size is written elsewhere in the
//! file: the coefficients of a progressive JPEG, the first frame of a GIF, the bitstream inside a WebP. This reads just
//! enough of these formats to bound that. A file that is broken where we look bounds nothing here: the decoder stops at
//! the same place.

use image::{ExtendedColorType, ImageFormat};

use super::bytes::{u16_le, u32_be, u32_le};
use super::jpeg;

/// Bytes for each pixel along an edge: the intermediate rows and the weights of resizing to up to 300 x 300.
const RESIZE_BYTES_PER_EDGE_PIXEL: u64 = 1024;

const TIFF_TABLES_BYTES: u64 = 64 << 10;

/// What comes of every picture.
const PICTURE_BYTES_PER_PIXEL: u64 = 3;

/// The size that the first bytes state, where a decoder would read on, or allocate, before it tells.
pub fn stated_size(bytes: &[u8], format: ImageFormat) -> Option<(u32, u32)> {
    match format {
        ImageFormat::Png if bytes.get(12..16) == Some(b"IHDR") => Some((u32_be(bytes, 16)?, u32_be(bytes, 20)?)),
        ImageFormat::Gif => Some((u16_le(bytes, 6)?.into(), u16_le(bytes, 8)?.into())),
        _ => None,
    }
}

/// An upper bound on what decoding and resizing will hold at once, besides the file itself.
pub fn wanted(bytes: &[u8], format: ImageFormat, (width, height): (u32, u32), color: ExtendedColorType) -> u64 {
    let pixels = u64::from(width) * u64::from(height);
    let picture = pixels * PICTURE_BYTES_PER_PIXEL.max(stored_bytes_per_pixel(color));
    let edges = (u64::from(width) + u64::from(height)) * RESIZE_BYTES_PER_EDGE_PIXEL;
    picture + edges + working_copy(bytes, format, (width, height), color)
}

fn working_copy(bytes: &[u8], format: ImageFormat, (width, height): (u32, u32), color: ExtendedColorType) -> u64 {
    let pixels = u64::from(width) * u64::from(height);
    match format {
        ImageFormat::Jpeg => jpeg::Header::read(bytes).map_or(0, |header| header.working_copy_bytes()),
        ImageFormat::Gif => gif_first_frame(bytes).map_or(0, |frame| frame.working_copy_bytes((width, height))),
        ImageFormat::WebP => webp_frames(bytes, pixels),
        ImageFormat::Tiff => tiff_working_copy(bytes, pixels, color),
        _ => 0,
    }
}

/// A TIFF is decoded as it is stored and then copied, with at most the file's bytes once more on the way.
fn tiff_working_copy(bytes: &[u8], pixels: u64, color: ExtendedColorType) -> u64 {
    let stored = pixels * stored_bytes_per_pixel(color);
    stored + stored.min(bytes.len() as u64) + TIFF_TABLES_BYTES
}

/// What the TIFF decoder is held to. It counts a strip by its length in the file, whether or not it takes a copy.
pub fn tiff_limit(bytes: &[u8], pixels: u64, color: ExtendedColorType) -> u64 {
    pixels * stored_bytes_per_pixel(color) + bytes.len() as u64 + TIFF_TABLES_BYTES
}

fn stored_bytes_per_pixel(color: ExtendedColorType) -> u64 {
    u64::from(color.bits_per_pixel()).div_ceil(8)
}

/// Where the first frame lies on a GIF's screen, which it may exceed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct GifFrame {
    left: u32,
    top: u32,
    width: u32,
    height: u32,
}

impl GifFrame {
    /// A frame from edge to edge is decoded in place, another one by itself.
    fn working_copy_bytes(self, (screen_width, screen_height): (u32, u32)) -> u64 {
        let in_place = self.left == 0 && self.width == screen_width && self.top + self.height <= screen_height;
        if in_place { 0 } else { u64::from(self.width) * u64::from(self.height) * 4 }
    }
}

fn gif_first_frame(bytes: &[u8]) -> Option<GifFrame> {
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
            0x2c => {
                let number = |index: usize| u16_le(bytes, at + 1 + index * 2).map(u32::from);
                return Some(GifFrame { left: number(0)?, top: number(1)?, width: number(2)?, height: number(3)? });
            }
            0x3b => return None,
            _ => at += 1, // the decoder skips what it doesn't know
        }
    }
}

/// Planes of a lossy frame, an RGBA copy of a lossless one, the canvas of an animation.
fn webp_frames(bytes: &[u8], canvas: u64) -> u64 {
    let mut wanted = 0;
    let mut at = 12;
    while let Some(length) = u32_le(bytes, at + 4) {
        let (length, data) = (length as usize, at + 8);
        match bytes.get(at..at + 4) {
            Some(b"VP8 ") => return wanted + webp_lossy_planes(bytes, data).unwrap_or(0),
            Some(b"VP8L") => return wanted + canvas * 4,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gif_frame_may_be_larger_than_its_screen() {
        let mut bytes = b"GIF89a\x02\0\x03\0\x80\0\0abcdef".to_vec(); // a palette of two colours
        assert_eq!(stated_size(&bytes, ImageFormat::Gif), Some((2, 3)));
        bytes.extend(b"\x21\xf9\x02ab\x01c\0"); // an extension of two blocks
        bytes.extend(b"\x2c\0\0\0\0\xe8\x03\xd0\x07\0"); // a frame of 1000 x 2000
        let frame = GifFrame { left: 0, top: 0, width: 1000, height: 2000 };
        assert_eq!(gif_first_frame(&bytes), Some(frame));
        assert_eq!(working_copy(&bytes, ImageFormat::Gif, (2, 3), ExtendedColorType::Rgba8), 8_000_000);
        assert_eq!(frame.working_copy_bytes((1000, 1999)), 8_000_000);
        assert_eq!(frame.working_copy_bytes((1000, 2000)), 0);
        for length in 0..bytes.len() - 1 {
            assert_eq!(gif_first_frame(&bytes[..length]), None, "{length} bytes");
        }
    }

    #[test]
    fn a_webp_stream_may_be_larger_than_its_canvas() {
        let mut bytes = b"RIFF\xff\0\0\0WEBPVP8X\x0a\0\0\0\x02123456789".to_vec();
        assert_eq!(webp_frames(&bytes, 100), 0);
        let stream = b"VP8 \x10\0\0\0abc\x9d\x01\x2a\x21\0\x10\x40"; // 33 x 16, and a scale that doesn't count
        bytes.extend(stream);
        assert_eq!(webp_frames(&bytes, 100), 3 * 384);
        bytes.truncate(bytes.len() - stream.len());
        bytes.extend(b"ANMF\x40\0\0\0abcdefghijklmnop");
        bytes.extend(stream);
        assert_eq!(webp_frames(&bytes, 100), 800 + 3 * 384);
        assert_eq!(webp_frames(b"RIFF\xff\0\0\0WEBPVP8L\x10\0\0\0", 100), 400);
    }
}
