//! What is said on the wire, and its translation into the framework's own words.
//!
//! The generated messages are in [`v1`]. [`convert`] is the only place where they become core types: what comes in is
//! checked there once, and a message that can't be is an error with the name of the field. [`bounds`] has what is asked
//! beyond that of a plan that somebody submits.

pub mod bounds;
pub mod convert;
pub mod journal;

/// The generated messages and services.
#[allow(clippy::all, clippy::pedantic)]
pub mod v1 {
    tonic::include_proto!("mr.v1");
}

pub use convert::WireError;

/// For gRPC reflection.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/mr.bin"));

/// The largest message that either side takes: a split of many objects or a long quarantine, never data.
pub const MESSAGE_BYTES_MAX: usize = 32 << 20;
