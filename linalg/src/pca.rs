//! Principal components of rows, from their moments alone.
//!
//! Components are the eigenvectors of the scatter, largest eigenvalue first; a variance is its eigenvalue divided by
//! `samples - 1`, as in scikit-learn. Of the two signs of a component, the one with a positive largest entry is taken.
//! Each fit carries a certificate: numbers by which a reader can tell how well the eigenpairs satisfy their equation
//! and how far apart they lie, without the data.

use crate::bytes::{Kind, Malformed, Reader, Writer};
use crate::eigen::{Eigen, NoConvergence, decompose};
use crate::moments::{DIM_MAX, Moments};
use crate::panels::{Panels, symmetric_entry};
use crate::simd::Isa;
use thiserror::Error;

/// Rows that are projected together: their centred copies stay in cache.
const BATCH_ROWS: usize = 24;

const KIND: Kind = Kind { what: "a PCA", mark: "MRpc", version: 1 };

/// How many components to keep.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Components {
    Count(usize),
    /// As few as explain at least this share of the variance: above 0, at most 1.
    Share(f64),
}

/// A fitted PCA, ready to project rows.
#[derive(Clone, Debug, PartialEq)]
pub struct Pca {
    mean: Vec<f64>,
    components: Vec<f64>,
    explained_variance: Vec<f64>,
    explained_variance_ratio: Vec<f64>,
    singular_values: Vec<f64>,
    certificate: Certificate,
    /// The components again, as `project` reads them.
    panels: Panels,
}

/// The numbers of a PCA, as they are kept in files of their own.
#[derive(Clone, Debug)]
pub struct Fitted {
    pub mean: Vec<f64>,
    /// One after another, each as long as the mean.
    pub components: Vec<f64>,
    pub explained_variance: Vec<f64>,
    pub explained_variance_ratio: Vec<f64>,
    pub singular_values: Vec<f64>,
    pub certificate: Certificate,
}

/// What was fitted, and how well.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Certificate {
    pub samples: u64,
    /// Variance of the rows, all columns together.
    pub total_variance: f64,
    /// Variance in the directions that were not kept.
    pub residual_variance: f64,
    /// The worst `|S v - λ v|` of a kept component, relative to the largest eigenvalue of the scatter `S`.
    pub residual: f64,
    /// The largest entry of `|VᵀV - 1|`.
    pub orthogonality: f64,
    /// The smallest distance from a kept eigenvalue to the next, kept or not, relative to the largest: components
    /// whose eigenvalues are closer than the residual may mix.
    pub smallest_eigengap: f64,
}

/// Why there is no PCA, or no projection.
#[derive(Clone, Debug, Error, PartialEq)]
pub enum PcaError {
    #[error("fitting a PCA to {samples} rows, and it takes 2 or more")]
    TooFewRows { samples: u64 },
    #[error("fitting {components} components to {samples} rows, and there can be no more components than rows")]
    TooFewSamples { components: usize, samples: u64 },
    #[error("fitting {components} components to rows of {dim} columns")]
    TooManyComponents { components: usize, dim: usize },
    #[error("fitting no components")]
    NoComponents,
    #[error("explaining a share of {share} of the variance, and it should be above 0 and at most 1")]
    Share { share: f64 },
    #[error("fitting a PCA to moments that are not finite")]
    NotFinite,
    #[error("the eigenvectors of the scatter did not converge")]
    NoConvergence,
    #[error("projecting {numbers} numbers into {places}, with rows of {dim} and {components} components")]
    Shape { numbers: usize, places: usize, dim: usize, components: usize },
    #[error(transparent)]
    Malformed(#[from] Malformed),
}

impl Pca {
    pub fn fit(moments: &Moments, components: Components) -> Result<Self, PcaError> {
        check(moments, components)?;
        let dim = moments.dim();
        let Eigen { values, vectors } =
            decompose(dim, moments.scatter()).map_err(|NoConvergence| PcaError::NoConvergence)?;
        // Rounding may leave a variance of nothing a little below it.
        let eigenvalues: Vec<f64> = values.iter().map(|value| value.max(0.0)).collect();
        let kept = match components {
            Components::Count(count) => count,
            Components::Share(share) => count_of_share(share, &eigenvalues, moments),
        };
        let components: Vec<f64> = vectors[..kept].iter().flat_map(|vector| with_sign(vector)).collect();
        let degrees = (moments.count() - 1) as f64;
        let total_variance = moments.diagonal().sum::<f64>() / degrees;
        let explained_variance: Vec<f64> = eigenvalues[..kept].iter().map(|value| value / degrees).collect();
        let panels = panels(&components, dim);
        let (residual, orthogonality) = errors(moments, &panels, &components, &values[..kept]);
        let certificate = Certificate {
            samples: moments.count(),
            total_variance,
            // Smallest first, so that none is lost beside a larger one.
            residual_variance: eigenvalues[kept..].iter().rev().sum::<f64>() / degrees,
            residual,
            orthogonality,
            smallest_eigengap: smallest_eigengap(&eigenvalues, kept),
        };
        Ok(Self {
            mean: moments.mean().to_vec(),
            components,
            explained_variance_ratio: explained_variance
                .iter()
                .map(|variance| ratio(*variance, total_variance))
                .collect(),
            explained_variance,
            singular_values: eigenvalues[..kept].iter().map(|value| value.sqrt()).collect(),
            certificate,
            panels,
        })
    }

