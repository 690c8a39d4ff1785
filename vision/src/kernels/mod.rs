//! The arithmetic of the network: products, depthwise rows and means over f32, for whatever processor this is.
//!
//! An [`Arithmetic`] is a defined order of roundings and additions. In [`Arithmetic::F32`] every output number is a
//! single chain of fused multiply-adds that starts at the bias and takes its inputs in a fixed order; kernels work on
//! many channels and pixels side by side and never cut a chain. So plain Rust, AVX2 and AVX-512 give the same bits, and
//! a result does not tell which machine made it. [`Arithmetic::Bf16x3`] takes products of numbers in two bf16 halves,
//! as Intel's matrix tiles do in hardware; [`tiles`] defines it in plain Rust, so that it too can be had anywhere,
//! though slowly. Results of the two differ, and one is never a silent substitute for the other.
//!
//! All of the room's `unsafe` lives in this module. Its face is safe: a [`Kernels`] only exists for instructions that
//! this processor has, and every call checks its lengths before anything is read.

/// A loop over a constant number of pixels, written out. Loops that the compiler unrolls late leave their arrays in
/// memory, and a tile's sums would go to the stack and back three times.
macro_rules! unrolled {
    ($pixel:ident in $pixels:ident => $body:expr) => {
        unrolled!(@ $pixel $pixels $body; 0 1 2 3 4 5 6 7 8 9 10 11)
    };
    (@ $pixel:ident $pixels:ident $body:expr; $($number:literal)+) => {
        $(if $number < $pixels {
            #[allow(non_upper_case_globals)]
            const $pixel: usize = $number;
            $body
        })+
    };
}

/// What is written for a constant number, for whichever number it is. Only those up to the most there can be are compiled.
macro_rules! sized {
    ($number:ident of $most:expr => |$size:ident| $body:expr) => {{
        const { assert!($most <= $crate::kernels::SIZE_MAX) };
        assert!((1..=$most).contains(&$number), "nothing is compiled for this size");
        sized!(@ $number $most; $size $body; 1 2 3 4 5 6 7 8 9 10 11 12);
    }};
    (@ $number:ident $most:expr; $size:ident $body:expr; $($literal:literal)+) => {
        $(if const { $literal <= $most } {
            if $number == $literal {
                const $size: usize = $literal;
                $body;
            }
        })+
    };
}

/// As far as both count: what they do not write out would not be there at all.
const SIZE_MAX: usize = 12;

#[cfg(target_arch = "x86_64")]
mod amx;
mod bf16;
mod depthwise;
mod lanes;
mod layout;
mod mean;
mod pack;
mod pairs;
mod product;
mod tiles;
#[cfg(all(test, target_arch = "x86_64", target_os = "linux"))]
mod trapped;
mod work;

pub use lanes::LANES;
pub use layout::{Form, Layout};
pub use pack::{pack, pack_pairs, packed_len, packed_pairs_len};
pub use work::Work;

use std::mem::MaybeUninit;

/// How products are rounded and summed: results are the same bits wherever this is the same. Depthwise rows and means are
/// f32 chains in either.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arithmetic {
    /// Chains of f32 fused multiply-adds.
    F32,
    /// Three products of bf16 halves for each of f32, summed in f32.
    Bf16x3,
}

impl Arithmetic {
    /// All of them, the most exact first.
    pub const ALL: [Arithmetic; 2] = [Arithmetic::F32, Arithmetic::Bf16x3];

    pub fn name(self) -> &'static str {
        match self {
            Arithmetic::F32 => "f32",
            Arithmetic::Bf16x3 => "bf16x3",
        }
    }
}

/// Taps of a 3x3 kernel.
pub const TAPS: usize = 9;

/// A set of kernels that this processor can run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kernels {
    vectors: Vectors,
    tiles: Option<Tiles>,
}

// Both private, so that a value proves that the processor was asked.

/// What computes f32 chains.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Vectors {
    Portable,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    #[cfg(target_arch = "x86_64")]
    Avx512,
}

