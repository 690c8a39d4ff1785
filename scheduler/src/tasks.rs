//! The tasks of one job: what each waits for, who has it, and which could start now.
//!
//! Nothing here walks over all tasks after the start: a task that is done counts down those that wait for it, and those
//! that can start are kept in order of choice.

use crate::books::Ledger;
use crate::care::{Care, Found, LOSSES_SUSPECT, Probing};
use crate::event::Millis;
use crate::fact::Condemned;
use crate::fleet::WorkerNo;
use mr_core::{
    AttemptId, Counters, Epoch, Failure, JobId, SplitObjects, StageIndex, TaskGraph, TaskId, TaskKind, TaskOutput,
    TaskStage,
};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Where a task is in its job. Ordered by choice: the deepest stage first, since its inputs are there and what it makes
/// is wanted, then from the front.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    stage: Reverse<StageIndex>,
    index: u32,
}

impl Place {
    pub fn new(stage: StageIndex, index: u32) -> Self {
        Self { stage: Reverse(stage), index }
    }

    pub fn of(task: &TaskId) -> Self {
        Self::new(task.stage, task.index)
    }

    pub fn stage(self) -> StageIndex {
        self.stage.0
    }

    pub fn index(self) -> u32 {
        self.index
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Task {
    pub state: TaskState,
    /// Attempts given so far: the number of the last one.
    pub given: u32,
    pub failed: u32,
    pub transient: u32,
    pub out_of_memory: u32,
    pub lost: u32,
    /// How often what it wrote was.
    pub undone: u32,
    /// What it came to before it was undone last.
    pub former: Option<Arc<TaskOutput>>,
    /// The worker where it failed last: the next attempt goes to another, if there is one.
    pub avoids: Option<WorkerNo>,
}

#[derive(Clone, Debug)]
pub(crate) enum TaskState {
    /// For so many others, not done yet.
    Waiting {
        missing: u32,
    },
    Ready,
    /// The store was away: it is ready again at this time.
    Paused {
        until: Millis,
    },
    Leased {
        first: Lease,
        /// A second attempt, since the first one takes much longer than its siblings.
        backup: Option<Lease>,
    },
    Done {
        output: Arc<TaskOutput>,
    },
}

/// An attempt that is under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Lease {
    pub epoch: Epoch,
    pub number: u32,
    pub worker: WorkerNo,
    /// When it was given, or, once it has begun, when that was.
    pub since: Millis,
    /// It is in one of its worker's slots, as far as anyone can tell from here, and not in the queue behind them.
    pub begun: bool,
    /// It has its worker for itself, and shows only whether that lives through it.
    pub probe: bool,
}

impl Lease {
    pub fn attempt(&self, task: TaskId) -> AttemptId {
        AttemptId { task, epoch: self.epoch, number: self.number }
    }

    pub fn is(&self, attempt: &AttemptId) -> bool {
        (self.epoch, self.number) == (attempt.epoch, attempt.number)
    }
}

impl TaskState {
    pub fn output(&self) -> Option<&Arc<TaskOutput>> {
        match self {
            Self::Done { output } => Some(output),
            Self::Waiting { .. } | Self::Ready | Self::Paused { .. } | Self::Leased { .. } => None,
        }
    }

    /// The attempts that are under way.
    pub fn leases(&self) -> impl Iterator<Item = Lease> {
        let (first, backup) = match self {
            Self::Leased { first, backup } => (Some(*first), *backup),
            Self::Waiting { .. } | Self::Ready | Self::Paused { .. } | Self::Done { .. } => (None, None),
        };
        first.into_iter().chain(backup)
    }
}

/// Sums over one stage.
#[derive(Clone, Debug, Default)]
pub(crate) struct StageSums {
    /// Position of its first task among all.
    first: usize,
    pub total: u32,
    pub done: u32,
    pub running: u32,
    pub records: u64,
    pub rows: u64,
    pub started_at: Option<Millis>,
    pub ended_at: Option<Millis>,
    /// Of the attempts that won, as far as they were given by us: how many, and how long they took in all.
    timed: u32,
    spent_ms: u64,
    /// Leased tasks without a backup, by when their attempt has begun.
    alone: BTreeSet<(Millis, u32)>,
}

impl StageSums {
    /// How long its tasks take.
    pub fn usual_ms(&self) -> Option<Millis> {
        self.spent_ms.checked_div(self.timed.into())
    }

