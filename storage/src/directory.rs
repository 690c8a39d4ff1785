//! Bytes under keys in a directory: a key is a path below the root.
//!
//! A write appears whole or not at all: it is made under a name that no listing shows and then linked or renamed into
//! place. Files are never changed where they lie, so a hard link is as good as a copy. The ETag is the file's size,
//! modification time and inode. All of it is blocking work, and each call does it in one go on a blocking thread.

use crate::key::{UNFINISHED, check_key, check_prefix};
use crate::memory::cut;
use crate::unique::unique;
use crate::{GetOptions, Got, Native, Object, Put, Store, StoreError, object_url};
use async_trait::async_trait;
use bytes::Bytes;
use std::collections::BTreeSet;
use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, ErrorKind, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::{Duration, SystemTime};

/// A writer that died leaves its unfinished file behind; one so old has no writer any more.
const UNFINISHED_AGE_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// How often a call that met somebody else's change begins again before it gives up.
const TRIES_MAX: u32 = 100;

/// The ETag under which a link to something that is not there is listed: nobody can say whether that was a file or a folder
/// of many, so whoever lists has to mind it.
pub const DANGLING: &str = "dangling";

#[derive(Debug)]
pub struct Directory {
    url: String,
    root: PathBuf,
    /// Device and inode of the root, once it is pinned.
    pinned: OnceLock<(u64, u64)>,
}

impl Directory {
    /// A store below this absolute path, which need not exist before the first write.
    pub fn open(root: &Path) -> Result<Self, StoreError> {
        let doing = || format!("opening the directory {}", root.display());
        let Some(text) = root.to_str() else {
            return Err(StoreError::fatal(doing(), "its name is not UTF-8"));
        };
        if !root.is_absolute() {
            return Err(StoreError::fatal(doing(), "the path is not absolute"));
        }
        // Components leave out doubled slashes and dots, so that one folder has one URL.
        let root: PathBuf = Path::new(text).components().collect();
        let text = root.to_str().expect("made of UTF-8 above").trim_end_matches('/');
        Ok(Self { url: format!("file://{text}/"), root, pinned: OnceLock::new() })
    }

    pub(crate) fn path(&self, key: &str) -> PathBuf {
        self.root.join(key)
    }

    /// Whether there is anything below the root. A folder that is not mounted here is empty or not there.
    pub async fn holds_anything(&self) -> bool {
        let root = self.root.clone();
        let looked =
            tokio::task::spawn_blocking(move || fs::read_dir(root).is_ok_and(|mut folder| folder.next().is_some()));
        looked.await.unwrap_or(false)
    }

    /// A check to be made on a blocking thread before anything is changed.
    fn still_there(&self) -> impl FnOnce(&str) -> Result<(), StoreError> + Send + 'static {
        let (root, pinned) = (self.root.clone(), self.pinned.get().copied());
        move |doing| match pinned {
            Some(pinned) if !fs::metadata(&root).is_ok_and(|root| (root.dev(), root.ino()) == pinned) => {
                let story = format!("{} is not the folder that it was: is it still mounted?", root.display());
                Err(StoreError::transient(doing, io::Error::other(story)))
            }
            Some(_) | None => Ok(()),
        }
    }

    /// Makes `key` here another name of the file at `source`, which is on the same file system. `false`: it is not, or
    /// there can be no such link, and the bytes have to be copied.
    pub(crate) async fn link(&self, source: PathBuf, key: &str) -> Result<bool, StoreError> {
        check_key(key)?;
        let doing = format!("linking {}", object_url(&self.url, key));
        let (place, still_there) = (Place::new(&self.root, key), self.still_there());
        blocking(doing, move |doing| still_there(doing).and_then(|()| link_file(&source, &place, doing))).await
    }
}

#[async_trait]
impl Store for Directory {
    fn url(&self) -> &str {
        &self.url
    }

    async fn list(&self, prefix: &str) -> Result<Vec<Object>, StoreError> {
        check_prefix(prefix)?;
        let walk = Walk { root: self.root.clone(), prefix: prefix.into(), above: Vec::new(), found: Vec::new() };
        blocking(format!("listing {}{prefix}", self.url), |_| walk.run()).await
    }

