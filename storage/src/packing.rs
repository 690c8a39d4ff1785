//! Unpacking what is packed by its name.

use mr_core::Packing;
use std::io::{self, Read};

/// The bytes that these are when they are unpacked, to be read one after another.
///
/// # Errors
/// When they are no such archive, now or while they are read.
pub fn unpacked(packing: Packing, bytes: &[u8]) -> io::Result<Box<dyn Read + '_>> {
    Ok(match packing {
        // Several of them one after another are one text.
        Packing::Gzip => Box::new(flate2::bufread::MultiGzDecoder::new(bytes)),
        Packing::Zstd => {
            let mut unpacked = zstd::stream::read::Decoder::with_buffer(bytes)?;
            // The library's own limit, said so that it stays: 128 MiB.
            unpacked.window_log_max(27)?;
            Box::new(unpacked)
        }
    })
}
