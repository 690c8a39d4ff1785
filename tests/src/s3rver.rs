//! `s3rver` from npm: an S3 server that knows nothing of conditional writes, as there are others.

use crate::programs::command;
use crate::s3::block_on;
use crate::shared::skipped;
use crate::{Running, Scratch};
use mr_storage::{S3, Store};

/// Its credentials are fixed.
const KEY: &str = "S3RVER";
const BUCKET: &str = "bucket";

pub struct S3rver {
    _running: Running,
    endpoint: String,
}

impl S3rver {
    /// Installed at the first call, which takes a while. Without it a test skips, or fails where everything must be shown.
    pub fn start(scratch: &Scratch) -> Option<Self> {
        let mut command = match xtask::npm::s3rver() {
            Ok(command) => command,
            Err(error) => {
                skipped(&format!("this test needs s3rver from npm: {error:#}"));
                return None;
            }
        };
        command.arg("--directory").arg(scratch.join("s3rver"));
        command.args(["--address", "127.0.0.1", "--port", "0", "--no-vhost-buckets", "--configure-bucket", BUCKET]);
        let mut running = Running::start(command, scratch);
        let address = running.until("say where it is", |process| {
            let said = process.stdout();
            let (_, rest) = said.split_once("listening on ")?;
            rest.split_once('\n').map(|(address, _)| address.trim().to_owned())
        });
        Some(Self { _running: running, endpoint: format!("http://{address}") })
    }

    /// A coordinator that is told to keep its state there.
    pub fn coordinator(&self, scratch: &Scratch) -> Running {
        let mut command = command(scratch, "mr-coordinator", None);
        command.args(["--listen", "127.0.0.1:0", "--state", &format!("s3://{BUCKET}/state/")]);
        command.envs([
            ("AWS_ENDPOINT_URL", self.endpoint.as_str()),
            ("AWS_ACCESS_KEY_ID", KEY),
            ("AWS_SECRET_ACCESS_KEY", KEY),
            ("AWS_REGION", "us-east-1"),
        ]);
        Running::start(command, scratch)
    }

    /// All that it holds.
    pub fn keys(&self) -> Vec<String> {
        let store = S3::at(&self.endpoint, KEY, KEY, BUCKET, "");
        block_on(async { store.list("").await }).expect("it lists").into_iter().map(|object| object.key).collect()
    }
}