    async fn get(&self, key: &str, options: GetOptions) -> Result<Got, StoreError> {
        check_key(key)?;
        let path = self.path(key);
        let doing = format!("reading {}", object_url(&self.url, key));
        blocking(doing, move |doing| read(&path, &options, doing)).await
    }

    async fn head(&self, key: &str) -> Result<Object, StoreError> {
        check_key(key)?;
        let path = self.path(key);
        let doing = format!("looking at {}", object_url(&self.url, key));
        let metadata = blocking(doing, move |doing| {
            let metadata = fs::metadata(&path).map_err(|error| absent_or(doing, error))?;
            regular(&metadata, doing)?;
            Ok(metadata)
        });
        Ok(object(key.into(), &metadata.await?))
    }

    async fn put(&self, key: &str, bytes: Bytes, how: Put) -> Result<String, StoreError> {
        check_key(key)?;
        let place = Place::new(&self.root, key);
        let doing = format!("writing {}", object_url(&self.url, key));
        let still_there = self.still_there();
        blocking(doing, move |doing| still_there(doing).and_then(|()| write(&place, &bytes, &how, doing))).await
    }

    async fn put_file(&self, key: &str, file: &Path, how: Put) -> Result<String, StoreError> {
        check_key(key)?;
        let (place, file) = (Place::new(&self.root, key), file.to_owned());
        let doing = format!("writing {}", object_url(&self.url, key));
        let still_there = self.still_there();
        blocking(doing, move |doing| still_there(doing).and_then(|()| take(&place, &file, &how, doing))).await
    }

    async fn sync(&self, keys: &[&str]) -> Result<(), StoreError> {
        // The root may be new, so its own name has to last too.
        let mut folders: BTreeSet<PathBuf> = self.root.parent().map(Path::to_owned).into_iter().collect();
        for key in keys {
            check_key(key)?;
            let place = Place::new(&self.root, key);
            folders.extend(place.folder.ancestors().take_while(|f| f.starts_with(&self.root)).map(Path::to_owned));
        }
        let doing = format!("syncing {}", self.url);
        blocking(doing, move |doing| {
            let sync = |folder: &PathBuf| File::open(folder).and_then(|folder| folder.sync_all());
            folders.iter().try_for_each(sync).map_err(|error| StoreError::from_io(doing, error))
        })
        .await
    }

    async fn delete(&self, key: &str) -> Result<(), StoreError> {
        check_key(key)?;
        let place = Place::new(&self.root, key);
        let doing = format!("deleting {}", object_url(&self.url, key));
        let still_there = self.still_there();
        blocking(doing, move |doing| still_there(doing).and_then(|()| remove(&place, doing))).await
    }

    async fn pin(&self) -> Result<(), StoreError> {
        let root = self.root.clone();
        let look = move |doing: &str| fs::metadata(root).map_err(|error| StoreError::from_io(doing, error));
        let root = blocking(format!("looking at {}", self.url), look).await?;
        self.pinned.get_or_init(|| (root.dev(), root.ino()));
        Ok(())
    }

    fn native(&self) -> Native<'_> {
        Native::Directory(self)
    }
}

async fn blocking<T: Send + 'static>(
    doing: String,
    work: impl FnOnce(&str) -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    let told = doing.clone();
    match tokio::task::spawn_blocking(move || work(&doing)).await {
        Ok(result) => result,
        // The runtime is shutting down, or the work panicked.
        Err(error) => Err(StoreError::transient(told, error)),
    }
}

fn etag(metadata: &Metadata) -> String {
    let nanos = i128::from(metadata.mtime()) * 1_000_000_000 + i128::from(metadata.mtime_nsec());
    format!("{:x}-{nanos:x}-{:x}", metadata.len(), metadata.ino())
}

fn object(key: String, metadata: &Metadata) -> Object {
    Object { key, bytes: metadata.len(), etag: etag(metadata) }
}

/// A key below a file, or one longer than the file system allows, names nothing.
fn absent_or(doing: &str, error: io::Error) -> StoreError {
    match error.kind() {
        ErrorKind::NotADirectory | ErrorKind::InvalidFilename => {
            StoreError::NotFound { doing: doing.into(), source: Some(error.into()) }
        }
        _ => StoreError::from_io(doing, error),
    }
}

