//! Keeping the fleet as large as the work: what is seen goes to the autoscaler, and what it decides is carried out.
//!
//! It runs beside the shell, since a provider may take its time, and only while this coordinator leads.

use crate::ask::ask;
use crate::lead::Standing;
use crate::shell::Message;
use crate::shortfall::Shortfall;
use crate::tally::FleetSize;
use crate::terms::terms;
use mr_autoscaler::{Autoscaler, Decision, Facts, Instance, InstanceId, JobFacts, Policy, StageFacts, Worker};
use mr_core::{FleetTerms, JobId, KernelWish};
use mr_fleet::ec2::{Group, GroupSettings};
use mr_fleet::{Local, LocalSettings, Machine, Provider, ProviderError, Static};
use mr_scheduler::{Load, Millis};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, watch};

/// How long nothing may happen before the fleet is looked at again.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// A provider that does not answer in this time is asked again.
const PATIENCE: Duration = Duration::from_secs(30);
/// How often the log says again that a provider fails.
const SAY_AGAIN: Duration = Duration::from_secs(60);

/// A fleet that this coordinator makes larger and smaller.
#[derive(Clone, Debug)]
pub struct FleetSettings {
    /// That was checked.
    pub policy: Policy,
    pub provider: ProviderSettings,
    /// Kernel families of its workers, for when none is there to ask. None: whatever a job wants.
    pub families: Vec<String>,
}

impl FleetSettings {
    /// What there is to say of it to whoever plans a job.
    pub fn terms(&self) -> FleetTerms {
        terms(&self.policy)
    }
}

#[derive(Clone, Debug)]
pub enum ProviderSettings {
    Local(LocalSettings),
    Ec2(GroupSettings),
    Static,
}

/// What the shell knows of the work and of workers.
#[derive(Debug)]
pub struct Seen {
    pub now: Millis,
    pub jobs: Vec<SeenJob>,
    /// Of those in touch.
    pub workers: Vec<SeenWorker>,
}

#[derive(Debug)]
pub struct SeenJob {
    pub facts: JobFacts,
    /// Its kernels and its code are there, or nobody is there who could lack them.
    pub served: bool,
    pub kernels: KernelWish,
    /// That it is bound to.
    pub family: Option<String>,
}

#[derive(Debug)]
pub struct SeenWorker {
    /// The machine that it says it is on, else its own name.
    pub instance: String,
    pub slots: u32,
    pub busy: bool,
    pub leaves: bool,
    /// Jobs whose tasks it can be given.
    pub serves: Arc<[JobId]>,
    pub families: Vec<String>,
}

impl SeenJob {
    pub fn of(load: &Load<'_>) -> Self {
        let stages = load.stages.iter().map(|stage| StageFacts {
            waiting: stage.waiting,
            running: stage.running,
            done: stage.done,
            task_ms: stage.task_ms,
        });
        let facts = JobFacts {
            id: known_as(load.id),
            submitted_at: load.submitted_at,
            stages: stages.collect(),
            books_open: load.books_open,
            spent_ms: load.spent_ms,
        };
        let family = load.family.map(str::to_owned);
        Self { facts, served: !load.lacks, kernels: load.kernels.clone(), family }
    }
}

/// A job, as the autoscaler calls it.
fn known_as(job: &JobId) -> mr_autoscaler::JobId {
    mr_autoscaler::JobId(job.as_str().into())
}

