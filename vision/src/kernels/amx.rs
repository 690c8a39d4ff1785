//! Split products on the matrix tiles of Intel's AMX, which stable Rust reaches through assembler only.
//!
//! A tile register holds 16 rows of 64 bytes. A block is two tiles of pixels by two of channels, its sums in tmm0 to tmm3,
//! inputs in tmm4 and tmm5, weights in tmm6 and tmm7: eight loads to twelve multiplications for every 32 of k. The order of
//! additions is that of [`super::tiles`], which tests compare with, bit for bit.

use std::arch::asm;
use std::arch::x86_64::*;
use std::mem::MaybeUninit;
use std::sync::OnceLock;

use super::lanes::{Avx512, LANES, Lanes};
use super::pack::{TILE, TILE_DEPTH, packed_len};
use super::tiles::{Target, halves_len};
use super::{Arithmetic, Clamp, Halves, Layout, Patches, Product, Work};

/// Rows of a tile register.
const ROWS: usize = 16;

/// Whether this process may use tiles: the processor has them, and the system has given its permission.
pub(super) fn allowed() -> bool {
    static ALLOWED: OnceLock<bool> = OnceLock::new();
    *ALLOWED.get_or_init(|| in_hardware() && permitted())
}

fn in_hardware() -> bool {
    // Leaf 7 of CPUID: AMX-BF16 and AMX-TILE. XCR0: whether the system saves tile configuration and data.
    const BF16_AND_TILE: u32 = 1 << 22 | 1 << 24;
    const SAVED: u64 = 1 << 17 | 1 << 18;
    if !Avx512::splits() || __cpuid(0).eax < 7 || __cpuid_count(7, 0).edx & BF16_AND_TILE != BF16_AND_TILE {
        return false;
    }
    // SAFETY: a processor with AVX-512 has XGETBV, and its system has switched it on.
    unsafe { xcr0() & SAVED == SAVED }
}

#[target_feature(enable = "xsave")]
unsafe fn xcr0() -> u64 {
    // SAFETY: passed on.
    unsafe { _xgetbv(0) }
}

/// Asks Linux for tile data, once for the process and all its threads; kernels before 5.16 refuse.
fn permitted() -> bool {
    const SYS_ARCH_PRCTL: i64 = 158;
    const ARCH_REQ_XCOMP_PERM: i64 = 0x1023;
    const XFEATURE_XTILEDATA: i64 = 18;
    if !cfg!(target_os = "linux") {
        return false;
    }
    let answer: i64;
    // SAFETY: the call reads no memory of ours and changes nothing but the permission.
    unsafe {
        asm!(
            "syscall",
            inlateout("rax") SYS_ARCH_PRCTL => answer,
            in("rdi") ARCH_REQ_XCOMP_PERM,
            in("rsi") XFEATURE_XTILEDATA,
            lateout("rcx") _,
            lateout("r11") _,
            options(nostack),
        );
    }
    answer == 0
}

/// The product over all pixels and channels.
///
/// # Safety
/// [`allowed`] must have said yes; `Kernels::product` has checked every length.
#[target_feature(enable = "avx512f,avx512bw,avx512bf16,avx2,fma")]
pub(super) unsafe fn product(product: &Product, out: &mut [MaybeUninit<f32>], work: &mut Work) {
    let target = Target::of(product);
    let cut = Cut::of(product.x.pixels);
    let pixel_len = halves_len(target.depth);
    let (halves, pieces) = work.halves(2 * cut.rows * pixel_len);
    cut_into(pieces, &product.x);
    // SAFETY: the caller's promise; a pair of tiles is split into as many halves as there is room for.
    unsafe {
        run(&target, cut, out, |starts| {
            for (start, halves) in starts.iter().zip(halves.chunks_exact_mut(cut.rows * pixel_len)) {
                split_pixels(&product.x, pieces, *start, halves);
            }
            [0, 1].map(|tile| halves.as_ptr().wrapping_add(tile * cut.rows * pixel_len))
        });
    }
}

/// The same of pixels that are split already.
///
/// # Safety
/// [`allowed`] must have said yes; `Kernels::halves` has checked every length.
#[target_feature(enable = "avx512f,avx512bw,avx512bf16,avx2,fma")]
pub(super) unsafe fn halves(product: &Halves, out: &mut [MaybeUninit<f32>]) {
    let target = Target::of_halves(product);
    let halves: *const u16 = product.values.as_ptr().cast();
    // SAFETY: the caller's promise; there are halves for all pixels.
    unsafe {
        run(&target, Cut::of(product.pixels), out, |starts| {
            let at = |tile: usize| halves.wrapping_add(starts.get(tile).unwrap_or(&0) * halves_len(target.depth));
            [0, 1].map(at)
        });
    }
}