/// What computes products of halves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Tiles {
    Portable,
    #[cfg(target_arch = "x86_64")]
    Amx,
}

/// The range that results are brought into; NaN stays NaN.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Clamp {
    pub low: f32,
    pub high: f32,
}

impl Clamp {
    pub const NONE: Clamp = Clamp { low: f32::NEG_INFINITY, high: f32::INFINITY };
    pub const RELU6: Clamp = Clamp { low: 0.0, high: 6.0 };
}

/// The left side of a product: for each pixel a vector, read from one or more segments of memory.
///
/// Pixel `p` is `values[p * stride + segment ..][.. segment_len]` for each segment in turn: one segment is a 1x1
/// convolution, one segment for each kernel row any other convolution over a padded image.
#[derive(Clone, Copy, Debug)]
pub struct Patches<'a> {
    pub values: &'a [f32],
    pub pixels: usize,
    pub stride: usize,
    pub segments: &'a [usize],
    pub segment_len: usize,
}

impl Patches<'_> {
    /// Length of a pixel's vector.
    pub fn depth(&self) -> usize {
        self.segments.len().saturating_mul(self.segment_len)
    }

    fn check(&self) {
        assert!(self.depth() > 0, "patches of nothing");
        let Some(last) = self.pixels.checked_sub(1) else { return };
        let start = last.checked_mul(self.stride).expect("a stride within memory");
        for segment in self.segments {
            let end = start.checked_add(*segment).and_then(|at| at.checked_add(self.segment_len));
            assert!(end.is_some_and(|end| end <= self.values.len()), "patches reach past their values");
        }
    }
}

/// `out[p][n] = clamp(bias[n] + sum over k of x[p][k] * w[k][n]) + residual[p][n]`.
#[derive(Clone, Copy, Debug)]
pub struct Product<'a> {
    pub x: Patches<'a>,
    /// From [`pack`], for the arithmetic of the kernels that compute it.
    pub weights: &'a [f32],
    pub channels: usize,
    pub clamp: Clamp,
    /// As many numbers as the result has, which then has its channels last.
    pub residual: Option<&'a [f32]>,
    /// Where the result's numbers go.
    pub layout: Layout,
    /// What will be read after this, and may be far away: it is asked for meanwhile.
    pub next: &'a [f32],
}

impl Product<'_> {
    fn check(&self, arithmetic: Arithmetic, numbers: usize) {
        let Product { x, weights, channels, residual, layout, .. } = *self;
        x.check();
        assert_eq!(weights.len(), packed_len(arithmetic, x.depth(), channels), "packed weights of another shape");
        assert!(layout.fits(x.pixels, channels, numbers), "a result of another shape");
        let in_place = |residual: &[f32]| residual.len() == numbers && layout == Layout::ChannelsLast;
        assert!(residual.is_none_or(in_place), "a residual of another shape");
    }
}

/// A product in f32 whose left side lies in pairs of pixels, a number of each side by side. Its result has its channels last.
#[derive(Clone, Copy, Debug)]
pub struct Pairs<'a> {
    /// Number `k` of pixel `2 q + s` is `values[2 * (q * depth + k) + s]`. A last pixel alone has numbers of no matter beside
    /// its own.
    pub values: &'a [f32],
    pub pixels: usize,
    pub depth: usize,
    /// From [`pack_pairs`].
    pub weights: &'a [f32],
    pub channels: usize,
    pub clamp: Clamp,
    /// As many numbers as the result has.
    pub residual: Option<&'a [f32]>,
}

impl Pairs<'_> {
    /// Whether a result of so many channels is faster made of pairs: where two whole groups at a time would leave a part
    /// of one over. Wide ones lose little by that, and weights of pairs take twice the room.
    pub fn suit(channels: usize) -> bool {
        channels < 4 * LANES && !channels.is_multiple_of(2 * LANES)
    }

    fn check(&self, arithmetic: Arithmetic, numbers: usize) {
        let Pairs { values, pixels, depth, weights, channels, residual, .. } = *self;
        assert_eq!(arithmetic, Arithmetic::F32, "pairs are a matter of f32");
        assert!(depth > 0, "patches of nothing");
        let wanted = pixels.checked_next_multiple_of(2).and_then(|pixels| pixels.checked_mul(depth));
        assert_eq!(wanted, Some(values.len()), "pairs of another shape");
        assert_eq!(weights.len(), packed_pairs_len(depth, channels), "packed weights of another shape");
        assert_eq!(pixels.checked_mul(channels), Some(numbers), "a result of another shape");
        assert!(residual.is_none_or(|residual| residual.len() == numbers), "a residual of another shape");
    }
}