pub struct Fleet {
    settings: FleetSettings,
    provider: Box<dyn Provider>,
    autoscaler: Autoscaler,
    shell: mpsc::WeakSender<Message>,
    news: watch::Receiver<u64>,
    standing: watch::Receiver<Standing>,
    /// Told to leave and not gone yet.
    leaving: BTreeSet<String>,
    /// Kernel families that workers of this fleet had, and others may have again.
    had: BTreeSet<String>,
    size: FleetSize,
    /// How many the provider was asked for and has begun to start, and whether that has been too few for long.
    asked: u32,
    begun: u32,
    shortfall: Shortfall,
    /// How many machines are starting or idle for which job, as the shell was told last.
    idle: BTreeMap<JobId, f64>,
    /// There are jobs, and none that its workers could be given.
    unfit: bool,
    /// What the shell was told last.
    told: Option<(FleetSize, String)>,
    /// What the provider failed at, and when the log said so.
    failing: Option<(String, Instant)>,
}

impl Fleet {
    pub fn new(
        settings: FleetSettings,
        shell: mpsc::WeakSender<Message>,
        news: watch::Receiver<u64>,
        standing: watch::Receiver<Standing>,
    ) -> Self {
        let provider: Box<dyn Provider> = match settings.provider.clone() {
            ProviderSettings::Local(local) => Box::new(Local::new(local)),
            ProviderSettings::Ec2(group) => Box::new(Group::new(group)),
            ProviderSettings::Static => Box::new(Static),
        };
        let autoscaler = Autoscaler::new(settings.policy.clone());
        let (leaving, size) = (BTreeSet::new(), FleetSize { wanted: 0, there: 0 });
        Self {
            settings,
            provider,
            autoscaler,
            shell,
            news,
            standing,
            leaving,
            had: BTreeSet::new(),
            size,
            asked: 0,
            begun: 0,
            shortfall: Shortfall::default(),
            idle: BTreeMap::new(),
            unfit: false,
            told: None,
            failing: None,
        }
    }

    /// Until nobody listens any more.
    pub async fn keep(mut self) {
        let policy = &self.settings.policy;
        tracing::info!(
            "the fleet, {}, has between {} and {} workers",
            self.provider.name(),
            policy.workers_min,
            policy.most()
        );
        loop {
            // One that is replaced without knowing, perhaps, keeps its hands off what is another's then.
            if self.standing.wait_for(|standing| *standing == Standing::Leads).await.is_err() {
                return;
            }
            let Some(seen) = self.ask().await else { return };
            let stepped = self.step(seen).await;
            self.tell(stepped.as_ref().err()).await;
            match stepped {
                Ok(()) => self.works(),
                Err(error) => self.fails(&error),
            }
            tokio::time::sleep(self.provider.rest()).await;
            tokio::select! {
                () = tokio::time::sleep(LOOK_EVERY) => {}
                changed = self.news.changed() => if changed.is_err() { return },
            }
        }
    }

    async fn ask(&self) -> Option<Seen> {
        ask(&self.shell.upgrade()?, |reply| Message::Fleet { reply }).await
    }

    async fn step(&mut self, seen: Seen) -> Result<(), ProviderError> {
        let machines = within(self.provider.look()).await?;
        self.look_for_those_asked_for(&machines);
        let facts = self.facts(&seen, &machines);
        let unfit = !seen.jobs.is_empty() && facts.jobs.is_empty() && !self.settings.families.is_empty();
        if unfit && !self.unfit {
            let families = self.settings.families.join(", ");
            tracing::warn!(
                "no open job takes kernels {families}, which are all that `kernel_families` names: nobody is started"
            );
        }
        self.unfit = unfit;
        let decision = self.autoscaler.decide(seen.now, &facts);
        self.say(&decision, &facts);
        self.bill_the_idle(&facts).await;
        // Workers are told whatever the provider does; and those whose machine it takes away are to drain as well.
        if self.provider.manages() {
            self.leaving.extend(decision.leave.iter().map(|id| id.0.clone()));
        }
        self.leaving.extend(machines.iter().filter(|machine| machine.leaves).map(|machine| machine.id.clone()));
        let untold = seen.workers.iter().filter(|worker| !worker.leaves && self.leaving.contains(&worker.instance));
        let untold: BTreeSet<_> = untold.map(|worker| worker.instance.clone()).collect();
        if !untold.is_empty()
            && let Some(shell) = self.shell.upgrade()
        {
            _ = shell.send(Message::Leave { instances: untold }).await;
        }
        self.carry_out(&decision, &facts, &machines).await
    }

