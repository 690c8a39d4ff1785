//! What a task's output must add up to, and what the job's books are so far.
//!
//! Each output is checked when it comes in, against the split or the rows that the task was given; the whole is checked
//! again before the commit, with the rows that are about to become the result.

use mr_core::{Books, Counters, Quarantined, SplitObjects, StageIndex, TaskGraph, TaskKind, TaskOutput};
use std::collections::{BTreeMap, BTreeSet};

/// How many reasons are shown.
const FIRST: usize = 5;

#[derive(Clone, Debug)]
pub(crate) struct Ledger {
    split_objects: SplitObjects,
    /// Objects come in here; a second stage over the same splits sees the same ones.
    input_stage: StageIndex,
    mapped: u64,
    /// Keys, so that an object which two stages refuse, or of which two pieces are refused, counts once, with how many say so.
    quarantined: BTreeMap<String, u32>,
    first: Vec<Quarantined>,
    counters: Counters,
}

impl Ledger {
    pub fn new(graph: &TaskGraph, split_objects: SplitObjects) -> Self {
        let maps_input = |stage: &mr_core::TaskStage| stage.tasks.iter().any(|node| node.kind == TaskKind::MapSplit);
        Self {
            split_objects,
            input_stage: graph.stages.iter().position(maps_input).expect("a checked graph maps its input")
                as StageIndex,
            mapped: 0,
            quarantined: BTreeMap::new(),
            first: Vec::new(),
            counters: Counters::default(),
        }
    }

    pub fn split_objects(&self) -> &SplitObjects {
        &self.split_objects
    }

    /// How many objects of an output are counted with it: one that is cut counts with its first piece.
    fn counts(&self, (stage, index): (StageIndex, u32), output: &TaskOutput) -> u64 {
        if stage == self.input_stage && !self.split_objects.goes_on(index) { output.records } else { 0 }
    }

    pub fn enter(&mut self, task: (StageIndex, u32), output: &TaskOutput) {
        self.mapped += self.counts(task, output);
        self.counters.merge(&output.counters);
        for quarantined in &output.quarantined {
            let say_so = self.quarantined.entry(quarantined.key.clone()).or_default();
            *say_so += 1;
            // The first in the order of keys, not of arrival, so that two runs show the same; of several of one object, say of
            // its pieces, the least.
            let at = self.first.partition_point(|other| other.key < quarantined.key);
            match self.first.get_mut(at).filter(|first| first.key == quarantined.key) {
                Some(first) if quarantined < first => *first = quarantined.clone(),
                Some(_) => {}
                None if *say_so == 1 && at < FIRST => {
                    self.first.insert(at, quarantined.clone());
                    self.first.truncate(FIRST);
                }
                None => {}
            }
        }
    }

    /// Takes back what an output has entered. The first reasons may be fewer then, until it is entered again.
    pub fn leave(&mut self, task: (StageIndex, u32), output: &TaskOutput) {
        self.mapped -= self.counts(task, output);
        self.counters.take_back(&output.counters);
        for Quarantined { key, .. } in &output.quarantined {
            let Some(say_so) = self.quarantined.get_mut(key) else { continue };
            *say_so -= 1;
            if *say_so == 0 {
                self.quarantined.remove(key);
                self.first.retain(|first| first.key != *key);
            }
        }
    }

    pub fn books(&self) -> Books {
        let quarantined = self.quarantined.len() as u64;
        // Another stage may have refused an object before the first stage came to it.
        Books {
            listed: self.split_objects.all(),
            embedded: self.mapped.saturating_sub(quarantined),
            quarantined,
            skipped: 0,
        }
    }

