//! Who gets through the door, and what nobody can do to it: callers with and without certificates, silent ones, those who
//! say too much, and what was heard on the line said once more.

use mr_coordinator::{Coordinator, Door, Settings, serve};
use mr_proto::v1::jobs_client::JobsClient;
use mr_proto::v1::workers_client::WorkersClient;
use mr_proto::{MESSAGE_BYTES_MAX, v1};
use mr_tls::{Acceptor, Authority, Connector, Role};
use mr_worker::{Trust, connect};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tonic::transport::Channel;
use tonic::{Code, Status};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;

/// Far more than any of it takes.
const LIMIT: Duration = Duration::from_secs(60);

struct Guarded {
    _scratch: TempDir,
    certs: PathBuf,
    address: SocketAddr,
    door: Door,
    stop: CancellationToken,
}

impl Guarded {
    /// With certificates, or in plain text.
    async fn start(secured: bool) -> Self {
        Self::with_patience(secured, Duration::from_secs(3600)).await
    }

    async fn with_patience(secured: bool, patience: Duration) -> Self {
        Self::behind(secured, |tls| Door::with_patience(tls, patience)).await
    }

    async fn behind(secured: bool, door: impl Fn(Option<Acceptor>) -> Door) -> Self {
        let scratch = tempfile::tempdir().unwrap();
        let certs = scratch.path().join("certs");
        Authority::init(&certs, 30).unwrap();
        let state = scratch.path().join("state");
        std::fs::create_dir(&state).unwrap();
        let (coordinator, _deciding) = Coordinator::start(Settings::new(state.to_str().unwrap())).await.unwrap();
        let tls = secured.then(|| Acceptor::open(&certs.join("coordinator")).unwrap());
        let door = door(tls);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let stop = CancellationToken::new();
        let (connections, until) = (door.open(listener), stop.clone());
        tokio::spawn(async move { serve(&coordinator, connections, until).await });
        Self { _scratch: scratch, certs, address, door, stop }
    }

    fn channel_to(&self, address: SocketAddr, role: Option<Role>) -> Channel {
        let tls = role.map(|role| Arc::new(Connector::open(&self.certs.join(role.name()), role).unwrap()));
        let scheme = if tls.is_some() { "https" } else { "http" };
        connect(&format!("{scheme}://{address}"), &Trust { tls, insecure: false }).unwrap().pick().1
    }

    fn channel(&self, role: Option<Role>) -> Channel {
        self.channel_to(self.address, role)
    }

    async fn lists(&self, role: Option<Role>) -> Result<usize, Status> {
        lists(self.channel(role)).await
    }

    fn metric(&self, line: &str) -> Option<f64> {
        let mut page = mr_metrics::Page::default();
        self.door.metrics(&mut page);
        page.text().lines().find_map(|found| found.strip_prefix(line)?.trim().parse().ok())
    }

