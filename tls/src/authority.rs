//! A cluster's own small CA, in a folder: it issues certificates, renews them, and is replaced itself without a moment in
//! which one process does not believe another.
//!
//! ```text
//! certs/ca.pem          the CA's certificate; beside it the one that comes next, or that came before
//! certs/ca-key.pem      its key: whoever has that is anyone. It never leaves this folder
//! certs/NAME/           what one process, or many alike, are given: ca.pem, cert.pem, key.pem
//! ```

use crate::TlsError;
use crate::identity::{CA_FILE, CERT_FILE, KEY_FILE};
use crate::peer::{self, Peer, Role};
use crate::secured::COORDINATOR_NAME;
use rcgen::{
    BasicConstraints, Certificate, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose, PublicKeyData, SanType,
};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;
use time::OffsetDateTime;

/// The key of the certificate that signs, whichever in `ca.pem` that is.
const CA_KEY_FILE: &str = "ca-key.pem";
/// The CA that comes next, from when it is announced until all certificates are of it; its key is written before it.
const NEXT_CA_FILE: &str = "next-ca.pem";
const NEXT_KEY_FILE: &str = "next-ca-key.pem";

const CA_DAYS: u32 = 3650;
/// Clocks differ.
const BEFORE: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(86_400);

/// A certificate that was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Issued {
    pub peer: Peer,
    /// With what its holder is given.
    pub folder: PathBuf,
}

/// How far the replacement of a CA has come. Each step is taken when everyone has what the one before has made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CaStep {
    /// Both are believed, and the old one signs.
    Announced,
    /// Both are believed, and the new one signs: all certificates are new.
    Signs,
    /// Only the new one is believed.
    Alone,
}

/// The folder of a CA.
pub struct Authority {
    folder: PathBuf,
}

type Signer = Issuer<'static, KeyPair>;

impl Authority {
    /// Makes a CA, and a certificate for each role: `coordinator`, `worker` and `submitter`.
    ///
    /// # Errors
    /// When there is one already, or the folder can't be written.
    pub fn init(folder: &Path, days: u32) -> Result<(Self, Vec<Issued>), TlsError> {
        let authority = Self { folder: folder.to_owned() };
        if authority.at(CA_FILE).exists() {
            return Err(TlsError::new(format!(
                "{} has a CA already: `certs issue` makes further certificates, `certs rotate` new ones for those there",
                folder.display()
            )));
        }
        make_folder(folder)?;
        // Nothing of it belongs into a repository.
        authority.write(".gitignore", "*\n", Access::All)?;
        let (certificate, key) = new_ca()?;
        authority.write(CA_KEY_FILE, &key.serialize_pem(), Access::Owner)?;
        authority.write(CA_FILE, &certificate.pem(), Access::All)?;
        let issued = Role::ALL.iter().map(|role| authority.issue(&Peer::new(*role, role.name())?, days));
        let issued = issued.collect::<Result<_, _>>()?;
        Ok((authority, issued))
    }

    /// # Errors
    /// When there is none.
    pub fn open(folder: &Path) -> Result<Self, TlsError> {
        let authority = Self { folder: folder.to_owned() };
        if !authority.at(CA_FILE).exists() {
            return Err(TlsError::new(format!(
                "{} has no CA: `mr-coordinator certs init` makes one, and `--dir` says where another is",
                folder.display()
            )));
        }
        Ok(authority)
    }

    /// Makes a certificate, in a folder of its name.
    ///
    /// # Errors
    /// When there is one of that name, or the folder can't be written.
    pub fn issue(&self, peer: &Peer, days: u32) -> Result<Issued, TlsError> {
        let folder = self.at(&peer.name);
        if folder.join(CERT_FILE).exists() {
            return Err(TlsError::new(format!(
                "{} is there already: choose another `--name`, or `certs rotate` to renew all",
                folder.display()
            )));
        }
        make_folder(&folder)?;
        self.give(peer, days, &self.signer()?.1)
    }

    /// New certificates and keys for all that were issued; each is good for as long as the one that it replaces was, or for
    /// so many days.
    ///
    /// # Errors
    /// When what is there can't be read, or the folder not be written.
    pub fn rotate(&self, days: Option<u32>) -> Result<Vec<Issued>, TlsError> {
        let signer = self.signer()?.1;
        self.issued()?.iter().map(|(peer, had)| self.give(peer, days.unwrap_or(*had), &signer)).collect()
    }

