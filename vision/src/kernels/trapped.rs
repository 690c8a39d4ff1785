//! Tiles for processors that have none, for tests: their instructions are illegal there, which ends a process with SIGILL
//! unless somebody catches it. Here somebody does, reads the instruction, does what it says, and goes on behind it.
//!
//! So the assembler of [`super::amx`] is run to the letter on any processor with AVX512-BF16: registers, addresses, strides
//! and the order of sums. What the instructions do is written by Intel's manual (Software Developer's Manual, volume 2,
//! `LDTILECFG`, `TILELOADD`, `TILESTORED`, `TDPBF16PS`), and only those that occur are known.

#[path = "../../tests/common/guarded.rs"]
mod guarded;

use std::cell::RefCell;
use std::sync::Once;

use libc::{REG_R8, REG_R9, REG_R10, REG_R11, REG_R12, REG_R13, REG_R14, REG_R15, REG_RAX, REG_RBP, REG_RBX};
use libc::{REG_RCX, REG_RDI, REG_RDX, REG_RIP, REG_RSI, REG_RSP};

/// As instructions number them.
const GENERAL: [i32; 16] = [
    REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP, REG_RSI, REG_RDI, REG_R8, REG_R9, REG_R10, REG_R11, REG_R12,
    REG_R13, REG_R14, REG_R15,
];

const ROWS: usize = 16;
const ROW_BYTES: usize = 64;

/// A thread's tile registers.
struct State {
    configured: bool,
    rows: [u8; 8],
    row_bytes: [u16; 8],
    tiles: [[[u8; ROW_BYTES]; ROWS]; 8],
    /// Instructions that were done.
    done: u64,
}

thread_local! {
    static STATE: RefCell<State> = const {
        RefCell::new(State {
            configured: false,
            rows: [0; 8],
            row_bytes: [0; 8],
            tiles: [[[0; ROW_BYTES]; ROWS]; 8],
            done: 0,
        })
    };
}

/// From now on tile instructions work in this process. Says how many this thread has had done so far.
fn trap() -> u64 {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // SAFETY: the handler is good for this signal, and lets all but tile instructions end the process.
        unsafe {
            let mut action: libc::sigaction = std::mem::zeroed();
            action.sa_sigaction = illegal as *const () as usize;
            action.sa_flags = libc::SA_SIGINFO;
            assert_eq!(libc::sigaction(libc::SIGILL, &action, std::ptr::null_mut()), 0);
        }
    });
    STATE.with_borrow(|state| state.done)
}

extern "C" fn illegal(signal: i32, _: *mut libc::siginfo_t, context: *mut libc::c_void) {
    // SAFETY: the system hands over the thread's registers, and reads them again when this returns. The thread was at that
    // instruction, so nothing of its own is half-way; an illegal one comes again, and ends the process.
    unsafe {
        let registers = &mut (*context.cast::<libc::ucontext_t>()).uc_mcontext.gregs;
        match STATE.with_borrow_mut(|state| state.step(registers)) {
            Some(len) => registers[REG_RIP as usize] += len as i64,
            None => _ = libc::signal(signal, libc::SIG_DFL),
        }
    }
}

