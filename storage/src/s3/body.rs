//! What is written: bytes, or a file that is read as it goes.

use crate::StoreError;
use bytes::Bytes;
use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

pub(super) enum Body {
    Bytes(Bytes),
    File { file: Arc<File>, length: u64 },
}

impl Body {
    /// # Errors
    /// When the file is not there.
    pub async fn open(path: &Path, doing: impl Fn() -> String) -> Result<Self, StoreError> {
        let path = path.to_owned();
        let open = move || {
            let file = File::open(path)?;
            let length = file.metadata()?.len();
            Ok(Self::File { file: Arc::new(file), length })
        };
        blocking(open, doing).await
    }

    pub fn length(&self) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::File { length, .. } => *length,
        }
    }

    /// Some of it.
    ///
    /// # Errors
    /// When the file can't be read.
    pub async fn cut(&self, range: Range<u64>, doing: impl Fn() -> String) -> Result<Bytes, StoreError> {
        match self {
            Self::Bytes(bytes) => Ok(bytes.slice(range.start as usize..range.end as usize)),
            Self::File { file, .. } => {
                let file = file.clone();
                let read = move || {
                    let mut bytes = vec![0; (range.end - range.start) as usize];
                    file.read_exact_at(&mut bytes, range.start)?;
                    Ok(bytes.into())
                };
                blocking(read, doing).await
            }
        }
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> std::io::Result<T> + Send + 'static,
    doing: impl Fn() -> String,
) -> Result<T, StoreError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done.map_err(|error| StoreError::from_io(doing(), error)),
        Err(error) => Err(StoreError::transient(doing(), error)),
    }
}
