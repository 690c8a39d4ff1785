//! Who is at work, for those that would take over: a small object that changes every few seconds.
//!
//! Nobody compares clocks of two machines: whoever waits sees that the object has not changed for a while by its own clock.

use crate::process::Process;
use bytes::Bytes;
use mr_core::Epoch;
use mr_storage::{DynStore, GetOptions, Put, StoreError};
use serde::{Deserialize, Serialize};
use std::time::{Duration, Instant};

const KEY: &str = "journal/leader";

/// A coordinator shows that it lives this many times in what is taken for silence.
pub const BEATS: u32 = 4;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Leader {
    pub epoch: Epoch,
    /// Unlike every other process.
    pub writer: String,
    pub process: Option<Process>,
    pub beat: u64,
    /// It has stopped of its own accord, and nobody need wait.
    #[serde(default)]
    pub resigned: bool,
}

/// `None`: there has been none yet, or its mark can't be read, which is as good as none.
pub async fn read_leader(store: &DynStore) -> Result<Option<Leader>, StoreError> {
    match store.get(KEY, GetOptions::default()).await {
        Ok(got) => Ok(serde_json::from_slice(&got.bytes).ok()),
        Err(StoreError::NotFound { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

/// A first and a last word outlast a power failure; beats need not, for then nobody lives.
pub async fn write_leader(store: &DynStore, leader: &Leader) -> Result<(), StoreError> {
    let bytes = Bytes::from(serde_json::to_vec(leader).expect("a leader is plain data"));
    let lasts = leader.resigned || leader.beat == 0;
    store.put(KEY, bytes, if lasts { Put::Overwrite } else { Put::Temporary }).await.map(drop)
}

/// Leaves a word that the next one need not wait, unless somebody else is at work already.
pub async fn resign(store: &DynStore, epoch: Epoch, writer: &str) {
    if let Ok(Some(leader)) = read_leader(store).await
        && leader.epoch == epoch
    {
        let leader = Leader { epoch, writer: writer.to_owned(), process: None, beat: u64::MAX, resigned: true };
        if let Err(error) = write_leader(store, &leader).await {
            tracing::debug!("resigning: {error}");
        }
    }
}

/// Whether the one who is at work has been silent for too long.
#[derive(Debug)]
pub struct Watcher {
    silence_max: Duration,
    seen: Option<(Leader, Instant)>,
}

impl Leader {
    /// Whether the machine may have gone down under it, and with it whatever was not yet on the disk.
    pub fn may_have_lost_files(&self) -> bool {
        !self.resigned && self.process.as_ref().is_none_or(|process| !process.is_of_this_boot())
    }
}

impl Watcher {
    pub fn new(silence_max: Duration) -> Self {
        Self { silence_max, seen: None }
    }

    /// What was read just now. `true`: nobody is at work.
    pub fn see(&mut self, leader: Option<Leader>, now: Instant) -> bool {
        let Some(leader) = leader.filter(|leader| !leader.resigned) else { return true };
        match &self.seen {
            Some((seen, since)) if *seen == leader => now.duration_since(*since) >= self.silence_max,
            Some(_) | None => {
                self.seen = Some((leader, now));
                false
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_silence_or_a_word_of_its_own_ends_a_leader() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let leader = |beat| Some(Leader { epoch: 1, writer: "one".into(), process: None, beat, resigned: false });
        let mut watcher = Watcher::new(Duration::from_secs(9));
        assert!(!watcher.see(leader(1), at(0)), "it may have died long ago, but who knows");
        assert!(!watcher.see(leader(1), at(8)));
        assert!(!watcher.see(leader(2), at(12)), "it was only slow");
        assert!(!watcher.see(leader(2), at(20)));
        assert!(watcher.see(leader(2), at(21)));
        assert!(Watcher::new(Duration::from_secs(9)).see(None, at(0)));
        let resigned = leader(3).map(|leader| Leader { resigned: true, ..leader });
        assert!(Watcher::new(Duration::from_secs(9)).see(resigned, at(0)));
    }
}
