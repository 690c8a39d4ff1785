//! Whether what came is what was stored.
//!
//! S3 sends a checksum of the whole object along with it, and the SDK refuses bytes that are others. Some objects have
//! none: such as were stored before 2025 without one, or in parts with sums of each part only, or on other servers. For
//! those the ETag serves, which is an MD5 unless the object is encrypted with keys of a service or of the customer
//! ([Checking object integrity](https://docs.aws.amazon.com/AmazonS3/latest/userguide/checking-object-integrity.html)).
//! Ranges have neither: who reads them checks them, as runs are by their index.

use super::PART_BYTES;
use crate::Got;
use aws_sdk_s3::operation::get_object::GetObjectOutput;
use aws_sdk_s3::types::ServerSideEncryption;
use md5::{Digest, Md5};

/// What AWS's own tools cut uploads into unless told otherwise, after what we do.
const PARTS_BYTES: [usize; 2] = [PART_BYTES, 8 << 20];

/// More than this is not summed between other requests' bytes: a megabyte takes a millisecond or two.
const AT_ONCE: usize = 128 << 10;

/// What an ETag says of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Said {
    Same,
    /// They are others, if it is an MD5 at all.
    Other,
    Nothing,
}

/// Whether there is a sum of the whole body, which the SDK holds it against. One with a dash is made of the parts' sums.
pub(super) fn checked_by_sdk(answer: &GetObjectOutput) -> bool {
    let sums = [
        answer.checksum_crc32(),
        answer.checksum_crc32_c(),
        answer.checksum_crc64_nvme(),
        answer.checksum_sha1(),
        answer.checksum_sha256(),
    ];
    sums.into_iter().flatten().any(|sum| !sum.contains('-'))
}

pub(super) fn etag_may_be_md5(answer: &GetObjectOutput) -> bool {
    let kms = match answer.server_side_encryption() {
        None | Some(ServerSideEncryption::Aes256) => false,
        Some(_) => true,
    };
    !kms && answer.sse_customer_algorithm().is_none()
}

pub(super) async fn said(got: &Got) -> Said {
    if got.bytes.len() <= AT_ONCE {
        return compare(&got.etag, &got.bytes);
    }
    let got = got.clone();
    let compared = tokio::task::spawn_blocking(move || compare(&got.etag, &got.bytes));
    compared.await.expect("it does not panic, and nobody aborts it")
}

/// Of one body it is the MD5; of parts the MD5 of theirs, and how many they were, though not how large.
fn compare(etag: &str, bytes: &[u8]) -> Said {
    let (sum, parts) = match etag.split_once('-') {
        Some((sum, parts)) => (sum, parts.parse::<usize>().ok()),
        None => (etag, None),
    };
    if sum.len() != 32 || !sum.bytes().all(|digit| digit.is_ascii_hexdigit()) || etag.contains('-') != parts.is_some() {
        return Said::Nothing;
    }
    let same = |digest: &[u8]| sum.eq_ignore_ascii_case(&hex(digest));
    let Some(parts) = parts else {
        return if same(&Md5::digest(bytes)) { Said::Same } else { Said::Other };
    };
    let mut said = Said::Nothing;
    for size in PARTS_BYTES.into_iter().filter(|size| bytes.len().div_ceil(*size) == parts) {
        let mut digests = Md5::new();
        bytes.chunks(size).for_each(|part| digests.update(Md5::digest(part)));
        if same(&digests.finalize()) {
            return Said::Same;
        }
        said = Said::Other;
    }
    said
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_etag_says_what_it_can() {
        let large = vec![7; (16 << 20) + 1];
        let parts = |size: usize| {
            let digests: Vec<u8> = large.chunks(size).flat_map(|part| Md5::digest(part).to_vec()).collect();
            format!("{}-{}", hex(&Md5::digest(&digests)), large.len().div_ceil(size))
        };
        for (etag, bytes, wanted) in [
            ("f97c5d29941bfb1b2fdab0874906ab82", &b"one"[..], Said::Same),
            ("F97C5D29941BFB1B2FDAB0874906AB82", b"one", Said::Same),
            ("f97c5d29941bfb1b2fdab0874906ab82", b"onE", Said::Other),
            ("d41d8cd98f00b204e9800998ecf8427e", b"", Said::Same),
            ("1712", b"one", Said::Nothing),
            ("", b"one", Said::Nothing),
            ("zzzc5d29941bfb1b2fdab0874906ab82", b"one", Said::Nothing),
            ("f97c5d29941bfb1b2fdab0874906ab82-x", b"one", Said::Nothing),
            (&parts(16 << 20), &large, Said::Same),
            (&parts(8 << 20), &large, Said::Same),
            (&parts(16 << 20), &large[..5], Said::Nothing),
            (&parts(8 << 20), &[large.as_slice(), b"x"].concat(), Said::Other),
            // Cut in a way that can't be guessed.
            (&parts(3 << 20), &large, Said::Nothing),
        ] {
            assert_eq!(compare(etag, bytes), wanted, "{etag} of {} bytes", bytes.len());
        }
    }
}
