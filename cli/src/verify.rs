//! `mr-submit verify OUTPUT`: whether an output is whole, whether its books balance, and whether some of its rows come out
//! the same when they are computed again. Nothing is written.
//!
//! Three kinds of findings: a *fault* is the output's, *unchecked* is what was asked for and could not be done, and a
//! *note* is something to know, such as what happened to the input since. The first two end with exit code 1.

mod input;
mod sample;
mod told;

use crate::args::{Cli, Verify};
use crate::interrupt::Interrupts;
use crate::location::{self, Place};
use crate::plan::{Planned, plan_of};
use crate::stop::Stop;
use crate::talk::say;
use crate::{output, submit};
use mr_core::{FRAMEWORK_VERSION, OutputFormat, Report, shown_url};
use mr_mapreduce::{Job, Registry};
use mr_storage::{StoreError, story};
use mr_table::{Audit, Audited, Findings, TableError, audit};
use std::cell::Cell;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What came of it.
pub struct Verdict {
    /// Of the output.
    url: String,
    /// Nothing can be said of the table when its log can't be followed.
    table: Option<Audit>,
    input: Option<input::Compared>,
    sample: Option<sample::Sampled>,
    faults: Findings,
    unchecked: Findings,
    notes: Findings,
}

/// # Errors
/// `Failed` when there are faults, or something could not be checked; `Refused` when there is no table of ours.
pub async fn verify(cli: &Cli, args: &Verify, registry: Registry) -> Result<(), Stop> {
    let mut interrupts =
        Interrupts::listen().map_err(|error| Stop::Failed(format!("listening for signals: {error}")))?;
    let verdict = tokio::select! {
        verdict = check(args, &registry) => verdict?,
        () = interrupts.next() => return Err(Stop::Interrupted("interrupted: nothing was found out".to_owned())),
    };
    match cli.json {
        true => output::json(&told::json(&verdict))?,
        false => output::text(&told::text(&verdict))?,
    }
    verdict.end()
}

async fn check(args: &Verify, registry: &Registry) -> Result<Verdict, Stop> {
    let place = Place::now()
        .map_err(|error| Stop::Refused(format!("the folder that this was called in can't be found: {error}")))?;
    let typed = submit::utf8("OUTPUT", &args.output)?;
    let url =
        location::root_url(typed, &place).map_err(|why| Stop::Refused(format!("`{}`: {why}", shown_url(typed))))?;
    let output = mr_storage::open(&url).await.map_err(|error| of_store(&error))?;
    let mut verdict = Verdict {
        url,
        table: None,
        input: None,
        sample: None,
        faults: Findings::default(),
        unchecked: Findings::default(),
        notes: Findings::default(),
    };
    let mut table = match audit(&output, progress()).await {
        Ok(Audited::Table(table)) => table,
        Ok(Audited::NoTable(why)) => return Err(Stop::Refused(why)),
        Ok(Audited::NoLog(why)) => {
            verdict.faults.add("log", format!("{why}; nothing else was checked"));
            return Ok(verdict);
        }
        Err(TableError::Store(error)) => return Err(of_store(&error)),
        Err(error) => return Err(Stop::Failed(error.failure().message)),
    };
    verdict.faults = std::mem::take(&mut table.faults);
    verdict.notes = std::mem::take(&mut table.notes);
    if !args.no_input {
        verdict.against_input(args, registry, &output, &table).await;
    }
    verdict.table = Some(*table);
    Ok(verdict)
}

impl Verdict {
    async fn against_input(
        &mut self,
        args: &Verify,
        registry: &Registry,
        output: &mr_storage::DynStore,
        table: &Audit,
    ) {
        let Some(report) = &table.report else {
            return self.unchecked.add("input", "the report says where it is, and can't be read");
        };
        if report.framework_version != FRAMEWORK_VERSION {
            let (then, now) = (&report.framework_version, FRAMEWORK_VERSION);
            self.notes.add("", format!("it was written by version {then} of this program, and this is version {now}"));
        }
        let planned = planned(report, registry).await;
        let filter = planned.as_ref().ok().map(|(_, planned)| &planned.plan.filter);
        let there = match input::there(&report.settings, table.records.as_ref(), filter).await {
            Ok(there) => there,
            Err(why) => return self.unchecked.add(&report.settings.input, format!("{why}; see --no-input")),
        };
        let Some(records) = &table.records else {
            let why = match table.format {
                OutputFormat::Parquet => "the rows do not say which objects they are of",
                OutputFormat::Text(_) | OutputFormat::Json(_) => "rows are lines",
            };
            return self
                .notes
                .add("", format!("{why}: they are not held against the input, and none is computed again"));
        };
        let compared = input::compare(records, there.objects, filter.filter(|_| there.list_unread.is_none()));
        if filter.is_none() {
            self.notes.add("input", "which of its objects the job wants is not known here, so new ones are not told");
        } else if let Some(why) = &there.list_unread {
            self.notes
                .add("input", format!("what its list names is not known any more, so new ones are not told: {why}"));
        }
        compared.tell(report, records, &mut self.faults, &mut self.notes);
        let (rows, same) = (records.rows.len(), &compared.same);
        match planned {
            _ if args.sample == 0 || rows == 0 => {}
            Err(why) => self.unchecked.add("sample", format!("no row was computed again: {why}")),
            Ok(_) if same.is_empty() => {
                self.unchecked.add("sample", "no row was computed again: no object of the input is there as it was");
            }
            Ok((job, Planned { plan, broadcasts, .. })) => {
                let wanted = sample::Wanted { job, plan, broadcasts, table, records, report, compared: &compared };
                let sampled = wanted.check(args, registry, output).await;
                self.faults.extend(sampled.faults.clone());
                self.unchecked.extend(sampled.unchecked.clone());
                self.notes.extend(sampled.notes.clone());
                self.sample = (sampled.rows > 0).then_some(sampled);
            }
        }
        self.input = Some(compared);
    }

