//! The most that was wanted of late: what keeps a fleet from shrinking and growing again with each look.

use crate::Millis;
use std::collections::VecDeque;

/// The largest value within a window of time.
#[derive(Clone, Debug, Default)]
pub struct Steady {
    /// Later ones behind earlier ones that are larger.
    seen: VecDeque<(Millis, u32)>,
}

impl Steady {
    /// Notes a value, and says what is the largest since `now - window`.
    pub fn most(&mut self, value: u32, window: Millis, now: Millis) -> u32 {
        while self.seen.back().is_some_and(|(_, other)| *other <= value) {
            self.seen.pop_back();
        }
        self.seen.push_back((now, value));
        while self.seen.front().is_some_and(|(at, _)| at.saturating_add(window) < now) {
            self.seen.pop_front();
        }
        self.seen.front().map_or(value, |(_, most)| *most)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_the_largest_of_the_window_as_a_walk_over_all_finds_it() {
        let mut random = crate::sim::Random::new(7);
        let (mut steady, mut all, mut now) = (Steady::default(), Vec::new(), 0);
        for _ in 0..2000 {
            now += random.between(0, 30);
            let value = random.between(0, 9) as u32;
            all.push((now, value));
            let expected = all.iter().filter(|(at, _)| at + 100 >= now).map(|(_, value)| *value).max();
            assert_eq!(Some(steady.most(value, 100, now)), expected);
        }
    }
}
