//! The way to a coordinator on another host, or to one of several: one is at work, and the others stand by.

use hyper_util::rt::TokioIo;
use mr_core::shown_url;
use mr_storage::story;
use mr_tls::Connector;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::net::TcpStream;
use tonic::Status;
use tonic::transport::{Channel, Endpoint, Uri};

/// How sure one wants to be of whom one speaks to.
#[derive(Clone, Default)]
pub struct Trust {
    /// What is shown to coordinators at `https://`.
    pub tls: Option<Arc<Connector>>,
    /// Whether plain text may leave this machine.
    pub insecure: bool,
}

/// Channels to all that may be at work, and which of them was when it was last asked.
#[derive(Clone, Debug)]
pub struct Coordinators {
    channels: Arc<[Channel]>,
    /// What they are called; none for those in the same process.
    names: Arc<[String]>,
    at: Arc<AtomicUsize>,
}

impl Coordinators {
    /// # Panics
    /// Without any channel.
    pub fn over(channels: Vec<Channel>) -> Self {
        assert!(!channels.is_empty(), "there is somebody to ask");
        Self { channels: channels.into(), names: Arc::default(), at: Arc::default() }
    }

    /// For people: "the coordinator at http://host:port".
    pub fn name(&self, at: usize) -> String {
        self.names.get(at).map_or("the coordinator".to_owned(), |url| format!("the coordinator at {url}"))
    }

    /// The one to be asked next, with its number.
    pub fn pick(&self) -> (usize, Channel) {
        let at = self.at.load(Ordering::Relaxed);
        (at, self.channels[at].clone())
    }

    /// That one did not answer, or stands by: the next is asked from now on, unless another caller has gone on already.
    pub fn turn(&self, at: usize) {
        let next = (at + 1) % self.channels.len();
        _ = self.at.compare_exchange(at, next, Ordering::Relaxed, Ordering::Relaxed);
    }

    pub fn count(&self) -> usize {
        self.channels.len()
    }
}

impl From<Channel> for Coordinators {
    fn from(channel: Channel) -> Self {
        Self::over(vec![channel])
    }
}

/// Connections that are made when they are first used, and again whenever they were lost. Several URLs are divided by
/// commas.
///
/// # Errors
/// A sentence, when one of them is none or can't be trusted so.
pub fn connect(urls: &str, trust: &Trust) -> Result<Coordinators, String> {
    let names: Vec<_> = urls.split(',').map(|url| url.trim().to_owned()).collect();
    let channels = names.iter().map(|url| one(url, trust)).collect::<Result<_, _>>()?;
    Ok(Coordinators { names: names.into(), ..Coordinators::over(channels) })
}

fn one(url: &str, trust: &Trust) -> Result<Channel, String> {
    let refuse = |why: &str| {
        let example = "write http://host:port or https://host:port, and commas between several";
        Err(format!("`{}` is no address of a coordinator: {why}; {example}", shown_url(url)))
    };
    let Some((scheme, rest)) = url.split_once("://") else { return refuse("it has no scheme") };
    if !matches!(scheme, "http" | "https") {
        return refuse("its scheme is neither http nor https");
    }
    if rest.contains('@') {
        return refuse("there is a user's name in it, which nobody asks for: a certificate says who calls");
    }
    if rest.trim_matches('/').contains('/') {
        return refuse("there is a path in it");
    }
    let endpoint = match Endpoint::from_shared(url.to_owned()) {
        Ok(endpoint) => endpoint,
        Err(error) => return refuse(&story(&error)),
    };
    if endpoint.uri().port().is_none() {
        return refuse("it names no port");
    }
    // A line that was cut says nothing, and after it has healed TCP tries again only as late as it has tried before: a new
    // connection is quicker. Silence and its proof together are well below a lease, so that none is lost over it.
    let patience = Duration::from_secs(5);
    let endpoint = endpoint
        .connect_timeout(patience)
        .http2_keep_alive_interval(patience)
        .keep_alive_timeout(patience)
        .keep_alive_while_idle(true)
        .tcp_nodelay(true);
    match (scheme, &trust.tls) {
        ("https", Some(tls)) => Ok(secured(&endpoint, tls.clone())),
        ("https", None) => Err(format!(
            "for {url} `--certs DIR` is needed, a folder with certificates as `mr-coordinator certs` makes them"
        )),
        _ if is_loopback(host(endpoint.uri())) => Ok(endpoint.connect_lazy()),
        _ if trust.insecure => {
            tracing::warn!("{url} is spoken to in plain text: whoever is on the way can read and change what is said");
            Ok(endpoint.connect_lazy())
        }
        _ => Err(format!(
            "{url} would be spoken to in plain text: use https:// with `--certs DIR`, or `--insecure` where nobody else is on the network"
        )),
    }
}

