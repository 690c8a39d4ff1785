//! A whole cluster in this process: a coordinator and one worker, the same code as everywhere, over a channel in memory.

use anyhow::{Context, anyhow};
use mr_coordinator::Coordinator;
use mr_mapreduce::Registry;
use std::path::Path;
use std::time::Duration;
use tokio::task::{JoinError, JoinHandle};
use tokio_util::sync::CancellationToken;
use tonic::transport::Channel;

pub struct Settings<'a> {
    /// URL of the state store.
    pub state: String,
    pub scratch: &'a Path,
    pub slots: u32,
    pub decode_budget_bytes: Option<u64>,
    /// How long what is done is kept for other runs.
    pub keep: Duration,
}

pub struct Embedded {
    coordinator: Coordinator,
    deciding: JoinHandle<anyhow::Result<()>>,
    serving: JoinHandle<anyhow::Result<()>>,
    working: JoinHandle<mr_worker::Stopped>,
    stop_serving: CancellationToken,
    stop_working: CancellationToken,
    channel: Channel,
}

impl Embedded {
    /// # Errors
    /// When the state store can't be used.
    pub async fn start(settings: Settings<'_>, registry: Registry) -> anyhow::Result<Self> {
        let (stop_serving, stop_working) = (CancellationToken::new(), CancellationToken::new());
        let (coordinator, deciding) = Coordinator::start(mr_coordinator::Settings {
            abandons: true,
            work_age_ms: settings.keep.as_millis() as u64,
            ..mr_coordinator::Settings::new(settings.state)
        })
        .await?;
        let (channel, serving) = mr_coordinator::in_process(&coordinator, stop_serving.clone());
        let worker = mr_worker::Settings {
            decode_budget_bytes: settings.decode_budget_bytes,
            work_outlives: false,
            ..mr_worker::Settings::new(settings.slots, settings.scratch.to_owned())
        };
        let working = tokio::spawn(mr_worker::run(worker, registry, channel.clone(), stop_working.clone()));
        Ok(Self { coordinator, deciding, serving, working, stop_serving, stop_working, channel })
    }

    pub fn channel(&self) -> Channel {
        self.channel.clone()
    }

    /// Waits for a part of it to end, which none does by itself as long as all is well.
    pub async fn broken(&mut self) -> anyhow::Error {
        let ended = |what: &str, panicked: Option<JoinError>| match panicked {
            Some(error) => anyhow!("{what} broke down: {error}"),
            None => anyhow!("{what} ended by itself"),
        };
        tokio::select! {
            result = &mut self.deciding => match result {
                Ok(Err(error)) => error.context("the coordinator stopped"),
                other => ended("the coordinator", other.err()),
            },
            result = &mut self.working => ended("the worker", result.err()),
            result = &mut self.serving => match result {
                Ok(Err(error)) => error.context("the coordinator's service ended"),
                other => ended("the coordinator's service", other.err()),
            },
        }
    }

    /// Ends everything, hands first: the worker gives its leases back, the coordinator ends what is half-way.
    ///
    /// # Errors
    /// When a part broke down.
    pub async fn stop(self) -> anyhow::Result<()> {
        self.stop_working.cancel();
        self.working.await.context("stopping the worker")?;
        self.coordinator.stop().await;
        self.stop_serving.cancel();
        self.serving.await.context("stopping the coordinator's service")??;
        self.deciding.await.context("stopping the coordinator")?
    }
}
