//! Files made here, in every format and kind of pixel, as good as can be and broken on purpose.

use std::io::Cursor;

use image::codecs::gif::GifEncoder;
use image::{DynamicImage, Frame, GrayAlphaImage, GrayImage, ImageFormat, RgbImage, RgbaImage};
use image::{ImageBuffer, Luma, Rgb, Rgba};
use mr_vision::image::{Budget, DecodeOptions, Decoded, ImageErrorClass, Preparer, decode, resize};

/// More than any of these files wants.
const BUDGET_BYTES: u64 = 512 << 20;

fn rgb_of(bytes: &[u8]) -> (u32, u32, Vec<u8>) {
    turned(bytes, false)
}

fn turned(bytes: &[u8], exif_orientation: bool) -> (u32, u32, Vec<u8>) {
    let decoded =
        decode(bytes, &DecodeOptions { exif_orientation, ..DecodeOptions::default() }, &Budget::new(BUDGET_BYTES))
            .expect("it is an image");
    let photo = decoded.photo();
    (photo.width(), photo.height(), photo.rgb().to_vec())
}

fn refusal_of(bytes: &[u8]) -> (ImageErrorClass, String) {
    let error = decode(bytes, &DecodeOptions::default(), &Budget::new(BUDGET_BYTES)).expect_err("it must be refused");
    (error.class, error.message)
}

fn encode(image: &DynamicImage, format: ImageFormat) -> Vec<u8> {
    let mut bytes = Vec::new();
    image.write_to(&mut Cursor::new(&mut bytes), format).expect("this kind can be written");
    bytes
}

fn sample(x: u32, y: u32, channel: u32) -> u8 {
    (x * 37 + y * 101 + channel * 59) as u8
}

fn rgb_image() -> RgbImage {
    RgbImage::from_fn(7, 5, |x, y| Rgb([0, 1, 2].map(|channel| sample(x, y, channel))))
}

#[test]
fn lossless_formats_give_back_what_was_put_in() {
    let image = rgb_image();
    for format in [ImageFormat::Png, ImageFormat::WebP, ImageFormat::Bmp, ImageFormat::Tiff] {
        let bytes = encode(&image.clone().into(), format);
        assert_eq!(rgb_of(&bytes), (7, 5, image.to_vec()), "{format:?}");
    }
}

#[test]
fn every_kind_of_pixel_becomes_rgb() {
    let expected: Vec<u8> = rgb_image().to_vec();
    let grey: Vec<u8> = expected.chunks_exact(3).flat_map(|pixel| [pixel[0]; 3]).collect();
    let luma = GrayImage::from_fn(7, 5, |x, y| Luma([sample(x, y, 0)]));
    let luma_alpha = GrayAlphaImage::from_fn(7, 5, |x, y| image::LumaA([sample(x, y, 0), (x * 40) as u8]));
    let rgba = RgbaImage::from_fn(7, 5, |x, y| {
        Rgba([sample(x, y, 0), sample(x, y, 1), sample(x, y, 2), (y * 60) as u8]) // alpha is dropped, not blended
    });
    // The low byte must not round up the high one.
    let wide = |x, y, channel| u16::from(sample(x, y, channel)) << 8 | 0xff;
    let luma16: ImageBuffer<Luma<u16>, _> = ImageBuffer::from_fn(7, 5, |x, y| Luma([wide(x, y, 0)]));
    let rgb16: ImageBuffer<Rgb<u16>, _> =
        ImageBuffer::from_fn(7, 5, |x, y| Rgb([0, 1, 2].map(|channel| wide(x, y, channel))));
    let rgba16: ImageBuffer<Rgba<u16>, _> =
        ImageBuffer::from_fn(7, 5, |x, y| Rgba([wide(x, y, 0), wide(x, y, 1), wide(x, y, 2), 0x1234]));

    let cases: [(DynamicImage, &Vec<u8>); 6] = [
        (luma.into(), &grey),
        (luma_alpha.into(), &grey),
        (rgba.into(), &expected),
        (luma16.into(), &grey),
        (rgb16.into(), &expected),
        (rgba16.into(), &expected),
    ];
    for (image, expected) in &cases {
        let bytes = encode(image, ImageFormat::Png);
        assert_eq!(&rgb_of(&bytes).2, *expected, "{:?}", image.color());
    }
}

