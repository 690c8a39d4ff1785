//! Arithmetic that gives the same bits on every machine: additions, products, quotients and square roots, which IEEE 754
//! rounds exactly, and nothing from libm (sines and powers differ between systems). Random numbers are SplitMix64.

/// A stream of random numbers that a seed decides.
#[derive(Clone)]
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A stream of its own for each number below the seed: photo 7 is the same photo however many are drawn.
    pub fn fork(&self, number: u64) -> Self {
        Self(mix(self.0 ^ mix(number.wrapping_add(0x9e37_79b9_7f4a_7c15))))
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.0)
    }

    /// From 0 to 1. 24 bits, so that the conversion is exact.
    pub fn unit(&mut self) -> f32 {
        (self.next() >> 40) as f32 / (1 << 24) as f32
    }

    /// The same with 53 bits.
    pub fn share(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }

    pub fn between(&mut self, low: f32, high: f32) -> f32 {
        low + (high - low) * self.unit()
    }

    /// From -1 to 1, mostly near 0: the sum of three even ones.
    pub fn wobble(&mut self) -> f32 {
        (self.unit() + self.unit() + self.unit()) * (2.0 / 3.0) - 1.0
    }

    /// A direction in the plane. The half-angle form needs no sine.
    pub fn direction(&mut self, turn_max: f32) -> (f32, f32) {
        let half = self.between(-turn_max, turn_max);
        let square = half * half;
        ((1.0 - square) / (1.0 + square), 2.0 * half / (1.0 + square))
    }

    pub fn seed(&mut self) -> u32 {
        (self.next() >> 32) as u32
    }
}

fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// From 0 below `low` to 1 above `high`, without a corner.
pub fn smooth_step(low: f32, high: f32, x: f32) -> f32 {
    let t = ((x - low) / (high - low)).clamp(0.0, 1.0);
    t * t * (3.0 - 2.0 * t)
}

pub fn lerp(a: f32, b: f32, t: f32) -> f32 {
    a + (b - a) * t
}

/// Smooth noise over the plane, from 0 to 1: random values on a grid, blended between.
pub fn noise(seed: u32, x: f32, y: f32) -> f32 {
    let (column, row) = (x.floor(), y.floor());
    let (u, v) = (smooth_step(0.0, 1.0, x - column), smooth_step(0.0, 1.0, y - row));
    let (column, row) = (column as i32, row as i32);
    let top = lerp(grid(seed, column, row), grid(seed, column + 1, row), u);
    let bottom = lerp(grid(seed, column, row + 1), grid(seed, column + 1, row + 1), u);
    lerp(top, bottom, v)
}

/// The random value of a grid point, from 0 to 1.
pub fn grid(seed: u32, column: i32, row: i32) -> f32 {
    let mut h = seed ^ (column as u32).wrapping_mul(0x9e37_79b1) ^ (row as u32).wrapping_mul(0x85eb_ca77);
    h = (h ^ (h >> 15)).wrapping_mul(0x2c1b_3c6d);
    h = (h ^ (h >> 12)).wrapping_mul(0x297a_2d39);
    ((h ^ (h >> 15)) >> 8) as f32 / (1 << 24) as f32
}

#[cfg(test)]
mod tests {
    use super::{Random, noise, smooth_step};

    #[test]
    fn the_stream_is_splitmix64() {
        // The first outputs for seed 1234567, as published with the reference implementation.
        let mut random = Random::new(1_234_567);
        assert_eq!(random.next(), 6_457_827_717_110_365_317);
        assert_eq!(random.next(), 3_203_168_211_198_807_973);
    }

    #[test]
    fn values_keep_to_their_ranges() {
        let mut random = Random::new(1);
        for _ in 0..10_000 {
            assert!((0.0..1.0).contains(&random.unit()));
            assert!((-1.0..=1.0).contains(&random.wobble()));
            let (x, y) = random.direction(1.0);
            assert!((x * x + y * y - 1.0).abs() < 1e-5);
            assert!((0.0..=1.0).contains(&noise(3, random.between(-9.0, 9.0), random.between(-9.0, 9.0))));
        }
        assert_eq!(
            (smooth_step(0.0, 1.0, -1.0), smooth_step(0.0, 1.0, 0.5), smooth_step(0.0, 1.0, 2.0)),
            (0.0, 0.5, 1.0)
        );
    }

    #[test]
    fn forks_differ_from_each_other_and_do_not_depend_on_the_order() {
        let random = Random::new(1);
        assert_eq!(random.fork(5).next(), random.fork(5).next());
        assert_ne!(random.fork(5).next(), random.fork(6).next());
        assert_ne!(Random::new(2).fork(5).next(), random.fork(5).next());
    }
}
