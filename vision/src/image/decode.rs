//! The bytes of a file to a photo, or to the reason why not.
//!
//! The format is told from the bytes, never from a name. Sizes are read from the headers and checked before a picture is
//! allocated. What the format's decoder makes pixels of is a photo, though the file be cut short or damaged; what it refuses
//! is refused here.

use std::io::Cursor;

use image::error::ImageError as DecoderError;
use image::metadata::Orientation;
use image::{DynamicImage, ExtendedColorType, ImageDecoder, ImageFormat, ImageReader, ImageResult, Limits, RgbImage};

use super::jpeg_decoder::JpegDecoder;
use super::quiet::catch_quietly;
use super::{Budget, BudgetGuard, ImageError, ImageErrorClass as Class, Photo, jpeg, memory, rgb};

/// The most pixels that a photo may have.
pub const PIXELS_MAX: u64 = 100_000_000;

/// The most memory that decoding one photo may want. It is a constant, so that the verdict is the same on every host.
pub const MEMORY_MAX_BYTES: u64 = 512 << 20;

/// What a decoder may spend on things that are not pixels: profiles, comments, tables, one row.
const METADATA_MAX_BYTES: u64 = 16 << 20;

/// What a job may choose.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DecodeOptions {
    /// Turn the photo upright as the camera noted it, instead of taking the pixels as stored.
    pub exif_orientation: bool,
    /// Decode a JPEG at a half, a quarter or an eighth of its size, if it is at least this wide and high even so.
    pub scaled_to: Option<(u32, u32)>,
}

/// A photo, and the share of the budget that it occupies while it lives.
#[derive(Debug)]
pub struct Decoded {
    photo: Photo,
    size: (u32, u32),
    _share: BudgetGuard,
}

impl Decoded {
    pub fn photo(&self) -> &Photo {
        &self.photo
    }

    /// Width and height of what is in the file, which are the photo's unless it was decoded at a smaller scale.
    pub fn size(&self) -> (u32, u32) {
        self.size
    }
}

/// Decodes a file's first picture, after waiting for room in the budget.
pub fn decode(bytes: &[u8], options: &DecodeOptions, budget: &Budget) -> Result<Decoded, ImageError> {
    let format = format_of(bytes)?;
    match catch_quietly(|| decode_as(format, bytes, options, budget)) {
        Ok(result) => result,
        Err(panic) => {
            Err(ImageError::new(Class::Undecodable, format!("the {} decoder panicked: {panic}", name(format))))
        }
    }
}

fn format_of(bytes: &[u8]) -> Result<ImageFormat, ImageError> {
    if bytes.is_empty() {
        return Err(ImageError::new(Class::Empty, "the file is empty"));
    }
    let format = image::guess_format(bytes)
        .map_err(|_| ImageError::new(Class::NotAnImage, "the file does not begin like an image"))?;
    match format {
        ImageFormat::Jpeg
        | ImageFormat::Png
        | ImageFormat::WebP
        | ImageFormat::Gif
        | ImageFormat::Bmp
        | ImageFormat::Tiff => Ok(format),
        other => Err(ImageError::new(Class::Unsupported, format!("{} images are not decoded", name(other)))),
    }
}

fn decode_as(
    format: ImageFormat,
    bytes: &[u8],
    options: &DecodeOptions,
    budget: &Budget,
) -> Result<Decoded, ImageError> {
    let refuse = |error| refusal(format, bytes, &error);
    if let Some(size) = memory::stated_size(bytes, format) {
        check_pixels(size)?;
    }
    let header = if format == ImageFormat::Jpeg { jpeg::Header::read(bytes) } else { None };
    if let Some(header) = &header {
        check_pixels(header.size)?;
        // Its decoder looks for the end of the last scan before it tells anything.
        let color = if header.components == 1 { ExtendedColorType::L8 } else { ExtendedColorType::Rgb8 };
        check_memory(header.size, memory::wanted(bytes, format, header.size, color))?;
    }
    let mut decoder = decoder_of(format, bytes, options.scaled_to).map_err(refuse)?;

    let (width, height) = decoder.dimensions();
    let (color, stored_color) = (decoder.color_type(), decoder.original_color_type());
    let pixels = check_pixels((width, height))?;
    let decoder_limits = limits(match format {
        ImageFormat::Tiff => memory::tiff_limit(bytes, pixels, stored_color),
        _ => MEMORY_MAX_BYTES,
    });
    decoder.set_limits(decoder_limits).map_err(refuse)?;
    let orientation = if options.exif_orientation {
        // Damaged camera notes say nothing about the pixels.
        decoder.orientation().unwrap_or(Orientation::NoTransforms)
    } else {
        Orientation::NoTransforms
    };

    let turned_copy = if orientation == Orientation::NoTransforms { 0 } else { pixels * 3 };
    let wanted = memory::wanted(bytes, format, (width, height), stored_color) + turned_copy;
    check_memory((width, height), wanted)?;
    let share = budget.acquire(wanted);

    let mut pixels = vec![0; decoder.total_bytes() as usize]; // at most `wanted`
    decoder.read_image(&mut pixels).map_err(refuse)?;
    let rgb = rgb::to_rgb8(pixels, color)
        .ok_or_else(|| ImageError::new(Class::Unsupported, format!("{color:?} pixels are not converted")))?;
    let photo = turn(width, height, rgb, orientation);
    let (stored_width, stored_height) = header.map_or((width, height), |header| header.size);
    let size = match turns_on_its_side(orientation) {
        true => (stored_height, stored_width),
        false => (stored_width, stored_height),
    };
    Ok(Decoded { photo, size, _share: share })
}