    /// What was fitted before, from what was kept of it.
    ///
    /// # Errors
    /// When the arrays don't fit each other.
    pub fn restored(fitted: Fitted) -> Result<Self, PcaError> {
        let Fitted { mean, components, explained_variance, explained_variance_ratio, singular_values, certificate } =
            fitted;
        let (dim, count) = (mean.len(), explained_variance.len());
        let fits = (1..=DIM_MAX).contains(&dim)
            && (1..=dim).contains(&count)
            && components.len() == dim * count
            && explained_variance_ratio.len() == count
            && singular_values.len() == count;
        if !fits {
            return Err(PcaError::Malformed(Malformed::Value {
                what: KIND.what,
                problem: "arrays that don't fit each other",
            }));
        }
        let panels = panels(&components, dim);
        Ok(Self {
            mean,
            components,
            explained_variance,
            explained_variance_ratio,
            singular_values,
            certificate,
            panels,
        })
    }

    /// Columns of a row.
    pub fn dim(&self) -> usize {
        self.mean.len()
    }

    /// How many components were kept.
    pub fn count(&self) -> usize {
        self.explained_variance.len()
    }

    pub fn mean(&self) -> &[f64] {
        &self.mean
    }

    /// The components, one after another, each as long as a row.
    pub fn components(&self) -> &[f64] {
        &self.components
    }

    pub fn explained_variance(&self) -> &[f64] {
        &self.explained_variance
    }

    pub fn explained_variance_ratio(&self) -> &[f64] {
        &self.explained_variance_ratio
    }

    pub fn singular_values(&self) -> &[f64] {
        &self.singular_values
    }

    pub fn certificate(&self) -> &Certificate {
        &self.certificate
    }

    /// Projects rows that lie one after another, and writes their coordinates so. Every coordinate is one sum over the
    /// columns in order, in f64, rounded once: the same whether a row comes alone or with others.
    pub fn project(&self, rows: &[f32], out: &mut [f32]) -> Result<(), PcaError> {
        self.project_on(Isa::best(), rows, out)
    }

    fn project_on(&self, isa: Isa, rows: &[f32], out: &mut [f32]) -> Result<(), PcaError> {
        let (dim, count) = (self.dim(), self.count());
        if !rows.len().is_multiple_of(dim) || rows.len() / dim * count != out.len() {
            return Err(PcaError::Shape { numbers: rows.len(), places: out.len(), dim, components: count });
        }
        let batches = rows.chunks(BATCH_ROWS * dim);
        for (rows, out) in batches.zip(out.chunks_mut(BATCH_ROWS * count)) {
            let centred = Panels::from_fn(dim, rows.len() / dim, |column, row| {
                f64::from(rows[row * dim + column]) - self.mean[column]
            });
            for (out, sum) in out.iter_mut().zip(centred.product(&self.panels, isa)) {
                *out = sum as f32;
            }
        }
        Ok(())
    }

    /// Mark, version, columns, components and samples, then the certificate and the arrays; little-endian.
    pub fn to_bytes(&self) -> Vec<u8> {
        let numbers = numbers(self.dim(), self.count()).expect("these numbers are in memory");
        let mut writer = Writer::new(&KIND, 32 + 8 * numbers as usize);
        writer.u64(self.dim() as u64);
        writer.u64(self.count() as u64);
        writer.u64(self.certificate.samples);
        writer.f64s(&[
            self.certificate.total_variance,
            self.certificate.residual_variance,
            self.certificate.residual,
            self.certificate.orthogonality,
            self.certificate.smallest_eigengap,
        ]);
        writer.f64s(&self.mean);
        writer.f64s(&self.components);
        writer.f64s(&self.explained_variance);
        writer.f64s(&self.explained_variance_ratio);
        writer.f64s(&self.singular_values);
        writer.finish()
    }

