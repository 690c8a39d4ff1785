//! Whether a provider has not given for long what was asked of it, as one of spot machines that has none left.

use std::time::{Duration, Instant};

/// A provider shows a machine as soon as it begins to start it, long before that is up.
const LONG: Duration = Duration::from_secs(120);

#[derive(Clone, Copy, Debug, Default)]
pub struct Shortfall {
    since: Option<Instant>,
    long: bool,
}

impl Shortfall {
    /// Whether fewer machines are there than were asked for at the last look. Says when that has just become long.
    pub fn look(&mut self, now: Instant, lacks: bool) -> bool {
        self.since = if lacks { self.since.or(Some(now)) } else { None };
        let before = self.long;
        self.long = self.since.is_some_and(|since| now.duration_since(since) > LONG);
        self.long && !before
    }

    pub fn is_long(&self) -> bool {
        self.long
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_told_once_until_all_are_there() {
        let (start, mut shortfall) = (Instant::now(), Shortfall::default());
        let mut look = |seconds, lacks| {
            let told = shortfall.look(start + Duration::from_secs(seconds), lacks);
            (told, shortfall.is_long())
        };
        let seen = [(0, true), (120, true), (121, true), (200, true), (201, false), (202, true), (330, true)];
        let told =
            [(false, false), (false, false), (true, true), (false, true), (false, false), (false, false), (true, true)];
        assert_eq!(seen.map(|(seconds, lacks)| look(seconds, lacks)), told);
    }
}