    fn facts(&mut self, seen: &Seen, machines: &[Machine]) -> Facts {
        let mut workers: BTreeMap<&str, (Worker, bool)> = BTreeMap::new();
        for worker in seen.workers.iter().filter(|worker| self.provider.owns(&worker.instance)) {
            let none = (Worker { slots: 0, serves: BTreeSet::new(), busy: false }, false);
            let (of, leaves) = workers.entry(&worker.instance).or_insert(none);
            of.slots += worker.slots;
            of.busy |= worker.busy;
            of.serves.extend(worker.serves.iter().map(known_as));
            *leaves |= worker.leaves;
            self.had.extend(worker.families.iter().cloned());
        }
        let there: BTreeMap<&str, bool> = machines.iter().map(|machine| (&*machine.id, machine.leaves)).collect();
        // A worker that leaves of itself, since its machine is taken away perhaps, is not missed when it is gone.
        self.leaving.extend(workers.iter().filter(|(_, (_, leaves))| *leaves).map(|(id, _)| (*id).to_owned()));
        self.leaving.retain(|id| there.contains_key(&**id) || workers.contains_key(&**id));
        let some_there = !workers.is_empty();
        let jobs = seen.jobs.iter().filter(|job| self.serves(job, some_there));
        let jobs: Vec<_> = jobs.map(|job| job.facts.clone()).collect();
        let counted: BTreeSet<_> = jobs.iter().map(|job| &job.id).collect();
        workers.values_mut().for_each(|(worker, _)| worker.serves.retain(|job| counted.contains(job)));
        // Workers of a coordinator before are there though this provider does not know of them.
        let ids: BTreeSet<&str> = there.keys().chain(workers.keys()).copied().collect();
        let instances = ids.into_iter().map(|id| {
            let worker = workers.get(id);
            let leaves = self.leaving.contains(id) || there.get(id).is_some_and(|leaves| *leaves);
            Instance { id: InstanceId(id.to_owned()), worker: worker.map(|(worker, _)| worker.clone()), leaves }
        });
        let instances = instances.collect();
        Facts { jobs, instances }
    }

    /// Whether more workers of this fleet would help a job: by what is configured, else by what those have that are
    /// there, or had.
    fn serves(&self, job: &SeenJob, some_there: bool) -> bool {
        match (&*self.settings.families, &job.family) {
            ([], bound) => job.served || !some_there || bound.as_ref().is_some_and(|bound| self.had.contains(bound)),
            (families, Some(bound)) => families.contains(bound),
            (families, None) => families.iter().any(|family| job.kernels.takes(family)),
        }
    }

    /// Does what can be done, whatever fails of it.
    async fn carry_out(
        &mut self,
        decision: &Decision,
        facts: &Facts,
        machines: &[Machine],
    ) -> Result<(), ProviderError> {
        let busy = decision.busy.iter().map(|id| id.0.clone()).collect();
        let mut outcome = within(self.provider.protect(&busy)).await;
        let machines: BTreeMap<&str, bool> = machines.iter().map(|machine| (&*machine.id, machine.leaves)).collect();
        let stay = machines.values().filter(|taken| !**taken).count() as u32;
        let (mut leaving, mut strangers) = (0, 0);
        for instance in &facts.instances {
            let id = &*instance.id.0;
            let told = instance.leaves || decision.leave.contains(&instance.id);
            match machines.get(id) {
                // One of the coordinator before, that this provider can't count.
                None => strangers += u32::from(!told),
                // A worker that was told to leave has done so when it is no longer in touch: then its machine can go.
                Some(taken) if instance.worker.is_none() && (told || decision.ended.contains(&instance.id)) => {
                    let ended = within(self.provider.end(id)).await;
                    // With a size that does not count it, the provider would take another, whichever it likes.
                    leaving += u32::from(ended.is_err() && !taken);
                    outcome = outcome.and(ended);
                }
                Some(taken) => leaving += u32::from(told && !taken),
            }
        }
        // Others come in the place of those that leave, at once where the budget has room for both.
        let size = (decision.size + leaving).saturating_sub(strangers).min(self.settings.policy.most().max(stay));
        let resized = within(self.provider.resize(size)).await;
        if resized.is_ok() && self.provider.manages() {
            self.asked = size;
        }
        outcome.and(resized)
    }

