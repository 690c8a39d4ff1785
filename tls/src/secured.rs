//! Connections on which both sides have shown their certificates. TLS 1.3 alone, HTTP/2 within, nothing before the
//! handshake is done.

use crate::TlsError;
use crate::fresh::Fresh;
use crate::identity::Identity;
use crate::peer::{self, Peer, Role};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::ServerName;
use rustls::server::WebPkiClientVerifier;
use rustls::{AlertDescription, CertificateError, ClientConfig, Error, ServerConfig};
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio_rustls::{TlsAcceptor, TlsConnector};

pub type TlsServer<IO> = tokio_rustls::server::TlsStream<IO>;
pub type TlsClient<IO> = tokio_rustls::client::TlsStream<IO>;

/// What coordinators are called in their certificates, wherever they are.
pub(crate) const COORDINATOR_NAME: &str = "coordinator.mr.internal";
const PROTOCOL: &[u8] = b"h2";

fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}

/// A coordinator's side. Files that change are used for connections from then on.
pub struct Acceptor(Fresh<ServerConfig>);

impl Acceptor {
    /// # Errors
    /// When that is no folder of a coordinator's certificates.
    pub fn open(folder: &Path) -> Result<Self, TlsError> {
        Fresh::new(folder, Role::Coordinator, server_config).map(Self)
    }

    /// When the certificate in use ends.
    pub fn until(&self) -> SystemTime {
        self.0.until()
    }

    /// Who called, once it has shown that.
    ///
    /// # Errors
    /// When it could not, or the connection broke.
    pub async fn accept<IO>(&self, io: IO) -> io::Result<(Peer, TlsServer<IO>)>
    where
        IO: AsyncRead + AsyncWrite + Unpin,
    {
        let stream = TlsAcceptor::from(self.0.get()).accept(io).await.map_err(|error| told(&error, Side::Server))?;
        let peer = whose(stream.get_ref().1.peer_certificates())?;
        Ok((peer, stream))
    }
}

/// A worker's or submitter's side. Files that change are used for connections from then on.
pub struct Connector(Fresh<ClientConfig>);

impl Connector {
    /// # Errors
    /// When that is no folder of certificates for that role.
    pub fn open(folder: &Path, role: Role) -> Result<Self, TlsError> {
        Fresh::new(folder, role, client_config).map(Self)
    }

    /// When the certificate in use ends.
    pub fn until(&self) -> SystemTime {
        self.0.until()
    }

    /// Both sides believe each other when this is done: the coordinator has said its first word.
    ///
    /// # Errors
    /// When one of them does not, or the connection broke.
    pub async fn connect<IO>(&self, io: IO) -> io::Result<TlsClient<IO>>
    where
        IO: AsyncRead + AsyncWrite + Unpin,
    {
        let name = ServerName::try_from(COORDINATOR_NAME).expect("it is a DNS name");
        let stream = TlsConnector::from(self.0.get()).connect(name, io).await;
        let mut stream = stream.map_err(|error| told(&error, Side::Client))?;
        let peer = whose(stream.get_ref().1.peer_certificates())?;
        if peer.role != Role::Coordinator {
            return Err(io::Error::other(format!("{peer} answers, and that is no coordinator")));
        }
        // In TLS 1.3 a client has done its part before the server has looked at it. A server of HTTP/2 speaks first.
        if stream.fill_buf().await.map_err(|error| told(&error, Side::Client))?.is_empty() {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "it hung up on this certificate"));
        }
        Ok(stream)
    }
}

/// Whether the two would let each other in: tried in memory.
///
/// # Errors
/// Why they would not, as the connecting side would be told.
pub async fn try_out(acceptor: &Acceptor, connector: &Connector) -> io::Result<()> {
    let (near, far) = tokio::io::duplex(1 << 16);
    let server = async {
        let (_, mut stream) = acceptor.accept(far).await?;
        // As a server of HTTP/2 does.
        stream.write_all(b" ").await?;
        stream.flush().await
    };
    let (_, client) = tokio::join!(server, connector.connect(near));
    client.map(drop)
}

