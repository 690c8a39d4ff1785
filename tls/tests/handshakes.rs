//! Who is let in and who is not, and what each side is told.

use mr_tls::{Acceptor, Authority, CA_FILE, CaStep, Connector, Identity, Peer, Role};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

struct Certs {
    _scratch: TempDir,
    folder: PathBuf,
    authority: Authority,
}

impl Certs {
    fn new() -> Self {
        Self::good_for(30)
    }

    fn good_for(days: u32) -> Self {
        let scratch = tempfile::tempdir().unwrap();
        let folder = scratch.path().join("certs");
        let (authority, _) = Authority::init(&folder, days).unwrap();
        Self { _scratch: scratch, folder, authority }
    }

    fn of(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    fn acceptor(&self) -> Acceptor {
        Acceptor::open(&self.of("coordinator")).unwrap()
    }

    fn connector(&self, role: Role) -> Connector {
        Connector::open(&self.of(role.name()), role).unwrap()
    }
}

/// What the server and the client make of each other. A server of HTTP/2 speaks first.
async fn meet(acceptor: &Acceptor, connector: &Connector) -> (io::Result<Peer>, io::Result<String>) {
    let (near, far) = duplex(1 << 16);
    let server = async {
        let (peer, mut stream) = acceptor.accept(far).await?;
        stream.write_all(b"hello").await?;
        stream.shutdown().await?;
        Ok(peer)
    };
    let client = async {
        let mut stream = connector.connect(near).await?;
        let mut heard = String::new();
        stream.read_to_string(&mut heard).await?;
        Ok(heard)
    };
    tokio::join!(server, client)
}

fn copy(from: &Path, to: &Path, file: &str) {
    fs::copy(from.join(file), to.join(file)).unwrap();
}

#[tokio::test]
async fn workers_and_submitters_are_known_by_role_and_name() {
    let certs = Certs::new();
    certs.authority.issue(&Peer::new(Role::Submitter, "alice").unwrap(), 30).unwrap();
    let alice = Connector::open(&certs.of("alice"), Role::Submitter).unwrap();
    for (connector, role, name) in [
        (certs.connector(Role::Worker), Role::Worker, "worker"),
        (certs.connector(Role::Submitter), Role::Submitter, "submitter"),
        (alice, Role::Submitter, "alice"),
    ] {
        let (peer, heard) = meet(&certs.acceptor(), &connector).await;
        assert_eq!((peer.unwrap(), heard.unwrap().as_str()), (Peer::new(role, name).unwrap(), "hello"));
    }
}

#[tokio::test]
async fn those_of_another_ca_believe_nobody_here_and_are_not_believed() {
    let (here, there) = (Certs::new(), Certs::new());
    let (peer, heard) = meet(&here.acceptor(), &there.connector(Role::Worker)).await;
    assert_eq!(heard.unwrap_err().to_string(), "the coordinator's certificate is of another CA");
    assert!(peer.unwrap_err().to_string().contains("does not accept this coordinator's certificate"));
    // One who believes the coordinator, but shows what somebody else has signed.
    copy(&here.of("worker"), &there.of("worker"), CA_FILE);
    let (peer, heard) = meet(&here.acceptor(), &there.connector(Role::Worker)).await;
    assert_eq!(peer.unwrap_err().to_string(), "its certificate is of another CA");
    let heard = heard.unwrap_err().to_string();
    assert!(heard.contains("does not accept this certificate"), "{heard}");
}

#[tokio::test]
async fn nobody_passes_for_a_coordinator() {
    let certs = Certs::new();
    for role in [Role::Worker, Role::Submitter] {
        let error = Acceptor::open(&certs.of(role.name())).err().unwrap().to_string();
        assert!(error.contains("a coordinator's is needed here"), "{error}");
    }
    // Whoever writes a server of their own is found out by what the certificate is good for.
    let error = Connector::open(&certs.of("coordinator"), Role::Worker).err().unwrap().to_string();
    assert!(error.contains("it is of coordinator `coordinator`, and a worker's is needed here"), "{error}");
}

#[tokio::test]
async fn a_certificate_that_has_ended_is_refused() {
    let certs = Certs::good_for(0);
    let error = Identity::read(&certs.of("worker"), Role::Worker).unwrap_err().to_string();
    assert!(error.contains("the certificate has ended") && error.contains("certs rotate"), "{error}");
}

#[tokio::test]
async fn nothing_but_tls_and_a_certificate_is_heard() {
    let certs = Certs::new();
    let accepted = |near: DuplexStream, far: DuplexStream, said: &'static [u8]| {
        let acceptor = certs.acceptor();
        async move {
            let mut near = near;
            near.write_all(said).await.unwrap();
            near.shutdown().await.unwrap();
            acceptor.accept(far).await.err().unwrap().to_string()
        }
    };
    let (near, far) = duplex(1 << 16);
    assert_eq!(accepted(near, far, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await, "it speaks no TLS");
    let (near, far) = duplex(1 << 16);
    assert_eq!(accepted(near, far, b"\x16\x03\x01").await, "it hung up before both had shown their certificates");
    // A client finds out in turn that nobody speaks TLS there.
    let (near, mut far) = duplex(1 << 16);
    let plain = async {
        far.write_all(b"\0\0\0\x04\0\0\0\0\0HTTP/2 settings").await.unwrap();
        far.flush().await.unwrap();
        far
    };
    let connector = certs.connector(Role::Worker);
    let (connected, _far) = tokio::join!(connector.connect(near), plain);
    assert_eq!(connected.err().unwrap().to_string(), "it speaks no TLS; is it http:// there?");
}

#[tokio::test]
async fn a_handshake_said_again_opens_nothing() {
    let certs = Certs::new();
    let acceptor = certs.acceptor();
    // All that a client says is written down.
    let (near, mut ear) = duplex(1 << 16);
    let (mut mouth, far) = duplex(1 << 16);
    let server = async {
        let (_, mut stream) = acceptor.accept(far).await.unwrap();
        stream.write_all(b"hello").await.unwrap();
        let mut said = [0; 4];
        stream.read_exact(&mut said).await.unwrap();
        assert_eq!(&said, b"work");
    };
    let connector = certs.connector(Role::Worker);
    let client = async {
        let mut stream = connector.connect(near).await.unwrap();
        stream.write_all(b"work").await.unwrap();
        stream.flush().await.unwrap();
        stream
    };
    let wire = async {
        let mut written = Vec::new();
        let (mut from_client, mut from_server) = ([0; 4096], [0; 4096]);
        loop {
            tokio::select! {
                read = ear.read(&mut from_client) => {
                    let read = read.unwrap();
                    written.extend_from_slice(&from_client[..read]);
                    mouth.write_all(&from_client[..read]).await.unwrap();
                }
                read = mouth.read(&mut from_server) => match read.unwrap() {
                    0 => break written,
                    read => ear.write_all(&from_server[..read]).await.unwrap(),
                },
            }
        }
    };
    let ((), _stream, written) = tokio::join!(server, client, wire);
    // The whole of it once more.
    let (mut near, far) = duplex(1 << 16);
    near.write_all(&written).await.unwrap();
    assert!(acceptor.accept(far).await.is_err());
}

#[tokio::test]
async fn new_certificates_are_used_without_a_restart_and_broken_ones_are_not() {
    let certs = Certs::new();
    let (acceptor, connector) = (certs.acceptor(), certs.connector(Role::Worker));
    let before = (acceptor.until(), fs::read(certs.of("worker/cert.pem")).unwrap());
    certs.authority.rotate(Some(300)).unwrap();
    assert_ne!(fs::read(certs.of("worker/cert.pem")).unwrap(), before.1);
    meet(&acceptor, &connector).await.1.unwrap();
    assert!(acceptor.until() > before.0);
    // The next is good for as long as the last, if nobody says otherwise.
    let left = |acceptor: &Acceptor| acceptor.until().duration_since(SystemTime::now()).unwrap().as_secs();
    certs.authority.rotate(None).unwrap();
    meet(&acceptor, &connector).await.1.unwrap();
    assert!((299 * 86_400..=300 * 86_400).contains(&left(&acceptor)), "{} s", left(&acceptor));
    // A key of another certificate, as one sees it who reads in the middle of a rotation.
    let kept = acceptor.until();
    copy(&certs.of("submitter"), &certs.of("coordinator"), "key.pem");
    meet(&acceptor, &connector).await.1.unwrap();
    fs::remove_file(certs.of("coordinator/cert.pem")).unwrap();
    meet(&acceptor, &connector).await.1.unwrap();
    assert_eq!(acceptor.until(), kept);
}

#[tokio::test]
async fn a_ca_is_replaced_in_three_steps_between_any_two_of_which_all_believe_each_other() {
    let certs = Certs::new();
    // Those that hold files of a step and those that hold files of the next.
    let held = tempfile::tempdir().unwrap();
    let hold = |step: &str, name: &str| {
        let folder = held.path().join(step).join(name);
        fs::create_dir_all(&folder).unwrap();
        ["ca.pem", "cert.pem", "key.pem"].iter().for_each(|file| copy(&certs.of(name), &folder, file));
        folder
    };
    let hold_all = |step: &str| (hold(step, "coordinator"), hold(step, "worker"));
    let mut steps = vec![hold_all("0")];
    for (at, expected) in [CaStep::Announced, CaStep::Signs, CaStep::Alone].into_iter().enumerate() {
        let (step, issued) = certs.authority.rotate_ca(Some(30)).unwrap();
        assert_eq!((step, issued.len()), (expected, 3));
        steps.push(hold_all(&(at + 1).to_string()));
    }
    let meets = |(coordinator, _): &(PathBuf, PathBuf), (_, worker): &(PathBuf, PathBuf)| {
        (Acceptor::open(coordinator).unwrap(), Connector::open(worker, Role::Worker).unwrap())
    };
    for pair in steps.windows(2) {
        for (one, other) in [(&pair[0], &pair[1]), (&pair[1], &pair[0]), (&pair[1], &pair[1])] {
            let (acceptor, connector) = meets(one, other);
            assert_eq!(meet(&acceptor, &connector).await.1.unwrap(), "hello");
        }
    }
    // Those that run take up what they are given, one side after the other.
    let (server, client) = (held.path().join("server"), held.path().join("client"));
    let given = |folder: &Path, from: &Path| {
        fs::create_dir_all(folder).unwrap();
        ["ca.pem", "key.pem", "cert.pem"].iter().for_each(|file| copy(from, folder, file));
    };
    given(&server, &steps[0].0);
    given(&client, &steps[0].1);
    let (acceptor, connector) = (Acceptor::open(&server).unwrap(), Connector::open(&client, Role::Worker).unwrap());
    for (coordinator, worker) in &steps[1..] {
        given(&server, coordinator);
        assert_eq!(meet(&acceptor, &connector).await.1.unwrap(), "hello");
        given(&client, worker);
        assert_eq!(meet(&acceptor, &connector).await.1.unwrap(), "hello");
    }
    // And whoever was left behind is not let in.
    let (acceptor, connector) = meets(&steps[3], &steps[0]);
    assert!(meet(&acceptor, &connector).await.0.is_err());
    // Then it can be done anew.
    assert_eq!(certs.authority.rotate_ca(Some(30)).unwrap().0, CaStep::Announced);
}

/// All files under that folder.
fn snapshot(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => files.extend(snapshot(&path)),
            false => files.push((path.clone(), fs::read(&path).unwrap())),
        }
    }
    files.sort();
    files
}

