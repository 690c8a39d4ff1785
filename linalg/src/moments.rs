//! Count, mean and centred scatter of rows: what a map task says of its rows, small enough to travel and exact enough
//! to merge.
//!
//! Scatter is the sum of `(x - mean)(x - mean)ᵀ`, kept as the upper triangle, row by row. Within a block the mean is
//! taken first and the scatter of what is left second: a sum of raw products would lose the small variances behind a
//! large mean. Blocks merge by the update of Chan, Golub and LeVeque ("Updating Formulae and a Pairwise Algorithm for
//! Computing Sample Variances", 1979), which keeps the scatter centred. Merging rounds, so it is the caller who fixes
//! the shape of the tree; here, the same parts in the same order give the same bits.

use crate::bytes::{Kind, Malformed, Reader, Writer};
use crate::panels::{Panels, row_start, triangle_len};
use crate::simd::Isa;
use thiserror::Error;

/// The most columns that rows may have: their scatter is then 268 MB.
pub const DIM_MAX: usize = 8192;

/// Rows that are centred and packed at a time: 1,280 columns of them stay in a core's own cache.
const BLOCK_ROWS: usize = 64;

const KIND: Kind = Kind { what: "moments", mark: "MRmo", version: 1 };
const ROWS: Kind = Kind { what: "rows", mark: "MRro", version: 1 };

/// Count, mean and centred scatter of rows of one length.
#[derive(Clone, Debug, PartialEq)]
pub struct Moments {
    count: u64,
    mean: Vec<f64>,
    scatter: Vec<f64>,
}

/// Why there are no moments.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum MomentsError {
    #[error("rows of {dim} columns, and they may have 1 to {DIM_MAX}")]
    Dim { dim: usize },
    #[error("{numbers} numbers are not whole rows of {dim}")]
    Ragged { numbers: usize, dim: usize },
    #[error("row {row} is not finite at column {column}")]
    NotFinite { row: usize, column: usize },
    #[error("merging moments of {left} and {right} columns")]
    DimsDiffer { left: usize, right: usize },
    #[error("merging no moments at all")]
    Nothing,
    #[error("merging moments of more rows than can be counted")]
    TooMany,
    #[error(transparent)]
    Malformed(#[from] Malformed),
}

impl Moments {
    /// The moments of no rows, which change nothing they are merged with.
    pub fn empty(dim: usize) -> Result<Self, MomentsError> {
        if !(1..=DIM_MAX).contains(&dim) {
            return Err(MomentsError::Dim { dim });
        }
        Ok(Self { count: 0, mean: vec![0.0; dim], scatter: vec![0.0; triangle_len(dim)] })
    }

    /// The moments of rows that lie one after another.
    pub fn from_rows(dim: usize, rows: &[f32]) -> Result<Self, MomentsError> {
        Self::from_rows_on(Isa::best(), dim, rows)
    }

    fn from_rows_on(isa: Isa, dim: usize, rows: &[f32]) -> Result<Self, MomentsError> {
        Self::check_rows(dim, rows)?;
        let mut moments = Self::empty(dim)?;
        if rows.is_empty() {
            return Ok(moments);
        }
        moments.count = (rows.len() / dim) as u64;
        moments.mean = mean(dim, rows);
        for block in rows.chunks(BLOCK_ROWS * dim) {
            centred(block, &moments.mean).add_gram(isa, &mut moments.scatter);
        }
        Ok(moments)
    }

    fn check_rows(dim: usize, rows: &[f32]) -> Result<(), MomentsError> {
        if !(1..=DIM_MAX).contains(&dim) {
            return Err(MomentsError::Dim { dim });
        }
        if !rows.len().is_multiple_of(dim) {
            return Err(MomentsError::Ragged { numbers: rows.len(), dim });
        }
        match rows.iter().position(|value| !value.is_finite()) {
            Some(place) => Err(MomentsError::NotFinite { row: place / dim, column: place % dim }),
            None => Ok(()),
        }
    }

