//! Bytes on their way to the store: in memory while they are few, and then in a file of this host's.

use bytes::Bytes;
use mr_core::Failure;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tempfile::NamedTempFile;

/// What is kept in memory of what an attempt makes: a file costs more than so many bytes of it.
const IN_MEMORY: usize = 8 << 20;
/// And of what is put aside for want of it.
const ASIDE_IN_MEMORY: usize = 64 << 10;

/// So old is no file that its process has not locked yet.
const LEFT_BEHIND: Duration = Duration::from_secs(60);

/// Where this host may put files that nobody else reads.
#[derive(Clone, Debug)]
pub struct Scratch(Arc<PathBuf>);

impl Scratch {
    /// A folder that is made when it is needed.
    pub fn new(folder: PathBuf) -> Self {
        Self(Arc::new(folder))
    }

    /// Takes away what processes left here that were killed. Files of those that live are locked, or were made just now.
    pub fn sweep(&self) {
        let Ok(files) = fs::read_dir(&*self.0) else { return };
        for path in files.flatten().map(|file| file.path()) {
            let Ok(file) = File::open(&path) else { continue };
            let age = file.metadata().and_then(|file| file.modified()).ok().and_then(|time| time.elapsed().ok());
            if age.is_some_and(|age| age > LEFT_BEHIND) && file.try_lock().is_ok() {
                _ = fs::remove_file(path);
            }
        }
    }

    fn file(&self) -> io::Result<NamedTempFile> {
        // It may become a file of the result, which others read as they do those that were written otherwise.
        let readable = fs::Permissions::from_mode(0o666);
        let make = || tempfile::Builder::new().prefix("spool-").permissions(readable.clone()).tempfile_in(&*self.0);
        let file = make().or_else(|error| match error.kind() {
            io::ErrorKind::NotFound => fs::create_dir_all(&*self.0).and_then(|()| make()),
            _ => Err(error),
        })?;
        // Where there are no locks, nothing is swept either.
        _ = file.as_file().try_lock();
        Ok(file)
    }

    /// With the folder that it is about.
    fn named(&self, error: io::Error) -> io::Error {
        io::Error::new(error.kind(), format!("writing to {}: {error}", self.0.display()))
    }
}

/// Takes bytes one after another.
pub struct Spool {
    scratch: Scratch,
    memory: Vec<u8>,
    /// When it is written, the first time.
    in_memory: usize,
    file: Option<NamedTempFile>,
    bytes: u64,
    checksum: crc32fast::Hasher,
}

/// What came together, with what is needed to know it again.
#[derive(Debug)]
pub struct Spooled {
    pub content: Content,
    pub bytes: u64,
    pub crc32: u32,
}

#[derive(Debug)]
pub enum Content {
    Memory(Bytes),
    /// Gone when this is dropped.
    File(NamedTempFile),
}

impl Spool {
    /// For what goes to the store.
    pub fn new(scratch: Scratch) -> Self {
        let checksum = crc32fast::Hasher::new();
        Self { scratch, memory: Vec::new(), in_memory: IN_MEMORY, file: None, bytes: 0, checksum }
    }

    /// For what is put aside, since there is no room for it in memory.
    pub fn aside(scratch: Scratch) -> Self {
        Self { in_memory: ASIDE_IN_MEMORY, ..Self::new(scratch) }
    }

    /// # Errors
    /// When the last bytes can't be written.
    pub fn finish(mut self) -> Result<Spooled, Failure> {
        let content = match self.file.take() {
            None => Content::Memory(std::mem::take(&mut self.memory).into()),
            Some(mut file) => {
                let written = file.write_all(&self.memory);
                written.map_err(|error| Failure::transient(self.scratch.named(error).to_string()))?;
                Content::File(file)
            }
        };
        Ok(Spooled { content, bytes: self.bytes, crc32: self.checksum.finalize() })
    }

