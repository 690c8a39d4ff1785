//! Records of the sort benchmark: a hundred bytes each, of which the first ten are the key.
//!
//! They are laid out as `gensort -a` lays them out (<http://www.ordinal.com/gensort.html>): ten printable characters, two spaces,
//! the record's number in 32 hexadecimal digits, two spaces, thirteen hexadecimal digits four times each, and a line's end.
//! The random numbers are others: each record's follow from its own number, so that any part of a set can be made by itself.

/// Bytes of a record, and of its key.
pub const RECORD: usize = 100;
pub const KEY: usize = 10;

/// Characters that a key is made of, from the space on.
const PRINTABLE: u64 = 95;
const DIGITS: &[u8; 16] = b"0123456789ABCDEF";

/// The record of that number.
pub fn record(number: u64) -> [u8; RECORD] {
    let mut record = [b' '; RECORD];
    let (mut first, second) = (mixed(2 * number), mixed(2 * number + 1));
    for (place, character) in record[..KEY].iter_mut().enumerate() {
        if place == 8 {
            first = second;
        }
        *character = b' ' + (first % PRINTABLE) as u8;
        first /= PRINTABLE;
    }
    record[12..28].fill(b'0');
    for (place, digit) in record[28..44].iter_mut().enumerate() {
        *digit = DIGITS[(number >> (60 - 4 * place) & 15) as usize];
    }
    for (place, four) in record[46..98].chunks_exact_mut(4).enumerate() {
        four.fill(DIGITS[(second >> (4 * place) & 15) as usize]);
    }
    record[98..].copy_from_slice(b"\r\n");
    record
}

/// The last step of splitmix64. <https://prng.di.unimi.it/splitmix64.c>
fn mixed(number: u64) -> u64 {
    let mixed = number.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

/// What a set of records adds up to, in whatever order: as many, with the same sum of their CRC-32s, are the same records.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sum {
    pub records: u64,
    pub checksum: u128,
}

impl Sum {
    pub fn add(&mut self, record: &[u8]) {
        self.records += 1;
        self.checksum += u128::from(crc32fast::hash(record));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_lines_of_a_hundred_bytes_and_pinned() {
        let text = |number| String::from_utf8(record(number).to_vec()).unwrap();
        assert_eq!(
            text(0x12ab),
            "PU{hOrE[Uu  000000000000000000000000000012AB  0000CCCCBBBB66661111BBBB888811112222AAAA6666DDDDBBBB\r\n"
        );
        let mut keys: Vec<_> = (0..1000).map(|number| record(number)[..KEY].to_vec()).collect();
        keys.sort();
        keys.dedup();
        assert_eq!(keys.len(), 1000);
        assert!((0..1000).all(|number| record(number)[..98].iter().all(|byte| (b' '..=b'~').contains(byte))));
    }

    #[test]
    fn a_sum_minds_neither_order_nor_anything_else() {
        let sum = |numbers: &[u64]| {
            let mut sum = Sum::default();
            numbers.iter().for_each(|number| sum.add(&record(*number)));
            sum
        };
        assert_eq!(sum(&[1, 2, 3]), sum(&[3, 1, 2]));
        assert_ne!(sum(&[1, 2, 3]), sum(&[1, 2, 2]));
    }
}
