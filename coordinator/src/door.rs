//! Connections before anybody on them is served: who they are is found out within a time, and there are never more of
//! them than the process can bear.
//!
//! A caller that says nothing costs a place for ten seconds and no more. When places run out, the longest silent of the address
//! that most of them come from is sent away: those who have something to say take milliseconds.

use futures::Stream;
use mr_metrics::{Crowd, Page};
use mr_tls::{Acceptor, Peer, Role, TlsServer};
use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant, SystemTime};
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::server::Connected;
use tonic::{Request, Status};

/// What a caller has to have shown who it is by.
const GREETING_MAX: Duration = Duration::from_secs(10);
/// That are being greeted at the same time.
const STRANGERS_MAX: usize = 1024;
/// One for each worker and submitter; a fleet of thousands is possible.
const CONNECTIONS_MAX: usize = 8192;
/// Without a file descriptor left.
const BREATH: Duration = Duration::from_millis(50);
/// What every client of HTTP/2 says first, RFC 9113, 3.4.
const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// A handshake of TLS begins with this.
const TLS_HANDSHAKE: u8 = 0x16;
/// The same again.
const COMPLAIN_EVERY: Duration = Duration::from_secs(10);
const REASONS_MAX: usize = 32;

/// Who is at the other end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Caller {
    /// On a line without certificates anyone may do anything: this process itself, this machine, or `--insecure`.
    Anyone,
    Known(Peer),
}

/// A connection whose caller is known.
pub struct Connection {
    line: Line,
    caller: Caller,
    _place: Option<Place>,
}

enum Line {
    Inside(DuplexStream),
    Plain(TcpStream),
    Secured(Box<TlsServer<TcpStream>>),
}

impl Connection {
    /// From this process.
    pub fn inside(stream: DuplexStream) -> Self {
        Self { line: Line::Inside(stream), caller: Caller::Anyone, _place: None }
    }
}

/// How many there are and have been.
#[derive(Debug, Default)]
struct Counts {
    open: AtomicUsize,
    /// That did not show who they are, or not in time.
    strangers: AtomicU64,
    /// For which there was no place.
    crowded: AtomicU64,
}

/// Of one connection among those that may be open.
struct Place(Arc<Counts>);

