//! Moments from outside: splits merge to the whole, a large mean does no harm, and damaged bytes are refused.

use mr_linalg::{DIM_MAX, Malformed, Moments, MomentsError};
use proptest::prelude::*;

/// Rows with a mean, a spread and correlations between neighbouring columns.
fn rows() -> impl Strategy<Value = (usize, Vec<f32>)> {
    (1usize..20, 1usize..60, -1e4f32..1e4).prop_flat_map(|(dim, count, offset)| {
        prop::collection::vec(-1.0f32..1.0, dim * count).prop_map(move |mut rows| {
            for place in 1..rows.len() {
                rows[place] = offset + rows[place] + 0.5 * (rows[place - 1] - offset);
            }
            (dim, rows)
        })
    })
}

fn moments(dim: usize, rows: &[f32]) -> Moments {
    Moments::from_rows(dim, rows).unwrap()
}

fn merged(mut left: Moments, right: &Moments) -> Moments {
    left.merge(right).unwrap();
    left
}

/// Cuts rows at these shares of their number.
fn cut<'a>(dim: usize, rows: &'a [f32], shares: &[f64]) -> Vec<&'a [f32]> {
    let count = rows.len() / dim;
    let mut places: Vec<usize> = shares.iter().map(|share| (share * count as f64) as usize).collect();
    places.extend([0, count]);
    places.sort_unstable();
    places.windows(2).map(|ends| &rows[ends[0] * dim..ends[1] * dim]).collect()
}

/// Equal but for rounding: means relative to the largest value, scatter to the columns that it belongs to, which the
/// scatter of an exact zero is measured against as well.
fn assert_close(left: &Moments, right: &Moments, largest: f32, tolerance: f64) {
    assert_eq!((left.dim(), left.count()), (right.dim(), right.count()));
    let largest = f64::from(largest);
    for (left, right) in left.mean().iter().zip(right.mean()) {
        assert!((left - right).abs() <= tolerance * largest, "means {left} and {right}");
    }
    // A mean is known to a rounding of its size, and that much error is in each centred value.
    let floor = f64::EPSILON * largest * left.count() as f64;
    let spread: Vec<f64> = right.diagonal().map(|entry| entry.sqrt() + floor).collect();
    let mut entries = left.scatter().iter().zip(right.scatter());
    for row in 0..spread.len() {
        for column in row..spread.len() {
            let (left, right) = entries.next().unwrap();
            let allowed = tolerance * spread[row] * spread[column] + floor * floor;
            assert!((left - right).abs() <= allowed, "scatter {left} and {right} at {row}, {column}");
        }
    }
}

fn largest(rows: &[f32]) -> f32 {
    rows.iter().fold(1.0, |largest, value| largest.max(value.abs()))
}

