//! Resizing as Pillow's BICUBIC does it, and the network's scale.
//!
//! A cubic with a = -0.5, stretched when shrinking so that every pixel of the source counts; one pass along the rows and
//! one across them, each rounded to 8 bits, with weights of 22 fractional bits. The order of the passes and the rounding
//! between them are part of the result: with them the bytes are those of Pillow 13. (Up to 12 it went along the rows first
//! always, which shows in photos much taller than the result.) Sums are of integers, and the weights come from additions,
//! multiplications and divisions that every CPU does alike, so the result is the same on all; `pulp` merely compiles the
//! loops once for each kind of vector and picks one at run time.

use pulp::{Arch, Simd, WithSimd};

use super::Photo;

/// Room for the weights: a sum of 8-bit samples may run to twice the range and be negative.
const WEIGHT_BITS: u32 = 32 - 8 - 2;
const HALF: i32 = 1 << (WEIGHT_BITS - 1);

/// The cubic is zero from here on.
const SUPPORT: f64 = 2.0;

/// So many rows are narrowed together, and so many samples of a row blended: vectors of them.
const ROWS: usize = 8;
const SAMPLES: usize = 32;

/// Buffers for resizing one photo after another.
#[derive(Debug, Default)]
pub struct Resizer {
    arch: Arch,
    columns: Weights,
    rows: Weights,
    turned: Vec<[u8; ROWS]>,
    between: Vec<u8>,
    resized: Vec<u8>,
}

/// The photo at `height` by `width`, as RGB.
pub fn resize(photo: &Photo, height: u32, width: u32) -> Vec<u8> {
    let mut resizer = Resizer::default();
    resizer.resize(photo, height, width);
    resizer.resized
}

/// Writes the photo at `height` by `width` to `out` as rows of red, green and blue, each x / 127.5 - 1.
pub fn to_input(photo: &Photo, height: u32, width: u32, out: &mut Vec<f32>) {
    Resizer::default().to_input(photo, height, width, out);
}

impl Resizer {
    /// As the function of this name, into a buffer that the next call overwrites.
    pub fn resize(&mut self, photo: &Photo, height: u32, width: u32) -> &[u8] {
        assert!(height > 0 && width > 0, "a size without pixels");
        let (from_height, from_width) = (photo.height(), photo.width());
        self.columns.compute(from_width, width);
        self.rows.compute(from_height, height);
        let Self { arch, columns, rows, turned, between, resized } = self;
        let mut along = |from: &[u8], to: &mut Vec<u8>| arch.dispatch(Along { from, from_width, columns, turned, to });
        let across = |from: &[u8], width: u32, to: &mut Vec<u8>| arch.dispatch(Across { from, width, rows, to });

        if from_width == width && from_height == height {
            resized.clear();
            resized.extend_from_slice(photo.rgb());
        } else if from_width == width {
            across(photo.rgb(), width, resized);
        } else if from_height == height {
            along(photo.rgb(), resized);
        } else if across_first((from_height, from_width), (height, width)) {
            across(photo.rgb(), from_width, between);
            along(between, resized);
        } else {
            along(photo.rgb(), between);
            across(between, width, resized);
        }
        resized
    }

    /// As the function of this name, with buffers that are kept.
    pub fn to_input(&mut self, photo: &Photo, height: u32, width: u32, out: &mut Vec<f32>) {
        let resized = self.resize(photo, height, width);
        out.clear();
        out.extend(resized.iter().map(|&sample| f32::from(sample) / 127.5 - 1.0));
    }
}

/// For each place in the output, where in the input its window begins and how much each sample there counts.
#[derive(Debug, Default)]
struct Weights {
    first: Vec<usize>,
    length: Vec<usize>,
    window: usize,
    weights: Vec<i32>,
    exact: Vec<f64>,
}

impl Weights {
    fn iter(&self) -> impl Iterator<Item = (usize, &[i32])> {
        let windows = self.weights.chunks_exact(self.window);
        let places = self.first.iter().zip(&self.length);
        places.zip(windows).map(|((&first, &length), window)| (first, &window[..length]))
    }

    fn compute(&mut self, from: u32, to: u32) {
        let scale = f64::from(from) / f64::from(to);
        let stretch = scale.max(1.0);
        let support = SUPPORT * stretch;
        self.window = support.ceil() as usize * 2 + 1;
        self.first.clear();
        self.length.clear();
        self.weights.clear();

        for place in 0..to {
            let center = (f64::from(place) + 0.5) * scale;
            // The casts cut towards zero, as C's do; a negative bound becomes 0.
            let first = (center - support + 0.5) as usize;
            let end = ((center + support + 0.5) as usize).min(from as usize);

            self.exact.clear();
            let distances = (first..end).map(|sample| (sample as f64 - center + 0.5) * (1.0 / stretch));
            self.exact.extend(distances.map(cubic));
            let sum: f64 = self.exact.iter().fold(0.0, |sum, weight| sum + weight);

            // Weights of nothing at either end are left out.
            let begin = self.weights.len();
            let mut first = first;
            for weight in self.exact.iter().map(|weight| fixed(weight / sum)) {
                if weight == 0 && self.weights.len() == begin {
                    first += 1;
                } else {
                    self.weights.push(weight);
                }
            }
            while self.weights.len() > begin && self.weights.last() == Some(&0) {
                self.weights.pop();
            }
            self.first.push(first);
            self.length.push(self.weights.len() - begin);
            self.weights.resize(begin + self.window, 0);
        }
    }
}

