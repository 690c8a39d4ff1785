//! How long a job is likely to take, and for how long workers are paid: work divided by slots, from a speed that somebody measured.

use serde::Serialize;

/// How fast a slot is, and who says so.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Speed {
    /// Records of the input (objects, or pieces of them) that one slot does in a second, with all that follows as far as
    /// `from` says.
    pub records_per_slot_second: f64,
    /// Where that comes from, for people.
    pub from: String,
}

/// Who does the work.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Workers {
    pub count: u32,
    /// Of each.
    pub slots: u32,
    /// From asking for them until they are there; they are paid for that too.
    pub start_s: f64,
    /// How long they stay when there is nothing left to do, which is paid for as well.
    pub idle_s: f64,
    /// Each is paid for so long at the least.
    pub billed_min_s: f64,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Likely {
    /// Work of one slot.
    pub slot_seconds: f64,
    /// From the submission to the end.
    pub seconds: f64,
    /// All workers for all of that time, and until they go.
    pub instance_seconds: f64,
}

/// `tasks` is how many there are of the widest stage: more slots than that have nothing to do.
pub fn likely(records: u64, tasks: u32, speed: &Speed, workers: Workers) -> Likely {
    let slot_seconds = records as f64 / speed.records_per_slot_second;
    let slots = u64::from(workers.count) * u64::from(workers.slots);
    let slots = slots.min(u64::from(tasks)).max(1);
    let seconds = workers.start_s + slot_seconds / slots as f64;
    let paid_s = (seconds + workers.idle_s).max(workers.billed_min_s);
    Likely { slot_seconds, seconds, instance_seconds: paid_s * f64::from(workers.count) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SPEED: f64 = 100.0;

    fn speed() -> Speed {
        Speed { records_per_slot_second: SPEED, from: "a test".to_owned() }
    }

    #[test]
    fn slots_beyond_the_tasks_are_paid_and_of_no_use() {
        let workers = Workers { count: 4, slots: 2, start_s: 60.0, idle_s: 0.0, billed_min_s: 0.0 };
        let wide = likely(80_000, 1_000, &speed(), workers);
        assert_eq!((wide.slot_seconds, wide.seconds, wide.instance_seconds), (800.0, 160.0, 640.0));
        let narrow = likely(80_000, 4, &speed(), workers);
        assert_eq!((narrow.seconds, narrow.instance_seconds), (260.0, 1040.0));
    }

    #[test]
    fn workers_are_paid_until_they_go_and_for_the_least_that_is_billed() {
        let workers = Workers { count: 4, slots: 2, start_s: 60.0, idle_s: 300.0, billed_min_s: 60.0 };
        let likely = |workers| likely(80_000, 1_000, &speed(), workers);
        assert_eq!((likely(workers).seconds, likely(workers).instance_seconds), (160.0, 4.0 * 460.0));
        let billed = Workers { billed_min_s: 3600.0, ..workers };
        assert_eq!((likely(billed).seconds, likely(billed).instance_seconds), (160.0, 4.0 * 3600.0));
    }

    proptest! {
        #[test]
        fn more_workers_are_never_slower_nor_cheaper(
            objects in 1u64..10_000_000, tasks in 1u32..100_000, count in 1u32..1_000, slots in 1u32..64, start in 0u32..600,
        ) {
            let (start_s, idle_s) = (f64::from(start), 5.0 * f64::from(start));
            let workers = Workers { count, slots, start_s, idle_s, billed_min_s: 60.0 };
            let some = likely(objects, tasks, &speed(), workers);
            let more = likely(objects, tasks, &speed(), Workers { count: count + 1, ..workers });
            prop_assert!(more.seconds <= some.seconds);
            prop_assert!(more.instance_seconds * (1.0 + 1e-12) >= some.instance_seconds);
            // Nobody does it in less than the work takes.
            prop_assert!(some.instance_seconds * f64::from(slots) * (1.0 + 1e-12) >= some.slot_seconds);
        }
    }
}