#[test]
fn a_step_that_was_interrupted_is_taken_again() {
    let certs = Certs::new();
    let next = |name: &str| certs.of(name);
    let cas = |name: &str| fs::read_to_string(certs.of(name)).unwrap().matches("BEGIN").count();
    // What `rotate_ca` writes last in step one is who is believed; without it, it was not announced.
    let before = fs::read(certs.of("ca.pem")).unwrap();
    assert_eq!(certs.authority.rotate_ca(Some(30)).unwrap().0, CaStep::Announced);
    let announced = snapshot(&certs.folder);
    fs::write(certs.of("ca.pem"), &before).unwrap();
    assert_eq!(certs.authority.rotate_ca(Some(30)).unwrap().0, CaStep::Announced);
    assert_eq!(snapshot(&certs.folder), announced, "the same CA is announced again");
    // A key alone was never shown to anyone.
    let (key, ca) = (fs::read(next("next-ca-key.pem")).unwrap(), fs::read(next("next-ca.pem")).unwrap());
    // Step two, interrupted after its key was taken over, and again when its files are half gone.
    assert_eq!(certs.authority.rotate_ca(Some(30)).unwrap().0, CaStep::Signs);
    for (with_key, again) in [(true, CaStep::Signs), (false, CaStep::Signs)] {
        if with_key {
            fs::write(next("next-ca-key.pem"), &key).unwrap();
        }
        fs::write(next("next-ca.pem"), &ca).unwrap();
        assert_eq!(certs.authority.rotate_ca(Some(30)).unwrap().0, again);
        assert_eq!((cas("ca.pem"), cas("worker/ca.pem")), (2, 2), "the old one is still believed");
    }
    assert_eq!(certs.authority.rotate_ca(Some(30)).unwrap().0, CaStep::Alone);
    assert_eq!((cas("ca.pem"), cas("worker/ca.pem")), (1, 1));
    assert_eq!(fs::read(certs.of("ca.pem")).unwrap(), ca, "the new one is left");
}

