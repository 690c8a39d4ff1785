//! The input as it is now beside what the table says of it. What happened to it since is no fault of the output.

use crate::key_list;
use crate::words;
use mr_core::{InputFilter, JobSpec, KeyList, ListedVersion, Object, Report};
use mr_storage::{DANGLING, DynStore, StoreError, present, story};
use mr_table::{Findings, Records};
use std::collections::{BTreeMap, BTreeSet};

/// Keys that a note shows.
const NAMED: usize = 3;

#[derive(Debug, Default, PartialEq, Eq)]
pub struct Compared {
    /// Objects of rows or quarantine that are there now.
    pub met: u64,
    /// There now, wanted by the job, and neither in rows nor in quarantine. Unknown with what the job wants, and when not all
    /// of the output can be read.
    pub added: Option<Vec<String>>,
    /// In rows or quarantine, and not there any more.
    pub gone: Vec<String>,
    /// There with another size, or another ETag where that is known.
    pub changed: Vec<String>,
    /// Rows, by their place in the table, whose object looks as it did; and that object.
    pub same: Vec<(usize, Object)>,
}

/// What is there now.
#[derive(Debug, Default)]
pub struct There {
    pub objects: Vec<Object>,
    /// Why it is not known what the input's list names, if it has one.
    pub list_unread: Option<String>,
}

/// All that is under the input. Of one with a list, what that names and what there are `records` of: the rest is not the
/// job's, and may be very much.
///
/// # Errors
/// A sentence.
pub async fn there(
    settings: &JobSpec,
    records: Option<&Records>,
    filter: Option<&InputFilter>,
) -> Result<There, String> {
    let failed = |error: StoreError| format!("the input can't be listed: {}", story(&error));
    let store = mr_storage::open(&settings.input).await.map_err(failed)?;
    let Some(url) = &settings.input_list else {
        let objects = store.list("").await.map_err(failed)?;
        return Ok(There { objects, list_unread: None });
    };
    let Some(records) = records else { return Ok(There::default()) };
    // Without the job's filter new ones are not told, whatever the list names.
    let list = match filter {
        Some(filter) => key_list::read(url, &settings.input, filter).await,
        None => Ok(KeyList::default()),
    };
    let (list, list_unread) = match list {
        Ok(list) => (list, None),
        Err(why) => (KeyList::default(), Some(format!("{url}: {why}"))),
    };
    let objects = listed(&store, records, &list).await.map_err(failed)?;
    Ok(There { objects, list_unread })
}

async fn listed(store: &DynStore, records: &Records, list: &KeyList) -> Result<Vec<Object>, StoreError> {
    let recorded = records.rows.iter().map(|row| row.key.as_str());
    let mut keys: BTreeSet<_> = recorded.chain(records.quarantined.iter().map(|object| object.key.as_str())).collect();
    let mut objects = Vec::new();
    for listed in list.objects() {
        match &listed.version {
            // The job took it at its word as well.
            Some(ListedVersion { bytes, etag }) if !keys.contains(listed.key.as_str()) => {
                objects.push(Object { key: listed.key.clone(), bytes: *bytes, etag: etag.clone() });
            }
            _ => _ = keys.insert(&listed.key),
        }
    }
    objects.extend(present(store.as_ref(), keys.iter().copied()).await?.into_iter().flatten());
    let found: BTreeSet<_> = objects.iter().map(|object| object.key.clone()).collect();
    // What the list named and was not there is as it was, if it still is not.
    let never = records.quarantined.iter().filter(|object| object.etag == DANGLING && !found.contains(&object.key));
    objects.extend(never.map(|object| Object { key: object.key.clone(), bytes: 0, etag: DANGLING.to_owned() }));
    Ok(objects)
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
    // An object without a row may have one in what could not be read.
    let left = there.into_iter().filter_map(|(key, object)| object.map(|_| key));
    let filter = filter.filter(|_| records.whole);
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
            Some(added) if lacking == 0 => added,
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

#[cfg(test)]
mod tests {
    use super::*;
    use mr_table::{Row, SetAside};

    fn object(key: &str, bytes: u64) -> Object {
        Object { key: key.into(), bytes, etag: format!("{key}{bytes}") }
    }

    fn records(rows: &[&str], quarantined: &[&str]) -> Records {
        let set_aside = |key: &&str| SetAside { key: (*key).into(), bytes: 1, etag: format!("{key}1") };
        let row = |key: &&str| Row { key: (*key).into(), bytes: Some(1), part: 0, position: 0 };
        Records {
            rows: rows.iter().map(row).collect(),
            quarantined: quarantined.iter().map(set_aside).collect(),
            whole: true,
        }
    }

    fn check(records: &Records, listing: &[(&str, u64)], report_listed: u64) -> (Vec<String>, Vec<String>) {
        let filter = InputFilter { extensions: vec!["jpg".into()] };
        let listing = listing.iter().map(|(key, bytes)| object(key, *bytes)).collect();
        let mut report = crate::verify::tests::report();
        report.books.listed = report_listed;
        let (mut faults, mut notes) = (Findings::default(), Findings::default());
        compare(records, listing, Some(&filter)).tell(&report, records, &mut faults, &mut notes);
        let said = |findings: &Findings| findings.first().iter().map(|f| format!("{}: {}", f.at, f.what)).collect();
        (said(&faults), said(&notes))
    }

    #[test]
    fn what_happened_to_the_input_since_is_no_fault() {
        let records = records(&["a.jpg", "b.jpg"], &["q.jpg"]);
        let as_it_was = [("a.jpg", 1), ("b.jpg", 1), ("notes.txt", 9), ("q.jpg", 1)];
        assert_eq!(check(&records, &as_it_was, 3), (vec![], vec![]));
        let other = [("a.jpg", 2), ("c.jpg", 1), ("d.jpg", 1), ("notes.txt", 9), ("q.jpg", 4)];
        let notes = [
            "input: 2 objects were added since: c.jpg, d.jpg",
            "input: 1 object is not there any more: b.jpg",
            "input: 2 objects were changed since: a.jpg, q.jpg",
        ];
        assert_eq!(check(&records, &other, 3), (vec![], notes.map(String::from).to_vec()));
        let many: Vec<_> = ["1.jpg", "2.jpg", "3.jpg", "4.jpg", "5.jpg"].map(|key| (key, 1)).into();
        assert!(check(&records, &many, 3).1[0].ends_with("5 objects were added since: 1.jpg, 2.jpg, 3.jpg and 2 more"));
    }

    #[test]
    fn what_the_report_counts_and_nothing_has_is_a_fault() {
        let (faults, notes) = check(&records(&["a.jpg"], &[]), &[("a.jpg", 1), ("b.jpg", 1)], 2);
        assert_eq!(faults, ["b.jpg: it has neither a row nor a place in quarantine, and 1 of that kind are lacking"]);
        assert!(notes.is_empty());
    }

    #[test]
    fn rows_whose_objects_look_as_they_did_may_be_computed_again() {
        let listing = || vec![object("a.jpg", 1), object("b.jpg", 2), object("x.jpg", 1)];
        let compared = compare(&records(&["a.jpg", "a.jpg", "b.jpg"], &["q.jpg"]), listing(), None);
        assert_eq!(compared.same, [(0, object("a.jpg", 1))], "a second row of one object is told elsewhere");
        assert_eq!((compared.met, compared.added), (2, None));
        assert_eq!((compared.gone, compared.changed), (vec!["q.jpg".to_owned()], vec!["b.jpg".to_owned()]));
    }
}
