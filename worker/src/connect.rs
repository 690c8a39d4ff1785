//! The way to a coordinator on another host, or to one of several: one is at work, and the others stand by.

use anyhow::Context;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tonic::transport::{Channel, Endpoint};

/// Channels to all that may be at work, and which of them was when it was last asked.
#[derive(Clone, Debug)]
pub struct Coordinators {
    channels: Arc<[Channel]>,
    /// What they are called; none for those in the same process.
    names: Arc<[String]>,
    at: Arc<AtomicUsize>,
}

impl Coordinators {
    /// # Panics
    /// Without any channel.
    pub fn over(channels: Vec<Channel>) -> Self {
        assert!(!channels.is_empty(), "there is somebody to ask");
        Self { channels: channels.into(), names: Arc::default(), at: Arc::default() }
    }

    /// For people: "the coordinator at http://host:port".
    pub fn name(&self, at: usize) -> String {
        self.names.get(at).map_or("the coordinator".to_owned(), |url| format!("the coordinator at {url}"))
    }

    /// The one to be asked next, with its number.
    pub fn pick(&self) -> (usize, Channel) {
        let at = self.at.load(Ordering::Relaxed);
        (at, self.channels[at].clone())
    }

    /// That one did not answer, or stands by: the next is asked from now on, unless another caller has gone on already.
    pub fn turn(&self, at: usize) {
        let next = (at + 1) % self.channels.len();
        _ = self.at.compare_exchange(at, next, Ordering::Relaxed, Ordering::Relaxed);
    }

    pub fn count(&self) -> usize {
        self.channels.len()
    }
}

impl From<Channel> for Coordinators {
    fn from(channel: Channel) -> Self {
        Self::over(vec![channel])
    }
}

/// Connections that are made when they are first used, and again whenever they were lost. Several URLs are divided by
/// commas.
///
/// # Errors
/// When one of them is none.
pub fn connect(urls: &str) -> anyhow::Result<Coordinators> {
    let names: Vec<_> = urls.split(',').map(|url| url.trim().to_owned()).collect();
    let channels = names.iter().map(|url| one(url)).collect::<anyhow::Result<_>>()?;
    Ok(Coordinators { names: names.into(), ..Coordinators::over(channels) })
}

fn one(url: &str) -> anyhow::Result<Channel> {
    anyhow::ensure!(
        !url.is_empty(),
        "a coordinator's URL is empty: write http://host:port, or several divided by commas"
    );
    let endpoint =
        Endpoint::from_shared(url.to_owned()).with_context(|| format!("`{url}` is no URL of a coordinator"))?;
    anyhow::ensure!(
        endpoint.uri().scheme_str() == Some("http") && endpoint.uri().port().is_some(),
        "`{url}` is no URL of a coordinator: write http://host:port, or several of them divided by commas"
    );
    // A line that was cut says nothing, and after it has healed TCP tries again only as late as it has tried before: a new
    // connection is quicker. Silence and its proof together are well below a lease, so that none is lost over it.
    let patience = Duration::from_secs(5);
    Ok(endpoint
        .connect_timeout(patience)
        .http2_keep_alive_interval(patience)
        .keep_alive_timeout(patience)
        .keep_alive_while_idle(true)
        .tcp_nodelay(true)
        .connect_lazy())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn those_that_do_not_answer_are_passed_over_once_however_many_callers_say_so() {
        let coordinators = connect("http://a:1, http://b:2,http://c:3").unwrap();
        let at = |coordinators: &Coordinators| coordinators.pick().0;
        coordinators.turn(0);
        coordinators.turn(0);
        assert_eq!(at(&coordinators), 1);
        coordinators.turn(1);
        coordinators.turn(2);
        assert_eq!(at(&coordinators), 0);
        assert_eq!(coordinators.name(1), "the coordinator at http://b:2");
        for bad in ["", "http://a:1,", "http://a:1,https://b:2", "a:1"] {
            assert!(connect(bad).is_err(), "{bad}");
        }
    }
}
