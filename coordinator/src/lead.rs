//! From standing by to leading: waiting until nobody is at work, taking over, and showing from then on that somebody is.

use crate::Settings;
use crate::fleet::Fleet;
use crate::journal::{
    self, BEATS, Fenced, Leader, Recovered, Watcher, claim, landmark, load, read_leader, resign, write_leader,
};
use crate::memo::Memo;
use crate::process::Process;
use crate::shell::{Message, Shell};
use anyhow::{Context, anyhow};
use mr_core::Epoch;
use mr_storage::{DynStore, StoreError};
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

/// How often one that stands by looks whether it is wanted.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// What one that is told to stop waits for a store that does not answer. Of the ten seconds that a stop may take.
const STOPS_WITHIN: Duration = Duration::from_secs(1);

/// Whom those meet who call a coordinator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    StandsBy,
    Leads,
    /// It leads as far as it knows. But it has not reached its store for as long as one that stands by would wait, so
    /// another may lead, and nobody should be kept by this one who could ask that other.
    InDoubt,
}

/// One who may lead.
pub struct Candidate {
    pub state: DynStore,
    pub settings: Settings,
    /// Unlike every other process.
    pub writer: String,
    watcher: Watcher,
    /// Of those that have taken over and not yet shown that they live.
    newcomers: Watcher,
}

/// One who leads.
pub struct Mandate {
    epoch: Epoch,
    recovered: Recovered,
    landmark: String,
}

impl Candidate {
    pub fn new(state: DynStore, settings: Settings, writer: String) -> Self {
        let watcher = || Watcher::new(Duration::from_millis(settings.silence_ms));
        let (watcher, newcomers) = (watcher(), watcher());
        Self { state, settings, writer, watcher, newcomers }
    }

    /// Takes over, if nobody is at work. `None`: somebody is.
    ///
    /// # Errors
    /// When the state can't be read or written.
    pub async fn try_lead(&mut self) -> anyhow::Result<Option<Mandate>> {
        let leader = read_leader(&self.state).await.context("looking for another coordinator")?;
        let forgets = self.settings.abandons && leader.as_ref().is_some_and(Leader::may_have_lost_files);
        let shown = leader.as_ref().map_or(0, |leader| leader.epoch);
        let leader = leader.filter(|leader| !leader.process.as_ref().is_some_and(Process::is_dead));
        if !self.watcher.see(leader, Instant::now()) {
            return Ok(None);
        }
        let mut recovered = load(&self.state).await?;
        let dead = recovered.process.as_ref().is_some_and(Process::is_dead);
        if recovered.epoch > shown && !dead {
            // Another has taken over since, though the mark is still that of the one before.
            let (epoch, process) = (recovered.epoch, recovered.process.clone());
            let newcomer = Leader { epoch, writer: String::new(), process, beat: 0, resigned: false };
            if !self.newcomers.see(Some(newcomer), Instant::now()) {
                return Ok(None);
            }
        }
        if forgets {
            // Work files of such a cluster need not be on the disk, so what is there may be half of it.
            recovered.memo = Memo::default();
        }
        let epoch = claim(&self.state, recovered.last, &self.writer).await.context("taking over the journal")?;
        let Some(epoch) = epoch else { return Ok(None) };
        self.state.pin().await.context("taking over")?;
        let landmark = landmark(&self.state, &self.writer).await.context("marking the state")?;
        // The entry is what counts. Others take one that has not shown itself for a newcomer, and wait as well.
        if let Err(error) = self.beat(epoch, 0).await {
            tracing::warn!("showing that this coordinator lives: {error}");
        }
        Ok(Some(Mandate { epoch, recovered, landmark }))
    }

    /// Waits until it is wanted.
    async fn stand_by(&mut self, stop: &CancellationToken) -> Option<Mandate> {
        let every = LOOK_EVERY.min(Duration::from_millis(self.settings.silence_ms) / BEATS);
        loop {
            tokio::select! {
                () = stop.cancelled() => return None,
                () = tokio::time::sleep(every) => {}
            }
            // One that is about to take over does so, and resigns as any other. A store that does not answer can't keep it.
            let over = async {
                stop.cancelled().await;
                tokio::time::sleep(STOPS_WITHIN).await;
            };
            let tried = tokio::select! {
                tried = self.try_lead() => tried,
                () = over => return None,
            };
            match tried {
                Ok(Some(mandate)) => return Some(mandate),
                Ok(None) => {}
                Err(error) => tracing::warn!("standing by: {error:#}"),
            }
        }
    }

