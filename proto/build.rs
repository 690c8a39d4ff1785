//! Makes the messages and services from `mr.proto`. The parser is Rust too, so that a crate which uses the framework
//! without candle needs no protoc.

use std::path::PathBuf;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed=mr.proto");
    let descriptors = protox::compile(["mr.proto"], ["."])?;
    let out = PathBuf::from(std::env::var("OUT_DIR")?);
    std::fs::write(out.join("mr.bin"), prost::Message::encode_to_vec(&descriptors))?;
    tonic_prost_build::configure().btree_map(".").bytes(".mr.v1.PutBlobRequest").compile_fds(descriptors)?;
    Ok(())
}
