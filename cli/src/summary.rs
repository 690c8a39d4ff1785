//! What is said of a job when it is over, and of jobs that someone asks about: data, for stdout.

use crate::words;
use mr_core::{JobPhase, JobStatus, OutputFormat, Quarantined, StageStatus};

/// Of a job that has committed: counts, the first reasons, where the results are and how to read them.
pub fn of_success(status: &JobStatus) -> String {
    let books = &status.books;
    let noun = words::objects(&status.job);
    let (mapped, quarantined) = (words::of(books.embedded, noun), words::count(books.quarantined));
    let mut head = format!("{mapped} {}, {quarantined} quarantined", words::mapped(&status.job));
    if books.skipped > 0 {
        head = format!("{head}, {} skipped", words::count(books.skipped));
    }
    head = format!("{head} in {}", words::duration(status.elapsed_ms));
    if status.elapsed_ms > 0 {
        let rate = books.listed as f64 * 1000.0 / status.elapsed_ms as f64;
        head = format!("{head} ({} {noun}/s)", words::rate(rate));
    }
    let mut lines = vec![head];
    lines.extend(quarantine(status));
    lines.extend(counters(status));
    lines.push(String::new());
    lines.extend(how_to_read(&status.output, status.format));
    lines.join("\n")
}

/// What the job's own code has counted.
fn counters(status: &JobStatus) -> Vec<String> {
    let said = |(name, count)| format!("counter  {} {}", words::harmless(name), words::count(count));
    status.counters.iter().map(said).collect()
}

fn quarantine(status: &JobStatus) -> Vec<String> {
    let mut lines: Vec<_> = status.quarantined_first.iter().map(reason).collect();
    if status.books.quarantined > 0 {
        let all = join(&status.output, &format!("_runs/{}/quarantine.parquet", status.id));
        lines.push(match status.books.quarantined.saturating_sub(status.quarantined_first.len() as u64) {
            0 => format!("  all of it in {all}"),
            others => format!("  and {} more, all in {all}", words::count(others)),
        });
    }
    lines
}

fn reason(quarantined: &Quarantined) -> String {
    let Quarantined { key, class, message, .. } = quarantined;
    format!("  {}: {}: {}", words::harmless(key), words::harmless(class), words::harmless(message))
}

/// One line each for those who read such rows.
fn how_to_read(output: &str, format: OutputFormat) -> Vec<String> {
    let mut lines = vec![format!("output   {}", words::place(output))];
    let parts = join(output, &format!("*.{}", format.extension()));
    let (python, sql) = (quoted(&parts, '"'), parts.replace('\'', "''"));
    lines.extend(match format {
        OutputFormat::Parquet => of_parquet(output, &python, &sql),
        OutputFormat::Text(_) => {
            // All of it is text: what looks like a number at first need not be one further down.
            let of_polars = r#"separator="\t", has_header=False, quote_char=None, infer_schema=False"#;
            let of_duckdb = r"delim='\t', header=false, quote='', all_varchar=true";
            vec![
                format!("polars   polars.read_csv({python}, {of_polars})"),
                format!("duckdb   select * from read_csv('{sql}', {of_duckdb})"),
            ]
        }
        OutputFormat::Json(_) => vec![
            format!("polars   polars.read_ndjson({python}, infer_schema_length=None)"),
            format!("duckdb   select * from '{sql}'"),
        ],
    });
    lines
}

fn of_parquet(output: &str, python: &str, sql: &str) -> Vec<String> {
    let place = words::place(output);
    let folder = quoted(place, '"');
    // Polars looks for files of a table under the encoded name of its folder, whoever wrote it.
    let delta = match place.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"/:._-~".contains(&byte)) {
        true => format!("polars.read_delta({folder}), or "),
        false => String::new(),
    };
    vec![
        format!("pandas   pandas.read_parquet({folder})"),
        format!("polars   {delta}polars.read_parquet({python})"),
        format!("duckdb   select * from '{sql}'"),
    ]
}

fn join(output: &str, name: &str) -> String {
    match words::place(output) {
        place if place.ends_with('/') => format!("{place}{name}"),
        place => format!("{place}/{name}"),
    }
}

/// As a text in Python.
fn quoted(text: &str, quote: char) -> String {
    format!("{quote}{}{quote}", text.replace('\\', "\\\\").replace(quote, &format!("\\{quote}")))
}