    /// What the job's code has counted in all outputs together.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    pub fn quarantined_first(&self) -> &[Quarantined] {
        &self.first
    }

    /// A sentence when more is quarantined than `share_max` of what is listed.
    pub fn over_share(&self, share_max: f64) -> Option<String> {
        let (count, listed) = (self.quarantined.len(), self.split_objects.all());
        // Divided, since a product rounds: 29 of 100 are 0.29 to the bit, but 0.29 times 100 is less than 29.
        if count == 0 || count as f64 / listed as f64 <= share_max {
            return None;
        }
        let reason = |q: &Quarantined| format!("{} ({}: {})", q.key, q.class, q.message);
        let reasons: Vec<_> = self.first.iter().map(reason).collect();
        let more = if count > reasons.len() { "; ..." } else { "" };
        Some(format!(
            "{count} of {listed} listed objects are quarantined, more than limits.quarantine_share_max = {share_max} allows \
             (raise it to go on without them): {}{more}",
            reasons.join("; ")
        ))
    }

    /// Whether an output can be that of its task. `rows_read` is how many rows the tasks that it reads have kept.
    ///
    /// # Errors
    /// A sentence with both numbers.
    pub fn check(
        &self,
        graph: &TaskGraph,
        (stage, index): (StageIndex, u32),
        rows_read: u64,
        output: &TaskOutput,
    ) -> Result<(), String> {
        let TaskOutput { records, rows, quarantined, .. } = output;
        let stage = &graph.stages[stage as usize];
        match stage.tasks[index as usize].kind {
            TaskKind::MapSplit => {
                let objects = u64::from(self.split_objects.each()[index as usize]);
                if *records != objects {
                    return Err(format!("it reports {records} records of a split of {objects} objects"));
                }
            }
            TaskKind::MapKept => {
                if *records != rows_read {
                    return Err(format!("it reports {records} records, but what it reads has {rows_read} rows"));
                }
            }
            TaskKind::Combine | TaskKind::Reduce { .. } => {}
        }
        let refused = quarantined.len() as u64;
        if refused != quarantined.iter().map(|q| &q.key).collect::<BTreeSet<_>>().len() as u64 {
            return Err("it quarantines an object twice".to_owned());
        }
        if stage.one_row_per_record && rows.checked_add(refused) != Some(*records) {
            return Err(format!("it reports {records} records, but {rows} rows and {refused} quarantined"));
        }
        Ok(())
    }

    /// Whether everything that was listed is in the result or in the quarantine. `rows` has those of each stage.
    ///
    /// # Errors
    /// A sentence with the counts.
    pub fn balance(&self, graph: &TaskGraph, rows: &[u64]) -> Result<(), String> {
        let books = self.books();
        let Books { listed, embedded, quarantined, .. } = books;
        if !books.balanced() {
            return Err(format!("{listed} objects are listed, {embedded} embedded and {quarantined} quarantined"));
        }
        for (position, stage) in graph.stages.iter().enumerate() {
            if stage.writes_output && one_row_per_object(graph, position) && rows[position] != embedded {
                let (name, rows) = (&stage.name, rows[position]);
                return Err(format!(
                    "stage `{name}` writes {rows} rows of {listed} listed objects, {quarantined} of them quarantined"
                ));
            }
        }
        Ok(())
    }
}

