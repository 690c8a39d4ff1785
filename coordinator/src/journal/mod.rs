//! The journal: what was decided, as objects of the state store that are numbered without a gap.
//!
//! An entry is written under the next number if there is none yet, and never changed. Whoever writes the next number is
//! the coordinator: one who takes over writes an empty entry first, and its number is the new epoch. From then on the one
//! before meets an entry wherever it wants to write, and stops ([`Fenced`]). So two that believe to be the coordinator can't
//! both make progress, whatever their clocks say and however long they slept.
//!
//! A *base* stands for all entries up to its number; those are removed then. `leader` is written now and then to show that
//! somebody lives. It only says when it is polite to take over: what keeps two apart is the numbering.

mod base;
mod facts;
mod landmark;
mod leader;
mod load;

pub use base::{base_facts, replayed};
pub use facts::{Encoder, to_listing};
pub use landmark::landmark;
pub use leader::{BEATS, Leader, Watcher, read_leader, resign, write_leader};
pub use load::{Recovered, load};

use crate::process::Process;
use bytes::Bytes;
use mr_core::Epoch;
use mr_proto::{journal, v1};
use mr_storage::{DynStore, GetOptions, Put, StoreError};
use std::time::Duration;

pub const PREFIX: &str = "journal/";

/// Between tries to write an entry while the store is away.
const PAUSE: [Duration; 2] = [Duration::from_millis(50), Duration::from_secs(5)];

/// Another coordinator has taken over.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "another coordinator (epoch {epoch}) has taken over from this one (epoch {own}): two must not work with one state, so \
     this one stops"
)]
pub struct Fenced {
    pub own: Epoch,
    pub epoch: Epoch,
}

pub fn entry_key(number: u64) -> String {
    format!("{PREFIX}{number:020}")
}

fn base_key(number: u64) -> String {
    format!("{PREFIX}base-{number:020}")
}

/// What an object of the journal is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Piece {
    Entry(u64),
    Base(u64),
}

fn piece(key: &str) -> Option<Piece> {
    let name = key.strip_prefix(PREFIX)?;
    let (kind, digits): (fn(u64) -> Piece, _) = match name.strip_prefix("base-") {
        Some(digits) => (Piece::Base, digits),
        None => (Piece::Entry, name),
    };
    (digits.len() == 20).then(|| digits.parse().ok().map(kind)).flatten()
}

/// Takes over: writes the entry after `last`. `None`: somebody else has written it meanwhile.
pub async fn claim(store: &DynStore, last: u64, writer: &str) -> Result<Option<Epoch>, StoreError> {
    let epoch = last + 1;
    let process = Process::this().map(|process| serde_json::to_string(&process).expect("it is plain data"));
    let (writer, process) = (writer.to_owned(), process.unwrap_or_default());
    let entry = v1::JournalEntry { epoch, writer, facts: Vec::new(), process };
    let bytes = Bytes::from(journal::entry_to(&entry));
    match store.put(&entry_key(epoch), bytes.clone(), Put::IfAbsent).await {
        Ok(_) => Ok(Some(epoch)),
        Err(StoreError::Exists { .. } | StoreError::Conflict { .. }) => Ok(None),
        // It may be there all the same.
        Err(error) if error.retryable() => match store.get(&entry_key(epoch), GetOptions::default()).await {
            Ok(there) => Ok((there.bytes == bytes).then_some(epoch)),
            Err(_) => Err(error),
        },
        Err(error) => Err(error),
    }
}

