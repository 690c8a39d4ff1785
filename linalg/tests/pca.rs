//! A PCA from outside: its equation holds, degenerate rows make sense, requests that cannot be met say so.

mod common;

use common::rows;
use mr_linalg::{Components, Malformed, Moments, Pca, PcaError, fit_arithmetic};
use proptest::prelude::*;

fn moments(dim: usize, rows: &[f32]) -> Moments {
    Moments::from_rows(dim, rows).unwrap()
}

fn fit(dim: usize, rows: &[f32], components: Components) -> Result<Pca, PcaError> {
    Pca::fit(&moments(dim, rows), components)
}

/// The full matrix of a packed triangle.
fn full(moments: &Moments) -> Vec<Vec<f64>> {
    let dim = moments.dim();
    let mut matrix = vec![vec![0.0; dim]; dim];
    let places = (0..dim).flat_map(|row| (row..dim).map(move |column| (row, column)));
    for ((row, column), entry) in places.zip(moments.scatter()) {
        (matrix[row][column], matrix[column][row]) = (*entry, *entry);
    }
    matrix
}

/// Eigenvalues, largest first, by Jacobi's rotations: slow, simple, and nothing like divide and conquer.
fn jacobi(mut matrix: Vec<Vec<f64>>) -> Vec<f64> {
    let dim = matrix.len();
    for _ in 0..50 {
        for p in 0..dim {
            for q in p + 1..dim {
                if matrix[p][q] == 0.0 {
                    continue;
                }
                let theta = (matrix[q][q] - matrix[p][p]) / (2.0 * matrix[p][q]);
                let t = theta.signum() / (theta.abs() + theta.hypot(1.0));
                let c = 1.0 / t.hypot(1.0);
                let s = t * c;
                for row in &mut matrix {
                    (row[p], row[q]) = (c * row[p] - s * row[q], s * row[p] + c * row[q]);
                }
                let (above, below) = matrix.split_at_mut(q);
                for (x, y) in above[p].iter_mut().zip(&mut below[0]) {
                    (*x, *y) = (c * *x - s * *y, s * *x + c * *y);
                }
            }
        }
    }
    let mut values: Vec<f64> = (0..dim).map(|index| matrix[index][index]).collect();
    values.sort_by(|left, right| right.total_cmp(left));
    values
}

/// What must hold of any fit: values against Jacobi's, the equation and orthonormality recomputed here, the sign.
fn assert_holds(moments: &Moments, pca: &Pca) {
    let (dim, degrees) = (moments.dim(), (moments.count() - 1) as f64);
    let matrix = full(moments);
    let expected = jacobi(matrix.clone());
    let size = expected[0].max(f64::MIN_POSITIVE);
    let vectors: Vec<&[f64]> = pca.components().chunks_exact(dim).collect();
    assert_eq!(vectors.len(), pca.count());
    let dot = |left: &[f64], right: &[f64]| left.iter().zip(right).map(|(x, y)| x * y).sum::<f64>();
    for (index, vector) in vectors.iter().enumerate() {
        let variance = pca.explained_variance()[index];
        assert!(variance >= 0.0);
        assert!((variance * degrees - expected[index]).abs() <= 1e-13 * size);
        let singular = pca.singular_values()[index];
        assert!((singular * singular - variance * degrees).abs() <= 1e-13 * size);
        for (row, entry) in matrix.iter().zip(*vector) {
            assert!((dot(row, vector) - variance * degrees * entry).abs() <= 1e-12 * size);
        }
        for (other, second) in vectors.iter().enumerate() {
            let unit = if index == other { 1.0 } else { 0.0 };
            assert!((dot(vector, second) - unit).abs() <= 1e-12);
        }
        let largest = vector.iter().fold(0.0f64, |largest, entry| largest.max(entry.abs()));
        let first = vector.iter().find(|entry| entry.abs() == largest).unwrap();
        assert!(*first > 0.0, "the first of the largest entries is positive");
    }
    assert!(pca.explained_variance().is_sorted_by(|left, right| left >= right));
    let certificate = pca.certificate();
    let kept: f64 = pca.explained_variance().iter().sum();
    assert!((kept + certificate.residual_variance - certificate.total_variance).abs() <= 1e-12 * size);
    let ratios: f64 = pca.explained_variance_ratio().iter().sum();
    assert!((0.0..=1.0 + 1e-12).contains(&ratios));
    assert!(certificate.residual < 1e-12 && certificate.orthogonality < 1e-12, "{certificate:?}");
    assert!((0.0..=1.0).contains(&certificate.smallest_eigengap), "{certificate:?}");
}

