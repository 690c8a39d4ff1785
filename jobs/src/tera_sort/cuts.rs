//! Where keys are cut into partitions that follow each other.

use super::KEY;
use mr_core::Failure;

/// The first key of each partition but the first.
#[derive(Debug, PartialEq, Eq)]
pub struct Cuts(Vec<[u8; KEY]>);

impl Cuts {
    /// For a sorted sample, whose keys stand for so many each: about as many between any two.
    pub fn of(sample: &[([u8; KEY], u64)], partitions: u32) -> Self {
        let all: u128 = sample.iter().map(|(_, weight)| u128::from(*weight)).sum();
        let (mut passed, mut rest) = (0, sample.iter());
        let mut cut = |cut: u32| {
            let wanted = all * u128::from(cut) / u128::from(partitions);
            // The first that begins there or behind. Of no sample there is nothing to cut, and all is in one partition.
            while let Some((key, weight)) = rest.as_slice().first() {
                if passed >= wanted {
                    return *key;
                }
                passed += u128::from(*weight);
                rest.next();
            }
            [u8::MAX; KEY]
        };
        Self((1..partitions).map(&mut cut).collect())
    }

    pub fn partition(&self, key: &[u8]) -> u32 {
        self.0.partition_point(|cut| cut.as_slice() <= key) as u32
    }

    pub fn to_bytes(&self) -> Vec<u8> {
        self.0.concat()
    }

    /// # Errors
    /// When they are no cuts.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Failure> {
        let (cuts, rest) = bytes.as_chunks();
        if !rest.is_empty() || !cuts.is_sorted() {
            return Err(Failure::permanent("what was broadcast are no cuts"));
        }
        Ok(Self(cuts.to_vec()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(number: u16) -> [u8; KEY] {
        let mut key = [0; KEY];
        key[..2].copy_from_slice(&number.to_be_bytes());
        key
    }

    #[test]
    fn partitions_follow_each_other_and_hold_about_as_much() {
        let sample: Vec<_> = (0..1000).map(|n| (key(n * 3), 3)).collect();
        let cuts = Cuts::of(&sample, 8);
        assert_eq!(Cuts::from_bytes(&cuts.to_bytes()).unwrap(), cuts);
        let mut held = [0; 8];
        let mut last = 0;
        for n in 0..3000 {
            let partition = cuts.partition(&key(n));
            assert!(partition >= last);
            last = partition;
            held[partition as usize] += 1;
        }
        assert!(held.iter().all(|count| (374..=376).contains(count)), "{held:?}");
    }

    #[test]
    fn what_stands_for_many_weighs_as_many() {
        // The first half of the keys are each one of a thousand.
        let sample: Vec<_> = (0..100).map(|n| (key(n), if n < 50 { 1 } else { 1000 })).collect();
        let cuts = Cuts::of(&sample, 2);
        assert_eq!([0, 49, 74, 75, 99].map(|n| cuts.partition(&key(n))), [0, 0, 0, 1, 1]);
    }

    #[test]
    fn one_key_over_and_over_goes_to_one_place_and_no_sample_to_the_first() {
        let cuts = Cuts::of(&[(key(7), 1); 100], 4);
        assert_eq!([key(0), key(7), key(8)].map(|key| cuts.partition(&key)), [0, 3, 3]);
        let none = Cuts::of(&[], 4);
        assert_eq!(none.partition(&key(9)), 0);
        assert_eq!(Cuts::of(&[(key(1), 1)], 1).partition(&key(3)), 0);
        assert!(Cuts::from_bytes(b"short").is_err());
    }
}
