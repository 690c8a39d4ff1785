//! scratch
use mr_vision::kernels::*;
use std::time::Instant;
fn main() {
    let kernels = Kernels::f32();
    for (pixels, depth, channels) in [(1200usize,16usize,32usize)] {
        let a = |n: usize| { let v = vec![0.01f32; n + 16]; let s = v.as_ptr().align_offset(64); (v, s) };
        let (x, sx) = a(pixels * depth); let (w, sw) = a(packed_len(Arithmetic::F32, depth, channels)); let (mut o, so) = a(pixels * channels);
        let x = &x[sx..][..pixels*depth]; let w = &w[sw..][..packed_len(Arithmetic::F32, depth, channels)]; let o = &mut o[so..][..pixels*channels];
        let mut work = Work::default();
        let mut best = f64::MAX;
        let reps = (20_000_000 / (pixels*depth*channels)).max(1);
        let t0 = Instant::now();
        while t0.elapsed().as_millis() < 3000 {
            let t = Instant::now();
            for _ in 0..reps { kernels.product(&Patches { values: x, pixels, stride: depth, segments: &[0], segment_len: depth }, w, channels, Clamp::RELU6, None, o, &mut work); }
            best = best.min(t.elapsed().as_secs_f64() / reps as f64);
        }
        let tiles = pixels.div_ceil(12) * channels.div_ceil(32);
        let ghz = 3.66;
        let per = best * ghz * 1e9 / tiles as f64;
        println!("{pixels}x{depth}x{channels}: {per:.0} cycles a tile, ideal {:.0}, over {:.0}", 2.0 * depth as f64 * pixels as f64 / pixels.div_ceil(12) as f64, per - 2.0 * depth as f64 * pixels as f64 / pixels.div_ceil(12) as f64);
    }
}
