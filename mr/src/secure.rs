//! What the two long-running programs need to know of certificates: where plain text may be spoken, and when they end.

use anyhow::{Context, bail};
use mr_tls::{Acceptor, Connector, Role, ends_soon, try_out};
use mr_worker::Trust;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio_util::sync::CancellationToken;

const LOOK_EVERY: Duration = Duration::from_secs(12 * 3600);

/// # Errors
/// When it is empty: a variable that got lost must not make plain text of it.
pub fn folder(certs: Option<PathBuf>) -> anyhow::Result<Option<PathBuf>> {
    let empty = certs.as_ref().is_some_and(|folder| folder.as_os_str().is_empty());
    anyhow::ensure!(!empty, "`--certs` (or MR_CERTS) is empty: name a folder, or leave it out");
    Ok(certs)
}

/// How a coordinator listens there: with certificates, or in plain text where that is harmless or wanted.
///
/// # Errors
/// When it is neither, or the certificates are of no use.
pub fn acceptor(certs: Option<&Path>, insecure: bool, listen: SocketAddr) -> anyhow::Result<Option<Acceptor>> {
    match certs {
        Some(folder) => Ok(Some(Acceptor::open(folder).context("`--certs`")?)),
        None if listen.ip().is_loopback() => Ok(None),
        None if insecure => {
            tracing::warn!(
                "listening on {listen} in plain text: whoever reaches it may submit jobs and pass for a worker"
            );
            Ok(None)
        }
        None => bail!(
            "on {listen} anyone could call, and in plain text: give `--certs DIR` (`mr-coordinator certs init` makes what is \
             needed), or `--insecure` where nobody else is on the network"
        ),
    }
}

/// How a worker speaks to its coordinator.
///
/// # Errors
/// When the certificates are of no use.
pub fn trust(certs: Option<&Path>, insecure: bool) -> anyhow::Result<Trust> {
    let tls = certs.map(|folder| Connector::open(folder, Role::Worker)).transpose().context("`--certs`")?;
    Ok(Trust { tls: tls.map(Arc::new), insecure })
}

/// For a coordinator that starts its workers itself: each of them would be sent away, and another one started.
///
/// # Errors
/// When workers with these certificates would not be let in, or would not believe the coordinator.
pub async fn check_workers(acceptor: &Acceptor, certs: &Path) -> anyhow::Result<()> {
    let connector = Connector::open(certs, Role::Worker).context("`certs`")?;
    let tried = try_out(acceptor, &connector).await;
    tried.with_context(|| format!("`certs`: workers of {} and this coordinator would not do", certs.display()))
}

/// # Errors
/// When that would tell more than this machine in plain text, and nobody has said that it may.
pub fn check_metrics(address: SocketAddr, insecure: bool) -> anyhow::Result<()> {
    anyhow::ensure!(
        address.ip().is_loopback() || insecure,
        "`--metrics {address}` would answer anyone, in plain text: use an address of this machine alone, such as 127.0.0.1:{}, or \
         `--metrics-insecure` where whoever is on the network may read these numbers",
        address.port()
    );
    if !address.ip().is_loopback() {
        tracing::warn!("`--metrics {address}` answers whoever reaches it, in plain text");
    }
    Ok(())
}

/// Says in time that the certificate in use will end.
pub fn watch_end(until: impl Fn() -> SystemTime + Send + 'static, stop: CancellationToken) {
    tokio::spawn(async move {
        loop {
            match ends_soon(until()) {
                None => {}
                Some(Duration::ZERO) => {
                    tracing::error!("the certificate in use has ended: `mr-coordinator certs rotate` makes new ones");
                }
                Some(left) => tracing::warn!(
                    "the certificate in use ends in {} hours: `mr-coordinator certs rotate` makes new ones, which are used \
                     without a restart",
                    left.as_secs() / 3600
                ),
            }
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(LOOK_EVERY) => {}
            }
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_text_stays_on_this_machine_unless_somebody_says_otherwise() {
        let address = |text: &str| text.parse::<SocketAddr>().unwrap();
        for here in ["127.0.0.1:7171", "127.3.2.1:0", "[::1]:7171"] {
            assert!(matches!(acceptor(None, false, address(here)), Ok(None)), "{here}");
            assert!(check_metrics(address(here), false).is_ok());
        }
        for there in ["0.0.0.0:7171", "[::]:7171", "10.0.0.1:7171", "[::ffff:127.0.0.1]:7171"] {
            let told = acceptor(None, false, address(there)).err().unwrap().to_string();
            assert!(told.contains("`--certs DIR`") && told.contains("`--insecure`"), "{told}");
            assert!(matches!(acceptor(None, true, address(there)), Ok(None)), "{there}");
            let told = check_metrics(address(there), false).unwrap_err().to_string();
            assert!(told.contains("`--metrics-insecure`"), "{told}");
            assert!(check_metrics(address(there), true).is_ok(), "{there}");
        }
        let nowhere = Path::new("/nonexistent");
        for insecure in [false, true] {
            let told = format!("{:#}", acceptor(Some(nowhere), insecure, address("127.0.0.1:0")).err().unwrap());
            assert!(told.contains("/nonexistent/ca.pem"), "{told}");
        }
    }
}