    /// Takes in the rows behind `other`, as if they had come after these.
    pub fn merge(&mut self, other: &Self) -> Result<(), MomentsError> {
        if self.dim() != other.dim() {
            return Err(MomentsError::DimsDiffer { left: self.dim(), right: other.dim() });
        }
        let count = self.count.checked_add(other.count).ok_or(MomentsError::TooMany)?;
        if other.count == 0 {
            return Ok(());
        }
        if self.count == 0 {
            self.clone_from(other);
            return Ok(());
        }
        let share = other.count as f64 / count as f64;
        let weight = self.count as f64 * share;
        let between: Vec<f64> = self.mean.iter().zip(&other.mean).map(|(left, right)| right - left).collect();
        let mut left = self.scatter.as_mut_slice();
        let mut right = other.scatter.as_slice();
        for row in 0..between.len() {
            let columns = &between[row..];
            let factor = weight * between[row];
            let (left_row, right_row);
            (left_row, left) = left.split_at_mut(columns.len());
            (right_row, right) = right.split_at(columns.len());
            for ((left, right), between) in left_row.iter_mut().zip(right_row).zip(columns) {
                *left = (*left + right) + factor * between;
            }
        }
        for (mean, between) in self.mean.iter_mut().zip(&between) {
            *mean += share * between;
        }
        self.count = count;
        Ok(())
    }

    /// The parts merged one after another, in the order given, each made when its turn comes.
    pub fn merge_all(parts: impl IntoIterator<Item = Result<Self, MomentsError>>) -> Result<Self, MomentsError> {
        let mut parts = parts.into_iter();
        let mut merged = parts.next().ok_or(MomentsError::Nothing)??;
        for part in parts {
            merged.merge(&part?)?;
        }
        Ok(merged)
    }

    /// Columns of a row.
    pub fn dim(&self) -> usize {
        self.mean.len()
    }

    /// Rows behind these moments.
    pub fn count(&self) -> u64 {
        self.count
    }

    pub fn mean(&self) -> &[f64] {
        &self.mean
    }

    /// The upper triangle of the centred scatter, row by row: `dim * (dim + 1) / 2` numbers.
    pub fn scatter(&self) -> &[f64] {
        &self.scatter
    }

    /// The scatter of each column by itself.
    pub fn diagonal(&self) -> impl Iterator<Item = f64> {
        (0..self.dim()).map(|row| self.scatter[row_start(self.dim(), row)])
    }

    /// Mark, version, columns and count, then mean and scatter; little-endian.
    pub fn to_bytes(&self) -> Vec<u8> {
        let numbers = self.mean.len() + self.scatter.len();
        let mut writer = Writer::new(&KIND, 24 + 8 * numbers);
        writer.u64(self.dim() as u64);
        writer.u64(self.count);
        writer.f64s(&self.mean);
        writer.f64s(&self.scatter);
        writer.finish()
    }

    /// What [`Moments::from_bytes`] makes the moments of these rows from: the moments, or the rows themselves where they
    /// are shorter. Moments of few rows are mostly zeros in disguise: 64 rows of 1,280 columns have 328 kB, their moments
    /// 6.6 MB. Either way the same bits come out.
    pub fn bytes_of_rows(dim: usize, rows: &[f32]) -> Result<Vec<u8>, MomentsError> {
        Self::check_rows(dim, rows)?;
        if rows.len() >= 2 * (dim + triangle_len(dim)) {
            return Ok(Self::from_rows(dim, rows)?.to_bytes());
        }
        let mut writer = Writer::new(&ROWS, 16 + 4 * rows.len());
        writer.u64(dim as u64);
        writer.f32s(rows);
        Ok(writer.finish())
    }