    fn end(&self) -> Result<(), Stop> {
        let (faults, unchecked) = (self.faults.count(), self.unchecked.count());
        let said = |count: u64, one: &str, more: &str| match count {
            1 => one.to_owned(),
            count => format!("{count} {more}"),
        };
        let faults = (faults > 0).then(|| said(faults, "the output has a fault", "faults are in the output"));
        let unchecked =
            (unchecked > 0).then(|| said(unchecked, "something could not be checked", "things could not be checked"));
        let told: Vec<_> = faults.into_iter().chain(unchecked).collect();
        if told.is_empty() { Ok(()) } else { Err(Stop::Failed(told.join(", and "))) }
    }
}

/// The plan that the report's settings make, here and now.
async fn planned(report: &Report, registry: &Registry) -> Result<(Arc<dyn Job>, Planned), String> {
    let spec = report.settings.clone();
    let job = registry.find(&spec.job).cloned().ok_or_else(|| format!("this program knows no job `{}`", spec.job))?;
    // Places in a report are whole.
    let place = Place { here: "/".into(), home: None };
    let planned = plan_of(job.as_ref(), spec, &place, &place).await.map_err(|error| error.to_string())?;
    Ok((job, planned))
}

/// A line now and then: large outputs take minutes to read.
fn progress() -> impl Fn(u64, u64) {
    const EVERY: Duration = Duration::from_secs(5);
    let last = Cell::new(Instant::now());
    move |done, all| {
        if last.get().elapsed() >= EVERY {
            last.set(Instant::now());
            say(&format!("read {done} of {all} parts"));
        }
    }
}

/// What will not go well another time either is the user's to put right.
fn of_store(error: &StoreError) -> Stop {
    let story = story(error);
    if error.retryable() { Stop::Failed(story) } else { Stop::Refused(story) }
}

#[cfg(test)]
pub mod tests {
    use super::*;
    use mr_core::JobId;

    pub fn report() -> Report {
        Report {
            job_id: JobId::parse("j").unwrap(),
            books: Default::default(),
            counters: Default::default(),
            seconds: Default::default(),
            first_image_s: None,
            peak_rss_bytes: 0,
            busy_s: 0.0,
            slots: 1,
            workers: 1,
            kernel_family: "test".into(),
            framework_version: FRAMEWORK_VERSION.into(),
            bill: None,
            settings: crate::testing::plan().spec,
        }
    }

    pub fn verdict() -> Verdict {
        Verdict {
            url: "file:///o ut/".into(),
            table: None,
            input: None,
            sample: None,
            faults: Findings::default(),
            unchecked: Findings::default(),
            notes: Findings::default(),
        }
    }

    #[test]
    fn faults_and_what_could_not_be_checked_fail_and_notes_do_not() {
        let mut verdict = verdict();
        verdict.notes.add("input", "one was added");
        assert_eq!(verdict.end(), Ok(()));
        verdict.unchecked.add("sample", "no weights");
        assert_eq!(verdict.end(), Err(Stop::Failed("something could not be checked".into())));
        verdict.faults.add("a", "b");
        verdict.faults.add("c", "d");
        let both = "2 faults are in the output, and something could not be checked";
        assert_eq!(verdict.end(), Err(Stop::Failed(both.into())));
    }

    #[tokio::test]
    async fn a_plan_is_made_of_the_reports_settings() {
        let registry = crate::testing::registry();
        let mut report = report();
        let made = planned(&report, &registry).await.unwrap().1;
        assert_eq!((made.plan.spec, made.broadcasts.len()), (report.settings.clone(), 1));
        report.settings.params.insert("weights".into(), mr_core::ParamValue::Text("file:///not/there".into()));
        let why = planned(&report, &registry).await.err().unwrap();
        assert_eq!(why, "`params.weights`: there is no file /not/there");
        report.settings.job = "other".into();
        assert_eq!(planned(&report, &registry).await.err().unwrap(), "this program knows no job `other`");
    }
}