    async fn beat(&self, epoch: Epoch, beat: u64) -> Result<(), StoreError> {
        let leader = Leader { epoch, writer: self.writer.clone(), process: Process::this(), beat, resigned: false };
        write_leader(&self.state, &leader).await
    }

    /// Shows now and then that it lives, and finds out if another has taken over while there was nothing to write.
    async fn beat_on(&self, epoch: Epoch, standing: &watch::Sender<Standing>) -> Fenced {
        let silence = Duration::from_millis(self.settings.silence_ms);
        let mut shown = Instant::now();
        for beat in 1.. {
            // While it leads, it must know when it has been silent for so long that it may not lead any more.
            let leads = *standing.borrow() == Standing::Leads;
            let within = |time: Duration| if leads { time.min(silence.saturating_sub(shown.elapsed())) } else { time };
            tokio::time::sleep(within(silence / BEATS)).await;
            // A store that is cut off does not say so, and a beat that comes late is as good as none.
            match tokio::time::timeout(within(silence / 2), self.beat_once(epoch, beat)).await {
                Ok(Ok(Some(fenced))) => return fenced,
                Ok(Ok(None)) => shown = Instant::now(),
                Ok(Err(error)) => tracing::debug!("showing that this coordinator lives: {error}"),
                Err(_) => tracing::debug!("showing that this coordinator lives: the store does not answer"),
            }
            let now = if shown.elapsed() < silence { Standing::Leads } else { Standing::InDoubt };
            if standing.send_replace(now) != now {
                match now {
                    Standing::InDoubt => tracing::warn!(
                        "{} has not been reached for {:.1} s: another coordinator may take over, and callers are sent on",
                        self.state.url(),
                        shown.elapsed().as_secs_f64()
                    ),
                    Standing::Leads | Standing::StandsBy => tracing::info!("{} is reached again", self.state.url()),
                }
            }
        }
        unreachable!("it never ends by itself")
    }

    async fn beat_once(&self, epoch: Epoch, beat: u64) -> Result<Option<Fenced>, StoreError> {
        match read_leader(&self.state).await? {
            Some(leader) if leader.epoch > epoch => Ok(Some(Fenced { own: epoch, epoch: leader.epoch })),
            Some(_) | None => self.beat(epoch, beat).await.map(|()| None),
        }
    }

