//! Any bytes as an output's Delta log: it is read or refused with a sentence, and settling the folder takes nothing that
//! the table has.

use crate::store::{store_of, wait};
use mr_core::{JobId, Mode, OutputFormat};
use mr_storage::DynStore;
use mr_table::{
    Abandoned, LOG_FOLDERS, OutputState, Snapshot, TableError, abandon, after_commit, inspect, may_write, repair,
    verify,
};
use std::collections::BTreeSet;

/// Entries are parted by this line, so that inputs can be read and mended by hand.
pub const NEXT_ENTRY: &[u8] = b"\n%%\n";

/// Objects in the output beside its log: parts and run files of jobs that entries may name, and some that are nobody's.
pub const OBJECTS: [&str; 13] = [
    "a.parquet",
    "b c.parquet",
    "part-00000-j1.parquet",
    "part-00000-j2.parquet",
    "part-00001-j2.parquet",
    "part-00000-j1.txt",
    "_runs/j1/job.json",
    "_runs/j1/report.json",
    "_runs/j2/job.json",
    "_runs/j2/pca/mean.npy",
    "_report.json",
    "notes.txt",
    "x/y.parquet",
];

pub fn delta_log(data: &[u8]) {
    for log in LOG_FOLDERS {
        let entries = split(data).into_iter().zip(0u64..);
        let entries = entries.map(|(entry, version)| (format!("{log}/{version:020}.json"), entry.to_vec()));
        let objects = OBJECTS.into_iter().map(|key| (key.to_owned(), b"x".to_vec()));
        let store = wait(store_of(entries.chain(objects)));
        let removes = |word: &[u8]| data.windows(word.len()).any(|window| window == word);
        wait(check(&store, removes(b"remove") || removes(b"runFiles")));
    }
}

fn split(data: &[u8]) -> Vec<&[u8]> {
    let mut entries = Vec::new();
    let mut from = 0;
    for at in 0..data.len() {
        if at >= from && data[at..].starts_with(NEXT_ENTRY) {
            entries.push(&data[from..at]);
            from = at + NEXT_ENTRY.len();
        }
    }
    entries.push(&data[from..]);
    entries
}

async fn check(store: &DynStore, removes: bool) {
    let state = match inspect(store).await {
        Ok(state) => state,
        Err(TableError::Refused(refusal)) => return assert!(refusal.0.contains("output"), "{refusal}"),
        Err(error) => panic!("a store in memory does not fail: {error}"),
    };
    for (mode, adopt) in [(Mode::Fail, false), (Mode::Overwrite, false), (Mode::Overwrite, true)] {
        for format in [OutputFormat::Parquet, OutputFormat::Text(None)] {
            if let Err(refusal) = may_write(&state, mode, adopt, format) {
                assert!(refusal.0.contains("choose another output"), "{refusal}");
            }
        }
    }
    let Some(table) = table_of(&state) else { return };
    let keys: Vec<_> = table.files.iter().filter_map(|file| file.key.as_ref()).collect();
    assert!(keys.is_sorted_by(|one, next| one < next), "files are in name order");
    let verified = verify(store).await;
    if let Ok(verified) = &verified {
        assert_eq!(verified.version, table.version);
        assert_eq!(verified.files, table.files.len() as u64);
    }
    settles(store, table, removes).await;
    abandons(store, table).await;
}

/// Whatever is settled: the log says the same, the table has all files that it had, and a second time nothing is to do.
async fn settles(store: &DynStore, table: &Snapshot, removes: bool) {
    let before = keys(store).await;
    repair(store, table).await.expect("memory does not fail");
    let settled = after_commit(store).await.expect("memory does not fail");
    let after = keys(store).await;
    keeps(table, &before, &after);
    for gone in before.difference(&after) {
        let nobodys = ["notes.txt", "x/y.parquet"].contains(&gone.as_str());
        assert!(settled.is_some(), "{gone} is gone, and no job of ours has written here");
        assert!(!LOG_FOLDERS.iter().any(|log| gone.starts_with(log)), "{gone} is of the log");
        assert!(!nobodys || removes, "{gone} was nobody's to take away");
    }
    assert_eq!(table_of(&inspect(store).await.expect("it was read before")), Some(table));
    let again = after_commit(store).await.expect("memory does not fail");
    assert_eq!(again.map(|settled| settled.deleted), settled.map(|_| 0));
    assert_eq!(keys(store).await, after);
}

/// A job that has committed keeps everything; of another, nothing goes that the table has.
async fn abandons(store: &DynStore, table: &Snapshot) {
    let before = keys(store).await;
    for id in ["j1", "j2", "j3"] {
        let job = JobId::parse(id).expect("it is one");
        let abandoned = abandon(store, &job).await.expect("memory does not fail");
        assert_eq!(abandoned == Abandoned::Committed, table.has_committed(&job));
    }
    keeps(table, &before, &keys(store).await);
}

fn keeps(table: &Snapshot, before: &BTreeSet<String>, after: &BTreeSet<String>) {
    for key in table.files.iter().filter_map(|file| file.key.as_ref()) {
        assert_eq!(before.contains(key), after.contains(key), "{key} is of the table");
    }
}

async fn keys(store: &DynStore) -> BTreeSet<String> {
    store.list("").await.expect("memory does not fail").into_iter().map(|object| object.key).collect()
}

fn table_of(state: &OutputState) -> Option<&Snapshot> {
    match state {
        OutputState::Ours(table) => Some(table),
        OutputState::Foreign { table, .. } => table.as_ref(),
        OutputState::Absent | OutputState::Empty => None,
    }
}
