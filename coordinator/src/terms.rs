//! What whoever plans a job is told of the fleet, and what follows from it: as many workers as the fleet would start, by the
//! autoscaler's own reckoning.

use mr_autoscaler::{Aim, Policy, StageFacts};
use mr_core::{FleetAim, FleetTerms, TaskGraph};

pub fn terms(policy: &Policy) -> FleetTerms {
    FleetTerms {
        workers_min: policy.workers_min,
        workers_max: policy.most(),
        slots: policy.slots,
        start_ms: policy.start_ms,
        task_ms: policy.task_ms,
        idle_ms: policy.idle_ms,
        billed_min_ms: policy.billed_min_ms,
        aim: match policy.aim {
            Aim::Within(target_ms) => FleetAim::Within { target_ms },
            Aim::Cheapest { usd_per_hour_waited } => FleetAim::Cheapest { usd_per_hour_waited },
        },
        usd_per_worker_hour: policy.usd_per_worker_hour,
        budget_usd_per_job: policy.budget_usd_per_job,
    }
}

fn policy(terms: &FleetTerms) -> Policy {
    Policy {
        workers_min: terms.workers_min,
        workers_max: terms.workers_max,
        slots: terms.slots,
        start_ms: terms.start_ms,
        task_ms: terms.task_ms,
        idle_ms: terms.idle_ms,
        billed_min_ms: terms.billed_min_ms,
        aim: match terms.aim {
            FleetAim::Within { target_ms } => Aim::Within(target_ms),
            FleetAim::Cheapest { usd_per_hour_waited } => Aim::Cheapest { usd_per_hour_waited },
        },
        usd_per_worker_hour: terms.usd_per_worker_hour,
        // It is in `workers_max` already.
        budget_usd_per_hour: None,
        budget_usd_per_job: terms.budget_usd_per_job,
    }
}

/// How many workers of so many slots a fleet without any starts for a job that it has alone, which is to take so much slot time
/// in all; `None`: nobody knows. That is shared out to all tasks alike.
///
/// # Errors
/// A sentence why there is no such fleet.
pub fn workers_alone(
    terms: &FleetTerms,
    slots: u32,
    graph: &TaskGraph,
    slot_seconds: Option<f64>,
) -> Result<u32, String> {
    let policy = policy(terms);
    policy.check().map_err(|error| format!("the coordinator's fleet: {error}"))?;
    let tasks: usize = graph.stages.iter().map(|stage| stage.tasks.len()).sum();
    // A float beyond the largest number becomes that.
    let task_ms = slot_seconds.map(|seconds| (seconds * 1000.0 / tasks.max(1) as f64).round() as u64);
    let stage = |tasks: usize| StageFacts { waiting: tasks as u32, task_ms, ..StageFacts::default() };
    let stages = graph.stages.iter().map(|nodes| stage(nodes.tasks.len()));
    Ok(mr_autoscaler::workers_alone(&policy, slots, stages.collect()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use mr_autoscaler::sim::{self, Random};
    use mr_autoscaler::{Autoscaler, Facts, JobFacts};
    use mr_core::{ClusterTerms, TaskKind, TaskNode, TaskStage};
    use mr_proto::convert;

    /// What is told goes over the wire.
    fn told(policy: &Policy) -> FleetTerms {
        let terms = ClusterTerms { fleet: Some(terms(policy)), ..ClusterTerms::default() };
        convert::terms_from(convert::terms_to(terms)).unwrap().fleet.unwrap()
    }

    fn graph(tasks: &[u32]) -> TaskGraph {
        let node = || TaskNode { kind: TaskKind::MapSplit, reads: Vec::new(), broadcasts: Vec::new() };
        let stage = |&tasks: &u32| TaskStage {
            name: "stage".into(),
            tasks: (0..tasks).map(|_| node()).collect(),
            partitions: 1,
            writes_output: false,
            one_row_per_record: true,
        };
        TaskGraph { stages: tasks.iter().map(stage).collect() }
    }

    /// What the fleet itself decides when the job is all that there is.
    fn decided(policy: &Policy, tasks: &[u32], task_ms: Option<u64>) -> u32 {
        let stages = tasks.iter().map(|&waiting| StageFacts { waiting, task_ms, ..StageFacts::default() });
        let job = JobFacts { submitted_at: 5000, stages: stages.collect(), books_open: true, ..JobFacts::default() };
        let facts = Facts { jobs: vec![job], instances: Vec::new() };
        Autoscaler::new(policy.clone()).decide(5000, &facts).size
    }

    #[test]
    fn a_plan_has_as_many_workers_as_the_fleet_would_start() {
        let mut random = Random::new(3);
        let mut found = std::collections::BTreeSet::new();
        for case in 0..2000 {
            let policy = sim::policy(&mut random);
            let tasks: Vec<_> = (0..random.between(1, 4)).map(|_| random.between(1, 300) as u32).collect();
            let task_ms = random.per_mille(800).then(|| random.between(1, 60_000));
            let all: u32 = tasks.iter().sum();
            let slot_seconds = task_ms.map(|task_ms| (u64::from(all) * task_ms) as f64 / 1000.0);
            let planned = workers_alone(&told(&policy), policy.slots, &graph(&tasks), slot_seconds).unwrap();
            assert_eq!(
                planned,
                decided(&policy, &tasks, task_ms),
                "case {case}: {policy:?} and {tasks:?} of {task_ms:?}"
            );
            found.insert(planned);
        }
        assert!(found.len() > 20, "{found:?}");
    }

    #[test]
    fn waiting_that_costs_nothing_is_one_worker_and_few_tasks_are_few_workers() {
        let of =
            |policy: &Policy, tasks: &[u32]| workers_alone(&told(policy), 1, &graph(tasks), Some(86_400.0)).unwrap();
        let free = Policy { aim: Aim::Cheapest { usd_per_hour_waited: 0.0 }, workers_max: 40, ..Policy::default() };
        assert_eq!(of(&Policy { usd_per_worker_hour: 0.1, ..free }, &[1000, 1, 1000]), 1);
        let hasty = Policy { aim: Aim::Within(60_000), workers_max: 40, ..Policy::default() };
        assert_eq!((of(&hasty, &[1, 1, 1]), of(&hasty, &[3, 1, 2]), of(&hasty, &[1000])), (1, 3, 40));
    }

    #[test]
    fn a_fleet_that_can_not_be_is_told() {
        let terms = FleetTerms { workers_max: 0, ..told(&Policy::default()) };
        let said = workers_alone(&terms, 1, &graph(&[1]), None).unwrap_err();
        assert!(said.starts_with("the coordinator's fleet: `workers_max` should be at least 1"), "{said}");
    }
}
