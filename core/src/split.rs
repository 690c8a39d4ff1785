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

/// Consecutive splits that cover the listing. Only an object larger than `bytes_max` makes a split larger than that.
pub fn plan_splits(objects: &[Object], settings: &SplitSettings) -> Vec<Split> {
    let mut splits = Vec::new();
    let mut open: Option<Split> = None;
    for (position, object) in objects.iter().enumerate() {
        let full = |s: &Split| s.count >= settings.objects_max || s.bytes + object.bytes > settings.bytes_max;
        if open.as_ref().is_some_and(full) {
            splits.extend(open.take());
        }
        let split = open.get_or_insert(Split { first: position as u64, count: 0, bytes: 0 });
        split.count += 1;
        split.bytes += object.bytes;
    }
    splits.extend(open);
    splits
}

#[cfg(test)]
mod tests {
    use super::*;

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
}
