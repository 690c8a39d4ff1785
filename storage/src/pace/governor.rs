//! How many requests a second are right, judged by the answers alone: half of a congestion control, without clock or IO.
//!
//! There is no limit until a store first asks for fewer requests. Then the rate is cut below what the store bore, rises
//! quickly back towards that, lingers there, and probes beyond with growing strides: the curve of CUBIC ([RFC 9438]) with
//! requests a second in place of a window, as AWS's SDKs use it in their adaptive retry mode. After a calm minute there is
//! no limit any more.
//!
//! [RFC 9438]: https://www.rfc-editor.org/rfc/rfc9438#section-4.2

use mr_core::StoreAnswers;
use std::time::Duration;

/// A cut leaves this much of the rate: β of CUBIC, 0.7 there and in AWS's SDKs.
const LEFT_BY_CUT: f64 = 0.7;
/// How steep the curve is, in requests a second and second³: C of CUBIC, 0.4 there and in AWS's SDKs. It takes a rate of
/// 100 back to where it was cut in 4 s and one of 3,500, at which S3 begins to throttle writes, in 14 s.
const STEEPNESS: f64 = 0.4;
/// How much the newest window counts in the measured rate, as in AWS's SDKs.
const NEWEST: f64 = 0.8;
/// Windows without an answer, after which a measured rate is forgotten.
const FORGOTTEN_AFTER: u32 = 4;
/// The least rate, a second. It is how often a process finds out whether the store has recovered.
pub const FLOOR: f64 = 1.0;
/// Without a throttled answer for so long there is no limit. A store that still has one would have been met again: the
/// curve is back at the rate of the cut in less time for every rate up to 280,000 a second.
pub const CALM: Duration = Duration::from_secs(60);

/// Time is given to it as the time since some fixed start, and never runs backwards.
#[derive(Clone, Debug)]
pub struct Governor {
    window: Duration,
    measured: Measured,
    cut: Option<Cut>,
}

/// The last time the rate was cut.
#[derive(Clone, Copy, Debug)]
struct Cut {
    at: Duration,
    /// What the store bore, in requests a second.
    bore: f64,
}

impl Governor {
    /// `window` is both how long requests are counted for a rate, and how long a cut is given to show: throttled answers
    /// that come sooner are to requests of before. So it has to be longer than it takes to make a cut known to those who
    /// send and to hear of it.
    pub fn new(window: Duration) -> Self {
        Self { window, measured: Measured::default(), cut: None }
    }

    /// Takes in what was answered since the last time.
    pub fn note(&mut self, now: Duration, answers: StoreAnswers) {
        self.measured.add(now, answers.accepted, self.window);
        let hold = self.cut.is_some_and(|cut| now < cut.at + self.window);
        // In a first window nothing is known yet that could be cut: what is throttled in it is only asked again later.
        if let (Some(accepted), true, false) = (self.measured.rate(self.window), answers.throttled > 0, hold) {
            // What was accepted is what the store bears, however much more was sent.
            let bore = self.rate(now).map_or(accepted, |rate| rate.min(accepted));
            self.cut = Some(Cut { at: now, bore: bore.max(FLOOR) });
        }
    }

    /// Requests a second; `None`: as many as you like.
    pub fn rate(&self, now: Duration) -> Option<f64> {
        let cut = self.cut?;
        let since = now.saturating_sub(cut.at);
        let back_after = (cut.bore * (1.0 - LEFT_BY_CUT) / STEEPNESS).cbrt();
        let rate = cut.bore + STEEPNESS * (since.as_secs_f64() - back_after).powi(3);
        (since < CALM).then_some(rate.max(FLOOR))
    }
}

/// Accepted requests a second, over windows.
#[derive(Clone, Debug, Default)]
struct Measured {
    window: Option<Window>,
    /// Of the windows before.
    smoothed: Option<f64>,
}

#[derive(Clone, Copy, Debug)]
struct Window {
    since: Duration,
    count: u64,
}

