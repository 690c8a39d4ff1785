//! SHA-256 as our keys and books write it, in lower-case hexadecimal.

use crate::Object;
use sha2::{Digest, Sha256};

pub fn sha256_hex(bytes: &[u8]) -> String {
    hex(Sha256::digest(bytes))
}

/// Which objects, in which versions and order, in one word: two tellings of a long list are compared by it.
#[derive(Clone, Debug, Default)]
pub struct ObjectsDigest(Sha256);

impl ObjectsDigest {
    pub fn add(&mut self, object: &Object) {
        for text in [&object.key, &object.etag] {
            // Each with its length in front, so that no two lists run into the same bytes.
            self.0.update((text.len() as u64).to_le_bytes());
            self.0.update(text);
        }
    }

    pub fn finish(self) -> String {
        hex(self.0.finalize())
    }
}

fn hex(bytes: impl AsRef<[u8]>) -> String {
    bytes.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_is_the_one_that_everybody_computes() {
        // The first is in FIPS 180-4's examples, <https://csrc.nist.gov/projects/cryptographic-standards-and-guidelines>.
        let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(sha256_hex(b"abc"), abc);
        assert_eq!(ObjectsDigest::default().finish(), sha256_hex(b""));
    }

    #[test]
    fn lists_that_differ_in_anything_differ() {
        let digest = |objects: &[(&str, &str)]| {
            let mut digest = ObjectsDigest::default();
            for &(key, etag) in objects {
                digest.add(&Object { key: key.into(), bytes: 1, etag: etag.into() });
            }
            digest.finish()
        };
        let lists = [
            digest(&[]),
            digest(&[("a", "1")]),
            digest(&[("a", "2")]),
            digest(&[("a1", "")]),
            digest(&[("", "a1")]),
            digest(&[("a", "1"), ("b", "2")]),
            digest(&[("b", "2"), ("a", "1")]),
        ];
        for (position, one) in lists.iter().enumerate() {
            assert!(!lists[..position].contains(one), "list {position}");
        }
    }
}