#[test]
fn only_the_first_frame_of_an_animation_counts() {
    let mut bytes = Vec::new();
    let mut encoder = GifEncoder::new(&mut bytes);
    for color in [[255, 0, 0, 255], [0, 0, 255, 255]] {
        let frame = Frame::new(RgbaImage::from_pixel(4, 3, Rgba(color)));
        encoder.encode_frame(frame).expect("it can be written");
    }
    drop(encoder);
    assert_eq!(rgb_of(&bytes), (4, 3, [255, 0, 0].repeat(12)));
}

/// 8 x 8 pixels of one colour, C = 200, M = 30, Y = 90, K = 40, inverted as Adobe's programs and Pillow write them.
const CMYK_JPEG: &str = "ffd8ffee000e41646f626500640000000000ffdb0043000201010101010201010102020202020403020202020504040304\
    060506060605060606070908060709070606080b08090a0a0a0a0a06080b0c0b0a0c090a0a0affc000140800080008044311004d11005911004b11\
    00ffc4001500010100000000000000000000000000000908ffc40014100100000000000000000000000000000000ffda000e0443004d0059004b00\
    003f0036cc22942b8fffd9";

#[test]
fn inverted_cmyk_comes_out_as_pillow_has_it() {
    let digits: Vec<u32> = CMYK_JPEG.chars().filter_map(|digit| digit.to_digit(16)).collect();
    let cmyk: Vec<u8> = digits.chunks_exact(2).map(|pair| (pair[0] << 4 | pair[1]) as u8).collect();
    let adobe = cmyk.windows(5).position(|bytes| bytes == b"Adobe").expect("the marker is there");

    let mut ycck = cmyk.clone();
    ycck[adobe + 11] = 2; // its first three are YCbCr then
    let mut unmarked = cmyk.clone();
    unmarked.drain(adobe - 4..adobe + 12); // Pillow takes such for inverted as well

    // Pillow rounds once more on the way; one level is all that may lie between.
    for (bytes, pillow) in [(cmyk, [46, 190, 139]), (ycck, [125, 215, 24]), (unmarked, [46, 190, 139])] {
        let (width, height, rgb) = rgb_of(&bytes);
        assert_eq!((width, height), (8, 8));
        for (channel, sample) in rgb.iter().enumerate() {
            assert!(sample.abs_diff(pillow[channel % 3]) <= 1, "{:?} for {pillow:?}", &rgb[..3]);
        }
    }
}

#[test]
fn orientation_is_honoured_if_asked() {
    // Corners in red, green, blue and white, clockwise from the upper left; 16 pixels each, for whole blocks.
    let [red, green, blue, white] = [[255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 255]];
    let image = RgbImage::from_fn(48, 32, |x, y| {
        Rgb(match (x < 24, y < 16) {
            (true, true) => red,
            (false, true) => green,
            (false, false) => blue,
            (true, false) => white,
        })
    });
    let jpeg = encode(&image.into(), ImageFormat::Jpeg);
    let corners = |(width, height, rgb): (u32, u32, Vec<u8>)| {
        let at = |x: u32, y: u32| {
            let place = ((y * width + x) * 3) as usize;
            [0, 1, 2].map(|channel| if rgb[place + channel] > 127 { 255 } else { 0 })
        };
        let (right, bottom) = (width - 3, height - 3);
        ((width, height), [at(2, 2), at(right, 2), at(right, bottom), at(2, bottom)])
    };
    let expected = [
        (1, (48, 32), [red, green, blue, white]),
        (2, (48, 32), [green, red, white, blue]),
        (3, (48, 32), [blue, white, red, green]),
        (4, (48, 32), [white, blue, green, red]),
        (5, (32, 48), [red, white, blue, green]),
        (6, (32, 48), [white, red, green, blue]),
        (7, (32, 48), [blue, green, red, white]),
        (8, (32, 48), [green, blue, white, red]),
    ];
    for (orientation, size, turned_corners) in expected {
        let bytes = with_orientation(&jpeg, orientation);
        assert_eq!(corners(turned(&bytes, true)), (size, turned_corners), "orientation {orientation}");
        assert_eq!(corners(turned(&bytes, false)), ((48, 32), [red, green, blue, white]));
    }
    // A value that doesn't exist turns nothing.
    assert_eq!(corners(turned(&with_orientation(&jpeg, 9), true)).0, (48, 32));
}

