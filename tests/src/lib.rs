//! What the tests of the house as a whole share. They use it as people do: the three programs from `target/release`, job
//! files, folders and buckets, and the readers that users read with.
//!
//! A test begins with [`Scratch::enter`], which gives it a folder of its own and its turn: most keep the whole machine busy,
//! so they take turns, and those that rather wait take theirs beside them. What is missing on a laptop (`../shared`, Python,
//! npm) skips a test and says so; where `CI` is set it fails the test.

mod auto_scaling;
mod certs;
mod chance;
mod clocks;
mod front;
mod guard;
mod hook;
mod hosts;
mod house;
mod machines;
mod meddle;
mod metadata;
mod moods;
mod output;
mod points;
mod ports;
mod process;
mod programs;
mod python;
mod relay;
mod s3;
mod s3rver;
mod scratch;
mod shared;
mod site;
mod small_disk;
mod submit;
mod untroubled;
mod web;

pub use auto_scaling::AutoScaling;
pub use certs::Certs;
pub use chance::{Chance, fault_seeds};
pub use clocks::Clocks;
pub use front::Mood;
pub use guard::{Grant, Guard, Guarded, Permissions, Place, Places, Refused, as_written, grants, with_lists};
pub use hosts::{Cut, Hosts, Weather, between};
pub use house::{Cluster, Heir, House};
pub use machines::{Machine, Machines};
pub use meddle::{After, Answer, Before, Meddler, Operation, Seen};
pub use metadata::Metadata;
pub use moods::Moods;
pub use output::{Output, assert_same_bytes, tree};
pub use points::{Asks, Point, Points, Struck, When};
pub use ports::address;
pub use process::{Ended, Running, Signal, allow_many_files, send, wait_until};
pub use programs::{Coordinator, Worker, client, program};
pub use python::Python;
pub use relay::Relay;
pub use s3::{BUCKET, S3Server};
pub use s3rver::S3rver;
pub use scratch::Scratch;
pub use shared::{drawn, need, shared, skipped};
pub use site::{REPLACED, Site, Spread};
pub use small_disk::SmallDisk;
pub use submit::{Submit, submit};
pub use untroubled::{PHOTOS, Untroubled};
pub use web::Web;
