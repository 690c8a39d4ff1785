//! Numbers and times as people read them.

use mr_core::JobStatus;

/// `4,020`.
pub fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (position, digit) in digits.chars().enumerate() {
        if position > 0 && (digits.len() - position).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// `1 image`, `4,020 images`.
pub fn of(number: u64, noun: &str) -> String {
    format!("{} {}", count(number), if number == 1 { noun.strip_suffix('s').unwrap_or(noun) } else { noun })
}

/// Three figures are enough: `0.42`, `6.3`, `312`, `1,204`.
pub fn rate(number: f64) -> String {
    match number {
        n if n >= 99.95 => count(n.round() as u64),
        n if n >= 9.995 => format!("{n:.1}"),
        n => format!("{n:.2}"),
    }
}

/// `0.4 s`, `31.2 s`, `4 min 3 s`, `2 h 5 min`.
pub fn duration(ms: u64) -> String {
    let seconds = ms / 1000;
    match seconds {
        0..60 => format!("{}.{} s", seconds, ms % 1000 / 100),
        60..3600 => format!("{} min {} s", seconds / 60, seconds % 60),
        _ => format!("{} h {} min", seconds / 3600, seconds / 60 % 60),
    }
}

/// A time that is a guess: `6 s`, `4 min`, `2 h 5 min`.
pub fn about(seconds: f64) -> String {
    match seconds.ceil() as u64 {
        seconds @ 0..90 => format!("{seconds} s"),
        seconds @ 90..5400 => format!("{} min", seconds.div_ceil(60)),
        seconds => format!("{} h {} min", seconds / 3600, seconds / 60 % 60),
    }
}

/// In decimal units: `512 B`, `12.3 MB`, `4.56 TB`.
pub fn bytes(bytes: u64) -> String {
    let units = ["kB", "MB", "GB", "TB", "PB", "EB"];
    let mut size = bytes as f64;
    let mut named = None;
    for unit in units {
        if size < 999.5 {
            break;
        }
        (size, named) = (size / 1000.0, Some(unit));
    }
    named.map_or_else(|| format!("{bytes} B"), |unit| format!("{} {unit}", rate(size)))
}

/// US dollars: `$0.0025`, `$1.39`, `$1,204`.
pub fn usd(usd: f64) -> String {
    match usd {
        usd if usd >= 999.995 => format!("${}", count(usd.round() as u64)),
        usd if usd >= 0.995 => format!("${usd:.2}"),
        usd => format!("${usd:.4}"),
    }
}

/// What the records of a stage are called: of the first, where objects are cut, there are more than objects.
pub fn of_stage(status: &JobStatus, position: usize) -> &'static str {
    let total = status.stages.get(position).and_then(|stage| stage.records_total);
    match position {
        0 if total.is_some_and(|total| total > status.books.listed) => "pieces",
        _ => records(&status.job),
    }
}

/// What a job's records are called. The registry of whoever watches need not have the job, so its name has to do.
pub fn records(job: &str) -> &'static str {
    if job.starts_with("image") { "images" } else { "records" }
}

/// What the objects of a job's input are called.
pub fn objects(job: &str) -> &'static str {
    if job.starts_with("image") { "images" } else { "objects" }
}

/// What became of those that are in the result.
pub fn mapped(job: &str) -> &'static str {
    if job.starts_with("image") { "embedded" } else { "mapped" }
}

/// A place as it is written in a shell or a program: a path where it is on this machine.
pub fn place(url: &str) -> &str {
    let path = url.strip_prefix("file://").unwrap_or(url);
    match path.trim_end_matches('/') {
        "" => "/",
        short if path == url => {
            if url.ends_with('/') {
                &url[..short.len() + 1]
            } else {
                short
            }
        }
        short => short,
    }
}

/// One line, without what a terminal would obey: names of objects and messages come from anywhere.
pub fn harmless(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_readable() {
        assert_eq!([0, 7, 999, 1_000, 4_020, 1_234_567].map(count), ["0", "7", "999", "1,000", "4,020", "1,234,567"]);
        assert_eq!([of(1, "images"), of(0, "images")], ["1 image", "0 images"]);
        assert_eq!(
            [0.0, 0.424, 6.3, 9.999, 99.96, 312.4, 1203.6].map(rate),
            ["0.00", "0.42", "6.30", "10.0", "100", "312", "1,204"]
        );
        assert_eq!(
            [0, 449, 31_250, 60_000, 243_000, 7_500_000].map(duration),
            ["0.0 s", "0.4 s", "31.2 s", "1 min 0 s", "4 min 3 s", "2 h 5 min"]
        );
        assert_eq!(
            [0.0, 5.2, 89.0, 90.0, 240.0, 7_500.0].map(about),
            ["0 s", "6 s", "89 s", "2 min", "4 min", "2 h 5 min"]
        );
    }

    #[test]
    fn sizes_and_dollars_are_readable() {
        let sizes = [0, 999, 1_000, 12_345_678, 999_600, 4_560_000_000_000, u64::MAX];
        assert_eq!(sizes.map(bytes), ["0 B", "999 B", "1.00 kB", "12.3 MB", "1.00 MB", "4.56 TB", "18.4 EB"]);
        let dollars = [0.0, 0.00251, 0.5, 1.394, 999.99, 1203.6];
        assert_eq!(dollars.map(usd), ["$0.0000", "$0.0025", "$0.5000", "$1.39", "$999.99", "$1,204"]);
    }

    #[test]
    fn places_are_written_as_a_program_takes_them() {
        for (url, expected) in [
            ("file:///a b/c/", "/a b/c"),
            ("file:///", "/"),
            ("s3://bucket/a/", "s3://bucket/a/"),
            ("s3://bucket/", "s3://bucket/"),
        ] {
            assert_eq!(place(url), expected);
        }
    }
}
