//! Small pictures in every format and coding that is decoded.

use image::{DynamicImage, GrayImage, ImageFormat, Luma, Rgb, RgbImage, Rgba, RgbaImage};
use jpeg_encoder::{ColorType, Encoder, SamplingFactor};
use std::io::Cursor;

const WIDTH: u16 = 21;
const HEIGHT: u16 = 18;

pub fn photos() -> Vec<Vec<u8>> {
    let (width, height) = (WIDTH.into(), HEIGHT.into());
    let colours = RgbImage::from_fn(width, height, |x, y| Rgb([0, 1, 2].map(|channel| sample(x, y, channel))));
    let see_through = RgbaImage::from_fn(width, height, |x, y| Rgba([0, 1, 2, 3].map(|channel| sample(x, y, channel))));
    let grey = GrayImage::from_fn(width, height, |x, y| Luma([sample(x, y, 0)]));
    let images: [DynamicImage; 3] = [colours.clone().into(), see_through.into(), grey.clone().into()];
    let formats = [ImageFormat::Png, ImageFormat::WebP, ImageFormat::Bmp, ImageFormat::Tiff, ImageFormat::Gif];
    let mut photos = Vec::new();
    for (image, format) in images.iter().flat_map(|image| formats.map(|format| (image, format))) {
        let mut bytes = Cursor::new(Vec::new());
        // Not every format has every kind of pixel.
        if image.write_to(&mut bytes, format).is_ok() {
            photos.push(bytes.into_inner());
        }
    }
    let wide = DynamicImage::from(colours.clone()).into_rgb16();
    for format in [ImageFormat::Png, ImageFormat::Tiff] {
        let mut bytes = Cursor::new(Vec::new());
        wide.write_to(&mut bytes, format).expect("both have 16 bits");
        photos.push(bytes.into_inner());
    }
    let turned = b"Exif\0\0II\x2a\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0";
    for progressive in [false, true] {
        for sampling in [SamplingFactor::F_1_1, SamplingFactor::F_2_2, SamplingFactor::F_2_1] {
            photos.push(jpeg(&colours, ColorType::Rgb, |encoder| {
                encoder.set_progressive(progressive);
                encoder.set_sampling_factor(sampling);
                encoder.set_restart_interval(if progressive { 0 } else { 2 });
                encoder.add_app_segment(1, turned.to_vec()).expect("it is short");
            }));
        }
        photos.push(jpeg(&grey, ColorType::Luma, |encoder| encoder.set_progressive(progressive)));
        let inks: Vec<u8> = grey.iter().flat_map(|&ink| [ink, 255 - ink, ink / 2, 9]).collect();
        photos.push(jpeg(&inks, ColorType::Cmyk, |encoder| {
            encoder.set_progressive(progressive);
            encoder.set_sampling_factor(SamplingFactor::F_1_1);
        }));
    }
    photos
}

fn sample(x: u32, y: u32, channel: u32) -> u8 {
    (x * 37 + y * 11 + channel * 59) as u8
}

fn jpeg(pixels: &[u8], color: ColorType, set: impl FnOnce(&mut Encoder<&mut Vec<u8>>)) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut encoder = Encoder::new(&mut bytes, 70);
    set(&mut encoder);
    encoder.encode(pixels, WIDTH, HEIGHT, color).expect("there are as many pixels");
    bytes
}
