//! What each variety looks like. The first 24 are the common ones; asked for more labels, the table is gone through again
//! under the next number ("Apple Red 2"), with colours and form a little off.

use super::maths::Random;

/// Lengths are in fruit radii, colours in sRGB, everything else from 0 to 1.
#[derive(Clone, Copy)]
pub struct Look {
    /// The fruit's height as a share of the picture's.
    pub size: f32,
    /// Width over height.
    pub aspect: f32,
    /// Narrower below (positive) or above (negative).
    pub taper: f32,
    /// How deep the hollow at the stem is.
    pub dimple: f32,
    /// How strongly the outline swells and shrinks, as an old tomato's.
    pub lobes: f32,
    pub skin: [u8; 3],
    /// The second colour, and how much of the skin has it.
    pub blush: [u8; 3],
    pub blush_share: f32,
    pub pattern: Pattern,
    pub gloss: f32,
    pub stem: Stem,
}

#[derive(Clone, Copy)]
pub enum Pattern {
    Smooth,
    /// Light dots, as on an apple.
    Speckled,
    /// From stem to end, in the blush colour.
    Striped,
    /// Small dark pores, as on an orange.
    Pored,
    /// Hair that scatters the light.
    Downy,
}

#[derive(Clone, Copy)]
pub enum Stem {
    None,
    Short,
    Long,
    /// A green star.
    Calyx,
}

pub struct Variety {
    pub name: String,
    pub look: Look,
}

/// The variety of a label number; any number has one.
pub fn variety(number: usize) -> Variety {
    let (name, mut look) = TABLE[number % TABLE.len()];
    let round = number / TABLE.len();
    if round > 0 {
        let mut random = Random::new(0x000f_4017).fork(number as u64);
        let mut shift = |colour: u8| (f32::from(colour) + 40.0 * random.wobble()).clamp(0.0, 255.0) as u8;
        look.skin = look.skin.map(&mut shift);
        look.blush = look.blush.map(&mut shift);
        look.size *= random.between(0.9, 1.05);
        look.aspect *= random.between(0.92, 1.08);
        look.blush_share = random.between(0.0, 0.8);
    }
    Variety { name: format!("{name} {}", round + 1), look }
}

