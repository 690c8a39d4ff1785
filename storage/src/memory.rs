//! Bytes under keys in this process, for tests and for whoever needs a store that leaves nothing behind.

use crate::key::{check_key, check_prefix};
use crate::{GetOptions, Got, Object, Put, Store, StoreError, object_url};
use async_trait::async_trait;
use bytes::Bytes;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard};

/// `memory://name/prefix/`. Stores of one name in one process share their objects, whatever their prefixes.
#[derive(Debug)]
pub struct Memory {
    url: String,
    prefix: String,
    shelf: Arc<Mutex<Shelf>>,
}

#[derive(Debug, Default)]
struct Shelf {
    objects: BTreeMap<String, Held>,
    writes: u64,
}

#[derive(Clone, Debug)]
struct Held {
    bytes: Bytes,
    etag: String,
}

static SHELVES: LazyLock<Mutex<HashMap<String, Arc<Mutex<Shelf>>>>> = LazyLock::new(Mutex::default);

impl Memory {
    /// `prefix` is empty or ends in `/`.
    pub(crate) fn open(name: &str, prefix: &str) -> Self {
        let mut shelves = SHELVES.lock().expect("nothing panics while it is held");
        Self {
            url: format!("memory://{name}/{prefix}"),
            prefix: prefix.into(),
            shelf: shelves.entry(name.into()).or_default().clone(),
        }
    }

    /// A store that nothing else shares.
    pub fn new() -> Self {
        Self { url: "memory:///".into(), prefix: String::new(), shelf: Arc::default() }
    }

    fn shelf(&self) -> MutexGuard<'_, Shelf> {
        self.shelf.lock().expect("nothing panics while it is held")
    }

    fn full(&self, key: &str) -> String {
        format!("{}{key}", self.prefix)
    }

    fn held(&self, key: &str, doing: &str) -> Result<Held, StoreError> {
        check_key(key)?;
        let found = self.shelf().objects.get(&self.full(key)).cloned();
        found.ok_or_else(|| StoreError::not_found(format!("{doing} {}", object_url(&self.url, key))))
    }
}

impl Default for Memory {
    fn default() -> Self {
        Self::new()
    }
}

#[async_trait]
impl Store for Memory {
    fn url(&self) -> &str {
        &self.url
    }

    async fn list(&self, prefix: &str) -> Result<Vec<Object>, StoreError> {
        check_prefix(prefix)?;
        let from = self.full(prefix);
        let shelf = self.shelf();
        let found = shelf.objects.range(from.clone()..);
        let found = found.take_while(|(key, _)| key.starts_with(&from));
        Ok(found.map(|(key, held)| object(&key[self.prefix.len()..], held)).collect())
    }

    async fn get(&self, key: &str, options: GetOptions) -> Result<Got, StoreError> {
        let Held { bytes, etag } = self.held(key, "reading")?;
        let doing = || format!("reading {}", object_url(&self.url, key));
        if options.if_match.is_some_and(|wanted| wanted != etag) {
            return Err(StoreError::changed(doing(), "its etag is another"));
        }
        let bytes = match options.range {
            None => bytes,
            Some(range) => {
                let cut = cut(&range, bytes.len() as u64).map_err(|e| StoreError::fatal(doing(), e))?;
                bytes.slice(cut.start as usize..cut.end as usize)
            }
        };
        Ok(Got { bytes, etag })
    }

    async fn head(&self, key: &str) -> Result<Object, StoreError> {
        Ok(object(key, &self.held(key, "looking at")?))
    }

    async fn put(&self, key: &str, bytes: Bytes, how: Put) -> Result<String, StoreError> {
        check_key(key)?;
        let doing = || format!("writing {}", object_url(&self.url, key));
        let mut shelf = self.shelf();
        let there = shelf.objects.get(&self.full(key)).map(|held| &held.etag);
        match (how, there) {
            (Put::Overwrite | Put::Temporary, _) | (Put::IfAbsent, None) => {}
            (Put::IfAbsent, Some(_)) => return Err(StoreError::exists(doing())),
            (Put::IfMatch(wanted), Some(there)) if wanted == *there => {}
            (Put::IfMatch(_), Some(_)) => return Err(StoreError::changed(doing(), "its etag is another")),
            (Put::IfMatch(_), None) => return Err(StoreError::changed(doing(), "it is gone")),
        }
        shelf.writes += 1;
        let etag = format!("{:x}", shelf.writes);
        let held = Held { bytes, etag: etag.clone() };
        shelf.objects.insert(self.full(key), held);
        Ok(etag)
    }

    async fn delete(&self, key: &str) -> Result<(), StoreError> {
        check_key(key)?;
        self.shelf().objects.remove(&self.full(key));
        Ok(())
    }
}

fn object(key: &str, held: &Held) -> Object {
    Object { key: key.into(), bytes: held.bytes.len() as u64, etag: held.etag.clone() }
}

/// The part of `range` that an object of this length has, or why it has none.
pub(crate) fn cut(range: &std::ops::Range<u64>, length: u64) -> Result<std::ops::Range<u64>, String> {
    if range.start > range.end {
        return Err(format!("the range {range:?} runs backwards"));
    }
    if range.start >= length && range.start < range.end {
        return Err(format!("the range {range:?} begins beyond its {length} bytes"));
    }
    Ok(range.start.min(length)..range.end.min(length))
}