fn whose(chain: Option<&[rustls::pki_types::CertificateDer<'_>]>) -> io::Result<Peer> {
    let first = chain.and_then(<[_]>::first).ok_or_else(|| io::Error::other("it shows no certificate"))?;
    let (peer, _) = peer::read(first).map_err(io::Error::other)?;
    Ok(peer)
}

fn broken(error: impl std::fmt::Display) -> TlsError {
    TlsError::new(format!("these certificates can't be used: {error}"))
}

fn unfit(error: Error) -> TlsError {
    match error {
        Error::InconsistentKeys(_) => broken("key.pem is not the key of cert.pem"),
        other => broken(other),
    }
}

fn server_config(identity: Identity) -> Result<ServerConfig, TlsError> {
    let Identity { roots, chain, key, .. } = identity;
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider()).build().map_err(broken)?;
    let config = ServerConfig::builder_with_provider(provider()).with_protocol_versions(&[&rustls::version::TLS13]);
    let config = config.map_err(broken)?.with_client_cert_verifier(verifier).with_single_cert(chain, key);
    let mut config = config.map_err(unfit)?;
    config.alpn_protocols = vec![PROTOCOL.to_vec()];
    // Who comes again shows its certificate again, since that may have ended or the CA be another. Nothing is accepted
    // before the handshake is done, so that nothing that was heard on the line can be said once more.
    config.send_tls13_tickets = 0;
    config.max_early_data_size = 0;
    Ok(config)
}

fn client_config(identity: Identity) -> Result<ClientConfig, TlsError> {
    let Identity { roots, chain, key, .. } = identity;
    let config = ClientConfig::builder_with_provider(provider()).with_protocol_versions(&[&rustls::version::TLS13]);
    let config = config.map_err(broken)?.with_root_certificates(roots).with_client_auth_cert(chain, key);
    let mut config = config.map_err(unfit)?;
    config.alpn_protocols = vec![PROTOCOL.to_vec()];
    config.resumption = rustls::client::Resumption::disabled();
    config.enable_early_data = false;
    Ok(config)
}

#[derive(Clone, Copy)]
enum Side {
    Server,
    Client,
}

/// The same error in words that say what to do.
fn told(error: &io::Error, side: Side) -> io::Error {
    let Some(tls) = error.get_ref().and_then(|source| source.downcast_ref::<Error>()) else {
        let why = match error.kind() {
            io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => {
                "it hung up before both had shown their certificates".to_owned()
            }
            _ => error.to_string(),
        };
        return io::Error::new(error.kind(), why);
    };
    let why = match (tls, side) {
        (Error::InvalidCertificate(why), _) => {
            let of = match side {
                Side::Server => "its certificate",
                Side::Client => "the coordinator's certificate",
            };
            match why {
                CertificateError::Expired | CertificateError::ExpiredContext { .. } => format!("{of} has ended"),
                CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                    format!("{of} is not good yet; are the clocks right?")
                }
                CertificateError::UnknownIssuer => format!("{of} is of another CA"),
                CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
                    format!("{of} is another role's")
                }
                why => format!("{of} is not good ({why})"),
            }
        }
        (Error::NoCertificatesPresented, _) => "it shows no certificate".to_owned(),
        (Error::AlertReceived(alert), Side::Client) => match alert {
            AlertDescription::CertificateExpired => "it does not accept this certificate, which has ended".to_owned(),
            AlertDescription::UnknownCA => "it does not accept this certificate, which is of another CA".to_owned(),
            alert => format!("it does not accept this certificate ({alert:?})"),
        },
        (Error::AlertReceived(alert), Side::Server) => {
            format!("it does not accept this coordinator's certificate ({alert:?})")
        }
        (Error::InvalidMessage(_), Side::Client) => "it speaks no TLS; is it http:// there?".to_owned(),
        (Error::InvalidMessage(_), Side::Server) => "it speaks no TLS".to_owned(),
        (other, _) => other.to_string(),
    };
    io::Error::new(error.kind(), why)
}
