//! `--metrics`: where the two long-running programs tell of themselves, and whether they are well.

use anyhow::Context;
use mr_metrics::{Health, Page};
use std::net::SocketAddr;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// Serves both in the background, if there is an address for that.
///
/// # Errors
/// When nobody can listen there.
pub async fn serve<F, G>(
    address: Option<SocketAddr>,
    stop: &CancellationToken,
    ask: impl Fn() -> F + Send + Sync + 'static,
    health: impl Fn() -> G + Send + Sync + 'static,
) -> anyhow::Result<()>
where
    F: Future<Output = Option<Page>> + Send + 'static,
    G: Future<Output = Health> + Send + 'static,
{
    let Some(address) = address else { return Ok(()) };
    let listener = TcpListener::bind(address).await.with_context(|| format!("`--metrics`: listening on {address}"))?;
    tracing::info!("metrics are at http://{}/metrics", listener.local_addr()?);
    tokio::spawn(mr_metrics::serve(listener, stop.clone(), ask, health));
    Ok(())
}
