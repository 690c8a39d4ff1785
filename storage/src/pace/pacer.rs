//! When the next request to one place may go: what this process found out by itself and what it was allotted, whichever
//! is less. Without clock or IO.

use super::governor::Governor;
use mr_core::StoreAnswers;
use std::time::Duration;

/// How long a cut is given to show before the next: AWS's SDKs measure over half-seconds.
const WINDOW: Duration = Duration::from_millis(500);
/// Requests that may go at once after a pause, as seconds of the rate. Little, since all processes may do so together.
const BURST: f64 = 0.1;
/// An allotment not renewed for so long is void: whoever gave it is gone, and this process has its own judgement.
const ALLOTTED_FOR: Duration = Duration::from_secs(20);

#[derive(Clone, Debug)]
pub struct Pacer {
    governor: Governor,
    allotted: Option<Allotted>,
    bucket: Bucket,
    answers: StoreAnswers,
    answered_at: Option<Duration>,
}

#[derive(Clone, Copy, Debug)]
struct Allotted {
    rate: f64,
    until: Duration,
}

impl Default for Pacer {
    fn default() -> Self {
        Self {
            governor: Governor::new(WINDOW),
            allotted: None,
            bucket: Bucket::default(),
            answers: StoreAnswers::default(),
            answered_at: None,
        }
    }
}

impl Pacer {
    /// Requests a second; `None`: as many as you like.
    pub fn rate(&self, now: Duration) -> Option<f64> {
        let allotted = self.allotted.filter(|allotted| now < allotted.until).map(|allotted| allotted.rate);
        match (self.governor.rate(now), allotted) {
            (Some(own), Some(allotted)) => Some(own.min(allotted)),
            (own, allotted) => own.or(allotted),
        }
    }

    /// Takes leave for one request, or says how long to wait before asking again.
    pub fn take(&mut self, now: Duration) -> Result<(), Duration> {
        match self.rate(now) {
            Some(rate) => self.bucket.take(now, rate),
            None => Ok(()),
        }
    }

    pub fn note(&mut self, now: Duration, answers: StoreAnswers) {
        self.answers.accepted += answers.accepted;
        self.answers.throttled += answers.throttled;
        self.answered_at = Some(now);
        self.governor.note(now, answers);
    }

    /// Sets this process's part of what all together may ask; `None`: as much as it likes.
    pub fn allot(&mut self, now: Duration, rate: Option<f64>) {
        self.allotted = rate.map(|rate| Allotted { rate, until: now + ALLOTTED_FOR });
    }

    /// All answers so far.
    pub fn answers(&self) -> StoreAnswers {
        self.answers
    }

    /// Whether there was an answer in the last while.
    pub fn answered_within(&self, now: Duration, last: Duration) -> bool {
        self.answered_at.is_some_and(|at| now.saturating_sub(at) < last)
    }
}

/// A token bucket: a request takes a token, and time brings new ones.
#[derive(Clone, Debug, Default)]
struct Bucket {
    tokens: f64,
    at: Duration,
}

impl Bucket {
    fn take(&mut self, now: Duration, rate: f64) -> Result<(), Duration> {
        let came = now.saturating_sub(self.at).as_secs_f64() * rate;
        self.tokens = (self.tokens + came).min((rate * BURST).max(1.0));
        self.at = self.at.max(now);
        // Sums of fractions may end a hair below one.
        if self.tokens >= 1.0 - 1e-9 {
            self.tokens = (self.tokens - 1.0).max(0.0);
            return Ok(());
        }
        Err(Duration::from_secs_f64((1.0 - self.tokens) / rate).max(Duration::from_micros(1)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: f64) -> Duration {
        Duration::from_secs_f64(seconds)
    }

    /// How many requests go in this time if there is always one waiting.
    fn go(pacer: &mut Pacer, from: f64, to: f64) -> u32 {
        let (mut now, mut went) = (at(from), 0);
        while now < at(to) {
            match pacer.take(now) {
                Ok(()) => went += 1,
                Err(wait) => {
                    assert!(wait > Duration::ZERO, "a wait of nothing would be a busy loop");
                    now += wait;
                }
            }
        }
        went
    }

    #[test]
    fn an_allotment_is_kept_to() {
        for rate in [1.0, 7.0, 100.0, 3500.0] {
            let mut pacer = Pacer::default();
            pacer.allot(at(100.0), Some(rate));
            let went = f64::from(go(&mut pacer, 100.0, 110.0));
            let most = 10.0 * rate + (rate * BURST).max(1.0) + 1.0;
            assert!((10.0 * rate - 1.0..=most).contains(&went), "{went} at {rate} a second");
        }
    }

    #[test]
    fn without_a_word_from_anyone_there_is_no_limit() {
        let mut pacer = Pacer::default();
        assert!((0..10_000).all(|_| pacer.take(at(1.0)).is_ok()));
        pacer.allot(at(1.0), Some(2.0));
        assert!((0..10_000).any(|_| pacer.take(at(1.0)).is_err()));
        pacer.allot(at(1.0), None);
        assert!((0..10_000).all(|_| pacer.take(at(1.0)).is_ok()), "taken back");
    }

    #[test]
    fn an_allotment_ends_with_whoever_gave_it() {
        let mut pacer = Pacer::default();
        pacer.allot(at(0.0), Some(2.0));
        assert_eq!(pacer.rate(at(19.0)), Some(2.0));
        assert_eq!(pacer.rate(at(20.0)), None);
    }

    #[test]
    fn the_lesser_of_both_limits_holds() {
        let mut pacer = Pacer::default();
        pacer.allot(at(1.0), Some(40.0));
        for tenth in 10..30 {
            pacer.note(at(f64::from(tenth) / 10.0), StoreAnswers { accepted: 10, throttled: 0 });
        }
        assert_eq!(pacer.rate(at(3.0)), Some(40.0));
        // At once, before anybody else is heard: the hundred a second that were sent were too many.
        pacer.note(at(3.0), StoreAnswers { accepted: 0, throttled: 1 });
        assert_eq!(pacer.rate(at(3.0)), Some(40.0));
        pacer.allot(at(3.0), Some(500.0));
        let own = pacer.rate(at(3.0)).expect("limited");
        assert!((60.0..75.0).contains(&own), "{own}");
    }
}
