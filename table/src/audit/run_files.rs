//! What the newest run brought, in its folder and beside the parts: the two say the same, and what was committed.

use crate::audit::of_object;
use crate::error::TableError;
use crate::findings::Findings;
use crate::names::{self, SUCCESS};
use crate::settle::success;
use crate::snapshot::Run;
use bytes::Bytes;
use mr_core::Object;
use mr_storage::{DynStore, GetOptions};
use std::collections::{BTreeMap, BTreeSet};

#[derive(Debug, Default)]
pub(crate) struct RunFiles {
    /// By their path in the run's folder.
    pub files: BTreeMap<String, Bytes>,
    pub copies: u64,
    pub faults: Findings,
    pub notes: Findings,
}

pub(crate) async fn read(output: &DynStore, listing: &[Object], newest: &Run) -> Result<RunFiles, TableError> {
    let there: BTreeSet<_> = listing.iter().map(|object| object.key.as_str()).collect();
    let folder = names::run_folder(&newest.job);
    let mut read = RunFiles::default();
    // Somebody may have tidied it away, which takes nothing from the table.
    let tidied = !there.iter().any(|key| key.starts_with(&folder));
    if tidied {
        read.notes.add(&folder, "it is not there, so the copies beside the parts have nothing to be held against");
    }
    for path in &newest.files {
        let (own, copy) = (format!("{folder}{path}"), names::copy_of(path));
        let crc32 = newest.crc32.get(path).copied();
        let mut found = Vec::new();
        for key in [&own, &copy] {
            if !there.contains(key.as_str()) {
                if !(tidied && *key == own) {
                    read.faults.add(key, "it is not there");
                }
                continue;
            }
            match of_object(output.get(key, GetOptions::default()).await)? {
                Ok(got) if crc32.is_none_or(|crc32| crc32 == crc32fast::hash(&got.bytes)) => found.push(got.bytes),
                Ok(_) => read.faults.add(key, "its bytes are not those that were committed: they have another CRC-32"),
                Err(what) => read.faults.add(key, what),
            }
        }
        if let [of_run, of_copy] = &found[..] {
            match of_run == of_copy {
                true => read.copies += 1,
                false => read.faults.add(&copy, format!("it is not a copy of {own}")),
            }
        }
        if let Some(bytes) = found.into_iter().next() {
            read.files.insert(path.clone(), bytes);
        }
    }
    match of_object(output.get(SUCCESS, GetOptions::default()).await)? {
        Ok(mark) if mark.bytes == success(newest) => {}
        Ok(_) => read.faults.add(SUCCESS, "it is not the mark of the newest job"),
        Err(_) if !there.contains(SUCCESS) => {
            let what =
                "it is not there: the newest job has not yet tidied up after its commit, or was killed before it had";
            read.faults.add(SUCCESS, what);
        }
        Err(what) => read.faults.add(SUCCESS, what),
    }
    Ok(read)
}

/// The marks that jobs have set before their parts: each says whose folder it is in.
pub(crate) async fn markers(output: &DynStore, listing: &[Object]) -> Result<Findings, TableError> {
    let mut faults = Findings::default();
    for object in listing {
        let Some((job, path)) = names::job_of_run_file(&object.key) else { continue };
        if path != names::MARKER {
            continue;
        }
        match of_object(output.get(&object.key, GetOptions::default()).await)? {
            Ok(got) if names::marks(&got.bytes, &job) => {}
            Ok(_) => faults.add(&object.key, format!("it is not the mark that job {job} has set")),
            Err(what) => faults.add(&object.key, what),
        }
    }
    Ok(faults)
}
