//! Machines for workers, behind one small trait: whoever decides how many there should be need not know where they come from.

pub mod ec2;
mod fixed;
mod local;
mod provider;

pub use fixed::Static;
pub use local::{Local, LocalSettings};
pub use provider::{Machine, Provider, ProviderError};
