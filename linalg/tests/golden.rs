//! The PCA of 96 real embeddings against scikit-learn's.
//!
//! The numbers below come from scikit-learn's `PCA(n_components=20, svd_solver="full")` on the embeddings as float64,
//! its components turned so that the largest entry of each is positive.

mod common;

use mr_linalg::{Components, Moments, Pca};

const DIM: usize = 1280;

fn assert_near(found: f64, expected: f64, tolerance: f64, what: &str) {
    assert!((found - expected).abs() <= tolerance * expected.abs(), "{what}: {found} and not {expected}");
}

/// Tasks of 32 rows, merged as reduce tasks do.
fn moments(rows: &[f32]) -> Moments {
    let tasks = rows.chunks(32 * DIM).map(|rows| Moments::from_rows(DIM, rows).unwrap());
    Moments::merge_all(tasks.into_iter().map(Ok)).unwrap()
}

#[test]
fn scikit_learn_finds_the_same() {
    let Some(rows) = common::golden_embeddings() else { return };
    let pca = Pca::fit(&moments(&rows), Components::Count(20)).unwrap();
    for (index, variance, ratio, singular) in [
        (0, 70.82589832321756, 0.19092411444723192, 82.02719269062953),
        (1, 31.926654162618036, 0.08606411379977767, 55.072971096979266),
        (2, 20.222480925526828, 0.05451338216724857, 43.83076189076627),
        (9, 7.734519562664355, 0.02084980682401598, 27.106813874985633),
        (19, 4.699851758439031, 0.01266930679676374, 21.130213369762927),
    ] {
        assert_near(pca.explained_variance()[index], variance, 1e-12, "variance");
        assert_near(pca.explained_variance_ratio()[index], ratio, 1e-12, "ratio");
        assert_near(pca.singular_values()[index], singular, 1e-12, "singular value");
    }
    for (component, column, entry) in [
        (0, 0, 0.000875603034689424),
        (0, 1279, -0.0075084920011232355),
        (1, 640, -0.0014907372254170334),
        (9, 17, -0.02313902989692269),
        (19, 1000, -0.03961274409315749),
    ] {
        assert_near(pca.components()[component * DIM + column], entry, 1e-9, "entry");
    }
    let mut projected = vec![0.0; 96 * 20];
    pca.project(&rows, &mut projected).unwrap();
    for (row, component, coordinate) in
        [(0, 0, 4.284310063309858), (95, 1, 5.6763328044679), (50, 9, 1.6954261938870365), (7, 19, -0.5416542599115263)]
    {
        assert_near(f64::from(projected[row * 20 + component]), coordinate, 1e-7, "coordinate");
    }
    let certificate = pca.certificate();
    assert_eq!(certificate.samples, 96);
    assert_near(certificate.total_variance, 370.9636078620786, 1e-12, "total");
    assert_near(certificate.residual_variance, 116.20766070077653, 1e-12, "rest");
    assert!(certificate.residual < 1e-13, "{certificate:?}");
    assert!(certificate.orthogonality < 1e-13, "{certificate:?}");
    assert!((1e-4..0.1).contains(&certificate.smallest_eigengap), "{certificate:?}");
}

#[test]
fn a_share_takes_as_few_components_as_scikit_learn_counts() {
    let Some(rows) = common::golden_embeddings() else { return };
    let moments = moments(&rows);
    for (share, count) in [(0.5, 9), (0.9, 50), (0.95, 64), (0.99, 85)] {
        let pca = Pca::fit(&moments, Components::Share(share)).unwrap();
        assert_eq!(pca.count(), count, "for a share of {share}");
        let of = |count: usize| pca.explained_variance_ratio()[..count].iter().sum::<f64>();
        assert!(of(count) >= share && of(count - 1) < share);
    }
}

#[test]
fn projections_vary_as_their_eigenvalues_say() {
    let Some(rows) = common::golden_embeddings() else { return };
    let pca = Pca::fit(&moments(&rows), Components::Count(50)).unwrap();
    let mut projected = vec![0.0; 96 * 50];
    pca.project(&rows, &mut projected).unwrap();
    let projected = Moments::from_rows(50, &projected).unwrap();
    for (index, (scatter, variance)) in projected.diagonal().zip(pca.explained_variance()).enumerate() {
        assert_near(scatter / 95.0, *variance, 1e-6, &format!("variance of component {index}"));
        assert!(projected.mean()[index].abs() < 1e-6);
    }
}
