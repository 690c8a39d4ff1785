//! `mr-s3-server`: the test server as a process, for trials by hand and for tests with real processes.

use clap::Parser;
use mr_s3_server::{Options, Server};
use std::net::SocketAddr;
use std::path::PathBuf;
use tokio::signal::unix::{SignalKind, signal};

/// An S3 server for tests that keeps everything in memory; its endpoint is printed on stdout when it is ready
#[derive(Debug, Parser)]
#[command(version)]
struct Args {
    /// Where to listen; port 0 picks one
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// A bucket that is there from the start (repeatable); the first one is loaded into
    #[arg(long = "bucket", value_name = "NAME", required = true, value_parser = parse_bucket)]
    buckets: Vec<String>,
    /// A folder to hold from the start, and the prefix of its keys (repeatable)
    #[arg(long, value_name = "DIR=PREFIX", value_parser = parse_load)]
    load: Vec<(PathBuf, String)>,
    /// The most keys on a page of a listing
    #[arg(long, default_value_t = 1000, value_name = "N")]
    page_keys: usize,
    /// Answer more requests a second than this with SlowDown
    #[arg(long, value_name = "N")]
    requests_per_second: Option<f64>,
}

fn parse_bucket(name: &str) -> Result<String, &'static str> {
    match s3s::path::check_bucket_name(name) {
        true => Ok(name.to_owned()),
        false => Err("S3 has no such names: 3 to 63 lower-case letters, digits, dots and hyphens"),
    }
}

/// A prefix is a folder; without `=` the keys begin with the paths below DIR.
fn parse_load(text: &str) -> Result<(PathBuf, String), String> {
    let (folder, prefix) = text.rsplit_once('=').unwrap_or((text, ""));
    let prefix = match prefix.trim_matches('/') {
        "" => String::new(),
        prefix => format!("{prefix}/"),
    };
    Ok((folder.into(), prefix))
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let options = Options {
        listen: args.listen,
        page_keys: args.page_keys.max(1),
        buckets: args.buckets.clone(),
        requests_per_second: args.requests_per_second,
    };
    let server = Server::start(options).await?;
    for (folder, prefix) in &args.load {
        let count = server.buckets().load(&args.buckets[0], folder, prefix)?;
        eprintln!("{count} objects from {} under s3://{}/{prefix}", folder.display(), args.buckets[0]);
    }
    for (name, value) in server.environment() {
        eprintln!("export {name}={value}");
    }
    println!("{}", server.endpoint);
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    let (taken, throttled) = server.requests();
    eprintln!("{taken} requests taken, {throttled} throttled");
    Ok(())
}