    fn spill(&mut self) -> io::Result<()> {
        let file = match &mut self.file {
            Some(file) => file,
            none => none.insert(self.scratch.file()?),
        };
        file.write_all(&self.memory)?;
        self.memory.clear();
        // From now on it is a buffer.
        self.memory.shrink_to(WRITTEN_AT_ONCE);
        Ok(())
    }
}

const WRITTEN_AT_ONCE: usize = 256 << 10;

impl Write for Spool {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.checksum.update(bytes);
        self.bytes += bytes.len() as u64;
        self.memory.extend_from_slice(bytes);
        let most = if self.file.is_some() { WRITTEN_AT_ONCE } else { self.in_memory };
        if self.memory.len() >= most {
            self.spill().map_err(|error| self.scratch.named(error))?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Spooled {
    pub fn of(bytes: impl Into<Bytes>) -> Self {
        let bytes = bytes.into();
        Self { bytes: bytes.len() as u64, crc32: crc32fast::hash(&bytes), content: Content::Memory(bytes) }
    }

    /// What reads it from its beginning.
    ///
    /// # Errors
    /// When its file can't be read.
    pub fn open(&self) -> io::Result<Box<dyn Read + Send + '_>> {
        Ok(match &self.content {
            Content::Memory(bytes) => Box::new(bytes.as_ref()),
            Content::File(file) => Box::new(io::BufReader::with_capacity(WRITTEN_AT_ONCE, file.reopen()?)),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spooled(scratch: &Scratch, bytes: usize) -> (Spooled, Vec<u8>) {
        let all: Vec<u8> = (0..bytes).map(|n| (n / 3) as u8).collect();
        let mut spool = Spool::new(scratch.clone());
        all.chunks(10_007).for_each(|chunk| spool.write_all(chunk).unwrap());
        (spool.finish().unwrap(), all)
    }

    fn read(spooled: &Spooled) -> Vec<u8> {
        let mut bytes = Vec::new();
        spooled.open().unwrap().read_to_end(&mut bytes).unwrap();
        bytes
    }

    #[test]
    fn few_bytes_stay_in_memory_and_many_are_a_file_that_goes_with_them() {
        let folder = tempfile::tempdir().unwrap();
        let scratch = Scratch::new(folder.path().join("deep/scratch"));
        let files = || fs::read_dir(folder.path().join("deep/scratch")).map_or(0, Iterator::count);
        let (few, bytes) = spooled(&scratch, 100_000);
        assert!(read(&few) == bytes && few.bytes == 100_000 && few.crc32 == crc32fast::hash(&bytes));
        assert_eq!(files(), 0);
        for size in [IN_MEMORY, IN_MEMORY + 1, 3 * IN_MEMORY + 5] {
            let (many, bytes) = spooled(&scratch, size);
            assert_eq!(files(), 1);
            assert!(read(&many) == bytes && many.bytes == size as u64 && many.crc32 == crc32fast::hash(&bytes));
            // Twice is as well.
            assert!(read(&many) == bytes);
            scratch.sweep();
            drop(many);
            assert_eq!(files(), 0);
        }
    }

    #[test]
    fn what_the_dead_left_is_swept_and_what_the_living_have_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let scratch = Scratch::new(folder.path().to_owned());
        let mine = scratch.file().unwrap();
        let old = std::time::SystemTime::now() - 2 * LEFT_BEHIND;
        mine.as_file().set_modified(old).unwrap();
        let (left, young) = (folder.path().join("spool-left"), folder.path().join("spool-young"));
        File::create(&left).unwrap().set_modified(old).unwrap();
        File::create(&young).unwrap();
        scratch.sweep();
        assert!(mine.path().exists() && !left.exists() && young.exists());
    }

    #[test]
    fn a_folder_that_can_t_be_is_named() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let mut spool = Spool::new(Scratch::new(file.path().join("in")));
        let failed = spool.write_all(&vec![0; IN_MEMORY]).unwrap_err();
        let said = failed.to_string();
        assert!(said.contains("writing to ") && said.contains("ot a directory"), "{said}");
    }
}
