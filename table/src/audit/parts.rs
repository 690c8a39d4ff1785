//! The parts of the table, one after another, and what their rows and the quarantine say of the input's objects.

use crate::audit::part::{self, Columns, Part};
use crate::audit::{Audit, Records, Row};
use crate::error::TableError;
use crate::names;
use crate::schema;
use crate::snapshot::{AddFile, Run, Snapshot};
use crate::survey::Survey;
use futures::{StreamExt, stream};
use mr_storage::{DynStore, StoreError};
use std::collections::{BTreeMap, BTreeSet};

/// Parts are in memory whole, and one is decoded while the next is on its way.
const PARTS_AT_ONCE: usize = 2;

impl Audit {
    pub(super) async fn parts(
        &mut self,
        output: &DynStore,
        survey: &Survey,
        table: &Snapshot,
        seen: impl Fn(u64, u64),
    ) -> Result<(), TableError> {
        let there: BTreeSet<_> = survey.listing.iter().map(|object| (object.key.as_str(), object.bytes)).collect();
        let root = self.report.as_ref().map(|report| report.settings.input.clone());
        let mut records = Records { whole: true, ..Records::default() };
        let mut keyed = root.is_some() && table.runs.last().is_some_and(Run::one_row_per_object);
        let mut first: Option<&str> = None;
        let mut parts = stream::iter(table.files.iter().enumerate())
            .map(|(number, file)| {
                let key = file.key.as_deref().filter(|key| there.contains(&(*key, file.bytes)));
                async move {
                    let part = match key {
                        Some(key) => part::read(output, key, file.crc32, table.format).await?,
                        // It has been told already.
                        None => Err(String::new()),
                    };
                    Ok::<_, StoreError>((number, file, part))
                }
            })
            .buffered(PARTS_AT_ONCE);
        while let Some(read) = parts.next().await {
            let (number, file, part) = read?;
            seen(number as u64 + 1, table.files.len() as u64);
            let held = file.crc32.is_some() && !matches!(&part, Err(what) if what.is_empty());
            self.checksums += u64::from(held);
            let part = match part {
                Ok(part) => part,
                Err(what) => {
                    records.whole = false;
                    if !what.is_empty() {
                        self.faults.add(&file.path, what);
                    }
                    continue;
                }
            };
            self.part(file, &part, table, &mut first);
            match (part.objects, &root) {
                // Rows of other jobs may have such a column as well, with whatever in it.
                _ if !keyed => {}
                (Some(objects), Some(root)) => self.records_of(file, number, objects, root, &mut records),
                _ => keyed = false,
            }
        }
        drop(parts);
        self.quarantine(root.as_deref(), &mut records);
        self.records = keyed.then_some(records);
        Ok(())
    }

    fn part<'a>(&mut self, file: &'a AddFile, part: &Part, table: &Snapshot, first: &mut Option<&'a str>) {
        self.rows += part.rows;
        if let Some(rows) = file.rows.filter(|rows| *rows != part.rows) {
            self.faults.add(&file.path, format!("it has {} rows, and the log says {rows}", part.rows));
        }
        if let Some(schema) = part.schema.as_ref().filter(|schema| !schema::same(schema, &table.schema)) {
            let difference = schema::difference(schema, &table.schema);
            self.faults.add(&file.path, format!("its columns are not those that the log says: {difference}"));
        }
        match first {
            None => {
                *first = Some(&file.path);
                self.footer = part.footer.clone();
            }
            Some(first) => {
                if let Some(difference) = difference(&part.footer, &self.footer) {
                    self.faults.add(&file.path, format!("its footer is not that of {first}: {difference}"));
                }
            }
        }
    }

    fn records_of(
        &mut self,
        file: &AddFile,
        part: usize,
        objects: Vec<(String, Option<u64>)>,
        root: &str,
        records: &mut Records,
    ) {
        for (position, (uri, bytes)) in objects.into_iter().enumerate() {
            let Some(key) = uri.strip_prefix(root) else {
                self.faults.add(&file.path, format!("row {position} is of {uri}, which is not below the input {root}"));
                records.whole = false;
                continue;
            };
            records.rows.push(Row { key: key.to_owned(), bytes, part: part as u32, position: position as u32 });
        }
    }

    fn quarantine(&mut self, root: Option<&str>, records: &mut Records) {
        const FILE: &str = "quarantine.parquet";
        let Some(bytes) = self.run_files.get(FILE) else {
            records.whole = false;
            return;
        };
        let set_aside = match part::decoded(bytes.clone(), Columns::Quarantine) {
            Ok(part) => part.set_aside.unwrap_or_default(),
            Err(what) => {
                records.whole = false;
                return self.faults.add(names::copy_of(FILE), what);
            }
        };
        for mut set_aside in set_aside {
            match root.and_then(|root| set_aside.key.strip_prefix(root)) {
                Some(key) => {
                    set_aside.key = key.to_owned();
                    records.quarantined.push(set_aside);
                }
                None if root.is_none() => records.quarantined.push(set_aside),
                None => {
                    records.whole = false;
                    self.faults.add(names::copy_of(FILE), format!("{} is not below the input", set_aside.key));
                }
            }
        }
    }
}

/// The first key under which two footers are not the same.
fn difference(one: &BTreeMap<String, String>, other: &BTreeMap<String, String>) -> Option<String> {
    let keys: BTreeSet<_> = one.keys().chain(other.keys()).collect();
    let key = keys.into_iter().find(|key| one.get(*key) != other.get(*key))?;
    let said = |footer: &BTreeMap<String, String>| footer.get(key).map_or("absent".to_owned(), |v| format!("{v:?}"));
    Some(format!("`{key}` is {} and not {}", said(one), said(other)))
}