fn cubic(distance: f64) -> f64 {
    const A: f64 = -0.5;
    let x = distance.abs();
    if x < 1.0 {
        ((A + 2.0) * x - (A + 3.0)) * x * x + 1.0
    } else if x < SUPPORT {
        (((x - 5.0) * x + 8.0) * x - 4.0) * A
    } else {
        0.0
    }
}

fn fixed(weight: f64) -> i32 {
    let scaled = weight * f64::from(1 << WEIGHT_BITS);
    (if weight < 0.0 { scaled - 0.5 } else { scaled + 0.5 }) as i32
}

/// Whether Pillow goes across the rows first: if the height shrinks, by more than twice what the width does.
fn across_first((from_height, from_width): (u32, u32), (height, width): (u32, u32)) -> bool {
    let shrinks = |from: u32, to: u32| i64::from(from) - i64::from(to);
    from_height > height && shrinks(from_height, height) > 2 * shrinks(from_width, width)
}

/// Resizes each row to as many pixels as there are windows in `columns`.
struct Along<'a> {
    from: &'a [u8],
    from_width: u32,
    columns: &'a Weights,
    turned: &'a mut Vec<[u8; ROWS]>,
    to: &'a mut Vec<u8>,
}

/// Blends the rows to as many as there are windows in `rows`.
struct Across<'a> {
    from: &'a [u8],
    width: u32,
    rows: &'a Weights,
    to: &'a mut Vec<u8>,
}

// What is called below is inlined without exception: else it would be compiled for the least of CPUs.

impl WithSimd for Along<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let Self { from, from_width, columns, turned, to } = self;
        let (from_row, to_row) = (from_width as usize * 3, columns.first.len() * 3);
        to.resize(from.len() / from_row * to_row, 0);
        turned.resize(from_row, [0; ROWS]);
        for (from, to) in from.chunks(from_row * ROWS).zip(to.chunks_mut(to_row * ROWS)) {
            // Rows are turned on their side, so that neighbours in memory are samples that are weighed alike. Those that
            // the last group lacks keep samples of the group before and come to nothing.
            for (row, from) in from.chunks_exact(from_row).enumerate() {
                for (turned, &sample) in turned.iter_mut().zip(from) {
                    turned[row] = sample;
                }
            }
            for (column, (first, weights)) in columns.iter().enumerate() {
                let pixels = weigh_columns(&turned[first * 3..], weights);
                for (row, to) in to.chunks_exact_mut(to_row).enumerate() {
                    let to = &mut to[column * 3..column * 3 + 3];
                    for channel in 0..3 {
                        to[channel] = pixels[channel][row];
                    }
                }
            }
        }
    }
}

impl WithSimd for Across<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let Self { from, width, rows, to } = self;
        let row = width as usize * 3;
        to.resize(rows.first.len() * row, 0);
        for ((first, weights), to) in rows.iter().zip(to.chunks_exact_mut(row)) {
            let from = &from[first * row..];
            let (whole, rest) = to.as_chunks_mut::<SAMPLES>();
            let blended = whole.len() * SAMPLES;
            for (group, to) in whole.iter_mut().enumerate() {
                *to = weigh_rows(&from[group * SAMPLES..], row, weights);
            }
            for (place, to) in rest.iter_mut().enumerate() {
                [*to] = weigh_rows(&from[blended + place..], row, weights);
            }
        }
    }
}

/// One pixel of each row, channel by channel, out of the windows that `turned` begins with.
#[inline(always)]
fn weigh_columns(turned: &[[u8; ROWS]], weights: &[i32]) -> [[u8; ROWS]; 3] {
    let mut sums = [[HALF; ROWS]; 3];
    for (pixel, weight) in turned.as_chunks::<3>().0.iter().zip(weights) {
        for channel in 0..3 {
            for row in 0..ROWS {
                sums[channel][row] += i32::from(pixel[channel][row]) * weight;
            }
        }
    }
    let mut pixels = [[0; ROWS]; 3];
    for channel in 0..3 {
        for row in 0..ROWS {
            pixels[channel][row] = round(sums[channel][row]);
        }
    }
    pixels
}

/// The samples that `from` begins with and those under them, row by row, as one.
#[inline(always)]
fn weigh_rows<const N: usize>(from: &[u8], row: usize, weights: &[i32]) -> [u8; N] {
    let mut sums = [HALF; N];
    for (samples, weight) in from.chunks(row).zip(weights) {
        let samples: &[u8; N] = samples.first_chunk().expect("the last row goes on as far");
        for place in 0..N {
            sums[place] += i32::from(samples[place]) * weight;
        }
    }
    let mut blended = [0; N];
    for place in 0..N {
        blended[place] = round(sums[place]);
    }
    blended
}

#[inline(always)]
fn round(sum: i32) -> u8 {
    (sum >> WEIGHT_BITS).clamp(0, 255) as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_cpu_gives_the_same_bytes() {
        for (width, height) in [(100, 100), (37, 113), (348, 9), (5, 500)] {
            let rgb = (0..width * height * 3).map(|sample| ((sample * 7919) >> 5) as u8).collect();
            let photo = Photo::new(width, height, rgb).expect("that many samples were made");
            let mut plain = Resizer { arch: Arch::Scalar, ..Resizer::default() };
            assert!(plain.resize(&photo, 61, 59) == resize(&photo, 61, 59), "{width} x {height}");
        }
    }
}