    /// A provider that has none to give says nothing, and somebody may be waiting.
    fn look_for_those_asked_for(&mut self, machines: &[Machine]) {
        self.begun = machines.iter().filter(|machine| !machine.leaves).count() as u32;
        if self.shortfall.look(Instant::now(), self.asked, self.begun) {
            tracing::warn!("{}", self.lacks());
        }
    }

    fn lacks(&self) -> String {
        let (name, asked, begun) = (self.provider.name(), self.asked, self.begun);
        format!(
            "of {asked} machines {name} has started {begun}, and no other for two minutes: it may have none to give"
        )
    }

    /// Bills are told for whom there are machines that do nothing; what the others do is billed by their attempts.
    async fn bill_the_idle(&mut self, facts: &Facts) {
        let is_idle = |instance: &&Instance| instance.worker.as_ref().is_none_or(|worker| !worker.busy);
        let idle = facts.instances.iter().filter(is_idle).count() as f64;
        let of = |(job, share): (&mr_autoscaler::JobId, f64)| Some((JobId::parse(&job.0).ok()?, share * idle));
        let idle = self.autoscaler.shares().filter_map(of).collect();
        if self.idle != idle
            && let Some(shell) = self.shell.upgrade()
        {
            self.idle.clone_from(&idle);
            _ = shell.send(Message::FleetIdles(idle)).await;
        }
    }

    fn say(&mut self, decision: &Decision, facts: &Facts) {
        for id in &decision.ended {
            tracing::warn!(instance = id.0, "it did not come up, or is lost, and is ended");
        }
        let size = FleetSize { wanted: decision.size, there: facts.instances.len() as u32 };
        if self.size.wanted != size.wanted {
            let touch = facts.instances.iter().filter(|instance| instance.worker.is_some()).count();
            tracing::info!("the fleet is to have {} workers; {touch} are in touch", size.wanted);
        }
        self.size = size;
    }

    /// Those who watch a job that has no worker are told why it has none.
    async fn tell(&mut self, error: Option<&ProviderError>) {
        let story = match (error, self.size.wanted) {
            (Some(error), _) => format!("no worker is in touch, and none can be asked for now: {error}"),
            (None, _) if self.unfit => {
                let families = self.settings.families.join(", ");
                format!(
                    "no worker is in touch, and the fleet starts none for it: those would have kernels {families}, by \
                     `kernel_families` of the coordinator's file"
                )
            }
            (None, 0) => "no worker is in touch, and the fleet is to have none".to_owned(),
            (None, _) if self.autoscaler.holds_back() => {
                "no worker is in touch: those that were started last did not come (their log says why) or have other kernels, and one is tried now and then"
                    .to_owned()
            }
            (None, wanted) if !self.provider.manages() => {
                format!("no worker is in touch: {wanted} are wanted, and this coordinator starts none")
            }
            (None, _) if self.shortfall.is_long() => format!("no worker is in touch: {}", self.lacks()),
            (None, 1) => "no worker is in touch yet: one is being started".to_owned(),
            (None, wanted) => format!("no worker is in touch yet: {wanted} are being started"),
        };
        let size = self.size;
        if self.told.as_ref() != Some(&(size, story.clone()))
            && let Some(shell) = self.shell.upgrade()
        {
            self.told = Some((size, story.clone()));
            _ = shell.send(Message::FleetIs { size, story }).await;
        }
    }

