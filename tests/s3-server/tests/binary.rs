//! The server as a process: it says where it is, holds what it was given, and goes when told to.

use mr_s3_server::{ACCESS_KEY, SECRET_KEY};
use mr_storage::{GetOptions, S3, Store};
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

#[tokio::test]
async fn it_serves_a_folder_until_it_is_terminated() {
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/src");
    let mut process = Command::new(env!("CARGO_BIN_EXE_mr-s3-server"))
        .args(["--bucket", "bucket", "--page-keys", "2", "--load", &format!("{source}=some where/src/")])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("it was built for this test");
    let mut endpoint = String::new();
    let stdout = process.stdout.take().expect("piped above");
    BufReader::new(stdout).read_line(&mut endpoint).expect("it says where it is");

    let store = S3::at(endpoint.trim(), ACCESS_KEY, SECRET_KEY, "bucket", "some where/");
    let listed = store.list("").await.expect("listed, two keys a page");
    let keys: Vec<_> = listed.iter().map(|object| object.key.as_str()).collect();
    assert_eq!(keys, ["src/buckets.rs", "src/lib.rs", "src/limit.rs", "src/main.rs", "src/serve.rs", "src/service.rs"]);
    let got = store.get("src/lib.rs", GetOptions::default()).await.expect("there").bytes;
    assert_eq!(got, std::fs::read(format!("{source}/lib.rs")).expect("there"));

    let told = Command::new("kill").arg(process.id().to_string()).status();
    assert!(told.expect("kill is there").success());
    assert!(process.wait().expect("it was started").success(), "it ends well");
}
