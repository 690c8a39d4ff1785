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

    /// A place in the queue for one request.
    pub fn queue(&mut self, now: Duration) -> Ticket {
        self.advance(now);
        self.bucket.issue()
    }

    /// Whether the request may go now, or how long it has to wait if nothing changes. Whoever asks no more, or late, is in
    /// nobody's way: its turn goes by.
    pub fn ready(&mut self, now: Duration, ticket: Ticket) -> Result<(), Duration> {
        self.advance(now);
        match self.rate(now) {
            Some(rate) => self.bucket.wait(ticket, rate).map_or(Ok(()), Err),
            None => Ok(()),
        }
    }

    pub fn note(&mut self, now: Duration, answers: StoreAnswers) {
        self.advance(now);
        self.answers.accepted += answers.accepted;
        self.answers.throttled += answers.throttled;
        self.answered_at = Some(now);
        self.governor.note(now, answers);
    }

    /// Sets this process's part of what all together may ask; `None`: as much as it likes.
    pub fn allot(&mut self, now: Duration, rate: Option<f64>) {
        self.advance(now);
        self.allotted = rate.map(|rate| Allotted { rate, until: now + ALLOTTED_FOR });
    }

    /// What has become free goes by the rate that held meanwhile.
    fn advance(&mut self, now: Duration) {
        self.bucket.advance(now, self.rate(now));
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

/// A place in a queue, by number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ticket(u64);

/// A token bucket whose tokens are numbered: ticket 7 is for the seventh token. So requests go in the order in which they
/// came, and yet none waits for another that has been given up or is not looked at for a while.
#[derive(Clone, Debug, Default)]
struct Bucket {
    issued: u64,
    /// How many tokens there have been, spent ones among them.
    tokens: f64,
    at: Duration,
}

impl Bucket {
    fn advance(&mut self, now: Duration, rate: Option<f64>) {
        let came = now.saturating_sub(self.at).as_secs_f64();
        self.at = self.at.max(now);
        let spare = rate.map_or(0.0, |rate| (rate * BURST).max(1.0));
        let most = self.issued as f64 + spare;
        self.tokens = rate.map_or(most, |rate| (self.tokens + came * rate).min(most));
    }

    fn issue(&mut self) -> Ticket {
        self.issued += 1;
        Ticket(self.issued)
    }

    fn wait(&self, Ticket(number): Ticket, rate: f64) -> Option<Duration> {
        let lacking = number as f64 - self.tokens;
        // Sums of fractions may end a hair below a whole number.
        (lacking > 1e-6).then(|| Duration::from_secs_f64(lacking / rate).max(Duration::from_micros(1)))
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
            let ticket = pacer.queue(now);
            while let Err(wait) = pacer.ready(now, ticket) {
                assert!(wait > Duration::ZERO, "a wait of nothing would be a busy loop");
                now += wait;
            }
            went += 1;
        }
        went
    }

    fn goes_at_once(pacer: &mut Pacer, seconds: f64) -> bool {
        let ticket = pacer.queue(at(seconds));
        pacer.ready(at(seconds), ticket).is_ok()
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
        assert!((0..10_000).all(|_| goes_at_once(&mut pacer, 1.0)));
        pacer.allot(at(1.0), Some(2.0));
        assert!((0..10_000).any(|_| !goes_at_once(&mut pacer, 1.0)));
        pacer.allot(at(1.0), None);
        assert!((0..10_000).all(|_| goes_at_once(&mut pacer, 1.0)), "taken back");
    }

    #[test]
    fn requests_go_in_turn_and_wait_for_nobody_who_has_gone() {
        let mut pacer = Pacer::default();
        pacer.allot(at(0.0), Some(10.0));
        let tickets: Vec<_> = (0..11).map(|_| pacer.queue(at(0.0))).collect();
        let ready = |pacer: &mut Pacer, seconds: f64| {
            let ready = tickets.iter().take_while(|ticket| pacer.ready(at(seconds), **ticket).is_ok());
            ready.count()
        };
        assert_eq!(ready(&mut pacer, 0.0), 0);
        assert_eq!(ready(&mut pacer, 0.35), 3);
        // The first three never come back, which is not the eleventh's affair.
        assert_eq!(pacer.ready(at(0.35), tickets[10]).map_err(|wait| wait.as_millis()), Err(750));
        // Nor is what becomes of the rate a matter of how long nobody looked.
        pacer.allot(at(0.55), Some(100.0));
        assert_eq!(ready(&mut pacer, 0.55), 5);
        assert_eq!(ready(&mut pacer, 0.615), 11);
    }

    #[test]
    fn who_waits_goes_when_there_is_no_limit_any_more() {
        let mut pacer = Pacer::default();
        pacer.allot(at(0.0), Some(1.0));
        let tickets: Vec<_> = (0..100).map(|_| pacer.queue(at(0.0))).collect();
        assert!(pacer.ready(at(1.0), tickets[99]).is_err());
        pacer.allot(at(1.0), None);
        assert!(tickets.iter().all(|ticket| pacer.ready(at(1.0), *ticket).is_ok()));
        // And what was waiting then is no debt of whoever comes when there is one again.
        pacer.allot(at(2.0), Some(1.0));
        let late = pacer.queue(at(2.0));
        assert!(pacer.ready(at(2.0), late).map_or_else(|wait| wait <= at(1.0), |()| true));
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
