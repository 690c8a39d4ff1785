//! One photo: a fruit of a given look on white, lit from above, a little different each time. Every pixel is computed on its
//! own: where it lies on the fruit's rounded surface, the skin's colour there, the light that falls on it, then the stem.

use super::maths::{Random, grid, lerp, noise, smooth_step};
use super::varieties::{Look, Pattern, Stem};

pub const SIDE: usize = 100;

type Colour = [f32; 3];

const STEM: Colour = [96.0, 74.0, 40.0];
const LEAF: Colour = [84.0, 128.0, 48.0];

/// `SIDE` x `SIDE` RGB bytes.
pub fn paint(look: &Look, random: Random) -> Vec<u8> {
    let shot = Shot::new(look, random);
    let mut pixels = Vec::with_capacity(SIDE * SIDE * 3);
    for row in 0..SIDE {
        for column in 0..SIDE {
            pixels.extend(shot.pixel(column, row).map(|value| (value.clamp(0.0, 255.0) + 0.5) as u8));
        }
    }
    pixels
}

/// What is particular to one photo: where the fruit lies, how it is turned, where the light comes from.
struct Shot<'a> {
    look: &'a Look,
    /// The fruit's vertical radius in pixels, and one pixel in radii.
    radius: f32,
    pixel: f32,
    centre: (f32, f32),
    turn: (f32, f32),
    /// How far the fruit is turned around its stem: moves pattern and blush along.
    spin: f32,
    light: [f32; 3],
    exposure: f32,
    warmth: f32,
    blush_towards: (f32, f32),
    bend: f32,
    seed: u32,
}

impl<'a> Shot<'a> {
    fn new(look: &'a Look, mut random: Random) -> Self {
        // A stem needs room above the fruit.
        let drop = match look.stem {
            Stem::None | Stem::Calyx => 0.0,
            Stem::Short => 2.0,
            Stem::Long => 9.0,
        };
        let radius = 0.54 * SIDE as f32 * look.size * (1.0 + 0.05 * random.wobble()) / look.aspect.max(1.0);
        let (x, y) = (-0.45 + 0.25 * random.wobble(), -0.6 + 0.2 * random.wobble());
        let length = (x * x + y * y + 0.75).sqrt();
        Self {
            look,
            radius,
            pixel: 1.0 / radius,
            centre: (50.0 + 1.5 * random.wobble(), 50.0 + drop + 1.5 * random.wobble()),
            turn: random.direction(0.22),
            spin: random.between(0.0, 40.0),
            light: [x / length, y / length, 0.75_f32.sqrt() / length],
            exposure: 1.0 + 0.1 * random.wobble(),
            warmth: 0.04 * random.wobble(),
            blush_towards: random.direction(2.5),
            bend: random.wobble(),
            seed: random.seed(),
        }
    }

    fn pixel(&self, column: usize, row: usize) -> Colour {
        let (x, y) = (column as f32 + 0.5 - self.centre.0, row as f32 + 0.5 - self.centre.1);
        let (cos, sin) = self.turn;
        let (u, v) = ((x * cos + y * sin) * self.pixel, (y * cos - x * sin) * self.pixel);
        let mut colour = [255.0; 3];
        let spot = self.spot(u, v);
        if spot.cover > 0.0 {
            blend(&mut colour, self.lit(self.skin(&spot), &spot), spot.cover);
        }
        let (stem, cover) = self.stem(u, v);
        if cover > 0.0 {
            blend(&mut colour, stem, cover);
        }
        colour
    }

    /// Where the point lies on the fruit.
    fn spot(&self, u: f32, v: f32) -> Spot {
        let look = self.look;
        // A pear's neck: the width shrinks towards one end, fastest in the middle.
        let narrow = 1.0 - look.taper.abs() * smooth_step(-0.4, 1.0, v * look.taper.signum()) * 1.25;
        let q = u / (look.aspect * narrow);
        let distance = (q * q + v * v).sqrt().max(1e-4);
        let c = q / distance;
        let c2 = c * c;
        // cos 6a of the angle a, by its polynomial.
        let waves = 32.0 * c2 * c2 * c2 - 48.0 * c2 * c2 + 18.0 * c2 - 1.0;
        // The hollow at the stem; a lemon's is negative, and has a twin below.
        let at_end = if look.dimple < 0.0 { 1.0 } else { smooth_step(0.0, -0.5, v) };
        let hollow = look.dimple * at_end * smooth_step(0.55, 0.0, c.abs());
        let edge = (1.0 + look.lobes * waves) * (1.0 - hollow);
        let r = distance / edge;
        let z = (1.0 - (r * r).min(1.0)).sqrt();
        Spot {
            cover: ((1.0 - r) * edge * self.radius * narrow.min(look.aspect).min(1.0) + 0.5).clamp(0.0, 1.0),
            normal: [q / edge, v / edge, z],
            // Patterns crowd together towards the rim, as on a ball.
            surface: (q * (1.5 - 0.5 * z) + self.spin, v * (1.5 - 0.5 * z)),
            shade: 1.0 - 2.2 * hollow.max(0.0) * smooth_step(0.35, 0.95, r),
        }
    }

