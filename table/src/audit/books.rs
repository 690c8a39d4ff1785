//! The books: what the report says, what the log says, and what is in rows and quarantine, each object once.

use crate::audit::Records;
use crate::findings::Findings;
use crate::names;
use crate::snapshot::Run;
use mr_core::Report;
use serde_json::Value;

const REPORT: &str = "_report.json";

/// The report against the log's entry, which says the most important of it a second time.
pub(crate) fn of_run(report: &Report, run: &Run) -> Findings {
    let mut faults = Findings::default();
    if report.job_id != run.job {
        faults.add(REPORT, format!("it is of job {}, and the table is of job {}", report.job_id, run.job));
    }
    let books = &report.books;
    let counts = [
        ("listed", books.listed),
        ("embedded", books.embedded),
        ("quarantined", books.quarantined),
        ("skipped", books.skipped),
    ];
    for (name, count) in counts {
        // An entry that says nothing of it contradicts nothing.
        if let Some(said) = run.info.get(name).and_then(Value::as_u64).filter(|said| *said != count) {
            faults.add(REPORT, format!("it has {count} {name}, and the log {said}"));
        }
    }
    if let Some(job) = run.info.get("job").and_then(Value::as_str).filter(|job| *job != report.settings.job) {
        faults.add(REPORT, format!("it is of a job `{}`, and the log of a job `{job}`", report.settings.job));
    }
    if !books.balanced() {
        let (listed, embedded, quarantined) = (books.listed, books.embedded, books.quarantined);
        faults.add(REPORT, format!("{listed} listed are not {embedded} embedded and {quarantined} quarantined"));
    }
    faults
}

/// Rows and quarantine against the report.
pub(crate) fn of_records(report: &Report, records: &Records) -> Findings {
    let mut faults = Findings::default();
    let rows: Vec<_> = records.rows.iter().map(|row| row.key.as_str()).collect();
    let quarantined: Vec<_> = records.quarantined.iter().map(|set_aside| set_aside.key.as_str()).collect();
    let quarantine = names::copy_of("quarantine.parquet");
    let (has, said) = (rows.len() as u64, report.books.embedded);
    if records.whole && has != said {
        faults.add(REPORT, format!("it has {said} embedded, and the parts have {has} rows"));
    }
    let (has, said) = (quarantined.len() as u64, report.books.quarantined);
    if records.whole && has != said {
        faults.add(&quarantine, format!("it has {has} rows, and the report has {said} quarantined"));
    }
    let (rows, quarantined) = (sorted(rows), sorted(quarantined));
    for key in twice(&rows) {
        faults.add(key, "there are two rows of it");
    }
    for key in twice(&quarantined) {
        faults.add(key, "it is twice in quarantine");
    }
    for key in quarantined.iter().filter(|key| rows.binary_search(key).is_ok()) {
        faults.add(*key, "it has a row and is in quarantine");
    }
    faults
}

fn sorted(mut keys: Vec<&str>) -> Vec<&str> {
    keys.sort_unstable();
    keys
}

fn twice<'a>(sorted: &[&'a str]) -> Vec<&'a str> {
    let mut twice: Vec<_> = sorted.windows(2).filter(|pair| pair[0] == pair[1]).map(|pair| pair[0]).collect();
    twice.dedup();
    twice
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::{Row, SetAside};
    use mr_core::{Books, JobId, JobSpec, Params};
    use serde_json::json;
    use std::collections::BTreeMap;

    fn report(listed: u64, embedded: u64, quarantined: u64) -> Report {
        Report {
            job_id: JobId::parse("j").unwrap(),
            books: Books { listed, embedded, quarantined, skipped: 0 },
            counters: Default::default(),
            seconds: BTreeMap::new(),
            first_image_s: None,
            peak_rss_bytes: 0,
            busy_s: 0.0,
            slots: 1,
            workers: 1,
            kernel_family: "f32".into(),
            framework_version: "0".into(),
            bill: None,
            settings: JobSpec {
                job: "features".into(),
                input: "file:///in/".into(),
                output: "file:///out/".into(),
                mode: Default::default(),
                format: Default::default(),
                input_list: None,
                adopt: false,
                params: Params::new(),
                limits: Default::default(),
                split: Default::default(),
                shuffle: Default::default(),
            },
        }
    }

    fn check(rows: &[&str], quarantined: &[&str], report: &Report) -> Vec<String> {
        let rows = rows.iter().map(|key| Row { key: (*key).into(), bytes: None, part: 0, position: 0 });
        let set_aside = |key: &&str| SetAside { key: (*key).into(), bytes: 1, etag: "e".into() };
        let quarantined = quarantined.iter().map(set_aside).collect();
        let records = Records { rows: rows.collect(), quarantined, whole: true };
        of_records(report, &records).first().iter().map(|f| format!("{}: {}", f.at, f.what)).collect()
    }

    #[test]
    fn every_object_is_there_once() {
        assert!(check(&["b", "a"], &["c"], &report(3, 2, 1)).is_empty());
        assert_eq!(
            check(&["a"], &[], &report(3, 2, 1)),
            [
                "_report.json: it has 2 embedded, and the parts have 1 rows",
                "_quarantine.parquet/quarantine.parquet: it has 0 rows, and the report has 1 quarantined",
            ]
        );
        assert_eq!(check(&["a", "b", "a", "a"], &[], &report(4, 4, 0)), ["a: there are two rows of it"]);
        assert_eq!(check(&[], &["q", "q"], &report(2, 0, 2)), ["q: it is twice in quarantine"]);
        assert_eq!(check(&["a"], &["a"], &report(2, 1, 1)), ["a: it has a row and is in quarantine"]);
    }

    #[test]
    fn the_report_says_what_the_log_says() {
        let info = json!({ "job": "features", "listed": 3, "embedded": 2, "quarantined": 1, "skipped": 0 });
        let run = Run {
            version: 0,
            job: JobId::parse("j").unwrap(),
            files: Vec::new(),
            crc32: BTreeMap::new(),
            info: info.as_object().unwrap().clone(),
            added: 1,
            removed: 0,
        };
        let said = |report: Report, run: &Run| -> Vec<String> {
            of_run(&report, run).first().iter().map(|finding| finding.what.clone()).collect()
        };
        assert!(said(report(3, 2, 1), &run).is_empty());
        assert_eq!(
            said(report(4, 2, 1), &run),
            ["it has 4 listed, and the log 3", "4 listed are not 2 embedded and 1 quarantined"]
        );
        let other = Run { job: JobId::parse("k").unwrap(), ..run.clone() };
        assert_eq!(said(report(3, 2, 1), &other), ["it is of job j, and the table is of job k"]);
        let silent = Run { info: Default::default(), ..run };
        assert!(said(report(9, 8, 1), &silent).is_empty());
    }
}
