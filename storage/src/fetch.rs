//! One object by its URL, wherever it is.

use crate::open::Location;
use crate::s3::S3;
use crate::{Directory, GetOptions, Memory, Store, StoreError, http};
use bytes::Bytes;
use std::path::Path;

/// Reads what lies at `/abs/path`, `file://`, `s3://`, `memory://` or `https://`; at `http://` on this machine only,
/// since nothing would tell what came from what was sent. Of the web no more than `bytes_max` is taken, and for no
/// longer than 30 minutes: anybody may answer there, with anything.
pub async fn fetch(url: &str, bytes_max: u64) -> Result<Bytes, StoreError> {
    let whole = GetOptions::default();
    let got = match Location::parse(url)? {
        Location::Http(url) => return http::get(url, bytes_max).await,
        Location::Path(path) => {
            let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
            let folder = Path::new("/").join(folder);
            Directory::open(&folder)?.get(name, whole).await?
        }
        Location::S3 { name, rest } => S3::open(name, "").await.get(rest, whole).await?,
        Location::Memory { name, rest } => Memory::open(name, "").get(rest, whole).await?,
    };
    Ok(got.bytes)
}
