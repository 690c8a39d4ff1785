//! What a photo looks like in 64 bits: the difference hash, of which two photos that look alike differ in few.

use mr_vision::image::{Photo, Resizer};

const ROWS: u32 = 8;
/// One more than there are bits in a row: each says whether a place is darker than the one to its right.
const COLUMNS: u32 = 9;

/// The difference hash (N. Krawetz, "Kind of Like That", 2013): the photo at nine by eight grey levels, a bit for each two
/// neighbours in a row.
pub fn difference_hash(photo: &Photo, resizer: &mut Resizer) -> u64 {
    let (pixels, _) = resizer.resize(photo, ROWS, COLUMNS).as_chunks::<3>();
    let grey: Vec<u32> = pixels.iter().map(|pixel| luma(*pixel)).collect();
    let bits = grey.chunks_exact(COLUMNS as usize).flat_map(|row| row.windows(2).map(|two| two[0] < two[1]));
    bits.fold(0, |hash, bit| hash << 1 | u64::from(bit))
}

/// As of Rec. 601, in whole numbers.
fn luma([red, green, blue]: [u8; 3]) -> u32 {
    (299 * u32::from(red) + 587 * u32::from(green) + 114 * u32::from(blue)) / 1000
}

/// Cuts a hash into pieces, so many that two hashes that differ in `distance` bits at most have a piece in common.
pub fn bands(hash: u64, distance: u32) -> impl Iterator<Item = (u8, u64)> {
    let count = distance + 1;
    (0..count).map(move |band| {
        let (from, to) = (u64::BITS * band / count, u64::BITS * (band + 1) / count);
        (band as u8, hash >> from & (u64::MAX >> (u64::BITS - (to - from))))
    })
}

/// The first band that two hashes have in common, if any.
pub fn first_common(one: u64, other: u64, distance: u32) -> Option<u8> {
    let both = bands(one, distance).zip(bands(other, distance));
    both.filter(|(one, other)| one == other).map(|((band, _), _)| band).next()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_says_where_it_gets_lighter() {
        let photo = |light: fn(u32) -> u8| {
            let rgb = (0..40u32 * 40).flat_map(|at| [light(at % 40); 3]).collect();
            Photo::new(40, 40, rgb).unwrap()
        };
        let hash = |light| difference_hash(&photo(light), &mut Resizer::default());
        assert_eq!(hash(|x| (x * 6) as u8), u64::MAX);
        assert_eq!(hash(|x| 255 - (x * 6) as u8), 0);
        assert_eq!(hash(|_| 7), 0);
        assert_eq!(luma([255; 3]), 255);
    }

    #[test]
    fn hashes_that_are_near_have_a_band_in_common() {
        let hash = 0x0123_4567_89ab_cdef;
        for distance in 0..8 {
            let all: Vec<_> = bands(hash, distance).collect();
            assert_eq!(all.len() as u32, distance + 1);
            // Bits that differ as far from each other as they can be.
            for differ in 0..=distance {
                let flipped = (0..differ).fold(hash, |hash, n| hash ^ 1 << (64 * n / differ.max(1)));
                assert_eq!((flipped ^ hash).count_ones(), differ);
                assert!(first_common(hash, flipped, distance).is_some(), "{differ} of {distance}");
            }
        }
        assert_eq!(first_common(0, u64::MAX, 4), None);
    }
}