/// A folder is no object; a pipe or a device must not be opened, let alone read.
fn regular(metadata: &Metadata, doing: &str) -> Result<(), StoreError> {
    if metadata.is_file() {
        Ok(())
    } else if metadata.is_dir() {
        Err(StoreError::not_found(doing))
    } else {
        Err(StoreError::fatal(doing, "it is neither a file nor a folder"))
    }
}

// Reading.

fn read(path: &Path, options: &GetOptions, doing: &str) -> Result<Got, StoreError> {
    for _ in 0..TRIES_MAX {
        // The type is looked at by name first, since opening a pipe would wait for its writer.
        let named = fs::metadata(path).map_err(|error| absent_or(doing, error))?;
        regular(&named, doing)?;
        let mut file = File::open(path).map_err(|error| absent_or(doing, error))?;
        let before = file.metadata().map_err(|error| StoreError::from_io(doing, error))?;
        let etag_before = etag(&before);
        if options.if_match.as_ref().is_some_and(|wanted| *wanted != etag_before) {
            return Err(StoreError::changed(doing, "its size, time or inode is another"));
        }
        let range = match &options.range {
            None => 0..before.len(),
            Some(range) => cut(range, before.len()).map_err(|e| StoreError::fatal(doing, e))?,
        };
        let bytes = read_range(&mut file, range.start, range.end - range.start)
            .map_err(|error| StoreError::from_io(doing, error))?;
        let after = file.metadata().map_err(|error| StoreError::from_io(doing, error))?;
        if etag(&after) == etag_before && bytes.len() as u64 == range.end - range.start {
            return Ok(Got { bytes: bytes.into(), etag: etag_before });
        }
        // Somebody writes into the file where it lies. Whoever wanted one version is told, others wait for calm.
        if options.if_match.is_some() {
            return Err(StoreError::changed(doing, "it was written to while it was being read"));
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    Err(StoreError::transient(doing, "it is being written to all the time"))
}

fn read_range(file: &mut File, start: u64, length: u64) -> io::Result<Vec<u8>> {
    let capacity = usize::try_from(length).map_err(|_| ErrorKind::FileTooLarge)?;
    let mut bytes = Vec::with_capacity(capacity);
    if start > 0 {
        file.seek(SeekFrom::Start(start))?;
    }
    file.take(length).read_to_end(&mut bytes)?;
    Ok(bytes)
}

// Writing.

/// Where a key's file goes.
struct Place {
    root: PathBuf,
    folder: PathBuf,
    path: PathBuf,
}

impl Place {
    fn new(root: &Path, key: &str) -> Self {
        let path = root.join(key);
        let folder = path.parent().expect("a key is at least one segment below the root");
        Self { root: root.into(), folder: folder.into(), path: path.clone() }
    }

    /// As `lock`, but goes on without where the file system has no locks: it is the conditional writes that need them.
    fn lock_if_possible(&self) -> io::Result<Option<File>> {
        const EBADF: i32 = 9; // NFS, which wants folders opened for writing
        const ENOLCK: i32 = 37;
        const ENOSYS: i32 = 38;
        const EOPNOTSUPP: i32 = 95;
        match self.lock() {
            Ok(lock) => Ok(Some(lock)),
            Err(error) => match error.raw_os_error() {
                Some(EBADF | ENOLCK | ENOSYS | EOPNOTSUPP) => Ok(None),
                _ => Err(error),
            },
        }
    }

    /// Keeps out whoever else replaces files in this folder, in this process or another, until the file is dropped.
    fn lock(&self) -> io::Result<File> {
        for _ in 0..TRIES_MAX {
            let folder = File::open(&self.folder)?;
            folder.lock()?;
            // While we waited the folder may have been emptied, removed and made anew: then this lock is of no use.
            match fs::metadata(&self.folder) {
                Ok(now) if now.ino() == folder.metadata()?.ino() => return Ok(folder),
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::NotFound => fs::create_dir_all(&self.folder)?,
                Err(error) => return Err(error),
            }
        }
        Err(io::Error::other("the folder is replaced all the time"))
    }
}

/// A file that is there under its hidden name until it is dropped.
struct Unfinished(PathBuf);

impl Drop for Unfinished {
    fn drop(&mut self) {
        // After a rename there is nothing left to remove.
        let _ = fs::remove_file(&self.0);
    }
}

impl Unfinished {
    /// Makes the file with `make`, and the folder when it is not there. A delete next door may take away the folder in
    /// between, hence the tries.
    fn make<T>(folder: &Path, mut make: impl FnMut(&Path) -> io::Result<T>) -> io::Result<(Self, T)> {
        let mut tries = 0;
        loop {
            let path = folder.join(format!("{UNFINISHED}{}", unique()));
            match make(&path) {
                Ok(made) => return Ok((Unfinished(path), made)),
                Err(error) if error.kind() == ErrorKind::NotFound && tries < TRIES_MAX => {
                    fs::create_dir_all(folder)?;
                    tries += 1;
                }
                Err(error) => return Err(error),
            }
        }
    }
}

fn write(place: &Place, bytes: &[u8], how: &Put, doing: &str) -> Result<String, StoreError> {
    let failed = |error| StoreError::from_io(doing, error);
    let (unfinished, mut file) = Unfinished::make(&place.folder, create_new).map_err(failed)?;
    file.write_all(bytes).map_err(failed)?;
    publish(&unfinished, &file, place, how, doing)
}

/// Writes what is in a file: the file itself is renamed where that can be, which takes no time however large it is.
fn take(place: &Place, source: &Path, how: &Put, doing: &str) -> Result<String, StoreError> {
    let failed = |error| StoreError::from_io(doing, error);
    let mut from = File::open(source).map_err(failed)?;
    // An empty one first: from then on the name goes if anything fails.
    let (unfinished, mut file) = Unfinished::make(&place.folder, create_new).map_err(failed)?;
    if gives_its_group(&place.folder) || fs::rename(source, &unfinished.0).is_err() {
        io::copy(&mut from, &mut file).map_err(failed)?;
        return publish(&unfinished, &file, place, how, doing);
    }
    let file = OpenOptions::new().write(true).open(&unfinished.0).map_err(failed)?;
    publish(&unfinished, &file, place, how, doing)
}

/// Whether files that are made in a folder are of its group, which one that is renamed into it would not be.
fn gives_its_group(folder: &Path) -> bool {
    const SETGID: u32 = 0o2000;
    fs::metadata(folder).is_ok_and(|folder| folder.mode() & SETGID != 0)
}

fn create_new(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create_new(true).open(path)
}

/// Makes what was written the key's, if that may be.
fn publish(unfinished: &Unfinished, file: &File, place: &Place, how: &Put, doing: &str) -> Result<String, StoreError> {
    let failed = |error| StoreError::from_io(doing, error);
    let etag = settle(file, *how != Put::Temporary).map_err(failed)?;
    match how {
        Put::Overwrite | Put::Temporary => {
            let _lock = place.lock_if_possible().map_err(failed)?;
            replace(unfinished, place).map_err(failed)?;
        }
        Put::IfAbsent => create(unfinished, place, doing)?,
        Put::IfMatch(wanted) => {
            let _lock = place.lock().map_err(failed)?;
            match fs::metadata(&place.path) {
                Ok(there) if self::etag(&there) == *wanted => {}
                Ok(_) => return Err(StoreError::changed(doing, "its size, time or inode is another")),
                Err(error) if error.kind() == ErrorKind::NotFound => {
                    return Err(StoreError::changed(doing, "it is gone"));
                }
                Err(error) => return Err(failed(error)),
            }
            replace(unfinished, place).map_err(failed)?;
        }
    }
    match how {
        Put::Overwrite | Put::Temporary => {}
        // Conditional writes are the points of no return, and a name lasts only when its folder is on the disk too; as
        // does that of a folder which may be new.
        Put::IfAbsent | Put::IfMatch(_) => {
            for folder in [Some(&*place.folder), place.folder.parent()].into_iter().flatten() {
                File::open(folder).and_then(|folder| folder.sync_all()).map_err(failed)?;
            }
        }
    }
    Ok(etag)
}

/// Brings all that was written down to the disk if it is to last, and answers with the ETag that the file now has.
fn settle(file: &File, lasting: bool) -> io::Result<String> {
    // The kernel's own stamps are milliseconds apart, and two versions of a file within one could look the same.
    file.set_modified(SystemTime::now())?;
    if lasting {
        file.sync_data()?;
    }
    Ok(etag(&file.metadata()?))
}

/// Renames over what is there, a folder excepted.
fn replace(unfinished: &Unfinished, place: &Place) -> io::Result<()> {
    fs::rename(&unfinished.0, &place.path)
}

/// A link fails where a file is already, whoever made it: of many racers one wins.
fn create(unfinished: &Unfinished, place: &Place, doing: &str) -> Result<(), StoreError> {
    match fs::hard_link(&unfinished.0, &place.path) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Err(StoreError::exists(doing)),
        Err(error) if no_links(&error) => create_without_links(unfinished, place, doing),
        Err(error) => Err(StoreError::from_io(doing, error)),
    }
}

/// Some file systems know no hard links; there the folder's lock decides between our own writers.
fn create_without_links(unfinished: &Unfinished, place: &Place, doing: &str) -> Result<(), StoreError> {
    let failed = |error| StoreError::from_io(doing, error);
    let _lock = place.lock().map_err(failed)?;
    match fs::symlink_metadata(&place.path) {
        Ok(_) => Err(StoreError::exists(doing)),
        Err(error) if error.kind() == ErrorKind::NotFound => replace(unfinished, place).map_err(failed),
        Err(error) => Err(failed(error)),
    }
}

fn no_links(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::PermissionDenied | ErrorKind::Unsupported | ErrorKind::CrossesDevices | ErrorKind::TooManyLinks
    )
}

