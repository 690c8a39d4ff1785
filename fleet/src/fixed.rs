//! Workers that others start and end, by hand or by a scaler of theirs: how many are wanted is told, in the metrics and to those
//! who watch a job, and nothing is done about it.

use crate::provider::{Machine, Provider, ProviderError};
use async_trait::async_trait;
use std::collections::BTreeSet;
use std::time::Duration;

#[derive(Clone, Copy, Debug, Default)]
pub struct Static;

#[async_trait]
impl Provider for Static {
    fn name(&self) -> String {
        "workers that others start and end".to_owned()
    }

    fn manages(&self) -> bool {
        false
    }

    fn rest(&self) -> Duration {
        Duration::from_secs(1)
    }

    /// Whoever is in touch is one of these.
    fn owns(&self, _machine: &str) -> bool {
        true
    }

    async fn look(&mut self) -> Result<Vec<Machine>, ProviderError> {
        Ok(Vec::new())
    }

    async fn resize(&mut self, _size: u32) -> Result<(), ProviderError> {
        Ok(())
    }

    async fn protect(&mut self, _busy: &BTreeSet<String>) -> Result<(), ProviderError> {
        Ok(())
    }

    async fn end(&mut self, _machine: &str) -> Result<(), ProviderError> {
        Ok(())
    }
}
