//! Workers on EC2: a group of machines seen from the coordinator, and the machine seen from its worker.

mod group;
mod notices;

pub use group::{Group, GroupSettings};
pub use notices::{Notice, Notices};
