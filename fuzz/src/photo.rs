//! Any bytes as a photo: decoded in both ways that a job may ask for, and resized.

use crate::memory::peak_of;
use mr_vision::image::{Budget, DecodeOptions, Decoded, ImageError, MEMORY_MAX_BYTES, PIXELS_MAX, decode, resize};

const EXACT: DecodeOptions = DecodeOptions { exif_orientation: true, scaled_to: None };
const SIDE: u32 = 224;
const SCALED: DecodeOptions = DecodeOptions { exif_orientation: false, scaled_to: Some((SIDE, SIDE)) };

/// What a decoder may spend on things that are not pixels, on top of what a photo was said to take.
const BESIDES_BYTES: u64 = 16 << 20;

/// Above this, once is enough.
const TWICE_PIXELS_MAX: u64 = 1 << 18;

pub fn photo(data: &[u8]) {
    let exact = size_of(data, &EXACT);
    let scaled = size_of(data, &SCALED);
    if let (Ok(exact), Ok(scaled)) = (&exact, &scaled) {
        // One was turned as the camera noted it, and the other was not.
        let turned = (exact.1, exact.0);
        assert!(scaled == exact || *scaled == turned, "{scaled:?} at a smaller scale and {exact:?} without");
    }
    if exact.is_ok() {
        assert!(scaled.is_ok(), "refused at a smaller scale only: {scaled:?}");
    }
}

fn size_of(data: &[u8], options: &DecodeOptions) -> Result<(u32, u32), ImageError> {
    let budget = Budget::new(MEMORY_MAX_BYTES);
    let (decoded, peak) = peak_of(|| decode(data, options, &budget).map(resized));
    let taken = MEMORY_MAX_BYTES - budget.free();
    let decoded = match decoded {
        Ok(decoded) => decoded,
        Err(error) => {
            assert!(peak <= MEMORY_MAX_BYTES + BESIDES_BYTES, "{peak} bytes for `{error}`");
            assert!(!error.message.is_empty() && !error.message.contains(char::is_control), "{error:?}");
            assert_eq!(taken, 0, "what was not decoded takes no room");
            return Err(error);
        }
    };
    assert!(peak <= taken + BESIDES_BYTES, "{peak} bytes where {taken} were asked for: {:?}", decoded.photo());
    let (photo, (width, height)) = (decoded.photo(), decoded.size());
    let pixels = u64::from(photo.width()) * u64::from(photo.height());
    assert!(pixels > 0 && pixels <= PIXELS_MAX);
    assert_eq!(photo.rgb().len() as u64, pixels * 3);
    match options.scaled_to {
        None => assert_eq!((photo.width(), photo.height()), (width, height)),
        Some((least_width, least_height)) => {
            let whole = (photo.width(), photo.height()) == (width, height);
            let large_enough = photo.width() >= least_width && photo.height() >= least_height;
            assert!(whole || large_enough, "{photo:?} of {width} x {height}");
        }
    }
    if pixels <= TWICE_PIXELS_MAX {
        let again = decode(data, options, &Budget::new(1)).expect("it was decoded a moment ago");
        assert!(again.photo() == photo, "another photo the second time");
    }
    Ok((width, height))
}

fn resized(decoded: Decoded) -> Decoded {
    assert_eq!(resize(decoded.photo(), SIDE, SIDE).len(), (SIDE * SIDE * 3) as usize);
    decoded
}
