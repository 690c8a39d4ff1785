//! How much may be said, beyond what a message may have at all: in a plan, and of all jobs at once.
//!
//! The coordinator keeps a thousand plans, in memory and in its journal, and tells of two thousand jobs in one answer. A
//! plan is held to this where it is submitted and nowhere else: what the journal has was let in once, and a bound that is
//! newer must not keep a coordinator from its jobs. So [`plan_from`] alone asks for none of it.

use crate::convert::{plan_from, status_to};
use crate::{MESSAGE_BYTES_MAX, WireError, v1};
use mr_core as core;
use prost::Message;

/// A plan as a whole. What a user has typed is in it twice, for a table's footer has it too.
pub const PLAN_BYTES_MAX: usize = 1 << 20;
/// Names of jobs, stages, kernels and settings.
pub const NAME_BYTES_MAX: usize = 256;
/// Places, and reasons that are told to people. No system has longer paths.
pub const TEXT_BYTES_MAX: usize = 4096;
/// Of why a job has failed, where there is no room for all of it.
const REASON_BYTES_MAX: usize = 1000;

/// A plan that somebody submits.
///
/// # Errors
/// Which part of it is missing, too long or no such thing.
pub fn submitted_plan(plan: v1::JobPlan) -> Result<core::JobPlan, WireError> {
    check(&plan)?;
    plan_from(plan)
}

fn check(plan: &v1::JobPlan) -> Result<(), WireError> {
    within("plan", plan.encoded_len(), PLAN_BYTES_MAX)?;
    if let Some(spec) = &plan.spec {
        name("spec.job", &spec.job)?;
        place("spec.input", &spec.input)?;
        place("spec.output", &spec.output)?;
        // It may be of the web, whose paths are not ours to judge. Whoever submits reads it, and nobody else.
        spec.input_list.iter().try_for_each(|list| text("spec.input_list", list))?;
        spec.params.keys().try_for_each(|key| name("spec.params.key", key))?;
    }
    names("plan.extensions", &plan.extensions)?;
    if let Some(wish) = &plan.kernels {
        names("kernels.arithmetics", &wish.arithmetics)?;
        text("kernels.why", &wish.why)?;
    }
    plan.objects_min.iter().try_for_each(|min| text("objects_min.why", &min.why))?;
    plan.broadcasts.iter().try_for_each(|broadcast| name("broadcast.name", &broadcast.name))?;
    plan.stages.iter().try_for_each(stage)?;
    // A setting's name with a little before it.
    plan.footer.keys().try_for_each(|key| text("plan.footer.key", key))
}

fn stage(stage: &v1::Stage) -> Result<(), WireError> {
    use v1::stage::Source;
    name("stage.name", &stage.name)?;
    match &stage.source {
        Some(Source::Kept(v1::KeptSource { stage, .. }) | Source::Emitted(v1::EmittedSource { stage, .. })) => {
            name("stage.source", stage)?;
        }
        Some(Source::Input(v1::InputSource {})) | None => {}
    }
    names("stage.broadcasts_of", &stage.broadcasts_of)?;
    stage.params.iter().try_for_each(|params| names("stage.params", &params.names))
}

fn names(field: &str, all: &[String]) -> Result<(), WireError> {
    all.iter().try_for_each(|one| name(field, one))
}

fn name(field: &str, name: &str) -> Result<(), WireError> {
    within(field, name.len(), NAME_BYTES_MAX)
}

fn text(field: &str, text: &str) -> Result<(), WireError> {
    within(field, text.len(), TEXT_BYTES_MAX)
}

/// What is said does not come back: it may be too long for that as well.
fn within(field: &str, bytes: usize, most: usize) -> Result<(), WireError> {
    if bytes <= most {
        return Ok(());
    }
    Err(WireError::Invalid(format!("`{field}` has {bytes} bytes, and {most} is the most")))
}

/// One that means the same to whoever compares it with another and to the store.
fn place(field: &str, url: &str) -> Result<(), WireError> {
    text(field, url)?;
    let (scheme, below) = url.split_once("://").unwrap_or(("", url));
    let below = below.strip_suffix('/').unwrap_or(below);
    let refused = below.split('/').find_map(|segment| match segment {
        "." | ".." => Some(format!("`{segment}` in it")),
        "" if scheme != "file" => Some("two slashes in a row".to_owned()),
        _ => None,
    });
    match refused {
        None => Ok(()),
        Some(what) => Err(WireError::Invalid(format!("{field} `{url}` has {what}: write the place as it is"))),
    }
}

