//! What a provider of machines can be asked for.

use async_trait::async_trait;
use std::collections::BTreeSet;
use std::time::Duration;

/// A machine with a worker on it, or one that will have one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Machine {
    /// Its worker says the same id when it is in touch.
    pub id: String,
    /// The provider has begun to take it away.
    pub leaves: bool,
}

/// Why a provider did not do what it was asked.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{0}")]
pub struct ProviderError(pub String);

/// Where machines come from and go to. Every request says how things should be, so it may be repeated.
#[async_trait]
pub trait Provider: Send + Sync {
    /// For people: "the processes of this machine".
    fn name(&self) -> String;

    /// Whether it starts and ends machines. Otherwise somebody else does, and is only told how many are wanted.
    fn manages(&self) -> bool {
        true
    }

    /// The least time between two looks, so that nobody is asked more than is good.
    fn rest(&self) -> Duration;

    /// Whether a machine by that name is or was one of these, as of the last look. Workers elsewhere are others' affair.
    fn owns(&self, machine: &str) -> bool;

    /// All machines that there are, those that are only starting included.
    ///
    /// # Errors
    /// When that can't be found out now.
    async fn look(&mut self) -> Result<Vec<Machine>, ProviderError>;

    /// That there be so many beside those that it takes away already, given what the last [`look`](Self::look) has seen. It
    /// never takes one away for that: see [`end`](Self::end).
    ///
    /// # Errors
    /// When it can't be asked now, or can't do it.
    async fn resize(&mut self, size: u32) -> Result<(), ProviderError>;

    /// That nobody but us take these away, and that all others may go.
    ///
    /// # Errors
    /// When it can't be asked now.
    async fn protect(&mut self, busy: &BTreeSet<String>) -> Result<(), ProviderError>;

    /// Takes one away, and wants one fewer. One that is not there is gone already.
    ///
    /// # Errors
    /// When it can't be asked now.
    async fn end(&mut self, machine: &str) -> Result<(), ProviderError>;
}
