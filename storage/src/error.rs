//! What can go wrong in a store, sorted by what the caller does next.

use std::error::Error;
use std::io;

pub type BoxError = Box<dyn Error + Send + Sync>;

/// Each variant says what was being done to what; the cause is linked and not repeated in the message.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("{doing}: it is not there")]
    NotFound { doing: String, source: Option<BoxError> },
    /// A write that wanted no such object met one.
    #[error("{doing}: it exists already")]
    Exists { doing: String, source: Option<BoxError> },
    /// The object is not the version that was asked for.
    #[error("{doing}: it has changed meanwhile")]
    Changed { doing: String, source: Option<BoxError> },
    /// Another conditional write was under way at the same moment, and neither is known to have won.
    #[error("{doing}: another write got in the way")]
    Conflict { doing: String, source: Option<BoxError> },
    #[error("{doing}: the store asks for fewer requests")]
    Throttled { doing: String, source: Option<BoxError> },
    #[error("{doing}: permission denied")]
    Denied { doing: String, source: Option<BoxError> },
    /// May go well another time. A write may have taken effect all the same.
    #[error("{doing}: it did not work this time")]
    Transient { doing: String, source: Option<BoxError> },
    /// Will not go well another time either.
    #[error("{doing}: it can't be done")]
    Fatal { doing: String, source: Option<BoxError> },
}

impl StoreError {
    /// Whether the same call may succeed later with nothing else changed.
    pub fn retryable(&self) -> bool {
        match self {
            StoreError::Conflict { .. } | StoreError::Throttled { .. } | StoreError::Transient { .. } => true,
            StoreError::NotFound { .. }
            | StoreError::Exists { .. }
            | StoreError::Changed { .. }
            | StoreError::Denied { .. }
            | StoreError::Fatal { .. } => false,
        }
    }

    pub(crate) fn fatal(doing: impl Into<String>, source: impl Into<BoxError>) -> Self {
        StoreError::Fatal { doing: doing.into(), source: Some(source.into()) }
    }

    pub(crate) fn transient(doing: impl Into<String>, source: impl Into<BoxError>) -> Self {
        StoreError::Transient { doing: doing.into(), source: Some(source.into()) }
    }

    pub(crate) fn changed(doing: impl Into<String>, source: impl Into<BoxError>) -> Self {
        StoreError::Changed { doing: doing.into(), source: Some(source.into()) }
    }

    pub(crate) fn exists(doing: impl Into<String>) -> Self {
        StoreError::Exists { doing: doing.into(), source: None }
    }

    pub(crate) fn not_found(doing: impl Into<String>) -> Self {
        StoreError::NotFound { doing: doing.into(), source: None }
    }

    /// A file system's error. What is not known to be lasting is tried again: attempts are counted, so the worst of a
    /// wrong guess is a few of them, while the worst of the other wrong guess is a failed job.
    pub(crate) fn from_io(doing: impl Into<String>, error: io::Error) -> Self {
        use io::ErrorKind as Kind;
        let (doing, kind) = (doing.into(), error.kind());
        let source = Some(error.into());
        match kind {
            Kind::NotFound => StoreError::NotFound { doing, source },
            Kind::PermissionDenied | Kind::ReadOnlyFilesystem => StoreError::Denied { doing, source },
            Kind::NotADirectory
            | Kind::IsADirectory
            | Kind::InvalidFilename
            | Kind::InvalidInput
            | Kind::FileTooLarge
            | Kind::Unsupported => StoreError::Fatal { doing, source },
            _ => StoreError::Transient { doing, source },
        }
    }
}

/// An error and its causes in one line, each said once.
pub fn story(error: &(dyn Error + 'static)) -> String {
    let mut story = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let said = error.to_string();
        if !story.contains(&said) {
            story.push_str(": ");
            story.push_str(&said);
        }
        source = error.source();
    }
    story
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn causes_are_told_once() {
        #[derive(Debug)]
        struct Outer(std::io::Error, &'static str);
        impl std::fmt::Display for Outer {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.1)
            }
        }
        impl Error for Outer {
            fn source(&self) -> Option<&(dyn Error + 'static)> {
                Some(&self.0)
            }
        }
        let io = || std::io::Error::other("no disk");
        assert_eq!(story(&Outer(io(), "reading x")), "reading x: no disk");
        assert_eq!(story(&Outer(io(), "reading x: no disk")), "reading x: no disk");
    }
}
