//! Whether a provider has begun to start none of the machines that are missing for long, as one of spot machines that has none
//! left.

use std::time::{Duration, Instant};

/// A provider shows a machine as soon as it begins to start it, long before that is up.
const LONG: Duration = Duration::from_secs(120);

#[derive(Clone, Copy, Debug, Default)]
pub struct Shortfall {
    /// So many were there then, fewer than were asked for, and no more have come since.
    short: Option<(u32, Instant)>,
    long: bool,
}

impl Shortfall {
    /// There are so many machines, those included that are only starting. Says when too few have been there for long.
    pub fn look(&mut self, now: Instant, asked: u32, there: u32) -> bool {
        let was_long = self.long;
        let before = self.short.filter(|(then, _)| there <= *then);
        self.short = (there < asked).then_some((there, before.map_or(now, |(_, since)| since)));
        self.long = self.short.is_some_and(|(_, since)| now.duration_since(since) > LONG);
        self.long && !was_long
    }

    pub fn is_long(&self) -> bool {
        self.long
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// At which second so many of three are there: whether it is told, and whether it is so.
    fn check(story: &[(u64, u32, (bool, bool))]) {
        let (start, mut shortfall) = (Instant::now(), Shortfall::default());
        for &(second, there, expected) in story {
            let told = shortfall.look(start + Duration::from_secs(second), 3, there);
            assert_eq!((told, shortfall.is_long()), expected, "{second} s of {story:?}");
        }
    }

    #[test]
    fn it_is_told_once_until_others_come() {
        let (no, told, lasts) = ((false, false), (true, true), (false, true));
        check(&[(0, 0, no), (120, 0, no), (121, 0, told), (200, 0, lasts), (201, 3, no), (202, 2, no), (330, 2, told)]);
        check(&[(0, 0, no), (100, 1, no), (200, 1, no), (219, 2, no), (230, 3, no)]);
        // One that is lost is no reason to begin anew.
        check(&[(0, 2, no), (100, 1, no), (121, 1, told), (122, 2, no), (123, 4, no)]);
    }
}