#[test]
fn what_can_not_be_renewed_is_told() {
    let certs = Certs::new();
    fs::rename(certs.of("worker"), certs.of("renamed")).unwrap();
    let told = certs.authority.rotate(None).unwrap_err().to_string();
    assert!(told.contains("renamed/cert.pem: it is of worker `worker`"), "{told}");
    for name in ["renamed", "coordinator", "submitter"] {
        fs::remove_dir_all(certs.of(name)).unwrap();
    }
    let told = certs.authority.rotate(None).unwrap_err().to_string();
    assert!(told.contains("no certificate was issued here"), "{told}");
    // A CA whose making was interrupted is made again, and a certificate too.
    fs::remove_file(certs.of("ca.pem")).unwrap();
    fs::create_dir(certs.of("worker")).unwrap();
    assert_eq!(Authority::init(&certs.folder, 30).unwrap().1.len(), 3);
}

#[test]
fn keys_are_the_owners_alone() {
    use std::os::unix::fs::MetadataExt;
    let certs = Certs::new();
    for key in ["ca-key.pem", "coordinator/key.pem", "worker/key.pem", "submitter/key.pem"] {
        assert_eq!(fs::metadata(certs.of(key)).unwrap().mode() & 0o777, 0o600, "{key}");
    }
    for taken in [Authority::init(&certs.folder, 30).err(), certs.authority.issue(&worker("worker"), 30).err()] {
        assert!(taken.unwrap().to_string().contains("already"));
    }
    let identity = Identity::read(&certs.of("worker"), Role::Worker).unwrap();
    assert!(!format!("{identity:?}").contains("PRIVATE"));
}

