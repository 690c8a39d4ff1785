//! What a job costs: prices, an estimate before it runs, and the bill afterwards.
//!
//! Values in, dollars out: no IO, no clock. Both sides use the same prices and the same arithmetic, so an estimate and a
//! bill can be held against each other. What is not known stays `None` and is said to be; nothing is made up for it.

mod bill;
mod estimate;
mod prices;
mod requests;
#[cfg(test)]
mod testing;
mod time;

pub use bill::{Rates, Used, bill};
pub use estimate::{Estimate, Job, estimate, over_budget};
pub use prices::{Instance, Prices};
pub use requests::{Asked, Places, Shape, counts, requests};
pub use time::{Likely, Speed, Workers, likely};
