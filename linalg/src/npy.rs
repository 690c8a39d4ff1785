//! NumPy's `.npy` files, version 1.0, of 64-bit floats in C order: written and read back.
//!
//! The header depends on the shape alone, so that equal arrays are equal files.

use crate::bytes::Malformed;

const MARK: &[u8] = b"\x93NUMPY\x01\x00";
const WHAT: &str = "an .npy file";

/// The file that holds `values` as an array of this shape.
///
/// # Panics
/// When the shape does not have as many elements as there are values.
pub fn write_f64(shape: &[usize], values: &[f64]) -> Vec<u8> {
    assert_eq!(shape.iter().product::<usize>(), values.len(), "elements of shape {shape:?}");
    let header = header(shape);
    let length = u16::try_from(header.len()).expect("a shape takes a few characters");
    let mut file = Vec::with_capacity(MARK.len() + 2 + header.len() + 8 * values.len());
    file.extend_from_slice(MARK);
    file.extend_from_slice(&length.to_le_bytes());
    file.extend_from_slice(header.as_bytes());
    file.extend(values.iter().flat_map(|value| value.to_le_bytes()));
    file
}

/// The shape and the values of a file as `write_f64` writes it.
pub fn read_f64(file: &[u8]) -> Result<(Vec<usize>, Vec<f64>), Malformed> {
    let wrong = |problem| Malformed::Value { what: WHAT, problem };
    let rest = file.strip_prefix(MARK).ok_or_else(|| wrong("another mark or version"))?;
    let (length, rest) = rest.split_first_chunk().ok_or_else(|| wrong("no header"))?;
    let (header, data) =
        rest.split_at_checked(usize::from(u16::from_le_bytes(*length))).ok_or_else(|| wrong("half a header"))?;
    let shape = std::str::from_utf8(header)
        .ok()
        .and_then(shape_in)
        .ok_or_else(|| wrong("another header than that of little-endian f64 in C order"))?;
    let count = shape.iter().try_fold(1usize, |product, side| product.checked_mul(*side));
    if count.and_then(|count| count.checked_mul(8)) != Some(data.len()) {
        return Err(wrong("more or fewer values than its shape says"));
    }
    let values =
        data.chunks_exact(8).map(|chunk| f64::from_le_bytes(chunk.try_into().expect("chunks of eight"))).collect();
    Ok((shape, values))
}

const BEFORE_SHAPE: &str = "{'descr': '<f8', 'fortran_order': False, 'shape': (";
const AFTER_SHAPE: &str = "), }";

/// The dictionary that NumPy itself writes, filled up so that the values begin at a multiple of 64.
fn header(shape: &[usize]) -> String {
    let mut sides = shape.iter().map(|side| side.to_string()).collect::<Vec<_>>().join(", ");
    if shape.len() == 1 {
        sides.push(',');
    }
    let mut header = format!("{BEFORE_SHAPE}{sides}{AFTER_SHAPE}");
    while !(MARK.len() + 2 + header.len() + 1).is_multiple_of(64) {
        header.push(' ');
    }
    header.push('\n');
    header
}

fn shape_in(header: &str) -> Option<Vec<usize>> {
    let sides = header.strip_prefix(BEFORE_SHAPE)?.trim_end().strip_suffix(AFTER_SHAPE)?;
    sides.split(',').map(str::trim).filter(|side| !side.is_empty()).map(|side| side.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_matrix_is_the_file_that_numpy_saves() {
        let file = write_f64(&[2, 3], &[0.0, 1.0, 2.0, 3.0, 4.0, -0.5]);
        let header = "{'descr': '<f8', 'fortran_order': False, 'shape': (2, 3), }";
        let mut expected = b"\x93NUMPY\x01\x00\x76\x00".to_vec();
        expected.extend_from_slice(format!("{header:117}\n").as_bytes());
        for value in [0.0f64, 1.0, 2.0, 3.0, 4.0, -0.5] {
            expected.extend_from_slice(&value.to_le_bytes());
        }
        assert_eq!(file, expected);
        assert_eq!(file.len(), 128 + 48);
    }

    #[test]
    fn what_is_written_is_read_back() {
        for (shape, values) in [
            (vec![], vec![2.5]),
            (vec![3], vec![1.0, f64::MIN_POSITIVE, -0.0]),
            (vec![0, 4], vec![]),
            (vec![1, 2, 2], vec![1.0, 2.0, 3.0, 4.0]),
        ] {
            let file = write_f64(&shape, &values);
            assert_eq!(read_f64(&file), Ok((shape, values)));
            assert_eq!((file.len() - 8 * read_f64(&file).unwrap().1.len()) % 64, 0);
        }
    }

    #[test]
    fn a_damaged_file_is_refused() {
        let file = write_f64(&[2, 2], &[1.0, 2.0, 3.0, 4.0]);
        for end in 0..file.len() {
            assert!(read_f64(&file[..end]).is_err(), "cut at {end}");
        }
        let text = |from: &str, to: &str| {
            let header = String::from_utf8_lossy(&file[10..128]).replace(from, to);
            let mut changed = file.clone();
            changed.splice(10..128, header.into_bytes());
            changed
        };
        for changed in [text("<f8", "<f4"), text("False", "True "), text("(2, 2)", "(2, 3)"), text("(2, 2)", "(-2,2)")]
        {
            assert!(read_f64(&changed).is_err());
        }
    }
}
