//! An S3 server for tests: it keeps everything in memory and answers as S3 does where storage leans on it.
//!
//! That is: conditions on reads and writes, one winner among racing conditional writes, listings in key order with real
//! pages and ETags, ranges, copies, uploads in parts, checksums. The protocol (signatures, XML, chunked bodies) is
//! `s3s`'s. Buckets live as long as the server. There are no versions, locks or lifecycles, and of users there is one, who may
//! add a name of his own to his key.
//!
//! [`Server::start_with`] lets a test put its own [`s3s::S3`] between the protocol and the buckets, to fail or to delay
//! single operations.

mod buckets;
mod limit;
mod serve;
mod service;

pub use buckets::Buckets;
pub use serve::{Options, Server};
pub use service::Service;

/// The only user there is.
pub const ACCESS_KEY: &str = "test";
pub const SECRET_KEY: &str = "test-secret";
pub const REGION: &str = "us-east-1";