/// A product in bf16 halves whose left side is split already. Its result has its channels last.
#[derive(Clone, Copy, Debug)]
pub struct Halves<'a> {
    /// Pixel by pixel; for every 32 of k sixteen words of high halves, then sixteen of low ones, zeros behind the last. A
    /// word holds two neighbours in k, the even one below.
    pub values: &'a [f32],
    pub pixels: usize,
    pub depth: usize,
    /// From [`pack`].
    pub weights: &'a [f32],
    pub channels: usize,
    pub clamp: Clamp,
    /// As many numbers as the result has.
    pub residual: Option<&'a [f32]>,
}

impl Halves<'_> {
    fn check(&self, arithmetic: Arithmetic, numbers: usize) {
        let Halves { values, pixels, depth, weights, channels, residual, .. } = *self;
        assert_eq!(arithmetic, Arithmetic::Bf16x3, "halves are a matter of bf16x3");
        assert!(depth > 0, "patches of nothing");
        assert_eq!(Form::Halves.numbers(pixels, depth), Some(values.len()), "halves of another shape");
        assert_eq!(weights.len(), packed_len(arithmetic, depth, channels), "packed weights of another shape");
        assert_eq!(pixels.checked_mul(channels), Some(numbers), "a result of another shape");
        assert!(residual.is_none_or(|residual| residual.len() == numbers), "a residual of another shape");
    }
}

/// Rows of a 3x3 depthwise convolution over an image in blocks.
#[derive(Clone, Copy, Debug)]
pub struct Depthwise<'a> {
    /// Group by group of sixteen channels, each with `LANES` numbers a pixel.
    pub values: &'a [f32],
    /// Numbers from one group to the next.
    pub apart: usize,
    /// Where each input row begins in the first group; `None` lies in the padding above or below. A row of the result
    /// reads three of them, the next one `stride[0]` further on.
    pub rows: &'a [Option<usize>],
    pub channels: usize,
    /// Pixels of an input row.
    pub width: usize,
    /// Pixels of a row of the result.
    pub width_out: usize,
    /// Down, then across.
    pub stride: [usize; 2],
    pub pad_left: usize,
    /// From [`pack`] for f32; k counts the taps row by row.
    pub weights: &'a [f32],
    pub clamp: Clamp,
    /// How the result is put down.
    pub form: Form,
}

impl Depthwise<'_> {
    fn check(&self, numbers: usize) {
        let Depthwise { values, apart, rows, channels, width, width_out, stride, pad_left, weights, form, .. } = *self;
        assert!(channels > 0 && stride[0] > 0 && stride[1] > 0, "a shape without channels or stride");
        assert!(pad_left < 3, "padding as wide as the kernel");
        assert_eq!(weights.len(), packed_len(Arithmetic::F32, TAPS, channels), "packed weights of another shape");
        let below = rows.len().checked_sub(3).expect("three rows to read");
        assert!(below.is_multiple_of(stride[0]), "rows that nothing reads");
        let pixels = (below / stride[0] + 1).checked_mul(width_out).expect("a result within memory");
        assert_eq!(form.numbers(pixels, channels), Some(numbers), "a result of another shape");
        assert!(form != Form::Pairs || width_out.is_multiple_of(2), "a pixel that is no pair");
        let columns = width_out.checked_mul(stride[1]).and_then(|columns| columns.checked_add(2));
        assert!(columns.is_some(), "columns beyond memory");
        let row = width.checked_mul(LANES).expect("a row within memory");
        let last = apart.checked_mul(channels.div_ceil(LANES) - 1).expect("groups within memory");
        // Rows of nothing but padding begin somewhere too.
        for at in rows.iter().flatten().chain([&0]) {
            let end = last.checked_add(*at).and_then(|at| at.checked_add(row));
            assert!(end.is_some_and(|end| end <= values.len()), "rows reach past their values");
        }
    }
}

