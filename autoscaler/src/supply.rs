//! Who of those that are there would do the work: slots that jobs need, given to workers that can be given their tasks.

use crate::facts::{Instance, JobId};
use std::collections::BTreeMap;

/// How far the workers in touch go.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Supply<'j> {
    /// Which of them would have something.
    pub takes: Vec<bool>,
    /// Slots that are needed beside theirs, by jobs that lack some.
    pub missing: BTreeMap<&'j JobId, u64>,
}

impl<'j> Supply<'j> {
    /// The first of them come first, and no more than `most` are taken.
    pub fn of(needs: impl Iterator<Item = (&'j JobId, u64)>, workers: &[&Instance], most: u32) -> Self {
        let mut needs: BTreeMap<&JobId, u64> = needs.collect();
        let mut serving: BTreeMap<&JobId, usize> = BTreeMap::new();
        for job in workers.iter().filter_map(|instance| instance.worker.as_ref()).flat_map(|worker| &worker.serves) {
            *serving.entry(job).or_default() += 1;
        }
        let (mut takes, mut takers) = (vec![false; workers.len()], 0);
        for (instance, takes) in workers.iter().zip(&mut takes) {
            let Some(worker) = instance.worker.as_ref().filter(|_| takers < most) else { continue };
            // Jobs that few others can help come first.
            let mut jobs: Vec<_> = worker.serves.iter().collect();
            jobs.sort_by_key(|job| serving[job]);
            let mut slots = u64::from(worker.slots);
            for job in jobs {
                let Some(need) = needs.get_mut(job) else { continue };
                let given = slots.min(*need);
                (slots, *need) = (slots - given, *need - given);
                *takes |= given > 0;
            }
            takers += u32::from(*takes);
        }
        needs.retain(|_, need| *need > 0);
        Self { takes, missing: needs }
    }

    pub fn takers(&self) -> u32 {
        self.takes.iter().filter(|takes| **takes).count() as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::{InstanceId, Worker};

    fn instance((id, slots, serves): (&str, u32, &[&str])) -> Instance {
        let serves = serves.iter().map(|job| JobId((*job).into())).collect();
        let worker = Some(Worker { slots, serves, busy: false });
        Instance { id: InstanceId(id.to_owned()), worker, leaves: false }
    }

    fn check(needs: &[(&str, u64)], workers: &[(&str, u32, &[&str])], most: u32, expected: (&[&str], u64)) {
        let needs: Vec<_> = needs.iter().map(|(job, slots)| (JobId((*job).into()), *slots)).collect();
        let workers: Vec<_> = workers.iter().copied().map(instance).collect();
        let supply =
            Supply::of(needs.iter().map(|(job, slots)| (job, *slots)), &workers.iter().collect::<Vec<_>>(), most);
        let takers = workers.iter().zip(&supply.takes).filter(|(_, takes)| **takes);
        let takers: Vec<_> = takers.map(|(instance, _)| instance.id.0.as_str()).collect();
        assert_eq!((&*takers, supply.missing.values().sum()), expected);
    }

    #[test]
    fn workers_take_what_they_can_be_given_and_the_rest_is_missing() {
        let (all, one, other): (&[&str], &[&str], &[&str]) = (&["a", "b"], &["a"], &["b"]);
        check(
            &[("a", 3), ("b", 2)],
            &[("1", 2, all), ("2", 2, all), ("3", 2, all), ("4", 2, all)],
            9,
            (&["1", "2", "3"], 0),
        );
        check(&[("a", 3), ("b", 2)], &[("1", 2, one), ("2", 2, one), ("3", 2, one)], 9, (&["1", "2"], 2));
        // The one that b has is not taken up by a.
        check(&[("a", 2), ("b", 2)], &[("1", 2, all), ("2", 2, one)], 9, (&["1", "2"], 0));
        check(&[("a", 9), ("b", 9)], &[("1", 2, other), ("2", 2, one), ("3", 2, all)], 2, (&["1", "2"], 14));
        check(&[("a", 1)], &[("1", 2, &[])], 9, (&[], 1));
        check(&[], &[("1", 2, &[])], 9, (&[], 0));
    }
}
