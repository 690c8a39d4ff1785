//! The decision, and what it remembers from one to the next.

use crate::Millis;
use crate::accounts::Accounts;
use crate::demand::{Demand, Known, workers};
use crate::facts::{Facts, Instance, InstanceId, JobFacts, JobId};
use crate::hold::Hold;
use crate::policy::Policy;
use crate::steady::Steady;
use crate::supply::Supply;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

/// An instance that has not come up after so many times the usual time, and a while, will not.
const STARTS_OVERDUE: Millis = 4;
const OVERDUE_MIN: Millis = 60_000;

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
    /// Instances that did not come since one last came.
    failed: Hold,
    /// Instances that came and had nothing of what these jobs lack.
    wrong: Hold,
    wrong_for: BTreeSet<JobId>,
    accounts: Accounts,
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
    /// It came when there were jobs, and none that it could be given, and it has had nothing to do since.
    wrong: bool,
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
            failed: Hold::default(),
            wrong: Hold::default(),
            wrong_for: BTreeSet::new(),
            accounts: Accounts::default(),
            wanted: Steady::default(),
        }
    }

    pub fn decide(&mut self, now: Millis, facts: &Facts) -> Decision {
        let came = self.see(now, facts);
        let (least, most) = (self.policy.workers_min, self.policy.most());
        let ended = self.lost(now, &facts.instances);
        let stays: Vec<_> = facts.instances.iter().filter(|i| !i.leaves && !ended.contains(&i.id)).collect();
        let there = stays.len() as u32;
        let slots = self.slots.unwrap_or(self.policy.slots).max(1);
        let demands = self.demands(now, facts, &stays, slots);

        let there_now = self.in_touch(&stays);
        let pending = there - there_now.len() as u32;
        let supply = |need: fn(&Demand) -> u64| {
            let supply = Supply::of(demands.iter().map(|(job, demand)| (*job, need(demand))), &there_now, most);
            let missing = workers(supply.missing.values().sum(), slots);
            // Those that are to come yet may be of another kind than those that are there.
            let had = self.policy.bounded(supply.takers() + missing.min(pending));
            (supply, missing, had)
        };
        let ((given, missing, wanted), (keeps, _, kept)) = (supply(|job| job.wanted), supply(|job| job.kept));
        let (useful, ..) = supply(|job| job.usable);
        // While books are open nobody is let go whom their job ever had a use for.
        let kept = self.wanted.most(wanted, self.policy.idle_ms, now).min(most).max(kept);
        let idle = |takes: Vec<bool>| -> Vec<&Instance> {
            there_now.iter().zip(takes).filter(|(i, takes)| !is_busy(i) && !takes).map(|(i, _)| *i).collect()
        };
        let spare = idle(keeps.takes).into_iter().filter(|i| !self.may_be_needed(i, &facts.jobs));
        let (useless, spare): (Vec<_>, Vec<_>) = spare.partition(|i| !facts.jobs.is_empty() && serves_nobody(i));

        // For whom no open job has a use is not counted when it comes to keep some.
        let counted = there - useless.len() as u32;
        let mut leave = self.long_idle(now, &spare, counted.saturating_sub(kept));
        leave.extend(self.long_idle(now, &useless, (there - leave.len() as u32).saturating_sub(least)));
        let fewer = |leave: &BTreeSet<_>| least.saturating_sub(there - leave.len() as u32);
        self.judge(now, &came, &there_now, &given, most);
        let lacking = missing.saturating_sub(pending).min(most);
        let free = given.missing.iter().filter(|(job, _)| !self.is_held(job)).map(|(_, slots)| slots).sum();
        let held = lacking - workers(free, slots).saturating_sub(pending).min(lacking);
        let new = self.allowed(now, (lacking.max(fewer(&leave)), held), &stays);
        if new > 0 {
            // As many come as go, so whoever has no task left makes room, be it that books are open.
            let others = |i: &&Instance| i.worker.as_ref().is_some_and(|worker| worker.serves.len() < facts.jobs.len());
            let idle = idle(useful.takes).into_iter().filter(others).filter(|i| !leave.contains(&i.id));
            let beyond = (there - leave.len() as u32).saturating_add(new).saturating_sub(most);
            leave.extend(self.in_favour_of_others(&idle.collect::<Vec<_>>(), beyond));
        }
        let new = self.allowed(now, (lacking.max(fewer(&leave)), held), &stays);
        let stay = there - leave.len() as u32;
        Decision {
            size: stay.max(stay.saturating_add(new).min(most)),
            leave,
            ended,
            busy: facts.instances.iter().filter(|i| is_busy(i)).map(|instance| instance.id.clone()).collect(),
        }
    }

    /// What each job needs.
    fn demands<'a>(
        &mut self,
        now: Millis,
        facts: &'a Facts,
        stays: &[&Instance],
        slots: u32,
    ) -> Vec<(&'a JobId, Demand)> {
        self.accounts.pay(now, facts, slots);
        let known = Known { slots, start_ms: self.start_ms.unwrap_or(self.policy.start_ms) };
        let starting = stays.iter().map(|instance| &self.known[&instance.id]).filter(|seen| !seen.came);
        let starting = starting.map(|seen| known.start_ms.saturating_sub(seen.since.map_or(0, |since| now - since)));
        let there = (stays.len() as u32, starting.sum());
        let of = |job| Demand::of(job, self.accounts.had(job, there), &self.policy, known, now);
        let demands: Vec<_> = facts.jobs.iter().map(|job| (&job.id, of(job))).collect();
        demands.iter().for_each(|(job, demand)| self.accounts.note(job, *demand));
        demands
    }

    /// In the order in which they are counted on: those that are at work, those that few jobs have a use for, and those that
    /// were idle for a short time.
    fn in_touch<'a>(&self, stays: &[&'a Instance]) -> Vec<&'a Instance> {
        let rank = |instance: &&Instance| {
            let worker = instance.worker.as_ref()?;
            let idle_since = self.known[&instance.id].idle_since;
            Some((!worker.busy, worker.serves.len(), Reverse(worker.slots), Reverse(idle_since)))
        };
        let mut workers: Vec<_> = stays.iter().copied().filter(|instance| instance.worker.is_some()).collect();
        // Those that are alike stay in the order of their names.
        workers.sort_by_cached_key(rank);
        workers
    }

    /// Who should be ended.
    fn lost(&mut self, now: Millis, instances: &[Instance]) -> BTreeSet<InstanceId> {
        let lost: BTreeSet<_> = instances.iter().filter(|i| self.is_lost(i, now)).map(|i| i.id.clone()).collect();
        let mut failed = 0;
        for id in &lost {
            let seen = self.known.get_mut(id).expect("it was seen");
            failed += u32::from(!seen.came && !seen.failed);
            seen.failed = !seen.came;
        }
        self.failed.failed(failed, now);
        lost
    }

    /// Whether those that came just now help any of the jobs that lack workers.
    fn judge(&mut self, now: Millis, came: &BTreeSet<InstanceId>, there: &[&Instance], given: &Supply<'_>, most: u32) {
        self.wrong_for.retain(|job| given.missing.contains_key(job));
        let room = given.takers() < most;
        let mut wrong = 0;
        for (instance, takes) in there.iter().zip(&given.takes).filter(|(instance, _)| came.contains(&instance.id)) {
            let serves = instance.worker.iter().flat_map(|worker| &worker.serves);
            if serves.into_iter().any(|job| self.wrong_for.contains(job)) {
                self.wrong_for.clear();
            }
            wrong += u32::from(!takes && room && !given.missing.is_empty());
        }
        if self.wrong_for.is_empty() {
            self.wrong.worked();
        }
        if wrong > 0 {
            self.wrong.failed(wrong, now);
            self.wrong_for.extend(given.missing.keys().map(|job| (*job).clone()));
        }
    }

    fn is_held(&self, job: &JobId) -> bool {
        self.wrong.holds() && self.wrong_for.contains(job)
    }

    /// What does not come, or does not help, is not bought again and again: one at a time, and with pauses. `held` of those
    /// that are lacking are for jobs that none of the last could help.
    fn allowed(&self, now: Millis, (lacking, held): (u32, u32), stays: &[&Instance]) -> u32 {
        let coming = stays.iter().filter(|instance| !self.known[&instance.id].came).count() as u32;
        let others = lacking - held.min(lacking);
        self.failed.allowed(now, others + self.wrong.allowed(now, held.min(lacking), coming), coming)
    }

    /// Which part of all machines each open job has, as it wants slots.
    pub fn shares(&self) -> impl Iterator<Item = (&JobId, f64)> {
        self.accounts.shares()
    }

    /// Whether those that were started last did not come, or helped nobody.
    pub fn holds_back(&self) -> bool {
        self.failed.holds() || self.wrong.holds()
    }

    /// Who came just now.
    fn see(&mut self, now: Millis, Facts { jobs, instances }: &Facts) -> BTreeSet<InstanceId> {
        let there: BTreeSet<_> = instances.iter().map(|instance| &instance.id).collect();
        let mut failed = 0;
        self.known.retain(|id, seen| {
            let stays = there.contains(id);
            failed += u32::from(!stays && !seen.came && !seen.failed && seen.since.is_some());
            stays
        });
        self.failed.failed(failed, now);
        let mut came = BTreeSet::new();
        for instance in instances {
            let since = (!self.first).then_some(now);
            let new = Seen { since, came: false, failed: false, wrong: false, idle_since: None, away_since: None };
            let seen = self.known.entry(instance.id.clone()).or_insert(new);
            if instance.worker.is_some() && !seen.came {
                seen.came = true;
                seen.wrong = seen.since.is_some() && !jobs.is_empty() && serves_nobody(instance);
                self.failed.worked();
                if seen.since.is_some() {
                    came.insert(instance.id.clone());
                }
                // One that is in touch when it is first seen was started for another coordinator.
                if let Some(took) = seen.since.map(|since| now - since).filter(|took| *took > 0) {
                    self.start_ms = Some(self.start_ms.map_or(took, |usual| (3 * usual + took) / 4));
                }
            }
            let idle = !is_busy(instance);
            seen.wrong &= idle && serves_nobody(instance);
            seen.idle_since = if idle { seen.idle_since.or(Some(now)) } else { None };
            seen.away_since = if instance.worker.is_none() { seen.away_since.or(Some(now)) } else { None };
        }
        let staying = instances.iter().filter(|instance| !instance.leaves).filter_map(|i| i.worker.as_ref());
        let (workers, slots) = staying.fold((0, 0), |(workers, slots), worker| (workers + 1, slots + worker.slots));
        if workers > 0 {
            self.slots = Some(u32::div_ceil(slots, workers));
        }
        self.first = false;
        came
    }

    /// Whether its worker did not come when it should have, or has been out of touch for as long. Of one that leaves nobody
    /// expects more.
    fn is_lost(&self, instance: &Instance, now: Millis) -> bool {
        let usual = self.policy.start_ms.max(self.start_ms.unwrap_or(0));
        let overdue = usual.saturating_mul(STARTS_OVERDUE).max(OVERDUE_MIN);
        let away = self.known[&instance.id].away_since.map_or(0, |since| now - since);
        !instance.leaves && away > overdue
    }

    /// Whether a job that is being listed can be given to it: how many that needs nobody knows yet. One that could have left
    /// before the job was submitted does not stay for it, or a stream of jobs would keep everybody.
    fn may_be_needed(&self, instance: &Instance, jobs: &[JobFacts]) -> bool {
        let idle_since = self.known[&instance.id].idle_since.unwrap_or(Millis::MAX);
        let could_leave = idle_since.saturating_add(self.policy.idle_ms);
        let listed = |job: &JobFacts| job.books_open && job.stages.is_empty() && job.submitted_at < could_leave;
        let serves = |job: &JobFacts| instance.worker.as_ref().is_some_and(|worker| worker.serves.contains(&job.id));
        jobs.iter().any(|job| listed(job) && serves(job))
    }

    fn idle_for(&self, instance: &Instance, now: Millis) -> Millis {
        self.known[&instance.id].idle_since.map_or(0, |since| now - since)
    }

    /// Up to so many of those that have been idle for long, the longest first. One that is only starting has not been idle, as
    /// far as anyone has paid for it.
    fn long_idle(&self, now: Millis, among: &[&Instance], most: u32) -> BTreeSet<InstanceId> {
        let idle = among.iter().copied().filter(|i| self.idle_for(i, now) >= self.policy.idle_ms);
        self.first_idle(idle, most)
    }

    /// Those that go at once so that others can come: as many as there is no room for otherwise, and whoever turned out to be
    /// of the wrong kind.
    fn in_favour_of_others(&self, idle: &[&Instance], beyond: u32) -> BTreeSet<InstanceId> {
        let (wrong, idle): (Vec<_>, Vec<_>) = idle.iter().copied().partition(|i| self.known[&i.id].wrong);
        let mut leave = self.first_idle(idle.into_iter(), beyond.saturating_sub(wrong.len() as u32));
        leave.extend(wrong.into_iter().map(|instance| instance.id.clone()));
        leave
    }

    fn first_idle<'a>(&self, among: impl Iterator<Item = &'a Instance>, most: u32) -> BTreeSet<InstanceId> {
        let mut idle: Vec<_> = among.map(|i| (self.known[&i.id].idle_since, &i.id)).collect();
        idle.sort_unstable();
        idle.into_iter().take(most as usize).map(|(_, id)| id.clone()).collect()
    }
}

