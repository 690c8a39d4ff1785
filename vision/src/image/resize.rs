//! Resizing as Pillow's BICUBIC does it, and the network's scale.
//!
//! A cubic with a = -0.5, stretched when shrinking so that every pixel of the source counts; one pass along the rows and
//! one across them, each rounded to 8 bits, with weights of 22 fractional bits. The order of the passes and the rounding
//! between them are part of the result: with them the bytes are those of Pillow 13. (Up to 12 it went along the rows first
//! always, which shows in photos much taller than the result.) Sums are of integers, and the weights come from additions,
//! multiplications and divisions that every CPU does alike, so the result is the same on all.

use super::Photo;

/// Room for the weights: a sum of 8-bit samples may run to twice the range and be negative.
const WEIGHT_BITS: u32 = 32 - 8 - 2;
const HALF: i32 = 1 << (WEIGHT_BITS - 1);

/// The cubic is zero from here on.
const SUPPORT: f64 = 2.0;

/// Buffers for resizing one photo after another.
#[derive(Debug, Default)]
pub struct Resizer {
    columns: Weights,
    rows: Weights,
    between: Vec<u8>,
    resized: Vec<u8>,
    sums: Vec<i32>,
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
        let Self { columns, rows, between, resized, sums } = self;

        if from_width == width && from_height == height {
            resized.clear();
            resized.extend_from_slice(photo.rgb());
        } else if from_width == width {
            resize_across(photo.rgb(), width, rows, sums, resized);
        } else if from_height == height {
            resize_along(photo.rgb(), from_width, columns, resized);
        } else if across_first((from_height, from_width), (height, width)) {
            resize_across(photo.rgb(), from_width, rows, sums, between);
            resize_along(between, from_width, columns, resized);
        } else {
            resize_along(photo.rgb(), from_width, columns, between);
            resize_across(between, width, rows, sums, resized);
        }
        resized
    }

    /// As the function of this name, with buffers that are kept.
    pub fn to_input(&mut self, photo: &Photo, height: u32, width: u32, out: &mut Vec<f32>) {
        let resized = self.resize(photo, height, width);
        out.clear();
        out.extend(resized.iter().map(|&sample| SCALED[usize::from(sample)]));
    }
}

/// What each 8-bit sample is to the network.
static SCALED: [f32; 256] = {
    let mut table = [0.0; 256];
    let mut sample = 0;
    while sample < 256 {
        table[sample] = sample as f32 / 127.5 - 1.0;
        sample += 1;
    }
    table
};

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
            let normalized = self.exact.iter().map(|weight| fixed(weight / sum));

            let begin = self.weights.len();
            self.weights.extend(normalized);
            self.weights.resize(begin + self.window, 0);
            self.first.push(first);
            self.length.push(end - first);
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

/// Resizes each row of `from` to as many pixels as there are windows in `columns`.
fn resize_along(from: &[u8], from_width: u32, columns: &Weights, to: &mut Vec<u8>) {
    let (from_row, to_row) = (from_width as usize * 3, columns.first.len() * 3);
    to.resize(from.len() / from_row * to_row, 0);
    for (from, to) in from.chunks_exact(from_row).zip(to.chunks_exact_mut(to_row)) {
        for ((first, weights), to) in columns.iter().zip(to.chunks_exact_mut(3)) {
            let mut sums = [HALF; 3];
            for (pixel, weight) in from[first * 3..].chunks_exact(3).zip(weights) {
                for (sum, &sample) in sums.iter_mut().zip(pixel) {
                    *sum += i32::from(sample) * weight;
                }
            }
            for (sample, sum) in to.iter_mut().zip(sums) {
                *sample = round(sum);
            }
        }
    }
}

/// Blends the rows of `from` to as many as there are windows in `rows`.
fn resize_across(from: &[u8], width: u32, rows: &Weights, sums: &mut Vec<i32>, to: &mut Vec<u8>) {
    let row = width as usize * 3;
    sums.resize(row, 0);
    to.resize(rows.first.len() * row, 0);
    for ((first, weights), to) in rows.iter().zip(to.chunks_exact_mut(row)) {
        sums.fill(HALF);
        for (from, weight) in from[first * row..].chunks_exact(row).zip(weights) {
            for (sum, &sample) in sums.iter_mut().zip(from) {
                *sum += i32::from(sample) * weight;
            }
        }
        for (sample, &sum) in to.iter_mut().zip(sums.iter()) {
            *sample = round(sum);
        }
    }
}

fn round(sum: i32) -> u8 {
    (sum >> WEIGHT_BITS).clamp(0, 255) as u8
}
