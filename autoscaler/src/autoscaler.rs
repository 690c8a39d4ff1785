//! The decision, and what it remembers from one to the next.

use crate::Millis;
use crate::demand::{Demand, Known};
use crate::facts::{Facts, Instance, InstanceId};
use crate::policy::Policy;
use crate::steady::Steady;
use std::collections::{BTreeMap, BTreeSet};

/// An instance that has not come up after so many times the usual time, and a while, will not.
const STARTS_OVERDUE: Millis = 4;
const OVERDUE_MIN: Millis = 60_000;

/// So many that did not come, one after another, are no chance any more. Then there is a pause before the next, longer each time.
const FAILED_STARTS: u32 = 3;
const PAUSE: Millis = 30_000;
const PAUSE_MAX: Millis = 900_000;

#[derive(Clone, Debug)]
pub struct Autoscaler {
    policy: Policy,
    /// How long workers took to come of late.
    start_ms: Option<Millis>,
    /// Of a worker in touch, on average.
    slots: Option<u32>,
    known: BTreeMap<InstanceId, Seen>,
    /// Nothing was seen before.
    first: bool,
    /// Instances that did not come since one last came, and when another is tried.
    failed_starts: u32,
    retry_at: Millis,
    /// What was wanted of late.
    wanted: Steady,
}

/// What was seen of an instance so far.
#[derive(Clone, Copy, Debug)]
struct Seen {
    /// `None`: it was there before anyone looked.
    since: Option<Millis>,
    /// Its worker was in touch once.
    came: bool,
    /// It did not come, and that was counted.
    failed: bool,
    /// Its worker has had nothing to do since, be it that it was out of touch.
    idle_since: Option<Millis>,
    /// Its worker has been out of touch since.
    away_since: Option<Millis>,
}

/// What is to be done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Decision {
    /// So many there should be, those that leave not counted.
    pub size: u32,
    /// They have nothing to do and should leave. They are not counted in `size`.
    pub leave: BTreeSet<InstanceId>,
    /// They did not come up, or are lost: what is left of them should be ended, and another is wanted in their place.
    pub ended: BTreeSet<InstanceId>,
    /// They are at work: nobody else should end them.
    pub busy: BTreeSet<InstanceId>,
}

impl Autoscaler {
    /// For a policy that was [checked](Policy::check).
    pub fn new(policy: Policy) -> Self {
        Self {
            policy,
            start_ms: None,
            slots: None,
            known: BTreeMap::new(),
            first: true,
            failed_starts: 0,
            retry_at: 0,
            wanted: Steady::default(),
        }
    }

    pub fn decide(&mut self, now: Millis, facts: &Facts) -> Decision {
        self.see(now, &facts.instances);
        let start_ms = self.start_ms.unwrap_or(self.policy.start_ms);
        let known = Known { slots: self.slots.unwrap_or(self.policy.slots).max(1), start_ms };
        let demand = Demand::of(&facts.jobs, &self.policy, known, now);
        let (least, most) = (self.policy.workers_min, self.policy.most());
        let bounded = |workers: u32| workers.clamp(least, most);
        let wanted = bounded(demand.workers);
        // While books are open nobody is let go whom what is left of a job could use.
        let kept = self.wanted.most(wanted, self.policy.idle_ms, now).min(most).max(bounded(demand.usable));
        let ended: BTreeSet<_> =
            facts.instances.iter().filter(|i| self.is_lost(i, now)).map(|i| i.id.clone()).collect();
        let mut failed = 0;
        for id in &ended {
            let seen = self.known.get_mut(id).expect("it was seen");
            failed += u32::from(!seen.came && !seen.failed);
            seen.failed = !seen.came;
        }
        self.note_failed(failed, now);
        let stays = |instance: &&Instance| !instance.leaves && !ended.contains(&instance.id);
        let there = facts.instances.iter().filter(stays).count() as u32;
        let came = facts.instances.iter().filter(stays).filter(|i| self.known[&i.id].came).count() as u32;
        let leave = self.to_leave(now, facts.instances.iter().filter(stays), there.saturating_sub(kept));
        let busy = |instance: &&Instance| instance.worker.is_some_and(|worker| worker.busy);
        // What does not come is not bought again and again: one at a time, and with pauses.
        let allowed = match self.holds_back() {
            false => wanted,
            true if now < self.retry_at => 0,
            true => wanted.min(came + 1),
        };
        Decision {
            size: (there - leave.len() as u32).max(allowed),
            leave,
            ended,
            busy: facts.instances.iter().filter(busy).map(|instance| instance.id.clone()).collect(),
        }
    }

