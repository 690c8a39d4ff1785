//! URLs, as stores and as single objects.

use bytes::Bytes;
use mr_storage::{GetOptions, Put, StoreError, object_url, open};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

const BYTES_MAX: u64 = 1 << 20;

async fn fetch(url: &str) -> Result<Bytes, StoreError> {
    mr_storage::fetch(url, BYTES_MAX).await
}

#[tokio::test]
async fn urls_open_what_they_name() {
    for (typed, url) in [
        ("/a b/c", "file:///a b/c/"),
        ("file:///a%20b/c/", "file:///a%20b/c/"),
        ("memory://name", "memory://name/"),
        ("memory://name/a/b", "memory://name/a/b/"),
        ("s3://bucket", "s3://bucket/"),
        ("s3://bucket/a b/", "s3://bucket/a b/"),
    ] {
        let store = open(typed).await.expect("it is a URL of ours");
        assert_eq!(store.url(), url);
        assert_eq!(object_url(store.url(), "x/ü"), format!("{url}x/ü"));
    }
    for typed in ["", "relative/path", "./x", "file://relative", "s3://", "s3:///key", "ftp://x/y", "https://x/y"] {
        let refused = open(typed).await;
        assert!(matches!(refused, Err(StoreError::Fatal { .. })), "{typed:?}: {refused:?}");
    }
}

#[tokio::test]
async fn memory_is_shared_by_name() {
    let one = open("memory://shared/a/").await.expect("memory opens");
    one.put("x/y", "bytes".into(), Put::IfAbsent).await.expect("it is empty");
    let other = open("memory://shared/a/x").await.expect("memory opens");
    assert_eq!(&other.get("y", GetOptions::default()).await.expect("there").bytes[..], b"bytes");
    assert_eq!(&fetch("memory://shared/a/x/y").await.expect("there")[..], b"bytes");
}

#[tokio::test]
async fn a_file_is_fetched_by_path_and_by_url() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("a%20 b.onnx");
    std::fs::write(&path, "weights").expect("writable");
    let path = path.to_str().expect("UTF-8");
    assert_eq!(&fetch(path).await.expect("there")[..], b"weights");
    assert_eq!(&fetch(&format!("file://{path}")).await.expect("there")[..], b"weights");
    assert!(matches!(fetch(&format!("{path}x")).await, Err(StoreError::NotFound { .. })));
    assert!(matches!(fetch("a.onnx").await, Err(StoreError::Fatal { .. })));
}

async fn hear(stream: &mut TcpStream) {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        request.push(stream.read_u8().await.expect("a whole request"));
    }
}

/// A server that answers each request with the next of these, and says how many it was asked for.
async fn web<S: AsRef<str> + Send + Sync + 'static>(answers: Vec<S>) -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
    let base = format!("http://{}", listener.local_addr().expect("bound"));
    let asked = Arc::new(AtomicUsize::new(0));
    let count = asked.clone();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.expect("listening");
            hear(&mut stream).await;
            let answer = &answers[count.fetch_add(1, Ordering::SeqCst).min(answers.len() - 1)];
            // A client that has seen enough may be gone.
            let _ = stream.write_all(answer.as_ref().as_bytes()).await;
        }
    });
    (base, asked)
}

#[tokio::test]
async fn the_web_is_fetched_through_redirects_and_breaks() {
    let (base, asked) = web(vec![
        "HTTP/1.1 302 Found\r\nlocation: /there\r\ncontent-length: 0\r\nconnection: close\r\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: 7\r\nconnection: close\r\n\r\nwei",
        "HTTP/1.1 503 Busy\r\ncontent-length: 0\r\nconnection: close\r\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: 7\r\nconnection: close\r\n\r\nweights",
    ])
    .await;
    assert_eq!(&fetch(&format!("{base}/here")).await.expect("it comes in the end")[..], b"weights");
    assert_eq!(asked.load(Ordering::SeqCst), 4);
}