fn link_file(source: &Path, place: &Place, doing: &str) -> Result<bool, StoreError> {
    let failed = |error| StoreError::from_io(doing, error);
    // A link to a symlink would be another symlink; what is wanted is the file.
    let source = fs::canonicalize(source).map_err(|error| absent_or(doing, error))?;
    let linked = Unfinished::make(&place.folder, |path| match fs::hard_link(&source, path) {
        Err(error) if error.kind() == ErrorKind::NotFound && !source.exists() => {
            Err(io::Error::other("its source is gone"))
        }
        other => other,
    });
    let unfinished = match linked {
        Ok((unfinished, ())) => unfinished,
        Err(error) if no_links(&error) => return Ok(false),
        Err(error) => return Err(failed(error)),
    };
    let _lock = place.lock_if_possible().map_err(failed)?;
    // Where both names are links to one file already, this does nothing and the hidden name goes when it is dropped.
    replace(&unfinished, place).map_err(failed)?;
    Ok(true)
}

fn remove(place: &Place, doing: &str) -> Result<(), StoreError> {
    let lock = match place.lock_if_possible() {
        Ok(lock) => lock,
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => return Ok(()),
        Err(error) => return Err(StoreError::from_io(doing, error)),
    };
    match fs::remove_file(&place.path) {
        Ok(()) => {}
        // No object has the name of a folder, so none is left behind.
        Err(error)
            if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::IsADirectory | ErrorKind::InvalidFilename) => {}
        Err(error) => return Err(StoreError::from_io(doing, error)),
    }
    // Folders are only the shape of keys: one that holds nothing goes with its last file. A full one refuses.
    let mut folder = place.folder.as_path();
    while folder != place.root && fs::remove_dir(folder).is_ok() {
        folder = folder.parent().expect("it is below the root");
    }
    drop(lock);
    Ok(())
}

