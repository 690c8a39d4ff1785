//! What an attempt counts, for records that may still be set aside.

use mr_core::{Counters, Failure};

#[derive(Debug, Default)]
pub(crate) struct Counting {
    /// For the record at hand.
    staged: Counters,
    sum: Counters,
}

impl Counting {
    pub fn count(&mut self, name: &str, by: u64) {
        self.staged.add(name, by);
    }

    /// What was counted for the record at hand counts.
    pub fn accept(&mut self) {
        self.sum.merge(&self.staged);
        self.staged.clear();
    }

    /// What was counted for the record at hand does not.
    pub fn refuse(&mut self) {
        self.staged.clear();
    }

    /// All of it.
    ///
    /// # Errors
    /// When there is more than anybody would look at.
    pub fn finish(mut self) -> Result<Counters, Failure> {
        self.accept();
        self.sum.check().map_err(Failure::permanent)?;
        Ok(self.sum)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_counted_for_a_record_goes_with_it() {
        let mut counting = Counting::default();
        counting.count("lines", 2);
        counting.count("lines", 3);
        counting.accept();
        counting.count("lines", 7);
        counting.count("other", 7);
        counting.refuse();
        counting.count("end", 1);
        let counted = counting.finish().unwrap();
        assert_eq!(counted.iter().collect::<Vec<_>>(), [("end", 1), ("lines", 5)]);
        let mut counting = Counting::default();
        counting.count("", 1);
        assert!(counting.finish().unwrap_err().message.contains("is named \"\""));
    }
}