    fn works(&mut self) {
        if self.failing.take().is_some() {
            tracing::info!("the fleet can be changed again");
        }
    }

    fn fails(&mut self, error: &ProviderError) {
        let said = error.to_string();
        let again = self.failing.as_ref().is_some_and(|(what, at)| *what == said && at.elapsed() < SAY_AGAIN);
        if !again {
            tracing::warn!("the fleet can't be changed now, and is tried again: {said}");
            self.failing = Some((said, Instant::now()));
        }
    }
}

async fn within<T>(asked: impl Future<Output = Result<T, ProviderError>>) -> Result<T, ProviderError> {
    let silent = |_| Err(ProviderError(format!("no answer in {} s", PATIENCE.as_secs())));
    tokio::time::timeout(PATIENCE, asked).await.unwrap_or_else(silent)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fleet(families: &[&str]) -> Fleet {
        let local =
            LocalSettings { program: "/bin/true".into(), args: Vec::new(), coordinator: String::new(), slots: 1 };
        let settings = FleetSettings {
            policy: Policy::default(),
            provider: ProviderSettings::Local(local),
            families: families.iter().map(|family| (*family).to_owned()).collect(),
        };
        let (shell, _) = mpsc::channel(1);
        Fleet::new(settings, shell.downgrade(), watch::channel(0).1, watch::channel(Standing::Leads).1)
    }

    /// A job that is bound to that family, which nobody in touch has.
    fn bound(id: &str, family: &str) -> SeenJob {
        let id = mr_autoscaler::JobId(id.into());
        let facts = JobFacts { id, ..JobFacts::default() };
        SeenJob { facts, served: false, kernels: KernelWish::default(), family: Some(family.to_owned()) }
    }

    fn worker(family: &str, serves: &[&str]) -> SeenWorker {
        let serves = serves.iter().map(|job| JobId::parse(job).unwrap()).collect();
        SeenWorker {
            instance: "local-1-1".to_owned(),
            slots: 1,
            busy: false,
            leaves: false,
            serves,
            families: vec![family.to_owned()],
        }
    }

    fn facts(fleet: &mut Fleet, jobs: Vec<SeenJob>, workers: Vec<SeenWorker>) -> (Vec<String>, Vec<usize>) {
        let facts = fleet.facts(&Seen { now: 0, jobs, workers }, &[]);
        let serves = facts.instances.iter().filter_map(|instance| Some(instance.worker.as_ref()?.serves.len()));
        (facts.jobs.iter().map(|job| job.id.0.to_string()).collect(), serves.collect())
    }

    #[test]
    fn a_worker_counts_for_the_jobs_that_it_can_be_given_and_that_the_fleet_serves() {
        let mut fleet = fleet(&["f32", "bf16x3"]);
        let workers = vec![worker("f32", &["a", "elsewhere"])];
        let jobs = vec![bound("a", "f32"), bound("b", "bf16x3"), bound("elsewhere", "neon")];
        assert_eq!(facts(&mut fleet, jobs, workers), (vec!["a".to_owned(), "b".to_owned()], vec![1]));
    }

    #[test]
    fn kernels_that_the_fleet_had_it_can_have_again() {
        let mut fleet = fleet(&[]);
        let other = worker("f32", &[]);
        let none = || (Vec::new(), vec![0]);
        assert_eq!(facts(&mut fleet, vec![bound("b", "bf16x3")], vec![other]), none(), "another would be alike");
        let (before, other) = (worker("bf16x3", &[]), worker("f32", &[]));
        facts(&mut fleet, Vec::new(), vec![before]);
        assert_eq!(facts(&mut fleet, vec![bound("b", "bf16x3")], vec![other]), (vec!["b".to_owned()], vec![0]));
    }
}
