//! scratch
use mr_vision::kernels::*;
use std::time::Instant;
fn main() {
    let kernels = Kernels::f32();
    let which: usize = std::env::args().nth(1).map_or(0, |a| a.parse().unwrap());
    let ms: u128 = std::env::args().nth(2).map_or(200, |a| a.parse().unwrap());
    let all = [(112usize,32usize,1usize),(56,144,1),(14,384,1),(7,960,1),(112,96,2),(56,144,2)];
    let list: Vec<_> = if which == 0 { all.to_vec() } else { vec![all[which-1]] };
    for (width, channels, stride) in list {
        let a = |n: usize| { let v = vec![0.01f32; n + 16]; let s = v.as_ptr().align_offset(64); (v, s) };
        let (x, sx) = a(3 * width * channels); let n = packed_len(Arithmetic::F32, TAPS, channels); let (w, sw) = a(n); let (mut o, so) = a(width / stride * channels);
        let x = &x[sx..][..3*width*channels]; let w = &w[sw..][..n]; let ow = width.div_ceil(stride); let _ = so; o.resize(ow*channels+16, 0.0); let so = o.as_ptr().align_offset(64); let o = &mut o[so..][..ow*channels];
        let rows = [0,1,2].map(|r| Some(&x[r*width*channels..][..width*channels]));
        let mut best = f64::MAX;
        let reps = 100;
        let t0 = Instant::now();
        while t0.elapsed().as_millis() < ms {
            let t = Instant::now();
            for _ in 0..reps { kernels.depthwise_row(&DepthwiseRow { rows, channels, width, stride, pad_left: 1 }, w, Clamp::RELU6, o); }
            best = best.min(t.elapsed().as_secs_f64() / reps as f64);
        }
        let vecs = ow * channels.div_ceil(16);
        println!("{width}x{channels}/{stride}: {:.2} cycles a vector (ideal 9)", best * 3.66e9 / vecs as f64);
    }
}