/// How pixels are cut into tiles.
#[derive(Clone, Copy)]
struct Cut {
    pixels: usize,
    tiles: usize,
    /// Of each tile.
    rows: usize,
}

impl Cut {
    /// Evenly: 49 pixels are four tiles of 13 rows. The last tile may overlap its neighbour and make the same numbers.
    fn of(pixels: usize) -> Cut {
        let tiles = pixels.div_ceil(ROWS);
        Cut { pixels, tiles, rows: pixels.div_ceil(tiles) }
    }

    fn start(&self, tile: usize) -> usize {
        (tile * self.rows).min(self.pixels - self.rows)
    }
}

/// All tiles, two by two. `halves` says where the halves of one or two tiles lie that start at these pixels.
///
/// # Safety
/// [`allowed`] must have said yes, weights and result must be as long as the target says, and halves as the cut says.
#[target_feature(enable = "avx512f,avx512bw,avx512bf16,avx2,fma")]
unsafe fn run(
    target: &Target,
    cut: Cut,
    out: &mut [MaybeUninit<f32>],
    mut halves: impl FnMut(&[usize]) -> [*const u16; 2],
) {
    let Target { depth, weights, channels, clamp, residual, layout } = *target;
    let Cut { tiles, rows, .. } = cut;
    let group_len = packed_len(Arithmetic::Bf16x3, depth, LANES);
    let groups = channels.div_ceil(LANES);
    let mut sums = Sums([0.0; 4 * ROWS * LANES]);
    let out: *mut f32 = out.as_mut_ptr().cast();
    // SAFETY: the caller's promise; each block reads `rows` pixels of halves for each of its tiles, and groups of weights
    // that lie within `weights`.
    unsafe {
        Config::of(rows as u8).load();
        for tile in (0..tiles).step_by(2) {
            let starts = [0, 1].map(|i| cut.start(tile + i));
            let count = (tiles - tile).min(2);
            let inputs = halves(&starts[..count]);
            for group in (0..groups).step_by(2) {
                let pair = (groups - group).min(2);
                let weights = weights.as_ptr().add(group * group_len);
                // Whole groups beside each other that nothing is done to go where they belong at once.
                let straight = clamp == Clamp::NONE
                    && residual.is_none()
                    && layout == Layout::ChannelsLast
                    && channels >= (group + pair) * LANES;
                let block = Block {
                    inputs,
                    input_stride: halves_len(depth) * size_of::<u16>(),
                    weights: [weights, weights.wrapping_add(group_len)],
                    steps: depth.div_ceil(TILE_DEPTH),
                    sums: match straight {
                        true => [0, 1].map(|i| out.wrapping_add(starts[i] * channels + group * LANES)),
                        false => [0, 1].map(|i| sums.0.as_mut_ptr().wrapping_add(i * ROWS * 2 * LANES)),
                    },
                    sum_stride: size_of::<f32>() * if straight { channels } else { 2 * LANES },
                };
                match (count, pair) {
                    (2, 2) => block.two_by_two(),
                    (2, _) => block.two_by_one(),
                    (_, 2) => block.one_by_two(),
                    _ => block.one_by_one(),
                }
                if straight {
                    continue;
                }
                for (start, sums) in starts[..count].iter().zip(sums.0.chunks_exact(ROWS * 2 * LANES)) {
                    put_down(target, *start, rows, group, sums, out);
                }
            }
        }
        // Tiles in use make a thread dearer to switch.
        asm!("tilerelease", options(nomem, nostack, preserves_flags));
    }
}