impl Place {
    fn take(counts: &Arc<Counts>, places: usize) -> Option<Self> {
        let place = Self(counts.clone());
        // Dropped, it is given back.
        (counts.open.fetch_add(1, Ordering::Relaxed) < places).then_some(place)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Where callers come in. Clones are the same one.
#[derive(Clone)]
pub struct Door {
    tls: Option<Arc<Acceptor>>,
    patience: Duration,
    places: usize,
    counts: Arc<Counts>,
    complaints: Arc<Complaints>,
}

impl Door {
    /// Without `tls` callers are anyone.
    pub fn new(tls: Option<Acceptor>) -> Self {
        Self::with_patience(tls, GREETING_MAX)
    }

    /// One at which callers have so long to show who they are.
    pub fn with_patience(tls: Option<Acceptor>, patience: Duration) -> Self {
        let (counts, complaints) = Default::default();
        Self { tls: tls.map(Arc::new), patience, places: CONNECTIONS_MAX, counts, complaints }
    }

    /// The same with room for so many connections.
    pub fn with_places(self, places: usize) -> Self {
        Self { places, ..self }
    }

    /// When the certificate in use ends.
    pub fn until(&self) -> Option<SystemTime> {
        self.tls.as_ref().map(|tls| tls.until())
    }

    /// Those who call at that listener, once it is known who they are.
    pub fn open(&self, listener: TcpListener) -> impl Stream<Item = io::Result<Connection>> + use<> {
        let (known, connections) = mpsc::channel(64);
        tokio::spawn(self.clone().keep(listener, known));
        ReceiverStream::new(connections)
    }

    /// Who is there and who was sent away.
    pub fn metrics(&self, page: &mut Page) {
        let Counts { open, strangers, crowded } = &*self.counts;
        let open = open.load(Ordering::Relaxed) as f64;
        page.gauge("mr_connections", "Connections to this coordinator, those that are greeted included", &[], open);
        for (why, count) in [("stranger", strangers), ("crowd", crowded)] {
            let count = count.load(Ordering::Relaxed) as f64;
            page.counter("mr_connections_refused", "Callers that were sent away", &[("why", why)], count);
        }
        if let Some(until) = self.until() {
            let until = until.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs_f64();
            page.gauge("mr_certificate_ends_seconds", "When the certificate in use ends, in Unix time", &[], until);
        }
    }

    async fn keep(self, listener: TcpListener, known: mpsc::Sender<io::Result<Connection>>) {
        let mut greeting = JoinSet::new();
        // Nobody has shown yet who it is, so none is spared.
        let mut strangers = Crowd::of(STRANGERS_MAX);
        loop {
            tokio::select! {
                accepted = listener.accept() => match accepted {
                    Ok((stream, from)) => {
                        if let Some(away) = strangers.make_room() {
                            self.counts.crowded.fetch_add(1, Ordering::Relaxed);
                            self.complaints.tell(away, "so many call at once that the longest silent are sent away");
                        }
                        strangers.add(from.ip(), Arc::default(), greeting.spawn(self.clone().greet(stream, from)));
                    }
                    Err(error) => {
                        tracing::warn!("taking a connection: {error}");
                        tokio::time::sleep(BREATH).await;
                    }
                },
                Some(greeted) = greeting.join_next(), if !greeting.is_empty() => {
                    if let Ok(Some(connection)) = greeted && known.send(Ok(connection)).await.is_err() {
                        return;
                    }
                }
                () = known.closed() => return,
            }
        }
    }

    async fn greet(self, stream: TcpStream, from: SocketAddr) -> Option<Connection> {
        let Some(place) = Place::take(&self.counts, self.places) else {
            self.counts.crowded.fetch_add(1, Ordering::Relaxed);
            self.complaints.tell(from.ip(), "there are as many connections as there may be");
            return None;
        };
        _ = stream.set_nodelay(true);
        let greeted = tokio::time::timeout(self.patience, self.ask(stream)).await;
        match greeted {
            Ok(Ok(Some((line, caller)))) => Some(Connection { line, caller, _place: Some(place) }),
            // A balancer looks whether somebody is at home, every few seconds.
            Ok(Ok(None)) => None,
            other => {
                self.counts.strangers.fetch_add(1, Ordering::Relaxed);
                let why = match other {
                    Ok(Err(error)) => error.to_string(),
                    _ => "it has not shown who it is in time".to_owned(),
                };
                self.complaints.tell(from.ip(), &why);
                None
            }
        }
    }

    /// `None`: it has hung up without a word.
    async fn ask(&self, stream: TcpStream) -> io::Result<Option<(Line, Caller)>> {
        if stream.peek(&mut [0]).await? == 0 {
            return Ok(None);
        }
        match &self.tls {
            Some(tls) => {
                let (peer, stream) = tls.accept(stream).await?;
                Ok(Some((Line::Secured(Box::new(stream)), Caller::Known(peer))))
            }
            None => {
                speaks_http2(&stream).await?;
                Ok(Some((Line::Plain(stream), Caller::Anyone)))
            }
        }
    }
}

/// Waits until it has said as much as each client says unasked. Nothing of that is taken off the line.
async fn speaks_http2(stream: &TcpStream) -> io::Result<()> {
    let mut said = [0; PREFACE.len()];
    loop {
        let count = stream.peek(&mut said).await?;
        match &said[..count] {
            [] => return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "it hung up")),
            [TLS_HANDSHAKE, ..] => {
                return Err(io::Error::other("it speaks TLS, and this coordinator has no `--certs`"));
            }
            so_far if so_far == PREFACE => return Ok(()),
            so_far if !PREFACE.starts_with(so_far) => return Err(io::Error::other("it speaks no HTTP/2")),
            // A part is there, so the line is readable, and will say no sooner that there is more.
            _ => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    }
}

/// Says why somebody was sent away, but not for each of ten thousand.
#[derive(Default)]
struct Complaints(Mutex<HashMap<String, Told>>);

struct Told {
    last: Instant,
    untold: u64,
}

impl Complaints {
    fn tell(&self, from: IpAddr, why: &str) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // Callers have a hand in what is said of them.
        if all.len() >= REASONS_MAX && !all.contains_key(why) {
            all.retain(|_, told| told.last.elapsed() < COMPLAIN_EVERY);
        }
        let why = if all.len() >= REASONS_MAX && !all.contains_key(why) { "for many reasons" } else { why };
        if let Some(told) = all.get_mut(why).filter(|told| told.last.elapsed() < COMPLAIN_EVERY) {
            told.untold += 1;
            tracing::debug!("{from} is sent away: {why}");
            return;
        }
        match all.insert(why.to_owned(), Told { last: Instant::now(), untold: 0 }) {
            Some(Told { untold: before @ 1.., .. }) => {
                tracing::warn!("{from} is sent away, as were {before} before it: {why}");
            }
            Some(_) | None => tracing::warn!("{from} is sent away: {why}"),
        }
    }
}

