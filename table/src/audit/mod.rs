//! Reading an output whole and holding it against its own log, run and report. Nothing is written.
//!
//! What an object of the input has become is known by two columns that rows may have: `path`, the object's URI, and
//! `bytes`, its size. Where a job's rows have no such column they are held against the log alone. The keys of all objects
//! are in memory, as they are while the job runs, and two parts at a time.

mod books;
mod compare;
mod part;
mod parts;
mod run_files;

pub use compare::{Exactness, compare_rows};

use crate::error::{Refusal, TableError};
use crate::findings::Findings;
use crate::names;
use crate::settle::{self, doomed};
use crate::snapshot::{Run, Snapshot};
use crate::state::{OutputState, uncommitted};
use crate::survey::{self, Survey, survey};
use mr_core::{JobId, KERNEL_FAMILY, NO_KERNELS, Object, OutputFormat, Report};
use mr_storage::{DynStore, StoreError, story};
use std::collections::BTreeMap;

/// What an output turned out to be.
#[derive(Debug)]
pub enum Audited {
    /// No table of ours, in a sentence.
    NoTable(String),
    /// There is a log that can't be followed, so that nothing else can be said.
    NoLog(String),
    Table(Box<Audit>),
}

/// What was read, and what is wrong with it.
#[derive(Debug)]
pub struct Audit {
    pub version: u64,
    /// Of its parts.
    pub format: OutputFormat,
    /// The job that wrote it.
    pub job: JobId,
    /// Keys of its parts, in row order.
    pub parts: Vec<String>,
    pub bytes: u64,
    /// Of the parts that could be read.
    pub rows: u64,
    /// Parts whose bytes were held against a checksum of the log.
    pub checksums: u64,
    /// Whether the log has such for any part.
    pub has_checksums: bool,
    /// Files beside the parts that are what the run's folder has.
    pub copies: u64,
    pub faults: Findings,
    pub notes: Findings,
    /// When it can be read.
    pub report: Option<Report>,
    /// What the footers of the parts say.
    pub footer: BTreeMap<String, String>,
    /// Unless rows do not name their objects, or the report that says where those lie can't be read.
    pub records: Option<Records>,
    /// The newest run's files by their path in its folder, as far as they can be trusted.
    pub run_files: BTreeMap<String, bytes::Bytes>,
}

/// What became of the input's objects.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Records {
    /// In the order of the table.
    pub rows: Vec<Row>,
    pub quarantined: Vec<SetAside>,
    /// Whether everything could be read: otherwise an object that is in neither may be in what could not.
    pub whole: bool,
}

/// Where an object's row is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// Relative to the input.
    pub key: String,
    /// The object's, when rows say it.
    pub bytes: Option<u64>,
    /// Of the table's parts, and of the rows in that.
    pub part: u32,
    pub position: u32,
}

/// An object in quarantine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetAside {
    pub key: String,
    pub bytes: u64,
    pub etag: String,
}

/// Reads all of it. `seen` is told how many parts of how many have been read.
///
/// # Errors
/// `Store` when the store fails, `Invalid` when the output became another one meanwhile.
pub async fn audit(output: &DynStore, seen: impl Fn(u64, u64)) -> Result<Audited, TableError> {
    let survey = match survey(output).await {
        Ok(survey) => survey,
        Err(TableError::Refused(Refusal(why))) => {
            // The advice at its end is for those who are about to write.
            let why = ["or choose another output", "choose another output"].iter().fold(why.as_str(), |why, advice| {
                why.strip_suffix(advice).map_or(why, |why| why.trim_end_matches([' ', ',', ':']))
            });
            let ours = !output.list(names::RUNS).await?.is_empty();
            return Ok(if ours { Audited::NoLog(why.to_owned()) } else { Audited::NoTable(why.to_owned()) });
        }
        Err(error) => return Err(error),
    };
    let table = match &survey.state {
        OutputState::Ours(table) => table,
        OutputState::Absent => return Ok(Audited::NoTable(format!("there is nothing at {}", output.url()))),
        OutputState::Empty | OutputState::Foreign { .. } => {
            if survey.table().is_none() && settle::has_our_mark(output).await? {
                let why = "the log is gone, though a job of ours has committed here: restore it";
                return Ok(Audited::NoLog(why.to_owned()));
            }
            return Ok(Audited::NoTable(format!("{} is no table of ours", output.url())));
        }
    };
    let Some(newest) = table.runs.last() else {
        return Ok(Audited::NoTable(format!("{} is a table of ours that no job of ours wrote to", output.url())));
    };
    let mut audit = Audit::of(table, newest);
    audit.folder(&survey, table, newest);
    audit.run(output, &survey, newest).await?;
    audit.parts(output, &survey, table, seen).await?;
    audit.books(newest);
    match output.head(&names::entry(table.log(), table.version + 1)).await {
        Err(StoreError::NotFound { .. }) if !audit.faults.is_empty() && is_another(output, &survey).await? => {
            Err(TableError::Invalid("a job was tidying up while this was read: verify it again".to_owned()))
        }
        Err(StoreError::NotFound { .. }) => Ok(Audited::Table(Box::new(audit))),
        Ok(_) => Err(TableError::Invalid(format!(
            "version {} was committed while version {} was read: verify it again",
            table.version + 1,
            table.version
        ))),
        Err(error) => Err(error.into()),
    }
}

