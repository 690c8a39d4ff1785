//! What the server holds. One lock over all of it, held for the length of a map operation, so that checking a
//! condition and writing are one step.

use bytes::Bytes;
use md5::{Digest, Md5};
use s3s::{S3Result, s3_error};
use std::collections::{BTreeMap, HashMap};
use std::ops::Bound;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::SystemTime;
use std::{fs, io};

/// S3 wants every part but the last to have at least this size.
const PART_BYTES_MIN: usize = 5 << 20;

#[derive(Debug, Default)]
pub struct Buckets {
    buckets: Mutex<BTreeMap<String, Bucket>>,
}

#[derive(Debug, Default)]
struct Bucket {
    objects: BTreeMap<String, Arc<Stored>>,
    uploads: HashMap<String, Upload>,
    uploads_begun: u64,
}

pub(crate) type Metadata = HashMap<String, String>;

#[derive(Debug)]
pub(crate) struct Stored {
    pub bytes: Bytes,
    /// Without quotes: of a single body its MD5, of parts the MD5 of theirs and their number, as in S3.
    pub etag: String,
    pub sum: Sum,
    pub metadata: Option<Metadata>,
    pub modified: SystemTime,
}

/// The checksum that S3 keeps with an object.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Sum {
    /// The CRC-32 of a single body.
    Whole(u32),
    /// The CRC-32 of the parts' CRC-32s, and how many they were: nobody can check a body by it without knowing the parts.
    Parts(u32, usize),
}

#[derive(Debug)]
struct Upload {
    key: String,
    metadata: Option<Metadata>,
    parts: BTreeMap<i32, Stored>,
}

/// What a write asks of the object that is there.
#[derive(Debug)]
pub(crate) enum Condition {
    None,
    Absent,
    Etag(String),
}

/// A stretch of a listing.
pub(crate) struct Page {
    pub objects: Vec<(String, Arc<Stored>)>,
    pub folders: Vec<String>,
    /// The last key or folder of this page, if there are more after it.
    pub next_after: Option<String>,
}

impl Stored {
    pub fn new(bytes: Bytes, metadata: Option<Metadata>) -> Self {
        Self {
            etag: hex(&Md5::digest(&bytes)),
            sum: Sum::Whole(crc32fast::hash(&bytes)),
            bytes,
            metadata,
            modified: SystemTime::now(),
        }
    }
}

impl Buckets {
    /// Makes the bucket unless there is one.
    pub fn create(&self, bucket: &str) {
        self.lock().entry(bucket.into()).or_default();
    }

    /// Puts every file below `folder` under `prefix` and its path, and says how many they were.
    pub fn load(&self, bucket: &str, folder: &Path, prefix: &str) -> io::Result<usize> {
        self.create(bucket);
        let mut count = 0;
        for entry in fs::read_dir(folder)? {
            let path = entry?.path();
            let name = path.file_name().and_then(|name| name.to_str());
            let name = name.ok_or_else(|| io::Error::other(format!("the name of {} is not UTF-8", path.display())))?;
            if path.is_dir() {
                count += self.load(bucket, &path, &format!("{prefix}{name}/"))?;
            } else {
                let stored = Stored::new(fs::read(&path)?.into(), None);
                self.put(bucket, &format!("{prefix}{name}"), stored, &Condition::None).map_err(io::Error::other)?;
                count += 1;
            }
        }
        Ok(count)
    }

    /// How many uploads in parts are neither completed nor aborted.
    pub fn open_uploads(&self, bucket: &str) -> usize {
        self.lock().get(bucket).map_or(0, |bucket| bucket.uploads.len())
    }

    pub(crate) fn exists(&self, bucket: &str) -> S3Result<()> {
        self.with(bucket, |_| Ok(()))
    }

    pub(crate) fn get(&self, bucket: &str, key: &str) -> S3Result<Arc<Stored>> {
        self.with(bucket, |bucket| match bucket.objects.get(key) {
            Some(stored) => Ok(stored.clone()),
            None => Err(s3_error!(NoSuchKey)),
        })
    }