    fn skin(&self, spot: &Spot) -> Colour {
        let look = self.look;
        let (s, t) = spot.surface;
        let (skin, blush) = (look.skin.map(f32::from), look.blush.map(f32::from));
        let cloud = 0.6 * noise(self.seed, s * 2.2, t * 2.2) + 0.4 * noise(self.seed ^ 1, s * 6.0, t * 6.0);
        let side = spot.normal[0] * self.blush_towards.0 + spot.normal[1] * self.blush_towards.1;
        // The cheek that was in the sun, with a ragged edge.
        let mut share = smooth_step(-0.35, 0.35, side * 0.6 + (cloud - 0.5) * 1.1 + (look.blush_share - 0.5) * 1.6);
        let mut light = 0.92 + 0.16 * cloud;
        match look.pattern {
            Pattern::Smooth => {}
            Pattern::Speckled => light += 0.22 * self.dots(s * 9.0, t * 9.0),
            Pattern::Pored => light -= 0.16 * self.dots(s * 14.0, t * 14.0),
            Pattern::Downy => light += 0.16 * (grid(self.seed ^ 2, (s * 40.0) as i32, (t * 40.0) as i32) - 0.5),
            Pattern::Striped => {
                // Noise stretched along the meridians, which meet at stem and end.
                let meridian = (s - self.spin) / (1.02 - t * t * 0.45).max(0.3).sqrt() + self.spin;
                let stripe = noise(self.seed ^ 3, meridian * 7.0, t * 0.7 + cloud * 0.6);
                share = lerp(share, smooth_step(0.3, 0.7, stripe), 0.6);
            }
        }
        std::array::from_fn(|i| lerp(skin[i], blush[i], share) * light)
    }

    /// Small round dots, one in some of the cells of a grid: 1 in the middle of one.
    fn dots(&self, x: f32, y: f32) -> f32 {
        let (column, row) = (x.floor(), y.floor());
        let (c, r) = (column as i32, row as i32);
        if grid(self.seed ^ 4, c, r) < 0.45 {
            return 0.0;
        }
        let dx = x - column - lerp(0.3, 0.7, grid(self.seed ^ 5, c, r));
        let dy = y - row - lerp(0.3, 0.7, grid(self.seed ^ 6, c, r));
        smooth_step(0.3, 0.1, (dx * dx + dy * dy).sqrt())
    }

    fn lit(&self, colour: Colour, spot: &Spot) -> Colour {
        let [x, y, z] = spot.normal;
        let [lx, ly, lz] = self.light;
        let facing = (x * lx + y * ly + z * lz).max(0.0);
        // Down catches light at the rim as well, so it looks flatter.
        let flat = if matches!(self.look.pattern, Pattern::Downy) { 0.62 } else { 0.45 };
        let light = (flat + (1.12 - flat) * facing) * spot.shade * self.exposure;
        // The highlight: the light's mirror image towards us, sharpened by squaring.
        let mirror = (2.0 * facing * z - lz).max(0.0);
        let (m2, gloss) = (mirror * mirror, self.look.gloss);
        let m8 = m2 * m2 * m2 * m2;
        let shine = gloss * (60.0 * m8 + 150.0 * m8 * m8 * m8 * m8);
        let warmth = [1.0 + self.warmth, 1.0, 1.0 - self.warmth];
        std::array::from_fn(|i| colour[i] * light * warmth[i] + shine)
    }

    fn stem(&self, u: f32, v: f32) -> (Colour, f32) {
        match self.look.stem {
            Stem::None => (STEM, 0.0),
            Stem::Short => self.stalk(u, v, 0.42, 0.055),
            Stem::Long => self.stalk(u, v, 0.85, 0.04),
            Stem::Calyx => self.star(u, v),
        }
    }

    /// From the hollow upwards, bent to a side.
    fn stalk(&self, u: f32, v: f32, length: f32, width: f32) -> (Colour, f32) {
        let foot = -0.92 + self.look.dimple;
        let along = (foot - v) / length;
        if !(-0.1..1.1).contains(&along) {
            return (STEM, 0.0);
        }
        let off = u - 0.3 * length * self.bend * along * along;
        let ends = smooth_step(-0.1, 0.0, along) * smooth_step(1.1, 1.0, along);
        // Thicker where it was torn off.
        let width = width * (0.8 + 0.5 * along * along);
        let cover = ((width - off.abs()) * self.radius + 0.5).clamp(0.0, 1.0) * ends;
        let light = self.exposure * (1.05 - 0.5 * off / width);
        (STEM.map(|value| value * light), cover)
    }

    /// Five leaves, seen from the side and above.
    fn star(&self, u: f32, v: f32) -> (Colour, f32) {
        let (x, y) = (u - 0.04 * self.bend, (v + 0.80) * 1.7);
        let distance = (x * x + y * y).sqrt().max(1e-4);
        let c = (x * self.blush_towards.0 + y * self.blush_towards.1) / distance;
        let c2 = c * c;
        // cos 5a of the angle a, by its polynomial.
        let leaves = c * (16.0 * c2 * c2 - 20.0 * c2 + 5.0);
        let edge = 0.16 + 0.36 * smooth_step(-0.5, 1.0, leaves);
        let cover = ((edge - distance) * self.radius * 0.6 + 0.5).clamp(0.0, 1.0);
        let light = self.exposure * (0.75 + 0.5 * smooth_step(0.0, 0.4, distance) - 0.3 * y);
        (LEAF.map(|value| value * light), cover)
    }
}

struct Spot {
    /// How much of the pixel the fruit covers.
    cover: f32,
    normal: [f32; 3],
    /// Coordinates for patterns.
    surface: (f32, f32),
    shade: f32,
}

fn blend(under: &mut Colour, over: Colour, cover: f32) {
    for (under, over) in under.iter_mut().zip(over) {
        *under = lerp(*under, over, cover);
    }
}