impl Measured {
    fn add(&mut self, now: Duration, accepted: u64, length: Duration) {
        let new = Window { since: now, count: 0 };
        let window = self.window.get_or_insert(new);
        let open = now.saturating_sub(window.since);
        if open >= length * FORGOTTEN_AFTER {
            // How much was asked then says nothing of now.
            (*window, self.smoothed) = (new, None);
        } else if open >= length {
            let newest = window.count as f64 / open.as_secs_f64();
            let smoothed = self.smoothed.unwrap_or(newest);
            self.smoothed = Some(NEWEST * newest + (1.0 - NEWEST) * smoothed);
            *window = new;
        }
        window.count += accepted;
    }

    /// The window that is open counts if it is ahead already.
    fn rate(&self, length: Duration) -> Option<f64> {
        let open = self.window.map_or(0, |window| window.count) as f64 / length.as_secs_f64();
        self.smoothed.map(|smoothed| smoothed.max(open))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW: Duration = Duration::from_millis(500);

    fn at(seconds: f64) -> Duration {
        Duration::from_secs_f64(seconds)
    }

    fn accepted(accepted: u64) -> StoreAnswers {
        StoreAnswers { accepted, throttled: 0 }
    }

    const THROTTLED: StoreAnswers = StoreAnswers { accepted: 0, throttled: 1 };

    /// A hundred a second for ten seconds, and then the first throttled answer.
    fn cut() -> Governor {
        let mut governor = Governor::new(WINDOW);
        for tenth in 0..100 {
            governor.note(at(f64::from(tenth) / 10.0), accepted(10));
            assert_eq!(governor.rate(at(f64::from(tenth) / 10.0)), None, "nobody has complained");
        }
        governor.note(at(10.0), THROTTLED);
        governor
    }

    fn near(governor: &Governor, seconds: f64, wanted: f64) {
        let rate = governor.rate(at(seconds)).expect("limited");
        assert!((rate - wanted).abs() < wanted * 0.05, "{rate} at {seconds} s instead of {wanted}");
    }

    #[test]
    fn a_cut_is_forgotten_by_and_by() {
        let governor = cut();
        near(&governor, 10.0, 70.0);
        near(&governor, 14.2, 100.0); // the cube root of 100 × 0.3 / 0.4
        near(&governor, 30.0, 1646.0); // and 0.4 × 15.8³ above
        let rates: Vec<_> =
            (100..690).map(|tenth| governor.rate(at(f64::from(tenth) / 10.0)).expect("limited")).collect();
        assert!(rates.is_sorted());
        assert_eq!(governor.rate(at(70.0)), None);
    }

    #[test]
    fn one_jam_is_one_cut() {
        let mut governor = cut();
        for hundredth in 1..50 {
            governor.note(at(10.0 + f64::from(hundredth) / 100.0), THROTTLED);
        }
        near(&governor, 10.0, 70.0);
        governor.note(at(10.5), THROTTLED);
        assert!(governor.rate(at(10.5)).expect("limited") < 56.0, "it still jams, at less");
    }

    #[test]
    fn a_store_that_accepts_nothing_is_asked_now_and_then() {
        let mut governor = Governor::new(WINDOW);
        for second in 0..100 {
            governor.note(at(f64::from(second)), THROTTLED);
            assert_eq!(governor.rate(at(f64::from(second))), (second > 0).then_some(FLOOR));
        }
        assert!(governor.rate(at(110.0)).expect("limited") > 100.0, "and comes back in seconds");
    }

    #[test]
    fn what_was_sent_too_fast_does_not_count_as_borne() {
        let mut governor = Governor::new(WINDOW);
        // Of a thousand a second the store takes forty.
        for tenth in 0..10 {
            governor.note(at(f64::from(tenth) / 10.0), accepted(4));
        }
        governor.note(at(1.0), StoreAnswers { accepted: 4, throttled: 960 });
        near(&governor, 1.0, 28.0);
    }

    #[test]
    fn whatever_is_answered_the_rate_stays_sound() {
        let mut chance = 1u64;
        for window in [1, 500, 1000] {
            let (mut governor, mut now) = (Governor::new(Duration::from_millis(window)), Duration::ZERO);
            for _ in 0..20_000 {
                chance = chance.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                now += Duration::from_micros((chance >> 40) % 200_000);
                let answers = StoreAnswers { accepted: (chance >> 33) % 1000, throttled: u64::from(chance >> 61 == 0) };
                governor.note(now, answers);
                assert!(governor.rate(now).is_none_or(|rate| rate.is_finite() && rate >= FLOOR));
            }
        }
    }
}