    /// What `to_bytes` or `bytes_of_rows` wrote, or why it is not that.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, MomentsError> {
        if ROWS.marks(bytes) {
            let mut reader = Reader::new(&ROWS, bytes)?;
            let dim = reader.u64()?;
            let dim = usize::try_from(dim).map_err(|_| reader.wrong("an impossible number of columns"))?;
            return Self::from_rows(dim, &reader.rest_f32s()?);
        }
        let mut reader = Reader::new(&KIND, bytes)?;
        let dim = reader.u64()?;
        let count = reader.u64()?;
        let dim = usize::try_from(dim)
            .ok()
            .filter(|dim| (1..=DIM_MAX).contains(dim))
            .ok_or_else(|| reader.wrong("an impossible number of columns"))?;
        reader.expect_f64s((dim + triangle_len(dim)) as u64)?;
        let mean = reader.f64s(dim)?;
        let scatter = reader.f64s(triangle_len(dim))?;
        let moments = Self { count, mean, scatter };
        if moments.diagonal().any(|entry| entry < 0.0) {
            return Err(reader.wrong("a negative sum of squares").into());
        }
        let blank = |values: &[f64]| values.iter().all(|value| *value == 0.0);
        if count == 0 && !(blank(&moments.mean) && blank(&moments.scatter)) {
            return Err(reader.wrong("numbers that come from no rows").into());
        }
        Ok(moments)
    }
}

/// The mean of each column: sums in the order of the rows, then one division.
fn mean(dim: usize, rows: &[f32]) -> Vec<f64> {
    let mut sums = vec![0.0; dim];
    for row in rows.chunks_exact(dim) {
        for (sum, value) in sums.iter_mut().zip(row) {
            *sum += f64::from(*value);
        }
    }
    let count = (rows.len() / dim) as f64;
    for sum in &mut sums {
        *sum /= count;
    }
    sums
}

fn centred(rows: &[f32], mean: &[f64]) -> Panels {
    let mut panels = Panels::zeros(rows.len() / mean.len(), mean.len());
    for (index, row) in rows.chunks_exact(mean.len()).enumerate() {
        panels.set_row(index, |column| f64::from(row[column]) - mean[column]);
    }
    panels
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Mean and scatter by the definition, element by element.
    fn by_definition(dim: usize, rows: &[f32]) -> Moments {
        let column = |column: usize| rows.chunks_exact(dim).map(move |row| f64::from(row[column]));
        let count = (rows.len() / dim) as u64;
        let mean: Vec<f64> =
            (0..dim).map(|index| column(index).fold(0.0, |sum, value| sum + value) / count as f64).collect();
        let mut scatter = Vec::new();
        for left in 0..dim {
            for right in left..dim {
                scatter.push(
                    column(left)
                        .zip(column(right))
                        .fold(0.0, |sum, (x, y)| (x - mean[left]).mul_add(y - mean[right], sum)),
                );
            }
        }
        Moments { count, mean, scatter }
    }

    proptest! {
        #[test]
        fn every_instruction_set_and_any_block_give_the_bits_of_the_definition(
            dim in 1usize..60,
            count in 1usize..=3 * BLOCK_ROWS,
            seed in prop::collection::vec(-1e3f32..1e3, 97),
        ) {
            let rows: Vec<f32> = (0..dim * count)
                .map(|place| seed[place % seed.len()] * (1.0 + (place % 13) as f32))
                .collect();
            let expected = by_definition(dim, &rows);
            for isa in Isa::all() {
                let found = Moments::from_rows_on(isa, dim, &rows).unwrap();
                prop_assert_eq!(found.to_bytes(), expected.to_bytes(), "{:?}", isa);
            }
            let bytes = Moments::bytes_of_rows(dim, &rows).unwrap();
            prop_assert!(bytes.len() <= expected.to_bytes().len());
            prop_assert_eq!(Moments::from_bytes(&bytes).unwrap().to_bytes(), expected.to_bytes());
        }
    }
}
