//! Where the numbers of an image lie.

use super::pack::TILE_DEPTH;
use super::{Arithmetic, LANES, Pairs};

/// How a depthwise convolution puts its result down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// All channels of a pixel together, pixel by pixel.
    ChannelsLast,
    /// The same numbers by pairs of pixels, as [`Pairs`] takes them. Rows are of whole pairs then.
    Pairs,
    /// Split into bf16 halves, as [`Halves`](super::Halves) takes them.
    Halves,
}

impl Form {
    /// What suits a projection to so many channels, of rows of so many pixels; it is a matter of speed alone.
    pub fn of(arithmetic: Arithmetic, width: usize, outputs: usize) -> Form {
        match arithmetic {
            Arithmetic::Bf16x3 => Form::Halves,
            // The depthwise convolution makes rows of whole pairs.
            Arithmetic::F32 if Pairs::suit(outputs) && width.is_multiple_of(2) => Form::Pairs,
            Arithmetic::F32 => Form::ChannelsLast,
        }
    }

    /// Numbers that pixels of so many channels take, or words.
    ///
    /// `None` is more than can be counted.
    pub fn numbers(self, pixels: usize, channels: usize) -> Option<usize> {
        pixels.checked_mul(match self {
            Form::ChannelsLast | Form::Pairs => channels,
            Form::Halves => channels.checked_next_multiple_of(TILE_DEPTH)?,
        })
    }
}

/// How an image's pixels and channels are laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// All channels of a pixel together, pixel by pixel.
    ChannelsLast,
    /// Groups of sixteen channels, each with all of its pixels in a row: a pixel is a vector, and the next pixel's lies
    /// behind it. Lanes that are no channels hold numbers of no matter.
    Blocked {
        /// Numbers from one group to the next.
        apart: usize,
    },
}

impl Layout {
    /// Numbers from one pixel to the next, and from one group to the next.
    pub(super) fn strides(self, channels: usize) -> (usize, usize) {
        match self {
            Layout::ChannelsLast => (channels, LANES),
            Layout::Blocked { apart } => (LANES, apart),
        }
    }

    /// Channels that are written of so many.
    pub(super) fn written(self, channels: usize) -> usize {
        match self {
            Layout::ChannelsLast => channels,
            Layout::Blocked { .. } => channels.next_multiple_of(LANES),
        }
    }

    /// Whether so many numbers are an image of that size: no more and no less with channels last, and enough in blocks,
    /// which may be a part of a larger image.
    pub(super) fn fits(self, pixels: usize, channels: usize, numbers: usize) -> bool {
        match self {
            Layout::ChannelsLast => pixels.checked_mul(channels) == Some(numbers),
            Layout::Blocked { apart } => {
                let Some(group) = pixels.checked_mul(LANES) else { return false };
                let before = channels.div_ceil(LANES).checked_sub(1).and_then(|groups| groups.checked_mul(apart));
                // Groups that overlap would write over each other.
                group <= apart && before.and_then(|before| before.checked_add(group)).is_some_and(|end| end <= numbers)
            }
        }
    }
}