/// Writes an entry, for as long as it takes: what it says has been decided, and nothing goes on without it.
///
/// # Errors
/// When its number is another coordinator's.
pub async fn append(store: DynStore, number: u64, entry: v1::JournalEntry) -> Result<(), Fenced> {
    let (own, key) = (entry.epoch, entry_key(number));
    let bytes = Bytes::from(journal::entry_to(&entry));
    let mut pause = PAUSE[0];
    loop {
        let error = match store.put(&key, bytes.clone(), Put::IfAbsent).await {
            Ok(_) => return Ok(()),
            Err(error) => error,
        };
        // Whatever the store answered, what lies there is the truth.
        match store.get(&key, GetOptions::default()).await {
            Ok(there) if there.bytes == bytes => return Ok(()),
            Ok(there) => {
                let epoch = journal::entry_from(&there.bytes).map_or(number, |entry| entry.epoch);
                return Err(Fenced { own, epoch });
            }
            // One who took over may have put a base in its place.
            Err(StoreError::NotFound { .. }) if matches!(error, StoreError::Exists { .. }) => {
                return Err(Fenced { own, epoch: number });
            }
            Err(_) => {}
        }
        if pause == PAUSE[0] || pause == PAUSE[1] {
            tracing::warn!("writing to the journal, trying again: {}", mr_storage::story(&error));
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(PAUSE[1]);
    }
}

/// Writes a base for everything up to `number`, which must be an entry of ours, and removes what it stands for.
pub async fn rebase(store: DynStore, number: u64, base: v1::JournalEntry) -> Result<(), StoreError> {
    let bytes = Bytes::from(journal::entry_to(&base));
    match store.put(&base_key(number), bytes, Put::IfAbsent).await {
        Ok(_) | Err(StoreError::Exists { .. }) => {}
        Err(error) => return Err(error),
    }
    // The newest entry stays: its number is what the next one follows, and whoever is fenced meets it.
    for object in store.list(PREFIX).await? {
        match piece(&object.key) {
            Some(Piece::Entry(entry)) if entry < number => store.delete(&object.key).await?,
            Some(Piece::Base(base)) if base < number => store.delete(&object.key).await?,
            Some(Piece::Entry(_) | Piece::Base(_)) | None => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use mr_storage::Memory;
    use std::sync::Arc;

    fn store() -> DynStore {
        Arc::new(Memory::default())
    }

    fn entry(epoch: u64, writer: &str) -> v1::JournalEntry {
        v1::JournalEntry { epoch, writer: writer.into(), ..Default::default() }
    }

    #[test]
    fn names_are_told_apart() {
        assert_eq!(piece(&entry_key(7)), Some(Piece::Entry(7)));
        assert_eq!(piece(&base_key(7)), Some(Piece::Base(7)));
        for other in ["journal/leader", "journal/7", "work/00000000000000000007", "journal/base-7"] {
            assert_eq!(piece(other), None, "{other}");
        }
    }

    #[tokio::test]
    async fn whoever_has_been_replaced_is_fenced_and_the_same_write_twice_is_one() {
        let store = store();
        assert_eq!(claim(&store, 0, "one").await.unwrap(), Some(1));
        assert_eq!(append(store.clone(), 2, entry(1, "one")).await, Ok(()));
        assert_eq!(append(store.clone(), 2, entry(1, "one")).await, Ok(()), "its answer was lost");
        assert_eq!(claim(&store, 1, "two").await.unwrap(), None, "there is more than it has read");
        assert_eq!(claim(&store, 2, "two").await.unwrap(), Some(3));
        assert_eq!(append(store.clone(), 3, entry(1, "one")).await, Err(Fenced { own: 1, epoch: 3 }));
        assert_eq!(append(store.clone(), 4, entry(3, "two")).await, Ok(()));
    }

    #[tokio::test]
    async fn a_base_takes_the_place_of_what_it_stands_for() {
        let store = store();
        claim(&store, 0, "one").await.unwrap();
        for number in 2..=5 {
            append(store.clone(), number, entry(1, "one")).await.unwrap();
        }
        rebase(store.clone(), 4, entry(1, "one")).await.unwrap();
        let keys: Vec<_> = store.list(PREFIX).await.unwrap().into_iter().map(|object| object.key).collect();
        assert_eq!(keys, [entry_key(4), entry_key(5), base_key(4)]);
    }
}