impl Kernels {
    /// The fastest set for that arithmetic that this processor can run, if it has instructions for it: plain Rust would
    /// make an arithmetic that is meant to be fast slower than any other.
    pub fn detect(arithmetic: Arithmetic) -> Option<Kernels> {
        let best = *Kernels::available().iter().rfind(|kernels| kernels.arithmetic() == arithmetic)?;
        (best.tiles != Some(Tiles::Portable)).then_some(best)
    }

    /// The fastest set for f32 that this processor can run.
    pub fn f32() -> Kernels {
        Kernels::detect(Arithmetic::F32).expect("plain Rust runs anywhere")
    }

    /// Every set that this processor can run, by arithmetic, slowest first.
    pub fn available() -> Vec<Kernels> {
        let vectors = [
            (Vectors::Portable, true),
            #[cfg(target_arch = "x86_64")]
            (Vectors::Avx2, is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma")),
            #[cfg(target_arch = "x86_64")]
            (
                Vectors::Avx512,
                is_x86_feature_detected!("avx512f")
                    && is_x86_feature_detected!("avx2")
                    && is_x86_feature_detected!("fma"),
            ),
        ];
        let vectors: Vec<Vectors> = vectors.into_iter().filter(|(_, runs)| *runs).map(|(set, _)| set).collect();
        let best = vectors[vectors.len() - 1];
        let tiles = [
            (Tiles::Portable, true),
            #[cfg(target_arch = "x86_64")]
            (Tiles::Amx, best == Vectors::Avx512 && amx::allowed()),
        ];
        let tiles = tiles.into_iter().filter(|(_, runs)| *runs).map(|(set, _)| set);
        let f32 = vectors.iter().map(|set| Kernels { vectors: *set, tiles: None });
        f32.chain(tiles.map(|set| Kernels { vectors: best, tiles: Some(set) })).collect()
    }

    /// The set of that name, if this processor can run it.
    pub fn named(name: &str) -> Option<Kernels> {
        Kernels::available().into_iter().find(|kernels| kernels.name() == name)
    }

    /// For logs and settings; no result depends on it beyond the arithmetic.
    pub fn name(self) -> &'static str {
        match (self.tiles, self.vectors) {
            (None, Vectors::Portable) => "portable",
            #[cfg(target_arch = "x86_64")]
            (None, Vectors::Avx2) => "avx2",
            #[cfg(target_arch = "x86_64")]
            (None, Vectors::Avx512) => "avx512",
            (Some(Tiles::Portable), _) => "bf16x3-portable",
            #[cfg(target_arch = "x86_64")]
            (Some(Tiles::Amx), _) => "amx",
        }
    }

    pub fn arithmetic(self) -> Arithmetic {
        if self.tiles.is_some() { Arithmetic::Bf16x3 } else { Arithmetic::F32 }
    }

    /// Computes a product into `out`.
    ///
    /// # Panics
    /// When a slice does not have the length that the shapes ask for.
    pub fn product(self, product: &Product, out: &mut [f32], work: &mut Work) {
        product.check(self.arithmetic(), out.len());
        // SAFETY: lengths were checked, and kernels write nothing but numbers.
        unsafe { self.product_into(product, room(out), work) };
    }

    /// The same with channels last behind what `out` holds already, so that memory for it need not be filled before.
    ///
    /// # Panics
    /// When a slice does not have the length that the shapes ask for, or the result is to lie in blocks.
    pub fn product_append(self, product: &Product, out: &mut Vec<f32>, work: &mut Work) {
        assert_eq!(product.layout, Layout::ChannelsLast, "a result with gaps");
        let numbers = product.x.pixels.checked_mul(product.channels).expect("a result within memory");
        product.check(self.arithmetic(), numbers);
        // SAFETY: lengths were checked, and kernels write every number of a result with channels last.
        unsafe { append(out, numbers, |room| self.product_into(product, room, work)) };
    }