    /// What `to_bytes` wrote, or why it is not that.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, PcaError> {
        let mut reader = Reader::new(&KIND, bytes)?;
        let (dim, count, samples) = (reader.u64()?, reader.u64()?, reader.u64()?);
        let shape = |dim: u64, count: u64| {
            let dim = usize::try_from(dim).ok().filter(|dim| *dim <= DIM_MAX)?;
            let count = usize::try_from(count).ok().filter(|count| (1..=dim).contains(count))?;
            Some((dim, count))
        };
        let (dim, count) =
            shape(dim, count).ok_or_else(|| reader.wrong("an impossible number of columns or components"))?;
        let expected =
            numbers(dim, count).ok_or_else(|| reader.wrong("an impossible number of columns or components"))?;
        reader.expect_f64s(expected)?;
        let certificate = reader.f64s(CERTIFICATE_NUMBERS)?;
        let mean = reader.f64s(dim)?;
        let components = reader.f64s(dim * count)?;
        Ok(Self {
            mean,
            panels: panels(&components, dim),
            components,
            explained_variance: reader.f64s(count)?,
            explained_variance_ratio: reader.f64s(count)?,
            singular_values: reader.f64s(count)?,
            certificate: Certificate {
                samples,
                total_variance: certificate[0],
                residual_variance: certificate[1],
                residual: certificate[2],
                orthogonality: certificate[3],
                smallest_eigengap: certificate[4],
            },
        })
    }
}

/// Floats of the certificate as it is written.
const CERTIFICATE_NUMBERS: usize = 5;

/// Floats of a PCA as it is written.
fn numbers(dim: usize, count: usize) -> Option<u64> {
    let arrays = dim.checked_mul(count)?.checked_add(dim)?.checked_add(3 * count)?;
    Some((arrays + CERTIFICATE_NUMBERS) as u64)
}

fn check(moments: &Moments, components: Components) -> Result<(), PcaError> {
    let (dim, samples) = (moments.dim(), moments.count());
    match components {
        Components::Count(0) => return Err(PcaError::NoComponents),
        Components::Count(components) if components > dim => {
            return Err(PcaError::TooManyComponents { components, dim });
        }
        Components::Count(components) if components as u64 > samples => {
            return Err(PcaError::TooFewSamples { components, samples });
        }
        Components::Share(share) if !(share > 0.0 && share <= 1.0) => {
            return Err(PcaError::Share { share });
        }
        Components::Count(_) | Components::Share(_) => {}
    }
    if samples < 2 {
        return Err(PcaError::TooFewRows { samples });
    }
    let finite = |values: &[f64]| values.iter().all(|value| value.is_finite());
    if !(finite(moments.mean()) && finite(moments.scatter())) {
        return Err(PcaError::NotFinite);
    }
    Ok(())
}

/// The fewest components that reach this share, and never more than rows can tell apart.
fn count_of_share(share: f64, eigenvalues: &[f64], moments: &Moments) -> usize {
    let goal = share * moments.diagonal().sum::<f64>();
    let mut sum = 0.0;
    let reached = eigenvalues.iter().position(|value| {
        sum += value;
        sum >= goal
    });
    let most = usize::try_from(moments.count()).unwrap_or(usize::MAX);
    reached.map_or(eigenvalues.len(), |index| index + 1).min(most)
}

/// A component, turned so that its largest entry is positive: the first of them when several are equal.
fn with_sign(vector: &[f64]) -> impl Iterator<Item = f64> {
    let mut largest = 0.0f64;
    for entry in vector {
        if entry.abs() > largest.abs() {
            largest = *entry;
        }
    }
    let sign = largest.signum();
    vector.iter().map(move |entry| sign * entry)
}

fn panels(components: &[f64], dim: usize) -> Panels {
    Panels::from_fn(dim, components.len() / dim, |row, column| components[column * dim + row])
}

fn ratio(part: f64, whole: f64) -> f64 {
    if whole > 0.0 { part / whole } else { 0.0 }
}

