//! How many workers there should be: facts in, a wanted size out.
//!
//! Nothing here has a clock, a network or a random number, so that [`sim`] can drive it through days of jobs and broken
//! clouds by seed. Whoever carries it out looks every second or so, tells what it sees, and does what is decided, all of which
//! may be late, lost or done twice: the next look says how things are.

mod accounts;
mod autoscaler;
mod course;
mod demand;
mod facts;
mod hold;
mod policy;
pub mod sim;
mod steady;
mod supply;

pub use autoscaler::{Autoscaler, Decision};
pub use demand::workers_alone;
pub use facts::{Facts, Instance, InstanceId, JobFacts, JobId, StageFacts, Worker};
pub use policy::{Aim, Policy, PolicyError};

/// Since some fixed start, by the caller's clock.
pub type Millis = u64;