    /// # Safety
    /// `product` was checked, for so many numbers as `out` has room for.
    unsafe fn product_into(self, product: &Product, out: &mut [MaybeUninit<f32>], work: &mut Work) {
        if product.x.pixels == 0 || product.channels == 0 {
            return;
        }
        // SAFETY: a `Kernels` exists only where its instructions do, and the caller has checked all lengths.
        unsafe {
            match (self.tiles, self.vectors) {
                (None, Vectors::Portable) => product::product::<lanes::Portable>(product, out),
                #[cfg(target_arch = "x86_64")]
                (None, Vectors::Avx2) => x86::product_avx2(product, out),
                #[cfg(target_arch = "x86_64")]
                (None, Vectors::Avx512) => x86::product_avx512(product, out),
                (Some(Tiles::Portable), Vectors::Portable) => tiles::product(product, out),
                // Multiply-adds are one instruction there, so the plain loops become many times as fast.
                #[cfg(target_arch = "x86_64")]
                (Some(Tiles::Portable), _) => x86::tiles_avx2(product, out),
                #[cfg(target_arch = "x86_64")]
                (Some(Tiles::Amx), _) => amx::product(product, out, work),
            }
        }
        // Only tiles need it, and not every processor could have them.
        let _ = work;
    }

    /// Computes a product of pixels in pairs into `out`.
    ///
    /// # Panics
    /// When a slice does not have the length that the shapes ask for, or these kernels compute no f32.
    pub fn pairs(self, product: &Pairs, out: &mut [f32]) {
        product.check(self.arithmetic(), out.len());
        // SAFETY: lengths were checked, and kernels write nothing but numbers.
        unsafe { self.pairs_into(product, room(out)) };
    }

    /// The same behind what `out` holds already, so that memory for it need not be filled before.
    ///
    /// # Panics
    /// When a slice does not have the length that the shapes ask for, or these kernels compute no f32.
    pub fn pairs_append(self, product: &Pairs, out: &mut Vec<f32>) {
        let numbers = product.pixels.checked_mul(product.channels).expect("a result within memory");
        product.check(self.arithmetic(), numbers);
        // SAFETY: lengths were checked, and kernels write every number.
        unsafe { append(out, numbers, |room| self.pairs_into(product, room)) };
    }

    /// # Safety
    /// `product` was checked, for so many numbers as `out` has room for.
    unsafe fn pairs_into(self, product: &Pairs, out: &mut [MaybeUninit<f32>]) {
        if out.is_empty() {
            return;
        }
        // SAFETY: a `Kernels` exists only where its instructions do, and the caller has checked all lengths.
        unsafe {
            match self.vectors {
                Vectors::Portable => pairs::pairs::<lanes::Portable>(product, out),
                #[cfg(target_arch = "x86_64")]
                Vectors::Avx2 => x86::pairs_avx2(product, out),
                #[cfg(target_arch = "x86_64")]
                Vectors::Avx512 => x86::pairs_avx512(product, out),
            }
        }
    }

    /// Computes a product of split pixels into `out`.
    ///
    /// # Panics
    /// When a slice does not have the length that the shapes ask for, or these kernels compute no bf16x3.
    pub fn halves(self, product: &Halves, out: &mut [f32]) {
        product.check(self.arithmetic(), out.len());
        // SAFETY: lengths were checked, and kernels write nothing but numbers.
        unsafe { self.halves_into(product, room(out)) };
    }

    /// The same behind what `out` holds already, so that memory for it need not be filled before.
    ///
    /// # Panics
    /// When a slice does not have the length that the shapes ask for, or these kernels compute no bf16x3.
    pub fn halves_append(self, product: &Halves, out: &mut Vec<f32>) {
        let numbers = product.pixels.checked_mul(product.channels).expect("a result within memory");
        product.check(self.arithmetic(), numbers);
        // SAFETY: lengths were checked, and kernels write every number.
        unsafe { append(out, numbers, |room| self.halves_into(product, room)) };
    }