fn worker(name: &str) -> Peer {
    Peer::new(Role::Worker, name).unwrap()
}

#[test]
fn a_folder_that_lacks_something_is_told_apart() {
    let certs = Certs::new();
    let error = || Identity::read(&certs.of("worker"), Role::Worker).unwrap_err().to_string();
    fs::write(certs.of("worker/key.pem"), "no key").unwrap();
    assert!(error().contains("worker/key.pem"), "{}", error());
    fs::write(certs.of("worker/cert.pem"), "no certificate").unwrap();
    assert!(error().contains("worker/cert.pem: there is no certificate in it"), "{}", error());
    fs::remove_file(certs.of("worker/ca.pem")).unwrap();
    assert!(error().contains("worker/ca.pem") && error().contains("certs` makes them"), "{}", error());
}

/// Configurations of somebody who checks nothing before calling.
mod bold {
    use rustls::crypto::aws_lc_rs::default_provider;
    use rustls::pki_types::pem::PemObject;
    use rustls::pki_types::{CertificateDer, PrivateKeyDer};
    use rustls::{ClientConfig, RootCertStore, ServerConfig};
    use std::path::Path;
    use std::sync::Arc;

    type Shown = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

    fn shown(folder: &Path) -> Shown {
        let certificate = CertificateDer::from_pem_file(folder.join("cert.pem")).unwrap();
        (vec![certificate], PrivateKeyDer::from_pem_file(folder.join("key.pem")).unwrap())
    }

