//! Whose certificate it is, and what its holder may do.

use crate::TlsError;
use rustls::pki_types::CertificateDer;
use std::fmt;
use std::ops::Range;
use std::str::FromStr;
use std::time::{Duration, SystemTime};
use x509_parser::prelude::{ASN1Time, FromDer, GeneralName, X509Certificate};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// Serves workers and submitters.
    Coordinator,
    /// Polls for tasks; submits nothing.
    Worker,
    /// Submits, watches and cancels jobs; polls for nothing.
    Submitter,
}

impl Role {
    pub const ALL: [Self; 3] = [Self::Coordinator, Self::Worker, Self::Submitter];

    pub fn name(self) -> &'static str {
        match self {
            Self::Coordinator => "coordinator",
            Self::Worker => "worker",
            Self::Submitter => "submitter",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Role {
    type Err = TlsError;

    fn from_str(name: &str) -> Result<Self, TlsError> {
        let found = Self::ALL.into_iter().find(|role| role.name() == name);
        found.ok_or_else(|| TlsError::new(format!("`{name}` is no role: coordinator, worker or submitter")))
    }
}

/// The holder of a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    pub role: Role,
    pub name: String,
}

const PREFIX: &str = "spiffe://mr/";
const NAME_BYTES_MAX: usize = 64;

impl Peer {
    /// # Errors
    /// When the name is not of 1 to 64 letters, digits, `-`, `_` and `.`, begins with a dot or ends in `.pem`.
    pub fn new(role: Role, name: &str) -> Result<Self, TlsError> {
        let good = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
        if !(1..=NAME_BYTES_MAX).contains(&name.len())
            || !name.bytes().all(good)
            || name.starts_with('.')
            || name.ends_with(".pem")
        {
            return Err(TlsError::new(format!(
                "`{name}` can't be a certificate's name: 1 to {NAME_BYTES_MAX} letters, digits, `-`, `_` and `.`, no dot first, no `.pem` last"
            )));
        }
        Ok(Self { role, name: name.to_owned() })
    }

    pub(crate) fn uri(&self) -> String {
        format!("{PREFIX}{}/{}", self.role, self.name)
    }

    fn from_uri(uri: &str) -> Option<Self> {
        let (role, name) = uri.strip_prefix(PREFIX)?.split_once('/')?;
        Self::new(role.parse().ok()?, name).ok()
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} `{}`", self.role, self.name)
    }
}

/// Whose certificate that is, and from when until when it is good. It need not be signed by anyone.
pub(crate) fn read(der: &CertificateDer<'_>) -> Result<(Peer, Range<SystemTime>), TlsError> {
    let broken = |why: &str| TlsError::new(format!("the certificate {why}"));
    let (_, certificate) = X509Certificate::from_der(der).map_err(|_| broken("can't be read"))?;
    let names = certificate.subject_alternative_name().map_err(|_| broken("has names that can't be read"))?;
    let names = names.map_or(&[][..], |names| &names.value.general_names);
    let mut uris = names.iter().filter_map(|name| match name {
        GeneralName::URI(uri) => Some(*uri),
        _ => None,
    });
    // Which of several would count?
    let (Some(uri), None) = (uris.next(), uris.next()) else {
        return Err(broken("has no role, or several: it was not made by `mr-coordinator certs`"));
    };
    let peer = Peer::from_uri(uri).ok_or_else(|| broken("has no role that is known here"))?;
    let at = |time: ASN1Time| SystemTime::UNIX_EPOCH + Duration::from_secs(time.timestamp().try_into().unwrap_or(0));
    let validity = certificate.validity();
    Ok((peer, at(validity.not_before)..at(validity.not_after)))
}

/// Of a certificate, as X.509 writes it (SubjectPublicKeyInfo, RFC 5280, 4.1).
pub(crate) fn public_key(der: &CertificateDer<'_>) -> Result<Vec<u8>, TlsError> {
    let read = X509Certificate::from_der(der);
    let (_, certificate) = read.map_err(|_| TlsError::new("the certificate can't be read"))?;
    Ok(certificate.public_key().raw.to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_holder_is_what_its_uri_says_and_nothing_else_passes() {
        for role in Role::ALL {
            let peer = Peer::new(role, "a-1_b.C").unwrap();
            assert_eq!(Peer::from_uri(&peer.uri()), Some(peer));
        }
        for bad in [
            "spiffe://mr/worker",
            "spiffe://mr/worker/",
            "spiffe://mr/worker/a/b",
            "spiffe://mr/Worker/a",
            "spiffe://other/worker/a",
            "spiffe://mr/root/a",
            "https://mr/worker/a",
            "",
        ] {
            assert_eq!(Peer::from_uri(bad), None, "{bad}");
        }
        for bad in ["", ".", "..", "a/b", "a b", "next-ca.pem", &"x".repeat(65)] {
            assert!(Peer::new(Role::Worker, bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn what_is_no_certificate_has_no_holder() {
        assert!(read(&CertificateDer::from(vec![])).is_err());
        assert!(read(&CertificateDer::from(vec![0x30; 40])).is_err());
    }
}
