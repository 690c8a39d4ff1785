//! What a JPEG's headers say of how it is coded, as far as limits and verdicts need it.

use super::bytes::u16_be;

/// What stands before a JPEG's first scan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    pub coding: Coding,
    pub bits: u8,
    /// Width and height.
    pub size: (u32, u32),
    pub components: u8,
    /// The bytes that the coefficients of all components take at 16 bits each.
    coefficient_bytes: u64,
    /// Whether the first scan holds all components, so that rows are finished as they come.
    in_one_scan: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Coding {
    Baseline,
    Progressive,
    Lossless,
    Hierarchical,
    Arithmetic,
}

impl Header {
    /// Reads up to the first scan; nothing if the bytes stop making sense before it.
    pub fn read(bytes: &[u8]) -> Option<Self> {
        let mut header: Option<Self> = None;
        let mut at = 2;
        loop {
            let marker = next_marker(bytes, &mut at)?;
            let length = usize::from(u16_be(bytes, at)?);
            let segment = bytes.get(at + 2..at + length.max(2))?;
            if let Some(coding) = Coding::of_frame(marker) {
                header = Some(Self {
                    coding,
                    bits: *segment.first()?,
                    size: (u16_be(segment, 3)?.into(), u16_be(segment, 1)?.into()),
                    components: *segment.get(5)?,
                    coefficient_bytes: coefficient_bytes(segment).unwrap_or(0),
                    in_one_scan: false,
                });
            } else if marker == 0xda {
                let in_scan = *segment.first()?;
                return header.map(|header| Self { in_one_scan: in_scan == header.components, ..header });
            }
            at += length;
        }
    }

    /// What the decoder keeps besides the picture: each component's samples, half as large as its coefficients; the
    /// coefficients themselves until it has seen the last scan; and four inks, which are a picture of their own.
    pub fn working_copy_bytes(&self) -> u64 {
        let samples = self.coefficient_bytes / 2;
        let coefficients = if self.coding == Coding::Baseline && self.in_one_scan { 0 } else { self.coefficient_bytes };
        let (width, height) = self.size;
        let inks = if self.components == 4 { u64::from(width) * u64::from(height) * 4 } else { 0 };
        samples + coefficients + inks
    }
}

impl Coding {
    fn of_frame(marker: u8) -> Option<Self> {
        match marker {
            0xc0 | 0xc1 => Some(Self::Baseline),
            0xc2 => Some(Self::Progressive),
            0xc3 => Some(Self::Lossless),
            0xc5..=0xc7 => Some(Self::Hierarchical),
            0xc9..=0xcb | 0xcd..=0xcf => Some(Self::Arithmetic),
            _ => None,
        }
    }
}

/// The next marker and the place behind it. A marker is 0xff, perhaps several, and a byte; what else lies between
/// segments is skipped, as the decoder does.
fn next_marker(bytes: &[u8], at: &mut usize) -> Option<u8> {
    loop {
        let [before, marker] = *bytes.get(*at..*at + 2)? else { return None };
        *at += 1;
        if before == 0xff && !matches!(marker, 0x00 | 0xff) {
            *at += 1;
            return Some(marker);
        }
    }
}

fn coefficient_bytes(segment: &[u8]) -> Option<u64> {
    let (height, width) = (u64::from(u16_be(segment, 1)?), u64::from(u16_be(segment, 3)?));
    let samplings = segment.get(6..)?.chunks_exact(3).map(|component| {
        let sampling = u64::from(component[1]);
        (sampling >> 4, sampling & 15)
    });
    let across = samplings.clone().map(|(across, _)| across).max()?.max(1);
    let down = samplings.clone().map(|(_, down)| down).max()?.max(1);
    let blocks: u64 = samplings.map(|(across, down)| across * down).sum();
    Some(width.div_ceil(across * 8) * height.div_ceil(down * 8) * blocks * 64 * 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A JPEG's beginning: a comment, a frame of `components` (samplings in hexadecimal) and a scan of some of them.
    fn beginning(frame: u8, bits: u8, (width, height): (u16, u16), components: &[u8], in_scan: u8) -> Vec<u8> {
        let mut bytes = vec![0xff, 0xd8, 0xff, 0xfe, 0, 4, 0xff, 0xc2]; // the comment holds what looks like a marker
        bytes.extend([0xff, 0xff, frame, 0, 8 + 3 * components.len() as u8, bits]);
        bytes.extend(height.to_be_bytes());
        bytes.extend(width.to_be_bytes());
        bytes.push(components.len() as u8);
        bytes.extend(components.iter().zip(1..).flat_map(|(&sampling, id)| [id, sampling, 0]));
        bytes.extend([0xff, 0xda, 0, 3, in_scan]);
        bytes
    }

    #[test]
    fn only_what_waits_for_later_scans_is_kept() {
        let of = |frame, in_scan| {
            let bytes = beginning(frame, 8, (100, 60), &[0x22, 0x11, 0x11], in_scan);
            Header::read(&bytes).expect("it is whole").working_copy_bytes()
        };
        // 7 x 4 units of 16 x 16 pixels, each 6 blocks of 64 coefficients.
        assert_eq!(of(0xc0, 3), 7 * 4 * 6 * 64);
        assert_eq!(of(0xc0, 1), 7 * 4 * 6 * 64 * 3);
        assert_eq!(of(0xc2, 3), 7 * 4 * 6 * 64 * 3);
    }

    #[test]
    fn codings_are_told_apart() {
        let of = |frame, bits| Header::read(&beginning(frame, bits, (8, 8), &[0x11], 1)).map(|h| (h.coding, h.bits));
        assert_eq!(of(0xc1, 12), Some((Coding::Baseline, 12)));
        assert_eq!(of(0xc3, 16), Some((Coding::Lossless, 16)));
        assert_eq!(of(0xc9, 8), Some((Coding::Arithmetic, 8)));
        assert_eq!(of(0xc4, 8), None); // a table, and then a scan without a frame
    }

    #[test]
    fn a_cut_header_says_nothing() {
        let whole = beginning(0xc2, 8, (100, 60), &[0x11, 0x11, 0x11], 3);
        for length in 0..whole.len() {
            assert_eq!(Header::read(&whole[..length]), None, "{length} bytes");
        }
        assert!(Header::read(&whole).is_some());
    }
}