proptest! {
    #[test]
    fn eigenpairs_are_jacobis(
        (dim, kept) in (1usize..14).prop_flat_map(|dim| (Just(dim), 1..=dim)),
        count in 2usize..40,
        seed in any::<u64>(),
        scale in -30i32..30,
    ) {
        prop_assume!(kept <= count);
        let rows: Vec<f32> = rows(dim, count, seed).iter().map(|value| value * 10f32.powi(scale)).collect();
        let moments = moments(dim, &rows);
        assert_holds(&moments, &Pca::fit(&moments, Components::Count(kept)).unwrap());
    }

    #[test]
    fn few_distinct_rows_make_few_variances(
        distinct in 1usize..4,
        count in 4usize..30,
        dim in 5usize..12,
        seed in any::<u64>(),
    ) {
        let some = rows(dim, distinct, seed);
        let rows: Vec<f32> = (0..count).flat_map(|row| some[row % distinct * dim..][..dim].to_vec()).collect();
        let moments = moments(dim, &rows);
        let pca = Pca::fit(&moments, Components::Count(4)).unwrap();
        assert_holds(&moments, &pca);
        for ratio in &pca.explained_variance_ratio()[distinct - 1..] {
            prop_assert!(*ratio < 1e-9, "{:?}", pca.explained_variance_ratio());
        }
    }

    #[test]
    fn bytes_come_back_as_they_went(dim in 2usize..10, kept in 1usize..=2, seed in any::<u64>()) {
        let rows = rows(dim, 12, seed);
        let there = fit(dim, &rows, Components::Count(kept)).unwrap();
        let bytes = there.to_bytes();
        let back = Pca::from_bytes(&bytes).unwrap();
        prop_assert_eq!(&back.to_bytes(), &bytes);
        let project = |pca: &Pca| {
            let mut out = vec![0.0; 12 * kept];
            pca.project(&rows, &mut out).unwrap();
            out
        };
        prop_assert_eq!(project(&there), project(&back));
        prop_assert_eq!(there, back);
    }

    #[test]
    fn damaged_bytes_are_refused_or_are_another_pca(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        end in any::<prop::sample::Index>(),
    ) {
        let bytes = fit(4, &rows(4, 9, 1), Components::Count(2)).unwrap().to_bytes();
        prop_assert!(Pca::from_bytes(&bytes[..end.index(bytes.len())]).is_err(), "cut short");
        prop_assert!(Pca::from_bytes(&[&bytes[..], &[0]].concat()).is_err(), "too long");
        let mut changed = bytes.clone();
        for (place, value) in changes {
            let place = place.index(changed.len());
            changed[place] = value;
        }
        if let Ok(found) = Pca::from_bytes(&changed) {
            prop_assert_eq!(found.to_bytes(), changed);
        }
    }
}

#[test]
fn more_columns_than_rows_is_fine() {
    let (dim, count) = (200, 6);
    let pca = fit(dim, &rows(dim, count, 5), Components::Count(count)).unwrap();
    let ratios = pca.explained_variance_ratio();
    assert!((ratios[..count - 1].iter().sum::<f64>() - 1.0).abs() < 1e-12);
    assert!(ratios[count - 1] < 1e-14, "six rows vary in five directions: {ratios:?}");
    assert!(pca.certificate().residual_variance < 1e-12);
    assert!(pca.certificate().orthogonality < 1e-13);
}

#[test]
fn identical_rows_have_no_variance_and_components_all_the_same() {
    for dim in [1, 3, 200] {
        let row = rows(dim, 1, 9);
        let same = row.repeat(7);
        let pca = fit(dim, &same, Components::Share(0.9)).unwrap();
        assert_eq!(pca.count(), 1);
        let pca = fit(dim, &same, Components::Count(dim.min(7))).unwrap();
        assert!(pca.explained_variance().iter().all(|variance| (0.0..1e-24).contains(variance)));
        assert!(pca.certificate().orthogonality < 1e-13, "{:?}", pca.certificate());
        let mut out = vec![9.0; pca.count()];
        pca.project(&row, &mut out).unwrap();
        assert!(out.iter().all(|coordinate| coordinate.abs() < 1e-6), "{out:?}");
    }
}

/// A factor of two must change nothing but the variances: tolerances inside a solver must not see it.
#[test]
fn components_do_not_depend_on_the_unit() {
    for (dim, count) in [(5, 30), (150, 40)] {
        let plain = rows(dim, count, 3);
        let expected = fit(dim, &plain, Components::Count(5)).unwrap();
        for power in [-60, -20, 20, 60] {
            let factor = 2f32.powi(power);
            let scaled: Vec<f32> = plain.iter().map(|value| value * factor).collect();
            let found = fit(dim, &scaled, Components::Count(5)).unwrap();
            assert_eq!(found.components(), expected.components(), "2^{power}");
            assert_eq!(found.explained_variance_ratio(), expected.explained_variance_ratio());
        }
    }
}

#[test]
fn a_share_is_reached_by_as_few_components_as_can() {
    // Two columns that vary by themselves, four times as much in the first: shares of 0.8 and 0.2.
    let rows = [2.0, 0.0, -2.0, 0.0, 0.0, 1.0, 0.0, -1.0];
    let count = |share| fit(2, &rows, Components::Share(share)).unwrap().count();
    assert_eq!((count(0.001), count(0.79), count(0.81), count(1.0)), (1, 1, 2, 2));
    let pca = fit(2, &rows, Components::Count(1)).unwrap();
    assert_eq!(pca.components(), [1.0, 0.0]);
    let certificate = pca.certificate();
    let close = |left: f64, right: f64| (left - right).abs() < 1e-15;
    assert!(close(pca.explained_variance()[0], 8.0 / 3.0));
    assert!(close(pca.singular_values()[0], 8f64.sqrt()));
    assert!(close(certificate.total_variance, 10.0 / 3.0));
    assert!(close(certificate.residual_variance, 2.0 / 3.0));
    assert!(close(certificate.smallest_eigengap, 0.75));
}

