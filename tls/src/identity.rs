//! A folder with what one process shows of itself, and whom it believes.

use crate::TlsError;
use crate::peer::{self, Peer, Role};
use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use std::fmt;
use std::path::Path;
use std::time::SystemTime;

/// The certificates of those who may sign: one, or two while a CA is replaced.
pub const CA_FILE: &str = "ca.pem";
/// The process's own certificate.
pub const CERT_FILE: &str = "cert.pem";
/// The key to it, which nobody else should read.
pub const KEY_FILE: &str = "key.pem";

pub struct Identity {
    pub peer: Peer,
    /// When the certificate ends.
    pub until: SystemTime,
    pub(crate) roots: RootCertStore,
    pub(crate) chain: Vec<CertificateDer<'static>>,
    pub(crate) key: PrivateKeyDer<'static>,
}

// The key is nobody's business.
impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity").field("peer", &self.peer).field("until", &self.until).finish_non_exhaustive()
    }
}

impl Identity {
    /// Reads `ca.pem`, `cert.pem` and `key.pem` of that folder, for a process of that role.
    ///
    /// # Errors
    /// When one of them is missing or broken, the certificate is another role's, or it has ended.
    pub fn read(folder: &Path, role: Role) -> Result<Self, TlsError> {
        let at = |name: &str| format!("{}", folder.join(name).display());
        let read = |name: &str| {
            std::fs::read(folder.join(name)).map_err(|error| {
                let hint =
                    "a folder of certificates has ca.pem, cert.pem and key.pem, as `mr-coordinator certs` makes them";
                TlsError::new(format!("{}: {error}; {hint}", at(name)))
            })
        };
        let certificates = |name: &str| {
            let bytes = read(name)?;
            let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes).collect();
            match all {
                Ok(all) if !all.is_empty() => Ok(all),
                Ok(_) => Err(TlsError::new(format!("{}: there is no certificate in it", at(name)))),
                Err(error) => Err(TlsError::new(format!("{}: {error}", at(name)))),
            }
        };
        let mut roots = RootCertStore::empty();
        for root in certificates(CA_FILE)? {
            roots.add(root).map_err(|error| TlsError::new(format!("{}: {error}", at(CA_FILE))))?;
        }
        let chain = certificates(CERT_FILE)?;
        let (peer, good) = peer::read(&chain[0]).map_err(|why| TlsError::new(format!("{}: {why}", at(CERT_FILE))))?;
        if peer.role != role {
            return Err(TlsError::new(format!(
                "{}: it is of {peer}, and a {role}'s is needed here: name another folder, or `mr-coordinator certs issue {role} --name NAME` makes \
                 one",
                at(CERT_FILE)
            )));
        }
        if good.end <= SystemTime::now() {
            return Err(TlsError::new(format!(
                "{}: the certificate has ended: `mr-coordinator certs rotate` makes new ones",
                at(CERT_FILE)
            )));
        }
        let key = PrivateKeyDer::from_pem_slice(&read(KEY_FILE)?);
        let key = key.map_err(|error| TlsError::new(format!("{}: {error}", at(KEY_FILE))))?;
        Ok(Self { peer, until: good.end, roots, chain, key })
    }
}
