//! Any bytes as a journal: a coordinator takes it up or says why not, and what it knows then, it knows again from the base
//! that it writes.

use crate::memory::peak_of;
use crate::pieces::pieces;
use crate::store::{store_of, wait};
use mr_coordinator::replayed;
use mr_proto::{journal, v1};
use mr_storage::{DynStore, Put};

/// Tags of the pieces: an entry without its seal, a base in place of all entries before it, and a listing. Listings lie under `l0`, `l1` and
/// so on, where entries may say that they are.
pub const ENTRY: u8 = 0;
pub const BASE: u8 = 1;
pub const LISTING: u8 = 2;

const EPOCH: u64 = 1_000;

/// What an input of some kilobytes may make of itself, plans for millions of tasks included.
const MEMORY_MAX_BYTES: u64 = 1 << 30;

pub fn journal(data: &[u8]) {
    let store = store(data);
    let (replay, peak) = peak_of(|| wait(replayed(&store, EPOCH)));
    assert!(peak <= MEMORY_MAX_BYTES, "{peak} bytes for a journal of {}", data.len());
    match replay {
        Ok(facts) => same(facts.clone(), wait(after_a_base(&store, facts))),
        Err(error) => assert!(!format!("{error:#}").is_empty()),
    }
}

fn store(data: &[u8]) -> DynStore {
    let (mut entries, mut bases, mut listings) = (Vec::new(), Vec::new(), Vec::new());
    for (tag, bytes) in pieces(data) {
        match tag % 3 {
            // Sealed, or nothing but the seal would ever be looked at.
            ENTRY => entries.push(journal::seal(bytes)),
            BASE => bases.push((entries.len() as u64, journal::seal(bytes))),
            _ => listings.push(bytes.to_vec()),
        }
    }
    for bytes in &entries {
        if let Ok(entry) = journal::entry_from(bytes) {
            assert_eq!(journal::entry_from(&journal::entry_to(&entry)).as_ref(), Ok(&entry));
        }
    }
    let entries = (1..).zip(entries).map(|(number, bytes): (u64, _)| (format!("journal/{number:020}"), bytes));
    let bases = bases.into_iter().map(|(number, bytes)| (format!("journal/base-{number:020}"), bytes));
    let listings = (0..).zip(listings).map(|(number, bytes): (u64, _)| (format!("l{number}"), bytes));
    wait(store_of(entries.chain(bases).chain(listings)))
}

/// The same is known of every job, and no output is forgotten that others may use. There may be more of these: a task that is
/// done is found under the key that is computed now, whatever key was written with it.
fn same(before: Vec<v1::JournalFact>, after: Vec<v1::JournalFact>) {
    let is_kept = |fact: &v1::JournalFact| matches!(fact.what, Some(v1::journal_fact::What::Kept(_)));
    let (kept_before, of_jobs_before): (Vec<_>, Vec<_>) = before.into_iter().partition(is_kept);
    let (kept_after, of_jobs_after): (Vec<_>, Vec<_>) = after.into_iter().partition(is_kept);
    assert_eq!(of_jobs_after, of_jobs_before);
    for kept in kept_before {
        assert!(kept_after.contains(&kept), "{kept:?} is forgotten");
    }
}

/// What is known when a base says it.
async fn after_a_base(store: &DynStore, facts: Vec<v1::JournalFact>) -> Vec<v1::JournalFact> {
    let base = v1::JournalEntry { epoch: EPOCH, writer: "test".into(), facts, ..Default::default() };
    let bytes = journal::entry_to(&base).into();
    let key = format!("journal/base-{EPOCH:020}");
    store.put(&key, bytes, Put::Overwrite).await.expect("memory takes it");
    replayed(store, EPOCH).await.expect("a base of ours is read")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_seed_is_a_journal() {
        for (number, seed) in crate::seeds::seeds("journal").iter().enumerate() {
            let replayed = wait(replayed(&store(seed), EPOCH));
            assert!(replayed.is_ok(), "{number}: {:#}", replayed.unwrap_err());
        }
    }
}