#[test]
fn a_fit_that_cannot_be_says_why() {
    let refused = |dim, count, components| fit(dim, &rows(dim, count, 1), components).unwrap_err().to_string();
    for (dim, count, components, message) in [
        (
            60,
            12,
            Components::Count(50),
            "fitting 50 components to 12 rows, and there can be no more components than rows",
        ),
        (8, 12, Components::Count(9), "fitting 9 components to rows of 8 columns"),
        (8, 12, Components::Count(0), "fitting no components"),
        (8, 1, Components::Count(1), "fitting a PCA to 1 rows, and it takes 2 or more"),
        (8, 0, Components::Share(0.5), "fitting a PCA to 0 rows, and it takes 2 or more"),
        (
            8,
            12,
            Components::Share(0.0),
            "explaining a share of 0 of the variance, and it should be above 0 and at most 1",
        ),
        (
            8,
            12,
            Components::Share(1.5),
            "explaining a share of 1.5 of the variance, and it should be above 0 and at most 1",
        ),
        (
            8,
            12,
            Components::Share(f64::NAN),
            "explaining a share of NaN of the variance, and it should be above 0 and at most 1",
        ),
    ] {
        assert_eq!(refused(dim, count, components), message);
    }
    // Means so far apart that their merge overflows: from bytes, since rows of f32 cannot do it.
    let far = |mean: f64| {
        let mut bytes = moments(1, &[1.0, 2.0]).to_bytes();
        bytes[24..32].copy_from_slice(&mean.to_le_bytes());
        Moments::from_bytes(&bytes).unwrap()
    };
    let overflown = Moments::merge_all([Ok(far(-1e300)), Ok(far(1e300))]).unwrap();
    assert_eq!(Pca::fit(&overflown, Components::Count(1)), Err(PcaError::NotFinite));
}

#[test]
fn a_projection_needs_whole_rows_and_room_for_them() {
    let pca = fit(4, &rows(4, 9, 1), Components::Count(2)).unwrap();
    for (numbers, places) in [(3, 2), (4, 1), (4, 3), (8, 2), (0, 2)] {
        assert_eq!(
            pca.project(&vec![0.0; numbers], &mut vec![0.0; places]),
            Err(PcaError::Shape { numbers, places, dim: 4, components: 2 })
        );
    }
    assert_eq!(pca.project(&[], &mut []), Ok(()));
}

#[test]
fn bytes_that_lie_are_refused_with_their_reason() {
    let bytes = fit(4, &rows(4, 9, 1), Components::Count(2)).unwrap().to_bytes();
    let refused = |place: usize, value: &[u8]| {
        let mut changed = bytes.clone();
        changed[place..place + value.len()].copy_from_slice(value);
        match Pca::from_bytes(&changed).unwrap_err() {
            PcaError::Malformed(malformed) => malformed,
            other => panic!("{other}"),
        }
    };
    let value = |problem| Malformed::Value { what: "a PCA", problem };
    assert_eq!(refused(0, b"x"), Malformed::Mark { what: "a PCA", expected: "MRpc" });
    assert_eq!(refused(4, &[7]), Malformed::Version { what: "a PCA", found: 7, known: 1 });
    assert_eq!(refused(8, &[0]), value("an impossible number of columns or components"));
    assert_eq!(refused(16, &[5]), value("an impossible number of columns or components"));
    assert_eq!(refused(16, &[0xff; 8]), value("an impossible number of columns or components"));
    assert_eq!(refused(16, &[1]), Malformed::Length { what: "a PCA", expected: 160, found: 216 });
    assert_eq!(refused(40, &f64::INFINITY.to_le_bytes()), value("a number that is not finite"));
}

/// Moments, merge and projection of fixed rows have these bytes on every machine, and the fit has on each x86-64-v3.
/// A change here changes what two versions of a fleet commit: it belongs into the release notes.
#[test]
fn the_same_rows_give_these_bytes() {
    let digest = |bytes: &[u8]| {
        bytes
            .iter()
            .fold(0xcbf2_9ce4_8422_2325u64, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
    };
    let (dim, count) = (300, 500);
    let rows = rows(dim, count, 7);
    let merged = Moments::merge_all(rows.chunks(77 * dim).map(|rows| Ok(moments(dim, rows)))).unwrap();
    assert_eq!(format!("{:x}", digest(&merged.to_bytes())), "5f9081de46cf07cd", "moments");
    let pca = Pca::fit(&merged, Components::Count(40)).unwrap();
    match fit_arithmetic() {
        "x86-64-v3" => assert_eq!(format!("{:x}", digest(&pca.to_bytes())), "32ca4d2e20e62006", "fit"),
        other => println!("SKIPPED: no bytes are written down for fits by {other} arithmetic"),
    }
}