/// One job in full.
pub fn of_job(status: &JobStatus) -> String {
    let mut lines = vec![
        format!("id       {}", status.id),
        format!("job      {}", words::harmless(&status.job)),
        format!("phase    {}", phase(status.phase)),
        format!("elapsed  {}", words::duration(status.elapsed_ms)),
        format!("input    {}", words::harmless(words::place(&status.input))),
    ];
    // Which objects of that.
    lines.extend(status.input_list.iter().map(|list| format!("list     {}", words::harmless(words::place(list)))));
    lines.extend([
        format!("output   {}", words::harmless(words::place(&status.output))),
        format!("listed   {}", words::of(status.books.listed, words::objects(&status.job))),
    ]);
    let books = [
        (words::mapped(&status.job), status.books.embedded),
        ("quarantined", status.books.quarantined),
        ("skipped", status.books.skipped),
    ];
    let books = books.iter().filter(|(_, n)| *n > 0).map(|(word, n)| format!(", {} {word}", words::count(*n)));
    lines.last_mut().expect("there are some").extend(books);
    if !status.phase.ended() {
        lines.push(format!(
            "workers  {} with {}",
            words::count(status.workers.into()),
            words::of(status.slots.into(), "slots")
        ));
    }
    let width = status.stages.iter().map(|stage| stage.name.chars().count()).max().unwrap_or(0);
    for (position, stage) in status.stages.iter().enumerate() {
        lines.push(format!(
            "stage    {:width$}  {}",
            words::harmless(&stage.name),
            tasks(stage, words::of_stage(status, position))
        ));
    }
    lines.extend(counters(status));
    if let Some(note) = &status.note {
        lines.push(format!("note     {}", words::harmless(note)));
    }
    if let Some(failure) = &status.failure {
        lines.push(format!("failure  {}", words::harmless(&failure.message)));
    }
    if !status.quarantined_first.is_empty() {
        lines.push("quarantined first:".to_owned());
        lines.extend(status.quarantined_first.iter().map(reason));
    }
    lines.join("\n")
}

fn tasks(stage: &StageStatus, noun: &str) -> String {
    let mut said =
        format!("{} of {} done", words::count(stage.tasks_done.into()), words::of(stage.tasks.into(), "tasks"));
    if stage.tasks_running > 0 {
        said = format!("{said}, {} running", words::count(stage.tasks_running.into()));
    }
    if let Some(total) = stage.records_total {
        said = format!("{said}, {} of {}", words::count(stage.records), words::of(total, noun));
    }
    said
}

/// A table of jobs, the newest last. The output comes last because it is as long as it likes.
pub fn of_jobs(jobs: &[JobStatus]) -> String {
    let mut rows = vec![["ID", "JOB", "PHASE", "DONE", "ELAPSED", "OUTPUT"].map(str::to_owned)];
    rows.extend(jobs.iter().map(|job| {
        [
            job.id.to_string(),
            words::harmless(&job.job),
            phase(job.phase).to_owned(),
            done(job),
            words::duration(job.elapsed_ms),
            words::harmless(words::place(&job.output)),
        ]
    }));
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<_> = (0..5).map(width).collect();
    let lines = rows.iter().map(|row| {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}"));
        cells.chain([row[5].clone()]).collect::<Vec<_>>().join("  ")
    });
    lines.collect::<Vec<_>>().join("\n")
}

fn done(job: &JobStatus) -> String {
    match job.phase {
        JobPhase::Committed => words::count(job.books.embedded),
        JobPhase::Listing => "-".to_owned(),
        JobPhase::Running | JobPhase::Committing | JobPhase::Failed | JobPhase::Cancelled => {
            let first = job.stages.first();
            // Pieces, where objects are cut.
            let all = first.and_then(|stage| stage.records_total).unwrap_or(job.books.listed);
            format!("{}/{}", words::count(first.map_or(0, |stage| stage.records)), words::count(all))
        }
    }
}