/// Clamps the sums of so many pixels for a pair of groups, adds the residual, and writes them where they belong.
///
/// # Safety
/// The processor must have AVX-512, pixels and groups must lie within the result, and sums be rows of two groups.
#[target_feature(enable = "avx512f,avx2,fma")]
unsafe fn put_down(target: &Target, start: usize, rows: usize, group: usize, sums: &[f32], out: *mut f32) {
    let Target { channels, clamp, residual, layout, .. } = *target;
    let (stride, apart) = layout.strides(channels);
    let lanes = (layout.written(channels) - group * LANES).min(2 * LANES);
    for (row, sums) in sums.chunks_exact(2 * LANES).take(rows).enumerate() {
        for first in (0..lanes).step_by(LANES) {
            let at = (start + row) * stride + (group + first / LANES) * apart;
            let some = (lanes - first).min(LANES);
            // SAFETY: the caller's promise.
            unsafe {
                let value = Avx512::load(sums.as_ptr().add(first));
                let mut value = value.clamp(Avx512::splat(clamp.low), Avx512::splat(clamp.high));
                if let Some(residual) = residual {
                    value = value.add(Avx512::load_first(residual.as_ptr().add(at), some));
                }
                if some == LANES { value.store(out.add(at)) } else { value.store_first(out.add(at), some) }
            }
        }
    }
}

/// A block's sums on their way from tiles to vectors: 32 rows of 32.
#[repr(align(64))]
struct Sums([f32; 4 * ROWS * LANES]);

/// Shapes of the tile registers: palette 1 of `LDTILECFG`.
#[repr(C, align(64))]
struct Config {
    palette: u8,
    start_row: u8,
    reserved: [u8; 14],
    row_bytes: [u16; 16],
    rows: [u8; 16],
}

impl Config {
    /// Sums and inputs of so many pixels, whole tiles of weights.
    fn of(pixels: u8) -> Config {
        let mut config = Config { palette: 1, start_row: 0, reserved: [0; 14], row_bytes: [0; 16], rows: [0; 16] };
        config.row_bytes[..8].fill(64);
        config.rows[..6].fill(pixels);
        config.rows[6..8].fill(ROWS as u8);
        config
    }

    /// # Safety
    /// [`allowed`] must have said yes.
    unsafe fn load(&self) {
        // SAFETY: the caller's promise, and 64 bytes to read.
        unsafe { asm!("ldtilecfg [{}]", in(reg) self, options(readonly, nostack, preserves_flags)) }
    }
}

/// Where one block of tiles reads and writes. Second ones are not touched by a block that has none.
struct Block {
    inputs: [*const u16; 2],
    /// Strides are of bytes.
    input_stride: usize,
    weights: [*const f32; 2],
    /// How often 32 of k.
    steps: usize,
    sums: [*mut f32; 2],
    sum_stride: usize,
}

/// The four shapes of a block. All run over k in the same way; only how many tiles take piece differs.
macro_rules! block {
    ($name:ident, [$($start:literal),+], [$($step:literal),+], [$($end:literal),+], $($second:ident),*) => {
        /// # Safety
        /// Tiles must be configured, and the pointers good for what the block reads and writes.
        unsafe fn $name(&self) {
            let Block { inputs, input_stride, weights, steps, sums, sum_stride } = *self;
            // SAFETY: passed on.
            unsafe {
                asm!(
                    $($start,)+
                    "2:",
                    $($step,)+
                    "dec {steps}",
                    "jnz 2b",
                    $($end,)+
                    x0 = inout(reg) inputs[0] => _,
                    w0 = inout(reg) weights[0] => _,
                    xs = in(reg) input_stride,
                    ws = in(reg) 64usize,
                    // Biases are one row, loaded sixteen times. An address without an index would mean the same, but
                    // emulators are known to read the stack pointer there.
                    zero = in(reg) 0usize,
                    steps = inout(reg) steps => _,
                    s0 = in(reg) sums[0],
                    ss = in(reg) sum_stride,
                    $($second = inout(reg) block!(@ $second inputs weights sums) => _,)*
                    out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
                    out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
                    options(nostack),
                );
            }
        }
    };
    (@ x1 $inputs:ident $weights:ident $sums:ident) => { $inputs[1] };
    (@ w1 $inputs:ident $weights:ident $sums:ident) => { $weights[1] };
    (@ s1 $inputs:ident $weights:ident $sums:ident) => { $sums[1] };
}

