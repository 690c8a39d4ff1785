//! From a URL to a store.

use crate::s3::S3;
use crate::{Directory, DynStore, Memory, StoreError};
use mr_core::shown_url;
use std::path::Path;
use std::sync::Arc;

/// Opens `/abs/path`, `file:///abs/path`, `s3://bucket/prefix/` or `memory://name/prefix/`. URLs are taken as users
/// write them: nothing in them is percent-decoded.
pub async fn open(url: &str) -> Result<DynStore, StoreError> {
    match Location::parse(url)? {
        Location::Path(path) => Ok(Arc::new(Directory::open(Path::new(path))?)),
        Location::S3 { name, rest } => Ok(Arc::new(S3::open(name, &as_prefix(rest)).await)),
        Location::Memory { name, rest } => Ok(Arc::new(Memory::open(name, &as_prefix(rest)))),
        Location::Http(_) => {
            let doing = format!("opening {}", shown_url(url));
            Err(StoreError::fatal(doing, "one object can be fetched over HTTP, but it is no store"))
        }
    }
}

/// What a URL points to, for a store's root and for a single object alike.
pub(crate) enum Location<'a> {
    Path(&'a str),
    S3 { name: &'a str, rest: &'a str },
    Memory { name: &'a str, rest: &'a str },
    Http(&'a str),
}

impl<'a> Location<'a> {
    pub(crate) fn parse(url: &'a str) -> Result<Self, StoreError> {
        let refuse = |reason: &str| Err(StoreError::fatal(format!("opening {:?}", shown_url(url)), reason));
        let Some((scheme, rest)) = url.split_once("://") else {
            return match url.starts_with('/') {
                true => Ok(Location::Path(url)),
                false => refuse("a path has to be absolute here"),
            };
        };
        let (name, below) = rest.split_once('/').unwrap_or((rest, ""));
        match scheme {
            "file" if rest.starts_with('/') => Ok(Location::Path(rest)),
            "file" => refuse("a file URL has three slashes and then an absolute path"),
            "s3" | "memory" if name.is_empty() => refuse("there is no name after the two slashes"),
            "s3" => Ok(Location::S3 { name, rest: below }),
            "memory" => Ok(Location::Memory { name, rest: below }),
            "http" | "https" => Ok(Location::Http(url)),
            _ => refuse("it is neither an absolute path nor file://, s3:// or https://"),
        }
    }
}

/// A root is a folder, whether or not its URL was typed with the slash.
fn as_prefix(rest: &str) -> String {
    match rest.trim_end_matches('/') {
        "" => String::new(),
        folder => format!("{folder}/"),
    }
}
