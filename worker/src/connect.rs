//! The way to a coordinator on another host.

use anyhow::Context;
use std::time::Duration;
use tonic::transport::{Channel, Endpoint};

/// A connection that is made when it is first used, and again whenever it was lost.
///
/// # Errors
/// When `url` is none.
pub fn connect(url: &str) -> anyhow::Result<Channel> {
    let endpoint =
        Endpoint::from_shared(url.to_owned()).with_context(|| format!("`{url}` is no URL of a coordinator"))?;
    anyhow::ensure!(
        endpoint.uri().scheme_str() == Some("http") && endpoint.uri().port().is_some(),
        "`{url}` is no URL of a coordinator: write http://host:port"
    );
    let patience = Duration::from_secs(10);
    Ok(endpoint
        .connect_timeout(patience / 2)
        .http2_keep_alive_interval(patience)
        .keep_alive_timeout(patience)
        .keep_alive_while_idle(true)
        .tcp_nodelay(true)
        .connect_lazy())
}