proptest! {
    #[test]
    fn splits_merge_to_the_whole(
        (dim, rows) in rows(),
        shares in prop::collection::vec(0.0..1.0, 0..6),
    ) {
        let whole = moments(dim, &rows);
        let parts = cut(dim, &rows, &shares).into_iter().map(|part| moments(dim, part));
        let found = Moments::merge_all(parts.into_iter().map(Ok)).unwrap();
        // The whole is not exact either: a mean of n values near 1e4 is good to n roundings of 1e-12.
        assert_close(&found, &whole, largest(&rows), 1e-11);
    }

    #[test]
    fn splits_around_zero_merge_to_the_whole_within_1e_12(
        dim in 1usize..20,
        seed in prop::collection::vec(-1.0f32..1.0, 20 * 4..20 * 60),
        shares in prop::collection::vec(0.0..1.0, 0..6),
    ) {
        let rows = &seed[..seed.len() / dim * dim];
        let parts = cut(dim, rows, &shares).into_iter().map(|part| moments(dim, part));
        assert_close(&Moments::merge_all(parts.into_iter().map(Ok)).unwrap(), &moments(dim, rows), 1.0, 1e-12);
    }

    #[test]
    fn merging_associates_but_for_rounding((dim, rows) in rows(), first in 0.0..1.0, second in 0.0..1.0) {
        let parts: Vec<Moments> =
            cut(dim, &rows, &[first, second]).into_iter().map(|part| moments(dim, part)).collect();
        let left = merged(merged(parts[0].clone(), &parts[1]), &parts[2]);
        let right = merged(parts[0].clone(), &merged(parts[1].clone(), &parts[2]));
        assert_close(&left, &right, largest(&rows), 1e-11);
    }

    #[test]
    fn a_fixed_tree_gives_the_same_bytes_in_any_order_of_arrival(
        (dim, rows) in rows(),
        shares in prop::collection::vec(0.0..1.0, 1..9),
        fan_in in 2usize..4,
        order in any::<prop::sample::Index>(),
    ) {
        let parts = cut(dim, &rows, &shares);
        let tree = |arrivals: Vec<usize>| {
            let mut places = vec![None; parts.len()];
            for arrival in arrivals {
                places[arrival] = Some(moments(dim, parts[arrival]));
            }
            let mut level: Vec<Moments> = places.into_iter().map(Option::unwrap).collect();
            while level.len() > 1 {
                level = level.chunks(fan_in).map(|group| Moments::merge_all(group.iter().cloned().map(Ok)).unwrap()).collect();
            }
            level[0].to_bytes()
        };
        let in_order: Vec<usize> = (0..parts.len()).collect();
        let mut shuffled = in_order.clone();
        shuffled.rotate_left(order.index(parts.len()));
        shuffled.reverse();
        prop_assert_eq!(tree(in_order), tree(shuffled));
    }

    #[test]
    fn no_rows_change_nothing((dim, rows) in rows()) {
        let some = moments(dim, &rows);
        let none = Moments::empty(dim).unwrap();
        prop_assert_eq!(&merged(some.clone(), &none), &some);
        prop_assert_eq!(&merged(none, &some), &some);
    }

    #[test]
    fn bytes_come_back_as_they_went((dim, rows) in rows()) {
        let there = moments(dim, &rows);
        let bytes = there.to_bytes();
        prop_assert_eq!(bytes.len(), 24 + 8 * (dim + dim * (dim + 1) / 2));
        let back = Moments::from_bytes(&bytes).unwrap();
        prop_assert_eq!(&back.to_bytes(), &bytes);
        prop_assert_eq!(back, there);
    }

    #[test]
    fn damaged_bytes_are_refused_or_are_other_moments(
        (dim, rows) in rows(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        end in any::<prop::sample::Index>(),
    ) {
        let bytes = moments(dim, &rows).to_bytes();
        prop_assert!(Moments::from_bytes(&bytes[..end.index(bytes.len())]).is_err(), "cut short");
        prop_assert!(Moments::from_bytes(&[&bytes[..], &[0]].concat()).is_err(), "too long");
        let mut changed = bytes.clone();
        for (place, value) in changes {
            let place = place.index(changed.len());
            changed[place] = value;
        }
        // A float may become another float, which only a checksum would notice; nothing else gets through.
        if let Ok(found) = Moments::from_bytes(&changed) {
            prop_assert_eq!(found.to_bytes(), changed);
        }
    }

    #[test]
    fn any_bytes_at_all_are_no_reason_to_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let marked = [b"MRmo\x01\0\0\0", &bytes[..]].concat();
        let _ = Moments::from_bytes(&marked);
        prop_assert!(Moments::from_bytes(&bytes).is_err());
    }
}

