//! Which key is what in the output folder.

use mr_core::{JobId, OutputFormat};
use serde_json::{Value, json};

/// Folders below an output that make it a table.
pub const LOG_FOLDERS: [&str; 2] = [Log::Delta.name(), Log::Lines.name()];

/// Which log says what the table is. Both have the same entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Log {
    /// Delta's own, of parts that are Parquet.
    Delta,
    /// Of parts that are lines, in a folder that readers of Delta tables do not know: they take nothing but Parquet, and Spark
    /// reads no text where it sees their log.
    Lines,
}

impl Log {
    pub fn of(format: OutputFormat) -> Self {
        match format {
            OutputFormat::Parquet => Self::Delta,
            OutputFormat::Text(_) | OutputFormat::Json(_) => Self::Lines,
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Delta => "_delta_log",
            Self::Lines => "_mr_log",
        }
    }

    /// In words.
    pub fn word(self) -> &'static str {
        match self {
            Self::Delta => "Delta log",
            Self::Lines => "log",
        }
    }

    /// What a reader of the folder takes for rows, by its name.
    pub fn has(self, key: &str) -> bool {
        match self {
            Self::Delta => is_parquet(key),
            Self::Lines => format_of(key).is_some_and(|format| format != OutputFormat::Parquet),
        }
    }

    /// What of a key comes behind the log's folder.
    fn within(self, key: &str) -> Option<&str> {
        key.strip_prefix(self.name())?.strip_prefix('/')
    }
}
pub(crate) const RUNS: &str = "_runs/";
/// Where a job that is about to begin tries the store.
pub const PROBES: &str = "_probe/";
pub(crate) const SUCCESS: &str = "_SUCCESS";

/// The file of a run that is written before any part, so that a part without an entry is known as ours.
pub(crate) const MARKER: &str = "job.json";

/// Before our version, in a marker.
const WRITER: &str = "mr/";

/// Name order is row order for any count: all names of a job have the same number of digits, five at least.
pub fn part_name(index: usize, count: usize, job: &JobId, format: OutputFormat) -> String {
    let digits = count.saturating_sub(1).to_string().len().max(5);
    format!("part-{index:0digits$}-{job}.{}", format.extension())
}

/// Whose part this would be. Other writers' parts can look like ours, so this alone proves nothing.
pub(crate) fn job_of_part(key: &str) -> Option<JobId> {
    let (name, extension) = key.strip_prefix("part-")?.split_once('.')?;
    OutputFormat::of_extension(extension)?;
    let (number, id) = name.split_once('-')?;
    let numbered = number.len() >= 5 && number.bytes().all(|b| b.is_ascii_digit());
    if numbered { JobId::parse(id).ok() } else { None }
}

/// Where a job's other files lie, relative to the output; ends in `/`.
pub fn run_folder(job: &JobId) -> String {
    format!("{RUNS}{job}/")
}

pub(crate) fn marker(job: &JobId) -> String {
    format!("{RUNS}{job}/{MARKER}")
}

/// What the marker says. Of Parquet it says nothing, as it was the only one once.
pub(crate) fn mark(job: &JobId, format: OutputFormat) -> String {
    let mut said = json!({ "jobId": job, "writer": format!("{WRITER}{}", env!("CARGO_PKG_VERSION")) });
    if format != OutputFormat::Parquet {
        said["format"] = json!(format);
    }
    said.to_string()
}

/// The format of the rows whose job has set this mark.
pub(crate) fn format_in(mark: &[u8]) -> OutputFormat {
    let said = serde_json::from_slice::<Value>(mark).unwrap_or_default();
    said["format"].as_str().and_then(OutputFormat::of_extension).unwrap_or_default()
}

/// Whether these bytes are that job's mark, by whatever version of this program.
pub(crate) fn marks(bytes: &[u8], job: &JobId) -> bool {
    let Ok(said) = serde_json::from_slice::<Value>(bytes) else { return false };
    let version = said["writer"].as_str().and_then(|writer| writer.strip_prefix(WRITER)).unwrap_or_default();
    let plain = !version.is_empty() && version.bytes().all(|b| b.is_ascii_alphanumeric() || b".-+".contains(&b));
    let mut expected = json!({ "jobId": job, "writer": said["writer"] });
    if format_in(bytes) != OutputFormat::Parquet {
        expected["format"] = said["format"].clone();
    }
    said == expected && plain
}

/// The job whose run folder this key lies in, and the rest of the key.
pub(crate) fn job_of_run_file(key: &str) -> Option<(JobId, &str)> {
    let (id, path) = key.strip_prefix(RUNS)?.split_once('/')?;
    Some((JobId::parse(id).ok()?, path))
}

/// Whether a key lies in a folder of the table's own, where no rows are.
pub(crate) fn of_the_table(key: &str) -> bool {
    log_file(key).is_some() || key.starts_with(RUNS)
}

/// Where the copy of a run's file lies for people to find.
///
/// A Parquet file gets a folder of its name, which Parquet readers open like a file: DuckDB and Polars take `_x.parquet`
/// for data when they are given `*.parquet`, since for a glob an underscore is a letter.
pub(crate) fn copy_of(run_path: &str) -> String {
    if run_path.contains('/') || !is_parquet(run_path) {
        return format!("_{run_path}");
    }
    format!("_{run_path}/{run_path}")
}

/// Why a run's file can't have this path, or nothing.
pub(crate) fn run_path_fault(path: &str) -> Option<&'static str> {
    match path {
        MARKER => Some("the table itself writes a file of that name"),
        "SUCCESS" => Some("its copy would be the mark of success"),
        _ if path.starts_with("runs/") || log_file(&format!("_{path}")).is_some() => {
            Some("its copy would lie in a folder of the table's own")
        }
        _ => None,
    }
}

