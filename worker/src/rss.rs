//! How much memory this process has needed at most.

/// The high-water mark of the resident set, 0 where the system does not tell.
pub fn peak_rss_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    parse(&status).unwrap_or(0)
}

fn parse(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_high_water_mark_is_read_in_bytes() {
        assert_eq!(parse("VmPeak:\t 10 kB\nVmHWM:\t    1264 kB\nVmRSS:\t 3 kB\n"), Some(1264 * 1024));
        assert_eq!(parse("VmRSS:\t 3 kB\n"), None);
    }
}
