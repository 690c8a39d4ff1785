//! The time that requests are signed with. S3 takes none that is a quarter of an hour off its own clock.
//!
//! It is what the host's clock showed when it was first asked for, and from there on runs by itself: somebody may set the
//! host's clock meanwhile, and the SDK also measures by this time whether a body has stalled. Where that clock was wrong, or
//! the host has slept, the store's answers tell by how much.

use aws_sdk_s3::config::interceptors::BeforeDeserializationInterceptorContextRef;
use aws_sdk_s3::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_s3::error::BoxError;
use aws_sdk_s3::primitives::{DateTime, DateTimeFormat};
use aws_smithy_async::time::TimeSource;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// What is not worth correcting: an answer's date is as old as its way here took.
const NEAR_SECONDS: i64 = 60;

#[derive(Clone, Debug, Default)]
pub(super) struct Clock {
    /// By how much the store is ahead of [`host`].
    ahead_seconds: Arc<AtomicI64>,
}

impl Clock {
    /// An answer with this `Date` has come.
    fn hear(&self, date: &str, now: SystemTime) {
        let Some(ahead) = ahead(date, now) else { return };
        let ahead = if ahead.abs() > NEAR_SECONDS { ahead } else { 0 };
        let known = self.ahead_seconds.load(Ordering::Relaxed);
        if ahead.abs_diff(known) <= NEAR_SECONDS.unsigned_abs() {
            return;
        }
        self.ahead_seconds.store(ahead, Ordering::Relaxed);
        let by_the_store = "requests are signed with the store's time";
        match ahead {
            0 => tracing::info!("this host's clock agrees with the store's again"),
            1.. => tracing::warn!("this host's clock is {ahead} s behind the store's: {by_the_store}"),
            _ => tracing::warn!("this host's clock is {} s ahead of the store's: {by_the_store}", ahead.unsigned_abs()),
        }
    }

    fn at(&self, now: SystemTime) -> SystemTime {
        let ahead = self.ahead_seconds.load(Ordering::Relaxed);
        let by = Duration::from_secs(ahead.unsigned_abs());
        if ahead < 0 { now.checked_sub(by) } else { now.checked_add(by) }.unwrap_or(now)
    }
}

/// The host's time, as if nobody set its clock.
fn host() -> SystemTime {
    static BEGAN: OnceLock<(SystemTime, Instant)> = OnceLock::new();
    let (time, at) = BEGAN.get_or_init(|| (SystemTime::now(), Instant::now()));
    *time + at.elapsed()
}

/// Whether the store's date is so far off the host's that it refuses what is signed with that.
pub(super) fn is_off(date: Option<&str>) -> bool {
    date.and_then(|date| ahead(date, host())).is_some_and(|ahead| ahead.abs() > NEAR_SECONDS)
}

fn ahead(date: &str, now: SystemTime) -> Option<i64> {
    let date = DateTime::from_str(date, DateTimeFormat::HttpDate).ok()?;
    let now = i64::try_from(now.duration_since(UNIX_EPOCH).ok()?.as_secs()).ok()?;
    Some(date.secs().saturating_sub(now))
}

impl TimeSource for Clock {
    fn now(&self) -> SystemTime {
        self.at(host())
    }
}

impl Intercept for Clock {
    fn name(&self) -> &'static str {
        "the store's clock"
    }

    fn read_before_deserialization(
        &self,
        context: &BeforeDeserializationInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        if let Some(date) = context.response().headers().get("date") {
            self.hear(date, host());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stores_date_is_gone_by_until_the_hosts_is_right_again() {
        let clock = Clock::default();
        let date = "Tue, 24 Nov 2026 12:00:00 GMT";
        let noon = UNIX_EPOCH + Duration::from_secs(1_795_521_600);
        let (hour, day) = (Duration::from_secs(3600), Duration::from_secs(86_400));
        for (host, signed) in [
            (noon, noon),
            (noon + hour, noon),
            (noon - 400 * day, noon),
            // A little off is none of our business.
            (noon + Duration::from_secs(30), noon + Duration::from_secs(30)),
        ] {
            clock.hear(date, host);
            assert_eq!(clock.at(host), signed, "{:?}", clock.ahead_seconds);
        }
        clock.hear("noon", noon + hour);
        assert_eq!(clock.at(noon + hour), noon + hour, "no date is no news");
    }
}
