//! Matrices stored for the inner loop, and the three products that this room needs.
//!
//! A panel is `WIDTH` neighbouring columns with their rows one after another; the last panel is filled up with zeros.
//! A product `aᵀ b` then reads two panels straight through. Its sums run over the rows, first row first, whatever the
//! tile, so that cutting the rows into blocks or the columns into tiles does not change a bit.

use crate::simd::{HEIGHT, Isa, Tile, WIDTH};

const _: () = assert!(WIDTH.is_multiple_of(HEIGHT), "a tile's rows lie within one panel");

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Panels {
    rows: usize,
    columns: usize,
    data: Vec<f64>,
}

impl Panels {
    pub(crate) fn zeros(rows: usize, columns: usize) -> Self {
        Self { rows, columns, data: vec![0.0; columns.div_ceil(WIDTH) * WIDTH * rows] }
    }

    /// The matrix with these entries, made row by row.
    pub(crate) fn from_fn(rows: usize, columns: usize, entry: impl Fn(usize, usize) -> f64) -> Self {
        let mut panels = Self::zeros(rows, columns);
        for row in 0..rows {
            panels.set_row(row, |column| entry(row, column));
        }
        panels
    }

    pub(crate) fn set_row(&mut self, row: usize, entry: impl Fn(usize) -> f64) {
        assert!(row < self.rows);
        for first in (0..self.columns).step_by(WIDTH) {
            let count = WIDTH.min(self.columns - first);
            let start = first * self.rows + row * WIDTH;
            for (place, column) in self.data[start..start + count].iter_mut().zip(first..) {
                *place = entry(column);
            }
        }
    }

    /// The panel in which `column` lies.
    fn panel_of(&self, column: usize) -> &[f64] {
        let length = self.rows * WIDTH;
        &self.data[column / WIDTH * length..][..length]
    }

    /// `selfᵀ other`, row-major.
    pub(crate) fn product(&self, other: &Self, isa: Isa) -> Vec<f64> {
        assert_eq!(self.rows, other.rows);
        let mut out = vec![0.0; self.columns * other.columns];
        let full = self.columns - self.columns % HEIGHT;
        for left in (0..other.columns).step_by(WIDTH) {
            for top in (0..full).step_by(HEIGHT) {
                self.product_tile::<HEIGHT>(top, other, left, isa, &mut out);
            }
            for top in full..self.columns {
                self.product_tile::<1>(top, other, left, isa, &mut out);
            }
        }
        out
    }

    fn product_tile<const R: usize>(&self, top: usize, other: &Self, left: usize, isa: Isa, out: &mut [f64]) {
        let mut tile: Tile<R> = [[0.0; WIDTH]; R];
        isa.add_product(self.panel_of(top), top % WIDTH, other.panel_of(left), &mut tile);
        let count = WIDTH.min(other.columns - left);
        for (sums, row) in tile.iter().zip(top..) {
            let start = row * other.columns + left;
            out[start..start + count].copy_from_slice(&sums[..count]);
        }
    }

    /// Adds the upper triangle of `selfᵀ self` to `triangle`, packed row by row.
    pub(crate) fn add_gram(&self, isa: Isa, triangle: &mut [f64]) {
        assert_eq!(triangle.len(), triangle_len(self.columns));
        for left in (0..self.columns).step_by(WIDTH) {
            let right = self.columns.min(left + WIDTH);
            for top in (0..right).step_by(HEIGHT) {
                self.gram_tile(top, left..right, isa, triangle);
            }
        }
    }

    fn gram_tile(&self, top: usize, columns: std::ops::Range<usize>, isa: Isa, triangle: &mut [f64]) {
        let left = columns.start;
        let mut tile: Tile<HEIGHT> = [[0.0; WIDTH]; HEIGHT];
        let rows = top..columns.end.min(top + HEIGHT);
        // What is left of the diagonal is computed with the rest of the tile and dropped.
        let stored = |row: usize| {
            let first = left.max(row);
            let start = row_start(self.columns, row) + first - row;
            (first - left, start..start + columns.end - first)
        };
        for (sums, row) in tile.iter_mut().zip(rows.clone()) {
            let (skip, place) = stored(row);
            let place = &triangle[place];
            sums[skip..skip + place.len()].copy_from_slice(place);
        }
        isa.add_product(self.panel_of(top), top % WIDTH, self.panel_of(left), &mut tile);
        for (sums, row) in tile.iter().zip(rows) {
            let (skip, place) = stored(row);
            let place = &mut triangle[place];
            place.copy_from_slice(&sums[skip..skip + place.len()]);
        }
    }
}

/// Entries of the upper triangle of a square matrix, its diagonal included.
pub(crate) fn triangle_len(dim: usize) -> usize {
    dim * (dim + 1) / 2
}

/// Where the packed upper triangle holds the diagonal entry of `row`; the entries to its right follow.
pub(crate) fn row_start(dim: usize, row: usize) -> usize {
    row * (2 * dim - row + 1) / 2
}

/// The entry at `row` and `column` of the symmetric matrix whose upper triangle is `triangle`.
pub(crate) fn symmetric_entry(triangle: &[f64], dim: usize, row: usize, column: usize) -> f64 {
    let (row, column) = (row.min(column), row.max(column));
    triangle[row_start(dim, row) + column - row]
}