    async fn until_metric(&self, line: &str, wanted: impl Fn(f64) -> bool) {
        let reached = async {
            while !self.metric(line).is_some_and(&wanted) {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        timeout(LIMIT, reached).await.unwrap_or_else(|_| panic!("{line} is {:?}", self.metric(line)));
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

async fn lists(channel: Channel) -> Result<usize, Status> {
    let listed = timeout(LIMIT, JobsClient::new(channel).list(v1::ListRequest {})).await.expect("it is answered");
    listed.map(|answer| answer.into_inner().jobs.len())
}

async fn polls(channel: Channel) -> Result<(), Status> {
    let poll = v1::PollRequest {
        worker: "w".into(),
        seq: 1,
        slots: 1,
        capacity: 1,
        kernel_families: vec!["none".into()],
        framework_version: mr_core::FRAMEWORK_VERSION.into(),
        draining: true,
        ..Default::default()
    };
    timeout(LIMIT, WorkersClient::new(channel).poll(poll)).await.expect("it is answered").map(drop)
}

async fn healthy(channel: Channel) -> bool {
    let request = HealthCheckRequest { service: String::new() };
    timeout(LIMIT, HealthClient::new(channel).check(request)).await.expect("it is answered").is_ok()
}

#[tokio::test]
async fn a_worker_submits_nothing_and_a_submitter_polls_for_nothing() {
    let guarded = Guarded::start(true).await;
    let (worker, submitter) = (guarded.channel(Some(Role::Worker)), guarded.channel(Some(Role::Submitter)));
    polls(worker.clone()).await.unwrap();
    assert_eq!(lists(submitter.clone()).await.unwrap(), 0);
    let told = polls(submitter.clone()).await.unwrap_err();
    assert_eq!(told.code(), Code::PermissionDenied);
    assert!(
        told.message().contains("this is for workers, and the certificate that was shown is of submitter"),
        "{told}"
    );
    let mut jobs = JobsClient::new(worker.clone());
    let submit = v1::SubmitRequest { job_id: "j".into(), ..Default::default() };
    let blob = v1::PutBlobRequest { part: None };
    let id = || "j".to_owned();
    for refused in [
        jobs.submit(submit).await.map(drop),
        jobs.list(v1::ListRequest {}).await.map(drop),
        jobs.status(v1::StatusRequest { job_id: id() }).await.map(drop),
        jobs.watch(v1::WatchRequest { job_id: id() }).await.map(drop),
        jobs.cancel(v1::CancelRequest { job_id: id() }).await.map(drop),
        jobs.retry(v1::RetryRequest { job_id: id(), new_job_id: id(), renews_quarantined: false }).await.map(drop),
        jobs.terms(v1::TermsRequest {}).await.map(drop),
        jobs.missing_blobs(v1::MissingBlobsRequest { blobs: vec![] }).await.map(drop),
        jobs.put_blob(tokio_stream::iter([blob])).await.map(drop),
    ] {
        assert_eq!(refused.unwrap_err().code(), Code::PermissionDenied);
    }
    // Whether it is well may be known to all who have a certificate.
    assert!(healthy(worker).await && healthy(submitter).await);
}

#[tokio::test]
async fn nothing_in_plain_text_gets_through_to_where_certificates_are_shown() {
    let guarded = Guarded::start(true).await;
    for said in [&b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"[..], b"GET / HTTP/1.1\r\n\r\n", &[0; 64]] {
        let mut stream = TcpStream::connect(guarded.address).await.unwrap();
        stream.write_all(said).await.unwrap();
        let mut heard = Vec::new();
        // It hangs up, with an alert of TLS's or without.
        _ = timeout(LIMIT, stream.read_to_end(&mut heard)).await.expect("it hangs up");
        assert!(heard.len() < 16, "{heard:?}");
    }
    assert!(guarded.lists(None).await.is_err());
    assert!(guarded.lists(Some(Role::Submitter)).await.is_ok());
    assert!(guarded.metric("mr_connections_refused_total{why=\"stranger\"}").is_some_and(|count| count >= 4.0));
}

#[tokio::test]
async fn one_who_looks_whether_somebody_is_at_home_is_no_stranger() {
    for secured in [true, false] {
        let guarded = Guarded::start(secured).await;
        for _ in 0..20 {
            drop(TcpStream::connect(guarded.address).await.unwrap());
        }
        guarded.until_metric("mr_connections ", |open| open == 0.0).await;
        let role = secured.then_some(Role::Submitter);
        assert_eq!(guarded.lists(role).await.unwrap(), 0);
        assert_eq!(guarded.metric("mr_connections_refused_total{why=\"stranger\"}"), Some(0.0));
    }
}

#[tokio::test]
async fn nothing_but_http_2_gets_through_in_plain_text() {
    let guarded = Guarded::start(false).await;
    for said in
        [&b"GET / HTTP/1.1\r\n\r\n"[..], b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", b"PRI * HTTP/2.0\r\n\r\nSX"]
    {
        let mut stream = TcpStream::connect(guarded.address).await.unwrap();
        stream.write_all(said).await.unwrap();
        let mut heard = Vec::new();
        _ = timeout(LIMIT, stream.read_to_end(&mut heard)).await.expect("it hangs up");
        assert_eq!(heard, b"");
    }
    assert_eq!(guarded.lists(None).await.unwrap(), 0);
    // Who shows certificates where nobody looks at them is told so.
    let told = guarded.lists(Some(Role::Submitter)).await.unwrap_err();
    assert_eq!(mr_worker::reason(&told), "it hung up before both had shown their certificates");
}

#[tokio::test]
async fn silent_and_slow_callers_lose_their_places_to_those_who_speak() {
    for secured in [true, false] {
        let guarded = Guarded::start(secured).await;
        let role = secured.then_some(Role::Submitter);
        let mut silent = Vec::new();
        // More than are greeted at a time, and all at once.
        for at in 0..2000 {
            let mut stream = TcpStream::connect(guarded.address).await.unwrap();
            if at % 2 == 0 {
                let begins = if secured { &b"\x16\x03\x01\x02\x00\x01"[..] } else { b"PRI * HT" };
                stream.write_all(begins).await.unwrap();
            }
            silent.push(stream);
        }
        assert_eq!(guarded.lists(role).await.unwrap(), 0);
        assert!(guarded.metric("mr_connections_refused_total{why=\"crowd\"}").is_some_and(|count| count >= 900.0));
        assert_eq!(guarded.metric("mr_connections_refused_total{why=\"stranger\"}"), Some(0.0));
    }
}

#[tokio::test]
async fn when_all_places_are_taken_the_next_is_sent_away() {
    for secured in [true, false] {
        let door = |tls| Door::with_patience(tls, Duration::from_secs(3600)).with_places(3);
        let guarded = Guarded::behind(secured, door).await;
        let role = secured.then_some(Role::Submitter);
        let mut taken = Vec::new();
        for _ in 0..3 {
            let channel = guarded.channel(role);
            assert_eq!(lists(channel.clone()).await.unwrap(), 0);
            taken.push(channel);
        }
        assert!(guarded.lists(role).await.is_err());
        guarded.until_metric("mr_connections_refused_total{why=\"crowd\"}", |count| count >= 1.0).await;
        // Those who are in do not notice.
        assert_eq!(lists(taken[2].clone()).await.unwrap(), 0);
        taken.pop();
        guarded.until_metric("mr_connections ", |open| open == 2.0).await;
        assert_eq!(guarded.lists(role).await.unwrap(), 0);
    }
}

#[tokio::test]
async fn who_does_not_say_who_it_is_goes_when_its_time_is_up() {
    for secured in [true, false] {
        let guarded = Guarded::with_patience(secured, Duration::from_millis(300)).await;
        let mut silent = Vec::new();
        for _ in 0..50 {
            silent.push(TcpStream::connect(guarded.address).await.unwrap());
        }
        guarded.until_metric("mr_connections_refused_total{why=\"stranger\"}", |count| count == 50.0).await;
        guarded.until_metric("mr_connections ", |open| open == 0.0).await;
    }
}

#[tokio::test]
async fn too_much_at_once_is_refused_and_harms_nobody_else() {
    let guarded = Guarded::start(true).await;
    let channel = guarded.channel(Some(Role::Submitter));
    // A message over the bound,
    let mut jobs = JobsClient::new(channel.clone()).max_encoding_message_size(usize::MAX);
    let told = jobs.status(v1::StatusRequest { job_id: "x".repeat(MESSAGE_BYTES_MAX + 1) }).await.unwrap_err();
    assert!(matches!(told.code(), Code::OutOfRange | Code::ResourceExhausted), "{told}");
    // a name over the bound,
    let told = jobs.status(v1::StatusRequest { job_id: "x".repeat(65) }).await.unwrap_err();
    assert_eq!(told.code(), Code::InvalidArgument);
    // headers over the bound,
    let mut request = tonic::Request::new(v1::ListRequest {});
    request.metadata_mut().insert("x-long", "x".repeat(64 << 10).parse().unwrap());
    assert!(jobs.list(request).await.is_err());
    // a blob that is longer than it was said to be, or is not where blobs are.
    let sha256 = "0".repeat(64);
    let blob = |key: String| v1::Blob { key, sha256: sha256.clone(), bytes: 4 };
    let part = |part| v1::PutBlobRequest { part: Some(part) };
    let put = |key: &str| {
        let first = part(v1::put_blob_request::Part::Blob(blob(key.to_owned())));
        let chunk = part(v1::put_blob_request::Part::Chunk(vec![0; 5].into()));
        tokio_stream::iter([first, chunk])
    };
    let at = mr_core::BlobRef::shared(sha256.clone(), 4).key;
    for key in [at.as_str(), "journal/00000001", "../elsewhere", "blobs/../../x"] {
        let told = jobs.put_blob(put(key)).await.unwrap_err();
        assert_eq!(told.code(), Code::InvalidArgument, "{key}: {told}");
    }
    assert_eq!(guarded.lists(Some(Role::Submitter)).await.unwrap(), 0);
    assert_eq!(lists(channel).await.unwrap(), 0);
}

/// Hands on what is said at its address, and writes down all that callers say.
async fn overhear(to: SocketAddr) -> (SocketAddr, tokio::task::JoinHandle<Vec<u8>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let heard = tokio::spawn(async move {
        let (caller, _) = listener.accept().await.unwrap();
        let there = TcpStream::connect(to).await.unwrap();
        let ((mut from_caller, mut to_caller), (mut from_there, mut to_there)) =
            (caller.into_split(), there.into_split());
        let answers = tokio::spawn(async move { tokio::io::copy(&mut from_there, &mut to_caller).await });
        let (mut heard, mut part) = (Vec::new(), [0; 4096]);
        while let Ok(count @ 1..) = from_caller.read(&mut part).await {
            heard.extend_from_slice(&part[..count]);
            to_there.write_all(&part[..count]).await.unwrap();
        }
        answers.abort();
        heard
    });
    (address, heard)
}

#[tokio::test]
async fn what_was_heard_on_the_line_does_nothing_when_it_is_said_again() {
    let guarded = Guarded::start(true).await;
    let (address, heard) = overhear(guarded.address).await;
    let channel = guarded.channel_to(address, Some(Role::Submitter));
    let told = JobsClient::new(channel.clone()).cancel(v1::CancelRequest { job_id: "nobody".into() }).await;
    assert_eq!(told.unwrap_err().code(), Code::NotFound);
    drop(channel);
    let heard = timeout(LIMIT, heard).await.unwrap().unwrap();
    assert!(heard.len() > 1000 && !heard.windows(6).any(|window| window == b"nobody"));
    let before = guarded.metric("mr_connections_refused_total{why=\"stranger\"}").unwrap();
    let mut again = TcpStream::connect(guarded.address).await.unwrap();
    _ = again.write_all(&heard).await;
    _ = again.shutdown().await;
    guarded.until_metric("mr_connections_refused_total{why=\"stranger\"}", |count| count > before).await;
}
