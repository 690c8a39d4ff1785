//! The weights behind `weights = "builtin"`: MobileNetV2 1.0 at 224 x 224 as an ONNX file in the program itself.
//! `weights/README.md` says where they come from.

/// The ONNX file.
pub static BUILTIN: &[u8] = include_bytes!("../weights/mobilenet_v2.onnx");

/// The SHA-256 of [`BUILTIN`], in lower-case hexadecimal.
pub const BUILTIN_SHA256: &str = "0b4cfb08544cdc851a8331f7896fc2413ad08f105d914fdcec2eaa18c822a1d2";

#[cfg(test)]
mod tests {
    use sha2::{Digest, Sha256};

    use super::*;

    #[test]
    fn the_hash_is_that_of_the_file() {
        let hash: String = Sha256::digest(BUILTIN).iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hash, BUILTIN_SHA256);
    }
}
