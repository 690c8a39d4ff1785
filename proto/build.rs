//! Makes the messages and services from `mr.proto` and `journal.proto`. The parser is Rust too, so that a crate which uses the framework
//! without candle needs no protoc.

use std::path::PathBuf;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let files = ["mr.proto", "journal.proto"];
    files.iter().for_each(|file| println!("cargo:rerun-if-changed={file}"));
    let descriptors = protox::compile(files, ["."])?;
    let out = PathBuf::from(std::env::var("OUT_DIR")?);
    std::fs::write(out.join("mr.bin"), prost::Message::encode_to_vec(&descriptors))?;
    tonic_prost_build::configure().btree_map(".").bytes(".mr.v1.PutBlobRequest").compile_fds(descriptors)?;
    Ok(())
}