fn secured(endpoint: &Endpoint, tls: Arc<Connector>) -> Channel {
    endpoint.connect_with_connector_lazy(tower::service_fn(move |at: Uri| {
        let tls = tls.clone();
        async move {
            let stream = TcpStream::connect((host(&at), at.port_u16().unwrap_or_default())).await?;
            stream.set_nodelay(true)?;
            tls.connect(stream).await.map(TokioIo::new)
        }
    }))
}

/// Without the brackets of IPv6.
fn host(uri: &Uri) -> &str {
    uri.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']')
}

/// Names are not looked up: what they lead to can change.
fn is_loopback(host: &str) -> bool {
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// Why a call brought no answer, in few words.
pub fn reason(status: &Status) -> String {
    // What a coordinator says itself is said in full.
    let Some(source) = std::error::Error::source(status) else { return status.message().to_owned() };
    let whole = story(source);
    // The innermost cause is what a person can act on: "Connection refused", "dns error".
    let words = whole.rsplit(": ").next().unwrap_or(&whole).trim();
    let words = words.split(" (os error").next().unwrap_or(words);
    // What h2 makes of an alert of TLS's, or of one who hangs up on plain text.
    if words == "frame with invalid size" || words.ends_with("broken pipe") {
        return format!("{words}; is it https:// there, with `--certs`?");
    }
    let mut letters = words.chars();
    match letters.next() {
        Some(first) => first.to_lowercase().chain(letters).collect(),
        None => "it does not answer".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn those_that_do_not_answer_are_passed_over_once_however_many_callers_say_so() {
        let trust = Trust { insecure: true, ..Trust::default() };
        let coordinators = connect("http://a:1, http://b:2,http://c:3", &trust).unwrap();
        let at = |coordinators: &Coordinators| coordinators.pick().0;
        coordinators.turn(0);
        coordinators.turn(0);
        assert_eq!(at(&coordinators), 1);
        coordinators.turn(1);
        coordinators.turn(2);
        assert_eq!(at(&coordinators), 0);
        assert_eq!(coordinators.name(1), "the coordinator at http://b:2");
    }

    #[tokio::test]
    async fn an_address_that_cannot_be_or_would_be_in_plain_text_is_refused() {
        let told = |url: &str, insecure| connect(url, &Trust { tls: None, insecure }).err();
        for (url, expected) in [
            ("", "no scheme"),
            ("127.0.0.1:7171", "no scheme"),
            ("http://localhost:1,", "no scheme"),
            ("ftp://host:7171", "neither http nor https"),
            ("http://host", "names no port"),
            ("http://host:7171/x/y", "a path in it"),
            ("http://user:hunter2@host:7171", "`http://host:7171` is no address of a coordinator: there is a user"),
            ("http://127.0.0.1@a:1", "there is a user"),
            ("http://", "is no address"),
            ("http://a b:1", "is no address"),
            ("https://host:7171", "`--certs DIR` is needed"),
            ("https://127.0.0.1:7171", "`--certs DIR` is needed"),
        ] {
            for insecure in [false, true] {
                let told = told(url, insecure).unwrap_or_else(|| panic!("{url}"));
                assert!(told.contains(expected), "{url}: {told}");
            }
        }
        for here in ["http://127.0.0.1:1", "http://127.9.9.9:1", "http://localhost:1/", "http://[::1]:1"] {
            assert_eq!(told(here, false), None);
        }
        for there in ["http://10.0.0.1:1", "http://localhost.example.org:1", "http://0.0.0.0:1"] {
            assert!(told(there, false).is_some_and(|told| told.contains("in plain text")), "{there}");
            assert_eq!(told(there, true), None);
        }
    }
}