impl Block {
    block!(
        two_by_two,
        [
            "tileloadd tmm0, [{w0} + {zero}]",
            "tileloadd tmm1, [{w1} + {zero}]",
            "tileloadd tmm2, [{w0} + {zero}]",
            "tileloadd tmm3, [{w1} + {zero}]",
            "add {w0}, 64",
            "add {w1}, 64"
        ],
        [
            "tileloadd tmm4, [{x0} + {xs}]",
            "tileloadd tmm6, [{w0} + {ws} + 1024]",
            "tdpbf16ps tmm0, tmm4, tmm6",
            "tileloadd tmm7, [{w1} + {ws} + 1024]",
            "tdpbf16ps tmm1, tmm4, tmm7",
            "tileloadd tmm5, [{x1} + {xs}]",
            "tdpbf16ps tmm2, tmm5, tmm6",
            "tdpbf16ps tmm3, tmm5, tmm7",
            "tileloadd tmm6, [{w0} + {ws}]",
            "tdpbf16ps tmm0, tmm4, tmm6",
            "tileloadd tmm7, [{w1} + {ws}]",
            "tdpbf16ps tmm1, tmm4, tmm7",
            "tdpbf16ps tmm2, tmm5, tmm6",
            "tdpbf16ps tmm3, tmm5, tmm7",
            "tileloadd tmm4, [{x0} + {xs} + 64]",
            "tdpbf16ps tmm0, tmm4, tmm6",
            "tdpbf16ps tmm1, tmm4, tmm7",
            "tileloadd tmm5, [{x1} + {xs} + 64]",
            "tdpbf16ps tmm2, tmm5, tmm6",
            "tdpbf16ps tmm3, tmm5, tmm7",
            "add {x0}, 128",
            "add {x1}, 128",
            "add {w0}, 2048",
            "add {w1}, 2048"
        ],
        [
            "tilestored [{s0} + {ss}], tmm0",
            "tilestored [{s0} + {ss} + 64], tmm1",
            "tilestored [{s1} + {ss}], tmm2",
            "tilestored [{s1} + {ss} + 64], tmm3"
        ],
        x1,
        w1,
        s1
    );

    block!(
        two_by_one,
        ["tileloadd tmm0, [{w0} + {zero}]", "tileloadd tmm2, [{w0} + {zero}]", "add {w0}, 64"],
        [
            "tileloadd tmm4, [{x0} + {xs}]",
            "tileloadd tmm6, [{w0} + {ws} + 1024]",
            "tdpbf16ps tmm0, tmm4, tmm6",
            "tileloadd tmm5, [{x1} + {xs}]",
            "tdpbf16ps tmm2, tmm5, tmm6",
            "tileloadd tmm7, [{w0} + {ws}]",
            "tdpbf16ps tmm0, tmm4, tmm7",
            "tdpbf16ps tmm2, tmm5, tmm7",
            "tileloadd tmm4, [{x0} + {xs} + 64]",
            "tdpbf16ps tmm0, tmm4, tmm7",
            "tileloadd tmm5, [{x1} + {xs} + 64]",
            "tdpbf16ps tmm2, tmm5, tmm7",
            "add {x0}, 128",
            "add {x1}, 128",
            "add {w0}, 2048"
        ],
        ["tilestored [{s0} + {ss}], tmm0", "tilestored [{s1} + {ss}], tmm2"],
        x1,
        s1
    );

    block!(
        one_by_two,
        ["tileloadd tmm0, [{w0} + {zero}]", "tileloadd tmm1, [{w1} + {zero}]", "add {w0}, 64", "add {w1}, 64"],
        [
            "tileloadd tmm4, [{x0} + {xs}]",
            "tileloadd tmm6, [{w0} + {ws} + 1024]",
            "tdpbf16ps tmm0, tmm4, tmm6",
            "tileloadd tmm7, [{w1} + {ws} + 1024]",
            "tdpbf16ps tmm1, tmm4, tmm7",
            "tileloadd tmm6, [{w0} + {ws}]",
            "tdpbf16ps tmm0, tmm4, tmm6",
            "tileloadd tmm7, [{w1} + {ws}]",
            "tdpbf16ps tmm1, tmm4, tmm7",
            "tileloadd tmm5, [{x0} + {xs} + 64]",
            "tdpbf16ps tmm0, tmm5, tmm6",
            "tdpbf16ps tmm1, tmm5, tmm7",
            "add {x0}, 128",
            "add {w0}, 2048",
            "add {w1}, 2048"
        ],
        ["tilestored [{s0} + {ss}], tmm0", "tilestored [{s0} + {ss} + 64], tmm1"],
        w1
    );

