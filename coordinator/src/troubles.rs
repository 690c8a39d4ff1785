//! What goes wrong with a job's tasks while it runs: a job whose attempts fail again and again looks like one that takes long.

use mr_core::{AttemptId, Failure, FailureClass, StageIndex, WorkerId};
use std::collections::BTreeMap;

/// How many attempts of one task have to fail before anyone is told.
const WORTH_TELLING: u32 = 2;

/// Of tasks that are not done yet, by stage and index.
#[derive(Clone, Debug, Default)]
pub struct Troubles(BTreeMap<(StageIndex, u32), Trouble>);

#[derive(Clone, Debug)]
struct Trouble {
    times: u32,
    worker: WorkerId,
    message: String,
}

impl Troubles {
    pub fn failed(&mut self, attempt: &AttemptId, worker: &WorkerId, failure: &Failure) {
        if !failure.lost.is_empty() {
            return; // what it should have read is made again
        }
        match failure.class {
            FailureClass::Application | FailureClass::Transient | FailureClass::OutOfMemory => {}
            // The job's own end, or nobody's fault.
            FailureClass::Permanent | FailureClass::Refused | FailureClass::WorkerLost | FailureClass::Cancelled => {
                return;
            }
        }
        let times = 1 + self.0.get(&place(attempt)).map_or(0, |before| before.times);
        let (worker, message) = (worker.clone(), failure.message.clone());
        self.0.insert(place(attempt), Trouble { times, worker, message });
    }

    pub fn done(&mut self, attempt: &AttemptId) {
        self.0.remove(&place(attempt));
    }

    /// Of the task that has failed most often, if that is worth telling. `name`: of a stage.
    pub fn worst(&self, name: impl Fn(StageIndex) -> String) -> Option<String> {
        let worth = self.0.iter().rev().filter(|(_, trouble)| trouble.times >= WORTH_TELLING);
        let ((stage, index), Trouble { times, worker, message }) = worth.max_by_key(|(_, trouble)| trouble.times)?;
        Some(format!(
            "task {index} of stage `{}` has failed {times} times, last on worker {worker}: {message}",
            name(*stage)
        ))
    }
}

fn place(attempt: &AttemptId) -> (StageIndex, u32) {
    (attempt.task.stage, attempt.task.index)
}

#[cfg(test)]
mod tests {
    use super::*;
    use mr_core::{JobId, TaskId};

    #[test]
    fn the_task_that_has_failed_most_is_told_until_it_is_done() {
        let attempt = |index| AttemptId {
            task: TaskId { job: JobId::parse("a").unwrap(), stage: 0, index },
            epoch: 1,
            number: 1,
        };
        let mut troubles = Troubles::default();
        let mut fails = |index, worker: &str, failure: Failure| {
            troubles.failed(&attempt(index), &WorkerId(worker.into()), &failure);
            troubles.worst(|_| "embed".into())
        };
        assert_eq!(fails(0, "w1", Failure::application("it broke")), None);
        let lost = Failure::new(FailureClass::WorkerLost, "handed back");
        assert_eq!(fails(0, "w1", lost), None);
        assert_eq!(fails(0, "w1", Failure::lost("work/a", "it is gone")), None);
        let twice = fails(0, "w2", Failure::transient("the store is away")).unwrap();
        assert_eq!(twice, "task 0 of stage `embed` has failed 2 times, last on worker w2: the store is away");
        for _ in 0..2 {
            assert_eq!(
                fails(7, "w1", Failure::application("it broke")),
                Some(twice.clone()),
                "they were as many first"
            );
        }
        assert!(fails(7, "w1", Failure::application("it broke")).unwrap().starts_with("task 7"));
        troubles.done(&attempt(7));
        assert_eq!(troubles.worst(|_| "embed".into()), Some(twice));
        troubles.done(&attempt(0));
        assert_eq!(troubles.worst(|_| "embed".into()), None);
    }
}
