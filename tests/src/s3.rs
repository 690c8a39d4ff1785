//! An S3 server, as a process of its own or in this one, with photos in its bucket, and outputs fetched from it.

use crate::meddle::{Meddled, Meddler};
use crate::programs::program;
use crate::{Hosts, Output, Running, Scratch};
use aws_sdk_s3::Client;
use aws_sdk_s3::config::{BehaviorVersion, Credentials, Region};
use mr_s3_server::{Options, Server};
use mr_storage::{GetOptions, S3, Store};
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex};
use tokio::runtime::Runtime;

/// The bucket that is there.
pub const BUCKET: &str = "photos";

pub struct S3Server {
    host: Host,
    endpoint: String,
    environment: Vec<(String, String)>,
}

enum Host {
    Process(Running),
    Here { server: Mutex<Server>, runtime: Runtime },
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
        Self::start_as(command, scratch, folder, page_keys)
    }

    /// The same on a host of its own.
    pub fn on(hosts: &Hosts, host: &str, scratch: &Scratch, folder: &Path, page_keys: u32) -> Self {
        let mut command = Command::new(program("mr-s3-server"));
        command.args(["--listen", &format!("{}:9000", hosts.address(host))]);
        Self::start_as(hosts.on(host, command), scratch, folder, page_keys)
    }

    fn start_as(mut command: Command, scratch: &Scratch, folder: &Path, page_keys: u32) -> Self {
        command.args(["--bucket", BUCKET, "--page-keys", &page_keys.to_string()]);
        command.arg("--load").arg(format!("{}=in put/", folder.display()));
        let mut running = Running::start(command, scratch);
        let endpoint = running.first_line();
        let environment = running.stderr();
        let environment = environment.lines().filter_map(|line| line.strip_prefix("export ")?.split_once('='));
        let environment = environment.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        Self { host: Host::Process(running), endpoint, environment }
    }

    /// The same in this process, with somebody who meddles. It listens at an address that nobody is given by chance, so
    /// that it can be shut and opened again.
    pub fn here(folder: &Path, page_keys: usize, meddler: Arc<dyn Meddler>) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
        let runtime = runtime.expect("the system has room for a runtime");
        let listen = crate::ports::address();
        let options = Options { listen, buckets: vec![BUCKET.into()], page_keys, ..Options::default() };
        let wrap = |inner| Meddled { inner, meddler };
        let server = runtime.block_on(Server::start_with(options, wrap)).expect("nobody else is given the address");
        server.buckets().load(BUCKET, folder, "in put/").expect("the photos were just drawn");
        let environment = server.environment().map(|(name, value)| (name.to_owned(), value)).into();
        let endpoint = server.endpoint.clone();
        Self { host: Host::Here { server: Mutex::new(server), runtime }, endpoint, environment }
    }

    /// Breaks all connections and refuses new ones, until `meanwhile` has ended.
    pub fn away(&self, meanwhile: impl FnOnce()) {
        let Host::Here { server, runtime } = &self.host else { panic!("only one in this process can be shut") };
        let mut server = server.lock().expect("nobody panics while it is held");
        runtime.block_on(server.shut());
        meanwhile();
        runtime.block_on(server.open()).expect("nobody else is given its address");
    }

    /// Stops it, and says how many requests it took and how many it throttled.
    pub fn requests(self) -> (u64, u64) {
        let Host::Process(running) = self.host else { panic!("one in this process is asked by its meddler") };
        let said = running.terminate().stderr;
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

    /// The same for one whose requests are to be told from others'.
    pub(crate) fn environment_of(&self, client: &str) -> Vec<(String, String)> {
        let named = |(name, value): (String, String)| match name.as_str() {
            "AWS_ACCESS_KEY_ID" => (name, format!("{value}-{client}")),
            _ => (name, value),
        };
        self.environment().into_iter().map(named).collect()
    }

    /// What nobody should read anywhere.
    pub fn secrets(&self) -> Vec<String> {
        vec![self.value("AWS_SECRET_ACCESS_KEY").to_owned()]
    }

    fn value(&self, name: &str) -> &str {
        let found = self.environment.iter().find(|(there, _)| there == name);
        found.map(|(_, value)| value.as_str()).expect("the server says its credentials")
    }

    fn store(&self, prefix: &str) -> S3 {
        let (access, secret) = (self.value("AWS_ACCESS_KEY_ID"), self.value("AWS_SECRET_ACCESS_KEY"));
        S3::at(&self.endpoint, access, secret, BUCKET, prefix)
    }

    /// One more bucket, with nothing in it.
    pub fn create_bucket(&self, name: &str) {
        let Host::Here { server, .. } = &self.host else { panic!("only one in this process is given buckets") };
        server.lock().expect("nobody panics while it is held").buckets().create(name);
    }

    /// All of S3, as one sees it whose requests are told from others'.
    pub fn sdk_of(&self, client: &str) -> Client {
        let environment = self.environment_of(client);
        let value = |name| environment.iter().find(|(there, _)| there == name).map_or("", |(_, value)| value);
        let credentials =
            Credentials::new(value("AWS_ACCESS_KEY_ID"), value("AWS_SECRET_ACCESS_KEY"), None, None, "given");
        let config = aws_sdk_s3::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .credentials_provider(credentials)
            .region(Region::new(value("AWS_REGION").to_owned()))
            .endpoint_url(&self.endpoint)
            .force_path_style(true);
        Client::from_conf(config.build())
    }

    /// Keys of all that has these bytes in it.
    pub fn keys_with(&self, bytes: &[u8]) -> Vec<String> {
        let store = self.store("");
        block_on(async {
            let mut found = Vec::new();
            for object in store.list("").await.expect("it lists") {
                let got = store.get(&object.key, GetOptions::default()).await.expect("it was listed");
                if got.bytes.windows(bytes.len()).any(|there| there == bytes) {
                    found.push(object.key);
                }
            }
            found
        })
    }

    /// Keys below a prefix.
    pub fn keys(&self, prefix: &str) -> Vec<String> {
        let store = self.store(prefix);
        block_on(async { store.list("").await }).expect("it lists").into_iter().map(|object| object.key).collect()
    }

    /// Copies everything below a prefix to another.
    pub fn copy(&self, from: &str, to: &str) {
        let (from, to) = (self.store(from), self.store(to));
        block_on(async {
            for object in from.list("").await.expect("it lists") {
                mr_storage::copy(&from, &object.key, &to, &object.key).await.expect("it was listed");
            }
        });
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
