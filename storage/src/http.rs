//! One GET over HTTPS, with the TLS that the S3 client brings along already. What is said of it shows no URL whole: it
//! may hold a password or a signature. What comes has a bound, and so has its time: whoever sends is not trusted.

use crate::StoreError;
use crate::metadata::{self, NoMetadata, System};
use crate::retry::BackOff;
use crate::unique::chance;
use aws_sdk_s3::config::http::{HttpRequest, HttpResponse};
use aws_sdk_s3::primitives::ByteStream;
use aws_smithy_http_client::tls::{Provider, rustls_provider::CryptoMode};
use aws_smithy_http_client::{Connector, proxy::ProxyConfig};
use aws_smithy_runtime_api::client::dns::ResolveDns;
use aws_smithy_runtime_api::client::http::HttpConnector;
use bytes::{Bytes, BytesMut};
use mr_core::shown_url;
use percent_encoding::percent_decode_str;
use std::net::IpAddr;
use std::time::Duration;
use tokio::time::timeout;

const REDIRECTS_MAX: usize = 8;
const TRIES_MAX: u32 = 4;
const AGAIN: BackOff = BackOff::new(Duration::from_secs(1), Duration::from_secs(8));
const SILENCE_MAX: Duration = Duration::from_secs(30);
/// For all of it, redirects and tries included.
const WHOLE_WITHIN: Duration = Duration::from_secs(30 * 60);

pub(crate) async fn get(url: &str, bytes_max: u64) -> Result<Bytes, StoreError> {
    get_within(WHOLE_WITHIN, &connector(ProxyConfig::from_env(), System), url, bytes_max).await
}

fn connector(proxy: ProxyConfig, names: impl ResolveDns + Clone + 'static) -> Connector {
    let builder = Connector::builder().proxy_config(proxy).tls_provider(Provider::Rustls(CryptoMode::AwsLc));
    builder.build_with_resolver(NoMetadata(names))
}

async fn get_within(within: Duration, connector: &Connector, url: &str, bytes_max: u64) -> Result<Bytes, StoreError> {
    timeout(within, get_again(connector, url, bytes_max)).await.unwrap_or_else(|_| {
        let late = format!("it has not come whole within {} s", within.as_secs_f64());
        Err(StoreError::transient(format!("fetching {}", shown_url(url)), late))
    })
}

async fn get_again(connector: &Connector, url: &str, bytes_max: u64) -> Result<Bytes, StoreError> {
    for tried in 1..TRIES_MAX {
        match follow(connector, url, bytes_max).await {
            Err(error) if error.retryable() => {
                tracing::debug!(url = %shown_url(url), error = &error as &dyn std::error::Error, "fetching it again");
                tokio::time::sleep(AGAIN.after(tried, chance())).await;
            }
            other => return other,
        }
    }
    follow(connector, url, bytes_max).await
}

async fn follow(connector: &Connector, url: &str, bytes_max: u64) -> Result<Bytes, StoreError> {
    let doing = || format!("fetching {}", shown_url(url));
    let mut at = url.to_owned();
    for _ in 0..=REDIRECTS_MAX {
        check(&at).map_err(|reason| StoreError::fatal(doing(), reason))?;
        let answer = ask(connector, &at, &doing).await?;
        let status = answer.status().as_u16();
        match (status, answer.headers().get("location")) {
            (200, _) => return read(answer, bytes_max, &doing).await,
            (301 | 302 | 303 | 307 | 308, Some(to)) => {
                let next = joined(&at, to);
                if at.starts_with("https://") && !next.starts_with("https://") {
                    let (at, next) = (shown_url(&at), shown_url(&next));
                    return Err(StoreError::fatal(doing(), format!("{at} leads on to {next}, which is not HTTPS")));
                }
                at = next;
            }
            _ => return Err(refused(status, doing())),
        }
    }
    Err(StoreError::fatal(doing(), "it leads on and on"))
}

async fn ask(connector: &Connector, url: &str, doing: &impl Fn() -> String) -> Result<HttpResponse, StoreError> {
    // Below us URLs are logged with a user's password in them.
    let (url, user) = without_user(url);
    let mut request = HttpRequest::get(url).map_err(|error| StoreError::fatal(doing(), error))?;
    if let Some(user) = user {
        request.headers_mut().insert("authorization", format!("Basic {}", base64(&user)));
    }
    request.headers_mut().insert("user-agent", concat!("mr/", env!("CARGO_PKG_VERSION")));
    match timeout(SILENCE_MAX, connector.call(request)).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(error)) if metadata::is_refusal(&error) => Err(StoreError::fatal(doing(), error)),
        Ok(Err(error)) => Err(StoreError::transient(doing(), error)),
        Err(elapsed) => Err(StoreError::transient(doing(), elapsed)),
    }
}

