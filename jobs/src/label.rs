//! Which objects are photos, and the label of one: both by where it lies.

use mr_core::ParamValue;
use mr_mapreduce::{ParamError, ParamKind, ParamSpec};

/// Endings of their names.
pub const PHOTOS: [&str; 4] = ["jpg", "jpeg", "png", "webp"];

const LABEL: &str = "label";
/// The folder that the photo is in.
const DEFAULT: i64 = -2;

pub fn param() -> ParamSpec {
    ParamSpec {
        name: LABEL,
        kind: ParamKind::Integer,
        default: Some(ParamValue::Integer(DEFAULT)),
        help: "segment of the path that is the label, counted from the end: -1 is the name, -2 its folder",
    }
}

/// # Errors
/// When it is no such count.
pub fn read(value: Option<&ParamValue>) -> Result<i64, ParamError> {
    match value {
        None => Ok(DEFAULT),
        Some(ParamValue::Integer(from_end @ -64..=-1)) => Ok(*from_end),
        Some(_) => {
            let wanted = "should be from -64 to -1: segments are counted from the end, -2 is a photo's folder";
            Err(ParamError::new(LABEL, wanted))
        }
    }
}

/// The segment of a photo's URI that is its label, if it has so many.
pub fn label(uri: &str, from_end: i64) -> Option<&str> {
    let path = uri.split_once("://").map_or(uri, |(_, path)| path);
    path.rsplit('/').nth((-1 - from_end) as usize).filter(|segment| !segment.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_is_a_segment_from_the_end() {
        let uri = "file:///photos/Training/Apple Red 1/7_100.jpg";
        assert_eq!(label(uri, -1), Some("7_100.jpg"));
        assert_eq!(label(uri, -2), Some("Apple Red 1"));
        assert_eq!(label(uri, -4), Some("photos"));
        assert_eq!(label(uri, -9), None);
        assert_eq!(label("s3://bucket/7.jpg", -2), Some("bucket"));
        assert!(read(Some(&ParamValue::Integer(1))).is_err());
    }
}