fn is_busy(instance: &Instance) -> bool {
    instance.worker.as_ref().is_some_and(|worker| worker.busy)
}

fn serves_nobody(instance: &Instance) -> bool {
    instance.worker.as_ref().is_some_and(|worker| worker.serves.is_empty())
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
        let stages = vec![StageFacts { waiting: tasks, ..StageFacts::default() }];
        let id = JobId("job".into());
        let job = JobFacts { id: id.clone(), stages, books_open: true, ..JobFacts::default() };
        let (jobs, serves) = if tasks > 0 { (vec![job], [id].into()) } else { Default::default() };
        let instances = instances.iter().map(|(id, slots)| Instance {
            id: InstanceId((*id).to_owned()),
            worker: slots.map(|slots| Worker { slots, serves: BTreeSet::clone(&serves), busy: false }),
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

    /// One machine, with a worker of one slot that can be given these jobs.
    fn machine(id: &str, serves: &[&str], busy: bool) -> Instance {
        let serves = serves.iter().map(|job| JobId((*job).into())).collect();
        let worker = Some(Worker { slots: 1, serves, busy });
        Instance { id: InstanceId(id.to_owned()), worker, leaves: false }
    }

    fn open(jobs: &[(&str, u32)], instances: Vec<Instance>) -> Facts {
        let stage = |waiting| StageFacts { waiting, ..StageFacts::default() };
        let job = |&(id, waiting): &(&str, u32)| JobFacts {
            id: JobId(id.into()),
            stages: vec![stage(waiting)],
            books_open: true,
            ..JobFacts::default()
        };
        Facts { jobs: jobs.iter().map(job).collect(), instances }
    }

    fn ids(leave: &BTreeSet<InstanceId>) -> Vec<&str> {
        leave.iter().map(|id| &*id.0).collect()
    }

    #[test]
    fn workers_that_no_open_job_can_use_make_room_for_others() {
        let mut autoscaler = Autoscaler::new(Policy { workers_max: 2, ..policy() });
        let both = |busy| vec![machine("i-1", &[], busy), machine("i-2", &[], false)];
        let decision = autoscaler.decide(0, &open(&[("other", 1)], both(true)));
        assert_eq!((ids(&decision.leave), decision.size), (vec!["i-2"], 2), "the bound is reached, and one is at work");
        let mut autoscaler = Autoscaler::new(Policy { workers_max: 3, ..policy() });
        let decision = autoscaler.decide(0, &open(&[("other", 1)], both(false)));
        assert_eq!((ids(&decision.leave), decision.size), (vec![], 3), "there is room beside them");
        let three = || both(false).into_iter().chain([machine("i-3", &["other"], true)]).collect();
        assert!(autoscaler.decide(59_000, &open(&[("other", 1)], three())).leave.is_empty());
        let decision = autoscaler.decide(60_000, &open(&[("other", 1)], three()));
        assert_eq!((ids(&decision.leave), decision.size), (vec!["i-1", "i-2"], 1), "they were idle for long");
    }

    #[test]
    fn a_job_is_not_left_alone_because_another_has_more_workers_than_it_can_use() {
        let mut autoscaler = Autoscaler::new(Policy { workers_max: 2, ..policy() });
        let jobs = [("long", 1), ("other", 1)];
        let two = vec![machine("i-1", &["long"], true), machine("i-2", &["long"], false)];
        let decision = autoscaler.decide(0, &open(&jobs, two));
        assert_eq!((ids(&decision.leave), decision.size), (vec!["i-2"], 2));
    }

    #[test]
    fn whoever_has_nothing_to_do_goes_though_others_are_wanted() {
        let mut autoscaler = Autoscaler::new(Policy { workers_max: 50, ..policy() });
        let (jobs, mut leave) = ([("long", 1), ("other", 9)], BTreeSet::new());
        for second in 0..200 {
            let two = vec![machine("i-1", &["long"], true), machine("i-2", &["long"], false)];
            let decision = autoscaler.decide(second * 1000, &open(&jobs, two));
            assert!(decision.leave.is_empty() || second >= 60, "there is room for both: {decision:?}");
            leave.extend(decision.leave);
        }
        assert_eq!(ids(&leave), ["i-2"]);
    }

    #[test]
    fn machines_of_the_wrong_kind_go_at_once_and_are_not_bought_again_and_again() {
        let mut autoscaler = Autoscaler::new(policy());
        autoscaler.decide(0, &open(&[("job", 9)], Vec::new()));
        let (mut machines, mut started) = (Vec::<(String, u64)>::new(), 0);
        let mut first = None;
        for second in 1..3600 {
            let worker = |(id, at): &(String, u64)| {
                let starting = Instance { id: InstanceId(id.clone()), worker: None, leaves: false };
                if second < at + 10 { starting } else { machine(id, &[], false) }
            };
            let facts = open(&[("job", 9)], machines.iter().map(worker).collect());
            let decision = autoscaler.decide(second * 1000, &facts);
            machines.retain(|(id, _)| !decision.leave.contains(&InstanceId(id.clone())));
            if !decision.leave.is_empty() {
                first.get_or_insert(second);
            }
            while (machines.len() as u32) < decision.size {
                machines.push((format!("i-{started:03}"), second));
                started += 1;
            }
        }
        assert!((8..=16).contains(&started), "{started}");
        assert!(autoscaler.holds_back());
        autoscaler.decide(3_600_000, &open(&[("job", 9)], vec![machine("i-fits", &["job"], false)]));
        assert!(!autoscaler.holds_back());
    }

    #[test]
    fn machines_that_help_only_jobs_that_have_enough_are_not_bought_again_and_again_and_new_jobs_do_not_wait_for_that()
    {
        let mut autoscaler = Autoscaler::new(Policy { workers_max: 50, ..policy() });
        autoscaler.decide(0, &open(&[("easy", 1), ("rare", 9)], Vec::new()));
        let (mut machines, mut started) = (Vec::<(String, u64)>::new(), 0);
        // All that come can be given the jobs that anyone can do.
        let facts = |second: u64, jobs: &[(&str, u32)], machines: &[(String, u64)]| {
            let serves: Vec<_> = jobs.iter().map(|(job, _)| *job).filter(|job| *job != "rare").collect();
            let worker = |(number, (id, at)): (usize, &(String, u64))| match second < at + 10 {
                true => Instance { id: InstanceId(id.clone()), worker: None, leaves: false },
                false => machine(id, &serves, number == 0),
            };
            open(jobs, machines.iter().enumerate().map(worker).collect())
        };
        for second in 1..3600 {
            let decision = autoscaler.decide(second * 1000, &facts(second, &[("easy", 1), ("rare", 9)], &machines));
            machines.retain(|(id, _)| !decision.leave.contains(&InstanceId(id.clone())));
            while (machines.len() as u32) < decision.size {
                machines.push((format!("i-{started:03}"), second));
                started += 1;
            }
        }
        assert!((8..=25).contains(&started), "{started}");
        assert!(autoscaler.holds_back());
        let (there, jobs) = (machines.len() as u32, [("easy", 1), ("new", 30), ("rare", 9)]);
        let decision = autoscaler.decide(3_600_000, &facts(3600, &jobs, &machines));
        assert!(decision.size >= 29 && decision.size > there, "{decision:?}, {there} there");
    }

    /// What leaves of three workers in ten minutes, of which one is at work for the only job.
    fn leave_of_three(autoscaler: &mut Autoscaler, start_ms: u64, stages: &[StageFacts], books_open: bool) -> usize {
        let instances = ["i-1", "i-2", "i-3"].map(|id| machine(id, &["job"], id == "i-1"));
        let job = JobFacts { stages: stages.to_vec(), books_open, ..open(&[("job", 1)], Vec::new()).jobs.remove(0) };
        let facts = Facts { jobs: vec![job], instances: instances.into() };
        let leave = (0..600).map(|second| autoscaler.decide(start_ms + second * 1000, &facts).leave);
        leave.fold(BTreeSet::new(), |all, leave| &all | &leave).len()
    }

    #[test]
    fn whom_a_stage_to_come_could_use_stays_however_long_it_waits_and_others_go() {
        let mut autoscaler = Autoscaler::new(policy());
        let runs = StageFacts { running: 1, ..StageFacts::default() };
        let waits = |waiting| StageFacts { waiting, ..StageFacts::default() };
        let mut leave = |start_ms, next| leave_of_three(&mut autoscaler, start_ms, &[runs, waits(next)], false);
        assert_eq!(leave(0, 3), 0, "three of them are needed for the next stage");
        assert_eq!(leave(600_000, 2), 1, "one has nothing to do any more, and one waits for the next stage");
    }

    #[test]
    fn nobody_leaves_a_job_whose_books_are_open_until_they_are_closed() {
        let mut autoscaler = Autoscaler::new(policy());
        let last = StageFacts { running: 1, done: 8, ..StageFacts::default() };
        let (mapped, reduces) = (StageFacts { running: 0, done: 9, ..last }, StageFacts { done: 0, ..last });
        let mut leave = |start_ms, stages: &[_], open| leave_of_three(&mut autoscaler, start_ms, stages, open);
        assert_eq!(leave(0, &[], true), 0, "it is being listed");
        assert_eq!(leave(600_000, &[last, reduces], true), 0, "its last split is being mapped");
        assert_eq!(leave(1_200_000, &[mapped, reduces], false), 2, "one reduces");
    }

    #[test]
    fn small_jobs_that_always_come_keep_nobody_who_has_long_been_idle() {
        let mut autoscaler = Autoscaler::new(policy());
        let mut leave = BTreeSet::new();
        for second in 0..200 {
            // One every five seconds is listed for six.
            let listed = (0..=second / 5).filter(|job| job * 5 + 6 > second);
            let jobs = listed.map(|job| JobFacts {
                id: JobId(format!("job-{job}").into()),
                submitted_at: job * 5000,
                books_open: true,
                ..JobFacts::default()
            });
            let jobs: Vec<_> = jobs.collect();
            let serves: Vec<_> = jobs.iter().map(|job| &*job.id.0).collect();
            let instances = ["i-1", "i-2", "i-3"].map(|id| machine(id, &serves, id == "i-1")).into();
            leave.extend(autoscaler.decide(second * 1000, &Facts { jobs: jobs.clone(), instances }).leave);
            assert!(leave.is_empty() || second >= 60, "they were idle for {second} s");
        }
        assert_eq!(ids(&leave), ["i-2", "i-3"]);
    }

    #[test]
    fn what_is_lost_is_replaced_as_long_as_the_jobs_budget_pays_for_that() {
        let policy = Policy {
            usd_per_worker_hour: 0.6,
            budget_usd_per_job: Some(0.1),
            billed_min_ms: 0,
            task_ms: 60_000,
            ..policy()
        };
        // A worker that starts, does a task and is idle costs 130 s of the ten minutes that there are.
        let mut autoscaler = Autoscaler::new(policy);
        let size = |autoscaler: &mut Autoscaler, second: u64, machines: &[&str]| {
            let machines = machines.iter().map(|id| machine(id, &["job"], true)).collect();
            autoscaler.decide(second * 1000, &open(&[("job", 4)], machines)).size
        };
        assert_eq!(size(&mut autoscaler, 0, &[]), 4);
        assert_eq!(size(&mut autoscaler, 1, &["i-1", "i-2", "i-3", "i-4"]), 4);
        assert_eq!(size(&mut autoscaler, 11, &["i-3", "i-4"]), 4, "little was paid yet");
        assert_eq!(size(&mut autoscaler, 100, &["i-3", "i-4"]), 2, "their time was paid for and is lost");
        assert_eq!(size(&mut autoscaler, 500, &["i-3", "i-4"]), 2);
        assert_eq!(size(&mut autoscaler, 501, &[]), 1, "one it always gets");
    }
}