async fn read(answer: HttpResponse, bytes_max: u64, doing: &impl Fn() -> String) -> Result<Bytes, StoreError> {
    let length = answer.headers().get("content-length").and_then(|length| length.parse::<u64>().ok());
    let too_long = || StoreError::fatal(doing(), format!("it has more than {bytes_max} bytes, which is too much"));
    if length.is_some_and(|length| length > bytes_max) {
        return Err(too_long());
    }
    let mut body = ByteStream::new(answer.into_body());
    let mut bytes = BytesMut::new();
    loop {
        match timeout(SILENCE_MAX, body.next()).await {
            // Not every server says how much will come.
            Ok(Some(Ok(more))) if (bytes.len() + more.len()) as u64 > bytes_max => return Err(too_long()),
            Ok(Some(Ok(more))) => bytes.extend_from_slice(&more),
            Ok(Some(Err(error))) => return Err(StoreError::transient(doing(), error)),
            Ok(None) => break,
            Err(elapsed) => return Err(StoreError::transient(doing(), elapsed)),
        }
    }
    match length {
        Some(length) if length != bytes.len() as u64 => {
            let came = format!("{} bytes came instead of {length}", bytes.len());
            Err(StoreError::transient(doing(), came))
        }
        _ => Ok(bytes.freeze()),
    }
}

fn refused(status: u16, doing: String) -> StoreError {
    let source = Some(format!("the server answers with status {status}").into());
    match status {
        404 | 410 => StoreError::NotFound { doing, source },
        401 | 403 | 407 => StoreError::Denied { doing, source },
        429 | 503 => StoreError::Throttled { doing, source },
        408 | 500..=599 => StoreError::Transient { doing, source },
        _ => StoreError::Fatal { doing, source },
    }
}

/// Plain HTTP goes no further than this machine, and nothing to where its secrets are told.
fn check(url: &str) -> Result<(), String> {
    let rest = url.split_once("://").map_or("", |(_, rest)| rest);
    metadata::check(host(rest)).map_err(|refused| refused.to_string())?;
    match url.split_once("://") {
        Some(("https", _)) => Ok(()),
        Some(("http", rest)) if is_loopback(host(rest)) => Ok(()),
        Some(("http", _)) => Err(format!("{} is not HTTPS, and not on this machine", shown_url(url))),
        _ => Err(format!("{} is no URL of the web", shown_url(url))),
    }
}