pub(crate) fn entry(log: Log, version: u64) -> String {
    format!("{}/{version:020}.json", log.name())
}

/// What a key in the log's folder is, as far as we need to know.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum LogFile {
    Entry(u64),
    /// Of this version.
    Checkpoint(u64),
    Other,
}

pub(crate) fn log_file(key: &str) -> Option<(Log, LogFile)> {
    let (log, name) = [Log::Delta, Log::Lines].into_iter().find_map(|log| Some((log, log.within(key)?)))?;
    let of_version = || {
        let (version, rest) = name.split_at_checked(20)?;
        let version = version.parse::<u64>().ok().filter(|_| !name.starts_with('+'))?;
        match rest {
            ".json" => Some(LogFile::Entry(version)),
            _ if rest.starts_with(".checkpoint") => Some(LogFile::Checkpoint(version)),
            _ => None,
        }
    };
    Some((log, of_version().unwrap_or(LogFile::Other)))
}

/// Whether readers of a folder take this for data. They skip names that begin with `_` or `.`.
pub(crate) fn visible(key: &str) -> bool {
    !key.split('/').any(|segment| segment.starts_with(['_', '.']))
}

pub(crate) fn is_parquet(key: &str) -> bool {
    let extension = key.rsplit('/').next().and_then(|name| name.rsplit_once('.')).map(|(_, extension)| extension);
    extension.is_some_and(|e| e.eq_ignore_ascii_case("parquet") || e.eq_ignore_ascii_case("parq"))
}

/// What a file is by the end of its name, in any case.
fn format_of(key: &str) -> Option<OutputFormat> {
    let name = key.rsplit('/').next()?.to_ascii_lowercase();
    OutputFormat::ALL
        .into_iter()
        .find(|format| name.strip_suffix(format.extension()).is_some_and(|before| before.ends_with('.')))
}

#[cfg(test)]
mod tests {
    use super::*;
    use mr_core::Packing;

    fn job(id: &str) -> JobId {
        JobId::parse(id).unwrap()
    }

    #[test]
    fn name_order_is_row_order() {
        for count in [1, 2, 99_999, 100_000, 100_001, 1_000_001] {
            let names: Vec<_> =
                [0, count / 2, count - 1].map(|i| part_name(i, count, &job("j"), OutputFormat::Parquet)).into();
            assert!(names.is_sorted(), "{names:?}");
        }
        let seventh = |count, format| part_name(7, count, &job("a-1"), format);
        assert_eq!(seventh(63, OutputFormat::Parquet), "part-00007-a-1.parquet");
        assert_eq!(seventh(100_001, OutputFormat::Parquet), "part-000007-a-1.parquet");
        assert_eq!(seventh(63, OutputFormat::Text(Some(Packing::Gzip))), "part-00007-a-1.txt.gz");
    }

    #[test]
    fn a_part_says_whose_it_is() {
        for format in OutputFormat::ALL {
            assert_eq!(job_of_part(&part_name(123_456, 200_000, &job("2026-x"), format)), Some(job("2026-x")));
        }
        let others =
            ["part-00000-a/b.parquet", "part-00000-a.snappy.parquet", "part-0000-a.parquet", "x/part-00000-a.parquet"];
        for other in others {
            assert_eq!(job_of_part(other), None, "{other}");
        }
    }

    #[test]
    fn the_log_holds_entries_and_what_others_leave() {
        for log in [Log::Delta, Log::Lines] {
            assert_eq!(log_file(&entry(log, 12)), Some((log, LogFile::Entry(12))));
        }
        for (name, is) in [
            ("00000000000000000010.checkpoint.parquet", LogFile::Checkpoint(10)),
            ("00000000000000000010.checkpoint.0000000001.0000000002.parquet", LogFile::Checkpoint(10)),
            ("_last_checkpoint", LogFile::Other),
            ("00000000000000000010.crc", LogFile::Other),
            ("+0000000000000000010.json", LogFile::Other),
            ("0000000000000000001é.json", LogFile::Other),
            (".tmp/00000000000000000010.json", LogFile::Other),
        ] {
            assert_eq!(log_file(&format!("_delta_log/{name}")), Some((Log::Delta, is)), "{name}");
        }
        assert_eq!(log_file("x/_delta_log/00000000000000000000.json"), None);
    }

    #[test]
    fn no_copy_is_taken_for_rows_by_a_glob() {
        assert_eq!(copy_of("report.json"), "_report.json");
        assert_eq!(copy_of("pca/mean.npy"), "_pca/mean.npy");
        assert_eq!(copy_of("quarantine.parquet"), "_quarantine.parquet/quarantine.parquet");
        assert_eq!(copy_of("more/x.parquet"), "_more/x.parquet");
    }

    #[test]
    fn hidden_names_are_no_data() {
        assert!(visible("a/b.parquet") && visible("a_b.parquet"));
        assert!(!visible("_a/b.parquet") && !visible("a/_b.parquet") && !visible(".x/b.parquet"));
        assert!(Log::Lines.has("a.b/c.TXT.gz") && !Log::Lines.has("a.parquet") && !Log::Lines.has("txt"));
        assert!(!Log::Lines.has("a.gz") && !Log::Delta.has("a.txt"));
        assert!(is_parquet("a.b/c.PARQUET") && !is_parquet("a.parquet/c") && !is_parquet("parquet"));
    }
}
