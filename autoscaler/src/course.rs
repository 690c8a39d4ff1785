//! How what is left of a job goes with so many slots: how long it takes, and for how long machines are paid for it.
//!
//! A stage begins when the one before it is done, and a worker that a later stage has a use for is kept meanwhile. So all of a
//! job's workers are paid for all of its time, and beside that for coming and for the idle time before they may go.

use crate::Millis;
use crate::facts::{JobFacts, StageFacts};
use crate::policy::Policy;

/// Of one job.
pub struct Course {
    stages: Vec<Stage>,
    start_ms: Millis,
    idle_ms: Millis,
    billed_min_ms: Millis,
    slots: u32,
}

/// What was paid for a job already, and its share of the workers that there are.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Had {
    /// Time of machines.
    pub paid_ms: f64,
    pub workers: f64,
    /// Until the last of them that were asked for are there, of each.
    pub starting_ms: f64,
}

struct Stage {
    tasks: u64,
    waiting: u64,
    task_ms: Millis,
    /// Slot time.
    left_ms: u64,
}

impl Course {
    pub fn of(job: &JobFacts, policy: &Policy, slots: u32, start_ms: Millis) -> Self {
        let stages = job.stages.iter().map(|stage| Stage::of(stage, policy)).filter(|stage| stage.tasks > 0);
        Self {
            stages: stages.collect(),
            start_ms,
            idle_ms: policy.idle_ms,
            billed_min_ms: policy.billed_min_ms,
            slots: slots.max(1),
        }
    }

    /// Slots that its widest stage has tasks for. A job that is being listed or committed has one, so that it is not left
    /// alone.
    pub fn width(&self) -> u64 {
        self.stages.iter().map(|stage| stage.tasks).max().unwrap_or(1)
    }

    /// Workers that have as many.
    pub fn workers(&self) -> u64 {
        self.width().div_ceil(self.slots.into())
    }

    /// How long it is likely to take with so many slots once they are there: slots beyond a stage's tasks have nothing to do.
    pub fn likely_ms(&self, slots: u64) -> f64 {
        self.stages.iter().map(|stage| stage.left_ms as f64 / slots.clamp(1, stage.tasks) as f64).sum()
    }

    /// The same when the last tasks of a stage begin as late as they can, which leaves slots idle, and what runs has just begun.
    fn at_most_ms(&self, slots: u64) -> f64 {
        let waves = |stage: &Stage| stage.waiting.div_ceil(slots.max(1)) + u64::from(stage.waiting < stage.tasks);
        self.stages.iter().map(|stage| waves(stage) as f64 * stage.task_ms as f64).sum()
    }

    /// Machine time that so many workers are likely to be paid for, if all of them are started for it.
    pub fn likely_paid_ms(&self, workers: u64) -> f64 {
        let life = (self.start_ms + self.idle_ms) as f64 + self.likely_ms(workers.saturating_mul(self.slots.into()));
        workers as f64 * life.max(self.billed_min_ms as f64)
    }

    /// Machine time that is paid for at the most, that before included, where there are to be so many.
    pub fn paid_at_most_ms(&self, workers: u64, had: Had) -> f64 {
        let stays = self.idle_ms as f64 + self.at_most_ms(workers.saturating_mul(self.slots.into()));
        // It may be that nothing is done before others have come.
        let start_ms = if workers as f64 > had.workers { self.start_ms as f64 } else { had.starting_ms };
        let new = (workers as f64 - had.workers).max(0.0);
        let lives = stays + start_ms;
        had.paid_ms + (workers as f64 - new) * lives + new * lives.max(self.billed_min_ms as f64)
    }
}

impl Stage {
    /// What runs is taken to be half-way.
    fn of(stage: &StageFacts, policy: &Policy) -> Self {
        let task_ms = stage.task_ms.unwrap_or(policy.task_ms).max(1);
        let halves = 2 * u64::from(stage.waiting) + u64::from(stage.running);
        Self {
            tasks: u64::from(stage.waiting) + u64::from(stage.running),
            waiting: stage.waiting.into(),
            task_ms,
            left_ms: halves.saturating_mul(task_ms).div_ceil(2),
        }
    }
}