// Listing.

struct Walk {
    root: PathBuf,
    prefix: String,
    /// Device and inode of the folders that we are in: a link to one of them would go round in circles.
    above: Vec<(u64, u64)>,
    found: Vec<Object>,
}

impl Walk {
    fn run(mut self) -> Result<Vec<Object>, StoreError> {
        let root = self.root.clone();
        let doing = format!("listing {}", root.display());
        // The root is looked at for itself: if it is missing, that is an error, and a missing folder below is not.
        let metadata = fs::metadata(&root).map_err(|error| StoreError::from_io(&doing, error))?;
        if !metadata.is_dir() {
            return Err(StoreError::fatal(doing, "it is not a folder"));
        }
        let base = self.prefix.rfind('/').map_or("", |slash| &self.prefix[..=slash]).to_owned();
        if base.is_empty() {
            self.folder(&root, "", &metadata)?;
        } else {
            let start = root.join(&base);
            match fs::metadata(&start) {
                Ok(metadata) if metadata.is_dir() => self.folder(&start, &base, &metadata)?,
                Ok(_) => {}
                Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {}
                Err(error) => return Err(StoreError::from_io(doing, error)),
            }
        }
        // Whole keys decide: `a b/x` comes before `a/x`, which a folder's own order would get wrong.
        self.found.sort_unstable_by(|a, b| a.key.cmp(&b.key));
        Ok(self.found)
    }