#[tokio::test]
async fn of_the_web_no_more_is_taken_than_may_be() {
    let max = BYTES_MAX as usize;
    let answer =
        |head: &str, bytes: usize| format!("HTTP/1.1 200 OK\r\n{head}connection: close\r\n\r\n{}", "x".repeat(bytes));
    let long = |bytes: usize| format!("content-length: {bytes}\r\n");
    for just in [answer(&long(max), max), answer("", max)] {
        let (base, _) = web(vec![just]).await;
        assert_eq!(fetch(&base).await.expect("it is as much as may be").len(), max);
    }
    let refused = "it can't be done: it has more than 1048576 bytes, which is too much";
    // That it says so is enough, and nothing of it has to come.
    for more in [answer(&long(max + 1), 0), answer("", max + 1)] {
        let (base, asked) = web(vec![more]).await;
        let error = fetch(&base).await.expect_err("it is too long");
        assert_eq!(mr_storage::story(&error), format!("fetching {base}: {refused}"));
        assert_eq!(asked.load(Ordering::SeqCst), 1, "it is as long another time");
    }
    let error = fetch(&endless().await).await.expect_err("it has no end");
    assert!(mr_storage::story(&error).ends_with(refused), "{error:?}");
}

/// A server that sends as long as anybody reads.
async fn endless() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
    let base = format!("http://{}", listener.local_addr().expect("bound"));
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.expect("listening");
        hear(&mut stream).await;
        let mut more = stream.write_all(b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n").await;
        while more.is_ok() {
            more = stream.write_all(&[0; 4096]).await;
        }
    });
    base
}

#[tokio::test]
async fn the_web_says_no() {
    let (base, asked) = web(vec!["HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"]).await;
    assert!(matches!(fetch(&base).await, Err(StoreError::NotFound { .. })));
    assert_eq!(asked.load(Ordering::SeqCst), 1, "asking again is of no use");
    let (base, _) = web(vec!["HTTP/1.1 302 Found\r\nlocation: http://example.org/\r\nconnection: close\r\n\r\n"]).await;
    assert!(matches!(fetch(&base).await, Err(StoreError::Fatal { .. })), "plain HTTP leads nowhere but here");
    assert!(matches!(fetch("http://example.org/x").await, Err(StoreError::Fatal { .. })));
    // Nor where a machine's secrets are told, asked for itself or led to.
    let led = |to: &str| format!("HTTP/1.1 302 Found\r\nlocation: {to}\r\nconnection: close\r\n\r\n");
    for there in ["https://169.254.169.254/latest/meta-data/", "https://[fd00:ec2::254]/"] {
        let (base, _) = web(vec![led(there)]).await;
        for url in [base.as_str(), there] {
            let told = mr_storage::story(&fetch(url).await.unwrap_err());
            assert!(told.contains("told their credentials"), "{told}");
        }
    }
}

#[tokio::test]
async fn no_secret_of_a_url_is_told() {
    const SECRETS: [&str; 3] = ["hunter2", "Signature", "another"];
    let to = "http://u:another@example.org/w?X-Amz-Signature=another";
    let answers = [
        "HTTP/1.1 403 No\r\ncontent-length: 0\r\nconnection: close\r\n\r\n".to_owned(),
        format!("HTTP/1.1 302 Found\r\nlocation: {to}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"),
    ];
    for answer in answers {
        let (base, _) = web(vec![answer]).await;
        let url = format!("{base}/w.onnx?X-Amz-Signature=hunter2").replace("://", "://user:hunter2@");
        let told = mr_storage::story(&fetch(&url).await.unwrap_err());
        assert!(told.starts_with(&format!("fetching {base}/w.onnx?…: ")), "{told}");
        assert!(!SECRETS.iter().any(|secret| told.contains(secret)), "{told}");
    }
    for url in ["ftp://user:hunter2@h/w?Signature", "http://user:hunter2@h/w?Signature", "https://h\u{7f}/w?Signature"]
    {
        let told = mr_storage::story(&fetch(url).await.unwrap_err());
        assert!(!SECRETS.iter().any(|secret| told.contains(secret)), "{told}");
        let told = mr_storage::story(&open(url).await.expect_err("it is no store"));
        assert!(!SECRETS.iter().any(|secret| told.contains(secret)), "{told}");
    }
}