/// Whether what a commit touches is no longer as it was found, other than what jobs have put there that still are under way.
/// Whatever else lies in the folder may change as it likes.
async fn is_another(output: &DynStore, then: &Survey) -> Result<bool, TableError> {
    let now = match survey(output).await {
        Ok(now) => now,
        // The faults say why.
        Err(TableError::Refused(_)) => return Ok(false),
        Err(error) => return Err(error),
    };
    let (before, after) = (uncommitted(&then.listing, then.table()), uncommitted(&now.listing, now.table()));
    let settled = |object: &&Object| {
        let key = &object.key;
        let job = names::job_of_part(key).or_else(|| names::job_of_run_file(key).map(|(job, _)| job));
        let under_way = job.is_some_and(|job| before.contains(&job) && after.contains(&job));
        let ours = key.starts_with('_') && !key.starts_with(names::PROBES);
        !under_way && (ours || then.table().is_some_and(|table| table.log().has(key)))
    };
    Ok(!then.listing.iter().filter(settled).eq(now.listing.iter().filter(settled)))
}

impl Audit {
    fn of(table: &Snapshot, newest: &Run) -> Self {
        Self {
            version: table.version,
            format: table.format,
            job: newest.job.clone(),
            parts: table.files.iter().map(|file| file.key.clone().unwrap_or_default()).collect(),
            bytes: table.files.iter().map(|file| file.bytes).sum(),
            rows: 0,
            checksums: 0,
            has_checksums: table.files.iter().any(|file| file.crc32.is_some()),
            copies: 0,
            faults: Findings::default(),
            notes: Findings::default(),
            report: None,
            footer: BTreeMap::new(),
            records: None,
            run_files: BTreeMap::new(),
        }
    }

    /// What lies there and should not, and the other way round.
    fn folder(&mut self, survey: &Survey, table: &Snapshot, newest: &Run) {
        if newest.version != table.version {
            let (ours, theirs) = (newest.version, table.version);
            self.faults.add(
                names::entry(table.log(), theirs),
                format!(
                    "another program wrote it, so the rows are not those of our newest job, which wrote version {ours}"
                ),
            );
        }
        for version in &table.altered {
            self.faults.add(
                names::entry(table.log(), *version),
                "its bytes are not those that were committed: they have another CRC-32",
            );
        }
        self.faults.extend(survey::amiss(&survey.listing, table));
        for stray in survey::strays(&survey.listing, table) {
            let what = match table.removed.contains(&stray) {
                true => "the log has removed it, and it is still there: readers of a plain folder take it for rows",
                false => "the log does not know it: readers of a plain folder take it for rows",
            };
            self.faults.add(stray, what);
        }
        for job in uncommitted(&survey.listing, Some(table)) {
            let of_job = |key: &&str| names::job_of_part(key).is_some_and(|of| of == job);
            let parts = survey.listing.iter().map(|object| object.key.as_str()).filter(of_job).count();
            self.notes.add(
                names::run_folder(&job),
                format!("of a job that is under way, or was killed before it committed ({parts} parts); the next job clears up"),
            );
        }
        let doomed = doomed(&survey.listing, table, newest);
        let left: Vec<_> = doomed.iter().filter(|key| !(names::visible(key) && table.log().has(key))).collect();
        if let Some(first) = left.first() {
            let count = left.len();
            self.notes.add(first.as_str(), format!("of an older job ({count} such files); the next job clears up"));
        }
    }

    async fn run(&mut self, output: &DynStore, survey: &Survey, newest: &Run) -> Result<(), TableError> {
        self.faults.extend(run_files::markers(output, &survey.listing).await?);
        let read = run_files::read(output, &survey.listing, newest).await?;
        self.copies = read.copies;
        self.faults.extend(read.faults);
        self.notes.extend(read.notes);
        self.run_files = read.files;
        let Some(bytes) = self.run_files.get("report.json") else { return Ok(()) };
        match serde_json::from_slice::<Report>(bytes) {
            Ok(report) => self.report = Some(report),
            Err(error) => self.faults.add("_report.json", format!("it can't be read: {error}")),
        }
        Ok(())
    }

    fn books(&mut self, newest: &Run) {
        let Some(report) = &self.report else { return };
        self.faults.extend(books::of_run(report, newest));
        let family = self.footer.get(KERNEL_FAMILY).filter(|family| **family != NO_KERNELS);
        if let Some(family) = family.filter(|family| **family != report.kernel_family) {
            let said = &report.kernel_family;
            self.faults.add("_report.json", format!("it names the kernel family {said}, and the parts name {family}"));
        }
        match &self.records {
            Some(records) => self.faults.extend(books::of_records(report, records)),
            None if self.format != OutputFormat::Parquet => {
                self.notes.add("", "rows are lines, which are counted but not held against the books")
            }
            None if newest.one_row_per_object() => self
                .notes
                .add("", "rows do not name their objects in a column `path`, so they are not held against the books"),
            None => self.notes.add("", "rows are not one for each object, so they are not held against the books"),
        }
    }
}

/// A failure that says something of the object, in words, or one of the store, which says nothing of it.
pub(crate) fn of_object<T>(result: Result<T, StoreError>) -> Result<Result<T, String>, StoreError> {
    match result {
        Ok(value) => Ok(Ok(value)),
        Err(error) if error.retryable() => Err(error),
        Err(error) => Ok(Err(story(&error))),
    }
}