/// All jobs in one message: where that has no room for all that is known, each is told shortly.
pub fn jobs_to(jobs: Vec<core::JobStatus>) -> v1::ListResponse {
    let mut answer = v1::ListResponse { jobs: jobs.into_iter().map(status_to).collect() };
    if answer.encoded_len() > MESSAGE_BYTES_MAX {
        answer.jobs.iter_mut().for_each(shorten);
    }
    answer
}

/// Its status has the rest.
fn shorten(job: &mut v1::JobStatus) {
    // By which lists show how far it has come.
    job.stages.truncate(1);
    job.counters.clear();
    job.quarantined_first.clear();
    job.note = None;
    if let Some(failure) = &mut job.failure {
        failure.message.truncate(failure.message.floor_char_boundary(REASON_BYTES_MAX));
        failure.blames = None;
        failure.lost.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::convert::status_from;
    use v1::stage::Source;

    fn plan() -> v1::JobPlan {
        let spec = v1::JobSpec {
            job: "toy".into(),
            input: "file:///in/".into(),
            output: "s3://bucket/out/".into(),
            attempts_max: 1,
            split_objects_max: 1,
            split_bytes_max: 1,
            record_seconds_max: 1,
            ..Default::default()
        };
        let source = Some(Source::Input(v1::InputSource {}));
        let stage = v1::Stage { name: "map".into(), source, ..Default::default() };
        v1::JobPlan { spec: Some(spec), stages: vec![stage], ..Default::default() }
    }

    fn spec(plan: &mut v1::JobPlan) -> &mut v1::JobSpec {
        plan.spec.as_mut().expect("it has one")
    }

    /// What is said against the plan with that change.
    fn told(change: impl FnOnce(&mut v1::JobPlan)) -> Option<String> {
        let mut plan = plan();
        change(&mut plan);
        submitted_plan(plan).err().map(|error| error.to_string())
    }

    fn folder(bytes: usize) -> String {
        format!("file:///{}/", "x".repeat(bytes - "file:////".len()))
    }

    #[test]
    fn every_name_and_text_of_a_plan_has_a_bound() {
        type Set = fn(&mut v1::JobPlan, String);
        let fields: [(&str, usize, Set); 15] = [
            ("spec.job", NAME_BYTES_MAX, |plan, text| spec(plan).job = text),
            ("spec.input", TEXT_BYTES_MAX, |plan, text| spec(plan).input = folder(text.len())),
            ("spec.output", TEXT_BYTES_MAX, |plan, text| spec(plan).output = folder(text.len())),
            ("spec.input_list", TEXT_BYTES_MAX, |plan, text| spec(plan).input_list = Some(text)),
            ("spec.params.key", NAME_BYTES_MAX, |plan, text| {
                let value = Some(v1::param::Value::Boolean(true));
                spec(plan).params.insert(text, v1::Param { value });
            }),
            ("plan.extensions", NAME_BYTES_MAX, |plan, text| plan.extensions = vec!["jpg".into(), text]),
            ("kernels.arithmetics", NAME_BYTES_MAX, |plan, text| {
                plan.kernels = Some(v1::KernelWish { arithmetics: vec![text], why: String::new() });
            }),
            ("kernels.why", TEXT_BYTES_MAX, |plan, text| {
                plan.kernels = Some(v1::KernelWish { arithmetics: Vec::new(), why: text });
            }),
            ("objects_min.why", TEXT_BYTES_MAX, |plan, text| {
                plan.objects_min = Some(v1::ObjectsMin { count: 1, why: text });
            }),
            ("broadcast.name", NAME_BYTES_MAX, |plan, text| {
                let blob = v1::Blob { key: "k".into(), sha256: "0".repeat(64), bytes: 1 };
                plan.broadcasts = vec![v1::Broadcast { name: text, blob: Some(blob) }];
            }),
            ("stage.name", NAME_BYTES_MAX, |plan, text| plan.stages[0].name = text),
            ("stage.source", NAME_BYTES_MAX, |plan, text| {
                let source = v1::KeptSource { stage: text, group_min: 1, group_max: 1 };
                plan.stages[0].source = Some(Source::Kept(source));
            }),
            ("stage.broadcasts_of", NAME_BYTES_MAX, |plan, text| plan.stages[0].broadcasts_of = vec![text]),
            ("stage.params", NAME_BYTES_MAX, |plan, text| {
                plan.stages[0].params = Some(v1::ParamNames { names: vec![text] });
            }),
            ("plan.footer.key", TEXT_BYTES_MAX, |plan, text| _ = plan.footer.insert(text, String::new())),
        ];
        for (field, most, set) in fields {
            assert_eq!(told(|plan| set(plan, "x".repeat(most))), None, "{field}");
            let more = most + 1;
            let expected = format!("`{field}` has {more} bytes, and {most} is the most");
            assert_eq!(told(|plan| set(plan, "x".repeat(more))), Some(expected));
        }
    }

    #[test]
    fn a_plan_has_a_bound_as_a_whole_wherever_its_bytes_are() {
        let with = |bytes: usize| {
            let mut plan = plan();
            let value = Some(v1::param::Value::Text("x".repeat(bytes)));
            spec(&mut plan).params.insert("commands".into(), v1::Param { value });
            plan
        };
        // What tells lengths is as long for a few bytes less.
        let about = PLAN_BYTES_MAX - 500;
        let most = about + PLAN_BYTES_MAX - with(about).encoded_len();
        assert_eq!(with(most).encoded_len(), PLAN_BYTES_MAX);
        assert!(submitted_plan(with(most)).is_ok());
        let said = submitted_plan(with(most + 1)).unwrap_err().to_string();
        assert_eq!(said, "`plan` has 1048577 bytes, and 1048576 is the most");
        // A footer of many short values, and stages without number.
        let many = || (0..100_000).map(|n| (format!("name-{n}"), "value".to_owned())).collect();
        assert!(told(|plan| plan.footer = many()).is_some_and(|said| said.starts_with("`plan` has ")));
        assert!(told(|plan| plan.stages = vec![plan.stages[0].clone(); 200_000]).is_some());
    }

    #[test]
    fn a_place_is_written_without_dots_that_lead_elsewhere() {
        for fine in ["file:///", "file:///a..b/.c/...//d/", "s3://b/", "s3://b/a b/c/", "memory://x/"] {
            assert_eq!(told(|plan| spec(plan).input = fine.into()), None, "{fine}");
            assert_eq!(told(|plan| spec(plan).output = fine.into()), None, "{fine}");
        }
        for (place, what) in [
            ("file:///a/../b/", "`..` in it"),
            ("file:///a/..", "`..` in it"),
            ("file:///../", "`..` in it"),
            ("file:///a/./b/", "`.` in it"),
            ("s3://b/a/../c/", "`..` in it"),
            ("s3://../", "`..` in it"),
            ("s3://b/./", "`.` in it"),
            ("memory://x/../y/", "`..` in it"),
            ("s3://b//a/", "two slashes in a row"),
            ("s3://b/a//", "two slashes in a row"),
            ("../a/", "`..` in it"),
        ] {
            let expected = |field| Some(format!("{field} `{place}` has {what}: write the place as it is"));
            assert_eq!(told(|plan| spec(plan).input = place.into()), expected("spec.input"));
            assert_eq!(told(|plan| spec(plan).output = place.into()), expected("spec.output"));
        }
    }

    #[test]
    fn what_the_journal_has_is_read_however_long_it_is() {
        let mut plan = plan();
        spec(&mut plan).job = "x".repeat(PLAN_BYTES_MAX);
        spec(&mut plan).output = "file:///a/../b/".into();
        assert!(plan_from(plan.clone()).is_ok());
        assert!(submitted_plan(plan).is_err());
    }

    /// A job with as much in it as there may be, and why it failed besides.
    fn status() -> core::JobStatus {
        let stage = v1::StageStatus { name: "s".repeat(NAME_BYTES_MAX), records: 7, ..Default::default() };
        let failure = v1::Failure {
            class: v1::FailureClass::Permanent as i32,
            message: "ä".repeat(REASON_BYTES_MAX),
            ..Default::default()
        };
        let status = v1::JobStatus {
            job_id: "j".repeat(64),
            job: "n".repeat(NAME_BYTES_MAX),
            input: folder(TEXT_BYTES_MAX),
            input_list: Some(folder(TEXT_BYTES_MAX)),
            output: folder(TEXT_BYTES_MAX),
            phase: v1::JobPhase::Failed as i32,
            stages: vec![stage; 100],
            failure: Some(failure),
            ..Default::default()
        };
        status_from(status).expect("it is one")
    }

    #[test]
    fn as_many_jobs_as_there_may_be_fit_into_one_answer() {
        let few = jobs_to(vec![status(); 3]);
        assert_eq!(few, v1::ListResponse { jobs: vec![status_to(status()); 3] });
        // Open ones, and those that have ended.
        let all = jobs_to(vec![status(); 2000]);
        assert_eq!(all.jobs.len(), 2000);
        assert!(all.encoded_len() <= MESSAGE_BYTES_MAX, "{} bytes", all.encoded_len());
        let job = &all.jobs[1999];
        assert_eq!((job.job.len(), job.output.len()), (NAME_BYTES_MAX, TEXT_BYTES_MAX));
        assert_eq!(job.stages[..], few.jobs[0].stages[..1]);
        assert_eq!(job.failure.as_ref().map(|failure| failure.message.len()), Some(REASON_BYTES_MAX));
    }
}
