//! What a job is going to ask of stores, by its plan: the formula that `docs/cost.md` explains.
//!
//! The reads of the input follow from the splits alone and are exact as long as nothing is tried again. All else is what
//! the framework does for each task and for each commit. Not in it: what only the job's code knows (files beside the result,
//! of which each is two requests and a copy; rows or runs so large that they go up in parts), and what luck decides
//! (attempts that fail, backups, requests that are made again).

use mr_core::{
    JobPlan, OutputFormat, PieceHas, Source, Split, StoreCounts, StoreOutcome, StoreRequest, TaskGraph, TaskKind,
};
use serde::{Serialize, Serializer};

/// Which of a job's places are in S3. Folders are asked nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Places {
    pub input: bool,
    pub output: bool,
    pub state: bool,
}

/// A job that is cut and not yet run.
#[derive(Clone, Debug)]
pub struct Shape<'a> {
    pub plan: &'a JobPlan,
    pub graph: &'a TaskGraph,
    pub splits: &'a [Split],
    pub places: Places,
    /// What finding the input's objects took: whoever plans has done it, and the coordinator will do the same.
    pub finding: &'a StoreCounts,
    /// Worker processes, each of which fetches broadcasts for itself.
    pub processes: u32,
}

/// Requests of one kind, for one purpose.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Asked {
    pub what: &'static str,
    #[serde(serialize_with = "by_name")]
    pub request: StoreRequest,
    pub count: u64,
    /// As long as nothing is tried again.
    pub exact: bool,
    /// After the report is written, so no bill has them.
    pub after_report: bool,
}

fn by_name<S: Serializer>(request: &StoreRequest, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(request.name())
}

/// What is looked at of an output that is not there yet, beside the probe's writes.
const PROBE_PUTS: u64 = 5;
const PROBE_HEADS: u64 = 2;
/// A submission, the listing, the binding, the commit and the end.
const FACTS_OF_A_JOB: u64 = 5;
/// The framework's own files of a run: its report and its quarantine.
const RUN_FILES: u64 = 2;
/// Work files are removed at once, and twice more for attempts that were still writing.
const CLEAN_UPS: u64 = 3;

/// In the order in which they begin; none of which there is nothing.
pub fn requests(shape: &Shape<'_>) -> Vec<Asked> {
    let mut sum = Sum::default();
    if shape.places.input {
        finding(shape, &mut sum);
        reading(shape, &mut sum);
    }
    if shape.places.state {
        working(shape, &mut sum);
    }
    committing(shape, &mut sum);
    sum.0.retain(|asked| asked.count > 0);
    sum.0
}

#[derive(Default)]
struct Sum(Vec<Asked>);

impl Sum {
    fn exactly(&mut self, what: &'static str, request: StoreRequest, count: u64) {
        self.0.push(Asked { what, request, count, exact: true, after_report: false });
    }

    fn about(&mut self, what: &'static str, request: StoreRequest, count: u64) {
        self.0.push(Asked { what, request, count, exact: false, after_report: false });
    }

    fn after(&mut self, what: &'static str, request: StoreRequest, count: u64) {
        self.0.push(Asked { what, request, count, exact: false, after_report: true });
    }
}

fn finding(shape: &Shape<'_>, sum: &mut Sum) {
    for request in [StoreRequest::List, StoreRequest::Head] {
        sum.exactly("finding the input's objects", request, shape.finding.of(request));
    }
}

fn reading(shape: &Shape<'_>, sum: &mut Sum) {
    let (mut whole, mut pieces) = (0, 0);
    for split in shape.splits {
        match split.piece.map(|piece| piece.has) {
            None => whole += u64::from(split.count),
            Some(PieceHas::Bytes) => whole += 1,
            // The rest of a last line may lie further off.
            Some(PieceHas::Lines) => pieces += 1,
            // The footer, and the row groups, which mostly lie together.
            Some(PieceHas::RowGroups) => pieces += 2,
        }
    }
    sum.exactly("reading the input's objects", StoreRequest::Get, whole);
    sum.about("reading pieces of the input's objects", StoreRequest::Get, pieces);
}

