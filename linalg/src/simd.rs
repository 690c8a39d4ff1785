//! The one inner loop of this room, compiled once for each instruction set, and the only `unsafe` here.
//!
//! A tile is a small block of a product `aᵀ b`: every element is one chain of fused multiply-adds over the rows, first
//! row first. A wider instruction set computes more elements at once and never splits a chain, so all of them give
//! the same bits; the tests hold each to the plain loop.

/// Columns of a panel, and of a tile: what three registers of AVX-512 hold.
pub(crate) const WIDTH: usize = 24;

/// Rows of a full tile: enough chains in flight to hide the latency of an addition.
pub(crate) const HEIGHT: usize = 6;

/// A tile of results, `R` rows of one panel's width.
pub(crate) type Tile<const R: usize> = [[f64; WIDTH]; R];

/// An instruction set that this machine has: only `best` and `all` make one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Isa(Kind);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// What the target always has: fused multiply-add is then a call on old x86-64, an instruction on ARM.
    Baseline,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    #[cfg(target_arch = "x86_64")]
    Avx512,
}

impl Isa {
    /// The widest that this machine has.
    pub(crate) fn best() -> Self {
        Self::all().next().expect("the baseline is always there")
    }

    /// All that this machine has, widest first.
    pub(crate) fn all() -> impl Iterator<Item = Self> {
        #[cfg(target_arch = "x86_64")]
        let wide = [
            (Kind::Avx512, is_x86_feature_detected!("avx512f")),
            (Kind::Avx2, is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma")),
        ];
        #[cfg(not(target_arch = "x86_64"))]
        let wide: [(Kind, bool); 0] = [];
        wide.into_iter().filter_map(|(kind, there)| there.then_some(Self(kind))).chain([Self(Kind::Baseline)])
    }

    /// Adds `aᵀ b` to `tile`, where each row of `a` and `b` is `WIDTH` numbers and of `a` the `R` from `first` count.
    pub(crate) fn add_product<const R: usize>(self, a: &[f64], first: usize, b: &[f64], tile: &mut Tile<R>) {
        assert!(first + R <= WIDTH && a.len() == b.len());
        match self.0 {
            Kind::Baseline => columns::<R, 0, WIDTH>(a, first, b, tile),
            // SAFETY: `all` gives out an instruction set only after finding it on this machine.
            #[cfg(target_arch = "x86_64")]
            Kind::Avx2 => unsafe { avx2(a, first, b, tile) },
            #[cfg(target_arch = "x86_64")]
            Kind::Avx512 => unsafe { avx512(a, first, b, tile) },
        }
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
fn avx512<const R: usize>(a: &[f64], first: usize, b: &[f64], tile: &mut Tile<R>) {
    columns::<R, 0, WIDTH>(a, first, b, tile);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn avx2<const R: usize>(a: &[f64], first: usize, b: &[f64], tile: &mut Tile<R>) {
    // Sixteen registers hold the sums of a third of a tile; with half a tile the compiler shuffles them.
    columns::<R, 0, 8>(a, first, b, tile);
    columns::<R, 8, 8>(a, first, b, tile);
    columns::<R, 16, 8>(a, first, b, tile);
}

/// The definition of every sum in this room, for the `C` columns from `FROM`.
#[inline(always)]
fn columns<const R: usize, const FROM: usize, const C: usize>(a: &[f64], first: usize, b: &[f64], tile: &mut Tile<R>) {
    let mut sums = [[0.0; C]; R];
    for (sums, tile) in sums.iter_mut().zip(tile.iter()) {
        sums.copy_from_slice(&tile[FROM..FROM + C]);
    }
    for (a, b) in a.chunks_exact(WIDTH).zip(b.chunks_exact(WIDTH)) {
        for (sums, a) in sums.iter_mut().zip(&a[first..first + R]) {
            for (sum, b) in sums.iter_mut().zip(&b[FROM..FROM + C]) {
                *sum = a.mul_add(*b, *sum);
            }
        }
    }
    for (sums, tile) in sums.iter().zip(tile.iter_mut()) {
        tile[FROM..FROM + C].copy_from_slice(sums);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Each sum by itself, as the promise is worded.
    fn chains<const R: usize>(a: &[f64], first: usize, b: &[f64], tile: &Tile<R>) -> Tile<R> {
        let mut expected = *tile;
        for row in 0..R {
            for column in 0..WIDTH {
                for step in 0..a.len() / WIDTH {
                    let (left, right) = (a[step * WIDTH + first + row], b[step * WIDTH + column]);
                    expected[row][column] = left.mul_add(right, expected[row][column]);
                }
            }
        }
        expected
    }

    fn check<const R: usize>(a: &[f64], first: usize, b: &[f64], start: f64) {
        let tile: Tile<R> = [[start; WIDTH]; R];
        let expected = chains(a, first, b, &tile);
        for isa in Isa::all() {
            let mut found = tile;
            isa.add_product(a, first, b, &mut found);
            let bits = |tile: Tile<R>| tile.map(|row| row.map(f64::to_bits));
            assert_eq!(bits(found), bits(expected), "{isa:?}");
        }
    }

    /// Numbers of very different size, so that another order of additions would show.
    fn panel(rows: usize) -> impl Strategy<Value = Vec<f64>> {
        let number = (-1.0..1.0, -12..12).prop_map(|(digits, power)| digits * 10f64.powi(power));
        prop::collection::vec(number, rows * WIDTH)
    }

    proptest! {
        #[test]
        fn every_instruction_set_gives_the_bits_of_the_plain_chain(
            (a, b) in (0usize..40).prop_flat_map(|rows| (panel(rows), panel(rows))),
            first in 0..=WIDTH - HEIGHT,
            start in -1e6..1e6,
        ) {
            check::<HEIGHT>(&a, first, &b, start);
            check::<1>(&a, first, &b, start);
        }
    }

    #[test]
    fn another_order_would_be_seen() {
        let column = |values: [f64; 3]| values.map(|value| [value; WIDTH]).concat();
        let (a, b) = (column([1e16, 1.0, -1e16]), column([1.0; 3]));
        let mut tile: Tile<1> = [[0.0; WIDTH]];
        Isa::best().add_product(&a, 0, &b, &mut tile);
        assert_eq!(tile, [[0.0; WIDTH]], "1e16 + 1 - 1e16, in this order");
    }
}