    /// Whether those that were started last did not come.
    pub fn holds_back(&self) -> bool {
        self.failed_starts >= FAILED_STARTS
    }

    fn see(&mut self, now: Millis, instances: &[Instance]) {
        let there: BTreeSet<_> = instances.iter().map(|instance| &instance.id).collect();
        let mut failed = 0;
        self.known.retain(|id, seen| {
            let stays = there.contains(id);
            failed += u32::from(!stays && !seen.came && !seen.failed && seen.since.is_some());
            stays
        });
        self.note_failed(failed, now);
        for instance in instances {
            let since = (!self.first).then_some(now);
            let new = Seen { since, came: false, failed: false, idle_since: None, away_since: None };
            let seen = self.known.entry(instance.id.clone()).or_insert(new);
            if instance.worker.is_some() && !seen.came {
                seen.came = true;
                self.failed_starts = 0;
                // One that is in touch when it is first seen was started for another coordinator.
                if let Some(took) = seen.since.map(|since| now - since).filter(|took| *took > 0) {
                    self.start_ms = Some(self.start_ms.map_or(took, |usual| (3 * usual + took) / 4));
                }
            }
            let idle = instance.worker.is_none_or(|worker| !worker.busy);
            seen.idle_since = if idle { seen.idle_since.or(Some(now)) } else { None };
            seen.away_since = if instance.worker.is_none() { seen.away_since.or(Some(now)) } else { None };
        }
        let staying = instances.iter().filter(|instance| !instance.leaves).filter_map(|instance| instance.worker);
        let (workers, slots) = staying.fold((0, 0), |(workers, slots), worker| (workers + 1, slots + worker.slots));
        if workers > 0 {
            self.slots = Some(u32::div_ceil(slots, workers));
        }
        self.first = false;
    }

    /// So many did not come.
    fn note_failed(&mut self, failed: u32, now: Millis) {
        if failed > 0 {
            self.failed_starts = self.failed_starts.saturating_add(failed);
            let doublings = self.failed_starts.saturating_sub(FAILED_STARTS).min(10);
            self.retry_at = now.saturating_add((PAUSE << doublings).min(PAUSE_MAX));
        }
    }

    /// Whether its worker did not come when it should have, or has been out of touch for as long. Of one that leaves nobody
    /// expects more.
    fn is_lost(&self, instance: &Instance, now: Millis) -> bool {
        let usual = self.policy.start_ms.max(self.start_ms.unwrap_or(0));
        let overdue = usual.saturating_mul(STARTS_OVERDUE).max(OVERDUE_MIN);
        let away = self.known[&instance.id].away_since.map_or(0, |since| now - since);
        !instance.leaves && away > overdue
    }

    fn idle_for(&self, instance: &Instance, now: Millis) -> Millis {
        self.known[&instance.id].idle_since.map_or(0, |since| now - since)
    }

