//! What is asked of every file that is or would be tracked: a purpose at the top, `unsafe` where the page allows it, pure
//! rooms pure, nobody's machine named, nothing large.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use super::Complaint;
use super::code::{blank, find_word};
use super::house::House;
use crate::shell::{command, output};

/// Words that a room's sources must not have, and why.
const PURE: [(&str, &[&str], &str); 2] = [
    ("scheduler/src/", &["HashMap", "HashSet"], "its order differs from run to run: use a BTreeMap or a Vec"),
    ("scheduler/src/", &["Instant", "SystemTime"], "the caller owns the clock: take the time as an argument"),
];

/// Starts of paths that only exist on someone's machine. In pieces, so that this file may be tracked.
const MACHINES: [&str; 3] = [concat!("/wo", "rk/"), concat!("/ro", "ot/"), concat!("/opt/", "wheels")];

const LARGE_BYTES: u64 = 1 << 20;
const LARGE_ALLOWED: &str = "vision/weights/mobilenet_v2.onnx";

pub fn check(house: &House, root: &Path) -> Result<Vec<Complaint>> {
    // Untracked files are looked at as well: better before the commit than after it.
    let files = output(command("git").args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"]))?;
    let mut complaints = Vec::new();
    for path in files.split('\0').filter(|path| !path.is_empty()) {
        let file = root.join(path);
        // Removed, but not yet in the index; or a link.
        let Ok(metadata) = fs::symlink_metadata(&file) else { continue };
        if !metadata.is_file() {
            continue;
        }
        if metadata.len() > LARGE_BYTES && path != LARGE_ALLOWED {
            complaints.push(Complaint::at(
                path,
                1,
                "is over a megabyte: make it when it is needed instead of keeping it",
            ));
            continue;
        }
        let bytes = fs::read(&file).with_context(|| format!("reading {path}"))?;
        if let Ok(text) = String::from_utf8(bytes) {
            complaints.extend(check_file(house, path, &text));
        }
    }
    Ok(complaints)
}

fn check_file(house: &House, path: &str, text: &str) -> Vec<Complaint> {
    let mut complaints = Vec::new();
    for (number, line) in text.lines().enumerate() {
        if let Some(machine) = MACHINES.iter().find(|machine| names(line, machine)) {
            complaints.push(Complaint::at(
                path,
                number + 1,
                format!("{machine} is a path of one machine: name it relative to the root"),
            ));
        }
    }
    if !path.ends_with(".rs") {
        return complaints;
    }
    if !text.trim_start().starts_with("//!") {
        complaints.push(Complaint::at(path, 1, "starts without `//!`: say in a sentence or two what the file is for"));
    }
    let code = blank(text);
    if let Some(line) =
        find_word(&code, "unsafe").filter(|_| !house.unsafe_paths.iter().any(|allowed| path.starts_with(allowed)))
    {
        complaints.push(Complaint::at(
            path,
            line,
            "has `unsafe`: move it to a place that ARCHITECTURE.md lists, or list this one and say why",
        ));
    }
    for (room, words, reason) in PURE {
        for word in words.iter().filter(|_| path.starts_with(room)) {
            if let Some(line) = find_word(&code, word) {
                complaints.push(Complaint::at(path, line, format!("has `{word}`: {reason}")));
            }
        }
    }
    complaints
}

/// Whether the line has the path from its start, not as the middle of a longer one.
fn names(line: &str, machine: &str) -> bool {
    line.match_indices(machine).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        !before.is_some_and(|c| c.is_alphanumeric() || "._-}/~".contains(c))
    })
}

#[cfg(test)]
mod tests {
    use super::{MACHINES, check_file};
    use crate::tidy::house::House;

    const PAGE: &str = "\
| room | what | may import | never |
| --- | --- | --- | --- |
| `core` | | – | – |

| guest | named by |
| --- | --- |
| `a` | `core` |

### Unsafe
- `vision/src/kernels/`: fast.
";

    #[track_caller]
    fn check(path: &str, text: &str, expected: &[&str]) {
        let house = House::parse(PAGE).unwrap();
        let complaints: Vec<_> = check_file(&house, path, text).iter().map(ToString::to_string).collect();
        let all_met = complaints.iter().zip(expected).all(|(complaint, start)| complaint.starts_with(start));
        assert!(complaints.len() == expected.len() && all_met, "{complaints:#?}");
    }

    #[test]
    fn rules_of_sources() {
        check("core/src/a.rs", "//! Good.\n", &[]);
        check("core/src/a.rs", "fn f() {}\n", &["core/src/a.rs:1: starts without"]);
        check("core/src/a.rs", "//! A.\n\nunsafe fn f() {}", &["core/src/a.rs:3: has `unsafe`"]);
        check("vision/src/kernels/a.rs", "//! A.\nunsafe fn f() {}", &[]);
        check("scheduler/src/a.rs", "//! A.\nuse std::time::Instant;", &["scheduler/src/a.rs:2: has `Instant`"]);
        check("scheduler/src/a.rs", "//! A.\n// No HashMap here.", &[]);
        check("worker/src/a.rs", "//! A.\nuse std::time::Instant;", &[]);
    }

    #[test]
    fn rules_of_all_files() {
        check("README.md", &format!("cd\ncd {}main", MACHINES[0]), &["README.md:2: "]);
        check("README.md", &format!("bucket{}main, s3://a{}b", MACHINES[0], MACHINES[1]), &[]);
    }
}
