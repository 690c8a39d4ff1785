//! The journal's messages as bytes.

use crate::{WireError, v1};
use prost::Message;

pub fn entry_to(entry: &v1::JournalEntry) -> Vec<u8> {
    entry.encode_to_vec()
}

/// # Errors
/// When that is no entry.
pub fn entry_from(bytes: &[u8]) -> Result<v1::JournalEntry, WireError> {
    v1::JournalEntry::decode(bytes).map_err(|error| WireError::Invalid(error.to_string()))
}

pub fn listing_to(listing: &v1::Listing) -> Vec<u8> {
    listing.encode_to_vec()
}

/// # Errors
/// When that is no listing.
pub fn listing_from(bytes: &[u8]) -> Result<v1::Listing, WireError> {
    v1::Listing::decode(bytes).map_err(|error| WireError::Invalid(error.to_string()))
}