    /// Leads, at once or when it is wanted, until it is told to stop.
    ///
    /// # Errors
    /// When another has taken over, or the journal makes no sense.
    pub async fn run(
        mut self,
        mandate: Option<Mandate>,
        (shell, messages): (mpsc::WeakSender<Message>, mpsc::Receiver<Message>),
        news: watch::Sender<u64>,
        standing: watch::Sender<Standing>,
        stop: CancellationToken,
    ) -> anyhow::Result<()> {
        let mandate = match mandate {
            Some(mandate) => mandate,
            None => {
                tracing::warn!(
                    "another coordinator is at work with {}: this one stands by, and takes over when that one is silent",
                    self.state.url()
                );
                match self.stand_by(&stop).await {
                    Some(mandate) => mandate,
                    None => return Ok(()),
                }
            }
        };
        let Mandate { epoch, recovered, landmark } = mandate;
        let jobs = recovered.jobs.len();
        tracing::info!("leading in epoch {epoch}, with {jobs} jobs in the journal");
        let place = (epoch, self.writer.clone());
        let listens = news.subscribe();
        let deciding = Shell::new(self.state.clone(), &self.settings, news, recovered, (place, landmark));
        let deciding =
            deciding.map_err(|why| anyhow!("the journal in {}{}: {why}", self.state.url(), journal::PREFIX))?;
        standing.send_replace(Standing::Leads);
        let beating = async {
            let fenced = self.beat_on(epoch, &standing).await;
            if let Some(shell) = shell.upgrade() {
                _ = shell.send(Message::Fenced(fenced)).await;
            }
            std::future::pending::<()>().await
        };
        // Ended with this coordinator's lead.
        let fleet =
            self.settings.fleet.clone().map(|fleet| Fleet::new(fleet, shell.clone(), listens, standing.subscribe()));
        // Nobody is started in place of workers that are about to come back, be it that they are there without any job.
        let always_some = self.settings.fleet.as_ref().is_some_and(|fleet| fleet.policy.workers_min > 0);
        let come_back = deciding.has_open_jobs() || (epoch > 1 && always_some);
        let rest = if come_back { self.settings.lease_ms } else { 0 };
        let fleet = fleet.map(|fleet| {
            AbortOnDropHandle::new(tokio::spawn(async move {
                tokio::time::sleep(Duration::from_millis(rest)).await;
                fleet.keep().await;
            }))
        });
        let decided = tokio::select! {
            decided = deciding.run(messages, self.settings.abandons) => decided,
            () = beating => unreachable!("it pends"),
        };
        // Who leads next has a fleet of its own.
        if let Some(fleet) = fleet {
            fleet.abort();
            _ = fleet.await;
        }
        match decided {
            Ok(()) => {
                let resigned = resign(&self.state, epoch, &self.writer);
                if tokio::time::timeout(STOPS_WITHIN, resigned).await.is_err() {
                    tracing::debug!("resigning: the store does not answer");
                }
                Ok(())
            }
            Err(fenced) => Err(fenced.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use mr_storage::{GetOptions, Got, Memory, Object, Put, Store};
    use std::future::pending;
    use std::sync::Arc;

    const LIMIT: Duration = Duration::from_secs(60);

    /// Nobody hears from it.
    #[derive(Debug)]
    struct Silent;

    #[async_trait::async_trait]
    impl Store for Silent {
        fn url(&self) -> &str {
            "silent:"
        }

        async fn list(&self, _: &str) -> Result<Vec<Object>, StoreError> {
            pending().await
        }

        async fn get(&self, _: &str, _: GetOptions) -> Result<Got, StoreError> {
            pending().await
        }

        async fn head(&self, _: &str) -> Result<Object, StoreError> {
            pending().await
        }

        async fn put(&self, _: &str, _: Bytes, _: Put) -> Result<String, StoreError> {
            pending().await
        }

        async fn delete(&self, _: &str) -> Result<(), StoreError> {
            pending().await
        }
    }

    fn candidate(state: &DynStore, writer: &str) -> Candidate {
        let settings = Settings { silence_ms: 300, ..Settings::new("") };
        Candidate::new(state.clone(), settings, writer.to_owned())
    }

    #[tokio::test]
    async fn one_that_stands_by_stops_though_its_store_does_not_answer() {
        let state: DynStore = Arc::new(Silent);
        let (mut candidate, stop) = (candidate(&state, "one"), CancellationToken::new());
        let told = stop.clone();
        let standing = tokio::spawn(async move { candidate.stand_by(&told).await.is_none() });
        // It looks who leads, mostly. A machine that is slow in it makes the test weaker, and never fails it.
        tokio::time::sleep(Duration::from_millis(300)).await;
        stop.cancel();
        assert!(tokio::time::timeout(LIMIT, standing).await.expect("it stops").unwrap());
    }

    #[tokio::test]
    async fn one_who_has_taken_over_is_not_taken_over_from_before_it_could_show_itself() {
        let state: DynStore = Arc::new(Memory::default());
        let first = candidate(&state, "one").try_lead().await.unwrap().expect("nobody is at work");
        resign(&state, first.epoch, "one").await;
        // It has written its entry. Whose mark it is has not changed yet.
        assert_eq!(claim(&state, first.epoch, "two").await.unwrap(), Some(2));
        let (mut third, began) = (candidate(&state, "three"), Instant::now());
        assert!(third.try_lead().await.unwrap().is_none());
        let taken_over = async {
            loop {
                tokio::time::sleep(Duration::from_millis(20)).await;
                if let Some(mandate) = third.try_lead().await.unwrap() {
                    break mandate.epoch;
                }
            }
        };
        assert_eq!(taken_over.await, 3, "the second one is silent for too long");
        assert!(began.elapsed() >= Duration::from_millis(250));
    }
}
