//! What Cargo.lock says of each crate's archive: its SHA-256. Cargo writes the file, one key a line, so a line is all
//! that has to be understood.

use std::collections::BTreeMap;

use super::linked::Crate;

/// Rooms have none: they come from no registry.
pub fn checksums(lock: &str) -> BTreeMap<Crate, String> {
    let packages = lock.split("[[package]]").skip(1);
    let one = |package: &str| {
        let value = |key: &str| {
            let line = package.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(" = "))?;
            Some(line.trim().trim_matches('"').to_owned())
        };
        Some((Crate { name: value("name")?, version: value("version")? }, value("checksum")?))
    };
    packages.filter_map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::checksums;

    const LOCK: &str = r#"version = 4

[[package]]
name = "mr"
version = "0.1.0"
dependencies = [
 "serde",
]

[[package]]
name = "serde"
version = "1.0.0"
source = "registry+https://example.org"
checksum = "abc123"
"#;

    #[test]
    fn crates_of_a_registry_have_a_checksum() {
        let checksums = checksums(LOCK);
        let found: Vec<_> =
            checksums.iter().map(|(one, sum)| (one.name.as_str(), one.version.as_str(), sum.as_str())).collect();
        assert_eq!(found, [("serde", "1.0.0", "abc123")]);
    }
}