    pub(crate) fn put(&self, bucket: &str, key: &str, stored: Stored, condition: &Condition) -> S3Result<()> {
        self.with(bucket, |bucket| {
            bucket.check(key, condition)?;
            bucket.objects.insert(key.into(), Arc::new(stored));
            Ok(())
        })
    }

    pub(crate) fn delete(&self, bucket: &str, key: &str) -> S3Result<()> {
        self.with(bucket, |bucket| {
            bucket.objects.remove(key);
            Ok(())
        })
    }

    /// Walks from `after` and no further than the page needs.
    pub(crate) fn list(
        &self,
        bucket: &str,
        prefix: &str,
        delimiter: Option<&str>,
        after: Option<&str>,
        keys_max: usize,
    ) -> S3Result<Page> {
        self.with(bucket, |bucket| Ok(bucket.page(prefix, delimiter, after, keys_max)))
    }

    pub(crate) fn begin_upload(&self, bucket: &str, key: &str, metadata: Option<Metadata>) -> S3Result<String> {
        self.with(bucket, |bucket| {
            bucket.uploads_begun += 1;
            let id = format!("upload-{}", bucket.uploads_begun);
            let upload = Upload { key: key.into(), metadata, parts: BTreeMap::new() };
            bucket.uploads.insert(id.clone(), upload);
            Ok(id)
        })
    }

    pub(crate) fn put_part(&self, bucket: &str, key: &str, id: &str, number: i32, part: Stored) -> S3Result<()> {
        self.with(bucket, |bucket| {
            bucket.upload(key, id)?.parts.insert(number, part);
            Ok(())
        })
    }

    pub(crate) fn abort_upload(&self, bucket: &str, key: &str, id: &str) -> S3Result<()> {
        self.with(bucket, |bucket| {
            bucket.upload(key, id)?;
            bucket.uploads.remove(id);
            Ok(())
        })
    }

    /// Joins the parts that are named, in their order, into the object. A refused one leaves the upload as it was.
    pub(crate) fn complete_upload(
        &self,
        bucket: &str,
        key: &str,
        id: &str,
        named: &[(i32, String)],
        condition: &Condition,
    ) -> S3Result<Arc<Stored>> {
        self.with(bucket, |bucket| {
            let joined = bucket.upload(key, id)?.join(named)?;
            bucket.check(key, condition)?;
            bucket.uploads.remove(id);
            let joined = Arc::new(joined);
            bucket.objects.insert(key.into(), joined.clone());
            Ok(joined)
        })
    }

