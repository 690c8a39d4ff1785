//! Numbers that a job's code adds up beside its result, by their names.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A sum stays at the largest number that there is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Counters(BTreeMap<String, u64>);

impl Counters {
    /// Everybody looks at all of them.
    pub const NAMES_MAX: usize = 100;
    const NAME_BYTES_MAX: usize = 100;

    pub fn add(&mut self, name: &str, by: u64) {
        if let Some(sum) = self.0.get_mut(name) {
            *sum = sum.saturating_add(by);
        } else if self.0.len() <= Self::NAMES_MAX {
            // One more than there may be is enough to say so.
            self.0.insert(name.to_owned(), by);
        }
    }

    pub fn merge(&mut self, more: &Self) {
        more.iter().for_each(|(name, by)| self.add(name, by));
    }

    /// Takes back what was merged before. A name stays.
    pub fn take_back(&mut self, less: &Self) {
        for (name, by) in less.iter() {
            if let Some(sum) = self.0.get_mut(name) {
                *sum = sum.saturating_sub(by);
            }
        }
    }

    pub fn iter(&self) -> impl Iterator<Item = (&str, u64)> {
        self.0.iter().map(|(name, sum)| (name.as_str(), *sum))
    }

    pub fn get(&self, name: &str) -> Option<u64> {
        self.0.get(name).copied()
    }

    pub fn clear(&mut self) {
        self.0.clear();
    }

    /// Whether a job may have these.
    ///
    /// # Errors
    /// A sentence why not.
    pub fn check(&self) -> Result<(), String> {
        if self.0.len() > Self::NAMES_MAX {
            let (first, most) = (self.0.keys().next().map_or("", String::as_str), Self::NAMES_MAX);
            return Err(format!(
                "the job's code counts under more than {most} names, {first:?} among them: what belongs to the data is \
                 better emitted"
            ));
        }
        match self.0.keys().find(|name| name.is_empty() || name.len() > Self::NAME_BYTES_MAX) {
            Some(name) => Err(format!("a counter is named {name:?}: 1 to {} bytes", Self::NAME_BYTES_MAX)),
            None => Ok(()),
        }
    }
}

impl From<BTreeMap<String, u64>> for Counters {
    fn from(sums: BTreeMap<String, u64>) -> Self {
        Self(sums)
    }
}

impl From<Counters> for BTreeMap<String, u64> {
    fn from(counters: Counters) -> Self {
        counters.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_grow_and_are_taken_back() {
        let mut sums = Counters::default();
        sums.add("a", 2);
        sums.add("a", u64::MAX);
        let one = Counters::from(BTreeMap::from([("b".to_owned(), 3), ("c".to_owned(), 0)]));
        sums.merge(&one);
        sums.merge(&one);
        sums.take_back(&one);
        assert_eq!(sums.iter().collect::<Vec<_>>(), [("a", u64::MAX), ("b", 3), ("c", 0)]);
    }

    #[test]
    fn names_that_are_data_are_refused_and_take_no_memory() {
        let mut sums = Counters::default();
        (0..Counters::NAMES_MAX).for_each(|n| sums.add(&n.to_string(), 1));
        assert_eq!(sums.check(), Ok(()));
        (0..1000).for_each(|n| sums.add(&n.to_string(), 1));
        assert_eq!(sums.iter().count(), Counters::NAMES_MAX + 1);
        assert!(sums.check().unwrap_err().contains("more than 100 names"));
        for name in ["", &"x".repeat(101)] {
            let mut sums = Counters::default();
            sums.add(name, 1);
            assert!(sums.check().unwrap_err().contains("1 to 100 bytes"));
        }
    }
}