    pub fn client(folder: &Path) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(folder.join("ca.pem")).unwrap()).unwrap();
        let (chain, key) = shown(folder);
        let config =
            ClientConfig::builder_with_provider(default_provider().into()).with_safe_default_protocol_versions();
        Arc::new(config.unwrap().with_root_certificates(roots).with_client_auth_cert(chain, key).unwrap())
    }

    pub fn nameless_client(folder: &Path) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(folder.join("ca.pem")).unwrap()).unwrap();
        let config =
            ClientConfig::builder_with_provider(default_provider().into()).with_safe_default_protocol_versions();
        Arc::new(config.unwrap().with_root_certificates(roots).with_no_client_auth())
    }

    pub fn server(folder: &Path) -> Arc<ServerConfig> {
        let (chain, key) = shown(folder);
        let config =
            ServerConfig::builder_with_provider(default_provider().into()).with_safe_default_protocol_versions();
        Arc::new(config.unwrap().with_no_client_auth().with_single_cert(chain, key).unwrap())
    }
}

#[tokio::test]
async fn who_checks_nothing_before_calling_is_found_out_at_the_door() {
    let (certs, ended) = (Certs::new(), Certs::good_for(0));
    // The CA of the ended certificate is the one that is believed here.
    let believes = tempfile::tempdir().unwrap();
    let renewed = Peer::new(Role::Coordinator, "renewed").unwrap();
    ended.authority.issue(&renewed, 30).unwrap();
    ["ca.pem", "cert.pem", "key.pem"].iter().for_each(|file| copy(&ended.of("renewed"), believes.path(), file));
    let there = Acceptor::open(believes.path()).unwrap();
    let here = certs.acceptor();
    // A certificate is good for all of its last second.
    std::thread::sleep(std::time::Duration::from_millis(1100));
    for (acceptor, config, expected) in [
        (&there, bold::client(&ended.of("worker")), "its certificate has ended"),
        (&here, bold::client(&certs.of("coordinator")), "its certificate is another role's"),
        (&here, bold::nameless_client(&certs.of("worker")), "it shows no certificate"),
    ] {
        let (near, far) = duplex(1 << 16);
        let name = "coordinator.mr.internal".try_into().unwrap();
        let client = async { tokio_rustls::TlsConnector::from(config).connect(name, near).await };
        let (accepted, _client) = tokio::join!(acceptor.accept(far), client);
        assert_eq!(accepted.err().unwrap().to_string(), expected);
    }
}

#[tokio::test]
async fn a_worker_that_serves_in_a_coordinators_place_is_not_talked_to() {
    let certs = Certs::new();
    for role in [Role::Worker, Role::Submitter] {
        let (near, far) = duplex(1 << 16);
        let server = tokio_rustls::TlsAcceptor::from(bold::server(&certs.of(role.name())));
        let connector = certs.connector(Role::Submitter);
        let (connected, _server) = tokio::join!(connector.connect(near), server.accept(far));
        let told = connected.err().unwrap().to_string();
        assert!(told.contains("the coordinator's certificate is"), "{told}");
    }
}