    fn with<T>(&self, bucket: &str, work: impl FnOnce(&mut Bucket) -> S3Result<T>) -> S3Result<T> {
        match self.lock().get_mut(bucket) {
            Some(bucket) => work(bucket),
            None => Err(s3_error!(NoSuchBucket)),
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Bucket>> {
        self.buckets.lock().expect("nothing panics while it is held")
    }
}

impl Bucket {
    fn check(&self, key: &str, condition: &Condition) -> S3Result<()> {
        match (condition, self.objects.get(key)) {
            (Condition::None, _) | (Condition::Absent, None) => Ok(()),
            (Condition::Etag(wanted), Some(there)) if *wanted == there.etag => Ok(()),
            (Condition::Etag(_), None) => Err(s3_error!(NoSuchKey)),
            (Condition::Absent | Condition::Etag(_), Some(_)) => Err(s3_error!(PreconditionFailed)),
        }
    }

    fn upload(&mut self, key: &str, id: &str) -> S3Result<&mut Upload> {
        let upload = self.uploads.get_mut(id).filter(|upload| upload.key == key);
        upload.ok_or_else(|| s3_error!(NoSuchUpload))
    }

    fn page(&self, prefix: &str, delimiter: Option<&str>, after: Option<&str>, keys_max: usize) -> Page {
        let mut page = Page { objects: Vec::new(), folders: Vec::new(), next_after: None };
        let mut last: Option<String> = None;
        let start = match after {
            Some(after) if after >= prefix => Bound::Excluded(after),
            _ => Bound::Included(prefix),
        };
        for (key, stored) in self.objects.range::<str, _>((start, Bound::Unbounded)) {
            let Some(rest) = key.strip_prefix(prefix) else {
                break;
            };
            let folder = delimiter.and_then(|delimiter| rest.find(delimiter).map(|at| at + delimiter.len()));
            let folder = folder.map(|end| &key[..prefix.len() + end]);
            // A folder counts once, on the page where it begins.
            if folder.is_some_and(|folder| last.as_deref().or(after) == Some(folder)) {
                continue;
            }
            if page.objects.len() + page.folders.len() == keys_max {
                page.next_after = last;
                break;
            }
            match folder {
                Some(folder) => page.folders.push(folder.into()),
                None => page.objects.push((key.clone(), stored.clone())),
            }
            last = Some(folder.unwrap_or(key).into());
        }
        page
    }
}

impl Upload {
    fn join(&self, named: &[(i32, String)]) -> S3Result<Stored> {
        if !named.is_sorted_by(|(a, _), (b, _)| a < b) {
            return Err(s3_error!(InvalidPartOrder));
        }
        let mut parts = Vec::with_capacity(named.len());
        for (number, etag) in named {
            match self.parts.get(number) {
                Some(part) if part.etag == *etag => parts.push(part),
                _ => return Err(s3_error!(InvalidPart)),
            }
        }
        let Some((_, all_but_last)) = parts.split_last() else {
            return Err(s3_error!(MalformedXML));
        };
        if all_but_last.iter().any(|part| part.bytes.len() < PART_BYTES_MIN) {
            return Err(s3_error!(EntityTooSmall));
        }
        let (mut digests, mut sums) = (Md5::new(), crc32fast::Hasher::new());
        let mut bytes = Vec::with_capacity(parts.iter().map(|part| part.bytes.len()).sum());
        for part in &parts {
            digests.update(Md5::digest(&part.bytes));
            sums.update(&crc32fast::hash(&part.bytes).to_be_bytes());
            bytes.extend_from_slice(&part.bytes);
        }
        let mut stored = Stored::new(bytes.into(), self.metadata.clone());
        stored.sum = Sum::Parts(sums.finalize(), parts.len());
        stored.etag = format!("{}-{}", hex(&digests.finalize()), parts.len());
        Ok(stored)
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn walk(bucket: &Bucket, prefix: &str, delimiter: Option<&str>, keys_max: usize) -> Vec<String> {
        let (mut pages, mut after) = (Vec::new(), None);
        loop {
            let page = bucket.page(prefix, delimiter, after.as_deref(), keys_max);
            let keys = page.objects.iter().map(|(key, _)| key.as_str());
            let folders = page.folders.iter().map(String::as_str);
            pages.push(keys.chain(folders).collect::<Vec<_>>().join(" "));
            after = page.next_after;
            if after.is_none() {
                return pages;
            }
        }
    }

    #[test]
    fn pages_follow_on_one_another() {
        let mut bucket = Bucket::default();
        for key in ["a", "a/b", "a/c", "a/c/d", "b/x", "c"] {
            bucket.objects.insert(key.into(), Arc::new(Stored::new(Bytes::new(), None)));
        }
        assert_eq!(walk(&bucket, "", None, 4), ["a a/b a/c a/c/d", "b/x c"]);
        assert_eq!(walk(&bucket, "", None, 3), ["a a/b a/c", "a/c/d b/x c"]);
        assert_eq!(walk(&bucket, "a/", None, 1), ["a/b", "a/c", "a/c/d"]);
        assert_eq!(walk(&bucket, "", Some("/"), 2), ["a a/", "c b/"]);
        assert_eq!(walk(&bucket, "", Some("/"), 1), ["a", "a/", "b/", "c"]);
        assert_eq!(walk(&bucket, "a/", Some("/"), 9), ["a/b a/c a/c/"]);
        assert_eq!(walk(&bucket, "z", None, 9), [""]);
    }
}
