//! JPEG as libjpeg-turbo decodes it by default (integer IDCT, fancy upsampling), behind `image`'s decoder trait: networks
//! are trained and judged on pixels that come from there, and other upsampling moves features by half a percent.
//!
//! A picture that is cut short or damaged is decoded as far as it goes, the rest in grey.

use std::io;

use image::error::{
    DecodingError, ImageFormatHint, LimitError, LimitErrorKind, UnsupportedError, UnsupportedErrorKind,
};
use image::{ColorType, ExtendedColorType, ImageDecoder, ImageError, ImageFormat, ImageResult};
use libjpeg_turbo_rs::{ColorSpace, DecodeLimits, DecodeWarning, Decoder, JpegError, PixelFormat, ScalingFactor};

use super::decode::{MEMORY_MAX_BYTES, PIXELS_MAX};

/// More than any encoder writes: each scan of a progressive picture goes over all of it.
const SCANS_MAX: usize = 500;

pub struct JpegDecoder<'a> {
    decoder: Decoder<'a>,
    size: (u32, u32),
    exif: Option<Vec<u8>>,
    color: Color,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Color {
    Grey,
    Rgb,
    /// Of four inks, stored as Adobe stores them: what is left of white.
    Cmyk,
}

impl<'a> JpegDecoder<'a> {
    /// Reads up to the first scan. With `at_least`, a width and a height, the picture comes at a half, a quarter or an eighth
    /// of its size if it is as large as that even so: the inverse cosine transform then gives fewer samples a block, which
    /// takes less time than all of them and averaging.
    pub fn new(bytes: &'a [u8], at_least: Option<(u32, u32)>) -> ImageResult<Self> {
        let limits = DecodeLimits {
            max_pixels: PIXELS_MAX,
            max_scans: SCANS_MAX,
            max_memory: Some(MEMORY_MAX_BYTES),
            ..DecodeLimits::default()
        };
        let mut decoder = Decoder::new_with_limits(bytes, limits).map_err(refusal)?;
        if decoder.header().precision != 8 {
            return Err(refusal(JpegError::Unsupported(format!("{} bits a sample", decoder.header().precision))));
        }
        decoder.set_lenient(true);
        let color = match decoder.jpeg_color_space() {
            ColorSpace::Grayscale => Color::Grey,
            ColorSpace::Cmyk | ColorSpace::Ycck => Color::Cmyk,
            _ => Color::Rgb,
        };
        let samplings = decoder.header().components.iter();
        let samplings: Vec<_> = samplings.map(|ink| (ink.horizontal_sampling, ink.vertical_sampling)).collect();
        if color == Color::Cmyk && !inks_fit(&samplings) {
            return Err(refusal(JpegError::Unsupported("inks of different sizes".to_owned())));
        }
        decoder.set_output_format(match color {
            Color::Grey => PixelFormat::Grayscale,
            Color::Rgb => PixelFormat::Rgb,
            Color::Cmyk => PixelFormat::Cmyk,
        });
        if let Some((width, height)) = at_least {
            for denominator in [8, 4, 2, 1] {
                decoder.set_scale(ScalingFactor::try_new(1, denominator).map_err(refusal)?);
                if decoder.output_width() >= width as usize && decoder.output_height() >= height as usize {
                    break;
                }
            }
        }
        let size = (decoder.output_width() as u32, decoder.output_height() as u32);
        let exif = decoder.exif_data().map(<[u8]>::to_vec);
        Ok(Self { decoder, size, exif, color })
    }
}