    /// # Safety
    /// `product` was checked, for so many numbers as `out` has room for.
    unsafe fn halves_into(self, product: &Halves, out: &mut [MaybeUninit<f32>]) {
        if out.is_empty() {
            return;
        }
        // SAFETY: a `Kernels` exists only where its instructions do, and the caller has checked all lengths.
        unsafe {
            match (self.tiles, self.vectors) {
                (None, _) => unreachable!("the check lets only kernels with tiles pass"),
                (Some(Tiles::Portable), Vectors::Portable) => tiles::halves(product, out),
                #[cfg(target_arch = "x86_64")]
                (Some(Tiles::Portable), _) => x86::tiles_halves_avx2(product, out),
                #[cfg(target_arch = "x86_64")]
                (Some(Tiles::Amx), _) => amx::halves(product, out),
            }
        }
    }

    /// Computes rows of a depthwise convolution into `out`.
    ///
    /// # Panics
    /// When a slice does not have the length that the shapes ask for.
    pub fn depthwise(self, conv: &Depthwise, out: &mut [f32]) {
        conv.check(out.len());
        if out.is_empty() {
            return;
        }
        // SAFETY: all lengths were checked above; columns are checked against `width` where they are computed.
        unsafe {
            match conv.form {
                Form::ChannelsLast => self.depthwise_as::<{ depthwise::LAST }>(conv, out),
                Form::Pairs => self.depthwise_as::<{ depthwise::PAIRS }>(conv, out),
                Form::Halves => self.depthwise_as::<{ depthwise::HALVES }>(conv, out),
            }
        }
    }

    /// # Safety
    /// `conv` was checked, and is of that form.
    unsafe fn depthwise_as<const FORM: depthwise::Forms>(self, conv: &Depthwise, out: &mut [f32]) {
        // SAFETY: a `Kernels` exists only where its instructions do, and what splits with AVX-512 is asked for here.
        unsafe {
            match self.vectors {
                Vectors::Portable => depthwise::depthwise::<lanes::Portable, FORM>(conv, out),
                #[cfg(target_arch = "x86_64")]
                Vectors::Avx2 => x86::depthwise_avx2::<FORM>(conv, out),
                #[cfg(target_arch = "x86_64")]
                Vectors::Avx512 => {
                    if FORM != depthwise::HALVES {
                        x86::depthwise_avx512::<FORM>(conv, out);
                    } else if lanes::Avx512::splits() {
                        x86::split_avx512(conv, out);
                    } else {
                        x86::depthwise_avx2::<FORM>(conv, out);
                    }
                }
            }
        }
    }

    /// The mean over all pixels of each channel: a chain of additions in pixel order, divided once.
    ///
    /// # Panics
    /// When `pixels` is no whole number of pixels, or none.
    pub fn mean(self, pixels: &[f32], out: &mut [f32]) {
        assert!(
            !out.is_empty() && !pixels.is_empty() && pixels.len().is_multiple_of(out.len()),
            "pixels of another shape"
        );
        // SAFETY: a `Kernels` exists only where its instructions do.
        unsafe {
            match self.vectors {
                Vectors::Portable => mean::mean(pixels, out),
                #[cfg(target_arch = "x86_64")]
                Vectors::Avx2 => x86::mean_avx2(pixels, out),
                #[cfg(target_arch = "x86_64")]
                Vectors::Avx512 => x86::mean_avx512(pixels, out),
            }
        }
    }
}

/// Lets so many numbers be written behind those that are there.
///
/// # Safety
/// `write` must write all of them.
unsafe fn append(out: &mut Vec<f32>, numbers: usize, write: impl FnOnce(&mut [MaybeUninit<f32>])) {
    out.reserve(numbers);
    write(&mut out.spare_capacity_mut()[..numbers]);
    // SAFETY: there is room for them, and the caller's promise.
    unsafe { out.set_len(out.len() + numbers) };
}

