//! Ids of jobs: made by whoever submits, so that a submission repeated after a lost answer is the same job.

use mr_core::JobId;
use std::io::Read;
use std::time::{SystemTime, UNIX_EPOCH};

/// `YYYYMMDD-HHMMSS-xxxxxx`: the time for people and for sorting, chance against two in one second.
///
/// # Errors
/// When the system gives no random bytes.
pub fn new() -> std::io::Result<JobId> {
    let random = random()?;
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    Ok(make(seconds, random))
}

/// # Errors
/// When the system gives no random bytes.
pub fn random() -> std::io::Result<u64> {
    let mut random = [0; 8];
    std::fs::File::open("/dev/urandom")?.read_exact(&mut random)?;
    Ok(u64::from_le_bytes(random))
}

fn make(seconds: u64, random: u64) -> JobId {
    const LETTERS: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";
    let (year, month, day) = date(seconds / 86_400);
    let (hour, minute, second) = (seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
    let chance: String = (0..6).map(|i| LETTERS[(random >> (5 * i)) as usize % 32] as char).collect();
    JobId::parse(&format!("{year:04}{month:02}{day:02}-{hour:02}{minute:02}{second:02}-{chance}"))
        .expect("digits, small letters and dashes")
}

/// Whether a name has the shape that [`new`] gives: 8 digits, 6 digits, 6 letters or digits.
pub fn is_one(name: &str) -> bool {
    let parts: Vec<_> = name.split('-').collect();
    let digits = |part: &str, n| part.len() == n && part.bytes().all(|b| b.is_ascii_digit());
    JobId::parse(name).is_ok()
        && matches!(parts[..], [day, time, chance] if digits(day, 8) && digits(time, 6) && chance.len() == 6)
}

/// Year, month and day of a day since 1970, in the Gregorian calendar.
fn date(days: u64) -> (u64, u64, u64) {
    let leap = |year: u64| year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let (mut year, mut left) = (1970, days);
    while left >= 365 + u64::from(leap(year)) {
        left -= 365 + u64::from(leap(year));
        year += 1;
    }
    let february = 28 + u64::from(leap(year));
    let mut month = 1;
    for length in [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31] {
        if left < length {
            break;
        }
        left -= length;
        month += 1;
    }
    (year, month, left + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_begins_with_its_time() {
        for (seconds, expected) in [
            (0, "19700101-000000"),
            (951_782_399, "20000228-235959"),
            (951_782_400, "20000229-000000"),
            (1_709_251_199, "20240229-235959"),
            (1_735_689_599, "20241231-235959"),
            (1_796_083_872, "20261201-001112"),
            (4_107_542_400, "21000301-000000"),
        ] {
            assert!(make(seconds, 7).as_str().starts_with(expected), "{} {expected}", make(seconds, 7));
        }
    }

    #[test]
    fn two_ids_differ_and_have_the_shape() {
        let (one, other) = (new().unwrap(), new().unwrap());
        assert_ne!(one, other);
        assert!(is_one(one.as_str()) && is_one(make(0, u64::MAX).as_str()));
        for other in
            ["20260101-000000", "20260101-000000-abc", "a0260101-000000-abcdef", "20260101-000000-abcdef-", "x"]
        {
            assert!(!is_one(other), "{other}");
        }
    }
}