    /// Goes one step further in replacing the CA. One that was interrupted is taken again.
    ///
    /// # Errors
    /// When what is there can't be read, or the folder not be written.
    pub fn rotate_ca(&self, days: Option<u32>) -> Result<(CaStep, Vec<Issued>), TlsError> {
        let (signs, believed) = (self.signer()?.0, self.believed()?);
        if self.at(NEXT_CA_FILE).exists() {
            let next = self.read(NEXT_CA_FILE)?;
            if !believed.contains(&next) {
                return self.announce(&signs, &next);
            }
            if signs != next {
                let key = self.read(NEXT_KEY_FILE)?;
                self.write(CA_KEY_FILE, &key, Access::Owner)?;
            }
            let issued = self.rotate(days)?;
            // What says how far it is goes last.
            self.remove(NEXT_KEY_FILE)?;
            self.remove(NEXT_CA_FILE)?;
            return Ok((CaStep::Signs, issued));
        }
        if believed.len() > 1 {
            self.believe(&signs)?;
            return Ok((CaStep::Alone, self.all_issued()?));
        }
        let (certificate, key) = new_ca()?;
        self.write(NEXT_KEY_FILE, &key.serialize_pem(), Access::Owner)?;
        self.write(NEXT_CA_FILE, &certificate.pem(), Access::All)?;
        self.announce(&signs, &self.read(NEXT_CA_FILE)?)
    }

    fn announce(&self, signs: &str, next: &str) -> Result<(CaStep, Vec<Issued>), TlsError> {
        self.believe(&format!("{signs}{next}"))?;
        Ok((CaStep::Announced, self.all_issued()?))
    }

    /// The certificate that signs, and what it signs with.
    fn signer(&self) -> Result<(String, Signer), TlsError> {
        let key = KeyPair::from_pem(&self.read(CA_KEY_FILE)?).map_err(|error| self.odd(CA_KEY_FILE, &error))?;
        let of_key = key.subject_public_key_info();
        for pem in self.believed()? {
            let der = CertificateDer::from_pem_slice(pem.as_bytes()).map_err(|error| self.odd(CA_FILE, &error))?;
            if peer::public_key(&der)? == of_key {
                let signer = Issuer::from_ca_cert_pem(&pem, key).map_err(|error| self.odd(CA_FILE, &error))?;
                return Ok((pem, signer));
            }
        }
        Err(self.odd(CA_KEY_FILE, &"it is the key of none of the certificates in ca.pem"))
    }

    /// The CA's certificates, as PEM, one by one.
    fn believed(&self) -> Result<Vec<String>, TlsError> {
        const END: &str = "-----END CERTIFICATE-----\n";
        let text = self.read(CA_FILE)?.replace("\r\n", "\n");
        let all: Vec<String> =
            text.split_inclusive(END).filter(|part| part.ends_with(END)).map(str::to_owned).collect();
        if all.is_empty() { Err(self.odd(CA_FILE, &"there is no certificate in it")) } else { Ok(all) }
    }

    /// Has all who were issued a certificate believe those. When `ca.pem` says so, all do.
    fn believe(&self, pem: &str) -> Result<(), TlsError> {
        for (peer, _) in self.issued()? {
            self.write(&format!("{}/{CA_FILE}", peer.name), pem, Access::All)?;
        }
        self.write(CA_FILE, pem, Access::All)
    }

    /// Who has a certificate of it, and for how many days.
    fn issued(&self) -> Result<Vec<(Peer, u32)>, TlsError> {
        let entries = fs::read_dir(&self.folder).map_err(|error| self.odd("", &error))?;
        let mut peers = Vec::new();
        for entry in entries {
            let name = entry.map_err(|error| self.odd("", &error))?.file_name();
            let path = self.folder.join(&name).join(CERT_FILE);
            let odd = |why: &dyn std::fmt::Display| TlsError::new(format!("{}: {why}", path.display()));
            let pem = match fs::read(&path) {
                Ok(pem) => pem,
                Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => continue,
                // Left out, it would end without a word.
                Err(error) => return Err(odd(&error)),
            };
            let der = CertificateDer::from_pem_slice(&pem).map_err(|error| odd(&error))?;
            let (peer, good) = peer::read(&der).map_err(|why| odd(&why))?;
            if name != peer.name.as_str() {
                return Err(odd(&format!("it is of {peer}, and its folder has to be called as it is")));
            }
            let had = good.end.duration_since(good.start).unwrap_or_default().saturating_sub(BEFORE);
            peers.push((peer, u32::try_from(had.as_secs() / DAY.as_secs()).unwrap_or(u32::MAX).max(1)));
        }
        if peers.is_empty() {
            return Err(self.odd("", &"no certificate was issued here: `certs issue` makes one"));
        }
        peers.sort_by(|(a, _), (b, _)| a.name.cmp(&b.name));
        Ok(peers)
    }

