//! The journal's messages as bytes.

use crate::{WireError, v1};
use prost::Message;

/// Entries begin with these and the CRC-32 of all that follows, lowest byte first: without it a bit that has flipped would
/// be another story, and a file that a power failure has emptied would be none.
const MAGIC: &[u8; 4] = b"MRJ1";

/// What [`seal`] puts in front.
pub const SEAL_BYTES: usize = 8;

pub fn entry_to(entry: &v1::JournalEntry) -> Vec<u8> {
    seal(&entry.encode_to_vec())
}

/// # Errors
/// When that is no entry, or not all of it, or is damaged.
pub fn entry_from(bytes: &[u8]) -> Result<v1::JournalEntry, WireError> {
    let damaged = || WireError::Invalid("it is not as it was written".to_owned());
    let (seal, message) = bytes.split_at_checked(SEAL_BYTES).ok_or_else(damaged)?;
    if *seal != seal_of(message) {
        return Err(damaged());
    }
    v1::JournalEntry::decode(message).map_err(|error| WireError::Invalid(error.to_string()))
}

/// An encoded entry as it is stored.
pub fn seal(message: &[u8]) -> Vec<u8> {
    [&seal_of(message), message].concat()
}

fn seal_of(message: &[u8]) -> [u8; SEAL_BYTES] {
    let mut seal = [0; SEAL_BYTES];
    seal[..4].copy_from_slice(MAGIC);
    seal[4..].copy_from_slice(&crc32fast::hash(message).to_le_bytes());
    seal
}

pub fn listing_to(listing: &v1::Listing) -> Vec<u8> {
    listing.encode_to_vec()
}

/// # Errors
/// When that is no listing.
pub fn listing_from(bytes: &[u8]) -> Result<v1::Listing, WireError> {
    v1::Listing::decode(bytes).map_err(|error| WireError::Invalid(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_bit_that_flips_and_any_end_that_is_lost_is_seen() {
        let entry = v1::JournalEntry { epoch: 7, writer: "somebody".into(), ..Default::default() };
        let bytes = entry_to(&entry);
        assert_eq!(entry_from(&bytes).unwrap(), entry);
        for bit in 0..8 * bytes.len() {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(entry_from(&flipped).is_err(), "bit {bit}");
        }
        for length in 0..bytes.len() {
            assert!(entry_from(&bytes[..length]).is_err(), "{length} bytes");
        }
    }
}
