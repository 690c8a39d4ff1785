//! From a plan and the number of its splits to every task, and which tasks each one waits for.
//!
//! Expansion is a pure function, so the coordinator can make the same graph again after a restart. A reduce over many
//! runs becomes levels of combining tasks: the shape of that tree depends on the number of tasks and `fan_in` alone,
//! and so does the order in which sums are made.

use crate::{Cut, JobPlan, Source, StageIndex, StagePlan};
use serde::{Deserialize, Serialize};

/// How many tasks a stage over kept rows has at least, where its groups may be small enough: work for a fair fleet.
const KEPT_TASKS: u32 = 64;

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskGraph {
    pub stages: Vec<TaskStage>,
}

/// A stage of the plan, or a level of combining in front of one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskStage {
    /// Name of the stage in the plan that these tasks belong to.
    pub name: String,
    pub tasks: Vec<TaskNode>,
    /// How many partitions this stage's runs have.
    pub partitions: u32,
    pub writes_output: bool,
    pub one_row_per_record: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskNode {
    pub kind: TaskKind,
    /// The tasks whose kept rows or runs this one reads, in order.
    pub reads: Vec<(StageIndex, u32)>,
    /// The tasks whose broadcasts it is given, with the name it goes by.
    pub broadcasts: Vec<(String, StageIndex, u32)>,
}

