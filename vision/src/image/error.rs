//! Why a file gives no photo: a class that is stable enough to count by, and a message for a person.

use std::fmt;

const MESSAGE_CHARS_MAX: usize = 200;

/// What is wrong with a file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ImageError {
    pub class: ImageErrorClass,
    pub message: String,
}

impl ImageError {
    /// The message goes into tables and logs: it is made one line without control characters, of bounded length.
    pub(super) fn new(class: ImageErrorClass, message: impl AsRef<str>) -> Self {
        let one_line = message.as_ref().split_whitespace().collect::<Vec<_>>().join(" ");
        let printable = one_line.chars().filter(|character| !character.is_control());
        Self { class, message: printable.take(MESSAGE_CHARS_MAX).collect() }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_fit_on_a_line() {
        let error = ImageError::new(ImageErrorClass::Undecodable, "a\nb \u{81}\u{1b}c  d\n");
        assert_eq!(error.to_string(), "a b c d");
        let error = ImageError::new(ImageErrorClass::Undecodable, "x".repeat(10_000));
        assert_eq!(error.message.len(), 200);
    }

    #[test]
    fn names_are_distinct_and_stable() {
        let names = ImageErrorClass::ALL.map(|class| class.to_string());
        assert_eq!(names, ["empty", "not-an-image", "unsupported", "undecodable", "too-large"]);
    }
}