fn decoder_of<'a>(
    format: ImageFormat,
    bytes: &'a [u8],
    scaled_to: Option<(u32, u32)>,
) -> ImageResult<Box<dyn ImageDecoder + 'a>> {
    if format == ImageFormat::Jpeg {
        return Ok(Box::new(JpegDecoder::new(bytes, scaled_to)?));
    }
    let mut reader = ImageReader::with_format(Cursor::new(bytes), format);
    reader.limits(limits(METADATA_MAX_BYTES));
    Ok(Box::new(reader.into_decoder()?))
}

fn check_pixels((width, height): (u32, u32)) -> Result<u64, ImageError> {
    let pixels = u64::from(width) * u64::from(height);
    if pixels == 0 {
        return Err(ImageError::new(Class::Undecodable, "the image has no pixels"));
    }
    if pixels > PIXELS_MAX {
        let message = format!("{width} x {height} is {pixels} pixels, more than {PIXELS_MAX}");
        return Err(ImageError::new(Class::TooLarge, message));
    }
    Ok(pixels)
}

fn check_memory((width, height): (u32, u32), wanted: u64) -> Result<(), ImageError> {
    if wanted > MEMORY_MAX_BYTES {
        let message = format!("decoding {width} x {height} would take {wanted} bytes, more than {MEMORY_MAX_BYTES}");
        return Err(ImageError::new(Class::TooLarge, message));
    }
    Ok(())
}

fn turns_on_its_side(orientation: Orientation) -> bool {
    match orientation {
        Orientation::Rotate90 | Orientation::Rotate270 | Orientation::Rotate90FlipH | Orientation::Rotate270FlipH => {
            true
        }
        Orientation::NoTransforms
        | Orientation::Rotate180
        | Orientation::FlipHorizontal
        | Orientation::FlipVertical => false,
    }
}

fn turn(width: u32, height: u32, rgb: Vec<u8>, orientation: Orientation) -> Photo {
    if orientation == Orientation::NoTransforms {
        return Photo { width, height, rgb };
    }
    let image = RgbImage::from_raw(width, height, rgb).expect("three bytes for each pixel were made");
    let mut image = DynamicImage::ImageRgb8(image);
    image.apply_orientation(orientation);
    Photo { width: image.width(), height: image.height(), rgb: image.into_bytes() }
}

fn limits(bytes: u64) -> Limits {
    let mut limits = Limits::no_limits();
    limits.max_alloc = Some(bytes);
    limits
}

fn refusal(format: ImageFormat, bytes: &[u8], error: &DecoderError) -> ImageError {
    if let Some(variant) = undecoded_jpeg(format, bytes) {
        return ImageError::new(Class::Unsupported, format!("{variant} JPEG images are not decoded"));
    }
    let class = match error {
        DecoderError::Limits(_) => Class::TooLarge,
        DecoderError::Unsupported(_) => Class::Unsupported,
        // An error of reading is one of the bytes too: they are all here, and what was wanted lies beyond their end.
        DecoderError::Decoding(_)
        | DecoderError::Encoding(_)
        | DecoderError::Parameter(_)
        | DecoderError::IoError(_) => Class::Undecodable,
    };
    ImageError::new(class, format!("{}: {error}", name(format)))
}

/// The decoder calls a JPEG of a kind that it doesn't know broken; its headers know better.
fn undecoded_jpeg(format: ImageFormat, bytes: &[u8]) -> Option<&'static str> {
    if format != ImageFormat::Jpeg {
        return None;
    }
    let header = jpeg::Header::read(bytes)?;
    match header.coding {
        jpeg::Coding::Lossless => Some("lossless"),
        jpeg::Coding::Hierarchical => Some("hierarchical"),
        jpeg::Coding::Baseline | jpeg::Coding::Progressive | jpeg::Coding::Arithmetic => {
            (header.bits == 12).then_some("12-bit")
        }
    }
}

fn name(format: ImageFormat) -> &'static str {
    match format {
        ImageFormat::Jpeg => "JPEG",
        ImageFormat::Png => "PNG",
        ImageFormat::WebP => "WebP",
        ImageFormat::Gif => "GIF",
        ImageFormat::Bmp => "BMP",
        ImageFormat::Tiff => "TIFF",
        ImageFormat::Avif => "AVIF",
        ImageFormat::Ico => "ICO",
        ImageFormat::Pnm => "PNM",
        _ => "such",
    }
}
