//! Decode, resize and scale in a row, with buffers that one slot keeps from photo to photo.

use super::{Budget, DecodeOptions, ImageError, Resizer, decode};

/// One slot's way from the bytes of files to the network's input.
#[derive(Debug)]
pub struct Preparer {
    height: u32,
    width: u32,
    options: DecodeOptions,
    budget: Budget,
    resizer: Resizer,
    input: Vec<f32>,
}

/// A photo ready for the network, and its size before that.
#[derive(Debug, Clone, Copy)]
pub struct Prepared<'a> {
    pub width: u32,
    pub height: u32,
    /// Rows of red, green and blue, each from -1 to 1.
    pub input: &'a [f32],
}

impl Preparer {
    /// For a network that takes `height` by `width`; all slots of a process share `budget`.
    pub fn new(height: u32, width: u32, options: DecodeOptions, budget: Budget) -> Self {
        Self { height, width, options, budget, resizer: Resizer::default(), input: Vec::new() }
    }

    pub fn prepare(&mut self, bytes: &[u8]) -> Result<Prepared<'_>, ImageError> {
        let decoded = decode(bytes, &self.options, &self.budget)?;
        self.resizer.to_input(decoded.photo(), self.height, self.width, &mut self.input);
        let (width, height) = decoded.size();
        Ok(Prepared { width, height, input: &self.input })
    }
}