#[test]
fn large_jpegs_are_decoded_at_a_smaller_scale_if_asked() {
    let image = RgbImage::from_fn(1000, 701, |x, y| Rgb([(x / 4) as u8, (y / 3) as u8, ((x + y) / 8) as u8]));
    let jpeg = with_orientation(&encode(&image.into(), ImageFormat::Jpeg), 6);
    let budget = Budget::new(BUDGET_BYTES);
    let decoded = |scaled_to, exif_orientation| {
        decode(&jpeg, &DecodeOptions { exif_orientation, scaled_to }, &budget).expect("it is a photo")
    };
    let size = |decoded: &Decoded| (decoded.photo().width(), decoded.photo().height());
    let exact = decoded(None, false);
    assert_eq!((size(&exact), exact.size()), ((1000, 701), (1000, 701)));
    for (at_least, scaled) in [
        ((125, 88), (125, 88)),
        ((126, 88), (250, 176)),
        ((224, 224), (500, 351)),
        ((600, 10), (1000, 701)),
        ((2000, 2000), (1000, 701)),
    ] {
        let small = decoded(Some(at_least), false);
        assert_eq!((size(&small), small.size()), (scaled, (1000, 701)), "{at_least:?}");
        // What comes of it is the same picture.
        let [one, other] = [&small, &exact].map(|decoded| resize(decoded.photo(), 64, 64));
        let difference: u32 = one.iter().zip(&other).map(|(a, b)| u32::from(a.abs_diff(*b))).sum();
        assert!(difference < 2 * one.len() as u32, "{at_least:?}: {difference}");
    }
    let turned = decoded(Some((224, 224)), true);
    assert_eq!((size(&turned), turned.size()), ((351, 500), (701, 1000)));
}

/// The JPEG with a note of the camera behind its first marker.
fn with_orientation(jpeg: &[u8], orientation: u8) -> Vec<u8> {
    let mut note = b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0".to_vec();
    note.extend([orientation, 0, 0, 0, 0, 0, 0]);
    let mut bytes = jpeg[..2].to_vec();
    bytes.extend([0xff, 0xe1, 0, note.len() as u8 + 2]);
    bytes.extend(note);
    bytes.extend(&jpeg[2..]);
    bytes
}

#[test]
fn refusals_say_what_is_wrong() {
    let check = |bytes: &[u8], class: ImageErrorClass, part: &str| {
        let (found, message) = refusal_of(bytes);
        assert_eq!(found, class, "{message}");
        assert!(message.contains(part), "{message}");
    };
    check(b"", ImageErrorClass::Empty, "empty");
    check(b"hello, this is text", ImageErrorClass::NotAnImage, "begin");
    check(b"\0\0\0\x20ftypavif\0\0\0\0", ImageErrorClass::Unsupported, "AVIF");
    check(b"\xff\xd8\xff", ImageErrorClass::Undecodable, "JPEG");
    let png = encode(&rgb_image().into(), ImageFormat::Png);
    check(&png[..png.len() / 2], ImageErrorClass::Undecodable, "PNG");
}

#[test]
fn size_is_judged_by_the_header_alone() {
    let too_large = |bytes: &[u8]| {
        let (class, message) = refusal_of(bytes);
        assert_eq!(class, ImageErrorClass::TooLarge, "{message}");
    };
    too_large(&png_header(30_000, 30_000, 8, 0));
    too_large(&png_header(0x7fff_ffff, 0x7fff_ffff, 8, 0));
    too_large(&png_header(10_001, 10_000, 1, 0)); // just over 100 Mpx
    too_large(&png_header(9_000, 9_000, 16, 6)); // few enough pixels, of 8 bytes
    too_large(&png_header(100_000_000, 1, 8, 0)); // one row, which nobody resizes in reasonable memory
    too_large(b"GIF89a\xff\xff\xff\xff\0\0\0");
    // Few enough pixels, but a progressive JPEG keeps all of its coefficients.
    let jpeg = |frame: u8| {
        let mut bytes = vec![0xff, 0xd8, 0xff, frame, 0, 17, 8, 0x23, 0x28, 0x23, 0x28, 3];
        bytes.extend([1, 0x11, 0, 2, 0x11, 0, 3, 0x11, 0]);
        bytes.extend([0xff, 0xda, 0, 12, 3, 1, 0, 2, 0, 3, 0, 0, 63, 0]);
        bytes
    };
    too_large(&jpeg(0xc2));
    assert_eq!(refusal_of(&jpeg(0xc0)).0, ImageErrorClass::Undecodable); // allowed in, and then there is nothing
    // Exactly at the limit it may be large.
    assert_eq!(refusal_of(&png_header(10_000, 10_000, 1, 0)).0, ImageErrorClass::Undecodable);
}

