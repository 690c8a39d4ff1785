//! Why a file gives no photo: a class that is stable enough to count by, and a message for a person.

use std::fmt;

/// What is wrong with a file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ImageError {
    pub class: ImageErrorClass,
    pub message: String,
}

impl ImageError {
    pub(super) fn new(class: ImageErrorClass, message: impl Into<String>) -> Self {
        Self { class, message: message.into() }
    }
}

/// The kinds of refusal. Their names are written into results, so they stay as they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ImageErrorClass {
    /// There are no bytes.
    Empty,
    /// The bytes don't begin like any image format known here.
    NotAnImage,
    /// An image, of a format or a variant of one that is not decoded here.
    Unsupported,
    /// The bytes promise an image and don't keep it.
    Undecodable,
    /// More pixels, or more memory to decode them, than the limits allow.
    TooLarge,
}

impl ImageErrorClass {
    pub const ALL: [Self; 5] = [Self::Empty, Self::NotAnImage, Self::Unsupported, Self::Undecodable, Self::TooLarge];

    pub fn name(self) -> &'static str {
        match self {
            Self::Empty => "empty",
            Self::NotAnImage => "not-an-image",
            Self::Unsupported => "unsupported",
            Self::Undecodable => "undecodable",
            Self::TooLarge => "too-large",
        }
    }
}

impl fmt::Display for ImageErrorClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