    block!(
        one_by_one,
        ["tileloadd tmm0, [{w0} + {zero}]", "add {w0}, 64"],
        [
            "tileloadd tmm4, [{x0} + {xs}]",
            "tileloadd tmm6, [{w0} + {ws} + 1024]",
            "tdpbf16ps tmm0, tmm4, tmm6",
            "tileloadd tmm7, [{w0} + {ws}]",
            "tdpbf16ps tmm0, tmm4, tmm7",
            "tileloadd tmm5, [{x0} + {xs} + 64]",
            "tdpbf16ps tmm0, tmm5, tmm7",
            "add {x0}, 128",
            "add {w0}, 2048"
        ],
        ["tilestored [{s0} + {ss}], tmm0"],
    );
}

/// What of a pixel's vector lies in a row in memory, and goes to which lanes of two vectors.
#[derive(Clone, Copy, Debug)]
pub(super) struct Piece {
    /// Where the first lane of the first vector would lie, in numbers from the pixel's first on, perhaps before it.
    at: isize,
    /// A bit for each lane that is there.
    lanes: [u16; 2],
    /// Whether the two vectors are full with it.
    last: bool,
}

/// How pixels are cut into vectors, for every 32 of k.
fn cut_into(pieces: &mut Vec<Piece>, x: &Patches) {
    pieces.clear();
    for k in (0..x.depth()).step_by(TILE_DEPTH) {
        for (index, segment) in x.segments.iter().enumerate() {
            let begins = index * x.segment_len;
            // Lanes in front of a place in the pixel's vector.
            let before = |place: usize| (1u64 << place.saturating_sub(k).min(TILE_DEPTH)) - 1;
            let lanes = before(begins + x.segment_len) & !before(begins);
            if lanes != 0 {
                let at = *segment as isize + k as isize - begins as isize;
                pieces.push(Piece { at, lanes: [lanes as u16, (lanes >> LANES) as u16], last: false });
            }
        }
        pieces.last_mut().expect("a piece for every k").last = true;
    }
}

/// Puts down the halves of neighbours from that pixel on, zeros after each, as [`super::tiles::split_pixel`] does.
///
/// # Safety
/// [`Avx512::splits`] must have said yes, the pixels must lie within their values, and the pieces be those of these patches.
#[target_feature(enable = "avx512f,avx512bw,avx512bf16,avx2,fma")]
unsafe fn split_pixels(x: &Patches, pieces: &[Piece], first: usize, halves: &mut [u16]) {
    let from = x.values.as_ptr().wrapping_add(first * x.stride);
    // SAFETY: the caller's promise.
    unsafe {
        match *pieces {
            // In a loop of its own, where the lanes stay in mask registers.
            [one] => split_lines([one], from, x.stride, halves),
            [one, two, three] if !one.last && !two.last => split_lines([one, two, three], from, x.stride, halves),
            _ => {
                for (pixel, halves) in halves.chunks_exact_mut(halves_len(x.depth())).enumerate() {
                    let mut halves = halves.chunks_exact_mut(2 * TILE_DEPTH);
                    for pieces in pieces.split_inclusive(|piece| piece.last) {
                        let line = halves.next().expect("a line for every 32 of k");
                        split_line(pieces, from.wrapping_add(pixel * x.stride), line);
                    }
                }
            }
        }
    }
}

