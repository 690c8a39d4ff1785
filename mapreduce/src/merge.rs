//! Merging runs: all values of one key together, in the order of the tasks that emitted them and not in the order in
//! which these ended, so that sums of floating-point numbers come out the same every time.

use crate::run::Pair;
use bytes::Bytes;
use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// Calls `each` for every key in ascending order with its values, run by run.
pub fn merge<E>(runs: Vec<Vec<Pair>>, mut each: impl FnMut(Bytes, Vec<Bytes>) -> Result<(), E>) -> Result<(), E> {
    let mut rest: Vec<_> = runs.into_iter().map(Vec::into_iter).collect();
    let mut heads = BinaryHeap::new();
    let advance = |heads: &mut BinaryHeap<_>, rest: &mut Vec<std::vec::IntoIter<Pair>>, run: usize| {
        if let Some(pair) = rest[run].next() {
            heads.push(Reverse((pair.key, run, Value(pair.value))));
        }
    };
    for run in 0..rest.len() {
        advance(&mut heads, &mut rest, run);
    }
    let mut open: Option<(Bytes, Vec<Bytes>)> = None;
    while let Some(Reverse((key, run, Value(value)))) = heads.pop() {
        advance(&mut heads, &mut rest, run);
        match &mut open {
            Some((open_key, values)) if *open_key == key => values.push(value),
            _ => {
                if let Some((key, values)) = open.replace((key, vec![value])) {
                    each(key, values)?;
                }
            }
        }
    }
    match open {
        Some((key, values)) => each(key, values),
        None => Ok(()),
    }
}

/// A value takes no part in the order: two pairs of one key in one run keep the order they were emitted in, since only
/// one pair of a run is in the heap at a time.
struct Value(Bytes);

impl PartialEq for Value {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Value {}

impl PartialOrd for Value {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Value {
    fn cmp(&self, _: &Self) -> std::cmp::Ordering {
        std::cmp::Ordering::Equal
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;
    use std::convert::Infallible;

    fn pair(key: &str, value: &str) -> Pair {
        Pair { key: key.to_owned().into(), value: value.to_owned().into() }
    }

    #[test]
    fn values_of_a_key_come_in_task_order_and_keys_in_theirs() {
        let runs = vec![
            vec![pair("a", "0"), pair("c", "1"), pair("c", "2")],
            vec![],
            vec![pair("b", "3"), pair("c", "4")],
            vec![pair("a", "5")],
        ];
        let mut model: BTreeMap<Bytes, Vec<Bytes>> = BTreeMap::new();
        for Pair { key, value } in runs.iter().flatten().cloned() {
            model.entry(key).or_default().push(value);
        }
        let mut merged = Vec::new();
        merge(runs, |key, values| {
            merged.push((key, values));
            Ok::<_, Infallible>(())
        })
        .unwrap();
        assert_eq!(merged, model.into_iter().collect::<Vec<_>>());
    }
}