impl State {
    /// Does the instruction that the thread is at, and says how long it is. `None`: it is none of these.
    unsafe fn step(&mut self, registers: &[i64; 23]) -> Option<usize> {
        // SAFETY: an instruction is read that the processor has read, and memory that the thread meant to use.
        unsafe {
            let at = registers[REG_RIP as usize] as *const u8;
            let byte = |index: usize| *at.add(index);
            // VEX of three bytes, map 0F38, W0, 128 bits. Bits that extend register numbers are upside down.
            let (extend, other) = (!byte(1), byte(2));
            if byte(0) != 0xc4 || byte(1) & 0x1f != 2 || other & 0x84 != 0 {
                return None;
            }
            let (prefix, third) = (other & 3, usize::from(!other >> 3 & 15));
            let (opcode, modrm) = (byte(3), byte(4));
            let (mode, first, second) = (modrm >> 6, usize::from(modrm >> 3 & 7), usize::from(modrm & 7));
            let general =
                |number: usize, extension: u8| registers[GENERAL[number | usize::from(extension) << 3] as usize];
            const NONE: u8 = 0;
            const F3: u8 = 2;
            const F2: u8 = 3;
            self.done += 1;
            match (opcode, prefix, mode) {
                (0x49, NONE, 3) if modrm == 0xc0 => {
                    self.configured = false;
                    Some(5)
                }
                (0x49, NONE, 0) if first == 0 && second != 4 && second != 5 => {
                    let config = general(second, extend >> 5 & 1) as *const u8;
                    assert_eq!([*config, *config.add(1)], [1, 0], "palette 1, from the first row on");
                    for tile in 0..8 {
                        self.row_bytes[tile] = config.add(16 + 2 * tile).cast::<u16>().read_unaligned();
                        self.rows[tile] = *config.add(48 + tile);
                    }
                    self.tiles = [[[0; ROW_BYTES]; ROWS]; 8];
                    self.configured = true;
                    Some(5)
                }
                (0x4b, F2 | F3, 0..=2) if second == 4 => {
                    let (sib, len) = (byte(5), [6, 7, 10][usize::from(mode)]);
                    let (index, base) = (usize::from(sib >> 3 & 7), usize::from(sib & 7));
                    if mode == 0 && base == 5 {
                        return None;
                    }
                    let offset = match mode {
                        0 => 0,
                        1 => i64::from(byte(6) as i8),
                        _ => i64::from(at.add(6).cast::<i32>().read_unaligned()),
                    };
                    let index_extends = extend >> 6 & 1;
                    // That number means that there is none.
                    let stride =
                        if index == 4 && index_extends == 0 { 0 } else { general(index, index_extends) << (sib >> 6) };
                    let from = general(base, extend >> 5 & 1) + offset;
                    let bytes = self.check(first);
                    for row in 0..usize::from(self.rows[first]) {
                        let memory = (from + row as i64 * stride) as *mut u8;
                        let tile = &mut self.tiles[first][row];
                        if prefix == F2 {
                            tile.fill(0);
                            memory.copy_to_nonoverlapping(tile.as_mut_ptr(), bytes);
                        } else {
                            memory.copy_from_nonoverlapping(tile.as_ptr(), bytes);
                        }
                    }
                    Some(len)
                }
                (0x5c, F3, 3) => {
                    self.multiply(first, second, third);
                    Some(5)
                }
                _ => None,
            }
        }
    }

    /// Bytes of a row of a tile that may be used.
    fn check(&self, tile: usize) -> usize {
        let (rows, bytes) = (usize::from(self.rows[tile]), usize::from(self.row_bytes[tile]));
        assert!(self.configured && (1..=ROWS).contains(&rows) && (4..=ROW_BYTES).contains(&bytes), "no such tile");
        bytes
    }

    /// `TDPBF16PS`: sums of products of pairs, even and odd ones apart; numbers too small to be normal are zeros.
    fn multiply(&mut self, sums: usize, left: usize, right: usize) {
        let (columns, terms) = (self.check(sums) / 4, self.check(left) / 4);
        assert_eq!((self.check(right) / 4, usize::from(self.rows[right])), (columns, terms), "tiles of other shapes");
        assert_eq!(self.rows[sums], self.rows[left], "tiles of other shapes");
        let normal = |x: f32| if x.is_subnormal() { 0f32.copysign(x) } else { x };
        let half = |row: &[u8; ROW_BYTES], at: usize| {
            normal(f32::from_bits(u32::from(u16::from_le_bytes([row[2 * at], row[2 * at + 1]])) << 16))
        };
        for row in 0..usize::from(self.rows[sums]) {
            for column in 0..columns {
                let mut apart = [0f32; 2];
                for k in 0..terms {
                    for (odd, sum) in apart.iter_mut().enumerate() {
                        let x = half(&self.tiles[left][row], 2 * k + odd);
                        let w = half(&self.tiles[right][k], 2 * column + odd);
                        *sum = normal(x.mul_add(w, *sum));
                    }
                }
                let place = &mut self.tiles[sums][row][4 * column..][..4];
                let before = normal(f32::from_le_bytes(place.try_into().expect("four bytes")));
                place.copy_from_slice(&normal(before + normal(apart[0] + apart[1])).to_le_bytes());
            }
        }
    }
}

mod tests {
    use super::super::bf16::as_word;
    use super::super::lanes::Avx512;
    use super::super::tiles::{halves_len, split_pixel};
    use super::super::{
        Arithmetic, Clamp, Halves, Kernels, LANES, Layout, Patches, Product, Tiles, Vectors, Work, pack,
    };
    use super::guarded::{Guarded, Side};
    use super::*;
    use crate::{Network, Scratch, weights};

    /// What products on tiles need besides them.
    fn has_vectors() -> bool {
        let has = Avx512::splits();
        if !has {
            eprintln!("SKIPPED: this processor has no AVX512-BF16");
        }
        has
    }

