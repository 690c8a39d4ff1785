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