/// Whether who calls is of that role. For an interceptor.
pub fn only(role: Role) -> impl Fn(Request<()>) -> Result<Request<()>, Status> + Clone {
    move |request| match request.extensions().get::<Caller>() {
        Some(Caller::Anyone) => Ok(request),
        Some(Caller::Known(peer)) if peer.role == role => Ok(request),
        Some(Caller::Known(peer)) => Err(Status::permission_denied(format!(
            "this is for {role}s, and the certificate that was shown is of {peer}: `mr-coordinator certs issue {role} --name NAME` makes one"
        ))),
        None => Err(Status::permission_denied("it is not known who calls")),
    }
}

impl Connected for Connection {
    type ConnectInfo = Caller;

    fn connect_info(&self) -> Caller {
        self.caller.clone()
    }
}

impl AsyncRead for Connection {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().line {
            Line::Inside(line) => Pin::new(line).poll_read(cx, buf),
            Line::Plain(line) => Pin::new(line).poll_read(cx, buf),
            Line::Secured(line) => Pin::new(line).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Connection {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match &mut self.get_mut().line {
            Line::Inside(line) => Pin::new(line).poll_write(cx, buf),
            Line::Plain(line) => Pin::new(line).poll_write(cx, buf),
            Line::Secured(line) => Pin::new(line).poll_write(cx, buf),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match &mut self.get_mut().line {
            Line::Inside(line) => Pin::new(line).poll_write_vectored(cx, bufs),
            Line::Plain(line) => Pin::new(line).poll_write_vectored(cx, bufs),
            Line::Secured(line) => Pin::new(line).poll_write_vectored(cx, bufs),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match &self.line {
            Line::Inside(line) => line.is_write_vectored(),
            Line::Plain(line) => line.is_write_vectored(),
            Line::Secured(line) => line.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().line {
            Line::Inside(line) => Pin::new(line).poll_flush(cx),
            Line::Plain(line) => Pin::new(line).poll_flush(cx),
            Line::Secured(line) => Pin::new(line).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().line {
            Line::Inside(line) => Pin::new(line).poll_shutdown(cx),
            Line::Plain(line) => Pin::new(line).poll_shutdown(cx),
            Line::Secured(line) => Pin::new(line).poll_shutdown(cx),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn callers_do_not_fill_the_log_with_reasons() {
        let complaints = Complaints::default();
        for why in 0..1000 {
            complaints.tell(IpAddr::from([10, 0, 0, 1]), &why.to_string());
        }
        let all = complaints.0.lock().unwrap();
        assert!(all.len() <= REASONS_MAX + 1);
        assert_eq!(all["for many reasons"].untold, 1000 - REASONS_MAX as u64 - 1);
    }
}