/// Whether each row of this stage is one listed object's, through all stages that it comes from. The tasks of a stage are
/// of one kind.
fn one_row_per_object(graph: &TaskGraph, position: usize) -> bool {
    let stage = &graph.stages[position];
    stage.one_row_per_record
        && stage.tasks.first().is_some_and(|node| match node.kind {
            TaskKind::MapSplit => true,
            TaskKind::MapKept => node.reads.first().is_some_and(|(of, _)| one_row_per_object(graph, *of as usize)),
            TaskKind::Combine | TaskKind::Reduce { .. } => false,
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use mr_core::{Piece, PieceHas, QuarantineSource, Split, TaskNode, TaskStage};

    fn quarantined(key: usize) -> Quarantined {
        Quarantined {
            key: format!("{key:03}"),
            etag: String::new(),
            bytes: 0,
            stage: "embed".into(),
            class: "empty".into(),
            message: String::new(),
            source: QuarantineSource::Content,
            attempts: 1,
        }
    }

    fn stage(name: &str, kind: TaskKind, reads: &[(u32, u32)], writes_output: bool, one_row: bool) -> TaskStage {
        let tasks = vec![TaskNode { kind, reads: reads.to_vec(), broadcasts: Vec::new() }];
        TaskStage { name: name.to_owned(), tasks, partitions: 1, writes_output, one_row_per_record: one_row }
    }

    fn mapped(records: u64, keys: impl IntoIterator<Item = usize>) -> TaskOutput {
        TaskOutput { records, quarantined: keys.into_iter().map(quarantined).collect(), ..TaskOutput::default() }
    }

    #[test]
    fn the_first_reasons_are_those_of_the_first_keys_and_one_more_shows_that_there_are_more() {
        let graph = TaskGraph { stages: vec![stage("embed", TaskKind::MapSplit, &[], true, true)] };
        let mut ledger = Ledger::new(&graph, vec![7, 3].into());
        assert_eq!(ledger.books().listed, 10);
        ledger.enter((0, 0), &mapped(7, [9, 2, 4, 2]));
        ledger.enter((0, 0), &mapped(3, [1, 8]));
        let keys = |ledger: &Ledger| ledger.quarantined_first().iter().map(|q| q.key.clone()).collect::<Vec<_>>();
        assert_eq!(keys(&ledger), ["001", "002", "004", "008", "009"]);
        assert_eq!(ledger.over_share(0.5), None);
        let five = ledger.over_share(0.1).unwrap();
        assert!(five.starts_with("5 of 10 listed") && five.ends_with("009 (empty: )"), "{five}");
        ledger.enter((0, 0), &mapped(0, [3]));
        assert_eq!(keys(&ledger), ["001", "002", "003", "004", "008"]);
        assert!(ledger.over_share(0.1).unwrap().ends_with("008 (empty: ); ..."));
        assert_eq!(ledger.books(), Books { listed: 10, embedded: 4, quarantined: 6, skipped: 0 });
        // Taken back and entered again it is as it was; what two outputs have said one may take back.
        ledger.enter((1, 0), &mapped(0, [2, 5]));
        ledger.leave((0, 0), &mapped(7, [9, 2, 4]));
        assert_eq!(keys(&ledger), ["001", "002", "003", "005"]);
        assert_eq!(ledger.books(), Books { listed: 10, embedded: 0, quarantined: 5, skipped: 0 });
        ledger.enter((0, 0), &mapped(7, [9, 2, 4]));
        assert_eq!(keys(&ledger), ["001", "002", "003", "004", "005"]);
        ledger.leave((1, 0), &mapped(0, [2, 5]));
        assert_eq!(ledger.books(), Books { listed: 10, embedded: 4, quarantined: 6, skipped: 0 });
    }

    #[test]
    fn an_object_in_pieces_is_listed_once_and_quarantined_with_any_of_them() {
        let graph = TaskGraph { stages: vec![stage("embed", TaskKind::MapSplit, &[], true, false)] };
        let piece = |start| Split {
            first: 0,
            count: 1,
            bytes: 1,
            piece: Some(Piece { start, end: start + 1, has: PieceHas::Lines }),
        };
        let mut ledger = Ledger::new(&graph, SplitObjects::of(&[piece(0), piece(1), piece(2)]));
        let counting = || TaskOutput { counters: BTreeMap::from([("lines".to_owned(), 2)]).into(), ..mapped(1, []) };
        (0..3).for_each(|index| ledger.enter((0, index), &counting()));
        assert_eq!(ledger.counters().get("lines"), Some(6));
        assert_eq!(ledger.books(), Books { listed: 1, embedded: 1, quarantined: 0, skipped: 0 });
        for index in [1, 2] {
            ledger.leave((0, index), &counting());
            ledger.enter((0, index), &mapped(1, [7]));
        }
        let refused = Books { listed: 1, embedded: 0, quarantined: 1, skipped: 0 };
        assert_eq!(ledger.books(), refused);
        assert_eq!(ledger.balance(&graph, &[5]), Ok(()));
        assert_eq!(ledger.counters().get("lines"), Some(2), "the others were taken back");
        ledger.leave((0, 2), &mapped(1, [7]));
        assert_eq!(ledger.books(), refused, "the other piece says so, too");
    }

    #[test]
    fn what_is_written_is_what_was_listed_without_what_is_quarantined() {
        let split = || stage("embed", TaskKind::MapSplit, &[], false, true);
        let kept = |one_row| stage("project", TaskKind::MapKept, &[(0, 0)], true, one_row);
        let reduce = stage("count", TaskKind::Reduce { partition: 0 }, &[(0, 0)], true, true);
        let balance = |last: TaskStage, records, rows: u64| {
            let graph = TaskGraph { stages: vec![split(), last] };
            let mut ledger = Ledger::new(&graph, vec![10].into());
            ledger.enter((0, 0), &mapped(records, [1, 2]));
            ledger.balance(&graph, &[8, rows])
        };
        assert_eq!(balance(kept(true), 10, 8), Ok(()));
        let missing = balance(kept(true), 10, 7).unwrap_err();
        assert_eq!(missing, "stage `project` writes 7 rows of 10 listed objects, 2 of them quarantined");
        let unmapped = balance(kept(true), 9, 8).unwrap_err();
        assert_eq!(unmapped, "10 objects are listed, 7 embedded and 2 quarantined");
        assert_eq!(balance(kept(false), 10, 100), Ok(()), "it may write any number");
        assert_eq!(balance(reduce, 10, 3), Ok(()), "one row a key");
        let silent = TaskStage { writes_output: false, ..kept(true) };
        assert_eq!(balance(silent, 10, 7), Ok(()), "nobody reads them");
    }

    #[test]
    fn as_many_are_allowed_as_the_share_says_however_it_rounds() {
        let node = TaskNode { kind: TaskKind::MapSplit, reads: Vec::new(), broadcasts: Vec::new() };
        let (name, tasks) = ("embed".to_owned(), vec![node]);
        let stage = TaskStage { name, tasks, partitions: 1, writes_output: true, one_row_per_record: true };
        let graph = TaskGraph { stages: vec![stage] };
        for percent in 0..=100 {
            let share_max: f64 = format!("{}.{:02}", percent / 100, percent % 100).parse().unwrap();
            let over = |count| {
                let mut ledger = Ledger::new(&graph, vec![100].into());
                let output = TaskOutput { quarantined: (0..count).map(quarantined).collect(), ..TaskOutput::default() };
                ledger.enter((0, 0), &output);
                ledger.over_share(share_max).is_some()
            };
            assert!(!over(percent) && over(percent + 1), "{share_max}");
        }
    }
}