    /// Tiles, real ones where there are.
    fn amx() -> Kernels {
        let real = Kernels::named("amx");
        if real.is_none() {
            trap();
        }
        real.unwrap_or(Kernels { vectors: Vectors::Avx512, tiles: Some(Tiles::Amx) })
    }

    fn plain() -> Kernels {
        Kernels::named("bf16x3-portable").expect("plain Rust runs anywhere")
    }

    fn bits(numbers: &[f32]) -> Vec<u32> {
        numbers.iter().map(|number| number.to_bits()).collect()
    }

    #[test]
    fn products_on_tiles_are_those_of_the_definition() {
        if !has_vectors() {
            return;
        }
        let (amx, before) = (amx(), trap());
        let mut state = 7u64;
        let mut draw = move || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) as usize
        };
        for case in 0..150 {
            let (pixels, channels) = (1 + draw() % 70, 1 + draw() % 80);
            let (segments, segment_len) = (1 + draw() % 3, 1 + draw() % 50);
            let depth = segments * segment_len;
            let starts: Vec<usize> = (0..segments).map(|s| s * (segment_len + 2)).collect();
            let stride = 1 + draw() % (depth + 1);
            // Of many sizes, so that a sum in another order is another sum.
            let mut numbers = |len: usize| -> Vec<f32> {
                let mut number = || (draw() % 2001) as f32 / 1000.0 - 1.0;
                (0..len).map(|at| number() * 2f32.powi((at % 12) as i32 - 6)).collect()
            };
            let values = numbers((pixels - 1) * stride + starts[segments - 1] + segment_len);
            let (bias, weights, residual) = (numbers(channels), numbers(depth * channels), numbers(pixels * channels));
            let mut packed = Vec::new();
            pack(Arithmetic::Bf16x3, depth, &bias, |k, channel| weights[k * channels + channel], &mut packed);
            // Against a page that must not be touched, at either end in turn.
            let guard = |numbers: &[f32]| Guarded::of(numbers, Side::BOTH[case / 3 % 2]);
            let [values, packed, residual] = [&values, &packed, &residual].map(|numbers| guard(numbers));
            let apart = pixels * LANES + 3;
            let (layout, residual, len) = match case % 3 {
                0 => (Layout::ChannelsLast, None, pixels * channels),
                1 => (Layout::ChannelsLast, Some(&*residual), pixels * channels),
                _ => (Layout::Blocked { apart }, None, (channels.div_ceil(LANES) - 1) * apart + pixels * LANES),
            };
            let product = Product {
                x: Patches { values: &values, pixels, stride, segments: &starts, segment_len },
                weights: &packed,
                channels,
                clamp: if case % 2 == 0 { Clamp::NONE } else { Clamp::RELU6 },
                residual,
                layout,
                next: &[],
            };
            let by = |run: &dyn Fn(&mut [f32])| {
                let mut out = guard(&vec![f32::NAN; len]);
                run(&mut out);
                assert!(out.rest_is_untouched(), "written past the result");
                bits(&out)
            };
            let product_by = |kernels: Kernels| by(&|out| kernels.product(&product, out, &mut Work::default()));
            let wanted = product_by(plain());
            assert_eq!(product_by(amx), wanted, "{pixels} x {segments} x {segment_len} x {channels}, {layout:?}");
            if layout == Layout::ChannelsLast {
                let len = halves_len(depth);
                let mut halves = vec![0u16; pixels * len];
                halves.chunks_exact_mut(len).enumerate().for_each(|(pixel, to)| split_pixel(&product.x, pixel, to));
                let words: Vec<f32> = halves.as_chunks().0.iter().map(|[even, odd]| as_word(*even, *odd)).collect();
                let values = guard(&words);
                let Product { weights, channels, clamp, residual, .. } = product;
                let halves = Halves { values: &values, pixels, depth, weights, channels, clamp, residual };
                assert_eq!(
                    by(&|out| amx.halves(&halves, out)),
                    wanted,
                    "{pixels} x {depth} x {channels}, split before"
                );
            }
        }
        assert!(Kernels::named("amx").is_some() || trap() > before + 10_000, "nothing was trapped");
    }

    #[test]
    fn features_by_tiles_are_those_of_the_definition() {
        if !has_vectors() {
            return;
        }
        let features = |kernels: Kernels| {
            let network = Network::on(kernels, weights::BUILTIN).unwrap();
            let (height, width) = network.input_size();
            let image: Vec<f32> = (0..height * width * 3).map(|at| (at * 7919 % 1013) as f32 / 506.0 - 1.0).collect();
            bits(&network.embed(&image, &mut Scratch::new()).unwrap())
        };
        assert_eq!(features(amx()), features(plain()));
    }
}
