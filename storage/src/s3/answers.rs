//! What an answer of S3 means for the caller.

use super::clock;
use crate::{BoxError, Put, StoreError, story};
use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_s3::config::http::HttpResponse;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use std::error::Error;
use std::fmt;
use std::iter;

/// Sorts an error by what can be done about it. `write` is the condition of a write, which says what a 412 means.
pub(super) fn classify<E>(error: SdkError<E, HttpResponse>, doing: String, write: Option<&Put>) -> StoreError
where
    E: ProvideErrorMetadata + Error + Send + Sync + 'static,
{
    // Never sent.
    if let Some((kind, why)) = unsigned(&error) {
        return kind(doing, Some(why.into()));
    }
    match &error {
        SdkError::ConstructionFailure(_) => fatal(doing, Some(error.into())),
        SdkError::DispatchFailure(failure) if failure.is_user() => fatal(doing, Some(error.into())),
        SdkError::DispatchFailure(_) => transient(doing, Some(error.into())),
        // Sent, and perhaps carried out.
        SdkError::TimeoutError(_) | SdkError::ResponseError(_) => transient(doing, Some(error.into())),
        SdkError::ServiceError(answer) => {
            let (raw, said) = (answer.raw(), answer.err());
            let status = raw.status().as_u16();
            let told = Told {
                status,
                said: [said.code(), said.message()].into_iter().flatten().collect::<Vec<_>>().join(", "),
                request: raw.headers().get("x-amz-request-id").map(str::to_owned),
            };
            // An answer to HEAD has no code: it may be refused for its time, which is corrected by now.
            if status == 403 && said.code().is_none() && clock::is_off(raw.headers().get("date")) {
                return transient(doing, Some(told.into()));
            }
            by_status(status, said.code(), write)(doing, Some(told.into()))
        }
        _ => transient(doing, Some(error.into())),
    }
}

/// What S3 said, in one line: the SDK's own words for it are a dump.
#[derive(Debug)]
struct Told {
    status: u16,
    /// Its code and message, as far as there are any: an answer to HEAD has no body.
    said: String,
    /// What the store's own support asks for.
    request: Option<String>,
}

impl fmt::Display for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.said.is_empty() {
            write!(f, "{}, ", self.said)?;
        }
        write!(f, "HTTP {}", self.status)?;
        match &self.request {
            Some(request) => write!(f, ", request {request}"),
            None => Ok(()),
        }
    }
}

impl Error for Told {}

/// The ETag as we keep it: S3 speaks of it in quotes.
pub(super) fn unquoted(etag: Option<&str>, doing: impl FnOnce() -> String) -> Result<String, StoreError> {
    match etag {
        Some(etag) => Ok(etag.trim_matches('"').into()),
        None => Err(StoreError::fatal(doing(), "the store gave no ETag, without which versions can't be told apart")),
    }
}

type Kind = fn(String, Option<BoxError>) -> StoreError;

/// An answer that begins before its outcome is known says 200 whatever comes: then only the error's name is left.
fn meant(status: u16, code: &str) -> u16 {
    match (status, code) {
        (200..=299, "PreconditionFailed") => 412,
        (200..=299, "ConditionalRequestConflict" | "OperationAborted") => 409,
        (200..=299, "NoSuchKey") => 404,
        (200..=299, "AccessDenied") => 403,
        (200..=299, "InvalidRequest" | "InvalidArgument" | "MalformedXML" | "EntityTooLarge") => 400,
        (status, _) => status,
    }
}

fn by_status(status: u16, code: Option<&str>, write: Option<&Put>) -> Kind {
    let code = code.unwrap_or_default();
    match (meant(status, code), code) {
        // Some errors come inside a 200 or a 400, so their names go first.
        (
            _,
            "SlowDown"
            | "Throttling"
            | "ThrottlingException"
            | "TooManyRequests"
            | "RequestLimitExceeded"
            | "ServiceUnavailable",
        ) => throttled,
        // The time is corrected by now, if it can be.
        (_, "InternalError" | "RequestTimeout" | "RequestTimeTooSkewed") => transient,
        (_, "ExpiredToken" | "InvalidAccessKeyId" | "SignatureDoesNotMatch" | "InvalidToken") => denied,
        (_, "NoSuchBucket") => not_found,
        // Completed by a try whose answer was lost, or aborted by somebody else: whoever wrote has to look.
        (_, "NoSuchUpload") => conflict,
        (404, _) => match write {
            // The version to be replaced is gone.
            Some(Put::IfMatch(_)) => changed,
            Some(Put::Overwrite | Put::Temporary | Put::IfAbsent) | None => not_found,
        },
        (412, _) => match write {
            Some(Put::IfAbsent) => exists,
            Some(Put::IfMatch(_) | Put::Overwrite | Put::Temporary) | None => changed,
        },
        (409, _) => conflict,
        (429 | 503, _) => throttled,
        (401 | 403, _) => denied,
        // An error inside a success, or a success that can't be read: what was asked for may have been done.
        (200..=299 | 408 | 500..=599, _) => transient,
        _ => fatal,
    }
}