fn phase(phase: JobPhase) -> &'static str {
    match phase {
        JobPhase::Listing => "listing",
        JobPhase::Running => "running",
        JobPhase::Committing => "committing",
        JobPhase::Committed => "committed",
        JobPhase::Failed => "failed",
        JobPhase::Cancelled => "cancelled",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::status;
    use mr_core::{Books, QuarantineSource};

    fn committed() -> JobStatus {
        let mut status = status(JobPhase::Committed);
        status.job = "image-features".into();
        status.output = "file:///home/me/my \"results\"/".into();
        status.books = Books { listed: 4_021, embedded: 4_020, quarantined: 1, skipped: 12 };
        status.elapsed_ms = 31_250;
        status.quarantined_first = vec![Quarantined {
            key: "a b/x\n.jpg".into(),
            etag: String::new(),
            bytes: 0,
            stage: "embed".into(),
            class: "empty".into(),
            message: "the object holds no bytes".into(),
            source: QuarantineSource::Content,
            attempts: 1,
        }];
        status
    }

    #[test]
    fn a_success_says_what_is_there_and_how_to_read_it() {
        let expected = r#"4,020 images embedded, 1 quarantined, 12 skipped in 31.2 s (129 images/s)
  a b/x�.jpg: empty: the object holds no bytes
  all of it in /home/me/my "results"/_runs/20261124-073112-abcdef/quarantine.parquet

output   /home/me/my "results"
pandas   pandas.read_parquet("/home/me/my \"results\"")
polars   polars.read_parquet("/home/me/my \"results\"/*.parquet")
duckdb   select * from '/home/me/my "results"/*.parquet'"#;
        assert_eq!(of_success(&committed()), expected);
    }

    #[test]
    fn polars_is_told_of_the_table_where_it_can_read_it() {
        let mut status = committed();
        status.output = "s3://bucket/my-results/".into();
        let line = r#"polars   polars.read_delta("s3://bucket/my-results/"), or polars.read_parquet("s3://bucket/my-results/*.parquet")"#;
        assert!(of_success(&status).contains(line), "{}", of_success(&status));
    }

    #[test]
    fn lines_are_read_as_lines() {
        let mut status = committed();
        status.output = "file:///o'ut/".into();
        status.format = OutputFormat::Text(Some(mr_core::Packing::Gzip));
        let text = r#"output   /o'ut
polars   polars.read_csv("/o'ut/*.txt.gz", separator="\t", has_header=False, quote_char=None, infer_schema=False)
duckdb   select * from read_csv('/o''ut/*.txt.gz', delim='\t', header=false, quote='', all_varchar=true)"#;
        assert!(of_success(&status).ends_with(text), "{}", of_success(&status));
        status.format = OutputFormat::Json(None);
        let json = r#"output   /o'ut
polars   polars.read_ndjson("/o'ut/*.jsonl", infer_schema_length=None)
duckdb   select * from '/o''ut/*.jsonl'"#;
        assert!(of_success(&status).ends_with(json), "{}", of_success(&status));
    }

    #[test]
    fn nothing_quarantined_needs_no_list() {
        let mut status = committed();
        status.books = Books { listed: 1, embedded: 1, quarantined: 0, skipped: 0 };
        status.quarantined_first.clear();
        status.output = "s3://bucket/out/".into();
        let said = of_success(&status);
        assert!(
            said.starts_with(
                "1 image embedded, 0 quarantined in 31.2 s (0.03 images/s)\n\noutput   s3://bucket/out/\n"
            ),
            "{said}"
        );
        assert!(said.ends_with("duckdb   select * from 's3://bucket/out/*.parquet'"), "{said}");
    }

    #[test]
    fn jobs_stand_in_a_table() {
        let mut running = status(JobPhase::Running);
        running.elapsed_ms = 100;
        let expected = "\
ID                      JOB             PHASE      DONE    ELAPSED  OUTPUT
20261124-073112-abcdef  image-features  committed  4,020   31.2 s   /home/me/my \"results\"
20261124-073112-abcdef  count           running    50/100  0.1 s    /out";
        assert_eq!(of_jobs(&[committed(), running]), expected);
        assert_eq!(of_jobs(&[]).lines().count(), 1);
    }

    #[test]
    fn one_job_is_told_in_full() {
        let mut running = status(JobPhase::Running);
        running.note = Some("no worker is in touch".into());
        let expected = "\
id       20261124-073112-abcdef
job      count
phase    running
elapsed  10.0 s
input    /in
output   /out
listed   100 objects
workers  1 with 2 slots
stage    count  2 of 4 tasks done, 1 running, 50 of 100 records
note     no worker is in touch";
        assert_eq!(of_job(&running), expected);
        let listed = JobStatus { input_list: Some("file:///k eys.csv".into()), ..running.clone() };
        assert!(of_job(&listed).contains("\ninput    /in\nlist     /k eys.csv\noutput   "), "{}", of_job(&listed));
        // Some of them are cut.
        running.stages[0].records_total = Some(160);
        assert!(of_job(&running).contains("50 of 160 pieces"), "{}", of_job(&running));
        assert!(of_jobs(&[running]).contains("  50/160  "));
    }
}
