//! Who may speak to whom: certificates with roles, and connections on which both sides have shown theirs (mTLS).
//!
//! A small CA of the cluster's own signs all certificates. What a certificate's holder may do is its *role*, written into it
//! as a URI, `spiffe://mr/ROLE/NAME`. Only a coordinator's is good for a server, so that no worker can pass for one; it is
//! good at any address, since coordinators move.

mod authority;
mod fresh;
mod identity;
mod peer;
mod secured;

use std::time::{Duration, SystemTime};

pub use authority::{Authority, CaStep, Issued};
pub use identity::{CA_FILE, CERT_FILE, Identity, KEY_FILE};
pub use peer::{Peer, Role};
pub use secured::{Acceptor, Connector, TlsClient, TlsServer, try_out};

/// There is time to get another certificate.
const ENDS_SOON: Duration = Duration::from_secs(14 * 24 * 3600);

/// What is left of a certificate that is good until then, if that is less than two weeks; nothing of one that has ended.
pub fn ends_soon(until: SystemTime) -> Option<Duration> {
    let left = until.duration_since(SystemTime::now()).unwrap_or_default();
    (left < ENDS_SOON).then_some(left)
}

/// Why a folder of certificates is of no use, in a sentence for people.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct TlsError(String);

impl TlsError {
    fn new(why: impl Into<String>) -> Self {
        Self(why.into())
    }
}