impl TaskNode {
    /// Every task that has to be done before this one can start.
    pub fn waits_for(&self) -> impl Iterator<Item = (StageIndex, u32)> + '_ {
        self.reads.iter().copied().chain(self.broadcasts.iter().map(|(_, stage, index)| (*stage, *index)))
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum TaskKind {
    /// Over the split with the task's own number.
    MapSplit,
    MapKept,
    Combine,
    Reduce {
        partition: u32,
    },
}

/// What a graph may take in memory, by [`Room`]'s reckoning: some millions of tasks. A plan comes from outside, and a few of
/// its bytes can ask for more tasks than there is memory for.
const GRAPH_BYTES_MAX: u64 = 1 << 30;

/// Every stage is looked for among all those before it.
const STAGES_MAX: usize = 100;

/// Makes the tasks of `plan` for a listing of `splits` splits.
///
/// # Errors
/// A sentence when the plan names a stage that is not there before it, asks for no partition or a fan-in below two, or for
/// more tasks than a coordinator can hold.
pub fn expand(plan: &JobPlan, splits: u32) -> Result<TaskGraph, String> {
    if plan.stages.len() > STAGES_MAX {
        return Err(format!("the plan has {} stages; {STAGES_MAX} is the most", plan.stages.len()));
    }
    let (mut graph, mut room) = (TaskGraph::default(), Room(GRAPH_BYTES_MAX));
    for (position, stage) in plan.stages.iter().enumerate() {
        let broadcasts = broadcasts(&graph, &stage.broadcasts_of)?;
        let mut take = |tasks, reads| room.take(stage, tasks, reads, &broadcasts);
        let push = |graph: &mut TaskGraph, tasks: Vec<(TaskKind, Vec<(StageIndex, u32)>)>, last: bool| {
            let tasks = tasks
                .into_iter()
                .map(|(kind, reads)| TaskNode { kind, reads, broadcasts: broadcasts.clone() })
                .collect();
            graph.stages.push(TaskStage {
                name: stage.name.clone(),
                tasks,
                partitions: 1,
                writes_output: last && stage.writes_output,
                one_row_per_record: last && stage.one_row_per_record,
            });
        };
        match &stage.source {
            Source::Input if stage.one_row_per_record && plan.cut != Cut::Nowhere => {
                let name = &stage.name;
                return Err(format!(
                    "stage `{name}` makes one row of each object, and the plan says that they may be cut"
                ));
            }
            Source::Input => {
                take(splits, 0)?;
                push(&mut graph, (0..splits).map(|_| (TaskKind::MapSplit, Vec::new())).collect(), true);
            }
            Source::Kept { stage: of, group_min, group_max } => {
                if *group_min == 0 || group_max < group_min {
                    return Err(format!("stage `{}` needs groups of at least one task", stage.name));
                }
                let (of, count) = find(&graph, of)?;
                take(count, 1)?;
                let group = count.div_ceil(KEPT_TASKS).clamp(*group_min, *group_max);
                let members = |first: u32| (first..count.min(first + group)).map(|i| (of, i)).collect();
                let tasks = (0..count).step_by(group as usize).map(|first| (TaskKind::MapKept, members(first)));
                push(&mut graph, tasks.collect(), true);
            }
            Source::Emitted { stage: of, partitions, fan_in } => {
                if *partitions == 0 || *fan_in < 2 {
                    return Err(format!("stage `{}` needs at least one partition and a fan-in of two", stage.name));
                }
                let (mut of, mut count) = find(&graph, of)?;
                graph.stages[of as usize].partitions = *partitions;
                while count > *fan_in {
                    let groups = count.div_ceil(*fan_in);
                    take(groups, *fan_in)?;
                    let members =
                        |group: u32| (group * fan_in..count.min((group + 1) * fan_in)).map(|i| (of, i)).collect();
                    push(&mut graph, (0..groups).map(|group| (TaskKind::Combine, members(group))).collect(), false);
                    of = graph.stages.len() as StageIndex - 1;
                    graph.stages[of as usize].partitions = *partitions;
                    count = groups;
                }
                take(*partitions, count)?;
                let all: Vec<_> = (0..count).map(|index| (of, index)).collect();
                let tasks = (0..*partitions).map(|partition| (TaskKind::Reduce { partition }, all.clone())).collect();
                push(&mut graph, tasks, true);
            }
        }
        if plan.stages[..position].iter().any(|earlier| earlier.name == stage.name) {
            return Err(format!("two stages are named `{}`", stage.name));
        }
    }
    Ok(graph)
}

/// How many bytes of graph may still be made.
struct Room(u64);

impl Room {
    /// Takes what so many tasks need that read so many others each.
    fn take(
        &mut self,
        stage: &StagePlan,
        tasks: u32,
        reads: u32,
        broadcasts: &[(String, StageIndex, u32)],
    ) -> Result<(), String> {
        let broadcast =
            |(name, ..): &(String, StageIndex, u32)| (size_of::<(String, StageIndex, u32)>() + name.len()) as u64;
        let task = size_of::<TaskNode>() as u64
            + u64::from(reads) * size_of::<(StageIndex, u32)>() as u64
            + broadcasts.iter().map(broadcast).sum::<u64>();
        let left = task.checked_mul(tasks.into()).and_then(|bytes| self.0.checked_sub(bytes));
        self.0 = left.ok_or_else(|| {
            format!("stage `{}` of {tasks} tasks that read {reads} others each is more than a job may have", stage.name)
        })?;
        Ok(())
    }
}

/// The last stage of that name (the one that is not a level of combining), and how many tasks it has.
fn find(graph: &TaskGraph, name: &str) -> Result<(StageIndex, u32), String> {
    let position = graph
        .stages
        .iter()
        .rposition(|stage| stage.name == name)
        .ok_or_else(|| format!("the plan reads stage `{name}`, which is not before it"))?;
    Ok((position as StageIndex, graph.stages[position].tasks.len() as u32))
}

fn broadcasts(graph: &TaskGraph, names: &[String]) -> Result<Vec<(String, StageIndex, u32)>, String> {
    let mut found = Vec::new();
    for name in names {
        let (stage, count) = find(graph, name)?;
        if count != 1 {
            return Err(format!("stage `{name}` has {count} tasks; only a stage of one task can be broadcast"));
        }
        found.push((name.clone(), stage, 0));
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{InputFilter, JobSpec, Limits, Mode, Params, SplitSettings, StagePlan};

    fn plan(stages: Vec<StagePlan>) -> JobPlan {
        JobPlan {
            spec: JobSpec {
                job: "test".into(),
                input: "file:///in/".into(),
                output: "file:///out/".into(),
                mode: Mode::Fail,
                format: Default::default(),
                input_list: None,
                adopt: false,
                params: Params::new(),
                limits: Limits::default(),
                split: SplitSettings::default(),
                shuffle: Default::default(),
            },
            job_version: 1,
            filter: InputFilter::default(),
            cut: Default::default(),
            objects_min: None,
            keys: None,
            kernels: Default::default(),
            broadcasts: Vec::new(),
            stages,
            footer: Default::default(),
        }
    }

    fn stage(name: &str, source: Source, broadcasts_of: &[&str]) -> StagePlan {
        StagePlan {
            name: name.into(),
            source,
            broadcasts_of: broadcasts_of.iter().map(|s| s.to_string()).collect(),
            writes_output: name == "project",
            one_row_per_record: name != "fit",
            params: None,
        }
    }

    fn features(fan_in: u32) -> JobPlan {
        plan(vec![
            stage("embed", Source::Input, &[]),
            stage("fit", Source::Emitted { stage: "embed".into(), partitions: 1, fan_in }, &[]),
            stage("project", Source::Kept { stage: "embed".into(), group_min: 4, group_max: 400 }, &["fit"]),
        ])
    }

    #[test]
    fn many_runs_are_combined_in_a_tree_that_keeps_their_order() {
        let graph = expand(&features(4), 18).unwrap();
        let shape: Vec<_> = graph.stages.iter().map(|s| (s.name.as_str(), s.tasks.len())).collect();
        assert_eq!(shape, [("embed", 18), ("fit", 5), ("fit", 2), ("fit", 1), ("project", 5)]);
        assert_eq!(graph.stages[1].tasks[4].reads, [(0, 16), (0, 17)]);
        assert_eq!(graph.stages[2].tasks[1].reads, [(1, 4)]);
        assert_eq!(graph.stages[3].tasks[0].reads, [(2, 0), (2, 1)]);
        assert_eq!(graph.stages[4].tasks[4].waits_for().collect::<Vec<_>>(), [(0, 16), (0, 17), (3, 0)]);
        assert!(graph.stages[4].writes_output && !graph.stages[3].writes_output);
    }

    #[test]
    fn what_combines_is_given_what_its_stage_is() {
        let emitted = Source::Emitted { stage: "rows".into(), partitions: 1, fan_in: 2 };
        let stages = vec![
            stage("embed", Source::Input, &[]),
            stage("fit", Source::Emitted { stage: "embed".into(), partitions: 1, fan_in: 9 }, &[]),
            stage("rows", Source::Kept { stage: "embed".into(), group_min: 1, group_max: 1 }, &[]),
            stage("sum", emitted, &["fit"]),
        ];
        let graph = expand(&plan(stages), 3).unwrap();
        let shape: Vec<_> = graph.stages.iter().map(|s| (s.name.as_str(), s.tasks.len())).collect();
        assert_eq!(shape, [("embed", 3), ("fit", 1), ("rows", 3), ("sum", 2), ("sum", 1)]);
        assert_eq!(graph.stages[3].tasks[0].kind, TaskKind::Combine);
        assert_eq!(graph.stages[3].tasks[0].waits_for().collect::<Vec<_>>(), [(2, 0), (2, 1), (1, 0)]);
    }

    #[test]
    fn few_runs_need_no_tree() {
        let graph = expand(&features(4), 3).unwrap();
        assert_eq!(graph.stages.len(), 3);
        assert_eq!(graph.stages[1].tasks[0].kind, TaskKind::Reduce { partition: 0 });
    }

    #[test]
    fn a_plan_that_cannot_be_is_refused_with_a_sentence() {
        let missing = plan(vec![stage("a", Source::Kept { stage: "b".into(), group_min: 1, group_max: 1 }, &[])]);
        assert!(expand(&missing, 1).unwrap_err().contains("`b`"));
        let twice = plan(vec![stage("a", Source::Input, &[]), stage("a", Source::Input, &[])]);
        assert!(expand(&twice, 1).unwrap_err().contains("two stages"));
        let wide = plan(vec![stage("a", Source::Input, &[]), stage("b", Source::Input, &["a"])]);
        assert!(expand(&wide, 2).unwrap_err().contains("2 tasks"));
        let rows = StagePlan { one_row_per_record: true, ..stage("a", Source::Input, &[]) };
        let cut = JobPlan { cut: Cut::Lines, ..plan(vec![rows]) };
        assert!(expand(&cut, 1).unwrap_err().contains("`a` makes one row of each object"));
    }

    #[test]
    fn a_few_bytes_do_not_ask_for_more_than_there_is_memory_for() {
        let emitted = |name: &str, of: &str, partitions, fan_in| {
            stage(name, Source::Emitted { stage: of.into(), partitions, fan_in }, &[])
        };
        let refused = |stages, splits| expand(&plan(stages), splits).unwrap_err();
        let input = || stage("a", Source::Input, &[]);
        let said = refused(vec![input(), emitted("b", "a", u32::MAX, 2)], 1);
        assert_eq!(said, "stage `b` of 4294967295 tasks that read 1 others each is more than a job may have");
        let crossed = vec![input(), emitted("b", "a", 1 << 20, 1 << 20)];
        assert!(refused(crossed, 1 << 12).contains("that read 4096 others each"));
        let long = "x".repeat(1 << 20);
        let told = Source::Emitted { stage: "a".into(), partitions: 1 << 12, fan_in: 2 };
        let told = vec![input(), stage(&long, Source::Input, &[]), stage("b", told, &[&long])];
        assert!(refused(told, 1).contains("more than a job may have"));
        let many = (0..=STAGES_MAX).map(|n| stage(&n.to_string(), Source::Input, &[])).collect();
        assert_eq!(refused(many, 1), "the plan has 101 stages; 100 is the most");
        // A job that is as large as they come is not.
        assert!(expand(&features(32), 1_000_000).is_ok());
    }
}