/// A PNG of this kind up to where its data would begin.
fn png_header(width: u32, height: u32, bits: u8, color: u8) -> Vec<u8> {
    let mut bytes = b"\x89PNG\r\n\x1a\n".to_vec();
    let mut chunk = |kind: &[u8; 4], data: &[u8]| {
        bytes.extend((data.len() as u32).to_be_bytes());
        bytes.extend(kind);
        bytes.extend(data);
        bytes.extend(crc32(&[kind, data].concat()).to_be_bytes());
    };
    let size = [width.to_be_bytes(), height.to_be_bytes()].concat();
    chunk(b"IHDR", &[&size[..], &[bits, color, 0, 0, 0]].concat());
    chunk(b"IDAT", &[]);
    bytes
}

fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |crc, &byte| {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| if crc & 1 == 1 { crc >> 1 ^ 0xedb8_8320 } else { crc >> 1 })
    })
}

#[test]
fn damaged_files_get_the_same_verdict_twice() {
    let image = RgbImage::from_fn(40, 30, |x, y| Rgb([0, 1, 2].map(|channel| sample(x / 4, y / 4, channel))));
    let formats =
        [ImageFormat::Jpeg, ImageFormat::Png, ImageFormat::WebP, ImageFormat::Gif, ImageFormat::Bmp, ImageFormat::Tiff];
    let (options, small) = (DecodeOptions { exif_orientation: true, ..DecodeOptions::default() }, Budget::new(1000));
    let mut state = 1u64;
    let mut random = |below: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % below
    };
    let (mut decoded, mut refused) = (0, 0);
    for format in formats {
        let whole = encode(&image.clone().into(), format);
        for _ in 0..150 {
            let mut bytes = whole.clone();
            for _ in 0..=random(4) {
                let place = random(bytes.len().min(200));
                bytes[place] = random(256) as u8;
            }
            if random(3) == 0 {
                bytes.truncate(random(bytes.len()));
            }
            let verdict = |budget: &Budget| {
                let decoded = decode(&bytes, &options, budget)?;
                Ok::<_, mr_vision::image::ImageError>(decoded.photo().clone())
            };
            let first = verdict(&Budget::new(BUDGET_BYTES));
            assert!(first == verdict(&small), "{format:?}: {first:?}");
            if first.is_ok() { decoded += 1 } else { refused += 1 }
        }
    }
    assert!(decoded > 50 && refused > 200, "{decoded} decoded, {refused} refused: not the mixture meant");
    assert_eq!(small.free(), 1000);
}

#[test]
fn a_preparer_forgets_the_photo_before() {
    let small = encode(&rgb_image().into(), ImageFormat::Png);
    let large = encode(&RgbImage::from_fn(90, 300, |x, y| Rgb([x as u8, y as u8, 7])).into(), ImageFormat::Png);
    let budget = Budget::new(BUDGET_BYTES);
    let new = || Preparer::new(24, 32, DecodeOptions::default(), budget.clone());
    let expected = new().prepare(&small).expect("it is an image").input.to_vec();
    let mut preparer = new();
    for _ in 0..2 {
        assert_eq!(preparer.prepare(&large).expect("it is an image").height, 300);
        assert!(preparer.prepare(b"no image").is_err());
        let prepared = preparer.prepare(&small).expect("it is an image");
        assert_eq!((prepared.width, prepared.height, prepared.input.len()), (7, 5, 24 * 32 * 3));
        assert_eq!(prepared.input, expected);
    }
    assert_eq!(budget.free(), BUDGET_BYTES);
}