/// Small variances behind a large mean: sums of raw products in f32 lose them, and these do not.
#[test]
fn an_offset_mean_does_no_harm() {
    let (dim, count, offset) = (3, 4000, 1000.0f32);
    // Steps of 1/64 are exact at this offset, so that the rows without it are known exactly.
    let step = |row: usize, column: usize| ((row * (7 + 4 * column) + 3) % 41) as f32 / 64.0;
    let make =
        |offset: f32| -> Vec<f32> { (0..count * dim).map(|place| offset + step(place / dim, place % dim)).collect() };
    let parts = |rows: &[f32]| Moments::merge_all(rows.chunks(64 * dim).map(|rows| Ok(moments(dim, rows)))).unwrap();
    let (plain, shifted) = (parts(&make(0.0)), parts(&make(offset)));
    let worst = |scatter: &[f64]| {
        plain
            .scatter()
            .iter()
            .zip(scatter)
            .map(|(plain, other)| ((plain - other) / plain.abs().max(1.0)).abs())
            .fold(0.0, f64::max)
    };
    assert!(worst(shifted.scatter()) < 1e-12, "{:e}", worst(shifted.scatter()));

    let rows = make(offset);
    let mut naive = Vec::new();
    for left in 0..dim {
        for right in left..dim {
            let (mut product, mut sums) = (0.0f32, (0.0f32, 0.0f32));
            for row in rows.chunks_exact(dim) {
                product += row[left] * row[right];
                sums = (sums.0 + row[left], sums.1 + row[right]);
            }
            naive.push(f64::from(product - sums.0 * sums.1 / count as f32));
        }
    }
    assert!(worst(&naive) > 0.1, "the raw sum should fail on such rows: {:e}", worst(&naive));
}

#[test]
fn what_are_no_rows_is_refused() {
    let refused = |dim, rows: &[f32]| Moments::from_rows(dim, rows).unwrap_err();
    assert_eq!(refused(0, &[]), MomentsError::Dim { dim: 0 });
    assert_eq!(refused(DIM_MAX + 1, &[]), MomentsError::Dim { dim: DIM_MAX + 1 });
    assert_eq!(refused(3, &[0.0; 7]), MomentsError::Ragged { numbers: 7, dim: 3 });
    for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let rows = [0.0, 1.0, 2.0, bad];
        assert_eq!(refused(2, &rows), MomentsError::NotFinite { row: 1, column: 1 });
    }
    assert!(Moments::from_rows(2, &[f32::MAX, f32::MIN, f32::MIN, f32::MAX]).is_ok());
}

#[test]
fn what_cannot_be_merged_is_refused() {
    assert_eq!(Moments::merge_all([]), Err(MomentsError::Nothing));
    let mut two = moments(2, &[1.0, 2.0]);
    let before = two.clone();
    let three = moments(3, &[1.0, 2.0, 3.0]);
    assert_eq!(two.merge(&three), Err(MomentsError::DimsDiffer { left: 2, right: 3 }));
    let mut bytes = before.to_bytes();
    bytes[16..24].copy_from_slice(&u64::MAX.to_le_bytes());
    let endless = Moments::from_bytes(&bytes).unwrap();
    assert_eq!(two.merge(&endless), Err(MomentsError::TooMany));
    assert_eq!(two, before, "a refused merge leaves them as they were");
}

#[test]
fn bytes_that_lie_are_refused_with_their_reason() {
    let bytes = moments(2, &[1.0, 2.0, 3.0, 5.0]).to_bytes();
    let refused = |place: usize, value: &[u8]| {
        let mut changed = bytes.clone();
        changed[place..place + value.len()].copy_from_slice(value);
        Moments::from_bytes(&changed).unwrap_err().to_string()
    };
    assert_eq!(refused(0, b"x"), "moments should begin with \"MRmo\"");
    assert_eq!(refused(4, &[2]), "moments of version 2, and this program knows version 1");
    assert_eq!(refused(8, &[0]), "moments with an impossible number of columns");
    assert_eq!(refused(8, &[0xff; 8]), "moments with an impossible number of columns");
    assert_eq!(refused(8, &[3]), "moments of 64 bytes, and there should be 96");
    assert_eq!(refused(16, &[0; 8]), "moments with numbers that come from no rows");
    assert_eq!(refused(24, &f64::NAN.to_le_bytes()), "moments with a number that is not finite");
    assert_eq!(refused(40, &(-1f64).to_le_bytes()), "moments with a negative sum of squares");
    assert_eq!(
        Moments::from_bytes(&bytes[..7]),
        Err(MomentsError::Malformed(Malformed::Length { what: "moments", expected: 8, found: 7 }))
    );
}