    /// Up to so many of those that have been idle for long, the longest first. One that is only starting has not been idle, as
    /// far as anyone has paid for it.
    fn to_leave<'a>(&self, now: Millis, among: impl Iterator<Item = &'a Instance>, most: u32) -> BTreeSet<InstanceId> {
        let idle = among.filter(|i| i.worker.is_some() && self.idle_for(i, now) >= self.policy.idle_ms);
        let mut idle: Vec<_> = idle.map(|i| (self.known[&i.id].idle_since, &i.id)).collect();
        idle.sort_unstable();
        idle.into_iter().take(most as usize).map(|(_, id)| id.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::{JobFacts, StageFacts, Worker};
    use crate::policy::Aim;

    fn policy() -> Policy {
        Policy { aim: Aim::Within(0), workers_max: 5, start_ms: 10_000, idle_ms: 60_000, ..Policy::default() }
    }

    /// A job with so many tasks, and instances of which some have a worker with so many slots.
    fn facts(tasks: u32, instances: &[(&str, Option<u32>)]) -> Facts {
        let stages = vec![StageFacts { waiting: tasks, running: 0, task_ms: None }];
        let jobs = if tasks > 0 { vec![JobFacts { submitted_at: 0, stages, spent_ms: 0 }] } else { Vec::new() };
        let instances = instances.iter().map(|(id, slots)| Instance {
            id: InstanceId((*id).to_owned()),
            worker: slots.map(|slots| Worker { slots, busy: false }),
            leaves: false,
        });
        Facts { jobs, instances: instances.collect() }
    }

    #[test]
    fn what_does_not_come_is_tried_less_and_less_often_until_one_comes() {
        let mut autoscaler = Autoscaler::new(policy());
        let (mut machines, mut started) = (Vec::<String>::new(), 0);
        let there = |machines: &[String]| {
            let instances: Vec<_> = machines.iter().map(|id| (id.as_str(), None)).collect();
            facts(100, &instances)
        };
        for second in 0..3600 {
            let decision = autoscaler.decide(second * 1000, &there(&machines));
            machines.retain(|id| !decision.ended.contains(&InstanceId(id.clone())));
            while (machines.len() as u32) < decision.size {
                machines.push(format!("i-{started:03}"));
                started += 1;
            }
        }
        assert!((8..=12).contains(&started), "{started}");
        assert!(autoscaler.holds_back());
        let decision = autoscaler.decide(3_600_000, &facts(100, &[("i-comes", Some(1))]));
        assert!((decision.size, autoscaler.holds_back()) == (5, false), "{decision:?}");
    }

    #[test]
    fn a_worker_has_as_many_slots_as_those_that_are_there_have_on_average() {
        let mut autoscaler = Autoscaler::new(policy());
        // One of three is short of memory.
        let three = [("i-1", Some(4)), ("i-2", Some(4)), ("i-3", Some(1))];
        assert_eq!(autoscaler.decide(0, &facts(12, &three)).size, 4);
        assert_eq!(autoscaler.decide(1000, &facts(12, &[])).size, 4, "it is known when they are gone");
    }

    #[test]
    fn only_what_was_seen_from_its_beginning_tells_how_long_a_start_takes() {
        let mut autoscaler = Autoscaler::new(policy());
        autoscaler.decide(0, &facts(1, &[("i-1", None)]));
        autoscaler.decide(2_000, &facts(1, &[("i-1", Some(1)), ("i-2", None)]));
        assert_eq!(autoscaler.start_ms, None);
        autoscaler.decide(42_000, &facts(1, &[("i-1", Some(1)), ("i-2", Some(1))]));
        assert_eq!(autoscaler.start_ms, Some(40_000));
    }

    #[test]
    fn one_that_was_idle_for_long_is_not_lost_when_it_is_out_of_touch_for_a_moment() {
        let mut autoscaler = Autoscaler::new(Policy { workers_min: 1, ..policy() });
        for second in 0..1000 {
            autoscaler.decide(second * 1000, &facts(0, &[("i-1", Some(1))]));
        }
        let away = |at| autoscaler.clone().decide(at, &facts(0, &[("i-1", None)])).ended;
        assert!(away(1_000_000).is_empty());
        autoscaler.decide(1_000_000, &facts(0, &[("i-1", None)]));
        assert!(autoscaler.decide(1_060_000, &facts(0, &[("i-1", None)])).ended.is_empty());
        assert_eq!(autoscaler.decide(1_061_000, &facts(0, &[("i-1", None)])).ended.len(), 1);
    }
}
