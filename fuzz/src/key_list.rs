//! Any bytes as a list of keys, as a user has it or as it travels: objects under the input, or a sentence.

use crate::memory::peak_of;
use mr_core::KeyList;
use mr_mapreduce::{Inventory, ListFormat, read_list};

const INPUTS: [&str; 2] = ["s3://b/p/", "file:///in/"];

/// For a list of some kilobytes. What Parquet makes of bytes that are none is its own affair, and what is packed may well
/// be large.
const MEMORY_MAX_BYTES: u64 = 64 << 20;

/// The first byte says as what the others are read, and the second under which input.
pub fn key_list(data: &[u8]) {
    let [kind, input, bytes @ ..] = data else { return };
    let input = INPUTS[usize::from(input % 2)];
    let (read, peak) = peak_of(|| match kind % 4 {
        0 => KeyList::decode(bytes),
        1 => read_list(ListFormat::Text(None), bytes.to_vec().into(), input),
        2 => read_list(ListFormat::Csv(None), bytes.to_vec().into(), input),
        _ => Inventory::parse(bytes, "s3://lists/manifest.json", input).map(Inventory::into_list),
    });
    assert!(peak <= MEMORY_MAX_BYTES, "{peak} bytes for a list of {}", data.len());
    match read {
        Ok(list) => {
            assert!(list.objects().iter().all(|object| !object.key.is_empty()));
            assert_eq!(KeyList::decode(&list.encode()), Ok(list));
        }
        Err(said) => assert!(!said.trim().is_empty()),
    }
}