/// Numbers as memory that may hold numbers.
///
/// # Safety
/// Nothing else may be written to it.
unsafe fn room(numbers: &mut [f32]) -> &mut [MaybeUninit<f32>] {
    // SAFETY: the two are laid out alike, and the caller keeps them numbers.
    unsafe { &mut *(numbers as *mut [f32] as *mut [MaybeUninit<f32>]) }
}

/// The generic kernels, compiled once for each instruction set.
#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::mem::MaybeUninit;

    use super::lanes::{Avx2, Avx512};
    use super::{Depthwise, Halves, Pairs, Product, depthwise, mean, pairs, product, tiles};

    /// # Safety
    /// As for [`product::product`].
    #[target_feature(enable = "avx2,fma")]
    pub unsafe fn product_avx2(p: &Product, out: &mut [MaybeUninit<f32>]) {
        // SAFETY: passed on.
        unsafe { product::product::<Avx2>(p, out) }
    }

    /// # Safety
    /// As for [`product::product`].
    #[target_feature(enable = "avx2,fma,avx512f")]
    pub unsafe fn product_avx512(p: &Product, out: &mut [MaybeUninit<f32>]) {
        // SAFETY: passed on.
        unsafe { product::product::<Avx512>(p, out) }
    }

    /// # Safety
    /// As for [`pairs::pairs`].
    #[target_feature(enable = "avx2,fma")]
    pub unsafe fn pairs_avx2(p: &Pairs, out: &mut [MaybeUninit<f32>]) {
        // SAFETY: passed on.
        unsafe { pairs::pairs::<Avx2>(p, out) }
    }

    /// # Safety
    /// As for [`pairs::pairs`].
    #[target_feature(enable = "avx2,fma,avx512f")]
    pub unsafe fn pairs_avx512(p: &Pairs, out: &mut [MaybeUninit<f32>]) {
        // SAFETY: passed on.
        unsafe { pairs::pairs::<Avx512>(p, out) }
    }

    /// # Safety
    /// As for [`product::product`].
    #[target_feature(enable = "avx2,fma")]
    pub unsafe fn tiles_avx2(p: &Product, out: &mut [MaybeUninit<f32>]) {
        tiles::product(p, out);
    }

    /// # Safety
    /// As for [`product::product`].
    #[target_feature(enable = "avx2,fma")]
    pub unsafe fn tiles_halves_avx2(p: &Halves, out: &mut [MaybeUninit<f32>]) {
        tiles::halves(p, out);
    }

    /// # Safety
    /// As for [`depthwise::depthwise`].
    #[target_feature(enable = "avx2,fma")]
    pub unsafe fn depthwise_avx2<const FORM: depthwise::Forms>(conv: &Depthwise, out: &mut [f32]) {
        // SAFETY: passed on.
        unsafe { depthwise::depthwise::<Avx2, FORM>(conv, out) }
    }

    /// # Safety
    /// As for [`depthwise::depthwise`].
    #[target_feature(enable = "avx2,fma,avx512f")]
    pub unsafe fn depthwise_avx512<const FORM: depthwise::Forms>(conv: &Depthwise, out: &mut [f32]) {
        // SAFETY: passed on.
        unsafe { depthwise::depthwise::<Avx512, FORM>(conv, out) }
    }

    /// # Safety
    /// As for [`depthwise::depthwise`].
    #[target_feature(enable = "avx2,fma,avx512f,avx512bw,avx512bf16")]
    pub unsafe fn split_avx512(conv: &Depthwise, out: &mut [f32]) {
        // SAFETY: passed on.
        unsafe { depthwise::depthwise::<Avx512, { depthwise::HALVES }>(conv, out) }
    }

    #[target_feature(enable = "avx2,fma")]
    pub fn mean_avx2(pixels: &[f32], out: &mut [f32]) {
        mean::mean(pixels, out);
    }

    #[target_feature(enable = "avx2,fma,avx512f")]
    pub fn mean_avx512(pixels: &[f32], out: &mut [f32]) {
        mean::mean(pixels, out);
    }
}