/// Pixels of one line each.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512bf16,avx2,fma")]
unsafe fn split_lines<const PIECES: usize>(
    pieces: [Piece; PIECES],
    from: *const f32,
    stride: usize,
    halves: &mut [u16],
) {
    for (pixel, line) in halves.chunks_exact_mut(2 * TILE_DEPTH).enumerate() {
        // SAFETY: passed on from `split_pixels`.
        unsafe { split_line(&pieces, from.wrapping_add(pixel * stride), line) };
    }
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512bf16,avx2,fma")]
unsafe fn split_line(pieces: &[Piece], from: *const f32, line: &mut [u16]) {
    // SAFETY: passed on from `split_pixels`.
    unsafe {
        let (mut these, mut those) = (Avx512::splat(0.0), Avx512::splat(0.0));
        for piece in pieces {
            let from = from.wrapping_offset(piece.at);
            these = these.load_lanes(from, piece.lanes[0]);
            those = those.load_lanes(from.wrapping_add(LANES), piece.lanes[1]);
        }
        these.put_halves(those, line.as_mut_ptr().cast());
    }
}

// What the assembler counts on.
const _: () = assert!(TILE * size_of::<f32>() == 1024 && LANES * size_of::<f32>() == 64 && TILE_DEPTH * 2 == 64);

#[cfg(test)]
mod tests {
    use super::super::{Patches, tiles};
    use super::*;

    /// What becomes of sums needs no tiles either.
    #[test]
    fn sums_are_put_down_where_they_belong() {
        if !is_x86_feature_detected!("avx512f") {
            eprintln!("SKIPPED: this processor has no AVX-512");
            return;
        }
        for (pixels, channels) in [(1, 1), (16, 16), (17, 24), (33, 40), (49, 32), (49, 70)] {
            let groups = usize::div_ceil(channels, LANES);
            let residual: Vec<f32> = (0..pixels * channels).map(|at| at as f32 / 64.0).collect();
            let blocked = Layout::Blocked { apart: pixels * LANES + 5 };
            for (layout, residual) in
                [(Layout::ChannelsLast, None), (Layout::ChannelsLast, Some(residual.as_slice())), (blocked, None)]
            {
                let clamp = Clamp { low: -1.0, high: 3000.0 };
                let target = Target { depth: 1, weights: &[], channels, clamp, residual, layout };
                let sum_of = |pixel: usize, channel: usize| (pixel * 100 + channel) as f32 - 50.0;
                let len = match layout {
                    Layout::ChannelsLast => pixels * channels,
                    Layout::Blocked { apart } => (groups - 1) * apart + pixels * LANES,
                };
                let mut out = vec![f32::NAN; len];
                let cut = Cut::of(pixels);
                for start in (0..cut.tiles).map(|tile| cut.start(tile)) {
                    for group in (0..groups).step_by(2) {
                        let at = |at: usize| sum_of(start + at / (2 * LANES), group * LANES + at % (2 * LANES));
                        let sums: Vec<f32> = (0..ROWS * 2 * LANES).map(at).collect();
                        // SAFETY: the processor was asked, and all lies within `out`.
                        unsafe { put_down(&target, start, cut.rows, group, &sums, out.as_mut_ptr()) };
                    }
                }
                for (pixel, channel) in (0..pixels).flat_map(|p| (0..channels).map(move |c| (p, c))) {
                    let (stride, apart) = layout.strides(channels);
                    let is = out[pixel * stride + channel / LANES * apart + channel % LANES];
                    let ought = sum_of(pixel, channel).clamp(clamp.low, clamp.high)
                        + residual.map_or(0.0, |residual| residual[pixel * channels + channel]);
                    assert_eq!(is, ought, "{pixel}, {channel} of {pixels} x {channels}, {layout:?}");
                }
                if let Layout::Blocked { apart } = layout {
                    let between = |at: &usize| at % apart >= pixels * LANES;
                    assert!((0..len).filter(between).all(|at| out[at].is_nan()), "written between groups");
                }
            }
        }
    }

    /// The splitting needs no tiles, and more processors have it than have them.
    #[test]
    fn pixels_are_split_as_the_definition_says() {
        if !Avx512::splits() {
            eprintln!("SKIPPED: this processor has no AVX512-BF16");
            return;
        }
        let mut state = 1u32;
        let mut bits = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            f32::from_bits(state.rotate_left(16) ^ state)
        };
        for (segments, segment_len) in [(1, 1), (1, 31), (1, 32), (1, 33), (1, 144), (2, 9), (3, 9), (3, 32), (2, 50)] {
            let starts: Vec<usize> = (0..segments).map(|s| s * (segment_len + 3)).collect();
            let stride = 5;
            let pixels = 200;
            let len = (pixels - 1) * stride + segments * (segment_len + 3);
            // All bits there are, infinities and NaN included.
            let values: Vec<f32> = (0..len).map(|_| bits()).collect();
            let x = Patches { values: &values, pixels, stride, segments: &starts, segment_len };
            let pixel_len = halves_len(x.depth());
            let (mut is, mut ought) = (vec![7; pixels * pixel_len], vec![8; pixel_len]);
            let mut pieces = Vec::new();
            cut_into(&mut pieces, &x);
            // SAFETY: the processor was asked, and the pixels lie within the values.
            unsafe { split_pixels(&x, &pieces, 0, &mut is) };
            for (pixel, is) in is.chunks_exact(pixel_len).enumerate() {
                tiles::split_pixel(&x, pixel, &mut ought);
                let number = |half: &u16| super::super::bf16::widened(*half);
                let same = |(a, b): (&u16, &u16)| a == b || number(a).is_nan() && number(b).is_nan();
                assert!(is.iter().zip(&ought).all(same), "{segments} x {segment_len}: {is:x?}\n{ought:x?}");
            }
        }
    }
}
