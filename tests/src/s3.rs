//! An S3 server as a process of its own, with photos in its bucket, and outputs fetched from it.

use crate::programs::program;
use crate::{Output, Running, Scratch};
use mr_storage::{GetOptions, S3, Store};
use std::path::Path;
use std::process::Command;

/// The bucket that is there.
pub const BUCKET: &str = "photos";

pub struct S3Server {
    running: Running,
    endpoint: String,
    environment: Vec<(String, String)>,
}

impl S3Server {
    /// Holds `folder` under `s3://photos/in put/`, and lists `page_keys` keys a page.
    pub fn start(scratch: &Scratch, folder: &Path, page_keys: u32) -> Self {
        Self::start_with(scratch, folder, page_keys, &[])
    }

    /// The same, with more arguments.
    pub fn start_with(scratch: &Scratch, folder: &Path, page_keys: u32, args: &[&str]) -> Self {
        let mut command = Command::new(program("mr-s3-server"));
        command.args(args);
        command.args(["--bucket", BUCKET, "--page-keys", &page_keys.to_string()]);
        command.arg("--load").arg(format!("{}=in put/", folder.display()));
        let mut running = Running::start(command, scratch);
        let endpoint = running.first_line();
        let environment = running.stderr();
        let environment = environment.lines().filter_map(|line| line.strip_prefix("export ")?.split_once('='));
        let environment = environment.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        Self { running, endpoint, environment }
    }

    /// Stops it, and says how many requests it took and how many it throttled.
    pub fn requests(self) -> (u64, u64) {
        let said = self.running.terminate().stderr;
        let line = said.lines().find_map(|line| line.strip_suffix(" throttled")).expect("it says so when it ends");
        let (taken, throttled) = line.split_once(" requests taken, ").expect("both numbers");
        (taken.parse().expect("a number"), throttled.parse().expect("a number"))
    }

    /// Where the photos are.
    pub fn input(&self) -> String {
        format!("s3://{BUCKET}/in put/")
    }

    /// What the programs read from their environment.
    pub(crate) fn environment(&self) -> Vec<(String, String)> {
        self.environment.clone()
    }

    fn value(&self, name: &str) -> &str {
        let found = self.environment.iter().find(|(there, _)| there == name);
        found.map(|(_, value)| value.as_str()).expect("the server says its credentials")
    }

    fn store(&self, prefix: &str) -> S3 {
        let (access, secret) = (self.value("AWS_ACCESS_KEY_ID"), self.value("AWS_SECRET_ACCESS_KEY"));
        S3::at(&self.endpoint, access, secret, BUCKET, prefix)
    }

    /// Keys below a prefix.
    pub fn keys(&self, prefix: &str) -> Vec<String> {
        let store = self.store(prefix);
        block_on(async { store.list("").await }).expect("it lists").into_iter().map(|object| object.key).collect()
    }

    /// Fetches the output at `s3://photos/<prefix>` into a folder of the same name, and opens it there.
    #[track_caller]
    pub fn output(&self, scratch: &Scratch, prefix: &str) -> Output {
        let store = self.store(prefix);
        block_on(async {
            for object in store.list("").await.expect("it lists") {
                let got = store.get(&object.key, GetOptions::default()).await.expect("it was listed");
                scratch.write(&format!("{prefix}{}", object.key), got.bytes);
            }
        });
        Output::open(&scratch.join(prefix))
    }
}

pub(crate) fn block_on<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("the system has room for a runtime").block_on(work)
}
