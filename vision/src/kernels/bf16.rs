//! f32 numbers as two bf16 halves: `x = high + low`, but for the last eight of its 24 bits.
//!
//! Rounding is that of the processors' `vcvtneps2bf16` and of their matrix tiles: to nearest, ties to even, whatever the
//! thread's rounding mode says, and numbers too small to be normal count as zeros of their sign (Intel, Architecture
//! Instruction Set Extensions Programming Reference, chapters on AVX512_BF16 and AMX).

/// Zero in place of a number that is not normal; its sign stays.
#[inline(always)]
pub(super) fn flushed(value: f32) -> f32 {
    if value.abs() < f32::MIN_POSITIVE { value * 0.0 } else { value }
}

/// The bits of the nearest bf16.
#[inline(always)]
pub(super) fn rounded(value: f32) -> u16 {
    let bits = flushed(value).to_bits();
    if value.is_nan() {
        return (bits >> 16) as u16 | 0x40;
    }
    // Just under half of what is cut off, and a whole half when the last bit that stays is odd.
    ((bits + 0x7fff + (bits >> 16 & 1)) >> 16) as u16
}

/// The number that bits of bf16 stand for.
#[inline(always)]
pub(super) fn widened(bits: u16) -> f32 {
    f32::from_bits(u32::from(bits) << 16)
}

/// The bits of the high and the low half.
#[inline(always)]
pub(super) fn split(value: f32) -> (u16, u16) {
    let high = rounded(value);
    (high, rounded(value - widened(high)))
}

/// Two neighbours in k as one word, in which packed weights and split pixels hold them: the even one below.
#[inline(always)]
pub(super) fn as_word(even: u16, odd: u16) -> f32 {
    f32::from_bits(u32::from(odd) << 16 | u32::from(even))
}

/// The even one of a word, and the odd one.
#[inline(always)]
pub(super) fn of_word(word: f32) -> [u16; 2] {
    [word.to_bits() as u16, (word.to_bits() >> 16) as u16]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ties_go_to_even_and_small_numbers_to_zero() {
        assert_eq!(rounded(1.0), 0x3f80);
        assert_eq!(rounded(f32::from_bits(0x3f80_8000)), 0x3f80, "a tie, to the even one below");
        assert_eq!(rounded(f32::from_bits(0x3f81_8000)), 0x3f82, "a tie, to the even one above");
        assert_eq!(rounded(f32::from_bits(0x3f80_8001)), 0x3f81);
        assert_eq!(rounded(-f32::MIN_POSITIVE / 2.0), 0x8000);
        assert_eq!(rounded(f32::MAX), 0x7f80, "an infinity");
        assert!(widened(rounded(f32::NAN)).is_nan());
        assert!(widened(rounded(f32::from_bits(0x7f80_0001))).is_nan());
    }

    #[test]
    fn two_halves_keep_sixteen_bits() {
        for x in [1.0f32, -0.3, 5.999_999_5, 1e-30, 3.141_592_7e20] {
            let (high, low) = split(x);
            let error = (f64::from(widened(high)) + f64::from(widened(low)) - f64::from(x)).abs();
            assert!(error <= f64::from(x.abs()) * 2f64.powi(-17), "{x}: {error:e}");
        }
    }
}