    /// Adds what is in the folder whose keys begin with `base`.
    fn folder(&mut self, path: &Path, base: &str, metadata: &Metadata) -> Result<(), StoreError> {
        let identity = (metadata.dev(), metadata.ino());
        if self.above.contains(&identity) {
            tracing::warn!(path = %path.display(), "a link leads back to a folder that it is in; it is not followed");
            return Ok(());
        }
        self.above.push(identity);
        let doing = || format!("listing {}", path.display());
        match fs::read_dir(path) {
            Ok(entries) => {
                for entry in entries {
                    let entry = entry.map_err(|error| StoreError::from_io(doing(), error))?;
                    self.entry(path, base, &entry)?;
                }
            }
            // Taken away since we saw its name.
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(StoreError::from_io(doing(), error)),
        }
        self.above.pop();
        Ok(())
    }

    fn entry(&mut self, folder: &Path, base: &str, entry: &fs::DirEntry) -> Result<(), StoreError> {
        let name = entry.file_name();
        let path = folder.join(&name);
        let doing = || format!("listing {}", path.display());
        let Some(name) = name.to_str() else {
            return Err(StoreError::fatal(
                doing(),
                format!("the name {name:?} is not UTF-8, so it can be no key: rename it or move it away"),
            ));
        };
        if name.starts_with(UNFINISHED) {
            remove_if_old(&path);
            return Ok(());
        }
        let key = format!("{base}{name}");
        if !key.starts_with(&self.prefix) && !self.prefix.starts_with(&key) {
            return Ok(());
        }
        let kind = entry.file_type().map_err(|error| StoreError::from_io(doing(), error))?;
        let metadata = match fs::metadata(&path) {
            Ok(metadata) => metadata,
            // Deleted since we saw its name. A link that leads nowhere is another matter: it is listed, and whoever reads
            // it is told that there is nothing.
            Err(error) if error.kind() == ErrorKind::NotFound && !kind.is_symlink() => return Ok(()),
            Err(error) if error.kind() == ErrorKind::NotFound => {
                if key.starts_with(&self.prefix) {
                    self.found.push(Object { key, bytes: 0, etag: DANGLING.into() });
                }
                return Ok(());
            }
            // It goes round in circles, or through a file: no more than a person can mend it.
            Err(error) if kind.is_symlink() && error.kind() != ErrorKind::PermissionDenied => {
                return Err(StoreError::fatal(doing(), error));
            }
            Err(error) => return Err(StoreError::from_io(doing(), error)),
        };
        if metadata.is_dir() {
            let base = format!("{key}/");
            if base.starts_with(&self.prefix) {
                self.folder(&path, &base, &metadata)?;
            }
        } else if metadata.is_file() && key.starts_with(&self.prefix) {
            self.found.push(object(key, &metadata));
        }
        Ok(())
    }
}

/// Failing is fine: the folder may be somebody's that we can only read.
fn remove_if_old(path: &Path) {
    let age = fs::metadata(path).and_then(|m| m.modified()).ok().and_then(|t| t.elapsed().ok());
    if age.is_some_and(|age| age > UNFINISHED_AGE_MAX) {
        let _ = fs::remove_file(path);
    }
}