impl ImageDecoder for JpegDecoder<'_> {
    fn dimensions(&self) -> (u32, u32) {
        self.size
    }

    fn color_type(&self) -> ColorType {
        match self.color {
            Color::Grey => ColorType::L8,
            Color::Rgb | Color::Cmyk => ColorType::Rgb8,
        }
    }

    fn original_color_type(&self) -> ExtendedColorType {
        match self.color {
            Color::Grey => ExtendedColorType::L8,
            Color::Rgb => ExtendedColorType::Rgb8,
            Color::Cmyk => ExtendedColorType::Cmyk8,
        }
    }

    fn exif_metadata(&mut self) -> ImageResult<Option<Vec<u8>>> {
        Ok(self.exif.clone())
    }

    fn read_image(self, pixels: &mut [u8]) -> ImageResult<()> {
        let warnings = match self.color {
            Color::Grey | Color::Rgb => self.decoder.decode_image_into(pixels).map_err(refusal)?.warnings,
            Color::Cmyk => {
                let inks = self.decoder.decode_image().map_err(refusal)?;
                for (rgb, inks) in pixels.chunks_exact_mut(3).zip(inks.data.chunks_exact(4)) {
                    rgb.copy_from_slice(&rgb_of([inks[0], inks[1], inks[2], inks[3]]));
                }
                inks.warnings
            }
        };
        // Grey all over is no photo, though it is what libjpeg makes of these.
        for warning in warnings {
            match warning {
                DecodeWarning::UnsupportedRecovered { detail } => return Err(refusal(JpegError::Unsupported(detail))),
                DecodeWarning::TruncatedData { decoded_mcus: 0, .. } => return Err(refusal(JpegError::UnexpectedEof)),
                _ => {}
            }
        }
        Ok(())
    }

    fn read_image_boxed(self: Box<Self>, pixels: &mut [u8]) -> ImageResult<()> {
        (*self).read_image(pixels)
    }
}

/// Whether the decoder can lay four inks of these samplings over each other. It takes the first and the last for whole, and
/// the two between for alike: of others it would make another picture, or panic.
fn inks_fit(samplings: &[(u8, u8)]) -> bool {
    let [first, second, third, last] = *samplings else { return false };
    let divides = |whole: u8, part: u8| part > 0 && whole.is_multiple_of(part);
    first == last && second == third && divides(first.0, second.0) && divides(first.1, second.1)
}

/// Pillow's conversion, to the bit: an ink takes its share of what the black leaves.
fn rgb_of([cyan, magenta, yellow, black]: [u8; 4]) -> [u8; 3] {
    [cyan, magenta, yellow].map(|left| {
        let product = u32::from(255 - left) * u32::from(black) + 128;
        black - (((product >> 8) + product) >> 8) as u8
    })
}

fn refusal(error: JpegError) -> ImageError {
    let hint = ImageFormatHint::Exact(ImageFormat::Jpeg);
    match error {
        JpegError::Unsupported(what) => ImageError::Unsupported(UnsupportedError::from_format_and_kind(
            hint,
            UnsupportedErrorKind::GenericFeature(what),
        )),
        JpegError::LimitExceeded { what, .. } if what.contains("pixel") => {
            ImageError::Limits(LimitError::from_kind(LimitErrorKind::DimensionError))
        }
        JpegError::LimitExceeded { .. } | JpegError::AllocationFailed { .. } => {
            ImageError::Limits(LimitError::from_kind(LimitErrorKind::InsufficientMemory))
        }
        JpegError::Io(error) => ImageError::IoError(io::Error::other(error)),
        other => ImageError::Decoding(DecodingError::new(hint, other.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use super::{inks_fit, rgb_of};

    #[test]
    fn inks_are_what_is_left_of_white() {
        assert_eq!(rgb_of([255, 255, 255, 255]), [255, 255, 255]);
        assert_eq!(rgb_of([255, 255, 255, 0]), [0, 0, 0]);
        assert_eq!(rgb_of([0, 255, 128, 255]), [0, 255, 128]);
        assert_eq!(rgb_of([128, 0, 255, 100]), [50, 0, 100]);
    }

    #[test]
    fn inks_are_whole_or_the_two_between_are_smaller() {
        for (samplings, fit) in [
            ([(1, 1), (1, 1), (1, 1), (1, 1)], true),
            ([(2, 2), (1, 1), (1, 1), (2, 2)], true),
            ([(2, 1), (1, 1), (1, 1), (2, 1)], true),
            ([(2, 2), (1, 1), (1, 1), (1, 1)], false),
            ([(2, 2), (1, 1), (2, 1), (2, 2)], false),
            ([(1, 1), (2, 2), (2, 2), (1, 1)], false),
            ([(3, 1), (2, 1), (2, 1), (3, 1)], false),
        ] {
            assert_eq!(inks_fit(&samplings), fit, "{samplings:?}");
        }
        assert!(!inks_fit(&[(1, 1); 3]));
    }
}