    /// How long those took together that have been timed.
    pub fn spent_ms(&self) -> Millis {
        self.spent_ms
    }

    fn mostly_done(&self) -> bool {
        u64::from(self.done) * 2 >= u64::from(self.total)
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Tasks {
    graph: Arc<TaskGraph>,
    stages: Vec<StageSums>,
    /// Stage after stage.
    tasks: Vec<Task>,
    dependents: Dependents,
    /// Ready for any worker, and for any but the one where they failed last.
    ready: BTreeSet<Place>,
    ready_elsewhere: BTreeMap<WorkerNo, BTreeSet<Place>>,
    ready_count: usize,
    /// Ready for a worker that has nothing else.
    ready_probes: BTreeSet<Place>,
    cares: BTreeMap<Place, Care>,
    done_count: usize,
    /// Some task has been undone.
    undid: bool,
    pub ledger: Ledger,
}

impl Tasks {
    /// # Errors
    /// An input without objects is refused; a graph that does not fit its splits fails for good.
    pub fn check(graph: &TaskGraph, split_objects: &SplitObjects) -> Result<(), Failure> {
        if split_objects.all() == 0 {
            return Err(Failure::refused("the input holds no object for this job"));
        }
        check_graph(graph, split_objects).map_err(Failure::permanent)
    }

    /// # Errors
    /// As [`check`](Self::check).
    pub fn new(graph: Arc<TaskGraph>, split_objects: SplitObjects) -> Result<Self, Failure> {
        Self::check(&graph, &split_objects)?;
        let mut stages = Vec::with_capacity(graph.stages.len());
        let mut tasks = Vec::new();
        for stage in &graph.stages {
            stages.push(StageSums { first: tasks.len(), total: stage.tasks.len() as u32, ..StageSums::default() });
            tasks.extend(stage.tasks.iter().map(|node| Task {
                state: TaskState::Waiting { missing: node.waits_for().count() as u32 },
                given: 0,
                failed: 0,
                transient: 0,
                out_of_memory: 0,
                lost: 0,
                undone: 0,
                former: None,
                avoids: None,
            }));
        }
        let dependents = Dependents::of(&graph, &stages, tasks.len());
        let ledger = Ledger::new(&graph, split_objects);
        let (ready, ready_elsewhere, ready_probes, cares) = Default::default();
        let (ready_count, done_count, undid) = (0, 0, false);
        let mut new = Self {
            graph,
            stages,
            tasks,
            dependents,
            ready,
            ready_elsewhere,
            ready_count,
            ready_probes,
            cares,
            done_count,
            undid,
            ledger,
        };
        for stage in 0..new.stages.len() {
            for index in 0..new.stages[stage].total {
                let place = Place::new(stage as StageIndex, index);
                if matches!(new.task(place).state, TaskState::Waiting { missing: 0 }) {
                    new.make_ready(place);
                }
            }
        }
        Ok(new)
    }

    pub fn graph(&self) -> &Arc<TaskGraph> {
        &self.graph
    }

    pub fn stages(&self) -> &[StageSums] {
        &self.stages
    }

    /// Whether some of the input has not become an output, or that is lost.
    pub fn reads_input(&self) -> bool {
        let reads = |(stage, sums): (&TaskStage, &StageSums)| {
            sums.done < sums.total && stage.tasks.first().is_some_and(|node| node.kind == TaskKind::MapSplit)
        };
        self.graph.stages.iter().zip(&self.stages).any(reads)
    }

    pub fn find(&self, place: Place) -> Option<&Task> {
        let sums = self.stages.get(place.stage() as usize)?;
        (place.index < sums.total).then(|| &self.tasks[sums.first + place.index as usize])
    }

    /// In order of stage and index.
    pub fn iter(&self) -> impl Iterator<Item = (Place, &Task)> {
        let places = self.stages.iter().enumerate().flat_map(|(stage, sums)| {
            (0..sums.total).map(move |index| Place::new(stage as StageIndex, index)) //
        });
        places.zip(&self.tasks)
    }

    pub fn stage_tasks(&self, stage: StageIndex) -> &[Task] {
        self.stages.get(stage as usize).map_or(&[], |sums| &self.tasks[sums.first..sums.first + sums.total as usize])
    }

    pub fn ready_count(&self) -> usize {
        self.ready_count
    }

    pub fn all_done(&self) -> bool {
        self.done_count == self.tasks.len()
    }

    /// The first ready task of each kind: for anyone, and for anyone but some worker.
    pub fn heads(&self) -> impl Iterator<Item = (Place, Option<WorkerNo>)> {
        let anyone = self.ready.first().map(|place| (*place, None));
        let elsewhere = self.ready_elsewhere.iter();
        anyone.into_iter().chain(elsewhere.filter_map(|(worker, set)| Some((*set.first()?, Some(*worker)))))
    }

    /// Ready → leased.
    pub fn lease(&mut self, place: Place, epoch: Epoch, worker: WorkerNo, now: Millis) -> Lease {
        self.unready(place);
        let lease = self.next_lease(place, epoch, worker, now);
        self.start(place, lease);
        lease
    }

    /// Ready or paused → leased to a worker that has been at it since before this coordinator came.
    pub fn adopt(&mut self, place: Place, lease: Lease) {
        if matches!(self.task(place).state, TaskState::Ready) {
            self.unready(place);
        }
        self.start(place, lease);
    }

    fn start(&mut self, place: Place, lease: Lease) {
        self.task_mut(place).state = TaskState::Leased { first: lease, backup: None };
        let sums = &mut self.stages[place.stage() as usize];
        sums.running += 1;
        sums.started_at.get_or_insert(lease.since);
    }

    /// An attempt has come to the front of its worker's queue.
    pub fn began(&mut self, place: Place, attempt: &AttemptId, now: Millis) {
        let TaskState::Leased { first, backup } = &mut self.task_mut(place).state else { return };
        let Some(lease) = [Some(first), backup.as_mut()].into_iter().flatten().find(|lease| lease.is(attempt)) else {
            return;
        };
        (lease.since, lease.begun) = (now, true);
        self.note_alone(place);
    }

    /// Puts a task among those without a backup, if it is one.
    fn note_alone(&mut self, place: Place) {
        if let TaskState::Leased { first, backup: None } = self.task(place).state
            && first.begun
            && !first.probe
        {
            self.stages[place.stage() as usize].alone.insert((first.since, place.index));
        }
    }

    fn next_lease(&mut self, place: Place, epoch: Epoch, worker: WorkerNo, now: Millis) -> Lease {
        let task = self.task_mut(place);
        task.given += 1;
        let number = task.given;
        let care = self.cares.get_mut(&place).filter(|care| care.probing.is_some());
        let probe = care.is_some_and(|care| care.probes.insert((epoch, number)));
        Lease { epoch, number, worker, since: now, begun: false, probe }
    }

    /// The part of a split that an attempt is to try, if it is a probe.
    pub fn probe(&self, place: Place, attempt: &AttemptId) -> Option<std::ops::Range<u32>> {
        let care = self.cares.get(&place).filter(|care| care.probes.contains(&(attempt.epoch, attempt.number)))?;
        care.probing.as_ref().map(|probing| probing.trying.clone())
    }

    pub fn is_probe(&self, place: Place, attempt: &AttemptId) -> bool {
        self.cares.get(&place).is_some_and(|care| care.probes.contains(&(attempt.epoch, attempt.number)))
    }

    pub fn condemned(&self, place: Place) -> &[Condemned] {
        self.cares.get(&place).map_or(&[], |care| &care.condemned)
    }

    pub fn all_condemned(&self, stage: StageIndex) -> impl Iterator<Item = (u32, Condemned)> {
        let of_stage = self.cares.iter().filter(move |(place, _)| place.stage() == stage);
        of_stage.flat_map(|(place, care)| care.condemned.iter().map(|condemned| (place.index, condemned.clone())))
    }

    pub fn care(&mut self, place: Place) -> &mut Care {
        self.cares.entry(place).or_default()
    }

    /// What it was suspected of is explained, and counts no more.
    pub fn condemn(&mut self, place: Place, condemned: Condemned) {
        self.task_mut(place).lost = 0;
        let care = self.care(place);
        care.cleared_losses = 0;
        care.condemned.push(condemned);
        self.stop_probing(place);
    }

    pub fn awaits_probe(&self, place: Place) -> bool {
        self.ready_probes.contains(&place)
    }

    /// The first that waits for a worker of its own.
    pub fn next_probe(&self) -> Option<Place> {
        self.ready_probes.first().copied()
    }

    /// A task over a split has lost its workers again and again: begins to look for the record that kills them.
    pub fn suspect(&mut self, place: Place) {
        let node = &self.graph.stages[place.stage() as usize].tasks[place.index as usize];
        let lost = self.task(place).lost;
        let waits = matches!(self.task(place).state, TaskState::Ready);
        if node.kind != TaskKind::MapSplit || !waits {
            return;
        }
        let objects = self.ledger.split_objects().each()[place.index() as usize];
        let care = self.cares.entry(place).or_default();
        if care.probing.is_none() && lost.saturating_sub(care.cleared_losses) >= LOSSES_SUSPECT {
            self.unready(place);
            self.care(place).probing = Some(Probing::new(objects));
            self.make_ready(place);
        }
    }

    /// A probe's worker died, or it did not. Returns the record that kills, if that is certain now.
    pub fn probed(&mut self, place: Place, attempt: &AttemptId, lived: bool) -> Option<u32> {
        let probing = self.care(place).probing.as_mut()?;
        match if lived { probing.lived() } else { probing.died(attempt) } {
            Found::NotYet => None,
            Found::Culprit(index) => Some(index),
            Found::Nothing => {
                self.care(place).cleared_losses = self.task(place).lost;
                self.stop_probing(place);
                None
            }
        }
    }

    /// The worker that was lost with this attempt lives: whatever took it away, no record has killed it. It was lost all the
    /// same, and that stays charged: it may be the task that makes its worker silent.
    pub fn came_back(&mut self, place: Place, attempt: &AttemptId) {
        let Some(lost) = self.find(place).map(|task| task.lost) else { return };
        let care = self.care(place);
        if !care.probes.contains(&(attempt.epoch, attempt.number)) {
            care.cleared_losses = lost.min(care.cleared_losses + 1);
        } else if let Some(probing) = &mut care.probing {
            probing.came_back(attempt);
        }
    }

    /// It is a task like others again.
    fn stop_probing(&mut self, place: Place) {
        let ready = self.ready_probes.contains(&place);
        if ready {
            self.unready(place);
        }
        self.care(place).probing = None;
        if ready {
            self.make_ready(place);
        }
    }

    /// Gives a second attempt of a leased task.
    pub fn back_up(&mut self, place: Place, epoch: Epoch, worker: WorkerNo, now: Millis) -> Lease {
        let lease = self.next_lease(place, epoch, worker, now);
        let TaskState::Leased { first, backup } = &mut self.task_mut(place).state else {
            unreachable!("only what is under way is backed up");
        };
        *backup = Some(lease);
        let alone = (first.since, place.index);
        self.stages[place.stage() as usize].alone.remove(&alone);
        lease
    }

    /// Leased → ready, as if it had not been given.
    pub fn give_back(&mut self, place: Place, attempt: &AttemptId) {
        if self.unlease(place, attempt) {
            self.make_ready(place);
        }
    }

    /// Leased → ready, for its worker is gone. Returns how many it has lost.
    pub fn lose(&mut self, place: Place, attempt: &AttemptId) -> u32 {
        self.give_back(place, attempt);
        self.charge(place, |task| &mut task.lost)
    }

    /// Leased → ready, on another worker if there is one.
    pub fn retry(&mut self, place: Place, attempt: &AttemptId, failed_on: WorkerNo) {
        let alone = self.unlease(place, attempt);
        self.task_mut(place).avoids = Some(failed_on);
        if alone {
            self.make_ready(place);
        }
    }

    /// Leased → paused. `false` when another attempt is under way, which needs no pause.
    pub fn pause(&mut self, place: Place, attempt: &AttemptId, failed_on: WorkerNo, until: Millis) -> bool {
        let alone = self.unlease(place, attempt);
        let task = self.task_mut(place);
        task.avoids = Some(failed_on);
        if alone {
            task.state = TaskState::Paused { until };
        }
        alone
    }

    /// Of the tasks that have only one attempt under way, in a stage most of which is done, the one that has taken
    /// longest, if that is much longer than its siblings took. `floor_ms` is what is never thought long.
    pub fn straggler(&self, now: Millis, floor_ms: Millis) -> Option<(Place, WorkerNo)> {
        self.lagging_stages(floor_ms).find_map(|(stage, sums, limit)| {
            let &(since, index) = sums.alone.first()?;
            let place = Place::new(stage, index);
            let worker = self.task(place).state.leases().next()?.worker;
            (since.saturating_add(limit) <= now).then_some((place, worker))
        })
    }

    /// When the next attempt will have taken so long that it is a straggler.
    pub fn next_straggler_at(&self, now: Millis, floor_ms: Millis) -> Option<Millis> {
        let times = self.lagging_stages(floor_ms).filter_map(|(_, sums, limit)| {
            let still = (now.saturating_sub(limit).saturating_add(1), 0);
            let (since, _) = sums.alone.range(still..).next()?;
            Some(since.saturating_add(limit))
        });
        times.min()
    }

    /// Whether a second attempt of this task, begun now, would end well before the only one that is under way, by a worker
    /// that `takes` so long for what others do in the usual time.
    pub fn is_late(&self, place: Place, now: Millis, floor_ms: Millis, takes: impl Fn(Millis) -> Millis) -> bool {
        let sums = &self.stages[place.stage() as usize];
        let TaskState::Leased { first, backup: None } = self.task(place).state else { return false };
        let Some(usual_ms) = sums.usual_ms().filter(|_| !first.probe && sums.mostly_done()) else { return false };
        let begins = if first.begun { first.since } else { now };
        let saved = begins.saturating_add(takes(usual_ms)).saturating_sub(now.saturating_add(usual_ms));
        saved > floor_ms.max(usual_ms / 2)
    }

    /// How long tasks of a stage take, as far as anyone knows.
    pub fn usual_ms(&self, stage: StageIndex) -> Option<Millis> {
        self.stages[stage as usize].usual_ms()
    }

    /// Stages that have enough done to say how long a task takes, and how long is too long.
    fn lagging_stages(&self, floor_ms: Millis) -> impl Iterator<Item = (StageIndex, &StageSums, Millis)> {
        let lagging = move |(stage, sums): (usize, &StageSums)| {
            let limit = sums.usual_ms()?.saturating_mul(2).max(floor_ms);
            (sums.mostly_done() && !sums.alone.is_empty()).then_some((stage as StageIndex, limit))
        };
        let stages = self.stages.iter().enumerate();
        stages.filter_map(move |(stage, sums)| lagging((stage, sums)).map(|(stage, limit)| (stage, sums, limit)))
    }

    /// Paused → ready, if it is paused until then or sooner.
    pub fn wake(&mut self, place: Place, now: Millis) {
        if matches!(self.task(place).state, TaskState::Paused { until } if until <= now) {
            self.make_ready(place);
        }
    }

    /// Ready, paused or leased → done, `by` that attempt. One that waits as well, when a shortened journal is read: it was done
    /// with what is undone now.
    pub fn succeed(&mut self, place: Place, output: &Arc<TaskOutput>, by: &AttemptId, now: Millis) {
        let leases: Vec<_> = self.task(place).state.leases().collect();
        match self.task(place).state {
            TaskState::Done { .. } => unreachable!("only what is not done is done"),
            TaskState::Ready => self.unready(place),
            TaskState::Waiting { .. } | TaskState::Paused { .. } | TaskState::Leased { .. } => {}
        }
        self.ledger.enter((place.stage(), place.index()), output);
        let sums = &mut self.stages[place.stage() as usize];
        if let Some(first) = leases.first() {
            sums.running -= 1;
            sums.alone.remove(&(first.since, place.index));
        }
        if let Some(lease) = leases.iter().find(|lease| lease.begun && lease.is(by)) {
            sums.timed += 1;
            sums.spent_ms += now.saturating_sub(lease.since);
        }
        sums.done += 1;
        sums.records += output.records;
        sums.rows += output.rows;
        // A late result of an attempt that was lost may end a stage before anything else is leased in it.
        sums.started_at.get_or_insert(now);
        if sums.done == sums.total {
            sums.ended_at = Some(now);
        }
        self.done_count += 1;
        self.task_mut(place).state = TaskState::Done { output: output.clone() };
        self.count_down(place);
    }

    /// Those whose files an attempt of that task reads.
    pub fn read_by(&self, place: Place) -> impl Iterator<Item = Place> {
        let node = &self.graph.stages[place.stage() as usize].tasks[place.index as usize];
        node.waits_for().map(|(stage, index)| Place::new(stage, index))
    }

    /// Tasks that wait for that one, or have waited for it.
    pub fn readers(&self, place: Place) -> &[Place] {
        &self.dependents.places[self.dependents.range(self.position(place))]
    }

    /// Done → ready, or waiting where what it reads is undone as well. What has not been done yet of that which reads it
    /// waits for it again, without the attempts that are under way; what has been done stays so.
    ///
    /// `counts` is [`Flaw::CountsWhatIsUndone`](crate::Flaw::CountsWhatIsUndone).
    pub fn undo(&mut self, place: Place, counts: bool) {
        let TaskState::Done { output } = &self.task(place).state else {
            unreachable!("what is undone was done");
        };
        let output = output.clone();
        let sums = &mut self.stages[place.stage() as usize];
        sums.done -= 1;
        sums.records -= output.records;
        sums.rows -= output.rows;
        sums.ended_at = None;
        self.done_count -= 1;
        self.task_mut(place).former = Some(output.clone());
        for edge in self.dependents.range(self.position(place)) {
            self.count_up(self.dependents.places[edge]);
        }
        let undone = |place: &Place| self.task(*place).state.output().is_none();
        let missing = self.read_by(place).filter(undone).count() as u32;
        self.task_mut(place).state = TaskState::Waiting { missing };
        if missing == 0 {
            self.make_ready(place);
        }
        self.undid = true;
        let left = if counts { &TaskOutput { counters: Counters::default(), ..(*output).clone() } } else { &*output };
        self.ledger.leave((place.stage(), place.index()), left);
        self.care(place).spoiled.extend(output.files().map(|(key, _)| key.to_owned()));
    }

    /// Whether an output is one that was undone, told again.
    pub fn was_undone(&self, place: Place, output: &TaskOutput) -> bool {
        self.cares.get(&place).is_some_and(|care| output.files().any(|(key, _)| care.spoiled.contains(key)))
    }

    /// Whether an attempt of that task that its worker has no lease of may have read something else than is there now.
    pub fn may_be_outdated(&self, place: Place) -> bool {
        self.read_by(place).any(|read| self.task(read).former.is_some())
    }

    /// Whether nothing is done, nor was before it was undone.
    pub fn none_was_done(&self) -> bool {
        self.done_count == 0 && !self.undid
    }

    /// The attempts of a task that are under way, by their workers.
    pub fn attempts(&self, place: Place, job: &JobId) -> Vec<(WorkerNo, AttemptId)> {
        let task = TaskId { job: job.clone(), stage: place.stage(), index: place.index };
        let leases = self.find(place).into_iter().flat_map(|task| task.state.leases());
        leases.map(|lease| (lease.worker, lease.attempt(task.clone()))).collect()
    }

    /// Something that the task reads is undone.
    fn count_up(&mut self, place: Place) {
        let missing = match &self.task(place).state {
            TaskState::Done { .. } => return,
            TaskState::Waiting { missing } => missing + 1,
            TaskState::Paused { .. } => 1,
            TaskState::Ready => {
                self.unready(place);
                1
            }
            TaskState::Leased { first, .. } => {
                let alone = (first.since, place.index);
                let sums = &mut self.stages[place.stage() as usize];
                sums.running -= 1;
                sums.alone.remove(&alone);
                1
            }
        };
        let task = self.task_mut(place);
        task.state = TaskState::Waiting { missing };
        // That it failed there was the fault of what it read.
        task.avoids = None;
    }

    fn count_down(&mut self, place: Place) {
        let task = self.position(place);
        for edge in self.dependents.range(task) {
            let dependent = self.dependents.places[edge];
            match &mut self.task_mut(dependent).state {
                // With what this task had come to before it was undone.
                TaskState::Done { .. } => {}
                TaskState::Waiting { missing } => {
                    *missing -= 1;
                    if *missing == 0 {
                        self.make_ready(dependent);
                    }
                }
                TaskState::Ready | TaskState::Paused { .. } | TaskState::Leased { .. } => {
                    unreachable!("it waits for a task that is done only now")
                }
            }
        }
    }

    fn make_ready(&mut self, place: Place) {
        let probes = self.cares.get(&place).is_some_and(|care| care.probing.is_some());
        let task = self.task_mut(place);
        task.state = TaskState::Ready;
        if probes {
            self.ready_probes.insert(place);
            return;
        }
        match task.avoids {
            None => self.ready.insert(place),
            Some(worker) => self.ready_elsewhere.entry(worker).or_default().insert(place),
        };
        self.ready_count += 1;
    }

    fn unready(&mut self, place: Place) {
        if self.ready_probes.remove(&place) {
            return;
        }
        let was_there = match self.task(place).avoids {
            None => self.ready.remove(&place),
            Some(worker) => {
                let set = self.ready_elsewhere.get_mut(&worker).expect("a ready task is in the set of whom it avoids");
                let was_there = set.remove(&place);
                if set.is_empty() {
                    self.ready_elsewhere.remove(&worker);
                }
                was_there
            }
        };
        assert!(was_there, "a ready task is in one of the ready sets");
        self.ready_count -= 1;
    }

    /// Ends an attempt. `true` when it was the only one, and the task's next state is the caller's to say.
    fn unlease(&mut self, place: Place, attempt: &AttemptId) -> bool {
        let TaskState::Leased { first, backup } = self.task(place).state else {
            unreachable!("what is unleased is leased");
        };
        match if first.is(attempt) { backup } else { Some(first) } {
            Some(left) => {
                self.task_mut(place).state = TaskState::Leased { first: left, backup: None };
                self.note_alone(place);
                false
            }
            None => {
                let sums = &mut self.stages[place.stage() as usize];
                sums.running -= 1;
                sums.alone.remove(&(first.since, place.index));
                true
            }
        }
    }

    fn task(&self, place: Place) -> &Task {
        &self.tasks[self.position(place)]
    }

    fn task_mut(&mut self, place: Place) -> &mut Task {
        let position = self.position(place);
        &mut self.tasks[position]
    }

    /// One more application failure, and so on: counts are kept here, their limits where jobs are judged.
    pub fn charge(&mut self, place: Place, count: impl FnOnce(&mut Task) -> &mut u32) -> u32 {
        let count = count(self.task_mut(place));
        *count += 1;
        *count
    }

    fn position(&self, place: Place) -> usize {
        self.stages[place.stage() as usize].first + place.index as usize
    }

    /// What the indexes say against what the tasks say.
    pub fn audit(&self) -> Result<(), String> {
        let mut ready = BTreeSet::new();
        for (stage, sums) in self.stages.iter().enumerate() {
            let tasks = self.stage_tasks(stage as StageIndex);
            let count = |is: fn(&TaskState) -> bool| tasks.iter().filter(|task| is(&task.state)).count();
            let running = count(|state| matches!(state, TaskState::Leased { .. }));
            let done = count(|state| matches!(state, TaskState::Done { .. }));
            if (running, done) != (sums.running as usize, sums.done as usize) {
                return Err(format!("stage {stage}: {running} running and {done} done, but its sums are {sums:?}"));
            }
            let alone = tasks.iter().zip(0..).filter_map(|(task, index)| match &task.state {
                TaskState::Leased { first, backup: None } if first.begun && !first.probe => Some((first.since, index)),
                _ => None,
            });
            if alone.collect::<BTreeSet<_>>() != sums.alone {
                return Err(format!("stage {stage}: those without a backup are not {:?}", sums.alone));
            }
        }
        for (place, task) in self.iter() {
            let node = &self.graph.stages[place.stage() as usize].tasks[place.index as usize];
            let undone = |&(stage, index): &(StageIndex, u32)| {
                !matches!(self.task(Place::new(stage, index)).state, TaskState::Done { .. })
            };
            let missing = node.waits_for().filter(undone).count() as u32;
            match &task.state {
                TaskState::Waiting { missing: counted } if *counted == missing && missing > 0 => {}
                TaskState::Waiting { missing: counted } => {
                    return Err(format!("{place:?} waits for {counted}, but {missing} are undone"));
                }
                TaskState::Done { .. } => {}
                state if missing > 0 => return Err(format!("{place:?} is {state:?}, but {missing} are undone")),
                TaskState::Ready if self.ready_probes.contains(&place) => {
                    if self.cares.get(&place).is_none_or(|care| care.probing.is_none()) {
                        return Err(format!("{place:?} is to be probed for nothing"));
                    }
                }
                TaskState::Ready => {
                    let elsewhere = task.avoids.and_then(|worker| self.ready_elsewhere.get(&worker));
                    if !(if task.avoids.is_some() { elsewhere } else { Some(&self.ready) })
                        .is_some_and(|set| set.contains(&place))
                    {
                        return Err(format!("{place:?} is ready but not in its ready set"));
                    }
                    ready.insert(place);
                }
                TaskState::Paused { .. } | TaskState::Leased { .. } => {}
            }
        }
        let in_sets = self.ready.len() + self.ready_elsewhere.values().map(BTreeSet::len).sum::<usize>();
        if in_sets != ready.len() || self.ready_count != ready.len() {
            return Err(format!("{} tasks are ready, {in_sets} in sets, {} counted", ready.len(), self.ready_count));
        }
        Ok(())
    }
}

/// For each task, those that wait for it, one after the other in one array.
#[derive(Clone, Debug)]
struct Dependents {
    starts: Vec<usize>,
    places: Vec<Place>,
}

impl Dependents {
    fn of(graph: &TaskGraph, stages: &[StageSums], tasks: usize) -> Self {
        let position = |(stage, index): (StageIndex, u32)| stages[stage as usize].first + index as usize;
        let nodes = || graph.stages.iter().flat_map(|stage| &stage.tasks);
        let mut starts = vec![0; tasks + 1];
        for earlier in nodes().flat_map(|node| node.waits_for()) {
            starts[position(earlier) + 1] += 1;
        }
        for task in 0..tasks {
            starts[task + 1] += starts[task];
        }
        let mut next = starts.clone();
        let mut places = vec![Place::new(0, 0); starts[tasks]];
        for (stage, nodes) in graph.stages.iter().enumerate() {
            for (index, node) in nodes.tasks.iter().enumerate() {
                for earlier in node.waits_for() {
                    let slot = &mut next[position(earlier)];
                    places[*slot] = Place::new(stage as StageIndex, index as u32);
                    *slot += 1;
                }
            }
        }
        Self { starts, places }
    }

    fn range(&self, task: usize) -> std::ops::Range<usize> {
        self.starts[task]..self.starts[task + 1]
    }
}

fn check_graph(graph: &TaskGraph, split_objects: &SplitObjects) -> Result<(), String> {
    for (position, stage) in graph.stages.iter().enumerate() {
        let splits = stage.tasks.iter().filter(|node| node.kind == TaskKind::MapSplit).count();
        if splits > 0 && (splits != stage.tasks.len() || splits != split_objects.each().len()) {
            let name = &stage.name;
            let has = split_objects.each().len();
            return Err(format!("stage `{name}` maps {splits} splits, but the listing has {has}"));
        }
        for (earlier, index) in stage.tasks.iter().flat_map(|node| node.waits_for()) {
            let there = graph.stages.get(earlier as usize).is_some_and(|s| (index as usize) < s.tasks.len());
            if earlier as usize >= position || !there {
                let name = &stage.name;
                return Err(format!(
                    "stage `{name}` waits for task {index} of stage {earlier}, which is not before it"
                ));
            }
        }
    }
    if graph.stages.iter().flat_map(|stage| &stage.tasks).all(|node| node.kind != TaskKind::MapSplit) {
        return Err("no stage maps the input".to_owned());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use mr_core::{TaskNode, TaskStage};

    #[test]
    fn a_graph_that_waits_for_what_is_not_before_it_is_refused() {
        let node = |kind, reads: &[(u32, u32)]| TaskNode { kind, reads: reads.to_vec(), broadcasts: Vec::new() };
        let stage = |tasks| TaskStage {
            name: "sum".into(),
            tasks,
            partitions: 1,
            writes_output: true,
            one_row_per_record: true,
        };
        let mapped = || stage(vec![node(TaskKind::MapSplit, &[]), node(TaskKind::MapSplit, &[])]);
        let check = |reads: &[(u32, u32)]| {
            let stages = vec![mapped(), stage(vec![node(TaskKind::Combine, reads)])];
            Tasks::check(&TaskGraph { stages }, &vec![1, 1].into()).map_err(|failure| failure.message)
        };
        assert_eq!(check(&[(0, 0), (0, 1)]), Ok(()));
        for (reads, said) in
            [((0, 2), "task 2 of stage 0"), ((1, 0), "task 0 of stage 1"), ((2, 0), "task 0 of stage 2")]
        {
            let refused = check(&[reads]).unwrap_err();
            assert!(refused.contains(said) && refused.contains("which is not before it"), "{refused}");
        }
        let mixed = stage(vec![node(TaskKind::MapSplit, &[]), node(TaskKind::Combine, &[])]);
        for wrong in [mixed, stage(vec![node(TaskKind::MapSplit, &[])])] {
            let refused = Tasks::check(&TaskGraph { stages: vec![wrong] }, &vec![1, 1].into()).unwrap_err();
            assert_eq!(refused.message, "stage `sum` maps 1 splits, but the listing has 2");
        }
        let silent = TaskGraph { stages: vec![stage(vec![node(TaskKind::Combine, &[])])] };
        assert_eq!(Tasks::check(&silent, &vec![1].into()).unwrap_err().message, "no stage maps the input");
    }
}
