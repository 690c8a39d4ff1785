//! Resizing against Pillow 13.0.0, byte by byte: hashes of its results for a made-up pattern.

use mr_vision::image::{Photo, resize, to_input};
use sha2::{Digest, Sha256};

/// Width and height of the pattern, height and width of the result, and the SHA-256 of Pillow's.
type Case = ((u32, u32), (u32, u32), &'static str);

const PILLOW: &[Case] = &[
    ((100, 100), (224, 224), "ba09f761e3a6583fa1b4307ba438a17a7e26566f2c1c4678aa4aff911135b887"),
    ((348, 348), (224, 224), "1f9b24d45e0fe7cc0fc368a0fe9d077e424dc940659cd7c0c76df77d76535705"),
    ((223, 225), (224, 224), "bc2913dcaa90f0e06749b3a23776a466574c9c86df71eb6c392ba20975d4372e"),
    ((320, 240), (224, 224), "aeac54fb1f68898859f888fa59d96037ff859674bf000d7b2e1f1aca734c3649"),
    ((240, 320), (96, 128), "657b92c8b2d1d64cba70ff74b8d8ead2347e003c79e9ac0a95f3b8f03f5256f1"),
    ((1, 1), (224, 224), "e8a9ab9dd22b643f7b0e6021e1331fdfce6addfacef9e10bb4dbddcaeae0a5c5"),
    ((3000, 5), (224, 224), "7ff6e2d2aa6949592eea78f9e2be560092aa0a7e281db475ce71274e9a31f721"),
    ((5, 3000), (224, 224), "bf2d7b627bbf0a1ac69b9ee27ea1d97ad2b9815f1da66e43c1746a27dfe42d21"),
    ((224, 100), (224, 224), "ab2db0834f94419bb610e6487d6a7e8fbea20d96abf4c5127089b41e0ae4223c"),
    ((100, 224), (224, 224), "d3b3b0fe2a0399af1fcfdee131cd43f534c4f38106b8a6c7a9ba387a77d069ae"),
    ((224, 224), (224, 224), "0bd7affc9c2adcab8cd6611f4479e316bd44c04dc348f262be05f9ab6fb438d4"),
    ((61, 97), (97, 61), "57da8d6f952c5fa18a76e4e211cbf77daaf623317804ef09a568ace19ab6cdb5"),
];

#[test]
fn the_bytes_are_pillows() {
    for &((width, height), (to_height, to_width), expected) in PILLOW {
        let resized = resize(&pattern(width, height), to_height, to_width);
        let hash: String = Sha256::digest(&resized).iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hash, expected, "{width} x {height} to {to_width} x {to_height}");
    }
}

#[test]
fn a_few_pixels_by_eye() {
    let rgb = vec![0, 10, 20, 255, 128, 64, 30, 200, 90, 7, 77, 177, 250, 0, 255, 1, 2, 3];
    let photo = Photo::new(3, 2, rgb).expect("3 x 2 pixels");
    assert_eq!(resize(&photo, 1, 2), [100, 49, 124, 109, 90, 89]);
    let expected = [
        [0, 0, 8, 176, 82, 33, 190, 174, 71, 19, 217, 97],
        [0, 43, 96, 177, 54, 145, 182, 82, 122, 9, 103, 46],
        [0, 86, 183, 177, 26, 255, 173, 0, 172, 0, 0, 0],
    ];
    assert_eq!(resize(&photo, 3, 4), expected.concat());
}

#[test]
fn the_input_is_scaled_row_by_row() {
    let photo = Photo::new(2, 1, vec![0, 51, 102, 153, 204, 255]).expect("2 x 1 pixels");
    let mut input = vec![9.0; 100];
    to_input(&photo, 1, 2, &mut input);
    assert_eq!(input, [-1.0, 51.0 / 127.5 - 1.0, 102.0 / 127.5 - 1.0, 153.0 / 127.5 - 1.0, 204.0 / 127.5 - 1.0, 1.0]);
}

/// Noise with many samples at either end of the range, where rounding and clamping show.
fn pattern(width: u32, height: u32) -> Photo {
    let mut state = 12345u32;
    let rgb = (0..width * height * 3).map(|_| {
        state = state.wrapping_mul(1_103_515_245).wrapping_add(12345) & 0x7fff_ffff;
        match (state >> 28 & 1, state >> 27 & 1) {
            (1, _) => (state >> 16) as u8,
            (_, 1) => 255,
            _ => 0,
        }
    });
    Photo::new(width, height, rgb.collect()).expect("that many samples were made")
}
