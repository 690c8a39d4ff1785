//! Counters: numbers that a job's code adds up beside its result, told while the job runs and in its report.

use mr_core::{Counters, Failure};

/// A job has few, which everybody looks at.
const NAMES_MAX: usize = 100;
const NAME_BYTES_MAX: usize = 100;

/// What an attempt has counted.
#[derive(Debug, Default)]
pub(crate) struct Counting {
    /// For the record at hand, which may still be set aside.
    staged: Counters,
    sum: Counters,
}

impl Counting {
    pub fn count(&mut self, name: &str, by: u64) {
        add(&mut self.staged, name, by);
    }

    /// What was counted for the record at hand counts.
    pub fn accept(&mut self) {
        for (name, by) in &self.staged {
            add(&mut self.sum, name, *by);
        }
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
        if self.sum.len() > NAMES_MAX {
            let first = self.sum.keys().next().expect("there are many");
            let count = self.sum.len();
            return Err(Failure::permanent(format!(
                "the job's code counts under {count} names in one task, `{first}` among them, and {NAMES_MAX} is the most: \
                 what belongs to the data is better emitted"
            )));
        }
        match self.sum.keys().find(|name| name.is_empty() || name.len() > NAME_BYTES_MAX) {
            Some(name) => Err(Failure::permanent(format!("a counter is named {name:?}: 1 to {NAME_BYTES_MAX} bytes"))),
            None => Ok(self.sum),
        }
    }
}

fn add(counters: &mut Counters, name: &str, by: u64) {
    match counters.get_mut(name) {
        Some(sum) => *sum = sum.saturating_add(by),
        None => _ = counters.insert(name.to_owned(), by),
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
        counting.count("end", u64::MAX);
        counting.count("end", 1);
        let counted = counting.finish().unwrap();
        assert_eq!(counted, Counters::from([("lines".into(), 5), ("end".into(), u64::MAX)]));
    }

    #[test]
    fn names_that_are_data_are_refused() {
        let mut counting = Counting::default();
        (0..=NAMES_MAX).for_each(|n| counting.count(&n.to_string(), 1));
        assert!(counting.finish().unwrap_err().message.contains("under 101 names"));
        let mut counting = Counting::default();
        counting.count("", 1);
        assert!(counting.finish().unwrap_err().message.contains("is named \"\""));
    }
}