/// What is made of a stage's tasks, as far as the plan says.
struct Makes {
    rows: bool,
    run: bool,
    broadcast: bool,
}

fn makes(plan: &JobPlan, stage: &str, kind: TaskKind, last: bool) -> Makes {
    let read_by = |source: &dyn Fn(&Source) -> bool| plan.stages.iter().any(|other| source(&other.source));
    let kept = read_by(&|source| matches!(source, Source::Kept { stage: of, .. } if of == stage));
    let emitted = read_by(&|source| matches!(source, Source::Emitted { stage: of, .. } if of == stage));
    let writes = plan.stages.iter().any(|other| other.name == stage && other.writes_output);
    let broadcast = plan.stages.iter().any(|other| other.broadcasts_of.iter().any(|of| of == stage));
    Makes {
        rows: last && (writes || kept),
        run: match kind {
            // An empty one as well.
            TaskKind::MapSplit | TaskKind::Combine => true,
            TaskKind::MapKept => emitted,
            TaskKind::Reduce { .. } => false,
        },
        broadcast: last && broadcast,
    }
}

fn working(shape: &Shape<'_>, sum: &mut Sum) {
    let (plan, graph, processes) = (shape.plan, shape.graph, u64::from(shape.processes));
    let (mut reads, mut writes, mut tasks) = (0, 0, 0u64);
    for (index, stage) in graph.stages.iter().enumerate() {
        let last = graph.stages.get(index + 1).is_none_or(|next| next.name != stage.name);
        for task in &stage.tasks {
            let Makes { rows, run, broadcast } = makes(plan, &stage.name, task.kind, last);
            reads += task.reads.len() as u64;
            writes += u64::from(rows) + u64::from(run) + u64::from(broadcast);
            tasks += 1;
        }
        // The code of a stage is made once in each process that has a part in it.
        let makers = processes.min(stage.tasks.len() as u64);
        reads += stage.tasks.first().map_or(0, |task| task.broadcasts.len() as u64) * makers;
    }
    let parts = parts(graph);
    let blobs = plan.broadcasts.len() as u64 + u64::from(plan.keys.is_some());
    sum.about("the job's broadcasts and list", StoreRequest::Put, blobs);
    sum.about("the job's broadcasts and list", StoreRequest::Get, plan.broadcasts.len() as u64 * processes);
    sum.about("the frozen listing", StoreRequest::Put, 1);
    sum.about("what tasks of other jobs have done", StoreRequest::List, 1);
    sum.about("the journal", StoreRequest::Put, tasks + FACTS_OF_A_JOB);
    sum.about("files between tasks", StoreRequest::Put, writes);
    sum.about("files between tasks", StoreRequest::Get, reads);
    sum.about("the state, by each worker", StoreRequest::Head, processes);
    let looks = match plan.spec.format {
        OutputFormat::Parquet => StoreRequest::Get,
        OutputFormat::Text(_) | OutputFormat::Json(_) => StoreRequest::Head,
    };
    sum.about("parts that are to be published", looks, parts);
    if !shape.places.output {
        sum.about("parts that are published", StoreRequest::Get, parts);
    }
    sum.after("removing work files", StoreRequest::List, CLEAN_UPS);
}

/// How many the result has at most: one without rows is left out.
fn parts(graph: &TaskGraph) -> u64 {
    graph.stages.iter().filter(|stage| stage.writes_output).map(|stage| stage.tasks.len() as u64).sum()
}

fn committing(shape: &Shape<'_>, sum: &mut Sum) {
    if !shape.places.output {
        return;
    }
    sum.about("looking at the output", StoreRequest::List, 1);
    sum.about("whether the output honours conditions", StoreRequest::Put, PROBE_PUTS);
    sum.about("whether the output honours conditions", StoreRequest::Head, PROBE_HEADS);
    sum.about("whether the output honours conditions", StoreRequest::Delete, 1);
    sum.about("looking at the output again", StoreRequest::List, 1);
    let how = if shape.places.state { StoreRequest::Copy } else { StoreRequest::Put };
    sum.about("parts that are published", how, parts(shape.graph));
    // The mark and the quarantine; the report counts what came before it.
    sum.about("files beside the parts", StoreRequest::Put, RUN_FILES);
    sum.after("the report and the entry", StoreRequest::Put, 2);
    sum.after("looking at the output after the commit", StoreRequest::List, 3);
    sum.after("looking at the output after the commit", StoreRequest::Get, 1);
    sum.after("looking at the output after the commit", StoreRequest::Head, 1);
    sum.after("copies beside the parts", StoreRequest::Copy, RUN_FILES);
    sum.after("the mark of success", StoreRequest::Put, 1);
    sum.after("the mark of success", StoreRequest::Delete, 1);
}