/// How far the eigenpairs are from their equation, and the components from being orthonormal.
fn errors(moments: &Moments, panels: &Panels, components: &[f64], eigenvalues: &[f64]) -> (f64, f64) {
    let (dim, kept, isa) = (moments.dim(), eigenvalues.len(), Isa::best());
    let scatter = Panels::from_fn(dim, dim, |row, column| symmetric_entry(moments.scatter(), dim, row, column));
    let images = panels.product(&scatter, isa);
    let worst = images
        .chunks_exact(dim)
        .zip(components.chunks_exact(dim))
        .zip(eigenvalues)
        .map(|((image, component), eigenvalue)| distance(image, component, *eigenvalue))
        .fold(0.0, f64::max);
    let grid = panels.product(panels, isa);
    let orthogonality = grid
        .iter()
        .enumerate()
        .map(|(place, entry)| {
            let unit = if place % (kept + 1) == 0 { 1.0 } else { 0.0 };
            (entry - unit).abs()
        })
        .fold(0.0, f64::max);
    (ratio(worst, eigenvalues[0]), orthogonality)
}

/// The length of `image - eigenvalue * component`.
fn distance(image: &[f64], component: &[f64], eigenvalue: f64) -> f64 {
    image
        .iter()
        .zip(component)
        .map(|(image, entry)| image - eigenvalue * entry)
        .map(|rest| rest * rest)
        .sum::<f64>()
        .sqrt()
}

fn smallest_eigengap(eigenvalues: &[f64], kept: usize) -> f64 {
    let last = eigenvalues.len().min(kept + 1);
    let gap = eigenvalues[..last]
        .windows(2)
        .map(|pair| pair[0] - pair[1])
        .reduce(f64::min)
        // One column has one eigenvalue, which nothing comes near.
        .unwrap_or(eigenvalues[0]);
    ratio(gap, eigenvalues[0])
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn every_instruction_set_and_any_batch_give_the_bits_of_the_definition(
            (dim, kept) in (1usize..60).prop_flat_map(|dim| (Just(dim), 1..=dim)),
            count in 1usize..=2 * BATCH_ROWS + 1,
            seed in prop::collection::vec(-1e3f32..1e3, 97),
        ) {
            let number = |place: usize| seed[place % seed.len()] * (1.0 + (place % 13) as f32);
            let rows: Vec<f32> = (0..dim * count).map(number).collect();
            let pca = with_components(dim, (0..dim * kept).map(|place| f64::from(number(place + 7))).collect());
            let expected: Vec<u32> = rows
                .chunks_exact(dim)
                .flat_map(|row| pca.components().chunks_exact(dim).map(|component| {
                    row.iter().zip(pca.mean()).zip(component).fold(0.0, |sum, ((value, mean), entry)| {
                        (f64::from(*value) - mean).mul_add(*entry, sum)
                    })
                }))
                .map(|sum: f64| (sum as f32).to_bits())
                .collect();
            for isa in Isa::all() {
                let mut out = vec![0.0; count * kept];
                pca.project_on(isa, &rows, &mut out).unwrap();
                let found: Vec<u32> = out.iter().map(|value| value.to_bits()).collect();
                prop_assert_eq!(&found, &expected, "{:?}", isa);
            }
        }
    }

    #[test]
    fn what_was_kept_of_a_pca_is_that_pca_if_it_fits() {
        let pca = with_components(3, (0..6).map(f64::from).collect());
        let fitted = || Fitted {
            mean: pca.mean().to_vec(),
            components: pca.components().to_vec(),
            explained_variance: pca.explained_variance().to_vec(),
            explained_variance_ratio: pca.explained_variance_ratio().to_vec(),
            singular_values: pca.singular_values().to_vec(),
            certificate: *pca.certificate(),
        };
        assert_eq!(Pca::restored(fitted()).unwrap().to_bytes(), pca.to_bytes());
        let damages: [fn(&mut Fitted); 5] = [
            |fitted| fitted.mean.clear(),
            |fitted| fitted.components.truncate(5),
            |fitted| fitted.explained_variance.clear(),
            |fitted| fitted.explained_variance_ratio.push(1.0),
            |fitted| fitted.singular_values.truncate(1),
        ];
        for damage in damages {
            let mut damaged = fitted();
            damage(&mut damaged);
            assert!(Pca::restored(damaged).is_err());
        }
    }

    fn with_components(dim: usize, components: Vec<f64>) -> Pca {
        let kept = components.len() / dim;
        Pca {
            mean: (0..dim).map(|column| 1.0 / (1.0 + column as f64)).collect(),
            panels: panels(&components, dim),
            components,
            explained_variance: vec![1.0; kept],
            explained_variance_ratio: vec![0.0; kept],
            singular_values: vec![1.0; kept],
            certificate: Certificate {
                samples: 2,
                total_variance: 1.0,
                residual_variance: 0.0,
                residual: 0.0,
                orthogonality: 0.0,
                smallest_eigengap: 0.0,
            },
        }
    }
}
