//! Cutting a listing into splits. They depend on the listing and the settings alone, never on the number of workers.

use crate::{Object, SplitSettings};
use serde::{Deserialize, Serialize};
use std::ops::Range;

/// A run of consecutive objects of the listing: what one map task works on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Split {
    pub first: u64,
    pub count: u32,
    pub bytes: u64,
}

impl Split {
    pub fn range(&self) -> Range<usize> {
        self.first as usize..self.first as usize + self.count as usize
    }
}

/// Below this many objects a split's end is not worth choosing.
const CHOICE_MIN: usize = 8;

/// Consecutive splits that cover the listing. Only an object larger than `bytes_max` makes a split larger than that.
///
/// A split ends where the next one would begin with the key of the smallest hash, in the second half of what the limits
/// allow. So ends are a matter of the keys around them: one object more or less moves a few splits, and after them the
/// others are as they were. Limits of less than eight objects are simply filled.
pub fn plan_splits(objects: &[Object], settings: &SplitSettings) -> Vec<Split> {
    let mut splits = Vec::new();
    let mut first = 0;
    while first < objects.len() {
        let most = fits(&objects[first..], settings);
        let ends = first + most;
        let count = if ends == objects.len() || most < CHOICE_MIN {
            most
        } else {
            let begins = ends - most / 2..=ends;
            let chosen = begins.min_by_key(|next| hash(&objects[*next].key)).expect("it is not empty");
            chosen - first
        };
        let bytes = objects[first..first + count].iter().map(|object| object.bytes).sum();
        splits.push(Split { first: first as u64, count: count as u32, bytes });
        first += count;
    }
    splits
}

/// How many objects from the front the limits allow, one at least.
fn fits(objects: &[Object], settings: &SplitSettings) -> usize {
    let mut bytes = 0u64;
    let within = |object: &&Object| {
        bytes = bytes.saturating_add(object.bytes);
        bytes <= settings.bytes_max
    };
    objects.iter().take(settings.objects_max as usize).take_while(within).count().max(1)
}

/// FNV-1a, whose high bits hardly depend on the last bytes, mixed by the last step of splitmix64. Results depend on it,
/// so it stays as it is. <http://www.isthe.com/chongo/tech/comp/fnv/>, <https://prng.di.unimi.it/splitmix64.c>
fn hash(key: &str) -> u64 {
    let fnv = key.bytes().fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3) //
    });
    let mixed = (fnv ^ (fnv >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    fn cut(sizes: &[u64], objects_max: u32, bytes_max: u64) -> Vec<Vec<u64>> {
        let objects: Vec<_> = sizes
            .iter()
            .enumerate()
            .map(|(i, &bytes)| Object { key: format!("{i:03}"), bytes, etag: String::new() })
            .collect();
        let splits = plan_splits(&objects, &SplitSettings { objects_max, bytes_max });
        splits.iter().map(|s| objects[s.range()].iter().map(|o| o.bytes).collect()).collect()
    }

    #[test]
    fn a_split_ends_at_either_limit_and_covers_everything_once() {
        assert_eq!(cut(&[], 2, 10), Vec::<Vec<u64>>::new());
        assert_eq!(cut(&[1, 1, 1, 1, 1], 2, 10), [vec![1, 1], vec![1, 1], vec![1]]);
        assert_eq!(cut(&[6, 4, 1], 9, 10), [vec![6, 4], vec![1]]);
        assert_eq!(cut(&[50, 1, 50], 9, 10), [vec![50], vec![1], vec![50]]);
        assert_eq!(cut(&[0, 0, 0], 9, 10), [vec![0, 0, 0]]);
    }

    fn named(keys: impl Iterator<Item = u32>) -> Vec<Object> {
        let object = |n| Object { key: format!("photos/{:03}/{n:06}.jpg", n / 100), bytes: 1000, etag: String::new() };
        keys.map(object).collect()
    }

    #[test]
    fn the_ends_of_splits_are_pinned() {
        assert_eq!(hash(""), 0xf52a_15e9_a9b5_e89b);
        let counts =
            |settings| plan_splits(&named(0..300), &settings).iter().map(|split| split.count).collect::<Vec<_>>();
        assert_eq!(counts(SplitSettings::default()), [49, 34, 63, 46, 57, 51]);
        assert_eq!(
            counts(SplitSettings { objects_max: 1000, bytes_max: 40_500 }),
            [32, 33, 36, 39, 20, 32, 31, 26, 20, 31]
        );
        assert_eq!(counts(SplitSettings { objects_max: 300, ..SplitSettings::default() }), [300]);
    }

    #[test]
    fn one_object_more_moves_few_splits() {
        let settings = SplitSettings::default();
        let keys = |objects: &[Object]| -> BTreeSet<Vec<String>> {
            let splits = plan_splits(objects, &settings);
            assert!(splits.iter().all(|split| split.count <= settings.objects_max));
            assert_eq!(splits.iter().map(|split| split.count as usize).sum::<usize>(), objects.len());
            splits.iter().map(|split| objects[split.range()].iter().map(|o| o.key.clone()).collect()).collect()
        };
        let objects = named((0..20_000).map(|n| 2 * n));
        let before = keys(&objects);
        let (mut moved, mut most) = (0, 0);
        for n in 0..100 {
            let mut more = objects.clone();
            more.insert(200 * n + 1, named(std::iter::once(400 * n as u32 + 1)).remove(0));
            assert!(more.is_sorted_by_key(|object| object.key.clone()));
            let new = keys(&more).difference(&before).count();
            (moved, most) = (moved + new, most.max(new));
        }
        // Of about four hundred splits.
        assert!(moved <= 300 && most <= 12, "{moved} splits moved in all, {most} at once");
    }
}
