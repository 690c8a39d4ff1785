//! What a check finds: the first of it in words, and how much there is in all.

use serde::Serialize;

/// Of one thing that is the matter; `at` is a key of the output, or an object of the input.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    pub at: String,
    pub what: String,
}

/// Bounded, since whatever is wrong with one row may be wrong with a million.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Findings {
    first: Vec<Finding>,
    count: u64,
}

const FIRST_MAX: usize = 20;

impl Findings {
    pub fn add(&mut self, at: impl Into<String>, what: impl Into<String>) {
        self.count += 1;
        if self.first.len() < FIRST_MAX {
            self.first.push(Finding { at: at.into(), what: what.into() });
        }
    }

    pub fn extend(&mut self, others: Findings) {
        self.count += others.count;
        self.first.extend(others.first);
        self.first.truncate(FIRST_MAX);
    }

    pub fn first(&self) -> &[Finding] {
        &self.first
    }

    pub fn count(&self) -> u64 {
        self.count
    }

    pub fn is_empty(&self) -> bool {
        self.count == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_are_kept_and_all_are_counted() {
        let mut findings = Findings::default();
        for number in 0..15 {
            findings.add(number.to_string(), "x");
        }
        findings.extend(findings.clone());
        assert_eq!((findings.first().len(), findings.count()), (FIRST_MAX, 30));
        assert_eq!(findings.first()[16].at, "1");
    }
}
