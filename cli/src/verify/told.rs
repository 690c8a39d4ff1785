//! A verdict in words for people, and as JSON for machines.

use crate::verify::Verdict;
use crate::words::{self, count, of};
use mr_table::Findings;
use serde_json::{Value, json};

/// Whatever comes from a key or a file is made harmless for a terminal.
pub fn text(verdict: &Verdict) -> String {
    let mut lines = Vec::new();
    if let Some(table) = &verdict.table {
        let place = words::place(&verdict.url);
        lines.push(format!("{place}: version {}, by job {}", table.version, table.job));
        let (parts, rows) = (of(table.parts.len() as u64, "parts"), of(table.rows, "rows"));
        let sums = match table.checksums {
            0 if table.has_checksums || table.parts.is_empty() => String::new(),
            0 => "; the log has no checksums".to_owned(),
            sums => format!("; {} by checksum", count(sums)),
        };
        lines.push(format!("parts    {parts} of {} bytes, {rows} decoded{sums}", count(table.bytes)));
        lines.push(format!("copies   {} beside the parts are those of the run", of(table.copies, "files")));
        if let Some(report) = &table.report {
            let books = &report.books;
            let (listed, embedded, quarantined) =
                (count(books.listed), count(books.embedded), count(books.quarantined));
            lines.push(format!("books    {listed} listed, {embedded} embedded, {quarantined} quarantined"));
        }
    }
    lines.push(match &verdict.input {
        Some(input) => {
            let added =
                input.added.as_ref().map_or("an unknown number of".to_owned(), |added| count(added.len() as u64));
            let (gone, changed) = (count(input.gone.len() as u64), count(input.changed.len() as u64));
            let met = of(input.met, "objects");
            format!("input    {met} of the run are there; since then {added} added, {gone} gone, {changed} changed")
        }
        None => "input    not looked at".to_owned(),
    });
    lines.push(match &verdict.sample {
        Some(sample) => {
            let how = sample.tolerance.map_or("bit for bit".to_owned(), |most| {
                format!("within a relative L2 of {most}, as these are other kernels than those of the run")
            });
            let (rows, family, seed) = (of(sample.rows, "rows"), &sample.kernel_family, sample.seed);
            format!("sample   {rows} computed again on {family} and compared {how} (--seed {seed})")
        }
        None => "sample   no row was computed again".to_owned(),
    });
    for (findings, what) in [(&verdict.notes, "note"), (&verdict.unchecked, "unchecked"), (&verdict.faults, "fault")] {
        list(&mut lines, findings, what);
    }
    if verdict.faults.is_empty() && verdict.unchecked.is_empty() {
        lines.push("all of this is as it should be".to_owned());
    }
    lines.iter().map(|line| words::harmless(line)).collect::<Vec<_>>().join("\n")
}

fn list(lines: &mut Vec<String>, findings: &Findings, what: &str) {
    for finding in findings.first() {
        let at = if finding.at.is_empty() { String::new() } else { format!("{}: ", finding.at) };
        lines.push(format!("{what}: {at}{}", finding.what));
    }
    let rest = findings.count() - findings.first().len() as u64;
    if rest > 0 {
        lines.push(format!("{what}: and {} more", count(rest)));
    }
}

pub fn json(verdict: &Verdict) -> Value {
    let table = verdict.table.as_ref().map(|table| {
        json!({
            "version": table.version,
            "job_id": table.job,
            "parts": table.parts.len(),
            "bytes": table.bytes,
            "rows": table.rows,
            "checksums": table.checksums,
            "copies": table.copies,
            "books": table.report.as_ref().map(|report| report.books),
        })
    });
    let input = verdict.input.as_ref().map(|input| {
        json!({
            "met": input.met,
            "added": input.added.as_ref().map(Vec::len),
            "gone": input.gone.len(),
            "changed": input.changed.len(),
        })
    });
    let sample = verdict.sample.as_ref().map(|sample| {
        json!({
            "rows": sample.rows,
            "seed": sample.seed,
            "kernel_family": sample.kernel_family,
            "tolerance": sample.tolerance,
        })
    });
    json!({
        "output": verdict.url,
        "ok": verdict.faults.is_empty() && verdict.unchecked.is_empty(),
        "table": table,
        "input": input,
        "sample": sample,
        "faults": verdict.faults,
        "unchecked": verdict.unchecked,
        "notes": verdict.notes,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verify::tests::verdict;

    #[test]
    fn what_is_found_is_told_in_lines_that_do_a_terminal_no_harm() {
        let mut verdict = verdict();
        let nothing = "input    not looked at\nsample   no row was computed again\n";
        assert_eq!(text(&verdict), format!("{nothing}all of this is as it should be"));
        verdict.notes.add("", "older");
        for number in 0..25 {
            verdict.faults.add(format!("a\u{1b}[2J\n{number}"), "is \u{9b}wrong");
        }
        let told = text(&verdict);
        assert!(
            told.starts_with(&format!("{nothing}note: older\nfault: a\u{fffd}[2J\u{fffd}0: is \u{fffd}wrong\n")),
            "{told}"
        );
        assert!(told.ends_with("\nfault: and 5 more"), "{told}");
        assert!(told.chars().all(|c| c == '\n' || !c.is_control()));
    }

    #[test]
    fn machines_are_told_the_same() {
        let mut verdict = verdict();
        assert_eq!(json(&verdict)["ok"], true);
        verdict.unchecked.add("sample", "no weights");
        let told = json(&verdict);
        assert_eq!((&told["ok"], &told["output"]), (&json!(false), &json!("file:///o ut/")));
        assert_eq!(told["unchecked"], json!({ "count": 1, "first": [{ "at": "sample", "what": "no weights" }] }));
        assert_eq!(told["sample"], Value::Null);
    }
}