/// The URL without its user info, and that as it was meant.
fn without_user(url: &str) -> (String, Option<Vec<u8>>) {
    let (scheme, rest) = url.split_once("://").unwrap_or(("https", url));
    let (authority, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
    match authority.rsplit_once('@') {
        Some((user, host)) => (format!("{scheme}://{host}{path}"), Some(percent_decode_str(user).collect())),
        None => (url.to_owned(), None),
    }
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::new();
    for three in bytes.chunks(3) {
        let number = three.iter().fold(0, |number, byte| number << 8 | u32::from(*byte)) << (8 * (3 - three.len()));
        let digit = |at: usize| char::from(DIGITS[(number >> (18 - 6 * at)) as usize & 63]);
        out.extend((0..4).map(|at| if at <= three.len() { digit(at) } else { '=' }));
    }
    out
}

fn host(rest: &str) -> &str {
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let authority = authority.rsplit('@').next().unwrap_or_default();
    match authority.strip_prefix('[').and_then(|six| six.split_once(']')) {
        Some((six, _)) => six,
        None => authority.split(':').next().unwrap_or_default(),
    }
}

fn is_loopback(host: &str) -> bool {
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// Where a redirect from `at` leads.
fn joined(at: &str, to: &str) -> String {
    if to.contains("://") {
        return to.into();
    }
    let (scheme, rest) = at.split_once("://").unwrap_or(("https", at));
    if let Some(authority_and_path) = to.strip_prefix("//") {
        return format!("{scheme}://{authority_and_path}");
    }
    let path_at = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(path_at);
    if to.starts_with('/') {
        return format!("{scheme}://{authority}{to}");
    }
    let path = path.split(['?', '#']).next().unwrap_or_default();
    let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
    format!("{scheme}://{authority}{folder}/{to}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_smithy_runtime_api::client::dns::DnsFuture;
    use std::net::SocketAddr;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    const LONG: Duration = Duration::from_secs(3600);

    /// Finds every name there.
    #[derive(Clone, Debug)]
    struct At(IpAddr);

    impl ResolveDns for At {
        fn resolve_dns<'a>(&'a self, _: &'a str) -> DnsFuture<'a> {
            DnsFuture::ready(Ok(vec![self.0]))
        }
    }

    fn where_names_are_at(address: &str) -> Connector {
        connector(ProxyConfig::disabled(), At(address.parse().unwrap()))
    }

    /// A server that says this to whoever asks, and then nothing more.
    async fn web(answer: &'static str) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let at = listener.local_addr().unwrap();
        tokio::spawn(async move {
            let mut open = Vec::new();
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut request = Vec::new();
                while !request.ends_with(b"\r\n\r\n") {
                    request.push(stream.read_u8().await.unwrap());
                }
                stream.write_all(answer.as_bytes()).await.unwrap();
                open.push(stream);
            }
        });
        at
    }

    #[tokio::test]
    async fn no_name_leads_to_where_secrets_are_told() {
        // What follows is worth something only if names are looked up here.
        let here = web("HTTP/1.1 200 OK\r\ncontent-length: 7\r\n\r\nweights").await;
        let url = format!("http://localhost:{}/", here.port());
        assert_eq!(get_within(LONG, &where_names_are_at("127.0.0.1"), &url, 7).await.unwrap(), "weights");

        // That server is asked by its address, which nobody looks up.
        let led = web("HTTP/1.1 302 Found\r\nlocation: https://led.example/\r\ncontent-length: 0\r\n\r\n").await;
        for there in ["169.254.169.254", "fd00:ec2::254", "::ffff:169.254.169.254"] {
            let connector = where_names_are_at(there);
            for url in ["https://asked.example/w", &format!("http://{led}/"), &url] {
                let error = get_within(LONG, &connector, url, 7).await.unwrap_err();
                assert!(matches!(error, StoreError::Fatal { .. }), "{url} at {there}: {error:?}");
                let told = crate::story(&error);
                assert!(told.contains("told their credentials"), "{url} at {there}: {told}");
            }
        }
    }

    #[tokio::test]
    async fn what_does_not_come_whole_in_time_is_given_up() {
        let at = web("HTTP/1.1 200 OK\r\ncontent-length: 7\r\n\r\nwei").await;
        let (within, names) = (Duration::from_millis(100), where_names_are_at("127.0.0.1"));
        let error = get_within(within, &names, &format!("http://{at}/w?secret"), 7).await.unwrap_err();
        let told = format!("fetching http://{at}/w?…: it did not work this time: it has not come whole within 0.1 s");
        assert_eq!(crate::story(&error), told);
    }

    #[test]
    fn plain_http_stays_on_this_machine() {
        for good in ["https://example.org/x", "http://127.0.0.1:80/x", "http://localhost/x", "http://[::1]:8/x"] {
            assert!(check(good).is_ok(), "{good}");
        }
        for bad in [
            "https://169.254.169.254/latest/",
            "https://[fd00:ec2::254]/",
            "http://example.org",
            "http://localhost.example.org/",
            "http://127.0.0.1@example.org/",
            "ftp://x/",
        ] {
            assert!(check(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_user_is_named_beside_the_url() {
        let with = |url, user: &str| (String::from(url), Some(user.as_bytes().to_vec()));
        assert_eq!(without_user("https://u:a%40b@h:1/x?y@z"), with("https://h:1/x?y@z", "u:a@b"));
        assert_eq!(without_user("https://h/@x"), ("https://h/@x".into(), None));
        let digits =
            [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("fooba", "Zm9vYmE="), ("ÿ>?", "w78+Pw==")];
        for (bytes, digits) in digits {
            assert_eq!(base64(bytes.as_bytes()), digits);
        }
    }

    #[test]
    fn redirects_are_joined() {
        let at = "https://a.org/x/y?q=/z";
        assert_eq!(joined(at, "https://b.org/"), "https://b.org/");
        assert_eq!(joined(at, "//b.org/c"), "https://b.org/c");
        assert_eq!(joined(at, "/c"), "https://a.org/c");
        assert_eq!(joined(at, "c"), "https://a.org/x/c");
        assert_eq!(joined("https://a.org", "c"), "https://a.org/c");
    }
}
