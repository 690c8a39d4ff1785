//! From the bytes of an image file to the numbers that the network takes in.
//!
//! [`decode`] makes a [`Photo`] of 8-bit RGB from a JPEG, PNG, WebP, GIF, BMP or TIFF file, [`resize`] brings it to the
//! network's size as Pillow does, and [`to_input`] scales it. [`Preparer`] is the three in a row for one slot.
//!
//! Invariants: nothing here panics whatever the bytes are; a verdict ([`ImageError`]) depends on the bytes and the
//! options alone, so two hosts agree on it; and so do the pixels, for all arithmetic is on integers. Deliberately absent:
//! colour profiles, which Pillow's `convert("RGB")` does not look at either, and frames after the first.

mod budget;
mod bytes;
mod decode;
mod error;
mod jpeg;
mod jpeg_decoder;
mod memory;
mod prepare;
mod quiet;
mod resize;
mod rgb;

pub use budget::{Budget, BudgetGuard};
pub use decode::{DecodeOptions, Decoded, MEMORY_MAX_BYTES, PIXELS_MAX, decode};
pub use error::{ImageError, ImageErrorClass};
pub use prepare::{Prepared, Preparer};
pub use resize::{Resizer, resize, to_input};

/// An image as rows of 8-bit red, green and blue.
#[derive(Clone, PartialEq, Eq)]
pub struct Photo {
    width: u32,
    height: u32,
    rgb: Vec<u8>,
}

impl Photo {
    /// A photo of these pixels, unless their number is not `width * height`.
    pub fn new(width: u32, height: u32, rgb: Vec<u8>) -> Option<Self> {
        let wanted = (width as usize).checked_mul(height as usize)?.checked_mul(3)?;
        (wanted > 0 && rgb.len() == wanted).then_some(Self { width, height, rgb })
    }

    pub fn width(&self) -> u32 {
        self.width
    }

    pub fn height(&self) -> u32 {
        self.height
    }

    /// Row after row from the top, three bytes a pixel.
    pub fn rgb(&self) -> &[u8] {
        &self.rgb
    }
}

// Pixels by the megabyte help nobody who reads a failed assertion.
impl std::fmt::Debug for Photo {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Photo({} x {})", self.width, self.height)
    }
}
