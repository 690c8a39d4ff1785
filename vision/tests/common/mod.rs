//! What the tests of this room share: the data beside the repository, and NumPy's files.

use std::path::{Path, PathBuf};

/// A folder of the data beside the repository. Without it a test is skipped loudly; in CI it is always there.
pub fn shared(folder: &str) -> Option<PathBuf> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared");
    let path = std::env::var_os("MR_SHARED").map_or(beside, PathBuf::from).join(folder);
    if path.exists() {
        return Some(path);
    }
    assert!(std::env::var_os("CI").is_none(), "in CI {} must be there", path.display());
    eprintln!("SKIPPED: this test needs ../shared ({} is not there)", path.display());
    None
}

/// Shape and numbers of a NumPy file of little-endian f32 in C order.
pub fn f32s(path: &Path) -> (Vec<usize>, Vec<f32>) {
    let bytes = std::fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    assert_eq!(&bytes[..7], b"\x93NUMPY\x01", "{}", path.display());
    let header_len = u16::from_le_bytes([bytes[8], bytes[9]]) as usize;
    let (header, numbers) = bytes[10..].split_at(header_len);
    let header = String::from_utf8_lossy(header);
    assert!(header.contains("'<f4'") && header.contains("'fortran_order': False"), "{header}");
    let shape = header.split_once("'shape': (").and_then(|(_, rest)| rest.split_once(')')).expect("a shape").0;
    let shape: Vec<usize> =
        shape.split(',').map(str::trim).filter(|dim| !dim.is_empty()).map(|dim| dim.parse().expect("a dim")).collect();
    let numbers: Vec<f32> = numbers.as_chunks().0.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect();
    assert_eq!(numbers.len(), shape.iter().product::<usize>(), "{}", path.display());
    (shape, numbers)
}
