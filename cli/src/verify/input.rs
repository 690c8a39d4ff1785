//! The input as it is now beside what the table says of it. What happened to it since is no fault of the output.

use crate::words;
use mr_core::{InputFilter, Object, Report};
use mr_storage::story;
use mr_table::{Findings, Records};
use std::collections::BTreeMap;

/// Keys that a note shows.
const NAMED: usize = 3;

#[derive(Debug, Default, PartialEq, Eq)]
pub struct Compared {
    /// Objects of rows or quarantine that are there now.
    pub met: u64,
    /// There now, wanted by the job, and neither in rows nor in quarantine. Unknown with what the job wants.
    pub added: Option<Vec<String>>,
    /// In rows or quarantine, and not there any more.
    pub gone: Vec<String>,
    /// There with another size, or another ETag where that is known.
    pub changed: Vec<String>,
    /// Rows, by their place in the table, whose object looks as it did; and that object.
    pub same: Vec<(usize, Object)>,
}

/// # Errors
/// A sentence.
pub async fn list(url: &str) -> Result<Vec<Object>, String> {
    let failed = |error: mr_storage::StoreError| format!("the input can't be listed: {}", story(&error));
    mr_storage::open(url).await.map_err(failed)?.list("").await.map_err(failed)
}

/// `filter`: which objects the job wants, if that is known.
pub fn compare(records: &Records, listing: Vec<Object>, filter: Option<&InputFilter>) -> Compared {
    let mut compared = Compared::default();
    // Taken out as they are met, but for their keys: a key that comes twice is no object that is gone.
    let mut there: BTreeMap<_, _> = listing.into_iter().map(|object| (object.key.clone(), Some(object))).collect();
    for (place, row) in records.rows.iter().enumerate() {
        let Some(object) = compared.meet(&row.key, &mut there) else { continue };
        match row.bytes {
            Some(bytes) if bytes != object.bytes => compared.changed.push(object.key),
            _ => compared.same.push((place, object)),
        }
    }
    for set_aside in &records.quarantined {
        let Some(object) = compared.meet(&set_aside.key, &mut there) else { continue };
        if (object.bytes, &object.etag) != (set_aside.bytes, &set_aside.etag) {
            compared.changed.push(object.key);
        }
    }
    let left = there.into_iter().filter_map(|(key, object)| object.map(|_| key));
    compared.added = filter.map(|filter| left.filter(|key| filter.wants(key)).collect());
    compared
}

impl Compared {
    fn meet(&mut self, key: &str, there: &mut BTreeMap<String, Option<Object>>) -> Option<Object> {
        let Some(object) = there.get_mut(key) else {
            self.gone.push(key.to_owned());
            return None;
        };
        self.met += u64::from(object.is_some());
        object.take()
    }

    pub fn tell(&self, report: &Report, records: &Records, faults: &mut Findings, notes: &mut Findings) {
        let has = (records.rows.len() + records.quarantined.len()) as u64;
        let lacking = report.books.listed.saturating_sub(has);
        if lacking > 0 {
            // The report counts more than there are: among these are those that were lost.
            for key in self.added.iter().flatten() {
                faults.add(
                    key,
                    format!("it has neither a row nor a place in quarantine, and {lacking} of that kind are lacking"),
                );
            }
        }
        let added = match &self.added {
            Some(added) if lacking == 0 && records.whole => added,
            _ => &Vec::new(),
        };
        let changes = [
            (&added[..], "was added since", "were added since"),
            (&self.gone[..], "is not there any more", "are not there any more"),
            (&self.changed[..], "was changed since", "were changed since"),
        ];
        for (keys, one, more) in changes {
            if !keys.is_empty() {
                let what = if keys.len() == 1 { one } else { more };
                notes.add("input", format!("{} {what}: {}", words::of(keys.len() as u64, "objects"), several(keys)));
            }
        }
    }
}

fn several(keys: &[String]) -> String {
    let mut text = keys.iter().take(NAMED).map(String::as_str).collect::<Vec<_>>().join(", ");
    if keys.len() > NAMED {
        text.push_str(&format!(" and {} more", words::count((keys.len() - NAMED) as u64)));
    }
    text
}