/// Whether it failed for want of credentials, and in which words: then asking again helps only if their source was out of
/// order.
fn unsigned(error: &(dyn Error + 'static)) -> Option<(Kind, String)> {
    let found = iter::successors(Some(error), |&error| error.source()).find_map(|error| error.downcast_ref());
    let (kind, why): (Kind, _) = match found? {
        // The chain behind it only says which places were looked at.
        CredentialsError::CredentialsNotLoaded(_) => (denied, "no AWS credentials were found".to_owned()),
        wrong @ CredentialsError::InvalidConfiguration(_) => (denied, story(wrong)),
        failed => (transient, story(failed)),
    };
    Some((
        kind,
        format!(
            "{why}; credentials come from AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, AWS_PROFILE, or this machine's role"
        ),
    ))
}

macro_rules! kinds {
    ($($name:ident $variant:ident,)*) => {
        $(fn $name(doing: String, source: Option<BoxError>) -> StoreError {
            StoreError::$variant { doing, source }
        })*
    };
}

kinds! {
    not_found NotFound,
    exists Exists,
    changed Changed,
    conflict Conflict,
    throttled Throttled,
    denied Denied,
    transient Transient,
    fatal Fatal,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_credentials_are_told_with_where_they_come_from_and_broken_ones_with_what_broke() {
        let told = |error: CredentialsError| {
            let error: SdkError<aws_sdk_s3::operation::head_object::HeadObjectError, HttpResponse> =
                SdkError::construction_failure(error);
            let error = classify(error, "reading".into(), None);
            let why = error.source().expect("it has a reason").to_string();
            assert!(why.ends_with("AWS_PROFILE, or this machine's role"), "{why}");
            (error.retryable(), why)
        };
        let (again, why) = told(CredentialsError::not_loaded("we looked here and there"));
        assert!(!again && why.starts_with("no AWS credentials were found;"), "{why}");
        let (again, why) = told(CredentialsError::invalid_configuration("no profile named x"));
        assert!(!again && why.contains("no profile named x"), "{why}");
        let (again, why) = told(CredentialsError::provider_error("the token has expired"));
        assert!(again && why.contains("the token has expired"), "{why}");
    }

    #[test]
    fn an_answer_is_told_in_one_line() {
        let told = |said: &str, request: Option<&str>| {
            Told { status: 403, said: said.into(), request: request.map(str::to_owned) }.to_string()
        };
        assert_eq!(told("AccessDenied, no", Some("4X")), "AccessDenied, no, HTTP 403, request 4X");
        assert_eq!(told("", None), "HTTP 403");
    }

    #[test]
    fn answers_are_told_apart() {
        let if_match = Put::IfMatch("e".into());
        for (status, code, write, wanted) in [
            (404, "NoSuchKey", None, "NotFound"),
            (404, "", None, "NotFound"),
            (404, "NoSuchBucket", Some(&if_match), "NotFound"),
            (404, "NoSuchKey", Some(&if_match), "Changed"),
            (412, "PreconditionFailed", None, "Changed"),
            (412, "PreconditionFailed", Some(&if_match), "Changed"),
            (412, "PreconditionFailed", Some(&Put::IfAbsent), "Exists"),
            (409, "ConditionalRequestConflict", Some(&Put::IfAbsent), "Conflict"),
            (409, "OperationAborted", Some(&Put::IfAbsent), "Conflict"),
            (404, "NoSuchUpload", Some(&Put::IfAbsent), "Conflict"),
            (503, "SlowDown", None, "Throttled"),
            (200, "SlowDown", Some(&Put::IfAbsent), "Throttled"),
            (200, "InternalError", None, "Transient"),
            (200, "PreconditionFailed", Some(&Put::IfAbsent), "Exists"),
            (200, "PreconditionFailed", Some(&if_match), "Changed"),
            (200, "ConditionalRequestConflict", Some(&if_match), "Conflict"),
            (200, "AccessDenied", None, "Denied"),
            (200, "InvalidRequest", None, "Fatal"),
            (200, "", Some(&Put::Overwrite), "Transient"),
            (400, "RequestTimeout", None, "Transient"),
            (400, "ExpiredToken", None, "Denied"),
            (403, "AccessDenied", None, "Denied"),
            (403, "RequestTimeTooSkewed", None, "Transient"),
            (500, "", None, "Transient"),
            (301, "PermanentRedirect", None, "Fatal"),
            (416, "InvalidRange", None, "Fatal"),
        ] {
            let error = by_status(status, Some(code), write)("doing".into(), None);
            assert!(format!("{error:?}").starts_with(wanted), "{status} {code} {write:?} gives {error:?}");
        }
    }
}