// A row each, in columns.
#[rustfmt::skip]
const TABLE: [(&str, Look); 24] = {
    use Pattern::{Downy, Pored, Smooth, Speckled, Striped};
    use Stem::{Calyx, Long, None, Short};
    // In the order of the fields: form, colours, surface.
    const fn look(
        [size, aspect, taper, dimple, lobes]: [f32; 5],
        skin: [u8; 3],
        blush: [u8; 3],
        blush_share: f32,
        pattern: Pattern,
        gloss: f32,
        stem: Stem,
    ) -> Look {
        Look { size, aspect, taper, dimple, lobes, skin, blush, blush_share, pattern, gloss, stem }
    }
    [
        ("Apple Red",           look([ 0.88,  1.06,  0.12,  0.22,  0.00], [168,  28,  32], [205, 160,  70], 0.15, Speckled, 0.6, Short)),
        ("Cherry Rainier",      look([ 0.72,  1.10,  0.08,  0.16,  0.00], [232, 188,  96], [206,  62,  44], 0.55, Smooth,   0.8, Long)),
        ("Tomato",              look([ 0.80,  1.22,  0.02,  0.10, 0.022], [204,  46,  26], [226, 120,  40], 0.15, Smooth,   0.7, Calyx)),
        ("Pear",                look([ 0.88,  0.78, -0.42,  0.00,  0.00], [178, 182,  74], [192, 132,  66], 0.30, Speckled, 0.3, Short)),
        ("Apple Golden",        look([ 0.86,  1.02,  0.10,  0.20,  0.00], [214, 194,  96], [206, 152,  84], 0.20, Speckled, 0.4, Short)),
        ("Lemon",               look([ 0.84,  0.80,  0.00, -0.14,  0.00], [238, 204,  46], [228, 180,  30], 0.20, Pored,    0.4, None)),
        ("Cherry Wax Black",    look([ 0.70,  1.08,  0.06,  0.14,  0.00], [ 58,  14,  26], [ 98,  20,  34], 0.30, Smooth,   0.9, Long)),
        ("Plum",                look([ 0.82,  0.86,  0.06,  0.06,  0.00], [ 74,  42,  92], [124,  62, 104], 0.40, Downy,    0.2, None)),
        ("Tomato Yellow",       look([ 0.78,  1.18,  0.02,  0.10, 0.018], [236, 184,  42], [240, 146,  40], 0.25, Smooth,   0.7, Calyx)),
        ("Apple Granny Smith",  look([ 0.86,  1.05,  0.12,  0.20,  0.00], [132, 178,  60], [168, 186,  84], 0.25, Speckled, 0.6, Short)),
        ("Orange",              look([ 0.88,  1.02,  0.00,  0.04,  0.00], [240, 146,  28], [230, 122,  20], 0.25, Pored,    0.4, None)),
        ("Kiwi",                look([ 0.82,  0.82,  0.00,  0.00,  0.00], [126,  96,  58], [104,  78,  44], 0.40, Downy,    0.1, None)),
        ("Peach",               look([ 0.86,  1.04,  0.04,  0.12,  0.00], [236, 178, 102], [206,  74,  62], 0.50, Downy,    0.1, None)),
        ("Cherry",              look([ 0.70,  1.10,  0.08,  0.16,  0.00], [172,  20,  34], [132,  12,  30], 0.30, Smooth,   0.9, Long)),
        ("Tomato Heart",        look([ 0.88,  0.94,  0.26,  0.06, 0.012], [212,  60,  42], [226, 110,  62], 0.20, Smooth,   0.6, Calyx)),
        ("Apple Pink Lady",     look([ 0.88,  1.00,  0.14,  0.22,  0.00], [214, 182,  92], [208,  92,  84], 0.65, Striped,  0.5, Short)),
        ("Lime",                look([ 0.76,  0.90,  0.00, -0.08,  0.00], [ 92, 150,  46], [132, 168,  58], 0.30, Pored,    0.5, None)),
        ("Pear Red",            look([ 0.88,  0.76, -0.40,  0.00,  0.00], [158,  52,  50], [180, 132,  66], 0.35, Speckled, 0.4, Short)),
        ("Watermelon",          look([ 0.92,  1.06,  0.00,  0.02,  0.00], [118, 164,  78], [ 36,  82,  40], 0.50, Striped,  0.4, None)),
        ("Tomato Cherry Orange",look([ 0.66,  0.98,  0.02,  0.06,  0.00], [236, 122,  30], [226,  92,  24], 0.30, Smooth,   0.9, Calyx)),
        ("Apple Red Delicious", look([ 0.92,  0.94,  0.24,  0.22, 0.014], [124,  16,  30], [164,  36,  40], 0.30, Striped,  0.7, Short)),
        ("Cherry Wax Yellow",   look([ 0.70,  1.08,  0.06,  0.14,  0.00], [238, 196,  84], [232, 168,  70], 0.30, Smooth,   0.9, Long)),
        ("Blueberry",           look([ 0.60,  1.08,  0.00,  0.05,  0.00], [ 62,  76, 118], [ 94, 108, 146], 0.50, Downy,    0.1, None)),
        ("Tomato Maroon",       look([ 0.82,  1.16,  0.02,  0.10, 0.035], [104,  38,  30], [ 86,  74,  38], 0.30, Smooth,   0.7, Calyx)),
    ]
};

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::variety;

    #[test]
    fn every_label_has_its_own_name() {
        let names: BTreeSet<_> = (0..500).map(|number| variety(number).name).collect();
        assert_eq!(names.len(), 500);
        assert!(names.contains("Apple Red 1") && names.contains("Cherry Rainier 2"));
    }
}
