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

#[derive(Clone, Debug)]
pub struct Autoscaler {
    policy: Policy,
    /// How long workers took to come of late.
    start_ms: Option<Millis>,
    /// As many as one had that was in touch.
    slots: Option<u32>,
    known: BTreeMap<InstanceId, Seen>,
    /// What was wanted of late.
    wanted: Steady,
}

/// What was seen of an instance so far.
#[derive(Clone, Copy, Debug)]
struct Seen {
    since: Millis,
    /// Its worker was in touch once.
    came: bool,
    /// Its worker has had nothing to do since, or has been out of touch.
    idle_since: Option<Millis>,
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
        Self { policy, start_ms: None, slots: None, known: BTreeMap::new(), wanted: Steady::default() }
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
        let stays = |instance: &&Instance| !instance.leaves && !ended.contains(&instance.id);
        let there = facts.instances.iter().filter(stays).count() as u32;
        let leave = self.to_leave(now, facts.instances.iter().filter(stays), there.saturating_sub(kept));
        let busy = |instance: &&Instance| instance.worker.is_some_and(|worker| worker.busy);
        Decision {
            size: (there - leave.len() as u32).max(wanted),
            leave,
            ended,
            busy: facts.instances.iter().filter(busy).map(|instance| instance.id.clone()).collect(),
        }
    }

    /// From asking for a worker to hearing of it, as it was measured.
    pub fn start_ms(&self) -> Option<Millis> {
        self.start_ms
    }

    fn see(&mut self, now: Millis, instances: &[Instance]) {
        let there: BTreeSet<_> = instances.iter().map(|instance| &instance.id).collect();
        self.known.retain(|id, _| there.contains(id));
        for instance in instances {
            let new = Seen { since: now, came: false, idle_since: None };
            let is_new = !self.known.contains_key(&instance.id);
            let seen = self.known.entry(instance.id.clone()).or_insert(new);
            if let Some(worker) = instance.worker {
                self.slots = Some(worker.slots);
                // One that is at work already when it is first seen was started by somebody else, or for another coordinator.
                if !seen.came && !is_new {
                    let took = now - seen.since;
                    self.start_ms = Some(self.start_ms.map_or(took, |usual| (3 * usual + took) / 4));
                }
                seen.came = true;
            }
            let idle = instance.worker.is_none_or(|worker| !worker.busy);
            seen.idle_since = if idle { seen.idle_since.or(Some(now)) } else { None };
        }
    }

    /// Whether its worker did not come when it should have, or has been out of touch for as long.
    fn is_lost(&self, instance: &Instance, now: Millis) -> bool {
        let usual = self.policy.start_ms.max(self.start_ms.unwrap_or(0));
        let overdue = usual.saturating_mul(STARTS_OVERDUE).max(OVERDUE_MIN);
        instance.worker.is_none() && self.idle_for(instance, now) > overdue
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