/// All of them as counts, as prices want them.
pub fn counts(asked: &[Asked]) -> StoreCounts {
    let mut sum = StoreCounts::default();
    asked.iter().for_each(|asked| sum.note(asked.request, StoreOutcome::Accepted, asked.count));
    sum
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{plan, splits};
    use mr_core::{Piece, expand};

    const ALL: Places = Places { input: true, output: true, state: true };

    fn asked(splits: &[Split], places: Places, processes: u32) -> Vec<Asked> {
        let plan = plan();
        let graph = expand(&plan, splits.len() as u32).unwrap();
        let mut finding = StoreCounts::default();
        finding.note(StoreRequest::List, StoreOutcome::Accepted, 3);
        requests(&Shape { plan: &plan, graph: &graph, splits, places, finding: &finding, processes })
    }

    fn of(asked: &[Asked], what: &str, request: StoreRequest) -> u64 {
        asked.iter().filter(|asked| asked.what == what && asked.request == request).map(|asked| asked.count).sum()
    }

    #[test]
    fn each_object_is_read_once_and_listed_as_it_was_found() {
        let asked = asked(&splits(&[5, 4]), Places { input: true, ..Places::default() }, 1);
        let told: Vec<_> = asked.iter().map(|asked| (asked.request, asked.count, asked.exact)).collect();
        assert_eq!(told, [(StoreRequest::List, 3, true), (StoreRequest::Get, 9, true)]);
    }

    #[test]
    fn folders_are_asked_nothing() {
        assert_eq!(asked(&splits(&[5, 4]), Places::default(), 1), []);
    }

    #[test]
    fn tasks_leave_each_other_files() {
        // Two maps leave rows and a run each; the fit reads both runs and broadcasts; two projections read rows and that.
        let asked = asked(&splits(&[5, 4]), ALL, 1);
        assert_eq!(of(&asked, "files between tasks", StoreRequest::Put), 4 + 1 + 2);
        assert_eq!(of(&asked, "files between tasks", StoreRequest::Get), 2 + 2 + 1);
        assert_eq!(of(&asked, "the journal", StoreRequest::Put), 5 + 5);
        assert_eq!(of(&asked, "parts that are published", StoreRequest::Copy), 2);
        assert_eq!(of(&asked, "parts that are to be published", StoreRequest::Get), 2);
    }

    #[test]
    fn more_processes_fetch_more_broadcasts_and_nothing_else() {
        let [one, three] = [1, 3].map(|processes| counts(&asked(&splits(&[5, 4]), ALL, processes)));
        let more = |request| three.of(request) - one.of(request);
        // The weights twice, and what the fit broadcasts by one more, since there are two tasks for it.
        assert_eq!((more(StoreRequest::Get), more(StoreRequest::Head), more(StoreRequest::Put)), (2 + 1, 2, 0));
    }

    #[test]
    fn pieces_are_about_as_many_requests_as_pieces() {
        let piece = |has| Piece { start: 0, end: 1, has };
        let split = |has| Split { first: 0, count: 1, bytes: 1, piece: Some(piece(has)) };
        let splits = [PieceHas::Lines, PieceHas::RowGroups, PieceHas::Bytes].map(split);
        let asked = asked(&splits, Places { input: true, ..Places::default() }, 1);
        assert_eq!(of(&asked, "reading pieces of the input's objects", StoreRequest::Get), 3);
        assert_eq!(of(&asked, "reading the input's objects", StoreRequest::Get), 1);
    }
}
