//! `label-stats`: how many photos there are of each label, how large they are, and of which colour on average.

use crate::label;
use mr_core::{Failure, Params};
use mr_mapreduce::{Emit, MapReduce, ObjectRecord, Objects, ParamError, ParamSpec, RecordError, Rows, Values};
use mr_vision::image::{Budget, DecodeOptions, MEMORY_MAX_BYTES, decode};

/// Columns `label`, `photos`, `bytes`, `width` and `height` (means, in pixels), `red`, `green` and `blue` (means over all pixels
/// of all photos, 0 to 255). Photos whose path has no such segment have the label "".
pub struct LabelStats {
    label: i64,
    budget: Budget,
}

/// Sums over photos: how many, their bytes, widths and heights; and over pixels: how many, and their colours.
type Sums = ((u64, u64, u64, u64), (u64, u64, u64, u64));

impl MapReduce for LabelStats {
    const NAME: &str = "label-stats";
    const VERSION: u32 = 1;
    const ABOUT: &str = "Photos by label: how many, how large, and their mean colour";
    const COLUMNS: &[&str] = &["label", "photos", "bytes", "width", "height", "red", "green", "blue"];
    const EXTENSIONS: &[&str] = &label::PHOTOS;
    type Input = Objects;
    type Key = String;
    type Value = Sums;
    type Row = (String, u64, u64, f64, f64, f64, f64, f64);

    fn params() -> Vec<ParamSpec> {
        vec![label::param()]
    }

    fn open(params: &Params) -> Result<Self, ParamError> {
        Ok(Self { label: label::read(params.get("label"))?, budget: Budget::new(MEMORY_MAX_BYTES) })
    }

    const COMBINES: bool = true;

    fn combine(&self, sums: &mut Sums, more: Sums) {
        for (sums, more) in [(&mut sums.0, more.0), (&mut sums.1, more.1)] {
            *sums = (sums.0 + more.0, sums.1 + more.1, sums.2 + more.2, sums.3 + more.3);
        }
    }

    fn map(&self, object: &ObjectRecord, out: &mut Emit<'_, Self>) -> Result<(), RecordError> {
        let photo = decode(&object.bytes, &DecodeOptions::default(), &self.budget)
            .map_err(|error| RecordError::Quarantine { class: error.class.name(), message: error.message })?;
        let (width, height) = photo.size();
        let mut colours = [0; 3];
        let (pixels, _) = photo.photo().rgb().as_chunks::<3>();
        for pixel in pixels {
            for (sum, value) in colours.iter_mut().zip(pixel) {
                *sum += u64::from(*value);
            }
        }
        let [red, green, blue] = colours;
        let of_photo = (1, object.bytes.len() as u64, width.into(), height.into());
        let label = label::label(&object.uri, self.label).unwrap_or_default();
        out.emit(label, (of_photo, (pixels.len() as u64, red, green, blue)));
        Ok(())
    }

    fn reduce(&self, label: String, values: Values<'_, Sums>, out: &mut Rows<Self::Row>) -> Result<(), Failure> {
        let mut sums = Sums::default();
        values.for_each(|more| self.combine(&mut sums, more));
        let ((photos, bytes, width, height), (pixels, red, green, blue)) = sums;
        let mean = |sum: u64, count: u64| sum as f64 / count as f64;
        out.row((
            label,
            photos,
            bytes,
            mean(width, photos),
            mean(height, photos),
            mean(red, pixels),
            mean(green, pixels),
            mean(blue, pixels),
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mr_mapreduce::run_local;

    /// A BMP of one colour, three bytes a pixel, whose rows need no padding: the width is a multiple of four.
    fn bmp(width: u32, height: u32, [red, green, blue]: [u8; 3]) -> Vec<u8> {
        let pixels = [blue, green, red].repeat((width * height) as usize);
        let mut file = b"BM".to_vec();
        for number in
            [54 + pixels.len() as u32, 0, 54, 40, width, height, 1 | 24 << 16, 0, pixels.len() as u32, 0, 0, 0, 0]
        {
            file.extend(number.to_le_bytes());
        }
        file.extend(pixels);
        file
    }

    #[test]
    fn photos_are_added_up_by_label() {
        let stats = LabelStats::open(&Params::new()).unwrap();
        let photos = [
            ("a/1.bmp", bmp(4, 2, [255, 0, 10])),
            ("a/2.bmp", bmp(8, 3, [0, 0, 10])),
            ("b/1.bmp", bmp(4, 4, [1, 2, 3])),
        ];
        let rows = run_local(&stats, &photos).unwrap();
        let bytes = (photos[0].1.len() + photos[1].1.len()) as u64;
        assert_eq!(rows[0], ("a".into(), 2, bytes, 6.0, 2.5, 255.0 * 8.0 / 32.0, 0.0, 10.0));
        assert_eq!((&*rows[1].0, rows[1].1, rows[1].5, rows[1].7), ("b", 1, 1.0, 3.0));
        assert!(run_local(&stats, &[("a/x.jpg", "no photo")]).unwrap_err().message.contains("x.jpg: "));
    }
}