    fn all_issued(&self) -> Result<Vec<Issued>, TlsError> {
        let all = self.issued()?.into_iter();
        Ok(all.map(|(peer, _)| Issued { folder: self.at(&peer.name), peer }).collect())
    }

    fn give(&self, peer: &Peer, days: u32, signer: &Signer) -> Result<Issued, TlsError> {
        let failed = |error: rcgen::Error| TlsError::new(format!("making a certificate: {error}"));
        let key = KeyPair::generate().map_err(failed)?;
        let certificate = leaf(peer, days).map_err(failed)?.signed_by(&key, signer).map_err(failed)?;
        let at = |file: &str| format!("{}/{file}", peer.name);
        self.write(&at(CA_FILE), &self.read(CA_FILE)?, Access::All)?;
        // Whoever reads in between sees a key of another certificate, and goes on with what it has.
        self.write(&at(KEY_FILE), &key.serialize_pem(), Access::Owner)?;
        self.write(&at(CERT_FILE), &certificate.pem(), Access::All)?;
        Ok(Issued { folder: self.at(&peer.name), peer: peer.clone() })
    }

    fn at(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    fn odd(&self, name: &str, why: &impl std::fmt::Display) -> TlsError {
        TlsError::new(format!("{}: {why}", self.at(name).display()))
    }

    fn read(&self, name: &str) -> Result<String, TlsError> {
        fs::read_to_string(self.at(name)).map_err(|error| self.odd(name, &error))
    }

    fn remove(&self, name: &str) -> Result<(), TlsError> {
        match fs::remove_file(self.at(name)) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(self.odd(name, &error)),
            _ => Ok(()),
        }
    }

    /// All of it or nothing, and never readable by others for a moment.
    fn write(&self, name: &str, text: &str, access: Access) -> Result<(), TlsError> {
        let path = self.at(name);
        let part = path.with_extension("part");
        let mode = match access {
            Access::All => 0o644,
            Access::Owner => 0o600,
        };
        let written = || {
            _ = fs::remove_file(&part);
            let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&part)?;
            file.write_all(text.as_bytes())?;
            file.sync_all()?;
            fs::rename(&part, &path)
        };
        written().map_err(|error| self.odd(name, &error))
    }
}

enum Access {
    All,
    Owner,
}

fn make_folder(folder: &Path) -> Result<(), TlsError> {
    let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(folder);
    made.map_err(|error| TlsError::new(format!("{}: {error}", folder.display())))
}

fn valid(params: &mut CertificateParams, days: u32) {
    let now = OffsetDateTime::now_utc();
    params.not_before = now - BEFORE;
    params.not_after = now + DAY * days;
}

fn new_ca() -> Result<(Certificate, KeyPair), TlsError> {
    let make = || {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        // Two that follow on each other need names that differ.
        let made = OffsetDateTime::now_utc().unix_timestamp_nanos();
        params.distinguished_name.push(DnType::CommonName, format!("mr CA {made}"));
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        valid(&mut params, CA_DAYS);
        Ok((params.self_signed(&key)?, key))
    };
    make().map_err(|error: rcgen::Error| TlsError::new(format!("making a CA: {error}")))
}

fn leaf(peer: &Peer, days: u32) -> Result<CertificateParams, rcgen::Error> {
    // Only a coordinator's is good for a server, and it is good for nothing else.
    let (names, purpose) = match peer.role {
        Role::Coordinator => (vec![COORDINATOR_NAME.to_owned()], ExtendedKeyUsagePurpose::ServerAuth),
        Role::Worker | Role::Submitter => (Vec::new(), ExtendedKeyUsagePurpose::ClientAuth),
    };
    let mut params = CertificateParams::new(names)?;
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, peer.to_string());
    params.subject_alt_names.push(SanType::URI(peer.uri().try_into()?));
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![purpose];
    params.use_authority_key_identifier_extension = true;
    valid(&mut params, days);
    Ok(params)
}
